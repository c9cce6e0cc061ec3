//! What the processor's thread is doing at this moment, as one byte that another thread samples.
//!
//! A change of activity costs one store, so it is always kept up to date. The shares of time that `--stats` shows come
//! from a thread that looks at the byte some thousand times a second.

use std::sync::atomic::{AtomicU8, Ordering};

/// An activity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Doing {
    /// Operations in the interpreter; look-ups that hit are part of it.
    Interpret,
    /// Compiled code.
    Compiled,
    /// Looking blocks and regions up out of line, linking, entering and leaving compiled code.
    Dispatch,
    /// Decoding, lifting and (on this thread) compiling.
    Translate,
    /// Walking the guest's page tables and filling the shadow or the window.
    Walk,
    /// A hypervisor call or another function of the helper table.
    Call,
    /// Delivering an exception or an interrupt.
    Deliver,
    /// A chip, the board's wiring, or host input and output.
    Device,
    /// The guest halts and nothing is due.
    Idle,
    /// Guest code on the host's own processor, under its hypervisor.
    Hardware,
}

impl Doing {
    /// Every activity, in the order of its number.
    pub const ALL: [Doing; 10] = [
        Doing::Interpret,
        Doing::Compiled,
        Doing::Dispatch,
        Doing::Translate,
        Doing::Walk,
        Doing::Call,
        Doing::Deliver,
        Doing::Device,
        Doing::Idle,
        Doing::Hardware,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Doing::Interpret => "interpret",
            Doing::Compiled => "compiled code",
            Doing::Dispatch => "dispatch",
            Doing::Translate => "translate",
            Doing::Walk => "walks and fills",
            Doing::Call => "hypervisor calls",
            Doing::Deliver => "exceptions and interrupts",
            Doing::Device => "devices",
            Doing::Idle => "idle",
            Doing::Hardware => "under KVM",
        }
    }
}

/// The byte. One thread writes it; any may read it.
#[derive(Debug)]
pub struct Activity(AtomicU8);

/// What went on before [`Activity::enter`].
#[derive(Clone, Copy, Debug)]
#[must_use = "an activity that is entered must be left"]
pub struct Before(u8);

impl Default for Activity {
    fn default() -> Self {
        Activity(AtomicU8::new(Doing::Device as u8))
    }
}

impl Activity {
    /// Begins `doing`; [`Activity::leave`] with the result ends it.
    #[inline(always)]
    pub fn enter(&self, doing: Doing) -> Before {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(doing as u8, Ordering::Relaxed);
        Before(before)
    }

    /// Goes back to what went on before.
    #[inline(always)]
    pub fn leave(&self, before: Before) {
        self.0.store(before.0, Ordering::Relaxed);
    }

    /// What goes on now.
    pub fn now(&self) -> Doing {
        Doing::ALL.get(usize::from(self.0.load(Ordering::Relaxed))).copied().unwrap_or(Doing::Device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_order() {
        for (i, doing) in Doing::ALL.iter().enumerate() {
            assert_eq!(*doing as usize, i);
        }
    }

    #[test]
    fn activities_nest() {
        let a = Activity::default();
        let outer = a.enter(Doing::Interpret);
        let inner = a.enter(Doing::Call);
        assert_eq!(a.now(), Doing::Call);
        a.leave(inner);
        assert_eq!(a.now(), Doing::Interpret);
        a.leave(outer);
        assert_eq!(a.now(), Doing::Device);
    }
}
