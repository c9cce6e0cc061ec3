//! UDP: a socket of the host for each pair of the guest's port and peer, forgotten after some silence.

use super::nat::Wire;
use super::options::Forward;
use super::tcp::refused;
use super::waiter::Waiter;
use super::{GATEWAY, GUEST, NAME_SERVER, frames};
use crate::error::Result;
use mio::net::UdpSocket;
use ring86_devices::Time;
use ring86_devices::clock::SECOND;
use smoltcp::wire::EthernetAddress;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Flows at a time; the one that was silent longest makes room.
const FLOWS: usize = 128;
/// Silence after which a flow is forgotten.
const IDLE: Time = 60 * SECOND;
/// The same for a question to the name server, which has one answer.
const IDLE_DNS: Time = 15 * SECOND;
/// Datagrams taken from one socket in one poll.
const BURST: usize = 16;
/// Largest datagram.
const DATAGRAM: usize = 65535;
/// First of the gateway's ports that stand for the senders to forwarded ports.
const FIRST_PORT: u16 = 49152;

#[derive(Debug)]
enum Via {
    /// A socket of the flow's own, connected to its peer.
    Own(UdpSocket),
    /// A forwarded port, to which this sender sent.
    Door(usize, SocketAddr),
}

#[derive(Debug)]
struct Flow {
    guest: SocketAddrV4,
    peer: SocketAddrV4,
    mac: EthernetAddress,
    via: Via,
    used: Time,
}

#[derive(Debug)]
struct Door {
    socket: UdpSocket,
    guest_port: u16,
}

/// The flows.
#[derive(Debug)]
pub(super) struct UdpFlows {
    flows: Vec<Flow>,
    doors: Vec<Door>,
    /// Where the guest was last heard of; forwarded datagrams wait for that.
    guest_mac: Option<EthernetAddress>,
    next_port: u16,
    /// Number of the next datagram that has to be cut.
    ident: u16,
    buffer: Box<[u8]>,
}

impl Flow {
    fn idle_limit(&self) -> Time {
        if *self.peer.ip() == NAME_SERVER { IDLE_DNS } else { IDLE }
    }
}

impl UdpFlows {
    /// Listens on the host's side of the forwards.
    ///
    /// # Errors
    /// If a port is taken or forbidden.
    pub(super) fn new<'a>(forwards: impl Iterator<Item = &'a Forward>, waiter: &mut Waiter) -> Result<Self> {
        let mut doors = Vec::new();
        for forward in forwards {
            let mut socket = UdpSocket::bind(forward.listen).map_err(|e| refused(forward, &e))?;
            waiter.watch(&mut socket).map_err(|e| refused(forward, &e))?;
            doors.push(Door { socket, guest_port: forward.guest_port });
        }
        let buffer = vec![0; DATAGRAM].into_boxed_slice();
        Ok(UdpFlows { flows: Vec::new(), doors, guest_mac: None, next_port: FIRST_PORT, ident: 0, buffer })
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.flows.is_empty()
    }

    /// When the next flow is forgotten.
    pub(super) fn next_event(&self) -> Option<Time> {
        self.flows.iter().map(|flow| flow.used.saturating_add(flow.idle_limit())).min()
    }

    /// Forgets flows that were silent too long.
    pub(super) fn expire(&mut self, now: Time) {
        self.flows.retain(|flow| now < flow.used.saturating_add(flow.idle_limit()));
    }

    /// Sends for the guest; false if there is no such flow yet.
    pub(super) fn send(
        &mut self,
        now: Time,
        mac: EthernetAddress,
        guest: SocketAddrV4,
        peer: SocketAddrV4,
        payload: &[u8],
    ) -> bool {
        self.guest_mac = Some(mac);
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.guest == guest && flow.peer == peer) else {
            return false;
        };
        (flow.used, flow.mac) = (now, mac);
        // A datagram that the host does not take is lost, as datagrams are.
        drop(match &flow.via {
            Via::Own(socket) => socket.send(payload),
            Via::Door(door, sender) => match self.doors.get(*door) {
                Some(door) => door.socket.send_to(payload, *sender),
                None => Ok(0),
            },
        });
        true
    }

    /// Makes a flow to `address` for the guest.
    pub(super) fn open(
        &mut self,
        now: Time,
        mac: EthernetAddress,
        guest: SocketAddrV4,
        peer: SocketAddrV4,
        address: SocketAddr,
        waiter: &mut Waiter,
    ) {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let Ok(mut socket) = UdpSocket::bind(any) else { return };
        // Connected, so that only the peer's datagrams come in.
        if socket.connect(address).is_ok() && waiter.watch(&mut socket).is_ok() {
            self.add(Flow { guest, peer, mac, via: Via::Own(socket), used: now });
        }
    }

    fn add(&mut self, flow: Flow) {
        if self.flows.len() >= FLOWS
            && let Some((oldest, _)) = self.flows.iter().enumerate().min_by_key(|(_, flow)| flow.used)
        {
            self.flows.swap_remove(oldest);
        }
        self.flows.push(flow);
    }

    /// Brings what came for the guest, as far as there is room. True if something may be left.
    pub(super) fn receive(&mut self, now: Time, wire: &mut Wire) -> bool {
        let mut left = false;
        for flow in &mut self.flows {
            let Via::Own(socket) = &flow.via else { continue };
            for i in 0.. {
                if i == BURST || !wire.has_room() {
                    left = true;
                    break;
                }
                let Ok(count) = socket.recv(&mut self.buffer) else { break };
                flow.used = now;
                self.ident = self.ident.wrapping_add(1);
                wire.put(frames::udp(flow.mac, flow.peer, flow.guest, &self.buffer[..count], self.ident));
            }
        }
        for door in 0..self.doors.len() {
            for i in 0.. {
                if i == BURST || !wire.has_room() {
                    left = true;
                    break;
                }
                if !self.take_from_door(now, door, wire) {
                    break;
                }
            }
        }
        left
    }

    fn take_from_door(&mut self, now: Time, i: usize, wire: &mut Wire) -> bool {
        let Some(door) = self.doors.get(i) else { return false };
        let guest = SocketAddrV4::new(GUEST, door.guest_port);
        let Ok((count, sender)) = door.socket.recv_from(&mut self.buffer) else { return false };
        // A guest that was never heard of cannot be reached without asking for it, so everybody hears it.
        let mac = self.guest_mac.unwrap_or(EthernetAddress::BROADCAST);
        let known = |flow: &&mut Flow| matches!(&flow.via, Via::Door(d, s) if *d == i && *s == sender);
        let peer = match self.flows.iter_mut().find(known) {
            Some(flow) => {
                flow.used = now;
                flow.peer
            }
            None => {
                let peer = SocketAddrV4::new(GATEWAY, self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                self.add(Flow { guest, peer, mac, via: Via::Door(i, sender), used: now });
                peer
            }
        };
        self.ident = self.ident.wrapping_add(1);
        wire.put(frames::udp(mac, peer, guest, &self.buffer[..count], self.ident));
        true
    }
}
