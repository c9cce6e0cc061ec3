//! The Bochs display interface ('dispi'): packed-pixel modes beyond the VGA's, set by eleven index registers at ports
//! 1CEh and 1CFh (Bochs 2.7, "VBE Display API", and QEMU's specification of its standard VGA).

use super::spec::dispi::{ENABLE_8BIT_DAC, ENABLE_GETCAPS, ENABLE_KEPT, ENABLE_LFB, ENABLE_NOCLEAR, ENABLED};
use super::spec::dispi::{ID_FIRST, ID_LAST, MAX_BPP, MAX_X, MAX_Y, index};
use crate::VideoRam;

/// Bytes of a bank, as seen at A0000h.
const BANK: usize = 0x1_0000;

/// The mode registers and the memory they lay out.
pub(super) struct Dispi {
    // Parts.
    pub(super) ram: Box<dyn VideoRam>,
    // Volatile state.
    index: u16,
    id: u16,
    x_resolution: u16,
    y_resolution: u16,
    bits: u16,
    enable: u16,
    bank: u16,
    virtual_width: u16,
    x_offset: u16,
    y_offset: u16,
}

/// How the picture lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 8, 15, 16, 24 or 32.
    pub(super) bits: u16,
    /// Byte offset of the first pixel shown.
    pub(super) start: usize,
    /// Bytes from one line to the next.
    pub(super) pitch: usize,
}

/// Bytes of a pixel; zero for depths that do not exist.
fn pixel_bytes(bits: u16) -> usize {
    match bits {
        8 => 1,
        15 | 16 => 2,
        24 => 3,
        32 => 4,
        _ => 0,
    }
}

impl Dispi {
    pub(super) fn new(ram: Box<dyn VideoRam>) -> Self {
        Self {
            ram,
            index: 0,
            id: ID_LAST,
            x_resolution: 640,
            y_resolution: 480,
            bits: 8,
            enable: 0,
            bank: 0,
            virtual_width: 640,
            x_offset: 0,
            y_offset: 0,
        }
    }

    /// The registers as after power-on; the memory keeps its content.
    pub(super) fn reset(self) -> Self {
        Self::new(self.ram)
    }

    /// Whether this mode is shown instead of the VGA's.
    pub(super) fn enabled(&self) -> bool {
        self.enable & ENABLED != 0
    }

    /// Whether the DAC takes eight bits of each colour.
    pub(super) fn wide_dac(&self) -> bool {
        self.enable & ENABLE_8BIT_DAC != 0
    }

    fn pitch(&self) -> usize {
        usize::from(self.virtual_width) * pixel_bytes(self.bits)
    }

    /// Lines that the memory holds at this width.
    fn virtual_height(&self) -> u16 {
        match self.pitch() {
            0 => 0,
            pitch => u16::try_from(self.ram.len() / pitch).unwrap_or(u16::MAX),
        }
    }

    /// What is shown; `None` while the VGA's own modes are.
    pub(super) fn picture(&self) -> Option<Picture> {
        self.enabled().then(|| Picture {
            width: self.x_resolution.into(),
            height: self.y_resolution.into(),
            bits: self.bits,
            start: usize::from(self.y_offset) * self.pitch() + usize::from(self.x_offset) * pixel_bytes(self.bits),
            pitch: self.pitch(),
        })
    }

    pub(super) fn read_index(&self) -> u16 {
        self.index
    }

    pub(super) fn write_index(&mut self, value: u16) {
        self.index = value;
    }

    /// The register that the index names.
    pub(super) fn read_data(&self) -> u16 {
        self.read(self.index)
    }

    /// Sets the register that the index names.
    pub(super) fn write_data(&mut self, value: u16) {
        self.write(self.index, value);
    }

