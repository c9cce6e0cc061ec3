//! What the guest may reach.
//!
//! The guest may talk to the world outside. The host itself and the network it is attached to are another matter:
//! services there often trust whoever reaches them. They are closed unless the user opens them, and "the host's own
//! network" is taken widely: private and link-local ranges (with the metadata services of clouds), and whatever the
//! host's routing table says is directly attached, the host's own addresses included.

use super::{GATEWAY, NAME_SERVER, host, is_inside};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// What the user opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The gateway's address leads to the host's loopback interface.
    pub loopback: bool,
    /// The host's addresses and the networks it is attached to.
    pub lan: bool,
}

/// Where a destination leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To this address.
    To(SocketAddr),
    /// Nowhere; the reason is for the log.
    Closed(Reason),
}

/// Why a destination is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is the host's loopback.
    Loopback,
    /// It is the host's own network.
    Lan,
    /// Nobody is there, or nobody can be.
    Nobody,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) base: u32,
    pub(super) mask: u32,
}

impl Range {
    pub(super) const fn new(base: [u8; 4], bits: u32) -> Self {
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        Range { base: u32::from_be_bytes(base) & mask, mask }
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask == self.base
    }
}

/// What belongs to a local network wherever it is: private (RFC 1918), shared by carriers (RFC 6598), link-local
/// (RFC 3927), benchmarks (RFC 2544).
const LOCAL: [Range; 6] = [
    Range::new([10, 0, 0, 0], 8),
    Range::new([172, 16, 0, 0], 12),
    Range::new([192, 168, 0, 0], 16),
    Range::new([100, 64, 0, 0], 10),
    Range::new([169, 254, 0, 0], 16),
    Range::new([198, 18, 0, 0], 15),
];

/// What no packet may be sent to: this network, loopback, protocol assignments, multicast and everything above.
const NOWHERE: [Range; 4] = [
    Range::new([0, 0, 0, 0], 8),
    Range::new([127, 0, 0, 0], 8),
    Range::new([192, 0, 0, 0], 24),
    Range::new([224, 0, 0, 0], 3),
];

/// How long what the host said of its networks holds.
const FRESH: Duration = Duration::from_secs(5);

/// The rules of one network.
#[derive(Debug)]
pub(super) struct Policy {
    allow: Allow,
    dns: Option<SocketAddr>,
    attached: Vec<Range>,
    asked: Option<Instant>,
}

impl Policy {
    /// The rules for `allow`; `dns` stands in for the host's name server.
    pub(super) fn new(allow: Allow, dns: Option<SocketAddr>) -> Self {
        let dns = dns.or_else(host::name_server);
        Policy { allow, dns, attached: host::attached(), asked: Some(Instant::now()) }
    }

    #[cfg(test)]
    fn with_attached(allow: Allow, attached: Vec<Range>) -> Self {
        Policy { allow, dns: Some("192.0.2.53:53".parse().unwrap()), attached, asked: None }
    }

    /// Where `address` leads for a guest that wants `port`.
    pub(super) fn judge(&mut self, address: Ipv4Addr, port: u16) -> Verdict {
        let to = |address: Ipv4Addr| Verdict::To(SocketAddr::new(IpAddr::V4(address), port));
        if port == 0 {
            return Verdict::Closed(Reason::Nobody);
        }
        if address == GATEWAY {
            return if self.allow.loopback { to(Ipv4Addr::LOCALHOST) } else { Verdict::Closed(Reason::Loopback) };
        }
        if address == NAME_SERVER && port == 53 {
            return self.dns.map_or(Verdict::Closed(Reason::Nobody), Verdict::To);
        }
        if is_inside(address) || NOWHERE.iter().any(|range| range.contains(address)) {
            return Verdict::Closed(Reason::Nobody);
        }
        if self.allow.lan {
            return to(address);
        }
        if self.asked.is_some_and(|asked| asked.elapsed() > FRESH) {
            self.attached = host::attached();
            self.asked = Some(Instant::now());
        }
        if LOCAL.iter().chain(&self.attached).any(|range| range.contains(address)) {
            return Verdict::Closed(Reason::Lan);
        }
        to(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allow: Allow, address: &str, port: u16) -> Verdict {
        let mut policy = Policy::with_attached(allow, vec![Range::new([203, 0, 113, 0], 24)]);
        policy.judge(address.parse().unwrap(), port)
    }

    fn to(text: &str) -> Verdict {
        Verdict::To(text.parse().unwrap())
    }

    #[test]
    fn the_host_and_its_network_are_closed() {
        let none = Allow::default();
        assert_eq!(judge(none, "10.0.2.2", 22), Verdict::Closed(Reason::Loopback));
        for lan in ["192.168.1.1", "10.1.2.3", "172.31.0.1", "169.254.169.254", "100.64.0.1", "203.0.113.7"] {
            assert_eq!(judge(none, lan, 80), Verdict::Closed(Reason::Lan), "{lan}");
        }
        for nobody in ["127.0.0.1", "127.8.8.8", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.2.3", "10.0.2.77"] {
            for allow in [none, Allow { loopback: true, lan: true }] {
                assert_eq!(judge(allow, nobody, 80), Verdict::Closed(Reason::Nobody), "{nobody}");
            }
        }
        assert_eq!(judge(none, "198.51.100.1", 0), Verdict::Closed(Reason::Nobody));
    }

    #[test]
    fn the_world_is_open_and_the_rest_can_be_opened() {
        assert_eq!(judge(Allow::default(), "198.51.100.1", 80), to("198.51.100.1:80"));
        assert_eq!(judge(Allow::default(), "172.32.0.1", 80), to("172.32.0.1:80"));
        assert_eq!(judge(Allow::default(), "10.0.2.3", 53), to("192.0.2.53:53"));
        let lan = Allow { lan: true, loopback: false };
        assert_eq!(judge(lan, "192.168.1.1", 80), to("192.168.1.1:80"));
        assert_eq!(judge(lan, "10.0.2.2", 80), Verdict::Closed(Reason::Loopback));
        let loopback = Allow { lan: false, loopback: true };
        assert_eq!(judge(loopback, "10.0.2.2", 80), to("127.0.0.1:80"));
        assert_eq!(judge(loopback, "192.168.1.1", 80), Verdict::Closed(Reason::Lan));
    }
}
