//! The six modes clock by clock, latches, BCD and port 61h, against the 8254 datasheet.

use super::*;
use crate::IrqInputs;

struct Bench {
    pit: Pit,
    inputs: IrqInputs,
    nmi: Latch,
    clock: u64,
}

impl Bench {
    fn new() -> Self {
        let (inputs, nmi) = (IrqInputs::new(), Latch::new());
        Self { pit: Pit::new(inputs.line(0), nmi.clone()), inputs, nmi, clock: 0 }
    }

    fn now(&self) -> Time {
        CLOCK.time_of(self.clock).unwrap()
    }

    fn out(&mut self, port: u16, value: u8) {
        self.pit.write8(self.now(), port, value);
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.pit.read8(self.now(), port)
    }

    /// Programs counter 2 with a two-byte count.
    fn program(&mut self, mode: u8, count: u16) {
        self.out(0x43, 0xB0 | mode << 1);
        self.count(count);
    }

    fn count(&mut self, count: u16) {
        self.out(0x42, count as u8);
        self.out(0x42, (count >> 8) as u8);
    }

    fn gate(&mut self, on: bool) {
        self.out(0x61, u8::from(on));
    }

    /// OUT 2 after each of the next clocks, as a string of 0 and 1.
    fn trace(&mut self, clocks: u64) -> String {
        (0..clocks)
            .map(|_| {
                self.clock += 1;
                if self.pit.out(self.now(), 2) { '1' } else { '0' }
            })
            .collect()
    }

    /// The count of counter 2, through a latch command.
    fn latched(&mut self) -> u16 {
        self.out(0x43, 0x80);
        u16::from(self.inb(0x42)) | u16::from(self.inb(0x42)) << 8
    }
}

#[test]
fn mode_0_rises_n_plus_1_clocks_after_the_count() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(0, 4);
    assert!(!b.pit.out(b.now(), 2));
    assert_eq!(b.trace(7), "0000111");
    assert_eq!(b.latched(), 0xFFFE, "counts on after the end");
    // A new count starts over; writing its first byte stops counting and lowers OUT.
    b.out(0x42, 2);
    assert!(!b.pit.out(b.now(), 2));
    assert_eq!(b.trace(3), "000");
    assert_eq!(b.latched(), 0xFFFE);
    b.out(0x42, 0);
    assert_eq!(b.trace(4), "0011");
}

#[test]
fn mode_0_holds_while_the_gate_is_low() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(0, 4);
    assert_eq!(b.trace(2), "00");
    b.gate(false);
    assert_eq!(b.trace(3), "000");
    assert_eq!(b.latched(), 3);
    b.gate(true);
    assert_eq!(b.trace(4), "0011");
}

#[test]
fn mode_1_is_a_retriggerable_one_shot() {
    let mut b = Bench::new();
    b.gate(false);
    b.program(1, 3);
    assert_eq!(b.trace(3), "111");
    b.gate(true);
    assert_eq!(b.trace(5), "00011");
    b.gate(false);
    b.gate(true);
    assert_eq!(b.trace(2), "00");
    b.gate(false);
    b.gate(true);
    assert_eq!(b.trace(5), "00011", "a trigger during the pulse starts it over");
    // A new count waits for the next trigger.
    b.count(2);
    assert_eq!(b.trace(2), "11");
    b.gate(false);
    b.gate(true);
    assert_eq!(b.trace(4), "0011");
}

#[test]
fn mode_2_divides_and_takes_a_new_count_at_the_end() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(2, 3);
    assert_eq!(b.trace(8), "11011011");
    b.count(4);
    assert_eq!(b.trace(9), "011101110");
    b.gate(false);
    assert!(b.pit.out(b.now(), 2), "the gate forces OUT high at once");
    assert_eq!(b.trace(3), "111");
    b.gate(true);
    assert_eq!(b.trace(5), "11101");
}

#[test]
fn mode_3_is_square_for_even_and_one_longer_high_for_odd_counts() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(3, 4);
    assert_eq!(b.trace(9), "110011001");
    b.program(3, 5);
    assert_eq!(b.trace(11), "11100111001");
    b.program(3, 4);
    assert_eq!(b.trace(1), "1");
    assert_eq!(b.latched(), 4);
    b.trace(1);
    assert_eq!(b.latched(), 2);
    b.gate(false);
    b.gate(true);
    assert_eq!(b.trace(3), "110");
}

#[test]
fn mode_4_strobes_once_after_the_count() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(4, 3);
    assert_eq!(b.trace(7), "1110111");
    b.count(2);
    assert_eq!(b.trace(4), "1101");
}

