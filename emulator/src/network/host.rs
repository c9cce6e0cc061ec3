//! What the host says of its own network: name server, addresses and attached networks.

use super::policy::Range;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The first name server in the host's resolver configuration.
pub(super) fn name_server() -> Option<SocketAddr> {
    parse_resolver(&std::fs::read_to_string("/etc/resolv.conf").ok()?)
}

fn parse_resolver(text: &str) -> Option<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    servers.filter_map(|word| word.parse::<IpAddr>().ok()).map(|address| SocketAddr::new(address, 53)).next()
}

/// The networks that the host is attached to, and its own addresses. Empty where the host has no such files.
pub(super) fn attached() -> Vec<Range> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut ranges = parse_routes(&read("/proc/net/route"));
    ranges.extend(parse_local(&read("/proc/net/fib_trie")));
    ranges
}

/// Routes without a gateway in Linux's table: destination and mask are in memory order.
fn parse_routes(table: &str) -> Vec<Range> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| u32::from_str_radix(fields.get(i)?, 16).ok().map(u32::to_be);
        let (base, gateway, mask) = (number(1)?, number(2)?, number(7)?);
        (gateway == 0 && mask != 0).then_some(Range { base: base & mask, mask })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The host's own addresses, in Linux's dump of its routing trie: the line before each `host LOCAL`.
fn parse_local(trie: &str) -> Vec<Range> {
    let lines: Vec<&str> = trie.lines().collect();
    let own = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    own.filter_map(|pair| pair[0].rsplit(' ').next()?.parse::<Ipv4Addr>().ok())
        .map(|address| Range::new(address.octets(), 32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolver_configuration() {
        let text = "# comment\nsearch example.org\nnameserver x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(parse_resolver(text), Some("192.0.2.1:53".parse().unwrap()));
        assert_eq!(parse_resolver("nameserver ::1\n"), Some("[::1]:53".parse().unwrap()));
        assert_eq!(parse_resolver("options edns0\n"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_and_addresses() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n\
            eth0 0071CBC0 00000000 0001 0 0 0 00FFFFFF 0 0 0\nbroken\n";
        assert_eq!(parse_routes(table), [Range::new([192, 203, 113, 0], 24)]);
        let trie = "Local:\n  |-- 192.0.2.9\n     /32 host LOCAL\n  |-- 192.0.2.255\n     /32 link BROADCAST\n";
        assert_eq!(parse_local(trie), [Range::new([192, 0, 2, 9], 32)]);
        assert_eq!((parse_routes(""), parse_local("")), (vec![], vec![]));
    }
}
