//! Frames to the guest that no socket of the stack makes: UDP with its fragments, and ICMP errors.

use super::GATEWAY_MAC;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr,
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::SocketAddrV4;

/// Ethernet header.
const ETHERNET: usize = 14;
/// IPv4 header without options.
const IPV4: usize = 20;
/// UDP header.
const UDP: usize = 8;
/// Bytes behind an IPv4 header in one frame, a multiple of eight.
const FRAGMENT: usize = 1480;
/// Bytes of the offending packet's payload that an ICMP error quotes.
const QUOTED: usize = 8;
const HOP_LIMIT: u8 = 64;

/// A frame to `mac` with one IPv4 packet, whose header is written here.
fn ipv4_frame(mac: EthernetAddress, repr: &Ipv4Repr, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET + IPV4 + repr.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    EthernetRepr { src_addr: GATEWAY_MAC, dst_addr: mac, ethertype: EthernetProtocol::Ipv4 }.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    fill(packet.payload_mut());
    bytes
}

/// The frames of a UDP datagram, several if it is too long for one. Datagrams longer than UDP allows are dropped.
pub(super) fn udp(
    mac: EthernetAddress,
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: &[u8],
    ident: u16,
) -> Vec<Vec<u8>> {
    let length = UDP + payload.len();
    if length + IPV4 > usize::from(u16::MAX) {
        return Vec::new();
    }
    let mut datagram = vec![0; length];
    let repr = UdpRepr { src_port: from.port(), dst_port: to.port() };
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut datagram[..]),
        &(*from.ip()).into(),
        &(*to.ip()).into(),
        payload.len(),
        |place| place.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    let pieces = datagram.chunks(FRAGMENT).enumerate();
    let frame = |(i, piece): (usize, &[u8])| {
        let repr = Ipv4Repr {
            src_addr: *from.ip(),
            dst_addr: *to.ip(),
            next_header: IpProtocol::Udp,
            payload_len: piece.len(),
            hop_limit: HOP_LIMIT,
        };
        let mut bytes = ipv4_frame(mac, &repr, |place| place.copy_from_slice(piece));
        if length > FRAGMENT {
            let mut packet = Ipv4Packet::new_unchecked(&mut bytes[ETHERNET..]);
            packet.set_ident(ident);
            packet.set_dont_frag(false);
            packet.set_more_frags((i + 1) * FRAGMENT < length);
            packet.set_frag_offset((i * FRAGMENT) as u16);
            packet.fill_checksum();
        }
        bytes
    };
    pieces.map(frame).collect()
}

/// The ICMP error that answers `packet`, a packet from the guest at `mac`.
pub(super) fn unreachable(
    mac: EthernetAddress,
    packet: &Ipv4Packet<&[u8]>,
    from: Ipv4Address,
    reason: Icmpv4DstUnreachable,
) -> Option<Vec<u8>> {
    let header = Ipv4Repr::parse(packet, &ChecksumCapabilities::default()).ok()?;
    let payload = packet.payload();
    let icmp = Icmpv4Repr::DstUnreachable { reason, header, data: &payload[..payload.len().min(QUOTED)] };
    let repr = Ipv4Repr {
        src_addr: from,
        dst_addr: packet.src_addr(),
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let checksums = ChecksumCapabilities::default();
    Some(ipv4_frame(mac, &repr, |place| icmp.emit(&mut Icmpv4Packet::new_unchecked(place), &checksums)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(payload: &[u8]) -> Vec<Vec<u8>> {
        let (from, to) = ("192.0.2.1:53".parse().unwrap(), "10.0.2.15:1024".parse().unwrap());
        udp(EthernetAddress([2; 6]), from, to, payload, 7)
    }

    #[test]
    fn a_long_datagram_is_cut_and_fits_together() {
        let payload: Vec<u8> = (0..4000u32).map(|i| (i / 7) as u8).collect();
        let frames = packets(&payload);
        let mut joined = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            let packet = Ipv4Packet::new_checked(&frame[ETHERNET..]).expect("it is a packet");
            assert!(packet.verify_checksum() && frame.len() <= 1514);
            assert_eq!((packet.ident(), packet.more_frags(), packet.frag_offset()), (7, i < 2, joined.len() as u16));
            joined.extend_from_slice(packet.payload());
        }
        let datagram = UdpPacket::new_checked(&joined[..]).expect("it is a datagram");
        assert_eq!((frames.len(), datagram.payload()), (3, &payload[..]));
        assert!(
            datagram.verify_checksum(&Ipv4Address::new(192, 0, 2, 1).into(), &Ipv4Address::new(10, 0, 2, 15).into())
        );
        assert_eq!((packets(&[]).len(), packets(&vec![0; 65507]).len(), packets(&vec![0; 65508]).len()), (1, 45, 0));
    }
}
