//! The VGA: registers, 256 KiB of planar memory, the packed-pixel modes of the Bochs display interface with a memory of
//! their own, and what the screen shows.

mod dispi;
mod memory;
mod pci;
mod render;
pub mod spec;
#[cfg(test)]
mod tests;
mod text;
mod timing;

use crate::pci::ConfigSpace;
use crate::{PortIo, Time, VideoRam};
use dispi::Dispi;
use memory::Memory;
pub use render::Frame;
use spec::{attr, crtc, dispi as interface, gc, misc, port, seq, status1};
pub use text::{CODE_PAGE_437, TextScreen};

/// Addresses of one plane.
const PLANE_SIZE: usize = 0x1_0000;

/// First address of the window the VGA may decode.
pub const WINDOW_START: u32 = 0xA_0000;
/// Last address of that window.
pub const WINDOW_END: u32 = 0xB_FFFF;

/// The indexed registers and those that steer memory and timing.
#[derive(Clone, Debug)]
struct Registers {
    misc: u8,
    seq: [u8; 5],
    gc: [u8; 9],
    crtc: [u8; crtc::COUNT],
    attr: [u8; attr::COUNT],
    attribute_index: u8,
}

/// A VGA at ports 3B0h-3DFh with its memory window at A0000h-BFFFFh; with video RAM also at ports 1CEh-1D0h and, as a
/// PCI function, with a linear frame buffer.
pub struct Vga {
    // Parts.
    memory: Memory,
    dispi: Dispi,
    space: ConfigSpace,
    decode_changed: bool,
    // Volatile state.
    regs: Registers,
    seq_index: u8,
    gc_index: u8,
    crtc_index: u8,
    /// The next write to 3C0h is data.
    attribute_data: bool,
    feature: u8,
    enable: u8,
    dac: Box<[u8; 768]>,
    pel_mask: u8,
    /// Byte position in the DAC of the next PEL data access.
    pel_position: usize,
    pel_reading: bool,
    /// Red and green of a colour being written; the DAC stores all three at once.
    pel_partial: [u8; 2],
    changed: bool,
}

impl std::fmt::Debug for Vga {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vga").field("regs", &self.regs).field("picture", &self.dispi.picture()).finish_non_exhaustive()
    }
}

impl Default for Vga {
    fn default() -> Self {
        Self::new()
    }
}

impl Vga {
    /// A VGA as after power-on: registers zero, memory zero, nothing shown. Its own modes only.
    pub fn new() -> Self {
        Self::with_ram(Box::new(Vec::new()))
    }

    /// A VGA with `ram` for the modes of the display interface: a power of two of bytes, at most 64 MiB, or none.
    pub fn with_ram(ram: Box<dyn VideoRam>) -> Self {
        Self {
            memory: Memory::new(),
            space: pci::configuration(ram.len()),
            dispi: Dispi::new(ram),
            decode_changed: true,
            regs: Registers {
                misc: 0,
                seq: [0; 5],
                gc: [0; 9],
                crtc: [0; crtc::COUNT],
                attr: [0; attr::COUNT],
                attribute_index: 0,
            },
            seq_index: 0,
            gc_index: 0,
            crtc_index: 0,
            attribute_data: false,
            feature: 0,
            enable: 1,
            dac: Box::new([0; 768]),
            pel_mask: 0xFF,
            pel_position: 0,
            pel_reading: false,
            pel_partial: [0; 2],
            changed: true,
        }
    }

    /// The system's reset; the memory keeps its content.
    pub fn reset(&mut self) {
        let old = std::mem::take(self);
        *self = Self {
            space: pci::configuration(old.dispi.ram.len()),
            memory: old.memory,
            dispi: old.dispi.reset(),
            ..Self::new()
        };
    }

    /// Reads a byte of the window (absolute address); FFh where the present mapping decodes nothing. Loads the
    /// latches.
    pub fn mem_read(&mut self, address: u32) -> u8 {
        if self.dispi.enabled() && address & !0xFFFF == WINDOW_START {
            return self.dispi.bank_read(address);
        }
        self.memory.read(&self.regs, address)
    }

