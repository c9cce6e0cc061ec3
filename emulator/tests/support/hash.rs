//! The state of a whole machine as one number.

use ring86::machine::Machine;
use ring86_translator::{Ram, State};

/// A hash of 64-bit words: each step is a bijection, so that no single difference is lost.
pub struct Hash(pub u64);

impl Hash {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in a word.
    pub fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    /// Takes in bytes and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn ram(&mut self, ram: &Ram) {
        let mut page = vec![0; 4096];
        for offset in (0..ram.len()).step_by(page.len()) {
            ram.read_bytes(offset, &mut page);
            self.bytes(&page);
        }
    }

    /// What the architecture shows of a processor; not how its flags and temporaries are kept.
    fn state(&mut self, state: &State) {
        (0..8).for_each(|n| self.word(state.gpr(n)));
        self.word(state.rip);
        self.word(state.eflags().into());
        for segment in state.segs.iter().chain([&state.ldtr, &state.tr]) {
            self.word(segment.base);
            self.word(u64::from(segment.limit) << 32 | u64::from(segment.attr));
            self.word(segment.selector.into());
        }
        for table in [&state.gdtr, &state.idtr] {
            self.word(table.base);
            self.word(table.limit.into());
        }
        let fpu = &state.fpu;
        for register in fpu.regs {
            self.word(register.mantissa);
            self.word(register.sign_exp.into());
        }
        let fpu_words = [fpu.cw, fpu.sw, fpu.empty.into(), fpu.last_opcode, fpu.last_cs, fpu.last_ds].map(u64::from);
        let controls = [state.cr0, state.cr2, state.cr3, state.cr4, state.efer, state.mxcsr.into(), state.cpl.into()];
        for word in fpu_words.into_iter().chain([fpu.last_ip, fpu.last_dp]).chain(controls).chain(state.dr) {
            self.word(word);
        }
        for vector in &state.vectors[..8] {
            self.bytes(&vector.to_le_bytes());
        }
    }
}

/// The hash of a whole machine: processor, memory, what it printed, and how far it came.
#[must_use]
pub fn of_machine(machine: &Machine) -> u64 {
    let mut hash = Hash::new();
    hash.state(&machine.cpu().state);
    hash.ram(machine.layout().memory().ram());
    hash.bytes(machine.serial_output());
    hash.bytes(machine.screen_text().as_bytes());
    hash.word(machine.retired());
    hash.word(machine.executed());
    hash.0
}
