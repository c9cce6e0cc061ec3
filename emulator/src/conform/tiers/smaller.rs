//! Cases of the suite `tiers` made small: steps that take something away, numbered so that a line can name them.

use super::generate::Case;
use iced_x86::{Decoder, DecoderOptions};

/// Steps that there are: see [`smaller`].
const STEPS: usize = 15 + INSTRUCTIONS;
/// Instructions at the beginning of a case that steps can take away.
const INSTRUCTIONS: usize = 16;

/// The case after step `number`. None if that changes nothing.
pub fn smaller(case: &Case, number: usize) -> Option<Case> {
    let mut less = case.clone();
    match number {
        0..=7 => less.gpr[number] = 0,
        8 => less.flags &= 0x3000,
        9 => less.cr4 = 0,
        10 => less.dr = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
        11 => less.short = false,
        12 => less.repairs.clear(),
        13 => less.fill = 0,
        14 => less.steps = 1,
        _ => {
            let mut decoder = Decoder::new(case.bits(), &case.code, DecoderOptions::NONE);
            for _ in 15..number {
                if !decoder.can_decode() {
                    return None;
                }
                let _ = decoder.decode();
            }
            let from = decoder.position();
            let _ = decoder.decode();
            less.code.drain(from..decoder.position());
            // What is before a page's end stays there.
            less.at += (decoder.position() - from) as u32;
            if less.code.is_empty() {
                return None;
            }
        }
    }
    let same = format!("{less:?}") == format!("{case:?}");
    (!same).then_some(less)
}

/// The smallest case found, and the steps that lead there, as long as `shows` says that the failure is the same.
pub fn smallest(case: &Case, mut shows: impl FnMut(&Case) -> bool) -> (Case, Vec<usize>) {
    let (mut case, mut steps) = (case.clone(), Vec::new());
    loop {
        let before = steps.len();
        // Instructions first: what they need goes with them.
        for number in (0..STEPS).rev() {
            if let Some(less) = smaller(&case, number)
                && shows(&less)
            {
                case = less;
                steps.push(number);
            }
        }
        if steps.len() == before {
            return (case, steps);
        }
    }
}

/// The case after the steps of a line, `N,N,...`.
pub fn after(case: Case, steps: &str) -> Option<Case> {
    steps.split(',').filter(|step| !step.is_empty()).try_fold(case, |case, step| {
        let number = step.parse::<usize>().ok().filter(|number| *number < STEPS)?;
        smaller(&case, number)
    })
}
