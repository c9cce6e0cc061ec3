//! Code that the code generator did not take: the interpreter ran it, so that compiled code was not tested there.

use ring86_translator::Cpu;

/// Looks at one CPU from time to time.
#[derive(Debug, Default)]
pub struct Refused {
    /// Pieces of code at the last look.
    seen: u64,
}

impl Refused {
    /// What was not compiled since the last look, in words, if there is something.
    pub fn since(&mut self, cpu: &Cpu) -> Option<String> {
        let all = cpu.tier_stats().map_or(0, |stats| stats.refused);
        let new = all - std::mem::replace(&mut self.seen, all);
        (new > 0).then(|| format!("{new} pieces of code could not be compiled"))
    }
}

#[cfg(test)]
pub mod tests {
    use crate::config::Engine;
    use ring86_translator::ir::{Op, Width};

    /// The engine of this name with a code generator that takes no addition and no copy.
    ///
    /// # Panics
    /// If it is not a compiled one.
    pub fn without_add(name: &str) -> Engine {
        fn plant(op: &mut Op) {
            if let Op::Add { dst, a, .. } | Op::Mov { dst, a, .. } = *op {
                // Sign extension to something smaller.
                *op = Op::Sext { from: Width::D, w: Width::B, dst, a };
            }
        }
        let Some(Engine::Translator(mut config)) = Engine::named(name) else { panic!("{name} compiles nothing") };
        config.plant = Some(plant);
        Engine::Translator(config)
    }
}
