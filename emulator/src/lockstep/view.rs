//! What of a machine is compared: everything that the guest can see, fast as a yes or no, and as named lines.

use crate::machine::{Machine, Outcome};
use ring86_translator::State;
use ring86_translator::pins;

/// A named part of the state, as text.
pub type Line = (String, String);

/// Pins that the guest's chips drive. The others are between this program's parts and fall when they are served.
const GUEST_PINS: u32 = pins::INTR | pins::NMI | pins::INIT;

/// Whether two processors are the same.
fn same_state(s: &State, t: &State) -> bool {
    s.rip == t.rip
        && s.slots[..8] == t.slots[..8]
        && s.eflags() == t.eflags()
        && (s.cpl, s.halted, s.sti_shadow, s.ss_shadow, s.nmi_blocked, s.pending_debug)
            == (t.cpl, t.halted, t.sti_shadow, t.ss_shadow, t.nmi_blocked, t.pending_debug)
        && s.segs == t.segs
        && (s.ldtr, s.tr, s.gdtr, s.idtr) == (t.ldtr, t.tr, t.gdtr, t.idtr)
        && (s.cr0, s.cr2, s.cr3, s.cr4, s.dr, s.pdpte) == (t.cr0, t.cr2, t.cr3, t.cr4, t.dr, t.pdpte)
        && s.fpu == t.fpu
        && s.vectors[..8] == t.vectors[..8]
        && s.mxcsr == t.mxcsr
        && (s.efer, s.sysenter_cs, s.sysenter_esp, s.sysenter_eip)
            == (t.efer, t.sysenter_cs, t.sysenter_esp, t.sysenter_eip)
        && (s.pat, s.apic_base, s.tsc_offset, s.mtrr) == (t.pat, t.apic_base, t.tsc_offset, t.mtrr)
}

/// Whether two machines are the same, memory apart.
pub fn same(a: &Machine, b: &Machine) -> bool {
    let (p, q) = (a.cpu().pins(), b.cpu().pins());
    a.retired() == b.retired()
        && same_state(&a.cpu().state, &b.cpu().state)
        && a.is_halted() == b.is_halted()
        && p.get() & GUEST_PINS == q.get() & GUEST_PINS
        && p.a20() == q.a20()
        && a.journal() == b.journal()
        && a.serial_output().len() == b.serial_output().len()
}

/// A processor as named lines.
pub fn lines_of_state(s: &State) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(64);
    let mut line = |name: &str, text: String| lines.push((name.to_owned(), text));
    line("cs:eip", format!("{:04x}:{:08x}", s.segs[1].selector, s.rip));
    for (name, n) in ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"].iter().zip(0..) {
        line(name, format!("{:08x}", s.gpr(n)));
    }
    line("eflags", format!("{:08x}{}", s.eflags(), flag_names(s.eflags())));
    line("cpl", s.cpl.to_string());
    for (name, on) in
        [("halted", s.halted), ("sti shadow", s.sti_shadow), ("ss shadow", s.ss_shadow), ("nmi blocked", s.nmi_blocked)]
    {
        line(name, on.to_string());
    }
    line("pending debug", format!("{:x}", s.pending_debug));
    let named = ["es", "cs", "ss", "ds", "fs", "gs"].into_iter().zip(&s.segs);
    for (name, seg) in named.chain([("ldtr", &s.ldtr), ("tr", &s.tr)]) {
        let (selector, base, limit, attr) = (seg.selector, seg.base, seg.limit, seg.attr);
        line(name, format!("{selector:04x} base {base:08x} limit {limit:08x} attributes {attr:06x}"));
    }
    for (name, table) in [("gdtr", &s.gdtr), ("idtr", &s.idtr)] {
        line(name, format!("base {:08x} limit {:04x}", table.base, table.limit));
    }
    for (name, value) in [("cr0", s.cr0), ("cr2", s.cr2), ("cr3", s.cr3), ("cr4", s.cr4)] {
        line(name, format!("{value:08x}"));
    }
    line("dr", format!("{:x?}", s.dr));
    line("pdpte", format!("{:x?}", s.pdpte));
    let f = &s.fpu;
    line("fpu", format!("control {:04x} status {:04x} empty {:02x}", f.cw, f.sw, f.empty));
    line(
        "fpu last",
        format!("{:03x} at {:x}:{:x} operand {:x}:{:x}", f.last_opcode, f.last_cs, f.last_ip, f.last_ds, f.last_dp),
    );
    for (n, r) in f.regs.iter().enumerate() {
        line(&format!("fpu r{n}"), format!("{:04x} {:016x}", r.sign_exp, r.mantissa));
    }
    for (n, v) in s.vectors[..8].iter().enumerate() {
        line(&format!("xmm{n}"), format!("{v:032x}"));
    }
    line("mxcsr", format!("{:08x}", s.mxcsr));
    line("efer", format!("{:x}", s.efer));
    line("sysenter", format!("{:x} {:x} {:x}", s.sysenter_cs, s.sysenter_esp, s.sysenter_eip));
    line("pat", format!("{:x}", s.pat));
    line("apic base", format!("{:x}", s.apic_base));
    line("tsc offset", format!("{:x}", s.tsc_offset));
    line("mtrr", format!("{:x?}", s.mtrr));
    lines
}

