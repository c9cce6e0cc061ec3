//! What a machine is made of, checked before anything is built.

use crate::boot::Payload;
use crate::drives::Drives;
use crate::error::{Error, Result};
use crate::foreign::Firmware;
use crate::network::UserNet;
use crate::scheduler::ClockKind;
use ring86_devices::rtc::DateTime;
use ring86_translator::Model;
use std::time::{SystemTime, UNIX_EPOCH};

/// Least RAM: the first megabyte, which holds the shadow of the firmware.
pub const MIN_RAM: u64 = 1 << 20;
/// Most RAM: what the 36 address lines of a 32-bit processor with PAE reach beside the PCI hole.
pub const MAX_RAM: u64 = 60 << 30;

/// How instructions are executed.
#[derive(Clone, Copy, Debug, Default)]
pub enum Engine {
    /// One by one.
    #[default]
    Interpreter,
    /// Hot code is compiled.
    Translator(ring86_translator::engine::Config),
    /// The host's processor runs the guest, under its own hypervisor.
    Kvm,
}

impl Engine {
    /// Every block is compiled the first time it runs, on the same thread: the most compiled code there can be.
    pub fn eager(mmu: ring86_translator::engine::Mmu, optimise: bool) -> Self {
        use ring86_translator::engine::Config;
        Engine::Translator(Config {
            mmu,
            optimise,
            quick_first: false,
            threshold: 1,
            synchronous: true,
            ..Config::default()
        })
    }

    /// As [`Engine::eager`] with one instruction in a block: every step is compiled code.
    pub fn single(mmu: ring86_translator::engine::Mmu, optimise: bool) -> Self {
        match Engine::eager(mmu, optimise) {
            Engine::Translator(c) => Engine::Translator(ring86_translator::engine::Config { block_limit: 1, ..c }),
            other => other,
        }
    }

    /// The engine that a name stands for, as `conform --engine` takes it: `interpreter`,
    /// `translator`, `quick`, `optimised`, `eager` (the same) or `eager-none`, `single` or `single-none`; `-table` after it chooses the flat table.
    pub fn named(name: &str) -> Option<Self> {
        use ring86_translator::engine::{Config, Mmu};
        let (name, mmu) = match name.strip_suffix("-table") {
            Some(name) => (name, Mmu::Table),
            None => (name, Config::default().mmu),
        };
        match name {
            "interpreter" => Some(Engine::Interpreter),
            "translator" => Some(Engine::Translator(Config { mmu, ..Config::default() })),
            "single" => Some(Engine::single(mmu, true)),
            "single-none" => Some(Engine::single(mmu, false)),
            // As code is first compiled, and as it is compiled again where the time goes: never the other.
            "quick" => match Engine::eager(mmu, false) {
                Engine::Translator(c) => Some(Engine::Translator(Config { quick_first: true, ..c })),
                _ => None,
            },
            "optimised" => Some(Engine::eager(mmu, true)),
            "eager" => Some(Engine::eager(mmu, true)),
            "eager-none" => Some(Engine::eager(mmu, false)),
            _ => None,
        }
    }

    /// Sets `cpu` up.
    ///
    /// # Errors
    /// If this host cannot run compiled code.
    pub fn apply(self, cpu: &mut ring86_translator::Cpu) -> Result<()> {
        match self {
            Engine::Interpreter | Engine::Kvm => Ok(()),
            Engine::Translator(config) => {
                cpu.enable_translator(config).map_err(|e| Error::new(format!("--engine translator: {e}")))
            }
        }
    }
}

/// Everything that makes one machine differ from another.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// RAM in bytes, a multiple of 4 KiB.
    pub ram: u64,
    /// Processor model.
    pub model: Model,
    /// How instructions are executed.
    pub engine: Engine,
    /// Where guest time comes from.
    pub clock: ClockKind,
    /// What the real-time clock shows at power-on.
    pub date: DateTime,
    /// Port of the debug-exit device, if there is one.
    pub debug_exit: Option<u16>,
    /// Started in place of a boot disk.
    pub payload: Option<Payload>,
    /// Drives, what is in them, and the boot order.
    pub drives: Drives,
    /// The display adapter is in its slot. Without it nothing answers at its ports and in its memory.
    pub display: bool,
    /// Network card with the user-mode network behind it.
    pub network: Option<UserNet>,
    /// A reset requested by the guest restarts it; otherwise it ends the run.
    pub reboot: bool,
    /// A shutdown of the processor (triple fault) resets it, as on a PC's board; otherwise it ends the run with a
    /// report.
    pub reset_on_triple_fault: bool,
    /// Local APIC, I/O APIC and HPET, with processor models that had a local APIC.
    pub apic: bool,
    /// Runs in place of the firmware: at most 64 KiB that end at 1 MiB and at 4 GiB. There is no payload then.
    pub rom: Option<Vec<u8>>,
    /// Others' firmware in place of ours.
    pub firmware: Option<Firmware>,
    /// The network card's ROM.
    pub network_rom: Option<Vec<u8>>,
    /// What software under test reports through.
    pub test_ports: TestPorts,
}

