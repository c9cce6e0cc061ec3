//! The 8042 keyboard and auxiliary device controller, with a keyboard and a mouse plugged in.

mod keyboard;
pub mod keys;
mod mouse;
pub mod spec;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::clock::earliest;
use crate::once::Reported;
use crate::{BytePorts, IrqLine, Latch, Level, Time, Timed};
use keyboard::Keyboard;
pub use keyboard::Leds;
pub use keys::KeyCode;
pub use mouse::Buttons;
use mouse::Mouse;
use spec::{COMMAND, DATA, FRAME, INPUT_PORT, command, command_byte, output_port, status, translate};

/// What the controller's pins lead to.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// Keyboard output buffer full.
    pub irq1: IrqLine,
    /// Auxiliary output buffer full.
    pub irq12: IrqLine,
    /// Output port bit 1: high lets A20 through.
    pub a20: Level,
    /// Output port bit 0 fell: the processor is to be reset.
    pub reset: Latch,
}

/// Where a byte in the output buffer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Keyboard,
    Aux,
}

/// What the next byte written to the data port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Keyboard,
    Ram(u8),
    Password,
    OutputPort,
    KeyboardBuffer,
    AuxBuffer,
    Aux,
}

/// The controller at ports 60h and 64h.
#[derive(Debug)]
pub struct Controller {
    // Wiring.
    wiring: Wiring,
    // Parts.
    keyboard: Keyboard,
    mouse: Mouse,
    // Volatile state.
    /// The controller's RAM; byte 0 is the command byte.
    ram: [u8; 32],
    /// Bits 0 and 1 of the output port: reset and A20.
    port2: u8,
    expect: Expect,
    last_was_command: bool,
    output: u8,
    full: Option<Source>,
    /// Bytes the controller itself still has to deliver.
    pending: VecDeque<(Source, u8)>,
    /// When the frame that a device is sending is complete.
    keyboard_frame: Option<Time>,
    aux_frame: Option<Time>,
    /// A translated break prefix waits for its code.
    break_prefix: bool,
    /// Bits 4 to 7 of the status register as commands C1h and C2h left them.
    polled: Option<u8>,
    password: Vec<u8>,
    /// How much of the password was typed, while the keyboard is locked by it.
    typed: Option<usize>,
    /// Reserved commands the log names already.
    reserved: Reported,
}

impl Controller {
    /// A controller as after power-on: both interfaces off, A20 on, translation on.
    pub fn new(wiring: Wiring) -> Self {
        wiring.a20.set(true);
        let mut ram = [0; 32];
        ram[0] = command_byte::XLATE | command_byte::EN_N | command_byte::EN2_N;
        Self {
            wiring,
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
            ram,
            port2: output_port::RESET_N | output_port::A20,
            expect: Expect::Keyboard,
            last_was_command: false,
            output: 0,
            full: None,
            pending: VecDeque::new(),
            keyboard_frame: None,
            aux_frame: None,
            break_prefix: false,
            polled: None,
            password: Vec::new(),
            typed: None,
            reserved: Reported::default(),
        }
    }