#[test]
fn mode_5_strobes_after_a_trigger() {
    let mut b = Bench::new();
    b.gate(false);
    b.program(5, 3);
    assert_eq!(b.trace(3), "111");
    b.gate(true);
    assert_eq!(b.trace(6), "111011");
    assert_eq!(b.trace(3), "111", "one strobe for each trigger");
}

#[test]
fn bulk_advance_equals_single_clocks() {
    for mode in 0..6 {
        for count in [1u16, 2, 3, 4, 5, 100, 101, 0] {
            let (mut single, mut bulk) = (Bench::new(), Bench::new());
            for b in [&mut single, &mut bulk] {
                b.gate(false);
                b.program(mode, count);
                b.gate(true);
            }
            for jump in [1, 2, 3, 7, 99, 100, 101, 1000, 65_535, 65_536] {
                single.trace(jump);
                bulk.clock += jump;
                assert_eq!(bulk.pit.out(bulk.now(), 2), single.pit.out(single.now(), 2), "mode {mode} count {count}");
                assert_eq!(bulk.latched(), single.latched(), "mode {mode} count {count} jump {jump}");
            }
        }
    }
}

#[test]
fn a_year_of_clocks_takes_no_time() {
    for mode in 0..6 {
        for count in [1, 2, 3, 0] {
            let mut b = Bench::new();
            b.gate(true);
            b.program(mode, count);
            b.clock = 40_000_000_000_000;
            b.pit.advance(b.now());
            assert_eq!(b.pit.ticks, b.clock);
        }
    }
}

#[test]
fn bcd_counts_in_decimal() {
    let mut b = Bench::new();
    b.gate(true);
    b.out(0x43, 0xB1);
    b.count(0x1000);
    b.trace(2);
    assert_eq!(b.latched(), 0x0999);
    b.out(0x43, 0xB1);
    b.count(0);
    b.trace(2);
    assert_eq!(b.latched(), 0x9999);
}

#[test]
fn a_latch_holds_until_read_and_only_the_first_counts() {
    let mut b = Bench::new();
    b.gate(true);
    b.program(2, 1000);
    b.trace(1);
    b.out(0x43, 0x80);
    b.trace(10);
    b.out(0x43, 0x80);
    assert_eq!((b.inb(0x42), b.inb(0x42)), (0xE8, 0x03));
    assert_eq!((b.inb(0x42), b.inb(0x42)), (0xDE, 0x03));
}

#[test]
fn single_byte_access_reads_and_writes_that_byte() {
    let mut b = Bench::new();
    b.gate(true);
    b.out(0x43, 0xA4);
    b.out(0x42, 0x12);
    b.trace(1);
    assert_eq!((b.inb(0x42), b.inb(0x42)), (0x12, 0x12));
    b.out(0x43, 0x94);
    b.out(0x42, 0x34);
    b.trace(1);
    assert_eq!((b.inb(0x42), b.inb(0x42)), (0x34, 0x34));
}

#[test]
fn read_back_latches_status_and_count_of_several_counters() {
    let mut b = Bench::new();
    b.gate(true);
    b.out(0x43, 0x36);
    b.program(2, 0x1234);
    // Counter 2: status before the load shows a null count.
    b.out(0x43, 0xE8);
    assert_eq!(b.inb(0x42), 0xC0 | 0x34);
    b.trace(1);
    b.out(0x43, 0xCA);
    assert_eq!(b.inb(0x42), 0x80 | 0x34, "status first");
    assert_eq!((b.inb(0x42), b.inb(0x42)), (0x34, 0x12));
    assert_eq!(b.inb(0x40), 0xC0 | 0x36, "counter 0 has no count yet");
}

#[test]
fn counter_0_drives_its_interrupt_at_the_exact_rate() {
    let mut b = Bench::new();
    b.out(0x43, 0x34);
    b.out(0x40, 0x9C);
    b.out(0x40, 0x2E);
    b.inputs.take_rises();
    let mut rises = 0;
    let (mut now, end) = (0, 10_000_000_000);
    while let Some(at) = b.pit.next_event() {
        if at > end {
            break;
        }
        assert!(at > now, "time moves on");
        now = at;
        b.pit.advance(now);
        rises += u64::from(b.inputs.take_rises() & 1);
    }
    // One clock for the load, then one rise every 11932 clocks of 17600/21 ns.
    assert_eq!(rises, (CLOCK.ticks(end) - 1) / 11_932);
}

