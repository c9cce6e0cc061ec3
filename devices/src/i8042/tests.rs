//! Controller commands, scan sets, typematic and mouse packets, against the PS/2 technical reference.

use super::spec::BAT;
use super::*;
use crate::IrqInputs;

struct Bench {
    chip: Controller,
    inputs: IrqInputs,
    a20: Level,
    reset: Latch,
    now: Time,
}

impl Bench {
    /// Both devices on, interrupts on, no translation.
    fn new() -> Self {
        let mut bench = Self::raw();
        bench.command(0x60);
        bench.data(0x07);
        bench
    }

    fn raw() -> Self {
        let (inputs, a20, reset) = (IrqInputs::new(), Level::new(false), Latch::new());
        let wiring = Wiring { irq1: inputs.line(1), irq12: inputs.line(12), a20: a20.clone(), reset: reset.clone() };
        Self { chip: Controller::new(wiring), inputs, a20, reset, now: 0 }
    }

    fn command(&mut self, value: u8) {
        self.chip.write8(self.now, 0x64, value);
    }

    fn data(&mut self, value: u8) {
        self.chip.write8(self.now, 0x60, value);
    }

    fn status(&mut self) -> u8 {
        self.chip.read8(self.now, 0x64)
    }

    fn read(&mut self) -> u8 {
        self.chip.read8(self.now, 0x60)
    }

    /// Everything that arrives within `time`, each byte read at once.
    fn collect(&mut self, time: Time) -> Vec<u8> {
        let end = self.now + time;
        let mut bytes = Vec::new();
        loop {
            if self.status() & 1 != 0 {
                bytes.push(self.read());
                continue;
            }
            match self.chip.next_event() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.chip.advance(self.now);
                }
                _ => break,
            }
        }
        self.now = end;
        self.chip.advance(end);
        bytes
    }

    fn keyboard(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        for &byte in bytes {
            self.data(byte);
            answer.extend(self.collect(10_000_000));
        }
        answer
    }

    fn aux(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        for &byte in bytes {
            self.command(0xD4);
            self.data(byte);
            answer.extend(self.collect(10_000_000));
        }
        answer
    }

    fn tap(&mut self, code: KeyCode) -> (Vec<u8>, Vec<u8>) {
        self.chip.key(self.now, code, true);
        let make = self.collect(20_000_000);
        self.chip.key(self.now, code, false);
        (make, self.collect(20_000_000))
    }

    fn hold(&mut self, code: KeyCode, pressed: bool) {
        self.chip.key(self.now, code, pressed);
        self.collect(20_000_000);
    }
}

#[test]
fn the_key_table_is_in_order_and_codes_are_unique() {
    let mut set2 = std::collections::HashSet::new();
    let mut set3 = std::collections::HashSet::new();
    for (i, key) in keys::KEYS.iter().enumerate() {
        assert_eq!(key.code as usize, i);
        assert!(set2.insert((key.set2, key.extended)) || key.code == KeyCode::Pause, "{:?}", key.code);
        assert!(key.set3 == 0 || set3.insert(key.set3), "{:?}", key.code);
    }
}

#[test]
fn self_test_and_simple_commands_answer() {
    let mut b = Bench::raw();
    assert_eq!(b.status(), 0x10);
    b.command(0xAA);
    assert_eq!(b.status(), 0x1D, "full, system flag, command");
    assert_eq!(b.read(), 0x55);
    assert_eq!(b.status() & 1, 0);
    for (command, answer) in [(0xA9, 0x00), (0xAB, 0x00), (0xA4, 0xF1), (0xC0, 0xB3), (0xE0, 0x00), (0x20, 0x74)] {
        b.command(command);
        assert_eq!(b.read(), answer, "{command:02X}");
    }
    b.command(0xAE);
    b.command(0xA8);
    b.command(0xE0);
    assert_eq!(b.read(), 0x03);
    b.command(0x65);
    b.data(0x99);
    b.command(0x25);
    assert_eq!((b.status() & 8, b.read()), (8, 0x99));
    b.command(0xC2);
    assert_eq!(b.status() & 0xF0, 0xB0);
    b.command(0xC1);
    assert_eq!(b.status() & 0xF0, 0x30);
}

