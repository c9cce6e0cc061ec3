//! From a difference to the smallest stretch of guest code that shows it, and to a text that lets people see and
//! reproduce it.

use super::view::{self, Line};
use super::{Difference, Focus, Lockstep, Traced};
use crate::error::Result;
use crate::machine::Machine;
use crate::trace;
use std::fmt::Write;

/// Stretches that are tried from the last agreement on, shortest first.
const STRETCHES: [u64; 3] = [1, 64, 1024];

/// Blocks that are tried, shortest first: instructions compiled each by itself, then more together.
const BLOCKS: [usize; 4] = [1, 2, 8, 64];

/// A narrowed run goes on this much longer than the difference took to appear, since code is compiled at other moments.
const SLACK: u64 = 20_000;

/// Instructions that a report shows at most.
const SHOWN: usize = 48;

/// The instruction that the interpreter is at, with what a report will want to know of it.
pub(super) fn traced(m: &Machine, ram: &[usize]) -> Traced {
    let bytes = trace::code_bytes(m.cpu());
    Traced { before: m.cpu().state.clone(), bytes, ram: view::ram_bytes(m, ram) }
}

/// What a narrowed difference is known by.
struct Found {
    difference: Difference,
    foci: Vec<Focus>,
}

impl Lockstep {
    /// Narrows `difference` down by running anew, which takes a few times as long as the run took so far, and tells
    /// about it. `command` is the command line that led here.
    pub fn explain(&self, difference: Difference, command: &str) -> String {
        let first = difference.clone();
        let begun = self.foci[..self.begun].to_vec();
        let mut found = Found { difference, foci: begun.clone() };
        let narrowed = self.narrow(&mut found);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.tell(&mut text, &first, &found, &begun, command);
        if let Err(error) = narrowed {
            let _ = write!(text, "\n  it could not be narrowed further: {error}");
        }
        text
    }

