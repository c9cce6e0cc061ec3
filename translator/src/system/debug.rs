//! Debug registers (SDM vol. 3, 17.2).

use super::exception::{DR6_BD, DR7_GD};
use crate::cpu::{Cpu, DB_FAULT};
use crate::fault::{Fault, Res};
use crate::state::cr;

/// DR6 bits that are always one; bit 12 is always zero.
const DR6_ONES: u64 = 0xffff_0ff0;
/// DR6 bits that can be written.
const DR6_BITS: u64 = 0xe00f;
/// DR7 bits that can be written.
const DR7_BITS: u64 = 0xffff_23ff;
/// DR7 bit 10 is always one.
const DR7_ONES: u64 = 0x400;

impl Cpu {
    /// Common checks of MOV to and from DRn; the register's number after aliasing of DR4 and DR5.
    fn check_dr(&self, n: u8) -> Res<usize> {
        let n = match n & 7 {
            4 | 5 if self.state.cr4 & cr::DE != 0 => return Err(Fault::ud()),
            4 => 6,
            5 => 7,
            n => n,
        };
        self.require_cpl0()?;
        if self.state.dr[7] & DR7_GD != 0 {
            return Err(Fault::db(DR6_BD | DB_FAULT));
        }
        Ok(usize::from(n))
    }

    /// MOV to DRn.
    pub(crate) fn mov_to_dr(&mut self, n: u8, v: u64) -> Res<()> {
        let n = self.check_dr(n)?;
        self.state.dr[n] = match n {
            6 => v & DR6_BITS | DR6_ONES,
            7 => v & DR7_BITS | DR7_ONES,
            _ => v & 0xffff_ffff,
        };
        self.state.update_mode();
        Ok(())
    }

    /// MOV from DRn.
    pub(crate) fn mov_from_dr(&mut self, n: u8) -> Res<u64> {
        let n = self.check_dr(n)?;
        Ok(self.state.dr[n])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;
    use crate::model::Model;

    #[test]
    fn reserved_bits_and_aliases() {
        let mut r = Rig::protected(Model::Max);
        for (n, v, same_as, want) in [
            (0, 0x1234_5678, 0, 0x1234_5678),
            (6, 0, 4, 0xffff_0ff0),
            (4, !0, 6, 0xffff_effc | 3),
            (7, 0, 5, 0x400),
            (5, 0xffff_dfff, 7, 0xffff_07ff),
        ] {
            r.run(|c, _| c.mov_to_dr(n, v)).unwrap();
            assert_eq!(r.run(|c, _| c.mov_from_dr(same_as)), Ok(want), "DR{n}");
        }
        r.cpu.state.cr4 |= cr::DE;
        assert_eq!(r.run(|c, _| c.mov_from_dr(4)), Err(Fault::ud()));
        r.cpu.state.dr[7] |= DR7_GD;
        assert_eq!(r.run(|c, _| c.mov_from_dr(0)), Err(Fault::db(DR6_BD | DB_FAULT)));
        r.enter_ring3();
        assert_eq!(r.run(|c, _| c.mov_from_dr(0)), Err(Fault::gp(0)));
    }
}
