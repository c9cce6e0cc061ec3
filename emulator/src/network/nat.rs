//! The gateway: sorts the guest's frames between the stack (ARP, ICMP echo, TCP) and the tables of flows.

use super::options::{Protocol, UserNet};
use super::policy::{Policy, Reason, Verdict};
use super::tcp::TcpFlows;
use super::tftp::{self, Tftp};
use super::udp::UdpFlows;
use super::waiter::Waiter;
use super::{GATEWAY, GATEWAY_MAC, NAME_SERVER, PREFIX, dhcp, frames, is_inside};
use crate::error::{Error, Result};
use ring86_devices::Time;
use ring86_devices::clock::earliest;
use ring86_devices::net::MAX_FRAME;
use ring86_translator::Pins;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress, Icmpv4DstUnreachable, Icmpv4Message,
    Icmpv4Packet, IpCidr, IpProtocol, Ipv4Address, Ipv4Packet, TcpPacket, UdpPacket,
};
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// Rounds between sockets and stack in one poll; what is left over waits for the next.
const ROUNDS: usize = 4;
/// How soon the network looks again when it could not move everything.
const SOON: Time = 50_000;
/// Bytes in an Ethernet frame, without the VLAN tag that this network does not use.
const FRAME: usize = MAX_FRAME - 4;

/// The stack's side of the cable.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// The frame from the guest that the stack is to look at.
    incoming: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    /// Frames that may still be put into `outgoing`.
    room: usize,
}

impl Wire {
    /// Whether another frame may go to the guest.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.len() < self.room
    }

    /// Puts frames on their way to the guest.
    pub(super) fn put(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.outgoing.extend(frames);
    }
}

/// A frame from the guest.
pub(super) struct Incoming(Vec<u8>);

/// Room for a frame to the guest.
pub(super) struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.incoming.take()?;
        Some((Incoming(frame), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        self.has_room().then_some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// The stack with its sockets and its end of the cable.
pub(super) struct Stack {
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) wire: Wire,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("wire", &self.wire).finish_non_exhaustive()
    }
}

/// Guest time as the stack counts it.
pub(super) fn instant(now: Time) -> Instant {
    Instant::from_micros((now / 1000).cast_signed())
}

impl Stack {
    fn new() -> Self {
        let mut wire = Wire::default();
        // Nothing depends on the stack's numbers being hard to guess: only the guest can see this network.
        let config = Config::new(HardwareAddress::Ethernet(GATEWAY_MAC));
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for address in [GATEWAY, NAME_SERVER] {
                addresses.push(IpCidr::new(address.into(), PREFIX)).expect("the stack's list has room for two");
            }
        });
        // The guest's peers are all over the world, and this interface speaks for each.
        interface.set_any_ip(true);
        Stack { interface, sockets: SocketSet::new(Vec::new()), wire }
    }

    /// Lets the stack look at one frame from the guest.
    pub(super) fn take_in(&mut self, now: Time, frame: Vec<u8>) {
        self.wire.incoming = Some(frame);
        self.interface.poll_ingress_single(instant(now), &mut self.wire, &mut self.sockets);
        self.wire.incoming = None;
    }

    fn put_out(&mut self, now: Time) {
        self.interface.poll_maintenance(instant(now));
        self.interface.poll_egress(instant(now), &mut self.wire, &mut self.sockets);
    }
}

/// One log line for each kind of thing that the guest may not do.
#[derive(Debug, Default)]
struct Reported {
    loopback: bool,
    lan: bool,
    fragments: bool,
    ping: bool,
}

/// The gateway with all its flows.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) stack: Stack,
    pub(super) policy: Policy,
    waiter: Waiter,
    tcp: TcpFlows,
    udp: UdpFlows,
    tftp: Option<Tftp>,
    bootfile: Option<String>,
    reported: Reported,
    /// When the next poll is due.
    next: Option<Time>,
}

impl Nat {
    /// # Errors
    /// If a port to forward is taken, or the folder for TFTP is missing.
    pub(super) fn new(options: &UserNet, pins: Arc<Pins>) -> Result<Self> {
        let mut waiter = Waiter::new(pins);
        let of = |protocol| options.forwards.iter().filter(move |forward| forward.protocol == protocol);
        let tcp = TcpFlows::new(of(Protocol::Tcp), &mut waiter)?;
        let udp = UdpFlows::new(of(Protocol::Udp), &mut waiter)?;
        let policy = Policy::new(options.allow, options.dns);
        let tftp = options
            .tftp
            .as_deref()
            .map(|folder| Tftp::new(folder).map_err(|e| Error::io("serve", folder, &e).of("--net tftp")));
        Ok(Nat {
            stack: Stack::new(),
            policy,
            waiter,
            tcp,
            udp,
            tftp: tftp.transpose()?,
            bootfile: options.bootfile.clone(),
            reported: Reported::default(),
            next: None,
        })
    }