    /// Writes a byte of the window (absolute address).
    pub fn mem_write(&mut self, address: u32, value: u8) {
        if self.dispi.enabled() && address & !0xFFFF == WINDOW_START {
            self.dispi.bank_write(address, value);
            self.changed = true;
            return;
        }
        self.changed |= self.memory.write(&self.regs, address, value);
    }

    /// Whether anything visible may have changed since this was last asked (blinking aside). A linear frame buffer
    /// changes without the adapter's knowledge.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed) || self.dispi.enabled()
    }

    /// Whether the pixels of what is shown are meant to be square; the VGA's own modes fill a screen of 4:3.
    pub fn has_square_pixels(&self) -> bool {
        self.dispi.enabled()
    }

    /// Whether a text mode is shown.
    pub fn is_text(&self) -> bool {
        !self.dispi.enabled() && self.regs.gc[gc::MISC] & gc::GM == 0
    }

    fn is_color(&self) -> bool {
        self.regs.misc & misc::IOS != 0
    }

    fn read_crtc(&self) -> u8 {
        match usize::from(self.crtc_index) {
            crtc::LATCH_READ => (self.memory.latches >> (8 * (self.regs.gc[gc::READ_MAP] & 3))) as u8,
            crtc::FLIP_FLOP_READ => u8::from(self.attribute_data) << 7,
            index => self.regs.crtc.get(index).copied().unwrap_or(0),
        }
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        let Some(register) = self.regs.crtc.get(index) else { return };
        let protected = self.regs.crtc[crtc::VERTICAL_RETRACE_END] & crtc::PROTECT != 0;
        let mask = match index {
            crtc::OVERFLOW if protected => crtc::OVERFLOW_LC8,
            0..=7 if protected => 0,
            _ => crtc::MASKS[index],
        };
        self.regs.crtc[index] = register & !mask | value & mask;
    }

    fn write_attribute(&mut self, value: u8) {
        let is_data = self.attribute_data;
        self.attribute_data = !is_data;
        if is_data {
            let index = usize::from(self.regs.attribute_index & 0x1F);
            if let Some(register) = self.regs.attr.get_mut(index) {
                *register = value & attr::MASKS[index];
            }
        } else {
            self.regs.attribute_index = value & 0x3F;
        }
    }

    fn read_attribute(&self) -> u8 {
        self.regs.attr.get(usize::from(self.regs.attribute_index & 0x1F)).copied().unwrap_or(0)
    }

    fn read_pel(&mut self) -> u8 {
        let value = self.dac[self.pel_position];
        self.pel_position = (self.pel_position + 1) % self.dac.len();
        value
    }

    fn write_pel(&mut self, value: u8) {
        let component = self.pel_position % 3;
        let mask = if self.dispi.wide_dac() { 0xFF } else { 0x3F };
        if let Some(partial) = self.pel_partial.get_mut(component) {
            *partial = value & mask;
        } else {
            let entry = self.pel_position - 2;
            self.dac[entry..entry + 3].copy_from_slice(&[self.pel_partial[0], self.pel_partial[1], value & mask]);
        }
        self.pel_position = (self.pel_position + 1) % self.dac.len();
    }

    fn status_1(&mut self, now: Time) -> u8 {
        self.attribute_data = false;
        let beam = self.regs.beam(now);
        let mut status = 0;
        if !beam.displaying {
            status |= status1::DE;
        }
        if beam.vertical_retrace {
            status |= status1::VR;
        }
        // The diagnostic bits show two lines of the colour now at the output; outside the picture that is the
        // overscan colour, and inside it nobody can tell.
        let color = self.regs.attr[attr::OVERSCAN];
        let pair = match self.regs.attr[attr::PLANE_ENABLE] >> 4 & 3 {
            0 => color >> 2 & 1 | (color & 1) << 1,
            1 => color >> 4 & 3,
            2 => color >> 3 & 1 | color & 2,
            _ => color >> 6,
        };
        status | if beam.displaying { 0 } else { (pair & 3) << status1::DIAGNOSTIC_SHIFT }
    }
}

/// The interface's registers have sixteen bits at one port each; everything else is on the eight-bit bus.
impl PortIo for Vga {
    fn port_read(&mut self, now: Time, port: u16, size: u8) -> u32 {
        if (interface::INDEX..=interface::DATA_ALIGNED).contains(&port) {
            let value = match port {
                _ if self.dispi.ram.is_empty() => 0xFFFF,
                interface::INDEX => self.dispi.read_index(),
                _ => self.dispi.read_data(),
            };
            return if size == 1 { u32::from(value & 0xFF) } else { value.into() };
        }
        (0..size.min(4))
            .fold(0, |value, i| value | u32::from(self.read8(now, port.wrapping_add(u16::from(i)))) << (8 * i))
    }

