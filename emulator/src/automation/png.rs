//! Pictures of the screen as PNG files.

use crate::error::{Error, Result};
use ring86_devices::vga::Frame;
use std::path::Path;

/// Writes `frame` to the file at `path`.
///
/// # Errors
/// If the host refuses, or there is no picture at all.
pub fn write(frame: &Frame, path: &Path) -> Result<()> {
    let bytes = encode(frame)
        .map_err(|e| Error::new(format!("no screenshot for '{}': the screen shows nothing ({e})", path.display())))?;
    std::fs::write(path, bytes).map_err(|e| Error::io("write", path, &e))
}

fn encode(frame: &Frame) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, frame.width as u32, frame.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&frame.rgb)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let rgb: Vec<u8> = (0..4 * 3 * 3).collect();
        let bytes = encode(&Frame { width: 4, height: 3, rgb: rgb.clone() }).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut back = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut back).unwrap();
        assert_eq!((info.width, info.height, back), (4, 3, rgb));
        assert!(encode(&Frame { width: 0, height: 0, rgb: Vec::new() }).is_err());
    }
}
