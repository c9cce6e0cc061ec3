//! A scripted guest: a second stack at the other end of the cable, and servers on the host.

use super::*;
use ring86_devices::net::NetPort;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::{dhcpv4, dns, icmp, tcp, udp};
use smoltcp::time::Instant as Stamp;
use smoltcp::wire::{
    DnsQueryType, EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, IpEndpoint,
    Ipv4Address,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

/// The guest's end of the cable, for its stack.
struct Plug(CardEnd);

struct Got(Vec<u8>);
struct Room<'a>(&'a mut CardEnd);

impl phy::RxToken for Got {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.send(&frame);
        result
    }
}

impl Device for Plug {
    type RxToken<'a> = Got;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Stamp) -> Option<(Got, Room<'_>)> {
        let frame = self.0.poll()?;
        Some((Got(frame), Room(&mut self.0)))
    }

    fn transmit(&mut self, _: Stamp) -> Option<Room<'_>> {
        Some(Room(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Guest {
    network: Network,
    plug: Plug,
    interface: Interface,
    sockets: SocketSet<'static>,
    start: Instant,
    /// Guest time that a test sets itself; otherwise it is the host's.
    fixed: Option<Time>,
}

impl Guest {
    /// A guest behind `--net` with these options and forwards, without an address.
    fn bare(net: &str, forwards: &[&str]) -> Self {
        let Ok(Net::User(mut options)) = net.parse() else { panic!("{net} is no network") };
        options.forwards = forwards.iter().map(|text| text.parse().expect("a forward")).collect();
        let network = Network::new(&options, Arc::new(Pins::default())).expect("a network");
        let mut plug = Plug(network.card_end());
        let mut config = Config::new(HardwareAddress::Ethernet(MAC));
        config.random_seed = 1;
        let interface = Interface::new(config, &mut plug, Stamp::ZERO);
        Guest { network, plug, interface, sockets: SocketSet::new(vec![]), start: Instant::now(), fixed: None }
    }

    /// The same with the address that DHCP would give it.
    fn new(net: &str, forwards: &[&str]) -> Self {
        let mut guest = Self::bare(net, forwards);
        guest.configure(IpCidr::new(GUEST.into(), PREFIX), GATEWAY);
        guest
    }

    fn configure(&mut self, address: IpCidr, router: Ipv4Address) {
        self.interface.update_ip_addrs(|addresses| addresses.push(address).expect("room for one"));
        self.interface.routes_mut().add_default_ipv4_route(router).expect("room for one");
    }

    fn now(&self) -> Time {
        self.fixed.unwrap_or_else(|| self.start.elapsed().as_nanos() as Time)
    }

    fn step(&mut self) {
        let now = self.now();
        self.network.poll(now);
        self.interface.poll(Stamp::from_micros((now / 1000) as i64), &mut self.plug, &mut self.sockets);
    }

    /// Runs both stacks until `done`, which must come within three minutes: the host may stand still for many seconds.
    #[track_caller]
    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(180), "no {what} after three minutes");
            self.step();
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65536]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    fn connect(&mut self, to: Ipv4Address, port: u16) -> SocketHandle {
        let handle = self.tcp();
        let local = 40000 + self.sockets.iter().count() as u16;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), (IpAddress::Ipv4(to), port), local).expect("it can be tried");
        handle
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("the port is free");
        self.sockets.add(socket)
    }

    /// True if the guest's attempt to connect is refused, rather than made or left without an answer.
    fn is_refused(&mut self, to: Ipv4Address, port: u16) -> bool {
        let handle = self.connect(to, port);
        self.run_until("answer", |g| g.socket(handle).state() != tcp::State::SynSent);
        self.socket(handle).state() == tcp::State::Closed
    }
}

/// A server on the host's loopback that treats one connection with `serve`.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (port, thread::spawn(move || serve(listener.accept().expect("a connection").0)))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_lease() {
    let mut guest = Guest::bare("user", &[]);
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let mut lease = None;
    guest.run_until("lease", |g| {
        if let Some(dhcpv4::Event::Configured(config)) = g.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            lease = Some((config.address, config.router, config.dns_servers.first().copied()));
        }
        lease.is_some()
    });
    let (address, router, server) = lease.expect("there is one");
    assert_eq!(address.to_string(), "10.0.2.15/24");
    assert_eq!((router, server), (Some(GATEWAY), Some(NAME_SERVER)));
    assert!(!guest.network.awaits_host(), "the host has no part in it");
}