    pub(super) fn read(&self, register: u16) -> u16 {
        let capabilities = self.enable & ENABLE_GETCAPS != 0;
        match register {
            index::ID => self.id,
            index::XRES if capabilities => MAX_X,
            index::XRES => self.x_resolution,
            index::YRES if capabilities => MAX_Y,
            index::YRES => self.y_resolution,
            index::BPP if capabilities => MAX_BPP,
            index::BPP => self.bits,
            index::ENABLE => self.enable,
            index::BANK => self.bank,
            index::VIRT_WIDTH => self.virtual_width,
            index::VIRT_HEIGHT => self.virtual_height(),
            index::X_OFFSET => self.x_offset,
            index::Y_OFFSET => self.y_offset,
            index::VIDEO_MEMORY_64K => (self.ram.len() / BANK) as u16,
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, register: u16, value: u16) {
        match register {
            index::ID if (ID_FIRST..=ID_LAST).contains(&value) => self.id = value,
            // A mode that is shown does not change under the picture.
            index::XRES if !self.enabled() && value <= MAX_X => self.x_resolution = value & !7,
            index::YRES if !self.enabled() && value <= MAX_Y => self.y_resolution = value,
            index::BPP if !self.enabled() => match value {
                // Zero stands for the first depth there was.
                0 => self.bits = 8,
                _ if pixel_bytes(value) != 0 => self.bits = value,
                _ => {}
            },
            index::ENABLE => self.write_enable(value),
            index::BANK if usize::from(value) < self.ram.len() / BANK => self.bank = value,
            index::VIRT_WIDTH => {
                let bytes = usize::from(self.y_resolution) * pixel_bytes(self.bits);
                let widest = self.ram.len().checked_div(bytes).unwrap_or(0);
                if value >= self.x_resolution && usize::from(value) <= widest {
                    self.virtual_width = value & !7;
                    self.clip_offsets();
                }
            }
            index::X_OFFSET => {
                self.x_offset = value;
                self.clip_offsets();
            }
            index::Y_OFFSET => {
                self.y_offset = value;
                self.clip_offsets();
            }
            _ => {}
        }
    }

    /// Keeps the picture inside the memory: a line may run on into the next, the last one not beyond the end.
    fn clip_offsets(&mut self) {
        let (x, y) = (self.virtual_width - self.x_resolution.min(self.virtual_width), self.virtual_height());
        self.x_offset = self.x_offset.min(x);
        self.y_offset = self.y_offset.min(y.saturating_sub(self.y_resolution));
    }

    fn write_enable(&mut self, value: u16) {
        let was_enabled = self.enabled();
        let size = usize::from(self.x_resolution) * usize::from(self.y_resolution) * pixel_bytes(self.bits);
        let possible = size > 0 && size <= self.ram.len();
        self.enable = value & ENABLE_KEPT;
        if value & ENABLED == 0 {
            self.enable &= !ENABLE_LFB;
            return;
        }
        if was_enabled {
            return;
        }
        if !possible {
            self.enable &= !ENABLED;
            return;
        }
        self.virtual_width = self.x_resolution;
        (self.x_offset, self.y_offset, self.bank) = (0, 0, 0);
        if value & ENABLE_NOCLEAR == 0 {
            let zeroes = [0; 4096];
            for offset in (0..size).step_by(zeroes.len()) {
                let length = zeroes.len().min(size - offset);
                self.ram.write(offset, &zeroes[..length]);
            }
        }
    }

    fn banked(&self, address: u32) -> usize {
        usize::from(self.bank) * BANK + (address as usize & (BANK - 1))
    }

    /// A byte of the bank at A0000h.
    pub(super) fn bank_read(&self, address: u32) -> u8 {
        let mut byte = [0xFF];
        self.ram.read(self.banked(address), &mut byte);
        byte[0]
    }

    /// Stores a byte in the bank at A0000h.
    pub(super) fn bank_write(&mut self, address: u32, value: u8) {
        let offset = self.banked(address);
        self.ram.write(offset, &[value]);
    }

    /// Draws the picture; `colors` are the DAC's, for eight bits a pixel.
    pub(super) fn draw(&self, picture: Picture, colors: &[[u8; 3]], rgb: &mut [u8]) {
        let mut line = vec![0; picture.width * pixel_bytes(picture.bits)];
        let five = |value: u16| {
            let value = (value & 0x1F) as u8;
            value << 3 | value >> 2
        };
        let six = |value: u16| {
            let value = (value & 0x3F) as u8;
            value << 2 | value >> 4
        };
        for (y, out) in rgb.chunks_exact_mut(picture.width * 3).enumerate() {
            self.ram.read(picture.start + y * picture.pitch, &mut line);
            let (out, _) = out.as_chunks_mut::<3>();
            match picture.bits {
                8 => out.iter_mut().zip(&line).for_each(|(out, pixel)| {
                    *out = colors.get(usize::from(*pixel)).copied().unwrap_or_default();
                }),
                15 => out.iter_mut().zip(line.as_chunks::<2>().0).for_each(|(out, pixel)| {
                    let pixel = u16::from_le_bytes(*pixel);
                    *out = [five(pixel >> 10), five(pixel >> 5), five(pixel)];
                }),
                16 => out.iter_mut().zip(line.as_chunks::<2>().0).for_each(|(out, pixel)| {
                    let pixel = u16::from_le_bytes(*pixel);
                    *out = [five(pixel >> 11), six(pixel >> 5), five(pixel)];
                }),
                24 => out.iter_mut().zip(line.as_chunks::<3>().0).for_each(|(out, [b, g, r])| *out = [*r, *g, *b]),
                _ => out.iter_mut().zip(line.as_chunks::<4>().0).for_each(|(out, [b, g, r, _])| *out = [*r, *g, *b]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vga::Vga;
    use crate::{Mmio, PciFunction, PortIo};

    fn adapter() -> Vga {
        let mut vga = Vga::with_ram(Box::new(vec![0u8; 4 << 20]));
        // The palette's address source, without which the screen is dark.
        vga.port_write(0, 0x3C0, 1, 0x20);
        vga
    }

    fn set(vga: &mut Vga, register: u16, value: u16) {
        vga.port_write(0, 0x1CE, 2, register.into());
        vga.port_write(0, 0x1CF, 2, value.into());
    }

    fn get(vga: &mut Vga, register: u16) -> u16 {
        vga.port_write(0, 0x1CE, 2, register.into());
        vga.port_read(0, 0x1CF, 2) as u16
    }

    fn mode(vga: &mut Vga, x: u16, y: u16, bits: u16) {
        set(vga, index::ENABLE, 0);
        set(vga, index::XRES, x);
        set(vga, index::YRES, y);
        set(vga, index::BPP, bits);
        set(vga, index::ENABLE, ENABLED | ENABLE_LFB);
    }

    #[test]
    fn registers_answer_and_a_mode_that_does_not_fit_is_refused() {
        let mut vga = adapter();
        assert_eq!(get(&mut vga, index::ID), 0xB0C5);
        set(&mut vga, index::ID, 0xB0C0);
        assert_eq!(get(&mut vga, index::ID), 0xB0C0);
        assert_eq!(get(&mut vga, index::VIDEO_MEMORY_64K), 64);
        set(&mut vga, index::ENABLE, ENABLE_GETCAPS);
        assert_eq!((get(&mut vga, index::XRES), get(&mut vga, index::BPP)), (MAX_X, 32));
        mode(&mut vga, 1024, 768, 32);
        assert_eq!(get(&mut vga, index::ENABLE), ENABLED | ENABLE_LFB);
        assert_eq!((get(&mut vga, index::VIRT_WIDTH), get(&mut vga, index::VIRT_HEIGHT)), (1024, 1024));
        set(&mut vga, index::XRES, 640);
        assert_eq!(get(&mut vga, index::XRES), 1024, "a mode that is shown stays");
        mode(&mut vga, 1600, 1200, 32);
        assert_eq!(get(&mut vga, index::ENABLE) & ENABLED, 0, "7.3 MiB in 4");
        assert_eq!(get(&mut vga, 99), 0);
    }

    #[test]
    fn each_depth_shows_its_colours() {
        for (bits, pixel, expected) in [
            (8, vec![2], [0x55, 0xAA, 0xFF]),
            (15, vec![0x1F, 0x7C], [0xFF, 0, 0xFF]),
            (16, vec![0xE0, 0x07], [0, 0xFF, 0]),
            (24, vec![1, 2, 3], [3, 2, 1]),
            (32, vec![9, 8, 7, 0], [7, 8, 9]),
        ] {
            let mut vga = adapter();
            for value in [2, 0x15, 0x2A, 0x3F] {
                vga.port_write(0, if value == 2 { 0x3C8 } else { 0x3C9 }, 1, value);
            }
            mode(&mut vga, 320, 200, bits);
            let offset = 320 * pixel.len() * 3 + 5 * pixel.len();
            for (i, byte) in pixel.iter().enumerate() {
                vga.mem_write(0xA_0000 + (offset + i) as u32, *byte);
            }
            let frame = vga.render(0);
            assert_eq!((frame.width, frame.height), (320, 200));
            assert_eq!(frame.rgb[(3 * 320 + 5) * 3..][..3], expected, "{bits} bits");
            assert_eq!(vga.mem_read(0xA_0000 + offset as u32), pixel[0]);
            assert!(vga.text_screen().is_none() && !vga.is_text());
        }
    }

    #[test]
    fn banks_offsets_and_a_wider_line() {
        let mut vga = adapter();
        mode(&mut vga, 640, 480, 8);
        set(&mut vga, index::ENABLE, ENABLED | ENABLE_LFB | ENABLE_8BIT_DAC);
        for value in [0xC0, 0x80, 0x40] {
            vga.port_write(0, 0x3C9, 1, value);
        }
        set(&mut vga, index::VIRT_WIDTH, 1024);
        set(&mut vga, index::X_OFFSET, 8);
        set(&mut vga, index::Y_OFFSET, 100);
        set(&mut vga, index::BANK, 1);
        // The picture's first pixel is byte 100 * 1024 + 8, in bank 1.
        vga.mem_write(0xA_0000 + 100 * 1024 + 8 - 0x1_0000, 7);
        let frame = vga.render(0);
        assert_eq!(frame.rgb[..6], [0, 0, 0, 0xC0, 0x80, 0x40], "colour 7 is black, colour 0 has eight bits");
        set(&mut vga, index::X_OFFSET, 0xFFFF);
        set(&mut vga, index::Y_OFFSET, 0xFFFF);
        assert_eq!((get(&mut vga, index::X_OFFSET), get(&mut vga, index::Y_OFFSET)), (384, 4096 - 480));
        set(&mut vga, index::BANK, 64);
        assert_eq!(get(&mut vga, index::BANK), 1, "there are 64 banks, 0 to 63");
        assert_eq!(vga.render(0).rgb.len(), 640 * 480 * 3);
    }

    #[test]
    fn the_memory_is_cleared_unless_it_is_to_be_kept() {
        let mut vga = adapter();
        mode(&mut vga, 640, 480, 32);
        vga.mem_write(0xA_0000, 0x5A);
        set(&mut vga, index::ENABLE, 0);
        set(&mut vga, index::ENABLE, ENABLED | ENABLE_NOCLEAR);
        assert_eq!(vga.mem_read(0xA_0000), 0x5A);
        mode(&mut vga, 640, 480, 32);
        assert_eq!(vga.mem_read(0xA_0000), 0);
    }

    #[test]
    fn the_pci_function_places_memory_and_registers() {
        let mut vga = adapter();
        assert_eq!(vga.config_read(0, 4), 0x1111_1234);
        assert_eq!(vga.config_read(8, 4) >> 8, 0x03_0000);
        vga.config_write(0x10, 4, u32::MAX);
        assert_eq!(vga.config_read(0x10, 4), 0xFFC0_0008, "4 MiB, prefetchable");
        vga.config_write(0x10, 4, 0xE000_0000);
        vga.config_write(0x18, 4, 0xE100_0000);
        assert_eq!((vga.frame_buffer(), vga.register_window()), (None, None));
        vga.take_decode_change();
        vga.config_write(4, 2, 2);
        assert!(vga.take_decode_change());
        assert_eq!((vga.frame_buffer(), vga.register_window()), (Some(0xE000_0000), Some(0xE100_0000)));
        vga.mmio_write(0, 0x502, 2, 800);
        assert_eq!(get(&mut vga, index::XRES), 800);
        assert_eq!(vga.mmio_read(0, 0x500, 2), 0xB0C5);
        vga.mmio_write(0, 0x408, 2, 0x2A05);
        assert_eq!(vga.mmio_read(0, 0x408, 1), 5, "the PEL address at 3C8h");
        assert_eq!(vga.mmio_read(0, 0x800, 4), 0xFFFF_FFFF);
    }

    #[test]
    fn without_memory_there_are_no_registers() {
        let mut vga = Vga::new();
        assert_eq!(get(&mut vga, index::ID), 0xFFFF);
        mode(&mut vga, 320, 200, 8);
        assert!(vga.frame_buffer().is_none());
    }
}
