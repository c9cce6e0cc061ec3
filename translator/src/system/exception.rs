//! Delivery of exceptions, double faults and shutdown (SDM vol. 3, 6.15).

use super::interrupt::Event;
use super::{EXT, NEW_TASK};
use crate::bus::Bus;
use crate::cpu::{Cpu, TripleFault};
use crate::fault::{Fault, vector};
use crate::state::{SegReg, eflags};

/// Classes of SDM vol. 3, table 6-4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(v: u8) -> Class {
    match v {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// What a second exception during the delivery of a first one comes to (SDM vol. 3, table 6-5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// The second one is delivered.
    Serial,
    /// #DF.
    DoubleFault,
    /// The processor stops.
    Shutdown,
}

fn combine(first: u8, second: u8) -> Outcome {
    use Class::*;
    match (class(first), class(second)) {
        (DoubleFault, Contributory | PageFault | DoubleFault) => Outcome::Shutdown,
        (Contributory, Contributory) | (PageFault, Contributory | PageFault) => Outcome::DoubleFault,
        _ => Outcome::Serial,
    }
}

/// Exceptions met in a row while one is delivered before that counts as endless. Benign ones and contributory ones can
/// take turns without a double fault; four in a row is the most that makes sense.
const LONGEST_CHAIN: usize = 16;

impl Cpu {
    /// Delivers an exception raised by the instruction at RIP (for traps: before it). `set_rf` is true for faults,
    /// whose EFLAGS image has RF set. Every exception met on the way goes to the chain.
    pub(crate) fn deliver_exception(
        &mut self,
        bus: &mut dyn Bus,
        fault: Fault,
        set_rf: bool,
    ) -> Result<(), Box<TripleFault>> {
        self.chain.clear();
        let mut fault = fault;
        // An instruction breakpoint is a fault whose image keeps RF as it is (SDM vol. 3, 17.3.1.1).
        let mut set_rf = set_rf && !(fault.vector == vector::DB && fault.dr6 & DR6_BD == 0);
        loop {
            fault.dr6 &= !NEW_TASK;
            let cs = self.state.segs[SegReg::Cs as usize];
            let lin = cs.base.wrapping_add(self.state.rip) & 0xffff_ffff;
            self.chain.push((fault, cs.selector, self.state.rip, lin));
            self.record(&fault);
            let mut flags = self.state.eflags();
            if set_rf {
                flags |= eflags::RF;
            }
            let ev = Event {
                vector: fault.vector,
                ext: EXT,
                software: false,
                error: fault.error,
                flags,
                ip: self.state.rip,
            };
            let Err(second) = self.enter_vector(bus, &ev) else {
                self.chain.clear();
                return Ok(());
            };
            set_rf = true;
            let endless = self.chain.len() >= LONGEST_CHAIN;
            match combine(fault.vector, second.vector) {
                Outcome::Serial if !endless => fault = second,
                Outcome::DoubleFault => {
                    // The cause is worth knowing though only #DF is delivered; its CR2 counts.
                    self.chain.push((second, cs.selector, self.state.rip, lin));
                    self.record(&second);
                    fault = Fault::with(vector::DF, 0);
                }
                // Silicon delivers an endless chain for ever and hears no interrupt meanwhile; a shutdown says so.
                Outcome::Serial | Outcome::Shutdown => {
                    self.chain.push((second, cs.selector, self.state.rip, lin));
                    self.record(&second);
                    let report = self.explain_triple_fault();
                    let chain = std::mem::take(&mut self.chain);
                    return Err(Box::new(TripleFault { chain, state: Box::new(self.state.clone()), report }));
                }
            }
        }
    }

    /// CR2, DR6 and DR7 as an exception leaves them for its handler.
    fn record(&mut self, fault: &Fault) {
        match fault.vector {
            vector::PF => self.state.cr2 = fault.address,
            vector::DB => {
                self.state.dr[6] |= u64::from(fault.dr6 & 0xe00f);
                // GD is cleared so that the handler can use the debug registers.
                self.state.dr[7] &= !DR7_GD;
                self.state.update_mode();
            }
            _ => {}
        }
    }
}

/// DR6: debug register access detected.
pub(super) const DR6_BD: u32 = 1 << 13;
/// DR7: general detect enable.
pub(super) const DR7_GD: u64 = 1 << 13;

#[cfg(test)]
mod tests {
    use super::super::testing::{HANDLER, Rig, STACK0, STACK3, sel};
    use super::*;
    use crate::model::Model;
    use crate::state::slot;

    #[test]
    fn double_fault_table() {
        use Outcome::*;
        let (benign, contributory, pf, df) = (vector::UD, vector::GP, vector::PF, vector::DF);
        for (first, second, want) in [
            (benign, benign, Serial),
            (benign, contributory, Serial),
            (benign, pf, Serial),
            (contributory, benign, Serial),
            (contributory, contributory, DoubleFault),
            (contributory, pf, Serial),
            (pf, benign, Serial),
            (pf, contributory, DoubleFault),
            (pf, pf, DoubleFault),
            (df, contributory, Shutdown),
            (df, pf, Shutdown),
            (df, benign, Serial),
        ] {
            assert_eq!(combine(first, second), want, "{first} then {second}");
        }
    }