/// Pings `to` and returns whether an answer came.
fn ping(guest: &mut Guest, to: Ipv4Address) -> bool {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).expect("it is free");
    let repr = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data: b"0123456789" };
    let place = socket.send(repr.buffer_len(), to.into()).expect("there is room");
    repr.emit(&mut Icmpv4Packet::new_unchecked(place), &phy::ChecksumCapabilities::default());
    let handle = guest.sockets.add(socket);
    for _ in 0..50 {
        guest.step();
        guest.fixed = guest.fixed.map(|now| now + 1_000_000);
        let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(handle);
        if let Ok((payload, from)) = socket.recv() {
            let packet = Icmpv4Packet::new_checked(payload).expect("it is ICMP");
            return from == IpAddress::Ipv4(to) && packet.msg_type() == smoltcp::wire::Icmpv4Message::EchoReply;
        }
    }
    false
}

#[test]
fn the_gateway_answers_pings_and_nobody_else_does() {
    let mut guest = Guest::new("user", &[]);
    guest.fixed = Some(0);
    assert!(ping(&mut guest, GATEWAY));
    let mut guest = Guest::new("user", &[]);
    guest.fixed = Some(0);
    assert!(ping(&mut guest, NAME_SERVER));
    let mut guest = Guest::new("user", &[]);
    guest.fixed = Some(0);
    assert!(!ping(&mut guest, Ipv4Address::new(192, 0, 2, 1)));
    assert!(!ping(&mut guest, Ipv4Address::new(10, 0, 2, 77)), "nobody is there");
}

#[test]
fn without_the_host_a_run_is_the_same_every_time() {
    let run = |name: &str| {
        let path = std::env::temp_dir().join(format!("ring86-{name}-{}.pcap", std::process::id()));
        let mut guest = Guest::bare(&format!("user,pcap={}", path.display()), &[]);
        guest.fixed = Some(0);
        guest.sockets.add(dhcpv4::Socket::new());
        for _ in 0..100 {
            guest.step();
            guest.fixed = guest.fixed.map(|now| now + 1_000_000);
        }
        guest.configure(IpCidr::new(GUEST.into(), PREFIX), GATEWAY);
        assert!(ping(&mut guest, GATEWAY));
        drop(guest);
        let bytes = std::fs::read(&path).expect("the capture is there");
        std::fs::remove_file(&path).expect("it can be removed");
        bytes
    };
    let first = run("first");
    assert!(first.len() > 1000);
    assert!(first == run("second"));
}

#[test]
fn names_are_asked_of_the_host_s_server() {
    let upstream = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        let mut buffer = [0; 512];
        let (count, from) = upstream.recv_from(&mut buffer).expect("a question");
        let mut answer = buffer[..count].to_vec();
        // A response with one answer: the name by pointer, type A, class IN, an hour, four bytes.
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0x0E, 0x10, 0, 4, 192, 0, 2, 33]);
        upstream.send_to(&answer, from).expect("it can be sent");
    });
    let mut guest = Guest::new(&format!("user,dns=127.0.0.1:{port}"), &[]);
    let mut socket = dns::Socket::new(&[NAME_SERVER.into()], vec![]);
    let query = socket.start_query(guest.interface.context(), "example.org", DnsQueryType::A).expect("a question");
    let handle = guest.sockets.add(socket);
    let mut found = None;
    guest.run_until("answer", |g| {
        found = g.sockets.get_mut::<dns::Socket<'_>>(handle).get_query_result(query).ok();
        found.is_some()
    });
    assert_eq!(found.expect("found")[0], IpAddress::Ipv4(Ipv4Address::new(192, 0, 2, 33)));
    serving.join().expect("the server is content");
}

