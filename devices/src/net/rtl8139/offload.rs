//! What the RTL8139C+ does to IPv4 packets on their way: checksums, and cutting a large TCP send into segments.
//!
//! Lengths in headers come from the guest. Every one is checked against the bytes that are there, and a packet that
//! does not hold what its headers promise passes as it is (CVE-2015-5165 was about believing them).

use crate::net::HEADER;

/// Largest frame that a large send may be cut from.
pub(super) const MAX_LARGE: usize = 64 << 10;

/// Least segment size of a large send, what no TCP goes below; a smaller one would make floods of tiny frames.
pub(super) const MSS_MIN: usize = 48;

/// Protocol numbers in IPv4 headers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The ones' complement sum of RFC 1071 over `data`, not yet folded, continued from `sum`.
fn sum(data: &[u8], sum: u64) -> u64 {
    let mut pairs = data.chunks_exact(2);
    let total = pairs.by_ref().fold(sum, |sum, pair| sum + u64::from(u16::from_be_bytes([pair[0], pair[1]])));
    total + pairs.remainder().first().map_or(0, |&last| u64::from(last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the parts of an IPv4 frame lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// End of the IP header, start of what it carries.
    payload: usize,
    /// End of the packet; Ethernet padding lies behind.
    end: usize,
    protocol: u8,
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

fn set_word(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The layout of an IPv4 frame that is no fragment; `None` if it is anything else or contradicts itself.
fn layout(frame: &[u8]) -> Option<Layout> {
    if word(frame, 12)? != 0x0800 {
        return None;
    }
    let first = *frame.get(HEADER)?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(word(frame, HEADER + 2)?);
    let fragment = word(frame, HEADER + 6)? & 0x3FFF != 0;
    let (payload, end) = (HEADER + header, HEADER + total);
    if first >> 4 != 4 || header < 20 || total < header || end > frame.len() || fragment {
        return None;
    }
    Some(Layout { payload, end, protocol: *frame.get(HEADER + 9)? })
}

fn pseudo_header(frame: &[u8], layout: Layout) -> u64 {
    let length = layout.end - layout.payload;
    sum(&frame[HEADER + 12..HEADER + 20], u64::from(layout.protocol) + length as u64)
}

/// Where the checksum of a TCP or UDP packet lies in the frame.
fn checksum_place(layout: Layout) -> Option<usize> {
    let (place, least) = match layout.protocol {
        TCP => (16, 20),
        UDP => (6, 8),
        _ => return None,
    };
    (layout.end - layout.payload >= least).then_some(layout.payload + place)
}

/// Which checksums are to be filled in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) ip: bool,
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

/// Fills in the checksums that the descriptor asks for.
pub(super) fn fill_checksums(frame: &mut [u8], wanted: Wanted) {
    let Some(layout) = layout(frame) else { return };
    if wanted.ip {
        set_word(frame, HEADER + 10, 0);
        let value = fold(sum(&frame[HEADER..layout.payload], 0));
        set_word(frame, HEADER + 10, value);
    }
    let applies = layout.protocol == TCP && wanted.tcp || layout.protocol == UDP && wanted.udp;
    if let Some(place) = checksum_place(layout).filter(|_| applies) {
        set_word(frame, place, 0);
        let value = fold(sum(&frame[layout.payload..layout.end], pseudo_header(frame, layout)));
        let value = if value == 0 && layout.protocol == UDP { 0xFFFF } else { value };
        set_word(frame, place, value);
    }
}

/// Cuts a frame with a large TCP segment into frames with at most `mss` bytes of data each. `None` if it is no TCP
/// frame or `mss` is below [`MSS_MIN`].
pub(super) fn segment(frame: &[u8], mss: usize) -> Option<Vec<Vec<u8>>> {
    // Drivers leave the total length of a large send to the card, so the frame's own length counts.
    let mut whole = frame.to_vec();
    let total = u16::try_from(frame.len().checked_sub(HEADER)?).ok()?;
    if frame.len() < HEADER + 40 || mss < MSS_MIN {
        return None;
    }
    set_word(&mut whole, HEADER + 2, total);
    let layout = layout(&whole).filter(|l| l.protocol == TCP)?;
    let data = layout.payload + usize::from(*whole.get(layout.payload + 12)? >> 4) * 4;
    if data < layout.payload + 20 || data > layout.end {
        return None;
    }
    let id = word(&whole, HEADER + 4)?;
    let sequence = u32::from(word(&whole, layout.payload + 4)?) << 16 | u32::from(word(&whole, layout.payload + 6)?);
    let flags = *whole.get(layout.payload + 13)?;
    let payload = &whole[data..layout.end];
    let count = payload.len().div_ceil(mss).max(1);
    let mut segments = Vec::with_capacity(count);
    for i in 0..count {
        let chunk = payload.get(i * mss..payload.len().min((i + 1) * mss)).unwrap_or(&[]);
        let mut out = whole[..data].to_vec();
        out.extend_from_slice(chunk);
        set_word(&mut out, HEADER + 2, (data - HEADER + chunk.len()) as u16);
        set_word(&mut out, HEADER + 4, id.wrapping_add(i as u16));
        let at = sequence.wrapping_add((i * mss) as u32);
        set_word(&mut out, layout.payload + 4, (at >> 16) as u16);
        set_word(&mut out, layout.payload + 6, at as u16);
        if i + 1 < count {
            // FIN and PSH belong to the last segment.
            out[layout.payload + 13] = flags & !0x09;
        }
        fill_checksums(&mut out, Wanted { ip: true, tcp: true, udp: false });
        segments.push(out);
    }
    Some(segments)
}

/// What a receive descriptor says about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// 0 other, 1 TCP, 2 UDP, 3 IP.
    pub(super) protocol: u32,
    pub(super) ip_bad: bool,
    pub(super) payload_bad: bool,
}

/// Checks the sums of a received frame.
pub(super) fn verify(frame: &[u8]) -> Verdict {
    let Some(layout) = layout(frame) else { return Verdict::default() };
    let ip_bad = fold(sum(&frame[HEADER..layout.payload], 0)) != 0;
    let Some(place) = checksum_place(layout) else { return Verdict { protocol: 3, ip_bad, payload_bad: false } };
    let unused = layout.protocol == UDP && word(frame, place) == Some(0);
    let good = unused || fold(sum(&frame[layout.payload..layout.end], pseudo_header(frame, layout))) == 0;
    Verdict { protocol: if layout.protocol == TCP { 1 } else { 2 }, ip_bad, payload_bad: !good }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An Ethernet frame with a TCP segment that carries `data`, checksums zero.
    pub(crate) fn tcp_frame(data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0];
        frame.extend([0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, TCP, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
        frame.extend([0x04, 0, 0, 80, 0, 0, 0x10, 0, 0, 0, 0, 1, 0x50, 0x19, 0xFF, 0xFF, 0, 0, 0, 0]);
        frame.extend(data);
        let total = (frame.len() - HEADER) as u16;
        set_word(&mut frame, HEADER + 2, total);
        frame
    }

    #[test]
    fn checksums_are_filled_and_verified() {
        let mut frame = tcp_frame(b"hello");
        assert_eq!(verify(&frame), Verdict { protocol: 1, ip_bad: true, payload_bad: true });
        fill_checksums(&mut frame, Wanted { ip: true, tcp: true, udp: true });
        assert_eq!(verify(&frame), Verdict { protocol: 1, ip_bad: false, payload_bad: false });
        // The example of RFC 1071.
        assert_eq!(!fold(sum(&[0, 1, 0xF2, 3, 0xF4, 0xF5, 0xF6, 0xF7], 0)), 0xDDF2);
        frame.resize(60, 0xAA);
        assert!(!verify(&frame).payload_bad, "padding is not part of the packet");
        frame[HEADER + 9] = UDP;
        assert_eq!(verify(&frame).protocol, 2);
        frame[HEADER + 9] = 1;
        assert_eq!(verify(&frame).protocol, 3);
        frame[12] = 0x86;
        assert_eq!(verify(&frame), Verdict::default());
    }

    #[test]
    fn a_large_send_is_cut() {
        let data: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
        let segments = segment(&tcp_frame(&data), 1460).expect("it is TCP");
        assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [1514, 1514, 134]);
        let mut joined = Vec::new();
        for (i, part) in segments.iter().enumerate() {
            assert_eq!(verify(part), Verdict { protocol: 1, ip_bad: false, payload_bad: false });
            assert_eq!(word(part, HEADER + 4), Some(0x1234 + i as u16));
            assert_eq!(word(part, HEADER + 26), Some(0x1000 + (i * 1460) as u16));
            assert_eq!(part[HEADER + 33], if i == 2 { 0x19 } else { 0x10 });
            joined.extend_from_slice(&part[54..]);
        }
        assert_eq!(joined, data);
    }

    #[test]
    fn headers_that_lie_are_not_believed() {
        let good = tcp_frame(b"0123456789");
        for (at, value) in [(14, 0x4F), (14, 0x44), (14, 0x65), (16, 0xFF), (17, 3), (20, 0x20), (46, 0xF0), (46, 0)] {
            let mut frame = good.clone();
            frame[at] = value;
            let before = frame.clone();
            fill_checksums(&mut frame, Wanted { ip: true, tcp: true, udp: true });
            assert!(at >= 46 || frame == before, "byte {at}");
            let cut = segment(&before, 48);
            // The total length is the card's to fill in, so a wrong one alone does not stop a large send.
            assert!(matches!(at, 16 | 17) || cut.is_none(), "byte {at}");
        }
        for length in 0..good.len() {
            fill_checksums(&mut good[..length].to_vec(), Wanted { ip: true, tcp: true, udp: true });
            verify(&good[..length]);
            segment(&good[..length], 48);
        }
    }
}
