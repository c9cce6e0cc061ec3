//! Pictures at another size: each dot of the result is the mean of what it covers, so that edges stay sharp when a
//! picture grows and lines do not vanish when it shrinks.

use ring86_devices::vga::Frame;

/// What 1 is in weights.
const ONE: u64 = 1 << 8;

/// Largest part of an area with the shape of `aspect`: left, top, width, height; never empty unless the area is.
pub fn fit(aspect: (usize, usize), (width, height): (usize, usize)) -> (usize, usize, usize, usize) {
    let (across, down) = (aspect.0.max(1), aspect.1.max(1));
    let (w, h) = match width * down > height * across {
        true => ((height * across / down).max(1).min(width), height),
        false => (width, (width * down / across).max(1).min(height)),
    };
    ((width - w) / 2, (height - h) / 2, w, h)
}

/// For each of `to` dots the first of `from` dots that it covers, and how much of it and of those after it, in parts of
/// [`ONE`].
fn coverage(from: usize, to: usize) -> Vec<(usize, Vec<u64>)> {
    (0..to)
        .map(|dot| {
            // In units of 1/to of a source dot: the dot covers [dot * from, (dot + 1) * from).
            let (begin, end) = (dot * from, (dot + 1) * from);
            let mut weights: Vec<u64> = (begin / to..end.div_ceil(to))
                .map(|source| end.min((source + 1) * to) - begin.max(source * to))
                .map(|part| (part as u64 * ONE + from as u64 / 2) / from as u64)
                .collect();
            // What rounding has taken or given.
            let sum: u64 = weights.iter().sum();
            if let Some(most) = weights.iter_mut().max() {
                *most = (*most + ONE).saturating_sub(sum);
            }
            (begin / to, weights)
        })
        .collect()
}

/// The picture in `width` times `height` dots, 00RRGGBBh, rows from the top. Black if there is none.
pub fn scaled(frame: &Frame, width: usize, height: usize) -> Vec<u32> {
    if frame.width == 0 || frame.height == 0 {
        return vec![0; width * height];
    }
    let across = coverage(frame.width, width);
    let row = |y: usize| -> Vec<[u32; 3]> {
        let source = frame.rgb.chunks_exact(frame.width * 3).nth(y).unwrap_or_default();
        let (dots, _) = source.as_chunks::<3>();
        let mean = |(first, weights): &(usize, Vec<u64>)| {
            let mut sum = [0; 3];
            for (dot, weight) in dots.iter().skip(*first).zip(weights) {
                for (sum, part) in sum.iter_mut().zip(dot) {
                    *sum += u32::from(*part) * *weight as u32;
                }
            }
            sum
        };
        across.iter().map(mean).collect()
    };
    let mut result = Vec::with_capacity(width * height);
    // Rows that the last dots needed: neighbours share them.
    let mut rows: Vec<(usize, Vec<[u32; 3]>)> = Vec::new();
    for (first, weights) in coverage(frame.height, height) {
        let needed = first..first + weights.len();
        rows.retain(|(y, _)| needed.contains(y));
        for y in needed {
            if !rows.iter().any(|(there, _)| *there == y) {
                rows.push((y, row(y)));
            }
        }
        for x in 0..width {
            let mut sum = [0u64; 3];
            for (y, row) in &rows {
                let weight = weights[*y - first];
                for (sum, part) in sum.iter_mut().zip(row[x]) {
                    *sum += u64::from(part) * weight;
                }
            }
            let dot = sum.map(|part| ((part + ONE * ONE / 2) / (ONE * ONE)).min(255) as u32);
            result.push(dot[0] << 16 | dot[1] << 8 | dot[2]);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_keeps_its_shape() {
        assert_eq!(fit((4, 3), (800, 600)), (0, 0, 800, 600));
        assert_eq!(fit((4, 3), (1000, 600)), (100, 0, 800, 600));
        assert_eq!(fit((4, 3), (800, 700)), (0, 50, 800, 600));
        assert_eq!(fit((1920, 1200), (1, 1)), (0, 0, 1, 1));
        assert_eq!(fit((0, 0), (0, 5)), (0, 2, 0, 1));
    }

    #[test]
    fn dots_are_means_of_what_they_cover() {
        let rgb = [[0, 0, 0], [255, 255, 255], [10, 20, 30]].concat();
        let frame = Frame { width: 3, height: 1, rgb };
        assert_eq!(scaled(&frame, 3, 2), [0, 0xff_ffff, 0x0a_141e, 0, 0xff_ffff, 0x0a_141e], "nothing but repeated");
        assert_eq!(scaled(&frame, 6, 1), [0, 0, 0xff_ffff, 0xff_ffff, 0x0a_141e, 0x0a_141e]);
        assert_eq!(scaled(&frame, 2, 1)[0], 0x55_5555, "a dot of black and half a one of white");
        let white = Frame { width: 7, height: 5, rgb: vec![255; 7 * 5 * 3] };
        for (width, height) in [(1, 1), (3, 4), (19, 11), (7, 5)] {
            assert!(scaled(&white, width, height).iter().all(|dot| *dot == 0xff_ffff), "{width}x{height}");
        }
        assert_eq!(scaled(&Frame { width: 0, height: 0, rgb: Vec::new() }, 2, 1), [0, 0]);
    }
}