    fn port_write(&mut self, now: Time, port: u16, size: u8, value: u32) {
        if (interface::INDEX..=interface::DATA_ALIGNED).contains(&port) {
            self.changed = true;
            match port {
                _ if self.dispi.ram.is_empty() => {}
                interface::INDEX => self.dispi.write_index(value as u16),
                _ => self.dispi.write_data(value as u16),
            }
            return;
        }
        for i in 0..size.min(4) {
            self.write8(now, port.wrapping_add(u16::from(i)), (value >> (8 * i)) as u8);
        }
    }
}

impl Vga {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        match port {
            port::CRTC_INDEX if self.is_color() => self.crtc_index,
            port::CRTC_DATA if self.is_color() => self.read_crtc(),
            port::STATUS_1 if self.is_color() => self.status_1(now),
            port::CRTC_INDEX_MONO if !self.is_color() => self.crtc_index,
            port::CRTC_DATA_MONO if !self.is_color() => self.read_crtc(),
            port::STATUS_1_MONO if !self.is_color() => self.status_1(now),
            // The index comes back with its palette bit, whichever way the flip-flop stands.
            port::ATTRIBUTE => self.regs.attribute_index,
            port::ATTRIBUTE_READ => self.read_attribute(),
            // Bit 4: the sense line of the switches, as a colour monitor sets it.
            port::MISC_WRITE => 0x10,
            port::ENABLE => self.enable,
            port::SEQUENCER_INDEX => self.seq_index,
            port::SEQUENCER_DATA => self.regs.seq.get(usize::from(self.seq_index)).copied().unwrap_or(0),
            port::PEL_MASK => self.pel_mask,
            port::PEL_READ => {
                if self.pel_reading {
                    3
                } else {
                    0
                }
            }
            port::PEL_WRITE => (self.pel_position / 3) as u8,
            port::PEL_DATA => self.read_pel(),
            port::FEATURE_READ => self.feature,
            port::MISC_READ => self.regs.misc,
            port::GRAPHICS_INDEX => self.gc_index,
            port::GRAPHICS_DATA => self.regs.gc.get(usize::from(self.gc_index)).copied().unwrap_or(0),
            _ => 0xFF,
        }
    }

    fn write8(&mut self, _now: Time, port: u16, value: u8) {
        self.changed = true;
        match port {
            port::CRTC_INDEX if self.is_color() => self.crtc_index = value & 0x3F,
            port::CRTC_DATA if self.is_color() => self.write_crtc(value),
            port::STATUS_1 if self.is_color() => self.feature = value & 0x0B,
            port::CRTC_INDEX_MONO if !self.is_color() => self.crtc_index = value & 0x3F,
            port::CRTC_DATA_MONO if !self.is_color() => self.write_crtc(value),
            port::STATUS_1_MONO if !self.is_color() => self.feature = value & 0x0B,
            port::ATTRIBUTE => self.write_attribute(value),
            port::MISC_WRITE => self.regs.misc = value & 0xEF,
            port::ENABLE => self.enable = value & 1,
            port::SEQUENCER_INDEX => self.seq_index = value & 7,
            port::SEQUENCER_DATA => {
                let index = usize::from(self.seq_index);
                if let Some(register) = self.regs.seq.get_mut(index) {
                    *register = value & seq::MASKS[index];
                }
            }
            port::PEL_MASK => self.pel_mask = value,
            port::PEL_READ | port::PEL_WRITE => {
                self.pel_position = usize::from(value) * 3;
                self.pel_reading = port == port::PEL_READ;
            }
            port::PEL_DATA => self.write_pel(value),
            port::GRAPHICS_INDEX => self.gc_index = value & 0xF,
            port::GRAPHICS_DATA => {
                let index = usize::from(self.gc_index);
                if let Some(register) = self.regs.gc.get_mut(index) {
                    *register = value & gc::MASKS[index];
                }
            }
            _ => {}
        }
    }
}