    pub(super) fn wants_poll(&self, now: Time) -> bool {
        self.waiter.is_ready() || self.next.is_some_and(|at| at <= now) || !self.stack.wire.outgoing.is_empty()
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        self.next
    }

    pub(super) fn awaits_host(&self) -> bool {
        self.tcp.is_busy() || self.udp.is_busy()
    }

    /// The next frame for the guest.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.stack.wire.outgoing.pop_front()
    }

    /// Moves bytes between the host's sockets and the guest's connections; `room` frames may come out of it.
    pub(super) fn poll(&mut self, now: Time, room: usize) {
        self.stack.wire.room = room;
        self.waiter.take_ready();
        self.tcp.accept(&mut self.stack, &mut self.waiter);
        // The host says only once that there is something: what is left behind now has to be asked for again.
        let mut left = self.udp.receive(now, &mut self.stack.wire);
        for round in 1..=ROUNDS {
            self.stack.put_out(now);
            if !self.tcp.pump(now, &mut self.stack) {
                break;
            }
            left |= round == ROUNDS;
        }
        self.stack.put_out(now);
        self.udp.expire(now);
        let Stack { interface, sockets, .. } = &mut self.stack;
        let due = interface.poll_at(instant(now), sockets).map(|at| {
            let at = Time::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000);
            // Due at once, but the cable is full: the guest has to take frames first.
            at.max(now.saturating_add(SOON))
        });
        let again = left.then(|| now.saturating_add(SOON));
        self.next = earliest(earliest(due, again), self.udp.next_event());
    }

    /// Takes a frame from the guest.
    pub(super) fn take_frame(&mut self, now: Time, bytes: &[u8]) {
        let Ok(frame) = EthernetFrame::new_checked(bytes) else { return };
        let mac = frame.src_addr();
        let to = frame.dst_addr();
        if !mac.is_unicast() || !(to == GATEWAY_MAC || to.is_broadcast()) {
            return;
        }
        match frame.ethertype() {
            // The stack would answer for every address, the guest's own included.
            EthernetProtocol::Arp if asks_for_us(frame.payload()) => self.stack.take_in(now, bytes.to_vec()),
            EthernetProtocol::Ipv4 => self.take_packet(now, mac, bytes, frame.payload()),
            _ => {}
        }
    }

    fn take_packet(&mut self, now: Time, mac: EthernetAddress, bytes: &[u8], payload: &[u8]) {
        let Ok(packet) = Ipv4Packet::new_checked(payload) else { return };
        if packet.version() != 4 || !packet.verify_checksum() {
            return;
        }
        if packet.more_frags() || packet.frag_offset() != 0 {
            if !std::mem::replace(&mut self.reported.fragments, true) {
                log::warn!("the guest sends fragments of IP packets, which the user-mode network drops");
            }
            return;
        }
        let from = packet.src_addr();
        if packet.next_header() == IpProtocol::Udp {
            return self.take_datagram(now, mac, &packet);
        }
        if !is_inside(from) || from == GATEWAY || from == NAME_SERVER {
            return;
        }
        match packet.next_header() {
            IpProtocol::Tcp => self.take_segment(now, bytes, &packet),
            IpProtocol::Icmp => {
                let Ok(icmp) = Icmpv4Packet::new_checked(packet.payload()) else { return };
                if [GATEWAY, NAME_SERVER].contains(&packet.dst_addr()) {
                    self.stack.take_in(now, bytes.to_vec());
                } else if icmp.msg_type() == Icmpv4Message::EchoRequest && packet.dst_addr() != Ipv4Address::BROADCAST {
                    if !std::mem::replace(&mut self.reported.ping, true) {
                        log::warn!("the guest pings {}, but the network answers only for itself", packet.dst_addr());
                    }
                    self.refuse(mac, &packet, Icmpv4DstUnreachable::HostProhibited);
                }
            }
            _ => self.refuse(mac, &packet, Icmpv4DstUnreachable::ProtoUnreachable),
        }
    }

    fn refuse(&mut self, mac: EthernetAddress, packet: &Ipv4Packet<&[u8]>, reason: Icmpv4DstUnreachable) {
        self.stack.wire.put(frames::unreachable(mac, packet, GATEWAY, reason));
    }

    fn take_segment(&mut self, now: Time, bytes: &[u8], packet: &Ipv4Packet<&[u8]>) {
        let Ok(segment) = TcpPacket::new_checked(packet.payload()) else { return };
        let guest = SocketAddrV4::new(packet.src_addr(), segment.src_port());
        let peer = SocketAddrV4::new(packet.dst_addr(), segment.dst_port());
        let opens = segment.syn() && !segment.ack() && !segment.rst();
        if opens && !self.tcp.knows(guest, peer) {
            match self.policy.judge(*peer.ip(), peer.port()) {
                Verdict::To(address) => {
                    // The guest's SYN waits until the host is connected, so that a refusal is one for the guest, too.
                    if self.tcp.open(guest, peer, address, bytes, &mut self.waiter) {
                        return;
                    }
                }
                Verdict::Closed(reason) => self.report(reason, peer),
            }
        } else if opens && self.tcp.is_opening(guest, peer) {
            return;
        }
        // With no socket for it, the stack answers with a reset.
        self.stack.take_in(now, bytes.to_vec());
    }

    fn take_datagram(&mut self, now: Time, mac: EthernetAddress, packet: &Ipv4Packet<&[u8]>) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload()) else { return };
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        if !datagram.verify_checksum(&from.into(), &to.into()) {
            return;
        }
        if datagram.dst_port() == dhcp::SERVER_PORT && (to == Ipv4Address::BROADCAST || to == GATEWAY) {
            if let Some(answer) = dhcp::answer(datagram.payload(), self.bootfile.as_deref()) {
                let server = SocketAddrV4::new(GATEWAY, dhcp::SERVER_PORT);
                let frames = frames::udp(answer.mac, server, answer.to, &answer.message, 0);
                self.stack.wire.put(frames);
            }
            return;
        }
        let is_group = to.octets()[3] == 255 && is_inside(to) || to.is_multicast() || to.is_broadcast();
        if is_group || !is_inside(from) || from == GATEWAY || from == NAME_SERVER || datagram.src_port() == 0 {
            return;
        }
        let guest = SocketAddrV4::new(from, datagram.src_port());
        let peer = SocketAddrV4::new(to, datagram.dst_port());
        if to == GATEWAY
            && let Some(server) = &mut self.tftp
            && [tftp::SERVER_PORT, tftp::TRANSFER_PORT].contains(&peer.port())
        {
            let answer = match peer.port() {
                tftp::SERVER_PORT => Some(server.request(guest, datagram.payload())),
                _ => server.transfer(guest, datagram.payload()),
            };
            let from = SocketAddrV4::new(GATEWAY, tftp::TRANSFER_PORT);
            self.stack.wire.put(answer.iter().flat_map(|answer| frames::udp(mac, from, guest, answer, 0)));
            return;
        }
        if self.udp.send(now, mac, guest, peer, datagram.payload()) {
            return;
        }
        match self.policy.judge(to, peer.port()) {
            Verdict::To(address) => {
                self.udp.open(now, mac, guest, peer, address, &mut self.waiter);
                self.udp.send(now, mac, guest, peer, datagram.payload());
            }
            Verdict::Closed(reason) => {
                self.report(reason, peer);
                self.refuse(mac, packet, Icmpv4DstUnreachable::PortUnreachable);
            }
        }
    }

    fn report(&mut self, reason: Reason, peer: SocketAddrV4) {
        let (said, whose, option) = match reason {
            Reason::Loopback => (&mut self.reported.loopback, "the host itself", "loopback"),
            Reason::Lan => (&mut self.reported.lan, "the host's own network", "lan"),
            Reason::Nobody => return,
        };
        if !std::mem::replace(said, true) {
            log::warn!("the guest wants {peer}, which is {whose}; --net user,allow={option} would let it");
        }
    }
}

/// Whether an ARP packet asks for, or answers, one of the addresses that are really on the cable.
fn asks_for_us(payload: &[u8]) -> bool {
    let Ok(arp) = ArpPacket::new_checked(payload) else { return false };
    [GATEWAY, NAME_SERVER].iter().any(|address| arp.target_protocol_addr() == address.octets())
}
