//! Command words, priorities and acknowledge cycles, against the 8259A datasheet.

use super::*;
use crate::IrqLine;

struct Board {
    pic: PicPair,
    lines: Vec<IrqLine>,
}

impl Board {
    /// Initialized as a PC's BIOS does: vectors 08h and 70h, everything unmasked.
    fn new() -> Self {
        let mut board = Self::raw(PicPair::new(IrqInputs::new()));
        board.initialize(0x11, 0x01);
        board
    }

    fn raw(pic: PicPair) -> Self {
        let lines = (0..16).map(|i| pic.inputs().line(i)).collect();
        Self { pic, lines }
    }

    fn initialize(&mut self, icw1: u8, icw4: u8) {
        for (base, vector, icw3) in [(0x20, 0x08, 4), (0xA0, 0x70, 2)] {
            self.out(base, icw1);
            for value in [vector, icw3, icw4] {
                self.out(base + 1, value);
            }
        }
    }

    fn out(&mut self, port: u16, value: u8) {
        self.pic.write8(0, port, value);
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.pic.read8(0, port)
    }

    fn set(&self, irq: usize, level: bool) {
        self.lines[irq].set_level(level);
    }

    fn irr(&mut self) -> u8 {
        self.out(0x20, 0x0A);
        self.inb(0x20)
    }

    fn isr(&mut self) -> u8 {
        self.out(0x20, 0x0B);
        self.inb(0x20)
    }
}

#[test]
fn requests_are_served_by_priority_and_nest() {
    let mut b = Board::new();
    assert!(!b.pic.intr());
    b.set(5, true);
    b.set(3, true);
    assert!(b.pic.intr());
    assert_eq!(b.irr(), 0x28);
    assert_eq!(b.pic.acknowledge(), 0x0B);
    assert_eq!((b.isr(), b.irr()), (0x08, 0x20));
    assert!(!b.pic.intr(), "a lower request waits for the one in service");
    b.set(1, true);
    assert_eq!(b.pic.acknowledge(), 0x09);
    b.out(0x20, 0x20);
    assert_eq!(b.isr(), 0x08, "a non-specific EOI ends the highest in service");
    b.out(0x20, 0x20);
    assert_eq!(b.pic.acknowledge(), 0x0D);
}

#[test]
fn an_edge_counts_once_and_is_withdrawn_when_the_line_falls() {
    let mut b = Board::new();
    b.set(4, true);
    assert_eq!(b.pic.acknowledge(), 0x0C);
    b.out(0x20, 0x64);
    assert!(!b.pic.intr(), "still high, no new edge");
    b.lines[4].pulse();
    assert!(b.pic.intr());
    b.set(4, false);
    assert!(!b.pic.intr());
    assert_eq!(b.irr(), 0);
    assert_eq!(b.pic.acknowledge(), 0x0F, "spurious");
    assert_eq!(b.isr(), 0, "without an in-service bit");
}

