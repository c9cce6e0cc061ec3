//! TCP: each connection of the guest ends here, in a socket of the stack, and goes on in a socket of the host.

use super::nat::Stack;
use super::options::Forward;
use super::waiter::Waiter;
use super::{GATEWAY, GUEST};
use crate::error::{Error, Result};
use mio::net::{TcpListener, TcpStream};
use ring86_devices::Time;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint, IpListenEndpoint};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4};

/// Connections at a time, those that are being opened included.
const FLOWS: usize = 256;
/// Bytes buffered in each direction of each connection.
const BUFFER: usize = 64 << 10;
/// Silence after which the stack asks the guest whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Silence after which a connection is given up.
const TIMEOUT: Duration = Duration::from_secs(180);
/// Local ports of the gateway's connections into the guest.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49152..=65535;

#[derive(Debug)]
struct Flow {
    guest: SocketAddrV4,
    /// Whom the guest talks to, as it sees it.
    peer: SocketAddrV4,
    stream: TcpStream,
    /// The guest's SYN, while the host connects.
    syn: Option<Vec<u8>>,
    handle: Option<SocketHandle>,
    /// The host will send no more.
    host_ended: bool,
    /// The guest will send no more, and the host was told.
    guest_ended: bool,
}

#[derive(Debug)]
struct Door {
    listener: TcpListener,
    guest_port: u16,
}

/// The connections.
#[derive(Debug)]
pub(super) struct TcpFlows {
    flows: Vec<Flow>,
    doors: Vec<Door>,
    next_port: u16,
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A forward that the host refuses.
pub(super) fn refused(forward: &Forward, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use; choose another or end the program that has it".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need more rights; choose a higher one".to_owned(),
        io::ErrorKind::AddrNotAvailable => "the host has no such address".to_owned(),
        _ => error.to_string(),
    };
    Error::new(format!("--forward {forward}: cannot listen on {}: {reason}", forward.listen))
}

fn new_socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_timeout(Some(TIMEOUT));
    socket
}

impl TcpFlows {
    /// Listens on the host's side of the forwards.
    ///
    /// # Errors
    /// If a port is taken or forbidden.
    pub(super) fn new<'a>(forwards: impl Iterator<Item = &'a Forward>, waiter: &mut Waiter) -> Result<Self> {
        let mut doors = Vec::new();
        for forward in forwards {
            let mut listener = TcpListener::bind(forward.listen).map_err(|e| refused(forward, &e))?;
            waiter.watch(&mut listener).map_err(|e| refused(forward, &e))?;
            doors.push(Door { listener, guest_port: forward.guest_port });
        }
        Ok(TcpFlows { flows: Vec::new(), doors, next_port: *EPHEMERAL.start() })
    }

    fn find(&self, guest: SocketAddrV4, peer: SocketAddrV4) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.guest == guest && flow.peer == peer)
    }

    /// Whether there is such a connection.
    pub(super) fn knows(&self, guest: SocketAddrV4, peer: SocketAddrV4) -> bool {
        self.find(guest, peer).is_some()
    }

    /// Whether the host is still connecting for it.
    pub(super) fn is_opening(&self, guest: SocketAddrV4, peer: SocketAddrV4) -> bool {
        self.find(guest, peer).is_some_and(|flow| flow.syn.is_some())
    }

    /// Whether the host may still have something to say.
    pub(super) fn is_busy(&self) -> bool {
        self.flows.iter().any(|flow| !(flow.host_ended && flow.guest_ended))
    }

    /// Begins to connect to `address` for the guest, whose SYN is `syn`. False if that cannot even begin.
    pub(super) fn open(
        &mut self,
        guest: SocketAddrV4,
        peer: SocketAddrV4,
        address: SocketAddr,
        syn: &[u8],
        waiter: &mut Waiter,
    ) -> bool {
        if self.flows.len() >= FLOWS {
            return false;
        }
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        if waiter.watch(&mut stream).is_err() {
            return false;
        }
        let syn = Some(syn.to_vec());
        let flow = Flow { guest, peer, stream, syn, handle: None, host_ended: false, guest_ended: false };
        self.flows.push(flow);
        true
    }

    /// Takes connections that came to the forwarded ports.
    pub(super) fn accept(&mut self, stack: &mut Stack, waiter: &mut Waiter) {
        for i in 0..self.doors.len() {
            while self.flows.len() < FLOWS {
                let Some(door) = self.doors.get(i) else { return };
                let Ok((mut stream, _)) = door.listener.accept() else { break };
                let (guest, local) = (SocketAddrV4::new(GUEST, door.guest_port), self.free_port(door.guest_port));
                if waiter.watch(&mut stream).is_err() {
                    continue;
                }
                let mut socket = new_socket();
                let remote = IpEndpoint::new(IpAddress::Ipv4(*guest.ip()), guest.port());
                let from = IpListenEndpoint { addr: Some(IpAddress::Ipv4(*local.ip())), port: local.port() };
                if socket.connect(stack.interface.context(), remote, from).is_err() {
                    continue;
                }
                let handle = Some(stack.sockets.add(socket));
                let (host_ended, guest_ended) = (false, false);
                self.flows.push(Flow { guest, peer: local, stream, syn: None, handle, host_ended, guest_ended });
            }
        }
    }

    /// A port of the gateway from which there is no connection to the guest's port yet.
    fn free_port(&mut self, guest_port: u16) -> SocketAddrV4 {
        loop {
            let local = SocketAddrV4::new(GATEWAY, self.next_port);
            self.next_port = if self.next_port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { self.next_port + 1 };
            // There are fewer flows than ports.
            if !self.knows(SocketAddrV4::new(GUEST, guest_port), local) {
                return local;
            }
        }
    }

    /// Moves what can be moved, both ways. True if something was.
    pub(super) fn pump(&mut self, now: Time, stack: &mut Stack) -> bool {
        let mut moved = false;
        self.flows.retain_mut(|flow| {
            let (keep, progress) = flow.pump(now, stack);
            moved |= progress;
            if !keep && let Some(handle) = flow.handle.take() {
                stack.sockets.remove(handle);
            }
            keep
        });
        moved
    }
}

