//! The DHCP server (RFC 2131, RFC 2132): one address, for whoever asks.

use super::{GATEWAY, GUEST, NAME_SERVER, PREFIX};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use std::net::SocketAddrV4;

/// Where servers listen.
pub(super) const SERVER_PORT: u16 = 67;
/// Where clients listen.
const CLIENT_PORT: u16 = 68;
/// Fixed part of a message, before the options.
const FIXED: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Seconds for which the address is the guest's.
const LEASE: u32 = 86_400;
/// Bytes of the fixed part's field for the name of what to start.
pub(super) const BOOTFILE: usize = 128;
/// Messages shorter than BOOTP's are refused by old clients.
const LEAST: usize = 300;

mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const SUBNET_MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const NAME_SERVER: u8 = 6;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const TFTP_SERVER: u8 = 66;
    pub(super) const BOOTFILE: u8 = 67;
    pub(super) const END: u8 = 255;
}

mod message {
    pub(super) const DISCOVER: u8 = 1;
    pub(super) const OFFER: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const ACK: u8 = 5;
    pub(super) const NAK: u8 = 6;
    pub(super) const INFORM: u8 = 8;
}

/// The answer to a message, with where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) mac: EthernetAddress,
    pub(super) to: SocketAddrV4,
    pub(super) message: Vec<u8>,
}

