//! Pixels on the wire: the viewer's pixel format, and the ZRLE encoding (RFC 6143, sections 7.4 and 7.7.6).

use super::remote::Rect;
use flate2::{Compress, Compression, FlushCompress};
use ring86_devices::vga::Frame;

/// A true-colour format of 8, 16 or 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    bytes: usize,
    depth: u8,
    big_endian: bool,
    max: [u16; 3],
    shift: [u8; 3],
}

impl Default for PixelFormat {
    fn default() -> Self {
        PixelFormat { bytes: 4, depth: 24, big_endian: false, max: [255; 3], shift: [16, 8, 0] }
    }
}

impl PixelFormat {
    /// The sixteen bytes of the protocol; `None` for formats with a colour map or that make no sense.
    pub fn parse(bytes: &[u8; 16]) -> Option<Self> {
        let format = PixelFormat {
            bytes: usize::from(bytes[0] / 8),
            depth: bytes[1],
            big_endian: bytes[2] != 0,
            max: [4, 6, 8].map(|at| u16::from_be_bytes([bytes[at], bytes[at + 1]])),
            shift: [bytes[10], bytes[11], bytes[12]],
        };
        let good = matches!(bytes[0], 8 | 16 | 32)
            && bytes[3] != 0
            && format.shift.iter().all(|shift| *shift < bytes[0])
            && format.max.iter().all(|max| *max > 0 && (*max & max.wrapping_add(1)) == 0);
        good.then_some(format)
    }

    /// The sixteen bytes of the protocol.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[self.bytes as u8 * 8, self.depth, self.big_endian.into(), 1]);
        for (at, max) in [4, 6, 8].into_iter().zip(self.max) {
            bytes[at..at + 2].copy_from_slice(&max.to_be_bytes());
        }
        bytes[10..13].copy_from_slice(&self.shift);
        bytes
    }

    fn value(&self, rgb: &[u8; 3]) -> u32 {
        (0..3).fold(0, |value, i| {
            let level = (u32::from(rgb[i]) * u32::from(self.max[i]) + 127) / 255;
            value | level.wrapping_shl(self.shift[i].into())
        })
    }

    /// Appends a pixel.
    fn put(&self, rgb: &[u8; 3], out: &mut Vec<u8>) {
        let value = self.value(rgb);
        if self.big_endian {
            out.extend_from_slice(&value.to_be_bytes()[4 - self.bytes..]);
        } else {
            out.extend_from_slice(&value.to_le_bytes()[..self.bytes]);
        }
    }

    /// Appends a CPIXEL: of four bytes only the three that hold colour.
    fn put_compact(&self, rgb: &[u8; 3], out: &mut Vec<u8>) {
        let bits = (0..3).fold(0, |bits, i| bits | u32::from(self.max[i]).wrapping_shl(self.shift[i].into()));
        if self.bytes != 4 || self.depth > 24 || (bits & 0xFF00_0000 != 0 && bits & 0xFF != 0) {
            return self.put(rgb, out);
        }
        // The bits lie in the lower three bytes, or else in the upper three.
        let value = if bits & 0xFF00_0000 == 0 { self.value(rgb) } else { self.value(rgb) >> 8 };
        if self.big_endian {
            out.extend_from_slice(&value.to_be_bytes()[1..]);
        } else {
            out.extend_from_slice(&value.to_le_bytes()[..3]);
        }
    }
}

/// Appends the pixels of a part as they are.
pub fn raw(frame: &Frame, rect: Rect, format: &PixelFormat, out: &mut Vec<u8>) {
    for row in rect.rows(frame) {
        row.as_chunks::<3>().0.iter().for_each(|pixel| format.put(pixel, out));
    }
}

/// Edge of a ZRLE tile.
const TILE: usize = 64;
/// Most colours of a packed palette.
const PALETTE: usize = 16;

/// The compressor with the stream that lasts as long as the connection.
pub struct Zrle(Compress);

impl Default for Zrle {
    fn default() -> Self {
        Zrle(Compress::new(Compression::fast(), true))
    }
}

