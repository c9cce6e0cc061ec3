//! Time keeping, formats, update cycle and interrupts, against the MC146818 datasheet.

use super::*;
use crate::IrqInputs;
use crate::clock::SECOND;

const NOON: DateTime = DateTime { year: 2024, month: 2, day: 28, hour: 23, minute: 59, second: 58 };

struct Bench {
    rtc: Rtc,
    inputs: IrqInputs,
    now: Time,
}

impl Bench {
    fn new(time: DateTime) -> Self {
        let inputs = IrqInputs::new();
        let rtc = Rtc::new(0, inputs.line(8), &RtcInit { time, cmos: [0xA5; 256] });
        Self { rtc, inputs, now: 0 }
    }

    fn read(&mut self, index: u8) -> u8 {
        self.rtc.write8(self.now, 0x70, index);
        self.rtc.read8(self.now, 0x71)
    }

    fn write(&mut self, index: u8, value: u8) {
        self.rtc.write8(self.now, 0x70, index);
        self.rtc.write8(self.now, 0x71, value);
    }

    fn clock(&mut self) -> [u8; 7] {
        [0, 2, 4, 6, 7, 8, 9].map(|index| self.read(index))
    }

    fn set_clock(&mut self, values: [u8; 7]) {
        self.write(0xB, self.rtc.cmos()[0xB] | 0x80);
        for (index, value) in [0, 2, 4, 6, 7, 8, 9].into_iter().zip(values) {
            self.write(index, value);
        }
        self.write(0xB, self.rtc.cmos()[0xB] & 0x7F);
    }

    /// Advances through every event up to `time`; when the interrupt rose.
    fn run_to(&mut self, time: Time) -> Vec<Time> {
        let mut rises = Vec::new();
        while let Some(at) = self.rtc.next_event()
            && at <= time
        {
            assert!(at >= self.now);
            self.rtc.advance(at);
            if self.inputs.take_rises() != 0 {
                rises.push(at);
            }
            self.now = at + 1;
        }
        self.now = time;
        self.rtc.advance(time);
        rises
    }
}

#[test]
fn the_given_time_runs_and_crosses_a_leap_day() {
    let mut b = Bench::new(NOON);
    assert_eq!(b.clock(), [0x58, 0x59, 0x23, 4, 0x28, 0x02, 0x24], "a Wednesday");
    b.run_to(SECOND - 100_000);
    assert_eq!(b.read(0), 0x58);
    b.run_to(SECOND + 100_000);
    assert_eq!(b.read(0), 0x59);
    b.run_to(2 * SECOND + 100_000);
    assert_eq!(b.clock(), [0, 0, 0, 5, 0x29, 0x02, 0x24]);
    b.run_to(2 * SECOND + 86_400 * SECOND + 100_000);
    assert_eq!(b.clock(), [0, 0, 0, 6, 0x01, 0x03, 0x24]);
}

#[test]
fn the_year_wraps() {
    let mut b = Bench::new(DateTime { year: 1999, month: 12, day: 31, hour: 23, minute: 59, second: 59 });
    b.run_to(SECOND + 100_000);
    assert_eq!(b.clock(), [0, 0, 0, 7, 1, 1, 0]);
}

#[test]
fn binary_and_twelve_hour_formats_count_in_their_own_way() {
    let mut b = Bench::new(NOON);
    b.write(0xB, 0x04);
    b.set_clock([59, 59, 11, 1, 9, 10, 99]);
    b.run_to(SECOND + 100_000);
    assert_eq!(b.clock(), [0, 0, 0x8C, 1, 9, 10, 99], "noon is 12 PM");
    b.set_clock([59, 59, 0x8B, 7, 31, 12, 99]);
    b.run_to(2 * SECOND + 100_000);
    assert_eq!(b.clock(), [0, 0, 12, 1, 1, 1, 0], "midnight is 12 AM");
    b.write(0xB, 0x00);
    b.set_clock([0x59, 0x59, 0x12, 1, 0x09, 0x10, 0x99]);
    b.run_to(3 * SECOND + 100_000);
    assert_eq!(b.read(4), 0x01);
}

#[test]
fn uip_covers_the_update_and_244_us_before() {
    let mut b = Bench::new(NOON);
    // The update ends at one second; it lasts 65 ticks and is announced 8 ticks before.
    let tick = |n: u64| CRYSTAL.time_of(n).unwrap();
    b.run_to(tick(32_768 - 65 - 8) - 1);
    assert_eq!(b.read(0xA), 0x26);
    b.run_to(tick(32_768 - 65 - 8));
    assert_eq!(b.read(0xA), 0xA6);
    b.run_to(tick(32_768) - 1);
    assert_eq!((b.read(0xA), b.read(0)), (0xA6, 0x58));
    b.run_to(tick(32_768));
    assert_eq!((b.read(0xA), b.read(0)), (0x26, 0x59));
}

#[test]
fn set_stops_updates_and_the_update_interrupt() {
    let mut b = Bench::new(NOON);
    b.write(0xB, 0x92);
    assert_eq!(b.read(0xB), 0x82, "SET clears UIE");
    b.run_to(5 * SECOND);
    assert_eq!((b.read(0), b.read(0xA), b.read(0xC) & 0x10), (0x58, 0x26, 0));
}

