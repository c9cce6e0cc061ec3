//! Two devices for software under test: the debug console at port E9h, and a port that ends the run.

use crate::{BytePorts, PortIo, Time};

/// The debug console: bytes written are collected, and reading gives the port number so that a guest can tell
/// that it is there (the convention of port E9h).
#[derive(Debug, Default)]
pub struct DebugConsole {
    written: Vec<u8>,
}

impl DebugConsole {
    /// The usual port.
    pub const PORT: u16 = 0xE9;

    /// A console with nothing written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes everything written since the last call.
    pub fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }
}

impl PortIo for DebugConsole {
    fn port_read(&mut self, _now: Time, _port: u16, size: u8) -> u32 {
        let high = match size {
            1 => 0,
            2 => 0xFF00,
            _ => 0xFFFF_FF00,
        };
        high | u32::from(Self::PORT)
    }

    fn port_write(&mut self, _now: Time, _port: u16, _size: u8, value: u32) {
        // The device is one byte wide; a wider write's other bytes fall beside it.
        self.written.push(value as u8);
    }
}

/// A port whose first write asks for the run to end with the value written.
#[derive(Debug, Default)]
pub struct DebugExit {
    status: Option<u32>,
}

impl DebugExit {
    /// A port nobody has written.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value written, if any.
    pub fn status(&self) -> Option<u32> {
        self.status
    }
}

impl PortIo for DebugExit {
    fn port_read(&mut self, _now: Time, _port: u16, _size: u8) -> u32 {
        0
    }

    fn port_write(&mut self, _now: Time, _port: u16, size: u8, value: u32) {
        let mask = if size >= 4 { u32::MAX } else { (1 << (8 * u32::from(size))) - 1 };
        self.status.get_or_insert(value & mask);
    }
}

/// The POST code port (80h on a PC): remembers the last byte, and gives it back as the DMA page register does.
#[derive(Debug, Default)]
pub struct PostCode {
    code: u8,
}

impl PostCode {
    /// A display that shows 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last code shown.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl BytePorts for PostCode {
    fn read8(&mut self, _now: Time, _port: u16) -> u8 {
        self.code
    }

    fn write8(&mut self, _now: Time, _port: u16, value: u8) {
        self.code = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_identifies_itself_and_collects() {
        let mut console = DebugConsole::new();
        assert_eq!(console.port_read(0, 0xE9, 1), 0xE9);
        assert_eq!(console.port_read(0, 0xE9, 2), 0xFFE9);
        console.port_write(0, 0xE9, 1, u32::from(b'h'));
        console.port_write(0, 0xE9, 4, 0x4142_4369);
        assert_eq!(console.drain(), b"hi");
        assert!(console.drain().is_empty());
    }

    #[test]
    fn the_first_exit_counts() {
        let mut exit = DebugExit::new();
        assert_eq!(exit.status(), None);
        exit.port_write(0, 0xF4, 1, 0x1_0007);
        exit.port_write(0, 0xF4, 4, 9);
        assert_eq!(exit.status(), Some(7));
    }

    #[test]
    fn the_post_code_reads_back() {
        let mut post = PostCode::new();
        post.write8(0, 0x80, 0x5A);
        assert_eq!((post.read8(0, 0x80), post.code()), (0x5A, 0x5A));
    }
}
