//! The user-mode network: what is at the far end of the guest's cable.
//!
//! The guest sees a small network, 10.0.2.0/24: itself at .15 (by DHCP), a gateway at .2, a name server at .3. Behind
//! the gateway, its connections are made anew by this process with ordinary sockets, so nothing on the host needs to
//! be set up. `policy` decides what the guest may reach: neither the host itself nor the host's own network unless
//! the user says so.
//!
//! All of it runs on the machine's thread, between slices, and on guest time: what does not involve the host (DHCP,
//! ARP, answers of the gateway, retransmissions) is the same every time on the virtual clock. Only a thread that waits
//! for the host's sockets is beside it (`waiter`), which says nothing but "look".
//!
//! Every queue, table and buffer has a bound, named where it is defined.

mod cable;
mod dhcp;
mod frames;
mod host;
mod nat;
mod options;
mod pcap;
mod policy;
mod tcp;
#[cfg(test)]
mod tests;
mod tftp;
mod udp;
mod waiter;

pub use cable::{Cable, CardEnd};
pub use options::{CardModel, Forward, Net, Protocol, UserNet};
pub use policy::Allow;

use crate::error::Result;
use nat::Nat;
use pcap::Pcap;
use ring86_devices::Time;
use ring86_translator::Pins;
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use std::sync::Arc;

/// The guest, as DHCP numbers it and as forwards find it.
pub const GUEST: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
/// The gateway.
pub const GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
/// The name server.
pub const NAME_SERVER: Ipv4Address = Ipv4Address::new(10, 0, 2, 3);
/// Bits of the network's prefix.
pub const PREFIX: u8 = 24;
/// Address of the gateway and the name server on the cable.
pub const GATEWAY_MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 10, 0, 2, 2]);

/// True for an address of the guest's own network.
fn is_inside(address: Ipv4Address) -> bool {
    address.octets()[..3] == GATEWAY.octets()[..3]
}

/// The network of one machine.
#[derive(Debug)]
pub struct Network {
    cable: Cable,
    nat: Nat,
    pcap: Option<Pcap>,
}

impl Network {
    /// A network as `options` say, on whose cable a frame from the guest raises EXIT on `pins`.
    ///
    /// # Errors
    /// If a port to forward is taken or the capture file cannot be made.
    pub fn new(options: &UserNet, pins: Arc<Pins>) -> Result<Self> {
        let pcap = options.pcap.as_deref().map(Pcap::create).transpose()?;
        let cable = Cable::new(Arc::clone(&pins));
        Ok(Network { nat: Nat::new(options, pins)?, cable, pcap })
    }

    /// The end of the cable that goes into the card.
    pub fn card_end(&self) -> CardEnd {
        self.cable.card_end()
    }

    /// Moves frames and bytes; called between slices.
    pub fn poll(&mut self, now: Time) {
        if self.cable.is_quiet() && !self.nat.wants_poll(now) {
            return;
        }
        // The guest's frames are taken as long as there is room for answers; the rest waits on the cable.
        while self.cable.has_room() {
            let Some(frame) = self.cable.take() else { break };
            self.record(now, &frame);
            self.nat.take_frame(now, &frame);
            self.deliver(now);
        }
        self.nat.poll(now, self.cable.room());
        self.deliver(now);
    }

    fn deliver(&mut self, now: Time) {
        while let Some(frame) = self.nat.next_frame() {
            self.record(now, &frame);
            self.cable.give(frame);
        }
    }

    fn record(&mut self, now: Time, frame: &[u8]) {
        if let Some(pcap) = &mut self.pcap {
            pcap.record(now, frame);
        }
    }

    /// When the network next wants [`Network::poll`] of its own accord.
    pub fn next_event(&self) -> Option<Time> {
        self.nat.next_event()
    }

    /// True while an answer from outside may come, so that guest time should not run ahead of the host's.
    pub fn awaits_host(&self) -> bool {
        self.nat.awaits_host()
    }
}