#[test]
fn a_megabyte_is_downloaded() {
    let (port, serving) = server(|mut stream| {
        let mut request = [0; 4];
        stream.read_exact(&mut request).expect("a request");
        assert_eq!(&request, b"GET\n");
        stream.write_all(&pattern(1 << 20)).expect("the guest takes it");
    });
    let mut guest = Guest::new("user,allow=loopback", &[]);
    let handle = guest.connect(GATEWAY, port);
    guest.run_until("connection", |g| g.socket(handle).may_send());
    guest.socket(handle).send_slice(b"GET\n").expect("it is open");
    let mut got = Vec::new();
    guest.run_until("megabyte", |g| {
        let socket = g.socket(handle);
        while let Ok(count) = socket.recv(|bytes| {
            got.extend_from_slice(bytes);
            (bytes.len(), bytes.len())
        }) && count != 0
        {}
        !socket.may_recv()
    });
    assert!(got == pattern(1 << 20), "{} bytes", got.len());
    serving.join().expect("the server is content");
    guest.socket(handle).close();
    guest.run_until("end", |g| !g.network.awaits_host());
}

#[test]
fn one_side_may_end_before_the_other() {
    let (port, serving) = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the guest ends first");
        stream.write_all(&all).expect("the guest still listens");
    });
    let mut guest = Guest::new("user,allow=loopback", &[]);
    let handle = guest.connect(GATEWAY, port);
    let data = pattern(300_000);
    let (mut sent, mut got) = (0, Vec::new());
    guest.run_until("echo", |g| {
        let socket = g.socket(handle);
        if socket.can_send() && sent < data.len() {
            sent += socket.send_slice(&data[sent..]).expect("it is open");
            if sent == data.len() {
                socket.close();
            }
        }
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.recv_slice(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        got.len() == data.len()
    });
    assert!(got == data);
    serving.join().expect("the server is content");
}

#[test]
fn closed_doors_refuse_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("it can be");
    let mut guest = Guest::new("user", &[]);
    assert!(guest.is_refused(GATEWAY, port), "the host's loopback");
    for lan in [[192, 168, 0, 1], [169, 254, 169, 254], [10, 9, 2, 9], [127, 0, 0, 1]] {
        assert!(guest.is_refused(Ipv4Address::from(lan), port), "{lan:?}");
    }
    assert!(!guest.network.awaits_host(), "no socket was made");
    assert!(listener.accept().is_err(), "nobody came");
    let mut guest = Guest::new("user,allow=loopback", &[]);
    assert!(guest.is_refused(GATEWAY, free_port()), "nobody listens there");
    assert!(!guest.is_refused(GATEWAY, port));
}

#[test]
fn datagrams_go_out_and_come_back() {
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = echo.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        let mut buffer = [0; 2048];
        for _ in 0..3 {
            let (count, from) = echo.recv_from(&mut buffer).expect("a datagram");
            echo.send_to(&buffer[..count], from).expect("it can be sent");
        }
    });
    let mut guest = Guest::new("user,allow=loopback", &[]);
    let handle = guest.udp(5000);
    let to = IpEndpoint::new(GATEWAY.into(), port);
    for length in [0, 1, 1400] {
        let data = pattern(length);
        guest.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(&data, to).expect("there is room");
        let mut got = None;
        guest.run_until("echo", |g| {
            let socket = g.sockets.get_mut::<udp::Socket<'_>>(handle);
            got = socket.recv().ok().map(|(bytes, meta)| (bytes.to_vec(), meta.endpoint));
            got.is_some()
        });
        assert_eq!(got, Some((data, to)));
    }
    serving.join().expect("the server is content");
}

#[test]
fn forwards_lead_into_the_guest() {
    let (tcp_port, udp_port) = (free_port(), free_port());
    let forwards = [format!("tcp:{tcp_port}:22"), format!("udp:{udp_port}:53")];
    let mut guest = Guest::new("user", &[&forwards[0], &forwards[1]]);
    let listening = guest.tcp();
    guest.socket(listening).listen(22).expect("it can listen");
    let datagrams = guest.udp(53);
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", tcp_port)).expect("the forward listens");
        stream.write_all(b"hello").expect("it takes it");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and the end");
        assert_eq!(answer, "HELLO");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.send_to(b"ping", ("127.0.0.1", udp_port)).expect("it can be sent");
        let mut buffer = [0; 16];
        let (count, _) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(&buffer[..count], b"PING");
    });
    guest.run_until("client", |g| {
        let socket = g.socket(listening);
        if socket.can_recv() && socket.recv_queue() == 5 {
            let text = socket.recv(|bytes| (bytes.len(), bytes.to_ascii_uppercase())).expect("there is text");
            socket.send_slice(&text).expect("it is open");
            socket.close();
        }
        let socket = g.sockets.get_mut::<udp::Socket<'_>>(datagrams);
        if let Ok((bytes, meta)) = socket.recv() {
            let answer = bytes.to_ascii_uppercase();
            socket.send_slice(&answer, meta.endpoint).expect("there is room");
        }
        client.is_finished()
    });
    client.join().expect("the client is content");
}

