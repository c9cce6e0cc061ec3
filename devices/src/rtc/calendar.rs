//! The date and time bytes: formats, increment, daylight saving.

use super::DateTime;
use super::spec::{PM, b, register as r};

/// How register B says the bytes are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    pub(super) fn of(register_b: u8) -> Self {
        Self { binary: register_b & b::DM != 0, hours_24: register_b & b::HOURS_24 != 0 }
    }

    pub(super) fn encode(self, value: u8) -> u8 {
        if self.binary { value } else { ((value / 10 % 10) << 4) + value % 10 }
    }

    fn decode(self, raw: u8) -> u8 {
        if self.binary { raw } else { (raw >> 4).wrapping_mul(10).wrapping_add(raw & 0xF) }
    }

    /// Hour 0 to 23 to the hours byte.
    pub(super) fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | if hour >= 12 { PM } else { 0 }
    }

    /// The hours byte to 0 to 23 (or beyond, for bytes no clock shows).
    pub(super) fn decode_hour(self, raw: u8) -> u8 {
        if self.hours_24 {
            return self.decode(raw);
        }
        let twelve = self.decode(raw & !PM) % 12;
        twelve + if raw & PM != 0 { 12 } else { 0 }
    }
}

pub(super) fn days_in_month(month: u8, year: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Day of the week, Sunday is 1 (Zeller's congruence).
pub(super) fn day_of_week(time: &DateTime) -> u8 {
    let (mut year, mut month) = (i64::from(time.year), i64::from(time.month));
    if month < 3 {
        month += 12;
        year -= 1;
    }
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let sum = i64::from(time.day) + 13 * (month + 1) / 5 + year + leap_days;
    // The congruence counts from Saturday as 0.
    ((sum.rem_euclid(7) + 6) % 7 + 1) as u8
}

/// Stores `time` into the time bytes.
pub(super) fn store(cells: &mut [u8; 256], format: Format, time: &DateTime) {
    cells[r::SECONDS] = format.encode(time.second);
    cells[r::MINUTES] = format.encode(time.minute);
    cells[r::HOURS] = format.encode_hour(time.hour);
    cells[r::DAY_OF_WEEK] = format.encode(day_of_week(time));
    cells[r::DATE_OF_MONTH] = format.encode(time.day);
    cells[r::MONTH] = format.encode(time.month);
    cells[r::YEAR] = format.encode((time.year % 100) as u8);
}

/// Adds one to a byte that runs from `first` to `last`; whether it wrapped.
fn count(cell: &mut u8, format: Format, first: u8, last: u8) -> bool {
    let value = format.decode(*cell);
    let wraps = value >= last;
    *cell = format.encode(if wraps { first } else { value + 1 });
    wraps
}

/// Adds one second. `fell_back` remembers that the repeated hour of October was taken.
pub(super) fn increment(cells: &mut [u8; 256], format: Format, daylight: bool, fell_back: &mut bool) {
    if !count(&mut cells[r::SECONDS], format, 0, 59) || !count(&mut cells[r::MINUTES], format, 0, 59) {
        return;
    }
    let hour = format.decode_hour(cells[r::HOURS]);
    if daylight && hour == 1 && is_last_sunday(cells, format) {
        match format.decode(cells[r::MONTH]) {
            4 => {
                cells[r::HOURS] = format.encode_hour(3);
                return;
            }
            10 if !*fell_back => {
                *fell_back = true;
                return;
            }
            _ => {}
        }
    }
    if hour < 23 {
        cells[r::HOURS] = format.encode_hour(hour + 1);
        return;
    }
    cells[r::HOURS] = format.encode_hour(0);
    *fell_back = false;
    count(&mut cells[r::DAY_OF_WEEK], format, 1, 7);
    let month = format.decode(cells[r::MONTH]);
    let days = days_in_month(month, format.decode(cells[r::YEAR]));
    if count(&mut cells[r::DATE_OF_MONTH], format, 1, days) && count(&mut cells[r::MONTH], format, 1, 12) {
        count(&mut cells[r::YEAR], format, 0, 99);
    }
}

fn is_last_sunday(cells: &[u8; 256], format: Format) -> bool {
    let days = days_in_month(format.decode(cells[r::MONTH]), 0);
    format.decode(cells[r::DAY_OF_WEEK]) == 1 && format.decode(cells[r::DATE_OF_MONTH]).saturating_add(7) > days
}