#[test]
fn output_port_drives_a20_and_reset() {
    let mut b = Bench::raw();
    assert!(b.a20.get(), "A20 is on after power-on");
    b.command(0xD1);
    b.data(0xDD);
    assert!(!b.a20.get() && !b.reset.is_raised());
    b.command(0xD0);
    assert_eq!(b.read() & 0x03, 0x01);
    b.command(0xDF);
    assert!(b.a20.get());
    b.command(0xDD);
    assert!(!b.a20.get());
    b.command(0xFF);
    assert!(!b.reset.is_raised());
    b.command(0xFE);
    assert!(b.reset.take());
    b.command(0xD1);
    b.data(0xDE);
    assert!(b.reset.take());
}

#[test]
fn output_buffers_can_be_written_and_raise_their_interrupts() {
    let mut b = Bench::new();
    b.command(0xD2);
    b.data(0x42);
    assert_eq!((b.inputs.levels(), b.status() & 0x21), (1 << 1, 0x01));
    assert_eq!((b.read(), b.inputs.levels()), (0x42, 0));
    b.command(0xD3);
    b.data(0x43);
    assert_eq!((b.inputs.levels(), b.status() & 0x21), (1 << 12, 0x21));
    assert_eq!(b.read(), 0x43);
    assert_eq!(b.read(), 0x43, "an empty buffer repeats the last byte");
}

#[test]
fn each_byte_gives_its_own_interrupt_edge_a_frame_apart() {
    let mut b = Bench::new();
    b.inputs.take_rises();
    b.chip.key(0, KeyCode::ArrowUp, true);
    assert_eq!(b.chip.next_event(), Some(FRAME));
    b.now = FRAME;
    b.chip.advance(b.now);
    assert_eq!((b.inputs.take_rises(), b.read()), (2, 0xE0));
    assert_eq!((b.inputs.levels(), b.status() & 1), (0, 0));
    b.now += FRAME;
    b.chip.advance(b.now);
    assert_eq!((b.inputs.take_rises(), b.read()), (2, 0x75));
}

#[test]
fn sets_1_2_and_3_and_translation_give_the_right_codes() {
    let mut b = Bench::new();
    assert_eq!(b.tap(KeyCode::A), (vec![0x1C], vec![0xF0, 0x1C]));
    assert_eq!(b.tap(KeyCode::ControlRight), (vec![0xE0, 0x14], vec![0xE0, 0xF0, 0x14]));
    assert_eq!(b.keyboard(&[0xF0, 0x01]), [0xFA, 0xFA]);
    assert_eq!(b.tap(KeyCode::A), (vec![0x1E], vec![0x9E]));
    assert_eq!(b.tap(KeyCode::F7), (vec![0x41], vec![0xC1]));
    assert_eq!(b.tap(KeyCode::NumpadEnter), (vec![0xE0, 0x1C], vec![0xE0, 0x9C]));
    assert_eq!(b.keyboard(&[0xF0, 0x03]), [0xFA, 0xFA]);
    assert_eq!(b.tap(KeyCode::A), (vec![0x1C], vec![]), "typematic keys have no break code in set 3");
    assert_eq!(b.tap(KeyCode::ShiftLeft), (vec![0x12], vec![0xF0, 0x12]));
    assert_eq!(b.tap(KeyCode::ControlLeft), (vec![0x11], vec![0xF0, 0x11]));
    assert_eq!(b.tap(KeyCode::NumpadSubtract), (vec![0x84], vec![]));
    assert_eq!(b.keyboard(&[0xF0, 0x00]), [0xFA, 0xFA, 0x03]);
    assert_eq!(b.keyboard(&[0xFC, 0x1C, 0xF4]), [0xFA, 0xFA, 0xFA]);
    assert_eq!(b.tap(KeyCode::A), (vec![0x1C], vec![0xF0, 0x1C]));
    assert_eq!(b.keyboard(&[0xF0, 0x02]), [0xFA, 0xFA]);
    b.command(0x60);
    b.data(0x47);
    assert_eq!(b.tap(KeyCode::Enter), (vec![0x1C], vec![0x9C]));
    assert_eq!(b.tap(KeyCode::Delete), (vec![0xE0, 0x53], vec![0xE0, 0xD3]));
    assert_eq!(b.keyboard(&[0xF2]), [0xFA, 0xAB, 0x41], "the identity is translated too");
}