#[test]
fn a_port_in_use_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let forward: Forward = format!("tcp:{port}:22").parse().expect("a forward");
    let options = UserNet { forwards: vec![forward], ..UserNet::default() };
    let error = Network::new(&options, Arc::new(Pins::default())).expect_err("the port is in use").to_string();
    assert!(error.contains(&format!("--forward tcp:127.0.0.1:{port}:22")) && error.contains("in use"), "{error}");
    let options = UserNet { pcap: Some("/nonexistent/a.pcap".into()), ..UserNet::default() };
    assert!(Network::new(&options, Arc::new(Pins::default())).is_err());
}

#[test]
fn connections_are_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let accepting = thread::spawn({
        let accepted = Arc::clone(&accepted);
        move || {
            let mut held = Vec::new();
            // The test's own connection, which is the 257th, ends it.
            while let Ok(connection) = listener.accept()
                && held.len() < 256
            {
                held.push(connection);
                accepted.fetch_add(1, Ordering::Release);
            }
        }
    });
    let mut guest = Guest::new("user,allow=loopback", &[]);
    for _ in 0..300 {
        guest.connect(GATEWAY, port);
        guest.step();
    }
    let count = |guest: &Guest, state| {
        let sockets = guest.sockets.iter().map(|(_, socket)| socket);
        sockets.filter(|s| matches!(s, smoltcp::socket::Socket::Tcp(tcp) if tcp.state() == state)).count()
    };
    // The host asks again after a second and then ever later, while too many wait for the server to accept them.
    guest.run_until("answer to each", |g| count(g, tcp::State::SynSent) == 0);
    assert_eq!((count(&guest, tcp::State::Established), count(&guest, tcp::State::Closed)), (256, 44));
    guest.run_until("server's consent", |_| accepted.load(Ordering::Acquire) == 256);
    TcpStream::connect(("127.0.0.1", port)).expect("the last one");
    accepting.join().expect("the server is content");
}

#[test]
fn nonsense_on_the_cable_does_no_harm() {
    let mut guest = Guest::new("user", &[]);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Good frames of each kind, of which some bytes are then changed.
    let mut seeds = Vec::new();
    let header = |kind: u8| {
        let mut frame = [GATEWAY_MAC.0, MAC.0].concat();
        frame.extend([8, kind]);
        frame
    };
    let mut arp = header(6);
    arp.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend([MAC.0.to_vec(), vec![10, 0, 2, 15], vec![0; 6], vec![10, 0, 2, 2]].concat());
    seeds.push(arp);
    for (protocol, payload) in [
        (1u8, vec![8, 0, 0xF7, 0xFF, 0, 0, 0, 0]),
        (6, vec![4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xFF, 0xFF, 0, 0, 0, 0]),
        (17, [vec![0, 68, 0, 67, 1, 8, 0, 0, 1, 1, 6], vec![0; 250]].concat()),
    ] {
        let mut frame = header(0);
        let total = (20 + payload.len()) as u16;
        frame.extend([0x45, 0, (total >> 8) as u8, total as u8, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend([10, 0, 2, 15, 10, 0, 2, 2]);
        let sum: u32 = frame[14..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let check = !(((sum & 0xFFFF) + (sum >> 16)) as u16);
        frame[24..26].copy_from_slice(&check.to_be_bytes());
        frame.extend(payload);
        seeds.push(frame);
    }
    for round in 0..100_000u64 {
        let mut frame = seeds[(random() % seeds.len() as u64) as usize].clone();
        for _ in 0..random() % 4 {
            let at = (random() % frame.len() as u64) as usize;
            frame[at] = random() as u8;
        }
        if random().is_multiple_of(8) {
            frame.truncate((14 + random() % 60) as usize);
        }
        guest.plug.0.send(&frame);
        guest.network.poll(round * 10_000);
        while guest.plug.0.poll().is_some() {}
    }
    guest.fixed = Some(2_000_000_000);
    assert!(ping(&mut guest, GATEWAY), "the gateway is still there");
}