    #[test]
    fn error_code_and_rf() {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        r.cpu.state.set_gpr(slot::RSP, STACK3);
        r.cpu.state.rip = 0x4242;
        r.run(|c, b| c.deliver_exception(b, Fault::pf(6, 0xdead_b000), true)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.cr2), (sel::CODE0, HANDLER + 14, 0xdead_b000));
        let sp = STACK0 - 24;
        assert_eq!(r.cpu.state.gpr(slot::RSP), sp);
        let frame: Vec<u32> = (0..4).map(|i| r.dword(sp + i * 4)).collect();
        assert_eq!(frame, [6, 0x4242, (sel::CODE3 | 3).into(), eflags::RF | eflags::ONE]);
        assert!(r.cpu.chain.is_empty());
    }

    #[test]
    fn debug_exceptions() {
        let mut r = Rig::protected(Model::Max);
        r.cpu.state.dr[7] |= DR7_GD;
        r.run(|c, b| c.deliver_exception(b, Fault::db(1 << 14), false)).unwrap();
        assert_eq!(r.cpu.state.dr[6], 0xffff_4ff0);
        assert_eq!(r.cpu.state.dr[7] & DR7_GD, 0);
        assert_eq!(r.dword(STACK0 - 4), eflags::ONE);
        // Breakpoint on an instruction: RF stays as it was. General detect: RF is set.
        let mut r = Rig::protected(Model::Max);
        r.run(|c, b| c.deliver_exception(b, Fault::db(1), true)).unwrap();
        assert_eq!(r.dword(STACK0 - 4), eflags::ONE);
        let mut r = Rig::protected(Model::Max);
        r.run(|c, b| c.deliver_exception(b, Fault::db(DR6_BD), true)).unwrap();
        assert_eq!(r.dword(STACK0 - 4), eflags::ONE | eflags::RF);
    }

    #[test]
    fn serial_then_double_then_triple() {
        // #UD's gate is not present: #NP(6 * 8 + IDT + EXT) is delivered instead.
        let mut r = Rig::protected(Model::Max);
        r.spoil_gate(6);
        r.run(|c, b| c.deliver_exception(b, Fault::ud(), true)).unwrap();
        assert_eq!((r.cpu.state.rip, r.dword(STACK0 - 16)), (HANDLER + 11, 6 * 8 + 3));
        // #GP and #NP spoilt: double fault with error code 0.
        let mut r = Rig::protected(Model::Max);
        r.spoil_gate(13);
        r.run(|c, b| c.deliver_exception(b, Fault::gp(0), true)).unwrap();
        assert_eq!((r.cpu.state.rip, r.dword(STACK0 - 16)), (HANDLER + 8, 0));
        // And #DF: shutdown, with nothing changed and the story told.
        let mut r = Rig::protected(Model::Max);
        r.spoil_gate(13);
        r.spoil_gate(8);
        r.cpu.state.rip = 0x7c00;
        let before = r.cpu.state.clone();
        let t = r.run(|c, b| c.deliver_exception(b, Fault::gp(0x18), true)).unwrap_err();
        r.assert_same(&before);
        let vectors: Vec<u8> = t.chain.iter().map(|c| c.0.vector).collect();
        assert_eq!(vectors, [vector::GP, vector::NP, vector::DF, vector::NP]);
        assert_eq!((t.chain[0].2, t.chain[0].3), (0x7c00, 0x7c00));
        assert!(t.report.contains("#GP") && t.report.contains("#DF"), "{}", t.report);
    }

    #[test]
    fn no_idt_at_all_is_a_triple_fault() {
        let mut r = Rig::protected(Model::Max);
        r.cpu.state.idtr.limit = 0;
        let t = r.run(|c, b| c.deliver_exception(b, Fault::ud(), true)).unwrap_err();
        let faults: Vec<(u8, Option<u32>)> = t.chain.iter().map(|c| (c.0.vector, c.0.error)).collect();
        let want = [(6, None), (13, Some(6 * 8 + 3)), (13, Some(13 * 8 + 3)), (8, Some(0)), (13, Some(8 * 8 + 3))];
        assert_eq!(faults, want);
    }

    #[test]
    fn real_mode_has_no_error_codes() {
        let mut r = Rig::real(Model::Max);
        r.poke32(13 * 4, 0x2000_0010);
        r.cpu.state.rip = 0x55;
        r.run(|c, b| c.deliver_exception(b, Fault::gp(0), true)).unwrap();
        assert_eq!((r.cs(), r.cpu.state.rip, r.cpu.state.gpr(slot::RSP)), (0x2000, 0x10, STACK0 - 6));
        assert_eq!(r.word(STACK0 - 6), 0x55);
        // A stack that is full in real mode: shutdown.
        r.cpu.state.set_gpr(slot::RSP, 1);
        assert!(r.run(|c, b| c.deliver_exception(b, Fault::gp(0), true)).is_err());
    }
}