    /// The system's reset: controller and devices start anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.wiring.clone());
        self.update_irqs();
    }

    /// Leaves the command byte as a BIOS does: keyboard on, translated, with its interrupt; the mouse off.
    pub fn firmware_defaults(&mut self) {
        self.ram[0] = command_byte::INT | command_byte::SYS | command_byte::XLATE | command_byte::EN2_N;
        self.update_irqs();
    }

    /// A key of the keyboard goes down or up.
    pub fn key(&mut self, now: Time, code: KeyCode, pressed: bool) {
        self.advance(now);
        self.keyboard.key(now, code, pressed);
        self.deliver(now);
    }

    /// Whether the keyboard's buffer takes one more key event of any kind; scripts that type should wait for it.
    pub fn key_room(&self) -> bool {
        self.keyboard.room()
    }

    /// The mouse moved by `dx` counts to the right, `dy` away from the user, its wheel by `dz` towards the user.
    pub fn mouse(&mut self, now: Time, dx: i32, dy: i32, dz: i32, buttons: Buttons) {
        self.advance(now);
        self.mouse.moved(now, (dx, dy, dz), buttons);
        self.deliver(now);
    }

    /// The keyboard's lights.
    pub fn leds(&self) -> Leds {
        self.keyboard.leds()
    }

    fn enabled(&self, disable: u8) -> bool {
        self.ram[0] & disable == 0
    }

    fn fill(&mut self, source: Source, byte: u8) {
        self.output = byte;
        self.full = Some(source);
    }

    /// Fills the output buffer if it is empty and something has arrived.
    fn deliver(&mut self, now: Time) {
        while self.full.is_none() {
            if let Some((source, byte)) = self.pending.pop_front() {
                self.fill(source, byte);
                break;
            }
            let frame = |slot: &mut Option<Time>, ready: bool| {
                if ready {
                    *slot.get_or_insert(now.saturating_add(FRAME)) <= now
                } else {
                    *slot = None;
                    false
                }
            };
            let keyboard_ready = self.keyboard.has_data() && self.enabled(command_byte::EN_N);
            let aux_ready = self.mouse.has_data() && self.enabled(command_byte::EN2_N);
            let keyboard_done = frame(&mut self.keyboard_frame, keyboard_ready);
            let aux_done = frame(&mut self.aux_frame, aux_ready);
            if keyboard_done && let Some(byte) = self.keyboard.take() {
                self.keyboard_frame = None;
                self.accept_keyboard(byte);
            } else if aux_done && let Some(byte) = self.mouse.take() {
                self.aux_frame = None;
                self.fill(Source::Aux, byte);
            } else {
                break;
            }
        }
        self.update_irqs();
    }

    /// A byte from the keyboard goes through translation and the password check.
    fn accept_keyboard(&mut self, byte: u8) {
        let mut byte = byte;
        if self.ram[0] & command_byte::XLATE != 0 {
            if byte == 0xF0 {
                self.break_prefix = true;
                return;
            }
            byte = translate(byte) | if std::mem::take(&mut self.break_prefix) { 0x80 } else { 0 };
        }
        match self.typed {
            Some(matched) => {
                if byte & 0x80 != 0 {
                    return;
                }
                let matched = if self.password.get(matched) == Some(&byte) { matched + 1 } else { 0 };
                self.typed = (matched < self.password.len()).then_some(matched);
            }
            None => self.fill(Source::Keyboard, byte),
        }
    }

    fn update_irqs(&self) {
        let irq = |source, enable| self.full == Some(source) && self.ram[0] & enable != 0;
        self.wiring.irq1.set_level(irq(Source::Keyboard, command_byte::INT));
        self.wiring.irq12.set_level(irq(Source::Aux, command_byte::INT2));
    }

    fn respond(&mut self, byte: u8) {
        self.pending.push_back((Source::Keyboard, byte));
    }

    fn set_output_port(&mut self, value: u8) {
        self.port2 = value | output_port::RESET_N;
        self.wiring.a20.set(value & output_port::A20 != 0);
        if value & output_port::RESET_N == 0 {
            self.wiring.reset.raise();
        }
    }

    fn output_port(&self) -> u8 {
        let bit = |on, bit| if on { bit } else { 0 };
        let idle = output_port::AUX_DATA | output_port::KBD_DATA;
        self.port2 & (output_port::RESET_N | output_port::A20)
            | idle
            | bit(self.enabled(command_byte::EN2_N), output_port::AUX_CLOCK)
            | bit(self.enabled(command_byte::EN_N), output_port::KBD_CLOCK)
            | bit(self.wiring.irq1.level() || self.full == Some(Source::Keyboard), output_port::IRQ1)
            | bit(self.full == Some(Source::Aux), output_port::IRQ12)
    }

    fn command(&mut self, value: u8) {
        self.expect = Expect::Keyboard;
        self.polled = None;
        match value {
            0x20..=0x3F => self.respond(self.ram[usize::from(value & 0x1F)]),
            0x60..=0x7F => self.expect = Expect::Ram(value & 0x1F),
            command::TEST_PASSWORD => {
                let installed = !self.password.is_empty();
                self.respond(if installed { spec::PASSWORD_INSTALLED } else { spec::NO_PASSWORD });
            }
            command::LOAD_PASSWORD => {
                self.password.clear();
                self.expect = Expect::Password;
            }
            command::ENABLE_PASSWORD => self.typed = (!self.password.is_empty()).then_some(0),
            command::DISABLE_AUX => self.ram[0] |= command_byte::EN2_N,
            command::ENABLE_AUX => self.ram[0] &= !command_byte::EN2_N,
            command::TEST_AUX | command::TEST_KBD => self.respond(0),
            command::SELF_TEST => {
                self.ram[0] = command_byte::XLATE | command_byte::EN_N | command_byte::EN2_N | command_byte::SYS;
                self.pending.clear();
                self.full = None;
                self.break_prefix = false;
                self.respond(spec::SELF_TEST_PASSED);
            }
            command::DISABLE_KBD => self.ram[0] |= command_byte::EN_N,
            command::ENABLE_KBD => self.ram[0] &= !command_byte::EN_N,
            command::READ_INPUT => self.respond(INPUT_PORT),
            command::POLL_LOW => self.polled = Some(INPUT_PORT << 4),
            command::POLL_HIGH => self.polled = Some(INPUT_PORT & 0xF0),
            command::READ_OUTPUT => self.respond(self.output_port()),
            command::WRITE_OUTPUT => self.expect = Expect::OutputPort,
            command::WRITE_KBD_BUFFER => self.expect = Expect::KeyboardBuffer,
            command::WRITE_AUX_BUFFER => self.expect = Expect::AuxBuffer,
            command::WRITE_AUX => self.expect = Expect::Aux,
            command::DISABLE_A20 => self.set_output_port(self.port2 & !output_port::A20),
            command::ENABLE_A20 => self.set_output_port(self.port2 | output_port::A20),
            command::READ_TEST => {
                let clocks =
                    u8::from(self.enabled(command_byte::EN_N)) | u8::from(self.enabled(command_byte::EN2_N)) << 1;
                self.respond(clocks);
            }
            // The low four output lines whose bit is 0 pulse low; only the reset line does anything in 6 us.
            0xF0..=0xFF if value & output_port::RESET_N == 0 => self.wiring.reset.raise(),
            0xF0..=0xFF => {}
            _ => {
                if self.reserved.first(value) {
                    log::warn!("8042: command {value:02X}h is reserved; nothing happens");
                }
            }
        }
    }

    fn data(&mut self, now: Time, value: u8) {
        match std::mem::replace(&mut self.expect, Expect::Keyboard) {
            Expect::Keyboard => {
                // Sending to a device switches its interface on, and drops what it was sending.
                self.ram[0] &= !command_byte::EN_N;
                self.keyboard_frame = None;
                self.keyboard.command(now, value);
            }
            Expect::Ram(address) => self.ram[usize::from(address & 0x1F)] = value,
            Expect::Password => {
                if value != 0 && self.password.len() < 16 {
                    self.password.push(value);
                    self.expect = Expect::Password;
                }
            }
            Expect::OutputPort => self.set_output_port(value),
            Expect::KeyboardBuffer => self.pending.push_back((Source::Keyboard, value)),
            Expect::AuxBuffer => self.pending.push_back((Source::Aux, value)),
            Expect::Aux => {
                self.ram[0] &= !command_byte::EN2_N;
                self.aux_frame = None;
                self.mouse.command(now, value);
            }
        }
    }

    fn status(&self) -> u8 {
        let bit = |on, bit| if on { bit } else { 0 };
        let system = self.ram[0] & command_byte::SYS != 0;
        let low =
            bit(self.full.is_some(), status::OBF) | bit(system, status::SYS) | bit(self.last_was_command, status::A2);
        let high = status::INH | bit(self.full == Some(Source::Aux), status::MOBF);
        low | self.polled.unwrap_or(high)
    }
}

impl Timed for Controller {
    fn next_event(&self) -> Option<Time> {
        let devices = earliest(self.keyboard.next_event(), self.mouse.next_event());
        if self.full.is_some() {
            return devices;
        }
        earliest(devices, earliest(self.keyboard_frame, self.aux_frame))
    }

    fn advance(&mut self, now: Time) {
        self.keyboard.advance(now);
        self.mouse.advance(now);
        self.deliver(now);
    }
}

impl BytePorts for Controller {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        match port {
            DATA => {
                let byte = self.output;
                self.full = None;
                // The interrupt line falls before the next byte raises it again.
                self.update_irqs();
                self.mouse.advance(now);
                self.deliver(now);
                byte
            }
            COMMAND => self.status(),
            _ => 0xFF,
        }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port {
            DATA => {
                self.last_was_command = false;
                self.data(now, value);
            }
            COMMAND => {
                self.last_was_command = true;
                self.command(value);
            }
            _ => {}
        }
        self.advance(now);
    }
}