impl Zrle {
    /// Appends a part: length and compressed tiles.
    pub fn encode(&mut self, frame: &Frame, rect: Rect, format: &PixelFormat, out: &mut Vec<u8>) {
        let mut plain = Vec::new();
        for y in (0..rect.height).step_by(TILE) {
            for x in (0..rect.width).step_by(TILE) {
                let tile = Rect {
                    x: rect.x + x,
                    y: rect.y + y,
                    width: TILE.min(rect.width - x),
                    height: TILE.min(rect.height - y),
                };
                encode_tile(frame, tile, format, &mut plain);
            }
        }
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut rest = plain.as_slice();
        let mut piece = Vec::with_capacity(64 << 10);
        loop {
            piece.clear();
            let before = self.0.total_in();
            let flushed = self.0.compress_vec(rest, &mut piece, FlushCompress::Sync);
            rest = &rest[((self.0.total_in() - before) as usize).min(rest.len())..];
            out.extend_from_slice(&piece);
            // Room left over means that everything is out.
            if flushed.is_err() || (rest.is_empty() && piece.len() < piece.capacity()) {
                break;
            }
        }
        let length = (out.len() - length_at - 4) as u32;
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn encode_tile(frame: &Frame, tile: Rect, format: &PixelFormat, out: &mut Vec<u8>) {
    let mut colors: Vec<[u8; 3]> = Vec::new();
    let pixels = || tile.rows(frame).flat_map(|row| row.as_chunks::<3>().0);
    for pixel in pixels() {
        if colors.last() != Some(pixel) && !colors.contains(pixel) {
            colors.push(*pixel);
            if colors.len() > PALETTE {
                break;
            }
        }
    }
    match colors.len() {
        1 => {
            out.push(1);
            format.put_compact(&colors[0], out);
        }
        2..=PALETTE => {
            out.push(colors.len() as u8);
            colors.iter().for_each(|color| format.put_compact(color, out));
            let bits = match colors.len() {
                2 => 1,
                3..=4 => 2,
                _ => 4,
            };
            for row in tile.rows(frame) {
                let (mut byte, mut used) = (0u8, 0);
                for pixel in row.as_chunks::<3>().0 {
                    let index = colors.iter().position(|color| color == pixel).unwrap_or(0);
                    byte = byte << bits | index as u8;
                    used += bits;
                    if used == 8 {
                        out.push(byte);
                        (byte, used) = (0, 0);
                    }
                }
                if used > 0 {
                    out.push(byte << (8 - used));
                }
            }
        }
        _ => {
            out.push(0);
            pixels().for_each(|pixel| format.put_compact(pixel, out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};

    #[test]
    fn formats_are_checked_and_converted() {
        let default = PixelFormat::default();
        assert_eq!(PixelFormat::parse(&default.to_bytes()), Some(default));
        let mut out = Vec::new();
        default.put(&[1, 2, 3], &mut out);
        assert_eq!(out, [3, 2, 1, 0]);
        // RGB565, big-endian.
        let bytes = [16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0];
        let format = PixelFormat::parse(&bytes).expect("a good format");
        out.clear();
        format.put(&[255, 0, 255], &mut out);
        assert_eq!(out, [0xF8, 0x1F]);
        for (at, value) in [(0, 24), (3, 0), (5, 30), (10, 40)] {
            let mut bad = bytes;
            bad[at] = value;
            assert_eq!(PixelFormat::parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn tiles_become_solid_packed_or_raw() {
        let mut frame = Frame { width: 130, height: 2, rgb: vec![7; 130 * 2 * 3] };
        // The second tile has two colours, the third (two pixels wide) four different pixels.
        frame.rgb[65 * 3] = 9;
        for (i, at) in [128, 129, 258, 259].into_iter().enumerate() {
            frame.rgb[at * 3] = i as u8;
        }
        let mut zrle = Zrle::default();
        let mut inflate = Decompress::new(true);
        for _ in 0..2 {
            let mut out = Vec::new();
            zrle.encode(&frame, Rect::whole(&frame), &PixelFormat::default(), &mut out);
            let length = u32::from_be_bytes([out[0], out[1], out[2], out[3]]) as usize;
            assert_eq!(length, out.len() - 4);
            let mut plain = Vec::with_capacity(4096);
            inflate.decompress_vec(&out[4..], &mut plain, FlushDecompress::Sync).expect("a zlib stream");
            let mut expected = vec![1, 7, 7, 7, 2, 7, 7, 7, 7, 7, 9, 0x40];
            expected.extend([0; 15]);
            expected.extend([4, 7, 7, 0, 7, 7, 1, 7, 7, 2, 7, 7, 3, 0b0001_0000, 0b1011_0000]);
            assert_eq!(plain, expected);
        }
    }

    #[test]
    fn a_large_picture_is_flushed_whole() {
        let rgb: Vec<u8> = (0..512u32 * 512 * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let frame = Frame { width: 512, height: 512, rgb };
        let mut out = Vec::new();
        Zrle::default().encode(&frame, Rect::whole(&frame), &PixelFormat::default(), &mut out);
        let mut plain = Vec::with_capacity(1 << 20);
        Decompress::new(true).decompress_vec(&out[4..], &mut plain, FlushDecompress::Sync).expect("a zlib stream");
        assert_eq!(plain.len(), 64 * (1 + 64 * 64 * 3));
    }
}