    fn narrow(&self, found: &mut Found) -> Result<()> {
        let (from, to) = (found.difference.from, found.difference.to);
        let until = to.saturating_add(SLACK.max(to - from));
        let ram = found.difference.ram.clone();
        for stretch in STRETCHES {
            let foci = [&found.foci[..], &[Focus { from, stretch, block: None }]].concat();
            if let Some(difference) = self.again(foci.clone(), from, &ram, until)? {
                *found = Found { difference, foci };
                break;
            }
        }
        if found.difference.trace.is_empty()
            && let Some(difference) = self.again(found.foci.clone(), from, &ram, until)?
        {
            // It needs long stretches: then the one that was running.
            found.difference = difference;
        }
        if found.difference.trace.len() == 1 {
            return Ok(());
        }
        let (from, to) = (found.difference.from, found.difference.to);
        for block in BLOCKS {
            let foci = [&found.foci[..], &[Focus { from, stretch: 1, block: Some(block) }]].concat();
            if let Some(difference) = self.again(foci.clone(), from, &ram, to.saturating_add(64))? {
                if found.difference.trace.is_empty() || difference.trace.len() < found.difference.trace.len() {
                    *found = Found { difference, foci };
                }
                break;
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        text: &mut String,
        first: &Difference,
        found: &Found,
        begun: &[Focus],
        command: &str,
    ) -> std::fmt::Result {
        let d = &found.difference;
        writeln!(
            text,
            "compiled code and the interpreter differ after instruction {}; they agreed after {}",
            d.to, d.from
        )?;
        if (first.from, first.to) != (d.from, d.to) {
            writeln!(text, "  (first seen after instruction {}, when they had agreed after {})", first.to, first.from)?;
        }
        for ((name, x), (_, y)) in &d.lines {
            writeln!(text, "  compiled    {name} {x}\n  interpreter {name} {y}")?;
        }
        for (n, at) in d.ram.iter().enumerate() {
            let (x, y) = (d.ram_bytes[0][n], d.ram_bytes[1][n]);
            writeln!(text, "  compiled    RAM {at:08x} {x:02x}\n  interpreter RAM {at:08x} {y:02x}")?;
        }
        if d.trace.is_empty() {
            writeln!(text, "run anew it did not appear again: the run is not the same every time")?;
        } else {
            tell_trace(text, d, found.foci.last().filter(|_| found.foci.len() > begun.len()))?;
        }
        write!(text, "to reproduce: {command}")?;
        let mut foci = found.foci.clone();
        if let Some(last) = foci.last().copied().filter(|f| f.from < d.from) {
            // The same stretches, but nothing compared before the one that shows it.
            foci.push(Focus { from: d.from, block: None, ..last });
        }
        for focus in &foci {
            write!(text, " --lockstep-from {focus}")?;
        }
        if !self.input.is_empty() {
            write!(text, "\n  (with the same input on COM1)")?;
        }
        Ok(())
    }
}

/// The instructions since the agreement, the states around them.
fn tell_trace(text: &mut String, d: &Difference, focus: Option<&Focus>) -> std::fmt::Result {
    let count = d.trace.len();
    match (count, focus.and_then(|f| f.block)) {
        (1, Some(_)) => writeln!(text, "one instruction, compiled by itself, shows it:")?,
        (1, None) => writeln!(text, "one instruction shows it:")?,
        (_, Some(block)) => {
            writeln!(text, "{count} instructions, compiled anew in blocks of at most {block}, show it:")?;
        }
        (_, None) => writeln!(text, "{count} instructions, one stretch of compiled code, show it; alone none does:")?,
    }
    let names: Vec<&str> = d.lines.iter().map(|((name, _), _)| name.as_str()).collect();
    let skipped = count.saturating_sub(SHOWN);
    if skipped > 0 {
        writeln!(text, "  ({skipped} more before these)")?;
    }
    for (n, t) in d.trace.iter().enumerate().skip(skipped) {
        let next = d.trace.get(n + 1);
        let after = view::lines_of_state(next.map_or(&d.after, |t| &t.before));
        let before = view::lines_of_state(&t.before);
        let ram_after = next.map_or(&d.watched_after, |t| &t.ram);
        let mut wrote: Vec<&str> = changed(&before, &after).map(|(name, _)| name.as_str()).collect();
        wrote.retain(|name| names.contains(name) && *name != "cs:eip");
        if *ram_after != t.ram {
            wrote.push("RAM");
        }
        let place = format!("{:04x}:{:08x}", t.before.segs[1].selector, t.before.rip);
        let (bytes, code) = trace::disassemble_bytes(&t.before, &t.bytes);
        let note = if wrote.is_empty() { String::new() } else { format!("  ; writes {}", wrote.join(", ")) };
        writeln!(text, "  {place}  {bytes:<24} {code}{note}")?;
    }
    let Some(start) = d.trace.first() else { return Ok(()) };
    let before = view::lines_of_state(&start.before);
    writeln!(text, "before:")?;
    for (name, value) in &before {
        writeln!(text, "  {name} {value}")?;
    }
    let after = view::lines_of_state(&d.after);
    writeln!(text, "after, by the interpreter (what changed):")?;
    for (name, value) in changed(&before, &after) {
        writeln!(text, "  {name} {value}")?;
    }
    writeln!(text, "after, by compiled code (what changed):")?;
    let mine: Vec<Line> = after
        .into_iter()
        .map(|line| d.lines.iter().find(|((name, _), _)| *name == line.0).map_or(line, |(x, _)| x.clone()))
        .collect();
    for (name, value) in changed(&before, &mine) {
        writeln!(text, "  {name} {value}")?;
    }
    Ok(())
}

/// The lines of `after` that are not so in `before`.
fn changed<'a>(before: &'a [Line], after: &'a [Line]) -> impl Iterator<Item = &'a Line> {
    before.iter().zip(after).filter(|(x, y)| x != y).map(|(_, y)| y)
}