#[test]
fn a_missed_period_still_gives_one_edge() {
    let mut b = Bench::new();
    b.out(0x43, 0x36);
    b.out(0x40, 100);
    b.out(0x40, 0);
    b.clock = 10;
    b.pit.advance(b.now());
    b.inputs.take_rises();
    b.clock = 10_010;
    b.pit.advance(b.now());
    assert_eq!((b.inputs.take_rises(), b.inputs.levels()), (1, 1));
}

#[test]
fn port_61_gates_the_speaker_and_shows_refresh_and_out_2() {
    let mut b = Bench::new();
    b.program(3, 4);
    b.out(0x61, 0x01);
    b.trace(1);
    assert_eq!(b.inb(0x61) & 0x2F, 0x21);
    assert!(!b.pit.speaker(b.now()));
    b.out(0x61, 0x03);
    assert!(b.pit.speaker(b.now()));
    b.trace(2);
    assert!(!b.pit.speaker(b.now()));
    let toggles: Vec<bool> = (0..4)
        .map(|i| {
            b.clock = 18 * i + 1000 * 18;
            b.inb(0x61) & 0x10 != 0
        })
        .collect();
    assert_eq!(toggles, [false, true, false, true]);
}

#[test]
fn port_61_lets_nmi_sources_through_and_clears_them() {
    let mut b = Bench::new();
    b.out(0x61, 0x0C);
    b.pit.channel_check();
    b.pit.system_error();
    assert!(!b.nmi.is_raised());
    b.out(0x61, 0x00);
    b.pit.channel_check();
    assert!(b.nmi.take());
    b.pit.system_error();
    assert!(b.nmi.take());
    assert_eq!(b.inb(0x61) & 0xC0, 0xC0);
    b.out(0x61, 0x08);
    assert_eq!(b.inb(0x61) & 0xC8, 0x88);
    b.out(0x61, 0x04);
    assert_eq!(b.inb(0x61) & 0xCC, 0x04);
    b.pit.reset(b.now());
    assert_eq!(b.inb(0x61) & 0xCF, 0);
}

/// What the speaker played up to `clock`, as times in clock pulses and levels.
fn heard(b: &mut Bench, clock: u64) -> Vec<(u64, i32)> {
    b.clock = clock;
    let mut steps = Vec::new();
    b.pit.hear(b.now(), &mut steps);
    let mut level = 0;
    let change = |s: &Step| {
        assert_eq!(s.left, s.right);
        level += s.left;
        (CLOCK.ticks(s.time), level)
    };
    steps.iter().map(change).collect()
}

#[test]
fn the_speaker_plays_counter_2_while_its_data_is_enabled() {
    let mut b = Bench::new();
    b.pit.listen(100);
    b.program(3, 1193);
    b.out(0x61, 0x03);
    // The count is loaded by the first pulse; an odd count is high for one pulse longer than it is low.
    let played = heard(&mut b, 5_000);
    assert_eq!(played[..4], [(0, 100), (598, 0), (1194, 100), (1791, 0)]);
    b.out(0x61, 0x01);
    b.clock = 6_000;
    b.out(0x61, 0x03);
    let played = heard(&mut b, 1_199_193);
    // A thousand periods have two edges each, however seldom somebody asks.
    assert!(played.len().abs_diff(2_000) <= 2, "{}", played.len());
    assert!(played.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 != w[1].1));
}

#[test]
fn the_speaker_is_moved_by_hand_with_bit_1() {
    let mut b = Bench::new();
    b.pit.listen(7);
    // Counter 2 rests with OUT high, so that only the gate in front of the speaker decides.
    b.out(0x43, 0xB6);
    for clock in [10, 20, 30] {
        b.clock = clock;
        b.out(0x61, 0x02);
        b.clock = clock + 5;
        b.out(0x61, 0x00);
    }
    assert_eq!(heard(&mut b, 100), [(10, 7), (15, 0), (20, 7), (25, 0), (30, 7), (35, 0)]);
    // Pulses of counter 2 as lengths, as programs play samples: mode 0 is low until the count ends.
    b.out(0x43, 0x90);
    b.out(0x61, 0x03);
    b.out(0x42, 20);
    assert_eq!(heard(&mut b, 200), [(121, 7)]);
}

#[test]
fn a_speaker_at_its_fastest_is_kept_in_bounds() {
    let mut b = Bench::new();
    b.pit.listen(1);
    b.program(3, 2);
    b.out(0x61, 0x03);
    let mut steps = Vec::new();
    b.pit.hear(1 << 50, &mut steps);
    assert!((1_000..200_000).contains(&steps.len()), "{}", steps.len());
    b.pit.hear((1 << 50) + 17_600_000, &mut steps);
    assert!(steps.is_sorted_by_key(|s| s.time));
}