#[test]
fn set_1_by_translation_matches_the_table_of_the_reference() {
    let mut b = Bench::new();
    b.command(0x60);
    b.data(0x47);
    for (code, make) in [
        (KeyCode::Escape, 0x01),
        (KeyCode::Digit1, 0x02),
        (KeyCode::Digit0, 0x0B),
        (KeyCode::Tab, 0x0F),
        (KeyCode::Q, 0x10),
        (KeyCode::Backslash, 0x2B),
        (KeyCode::Z, 0x2C),
        (KeyCode::ShiftRight, 0x36),
        (KeyCode::NumpadMultiply, 0x37),
        (KeyCode::Space, 0x39),
        (KeyCode::F1, 0x3B),
        (KeyCode::F10, 0x44),
        (KeyCode::NumLock, 0x45),
        (KeyCode::ScrollLock, 0x46),
        (KeyCode::Numpad7, 0x47),
        (KeyCode::NumpadDecimal, 0x53),
        (KeyCode::Intl102, 0x56),
        (KeyCode::F11, 0x57),
        (KeyCode::F12, 0x58),
    ] {
        assert_eq!(b.tap(code), (vec![make], vec![make | 0x80]), "{code:?}");
    }
}

#[test]
fn grey_keys_pause_and_print_screen_carry_shift_codes() {
    let mut b = Bench::new();
    assert_eq!(b.tap(KeyCode::Pause), (vec![0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77], vec![]));
    let (make, release) = b.tap(KeyCode::PrintScreen);
    assert_eq!(make, [0xE0, 0x12, 0xE0, 0x7C]);
    assert_eq!(release, [0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12]);
    b.hold(KeyCode::AltLeft, true);
    assert_eq!(b.tap(KeyCode::PrintScreen), (vec![0x84], vec![0xF0, 0x84]));
    b.hold(KeyCode::AltLeft, false);
    b.hold(KeyCode::ControlLeft, true);
    assert_eq!(b.tap(KeyCode::Pause).0, [0xE0, 0x7E, 0xE0, 0xF0, 0x7E]);
    b.hold(KeyCode::ControlLeft, false);
    b.hold(KeyCode::ShiftRight, true);
    let (make, release) = b.tap(KeyCode::Home);
    assert_eq!(make, [0xE0, 0xF0, 0x59, 0xE0, 0x6C]);
    assert_eq!(release, [0xE0, 0xF0, 0x6C, 0xE0, 0x59]);
    b.hold(KeyCode::ShiftRight, false);
    assert_eq!(b.keyboard(&[0xED, 0x02]), [0xFA, 0xFA]);
    assert!(b.chip.leds().num && !b.chip.leds().caps);
    let (make, release) = b.tap(KeyCode::Home);
    assert_eq!(make, [0xE0, 0x12, 0xE0, 0x6C]);
    assert_eq!(release, [0xE0, 0xF0, 0x6C, 0xE0, 0xF0, 0x12]);
}

#[test]
fn keys_repeat_after_the_delay_at_the_rate_set() {
    let mut b = Bench::new();
    // 250 ms delay, 30 characters a second.
    assert_eq!(b.keyboard(&[0xF3, 0x00]), [0xFA, 0xFA]);
    b.chip.key(b.now, KeyCode::X, true);
    let held = b.collect(250_000_000 + 10 * 33_333_333 + 5_000_000);
    assert_eq!(held, vec![0x22; 12]);
    b.chip.key(b.now, KeyCode::Y, true);
    assert_eq!(b.collect(260_000_000), [0x35, 0x35], "the newest key repeats");
    b.chip.key(b.now, KeyCode::X, false);
    assert_eq!(b.collect(40_000_000)[..3], [0xF0, 0x22, 0x35]);
    b.chip.key(b.now, KeyCode::Y, false);
    assert_eq!(b.collect(1_000_000_000), [0xF0, 0x35]);
}