fn flag_names(flags: u32) -> String {
    let names = [(0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF")];
    names.iter().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| format!(" {name}")).collect()
}

/// A machine as named lines, memory apart; `outcome` is how it ended.
pub fn lines(m: &Machine, outcome: Option<&Outcome>) -> Vec<Line> {
    let mut lines = vec![("instructions".to_owned(), m.retired().to_string())];
    lines.extend(lines_of_state(&m.cpu().state));
    let pins = m.cpu().pins();
    let mut line = |name: &str, text: String| lines.push((name.to_owned(), text));
    line("machine halted", m.is_halted().to_string());
    line("pins", format!("{:x} a20 {}", pins.get() & GUEST_PINS, pins.a20()));
    if let Some(j) = m.journal() {
        let (at, what, address, size, value) = j.last;
        line(
            "devices",
            format!(
                "{} accesses, hash {:016x}, the last at instruction {at}: {what} {address:x} size {size} value {value:x}",
                j.count, j.hash
            ),
        );
    }
    line("serial output", format!("{} bytes", m.serial_output().len()));
    line("ended", outcome_text(outcome));
    lines
}

/// How a machine ended, as far as that is the guest's doing.
pub fn outcome_text(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "no".to_owned(),
        Some(Outcome::TripleFault(fault)) => format!("triple fault {:x?}", fault.chain),
        Some(other) => format!("{other:?}"),
    }
}

/// What only the end of a run is worth comparing: names and texts of both machines, where they differ.
pub fn difference_at_end(a: &Machine, b: &Machine) -> Option<(Line, Line)> {
    let parts = |m: &Machine| {
        let serial = String::from_utf8_lossy(m.serial_output()).into_owned();
        [
            ("next device event", format!("{:?}", m.next_event())),
            ("screen", m.screen_text()),
            ("serial output", serial),
            ("debug console", m.console_text()),
        ]
    };
    let differing = parts(a).into_iter().zip(parts(b)).find(|(x, y)| x != y);
    differing.map(|(x, y)| ((x.0.to_owned(), x.1), (y.0.to_owned(), y.1)))
}

/// RAM offsets at which two machines differ, the first `most` of them.
pub fn ram_differences(a: &Machine, b: &Machine, most: usize) -> Vec<usize> {
    const PIECE: usize = 1 << 16;
    let (x, y) = (a.layout().memory().ram(), b.layout().memory().ram());
    let (mut p, mut q) = (vec![0; PIECE], vec![0; PIECE]);
    let mut found = Vec::new();
    for at in (0..x.len()).step_by(PIECE) {
        x.read_bytes(at, &mut p);
        y.read_bytes(at, &mut q);
        if p != q {
            found.extend((0..PIECE).filter(|i| p[*i] != q[*i]).map(|i| at + i).take(most - found.len()));
            if found.len() >= most {
                break;
            }
        }
    }
    found
}