#[test]
fn the_slave_cascades_and_has_its_own_spurious_vector() {
    let mut b = Board::new();
    b.set(12, true);
    assert_eq!(b.irr(), 0x04);
    assert_eq!(b.pic.acknowledge(), 0x74);
    b.out(0xA0, 0x0B);
    assert_eq!((b.isr(), b.inb(0xA0)), (0x04, 0x10));
    // A higher slave request is held back by the master until its EOI (not special fully nested).
    b.set(8, true);
    assert!(!b.pic.intr());
    b.out(0x20, 0x20);
    assert_eq!(b.pic.acknowledge(), 0x70);
    b.out(0xA0, 0x20);
    b.out(0xA0, 0x20);
    b.out(0x20, 0x20);
    // The slave's request vanishes between the master's and the slave's answer: IRQ 15.
    b.set(10, true);
    assert!(b.pic.intr());
    b.out(0x21, 0x00);
    b.pic.slave.sample(0, 0);
    let level = b.pic.master.begin_service();
    assert_eq!(level, Some(2));
    assert_eq!(b.pic.slave.begin_service(), None);
    assert_eq!(b.pic.slave.vector(7), 0x77);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_again() {
    let mut b = Board::new();
    b.initialize(0x11, 0x11);
    b.set(12, true);
    assert_eq!(b.pic.acknowledge(), 0x74);
    b.set(9, true);
    assert!(b.pic.intr());
    assert_eq!(b.pic.acknowledge(), 0x71);
    b.set(1, true);
    assert_eq!(b.pic.acknowledge(), 0x09);
}

#[test]
fn masks_hold_requests_back_but_keep_them() {
    let mut b = Board::new();
    b.out(0x21, 0xFF);
    b.set(6, true);
    assert!(!b.pic.intr());
    assert_eq!((b.irr(), b.inb(0x21)), (0x40, 0xFF));
    b.out(0x21, 0xBF);
    assert!(b.pic.intr());
}

#[test]
fn special_mask_mode_frees_the_levels_below_a_masked_one() {
    let mut b = Board::new();
    b.set(2 + 1, true);
    assert_eq!(b.pic.acknowledge(), 0x0B);
    b.set(6, true);
    b.out(0x21, 0x08);
    assert!(!b.pic.intr());
    b.out(0x20, 0x68);
    assert!(b.pic.intr());
    assert_eq!(b.pic.acknowledge(), 0x0E);
    // A non-specific EOI does not end the masked level.
    b.out(0x20, 0x20);
    b.out(0x20, 0x20);
    assert_eq!(b.isr(), 0x08);
    b.out(0x20, 0x63);
    assert_eq!(b.isr(), 0);
    b.out(0x20, 0x48);
    b.set(5, true);
    assert_eq!(b.pic.acknowledge(), 0x0D);
}

#[test]
fn rotation_moves_the_lowest_priority() {
    let mut b = Board::new();
    b.set(4, true);
    b.pic.acknowledge();
    b.out(0x20, 0xA0);
    // IR4 is now the lowest, IR5 the highest.
    b.lines[4].pulse();
    b.set(0, true);
    b.set(5, true);
    assert_eq!(b.pic.acknowledge(), 0x0D);
    b.out(0x20, 0xE5);
    assert_eq!(b.pic.acknowledge(), 0x08);
    b.out(0x20, 0x60);
    assert_eq!(b.pic.acknowledge(), 0x0C);
    b.out(0x20, 0x64);
    // Set priority: IR3 highest.
    b.out(0x20, 0xC2);
    b.lines[0].pulse();
    b.set(3, true);
    assert_eq!(b.pic.acknowledge(), 0x0B);
}

#[test]
fn automatic_eoi_leaves_nothing_in_service_and_may_rotate() {
    let mut b = Board::new();
    b.initialize(0x11, 0x03);
    b.set(1, true);
    assert_eq!((b.pic.acknowledge(), b.isr()), (0x09, 0));
    b.out(0x20, 0x80);
    b.lines[1].pulse();
    assert_eq!(b.pic.acknowledge(), 0x09);
    b.lines[1].pulse();
    b.set(7, true);
    assert_eq!(b.pic.acknowledge(), 0x0F, "IR1 went to the lowest place");
    b.out(0x20, 0x00);
    assert_eq!(b.pic.acknowledge(), 0x09);
}

#[test]
fn poll_takes_the_request_without_an_acknowledge_cycle() {
    let mut b = Board::new();
    b.set(6, true);
    b.out(0x20, 0x0C);
    assert_eq!(b.inb(0x20), 0x86);
    assert_eq!(b.isr(), 0x40);
    b.out(0x20, 0x0C);
    assert_eq!(b.inb(0x20), 0x00);
    assert_eq!(b.inb(0x20), 0x40, "the poll lasts for one read");
}

#[test]
fn elcr_makes_an_input_level_triggered() {
    let mut b = Board::new();
    b.out(0x4D0, 0xFF);
    b.out(0x4D1, 0xFF);
    assert_eq!((b.inb(0x4D0), b.inb(0x4D1)), (0xF8, 0xDE));
    b.set(5, true);
    assert_eq!(b.pic.acknowledge(), 0x0D);
    b.out(0x20, 0x20);
    assert!(b.pic.intr(), "the level is still there");
    b.set(5, false);
    assert!(!b.pic.intr());
    b.set(11, true);
    assert_eq!(b.pic.acknowledge(), 0x73);
    b.out(0xA0, 0x20);
    b.out(0x20, 0x20);
    assert_eq!(b.pic.acknowledge(), 0x73);
}

#[test]
fn ltim_counts_only_on_discrete_chips() {
    for (discrete, again) in [(true, true), (false, false)] {
        let inputs = IrqInputs::new();
        let mut b = Board::raw(if discrete { PicPair::discrete(inputs) } else { PicPair::new(inputs) });
        b.initialize(0x19, 0x01);
        b.set(3, true);
        b.pic.acknowledge();
        b.out(0x20, 0x20);
        assert_eq!(b.pic.intr(), again);
    }
}

#[test]
fn initialization_clears_masks_and_edges() {
    let mut b = Board::new();
    b.set(4, true);
    b.out(0x21, 0xFF);
    b.out(0x20, 0x11);
    assert!(!b.pic.intr(), "no request during initialization");
    for value in [0x40, 4, 1] {
        b.out(0x21, value);
    }
    assert_eq!((b.inb(0x21), b.irr()), (0, 0));
    assert!(!b.pic.intr(), "the input must rise again");
    b.lines[4].pulse();
    assert_eq!(b.pic.acknowledge(), 0x44);
}

#[test]
fn eighty_eighty_mode_gives_the_low_address_byte() {
    let mut b = Board::new();
    // ICW1 without ICW4: interval 4, address bits 101; single, so no ICW3 either.
    b.out(0x20, 0xB6);
    b.out(0x21, 0x12);
    b.set(3, true);
    assert_eq!(b.pic.acknowledge(), 0xAC);
    b.out(0x20, 0xB2);
    b.out(0x21, 0x12);
    b.lines[3].pulse();
    assert_eq!(b.pic.acknowledge(), 0x98);
}

#[test]
fn reset_is_the_power_on_state() {
    let mut b = Board::new();
    b.out(0x4D0, 0x20);
    b.set(5, true);
    b.pic.reset();
    assert!(!b.pic.intr());
    assert_eq!((b.inb(0x4D0), b.inb(0x21)), (0, 0xFF));
}