#[test]
fn keyboard_commands_answer() {
    let mut b = Bench::new();
    assert_eq!(b.keyboard(&[0xEE]), [0xEE]);
    assert_eq!(b.keyboard(&[0xF2]), [0xFA, 0xAB, 0x83]);
    assert_eq!(b.keyboard(&[0xFE]), [0x83], "resend");
    assert_eq!(b.keyboard(&[0xF1]), [0xFE]);
    assert_eq!(b.keyboard(&[0xF3, 0x80]), [0xFA, 0xFE]);
    assert_eq!(b.keyboard(&[0xF5]), [0xFA]);
    assert_eq!(b.tap(KeyCode::A).0, []);
    assert_eq!(b.keyboard(&[0xF4]), [0xFA]);
    assert_eq!(b.tap(KeyCode::A).0, [0x1C]);
    for (bits, leds) in [(1, (true, false, false)), (2, (false, true, false)), (4, (false, false, true))] {
        b.keyboard(&[0xED, bits]);
        let Leds { scroll, num, caps } = b.chip.leds();
        assert_eq!((scroll, num, caps), leds);
    }
    assert_eq!(b.keyboard(&[0xED, 0x07, 0xFF]), [0xFA, 0xFA, 0xFA]);
    assert_eq!(b.chip.leds(), Leds::default());
    assert_eq!(b.collect(BAT), [0xAA]);
    assert_eq!(b.keyboard(&[0xF7, 0xF0, 0x03]), [0xFA; 3]);
    assert_eq!(b.tap(KeyCode::ShiftLeft), (vec![0x12], vec![]));
    assert_eq!(b.keyboard(&[0xFA]), [0xFA]);
    assert_eq!(b.tap(KeyCode::Escape), (vec![0x08], vec![0xF0, 0x08]));
}

#[test]
fn a_full_keyboard_says_overrun() {
    let mut b = Bench::new();
    b.command(0xAD);
    for _ in 0..8 {
        b.chip.key(b.now, KeyCode::B, true);
        b.chip.key(b.now, KeyCode::B, false);
    }
    assert!(!b.chip.key_room());
    b.command(0xAE);
    let codes = b.collect(100_000_000);
    assert_eq!((codes.len(), codes[15]), (16, 0x00));
    assert!(b.chip.key_room());
}

#[test]
fn a_disabled_interface_holds_bytes_back_and_sending_enables_it() {
    let mut b = Bench::new();
    b.command(0xAD);
    b.chip.key(b.now, KeyCode::A, true);
    b.chip.key(b.now, KeyCode::A, false);
    assert_eq!(b.collect(50_000_000), []);
    b.command(0xAE);
    assert_eq!(b.collect(50_000_000), [0x1C, 0xF0, 0x1C]);
    b.command(0xAD);
    assert_eq!(b.keyboard(&[0xEE]), [0xEE]);
}

#[test]
fn the_password_keeps_keys_back_until_it_is_typed() {
    let mut b = Bench::new();
    b.command(0x60);
    b.data(0x47);
    b.command(0xA5);
    for byte in [0x1E, 0x30, 0] {
        b.data(byte);
    }
    b.command(0xA4);
    assert_eq!(b.read(), 0xFA);
    b.command(0xA6);
    for code in [KeyCode::C, KeyCode::A, KeyCode::B] {
        assert_eq!(b.tap(code).0, []);
    }
    assert_eq!(b.tap(KeyCode::C).0, [0x2E]);
}