/// Ports beside the debug exit through which software under test reports, or drives the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestPorts {
    /// The bytes written to this port are kept, in order.
    pub post: Option<u16>,
    /// The device of `ring86_devices::test_device`.
    pub device: bool,
}

impl MachineConfig {
    /// 64 MiB, the fullest processor, the virtual clock and a fixed date: what tests start from.
    pub fn new() -> Self {
        MachineConfig {
            ram: 64 << 20,
            model: Model::Max,
            engine: Engine::Interpreter,
            clock: ClockKind::Virtual,
            date: DateTime { year: 2026, month: 1, day: 1, hour: 12, minute: 0, second: 0 },
            debug_exit: None,
            payload: None,
            drives: Drives::default(),
            display: true,
            network: None,
            reboot: true,
            reset_on_triple_fault: false,
            apic: true,
            rom: None,
            firmware: None,
            network_rom: None,
            test_ports: TestPorts::default(),
        }
    }
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Parses the size of the code cache, in bytes: as [`parse_ram`] does, from 1 MiB to 2 GiB, the reach of a near jump.
///
/// # Errors
/// One sentence if the text is no size or out of range.
pub fn parse_code_cache(text: &str) -> Result<usize> {
    let bytes = parse_size(text)
        .ok_or_else(|| Error::new(format!("--code-cache {text}: not a size; write for example 64M or 1G")))?;
    if !(1 << 20..=2 << 30).contains(&bytes) {
        return Err(Error::new(format!("--code-cache {text}: from 1M to 2G is possible")));
    }
    Ok(bytes as usize)
}

/// A number with K, M, G or T; a bare number is MiB.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "K" | "KB" | "KIB" => 10,
        "" | "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    Some(number.saturating_mul(1 << shift))
}

/// Parses a memory size: a number with K, M, G or T (binary multiples; a bare number is MiB).
///
/// # Errors
/// One sentence if the text is no size or the machine cannot have that much or that little.
pub fn parse_ram(text: &str) -> Result<u64> {
    let bytes =
        parse_size(text).ok_or_else(|| Error::new(format!("-m {text}: not a size; write for example 64M or 2G")))?;
    if bytes < MIN_RAM {
        return Err(Error::new(format!("-m {text}: a PC needs at least 1M of memory")));
    }
    if bytes > MAX_RAM {
        return Err(Error::new(format!("-m {text}: more than the {}G this machine can address", MAX_RAM >> 30)));
    }
    Ok(bytes & !0xfff)
}

/// The host's date and time, UTC, for the real-time clock.
pub fn host_date() -> DateTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    date_of(seconds)
}

/// The civil date of `seconds` after 1970-01-01 00:00:00 UTC.
pub(crate) fn date_of(seconds: u64) -> DateTime {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years counted from March make the leap day the last of the year; 400 years have 146,097 days.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    DateTime {
        year: year as u16,
        month: month as u8,
        day: day as u8,
        hour: (rest / 3_600) as u8,
        minute: (rest / 60 % 60) as u8,
        second: (rest % 60) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_ram("64M"), Ok(64 << 20));
        assert_eq!(parse_ram("64"), Ok(64 << 20));
        assert_eq!(parse_ram("2g"), Ok(2 << 30));
        assert_eq!(parse_ram("1023K").map_err(|e| e.to_string().contains("at least 1M")), Err(true));
        for (text, says) in [
            ("0", "at least 1M"),
            ("1T", "60G"),
            ("99999999999999999999", "not a size"),
            ("18446744073709551615", "60G"),
            ("", "not a size"),
            ("x", "not a size"),
            ("64Q", "not a size"),
            ("-1", "not a size"),
        ] {
            let error = parse_ram(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn dates() {
        let d = |s| {
            let d = date_of(s);
            (d.year, d.month, d.day, d.hour, d.minute, d.second)
        };
        assert_eq!(d(0), (1970, 1, 1, 0, 0, 0));
        assert_eq!(d(951_827_696), (2000, 2, 29, 12, 34, 56));
        assert_eq!(d(1_709_251_199), (2024, 2, 29, 23, 59, 59));
        assert_eq!(d(1_735_689_599), (2024, 12, 31, 23, 59, 59));
    }
}