#[test]
fn the_update_interrupt_comes_each_second_and_reading_c_clears_it() {
    let mut b = Bench::new(NOON);
    b.write(0xB, 0x12);
    assert_eq!(b.run_to(3 * SECOND + 1000).len(), 1, "one edge until register C is read");
    assert_eq!(b.read(0xC) & 0x90, 0x90);
    assert_eq!(b.inputs.levels(), 0);
    assert_eq!(b.read(0xC), 0);
    let rises = b.run_to(4 * SECOND + 1000);
    assert_eq!(rises, [4 * SECOND]);
}

#[test]
fn the_alarm_matches_and_has_dont_care_codes() {
    let mut b = Bench::new(DateTime { hour: 7, minute: 30, second: 0, ..NOON });
    for (index, value) in [(1, 0x02), (3, 0x30), (5, 0x07), (0xB, 0x22)] {
        b.write(index, value);
    }
    assert_eq!(b.run_to(SECOND + SECOND / 2).len(), 0);
    assert_eq!(b.run_to(2 * SECOND + SECOND / 2), [2 * SECOND]);
    assert_eq!(b.read(0xC) & 0xA0, 0xA0);
    assert_eq!(b.run_to(62 * SECOND + SECOND / 2).len(), 0, "07:31:02 does not match");
    b.write(3, 0xC0);
    b.write(5, 0xFF);
    assert_eq!(b.run_to(122 * SECOND + SECOND / 2), [122 * SECOND]);
}

#[test]
fn the_periodic_interrupt_has_the_selected_rate() {
    for (rate, hertz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut b = Bench::new(NOON);
        b.write(0xA, 0x20 | rate);
        b.write(0xB, 0x42);
        let mut count = 0;
        while let Some(at) = b.rtc.next_event()
            && at <= SECOND
        {
            b.now = at;
            b.rtc.advance(at);
            assert_eq!(b.inputs.take_rises(), 1 << 8);
            assert_eq!(b.read(0xC) & 0xC0, 0xC0);
            count += 1;
        }
        assert_eq!(count, hertz);
    }
    let mut b = Bench::new(NOON);
    b.write(0xA, 0x20);
    b.write(0xB, 0x42);
    assert_eq!(b.rtc.next_event(), None);
}

#[test]
fn the_divider_reset_restarts_half_a_second_before_an_update() {
    let mut b = Bench::new(NOON);
    b.write(0xA, 0x76);
    b.run_to(10 * SECOND);
    assert_eq!(b.read(0), 0x58);
    b.write(0xA, 0x26);
    b.run_to(10 * SECOND + 490_000_000);
    assert_eq!(b.read(0), 0x58);
    b.run_to(10 * SECOND + 510_000_000);
    assert_eq!(b.read(0), 0x59);
}

#[test]
fn daylight_saving_skips_and_repeats_an_hour() {
    let mut b = Bench::new(NOON);
    b.write(0xB, 0x03);
    b.set_clock([0x59, 0x59, 0x01, 1, 0x28, 0x04, 0x24]);
    b.run_to(SECOND + 100_000);
    assert_eq!(b.read(4), 0x03);
    b.set_clock([0x59, 0x59, 0x01, 1, 0x27, 0x10, 0x24]);
    b.run_to(2 * SECOND + 100_000);
    assert_eq!(b.read(4), 0x01);
    b.set_clock([0x59, 0x59, 0x01, 1, 0x27, 0x10, 0x24]);
    b.run_to(3 * SECOND + 100_000);
    assert_eq!(b.read(4), 0x02, "only once");
}

#[test]
fn ram_keeps_bytes_in_both_banks_and_read_only_bits_stay() {
    let mut b = Bench::new(NOON);
    assert_eq!((b.read(0x0E), b.read(0x7F)), (0xA5, 0xA5));
    b.write(0x10, 0x40);
    b.rtc.write8(0, 0x72, 0x10);
    b.rtc.write8(0, 0x73, 0x77);
    assert_eq!((b.read(0x10), b.rtc.read8(0, 0x73)), (0x40, 0x77));
    assert_eq!((b.rtc.cmos()[0x10], b.rtc.cmos()[0x90]), (0x40, 0x77));
    b.write(0xD, 0);
    b.write(0xC, 0xFF);
    assert_eq!((b.read(0xD), b.read(0xC)), (0x80, 0));
    b.write(0, 0xD9);
    assert_eq!(b.read(0), 0x59);
    assert_eq!(b.rtc.read8(0, 0x70), 0xFF);
}

#[test]
fn the_index_port_masks_nmi_and_reset_clears_enables() {
    let mut b = Bench::new(NOON);
    b.write(0x8B, 0x72);
    assert!(b.rtc.nmi_masked());
    b.run_to(2 * SECOND);
    assert_ne!(b.inputs.levels(), 0);
    b.rtc.reset();
    assert_eq!((b.inputs.levels(), b.rtc.nmi_masked()), (0, false));
    assert_eq!((b.read(0xB), b.read(0xC)), (0x02, 0));
}