#[test]
fn the_mouse_reports_movement_in_packets() {
    let mut b = Bench::new();
    assert_eq!(b.aux(&[0xF2]), [0xFA, 0x00]);
    b.chip.mouse(b.now, 5, 0, 0, Buttons::default());
    assert_eq!(b.collect(50_000_000), [], "reporting is off");
    assert_eq!(b.aux(&[0xF4]), [0xFA]);
    let left = Buttons { left: true, ..Buttons::default() };
    b.chip.mouse(b.now, 5, -3, 1, left);
    assert_eq!(b.collect(50_000_000), [0x29, 5, 0xFD]);
    b.chip.mouse(b.now, -300, 0, 0, Buttons::default());
    assert_eq!(b.collect(50_000_000), [0x18, 0x01, 0, 0x18, 0xD3, 0], "the rest follows");
    assert_eq!(b.aux(&[0xE9]), [0xFA, 0x20, 2, 100]);
    b.chip.mouse(b.now, 1, 1, 0, left);
    b.now += FRAME;
    b.chip.advance(b.now);
    assert_eq!(b.inputs.levels(), 1 << 12);
    assert_eq!(b.status() & 0x21, 0x21);
}

#[test]
fn sampling_rates_limit_reports_and_unlock_the_wheel() {
    let mut b = Bench::new();
    assert_eq!(b.aux(&[0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2]), [0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 3]);
    b.aux(&[0xF3, 10, 0xF4]);
    b.chip.mouse(b.now, 1, 0, -2, Buttons::default());
    b.chip.mouse(b.now, 1, 0, 0, Buttons::default());
    assert_eq!(b.collect(90_000_000), [0x08, 1, 0, 0xFE], "the second movement waits 100 ms");
    assert_eq!(b.collect(30_000_000), [0x08, 1, 0, 0]);
    b.aux(&[0xF3, 200, 0xF3, 200, 0xF3, 80]);
    assert_eq!(b.aux(&[0xF2]), [0xFA, 4]);
    b.chip.mouse(b.now, 0, 0, 1, Buttons { fourth: true, ..Buttons::default() });
    assert_eq!(b.collect(50_000_000), [0x08, 0, 0, 0x11]);
}

#[test]
fn mouse_modes_scaling_and_errors() {
    let mut b = Bench::new();
    assert_eq!(b.aux(&[0xF0, 0xEB]), [0xFA, 0xFA, 0x08, 0, 0]);
    b.chip.mouse(b.now, 4, 2, 0, Buttons::default());
    assert_eq!(b.aux(&[0xEB]), [0xFA, 0x08, 4, 2]);
    assert_eq!(b.aux(&[0xEE, 0x12, 0xF4, 0xEC]), [0xFA, 0x12, 0xF4, 0xFA], "wrap mode echoes");
    assert_eq!(b.aux(&[0xE9])[1], 0x40, "back in remote mode");
    assert_eq!(b.aux(&[0xEA, 0xE7, 0xF4]), [0xFA; 3]);
    b.chip.mouse(b.now, 4, -5, 0, Buttons::default());
    assert_eq!(b.collect(50_000_000), [0x28, 6, 0xF7]);
    assert_eq!(b.aux(&[0xE8, 0x03, 0xE9]), [0xFA, 0xFA, 0xFA, 0x30, 3, 100]);
    assert_eq!(b.aux(&[0x00, 0x00]), [0xFE, 0xFC]);
    assert_eq!(b.aux(&[0xFF]), [0xFA]);
    assert_eq!(b.collect(BAT + 5_000_000), [0xAA, 0x00]);
}

#[test]
fn firmware_defaults_and_reset() {
    let mut b = Bench::raw();
    b.chip.firmware_defaults();
    b.inputs.take_rises();
    assert_eq!(b.tap(KeyCode::Enter), (vec![0x1C], vec![0x9C]));
    assert_ne!(b.inputs.take_rises() & 2, 0);
    b.command(0xD1);
    b.data(0x01);
    b.chip.reset();
    assert!(b.a20.get());
    assert_eq!(b.status(), 0x10);
}