/// The bytes of RAM at `offsets`.
pub fn ram_bytes(m: &Machine, offsets: &[usize]) -> Vec<u8> {
    let ram = m.layout().memory().ram();
    offsets.iter().map(|at| ram.read::<u8>(*at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineConfig;

    fn machine() -> Machine {
        let mut machine = Machine::new(MachineConfig { ram: 1 << 20, ..MachineConfig::new() }).expect("a megabyte");
        machine.keep_journal();
        machine
    }

    #[test]
    fn every_part_is_compared_and_named() {
        let fresh = machine();
        assert!(same(&machine(), &fresh) && lines(&machine(), None) == lines(&fresh, None));
        type Change = (&'static str, fn(&mut State));
        let changes: &[Change] = &[
            ("edi", |s| s.set_gpr(7, 1)),
            ("cs:eip", |s| s.rip ^= 1),
            ("eflags", |s| s.set_eflags(s.eflags() ^ 1)),
            ("cpl", |s| s.cpl ^= 3),
            ("nmi blocked", |s| s.nmi_blocked = true),
            ("sti shadow", |s| s.sti_shadow = true),
            ("ss shadow", |s| s.ss_shadow = true),
            ("halted", |s| s.halted = true),
            ("pending debug", |s| s.pending_debug = 1),
            ("gs", |s| s.segs[5].limit ^= 1 << 31),
            ("tr", |s| s.tr.attr ^= 1 << 9),
            ("idtr", |s| s.idtr.limit ^= 1),
            ("cr2", |s| s.cr2 ^= 1),
            ("dr", |s| s.dr[7] ^= 1),
            ("pdpte", |s| s.pdpte[3] ^= 1),
            ("fpu", |s| s.fpu.sw ^= 1),
            ("fpu r7", |s| s.fpu.regs[7].sign_exp ^= 1 << 15),
            ("fpu last", |s| s.fpu.last_dp ^= 1),
            ("xmm7", |s| s.vectors[7] ^= 1 << 127),
            ("mxcsr", |s| s.mxcsr ^= 1),
            ("efer", |s| s.efer ^= 1 << 11),
            ("sysenter", |s| s.sysenter_eip ^= 1),
            ("pat", |s| s.pat ^= 1),
            ("apic base", |s| s.apic_base ^= 1 << 12),
            ("tsc offset", |s| s.tsc_offset ^= 1),
            ("mtrr", |s| s.mtrr[27] ^= 1),
        ];
        for (name, change) in changes {
            let mut other = machine();
            change(&mut other.cpu_mut().state);
            assert!(!same(&fresh, &other), "{name} is not compared");
            let (a, b) = (lines(&fresh, None), lines(&other, None));
            assert!(a.iter().zip(&b).any(|(x, y)| x != y && x.0 == *name), "{name} is not named");
        }
    }

    #[test]
    fn pins_chips_and_memory_are_compared() {
        let fresh = machine();
        for pin in [pins::INTR, pins::NMI, pins::INIT] {
            let other = machine();
            other.cpu().pins().raise(pin);
            assert!(!same(&fresh, &other), "pin {pin:x}");
        }
        // The host may have asked for attention.
        let other = machine();
        other.cpu().pins().raise(pins::EXIT);
        assert!(same(&fresh, &other));
        let mut spoken = machine();
        while spoken.journal() == fresh.journal() {
            assert!(spoken.slice(u64::MAX).is_none());
        }
        assert!(lines(&spoken, None).iter().any(|(name, text)| name == "devices" && !text.starts_with("0 accesses")));
        let ram = spoken.layout().memory().ram();
        ram.write::<u8>(0x5_4321, !ram.read::<u8>(0x5_4321));
        let again = ram_differences(&fresh, &spoken, 1 << 20);
        assert!(again.contains(&0x5_4321) && ram_differences(&fresh, &spoken, 1).len() == 1);
    }
}