/// The value of the first option `code`.
fn find(options: &[u8], code: u8) -> Option<&[u8]> {
    let mut rest = options;
    loop {
        match *rest {
            [option::PAD, ref tail @ ..] => rest = tail,
            [option::END, ..] | [] | [_] => return None,
            [this, length, ref tail @ ..] => {
                let value = tail.get(..length.into())?;
                if this == code {
                    return Some(value);
                }
                rest = &tail[length.into()..];
            }
        }
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Address> {
    Some(Ipv4Address::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?))
}

/// Answers a client's message, naming `bootfile` at this server; `None` if it is no question, or a question to another
/// server.
pub(super) fn answer(request: &[u8], bootfile: Option<&str>) -> Option<Answer> {
    let fixed = request.get(..FIXED)?;
    // A request over Ethernet with addresses of six bytes.
    if fixed[..3] != [1, 1, 6] {
        return None;
    }
    let options = request.get(FIXED..).and_then(|rest| rest.strip_prefix(&MAGIC)).unwrap_or(&[]);
    let mac = EthernetAddress::from_bytes(&fixed[28..34]);
    if !mac.is_unicast() {
        return None;
    }
    let client = address(&fixed[12..16])?;
    let kind = find(options, option::MESSAGE_TYPE).and_then(|value| value.first().copied());
    let reply = match kind {
        // Without a type it is BOOTP, which asks once and has the address for good.
        None => None,
        Some(message::DISCOVER) => Some(message::OFFER),
        Some(message::REQUEST) => {
            if find(options, option::SERVER).and_then(address).is_some_and(|server| server != GATEWAY) {
                return None;
            }
            let wanted = find(options, option::REQUESTED).and_then(address).unwrap_or(client);
            Some(if wanted == GUEST { message::ACK } else { message::NAK })
        }
        Some(message::INFORM) => Some(message::ACK),
        Some(_) => return None,
    };
    let inform = kind == Some(message::INFORM);
    let refused = reply == Some(message::NAK);
    let mut out = vec![0; FIXED];
    out[..3].copy_from_slice(&[2, 1, 6]);
    // Transaction, flags and hardware address come back as they were.
    out[4..8].copy_from_slice(&fixed[4..8]);
    out[10..12].copy_from_slice(&fixed[10..12]);
    out[28..44].copy_from_slice(&fixed[28..44]);
    if inform {
        out[12..16].copy_from_slice(&client.octets());
    } else if !refused {
        out[16..20].copy_from_slice(&GUEST.octets());
    }
    out.extend(MAGIC);
    if let Some(kind) = reply {
        out.extend([option::MESSAGE_TYPE, 1, kind]);
        out.extend([option::SERVER, 4]);
        out.extend(GATEWAY.octets());
    }
    if !refused {
        if reply.is_some() && !inform {
            out.extend([option::LEASE_TIME, 4]);
            out.extend(LEASE.to_be_bytes());
        }
        out.extend([option::SUBNET_MASK, 4]);
        out.extend((u32::MAX << (32 - u32::from(PREFIX))).to_be_bytes());
        for (code, server) in [(option::ROUTER, GATEWAY), (option::NAME_SERVER, NAME_SERVER)] {
            out.extend([code, 4]);
            out.extend(server.octets());
        }
    }
    if let Some(name) = bootfile.filter(|name| !refused && name.len() < BOOTFILE) {
        out[20..24].copy_from_slice(&GATEWAY.octets());
        out[FIXED - BOOTFILE..][..name.len()].copy_from_slice(name.as_bytes());
        for (code, text) in [(option::TFTP_SERVER, GATEWAY.to_string().as_str()), (option::BOOTFILE, name)] {
            out.extend([code, text.len() as u8]);
            out.extend(text.as_bytes());
        }
    }
    out.push(option::END);
    out.resize(out.len().max(LEAST), 0);
    let to = if inform && !client.is_unspecified() { client } else { Ipv4Address::BROADCAST };
    let mac = if refused { EthernetAddress::BROADCAST } else { mac };
    Some(Answer { mac, to: SocketAddrV4::new(to, CLIENT_PORT), message: out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, extra: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
        bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        bytes.extend(MAGIC);
        bytes.extend([0, option::MESSAGE_TYPE, 1, kind]);
        bytes.extend(extra);
        bytes.push(option::END);
        bytes
    }

    fn kind_and_address(answer: &Answer) -> (u8, &[u8]) {
        let options = &answer.message[FIXED + 4..];
        (find(options, option::MESSAGE_TYPE).unwrap()[0], &answer.message[16..20])
    }

    #[test]
    fn an_address_is_offered_and_confirmed() {
        let offer = answer(&request(message::DISCOVER, &[]), None).unwrap();
        assert_eq!(kind_and_address(&offer), (message::OFFER, &[10, 0, 2, 15][..]));
        assert_eq!((offer.mac.0[0], offer.message[0], &offer.message[4..8]), (0x52, 2, &[1, 2, 3, 4][..]));
        let options = &offer.message[FIXED + 4..];
        assert_eq!(find(options, option::ROUTER), Some(&[10, 0, 2, 2][..]));
        assert_eq!(find(options, option::NAME_SERVER), Some(&[10, 0, 2, 3][..]));
        assert_eq!(find(options, option::SUBNET_MASK), Some(&[255, 255, 255, 0][..]));
        let ack = answer(&request(message::REQUEST, &[50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]), None).unwrap();
        assert_eq!(kind_and_address(&ack), (message::ACK, &[10, 0, 2, 15][..]));
    }

    #[test]
    fn other_addresses_are_refused_and_other_servers_left_alone() {
        let nak = answer(&request(message::REQUEST, &[50, 4, 192, 168, 0, 9]), None).unwrap();
        assert_eq!((kind_and_address(&nak), nak.mac), ((message::NAK, &[0; 4][..]), EthernetAddress::BROADCAST));
        assert_eq!(answer(&request(message::REQUEST, &[54, 4, 10, 0, 2, 9]), None), None);
        assert_eq!(answer(&request(7, &[]), None), None, "a release");
        let bootp = answer(&request(message::DISCOVER, &[])[..FIXED], None).unwrap();
        assert_eq!(&bootp.message[16..20], [10, 0, 2, 15]);
    }

    #[test]
    fn what_to_start_is_in_the_fixed_part_and_in_options() {
        let offer = answer(&request(message::DISCOVER, &[]), Some("boot/a.0")).unwrap();
        assert_eq!((&offer.message[20..24], &offer.message[108..117]), (&[10, 0, 2, 2][..], &b"boot/a.0\0"[..]));
        let options = &offer.message[FIXED + 4..];
        assert_eq!(find(options, option::TFTP_SERVER), Some(&b"10.0.2.2"[..]));
        assert_eq!(find(options, option::BOOTFILE), Some(&b"boot/a.0"[..]));
        let without = answer(&request(message::DISCOVER, &[]), None).unwrap();
        assert_eq!(&without.message[20..24], [0; 4]);
    }

    #[test]
    fn broken_messages_are_dropped() {
        let good = request(message::REQUEST, &[50, 4, 10, 0, 2, 15]);
        for length in 0..good.len() {
            answer(&good[..length], None);
        }
        assert_eq!(answer(&good[..FIXED - 1], None), None);
        let cut = request(message::DISCOVER, &[50, 200, 1]);
        assert!(answer(&cut, None).is_some(), "an option beyond the end is no option");
        let mut other = good;
        other[2] = 16;
        assert_eq!(answer(&other, None), None);
    }
}