impl Flow {
    /// Whether the connection goes on, and whether something moved.
    fn pump(&mut self, now: Time, stack: &mut Stack) -> (bool, bool) {
        if let Some(syn) = &self.syn {
            match connected(&self.stream) {
                Ok(false) => return (true, false),
                Ok(true) => {
                    let mut socket = new_socket();
                    let local =
                        IpListenEndpoint { addr: Some(IpAddress::Ipv4(*self.peer.ip())), port: self.peer.port() };
                    if socket.listen(local).is_ok() {
                        self.handle = Some(stack.sockets.add(socket));
                    }
                    drop(self.stream.set_nodelay(true));
                }
                // The stack refuses the SYN, having no socket for it.
                Err(_) => {}
            }
            let syn = syn.clone();
            self.syn = None;
            stack.take_in(now, syn);
            return (self.handle.is_some(), true);
        }
        let Some(handle) = self.handle else { return (false, false) };
        let socket = stack.sockets.get_mut::<Socket<'_>>(handle);
        if matches!(socket.state(), State::Closed | State::Listen) {
            // Reset, timed out, or over. (A listening socket that did not take the SYN it was made for is of no use.)
            return (false, false);
        }
        let result = self.upload(socket).and_then(|up| Ok(self.download(socket)? | up));
        match result {
            Ok(progress) => (true, progress),
            Err(_) => {
                socket.abort();
                (true, true)
            }
        }
    }

    fn upload(&mut self, socket: &mut Socket<'_>) -> io::Result<bool> {
        let mut moved = false;
        while socket.can_recv() {
            let written = socket.recv(|bytes| match self.stream.write(bytes) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match written {
                Ok(Ok(0)) | Err(_) => break,
                Ok(Ok(_)) => moved = true,
                Ok(Err(error)) if would_block(&error) => break,
                // The host's peer closed its side; what it sent before that is still for the guest.
                Ok(Err(error)) => return Err(error),
            }
        }
        let closing = matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if closing && !socket.can_recv() && !self.guest_ended {
            self.guest_ended = true;
            // The peer may be gone already, which reading will show.
            drop(self.stream.shutdown(Shutdown::Write));
            moved = true;
        }
        Ok(moved)
    }

    fn download(&mut self, socket: &mut Socket<'_>) -> io::Result<bool> {
        let mut moved = false;
        while !self.host_ended && socket.can_send() {
            let read = socket.send(|room| match self.stream.read(room) {
                Ok(count) => (count, Ok(count)),
                Err(error) => (0, Err(error)),
            });
            match read {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    socket.close();
                    moved = true;
                }
                Ok(Ok(_)) => moved = true,
                Ok(Err(error)) if would_block(&error) => break,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(moved)
    }
}

/// Whether a connection that was begun stands by now.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
