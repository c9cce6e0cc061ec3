//! Registers, interrupts and FIFOs, against the PC16550D datasheet.

use super::*;
use crate::IrqInputs;

struct Bench {
    uart: Uart,
    inputs: IrqInputs,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let inputs = IrqInputs::new();
        let mut bench = Self { uart: Uart::new(inputs.line(4)), inputs, now: 0 };
        // 115200 baud, 8N1, interrupt let out.
        for (register, value) in [(3, 0x83), (0, 1), (1, 0), (3, 0x03), (4, 0x0B)] {
            bench.out(register, value);
        }
        bench
    }

    fn fifo() -> Self {
        let mut bench = Self::new();
        bench.out(2, 0x81);
        bench
    }

    fn out(&mut self, register: u16, value: u8) {
        self.uart.write8(self.now, 0x3F8 + register, value);
    }

    fn inb(&mut self, register: u16) -> u8 {
        self.uart.read8(self.now, 0x3F8 + register)
    }

    fn irq(&self) -> bool {
        self.inputs.levels() & 0x10 != 0
    }
}

#[test]
fn reset_values_and_read_back() {
    let mut b = Bench { uart: Uart::new(IrqLine::unconnected()), inputs: IrqInputs::new(), now: 0 };
    assert_eq!((1..8).map(|r| b.inb(r)).collect::<Vec<_>>(), [0, 1, 0, 0, 0x60, 0xB0, 0]);
    for (register, written, read) in [(1, 0xFF, 0x0F), (3, 0x7F, 0x7F), (4, 0xEF, 0x0F), (7, 0x5A, 0x5A)] {
        b.out(register, written);
        assert_eq!(b.inb(register), read);
    }
    b.out(3, 0x80);
    b.out(0, 0x34);
    b.out(1, 0x12);
    assert_eq!((b.inb(0), b.inb(1)), (0x34, 0x12));
    b.out(3, 0x00);
    assert_eq!(b.inb(1), 0x0F);
}

#[test]
fn bytes_written_are_sent_in_order_and_cut_to_the_word_length() {
    let mut b = Bench::new();
    for &byte in b"Ring" {
        b.out(0, byte);
        assert_eq!(b.inb(5), 0x60);
    }
    assert_eq!(b.uart.drain_tx(), b"Ring");
    b.out(3, 0x02);
    b.out(0, 0xC1);
    assert_eq!(b.uart.drain_tx(), [0x41]);
}

#[test]
fn thre_interrupts_on_enable_and_after_each_byte() {
    let mut b = Bench::new();
    b.out(1, 0x02);
    assert!(b.irq());
    assert_eq!(b.inb(2), 0x02);
    assert!(!b.irq(), "identifying it clears it");
    assert_eq!(b.inb(2), 0x01);
    b.out(0, b'x');
    assert!(b.irq());
    assert_eq!(b.inb(2), 0x02);
    b.out(1, 0x00);
    b.out(1, 0x02);
    assert!(b.irq(), "enabling it anew while empty");
}

#[test]
fn received_bytes_interrupt_one_by_one_without_fifos() {
    let mut b = Bench::new();
    b.out(1, 0x01);
    assert_eq!(b.uart.push_rx(0, b"ab"), 2);
    assert!(b.irq());
    assert_eq!((b.inb(2), b.inb(5)), (0x04, 0x61));
    b.inputs.take_rises();
    assert_eq!(b.inb(0), b'a');
    assert!(b.irq());
    assert_eq!(b.inb(0), b'b');
    assert!(!b.irq());
    assert_eq!((b.inb(2), b.inb(5), b.uart.pending_rx()), (0x01, 0x60, 0));
}

#[test]
fn out2_gates_the_interrupt() {
    let mut b = Bench::new();
    b.out(1, 0x01);
    b.out(4, 0x03);
    b.uart.push_rx(0, b"a");
    assert!(!b.irq());
    assert_eq!(b.inb(2), 0x04);
    b.out(4, 0x0B);
    assert!(b.irq());
}

#[test]
fn the_fifo_has_a_trigger_level_and_a_timeout() {
    let mut b = Bench::fifo();
    b.out(1, 0x01);
    b.uart.push_rx(0, b"1234567");
    assert!(!b.irq(), "trigger level is 8");
    assert_eq!(b.inb(5), 0x61);
    // Four characters of ten bits at 115200 baud.
    let timeout = b.uart.next_event().unwrap();
    assert_eq!(timeout, 4 * b.uart.character_time());
    assert_eq!(b.uart.character_time(), 86_805);
    b.now = timeout;
    b.uart.advance(timeout);
    assert!(b.irq());
    assert_eq!(b.inb(2), 0xCC);
    assert_eq!(b.inb(0), b'1');
    assert!(!b.irq(), "reading ends the timeout");
    assert_eq!(b.uart.next_event(), Some(2 * timeout));
    b.uart.push_rx(b.now, b"89");
    assert!(b.irq());
    assert_eq!(b.inb(2), 0xC4);
}

#[test]
fn the_fifo_holds_16_and_the_rest_waits_on_the_line() {
    let mut b = Bench::fifo();
    let bytes: Vec<u8> = (0..100).collect();
    assert_eq!(b.uart.push_rx(0, &bytes), 100);
    assert_eq!((b.uart.rx.len(), b.uart.line.len()), (16, 84));
    let mut read = Vec::new();
    while b.inb(5) & 1 != 0 {
        read.push(b.inb(0));
    }
    assert_eq!(read, bytes);
    assert_eq!(b.inb(5) & 2, 0, "no overrun");
    assert_eq!(b.uart.push_rx(0, &vec![0; 70_000]), 65_536);
}

#[test]
fn fifo_resets_clear_and_toggling_the_enable_does_too() {
    let mut b = Bench::fifo();
    b.uart.push_rx(0, b"abc");
    b.out(2, 0x83);
    assert_eq!((b.inb(5), b.inb(2)), (0x60, 0xC1));
    b.uart.push_rx(0, b"abc");
    b.out(2, 0x00);
    assert_eq!((b.inb(5), b.inb(2)), (0x60, 0x01));
    // Without the enable bit nothing else of the register takes.
    b.out(2, 0xC6);
    assert_eq!(b.uart.trigger(), 1);
}

#[test]
fn line_errors_come_with_their_character_and_have_the_highest_priority() {
    let mut b = Bench::fifo();
    b.out(1, 0x05);
    b.uart.push_rx(0, b"a");
    b.uart.push_rx_error(0, 0, 0x18);
    b.uart.push_rx(0, b"c");
    assert_eq!(b.inb(5), 0xE1, "an error waits further down");
    assert!(!b.irq());
    assert_eq!(b.inb(0), b'a');
    assert!(b.irq());
    assert_eq!(b.inb(2), 0xC6);
    assert_eq!(b.inb(5), 0xF9);
    assert_eq!((b.inb(2), b.inb(5)), (0xC1, 0x61), "reading LSR clears it");
}

#[test]
fn loopback_connects_data_and_modem_lines() {
    let mut b = Bench::new();
    b.out(4, 0x1A);
    assert_eq!(b.inb(6) & 0xF0, 0x90, "RTS to CTS, OUT2 to DCD");
    b.out(4, 0x15);
    assert_eq!(b.inb(6) & 0xF0, 0x60);
    b.out(0, 0x5A);
    assert_eq!((b.inb(5), b.inb(0)), (0x61, 0x5A));
    b.out(0, 1);
    b.out(0, 2);
    assert_eq!(b.inb(5), 0x63, "overrun");
    assert_eq!((b.inb(5), b.inb(0)), (0x61, 2));
    assert!(b.uart.drain_tx().is_empty());
    b.uart.push_rx(0, b"x");
    assert_eq!(b.inb(5), 0x60, "the line is cut off");
    b.out(4, 0x03);
    assert_eq!(b.inb(0), b'x');
    b.out(4, 0x10);
    b.out(3, 0x43);
    assert_eq!(b.inb(5), 0x79, "break");
}

#[test]
fn modem_changes_set_deltas_and_interrupt_last() {
    let mut b = Bench::new();
    b.out(1, 0x08);
    b.inb(6);
    let inputs = ModemInputs { cts: false, dsr: true, ri: true, dcd: false };
    b.uart.set_modem(0, inputs);
    assert!(b.irq());
    assert_eq!(b.inb(2), 0x00);
    assert_eq!(b.inb(6), 0x69);
    assert!(!b.irq());
    b.uart.set_modem(0, ModemInputs { ri: false, ..inputs });
    assert_eq!(b.inb(6), 0x24, "the ring's end counts, its start does not");
}

#[test]
fn priorities_follow_the_table() {
    let mut b = Bench::new();
    b.out(1, 0x0F);
    b.uart.set_modem(0, ModemInputs { cts: false, ..ModemInputs::CONNECTED });
    b.uart.push_rx_error(0, b'e', 0x04);
    assert_eq!(b.inb(2), 0x06);
    b.inb(5);
    assert_eq!(b.inb(2), 0x04);
    b.inb(0);
    assert_eq!(b.inb(2), 0x02);
    assert_eq!(b.inb(2), 0x00);
    b.inb(6);
    assert_eq!(b.inb(2), 0x01);
}

#[test]
fn paced_bytes_take_their_time() {
    let mut b = Bench::fifo();
    b.uart.set_pacing(0, Pacing::Baud);
    let length = b.uart.character_time();
    for &byte in b"abc" {
        b.out(0, byte);
    }
    assert_eq!((b.inb(5), b.uart.drain_tx()), (0x00, vec![]));
    for sent in 1..=3 {
        assert_eq!(b.uart.next_event(), Some(sent * length));
        b.now = sent * length;
        b.uart.advance(b.now);
        assert_eq!(b.uart.drain_tx().len(), 1);
        assert_eq!(b.inb(5), [0x00, 0x20, 0x60][sent as usize - 1]);
    }
    b.out(1, 0x02);
    b.inb(2);
    b.out(0, b'd');
    b.out(0, b'e');
    assert!(!b.irq());
    b.out(2, 0x85);
    assert!(b.irq(), "emptying the transmitter FIFO is an interrupt too");
    b.out(1, 0x00);
    b.uart.push_rx(b.now, b"xyz");
    assert_eq!(b.uart.rx.len(), 1);
    b.now += length;
    b.uart.advance(b.now);
    assert_eq!(b.uart.rx.len(), 2);
}

#[test]
fn readiness_and_reset() {
    let mut b = Bench::new();
    assert!(b.uart.receiver_ready());
    assert_eq!(b.uart.modem_outputs(), (true, true));
    b.out(1, 0x02);
    b.out(0, b'k');
    b.uart.push_rx(0, b"ab");
    b.uart.reset();
    assert!(!b.irq() && !b.uart.receiver_ready());
    assert_eq!(b.uart.drain_tx(), b"k");
    assert_eq!(b.inb(3), 0);
}
