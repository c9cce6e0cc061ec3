//! Ports: IN and OUT with the I/O privilege level and the TSS's permission bitmap (SDM vol. 1, 19.5).

use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::state::cr;

impl Cpu {
    /// Raises #GP(0) unless `size` bytes of ports from `port` may be used.
    pub(crate) fn check_io(&mut self, bus: &mut dyn Bus, port: u16, size: u8) -> Res<()> {
        if self.real_mode() || (!self.state.v86() && self.state.cpl <= self.state.iopl()) {
            return Ok(());
        }
        let tr = self.state.tr;
        if !tr.present() || tr.system_type() & 8 == 0 || tr.limit < 0x67 {
            return Err(Fault::gp(0));
        }
        let map = u64::from(self.read_lin::<u16>(bus, tr.base.wrapping_add(0x66) & 0xffff_ffff, false)?);
        // Two bytes are always read: an access may straddle.
        let at = map + u64::from(port / 8);
        if at + 1 > u64::from(tr.limit) {
            return Err(Fault::gp(0));
        }
        let bits = u32::from(self.read_lin::<u16>(bus, tr.base.wrapping_add(at) & 0xffff_ffff, false)?);
        let mask = (1u32 << size) - 1;
        if bits >> (port & 7) & mask != 0 { Err(Fault::gp(0)) } else { Ok(()) }
    }

    /// Notes I/O breakpoints that the access hits (SDM vol. 3, 17.2.4): R/W field 10b with CR4.DE.
    fn watch_port(&mut self, port: u16, size: u8) {
        let dr7 = self.state.dr[7];
        if dr7 & 0xff == 0 || self.state.cr4 & cr::DE == 0 {
            return;
        }
        let port = u64::from(port);
        for i in 0..4 {
            let len = [1, 2, 8, 4][(dr7 >> (18 + i * 4) & 3) as usize];
            let start = self.state.dr[i as usize] & !(len - 1) & 0xffff;
            let kind = dr7 >> (16 + i * 4) & 3;
            let hit = port < start + len && start < port + u64::from(size);
            if dr7 >> (i * 2) & 3 != 0 && kind == 2 && hit {
                self.state.pending_debug |= 1 << i;
                self.bail = true;
            }
        }
    }

    /// IN: checks, then reads `size` (1, 2 or 4) bytes.
    pub(crate) fn port_in(&mut self, bus: &mut dyn Bus, port: u16, size: u8) -> Res<u32> {
        self.check_io(bus, port, size)?;
        self.stats.ports += 1;
        self.watch_port(port, size);
        let v = bus.port_read(self.now(), port, size);
        self.after_device();
        Ok(v & u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4))))
    }

    /// OUT: checks, then writes `size` (1, 2 or 4) bytes.
    pub(crate) fn port_out(&mut self, bus: &mut dyn Bus, port: u16, size: u8, v: u32) -> Res<()> {
        self.check_io(bus, port, size)?;
        self.stats.ports += 1;
        self.watch_port(port, size);
        bus.port_write(self.now(), port, size, v & u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4))));
        self.after_device();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Rig, TSS_A};
    use super::*;
    use crate::model::Model;
    use crate::state::eflags;

    #[test]
    fn io_breakpoints() {
        let mut r = Rig::protected(Model::Max);
        r.cpu.state.dr[1] = 0x3f8;
        // Enabled by L1, R/W 10b, four bytes.
        r.cpu.state.dr[7] = 0x400 | 1 << 2 | 0xe << 20;
        r.run(|c, b| c.port_in(b, 0x3fb, 1)).unwrap();
        assert_eq!(r.cpu.state.pending_debug, 0, "CR4.DE is clear");
        r.cpu.state.cr4 |= cr::DE;
        r.run(|c, b| c.port_out(b, 0x3fc, 1, 0)).unwrap();
        assert_eq!(r.cpu.state.pending_debug, 0);
        r.run(|c, b| c.port_in(b, 0x3fb, 1)).unwrap();
        assert_eq!(r.cpu.state.pending_debug, 2);
    }

    #[test]
    fn bitmap() {
        let mut r = Rig::protected(Model::Max);
        r.enter_ring3();
        // The rig's bitmap starts at 88h, all ones (denied).
        let map = TSS_A + 0x88;
        r.poke8(map + 0x60 / 8, !1);
        r.poke8(map + 0x3f8 / 8, 0);
        r.poke8(map + 0x400 / 8, 0xfe);
        for (port, size, ok) in [
            (0x60, 1, true),
            (0x61, 1, false),
            (0x60, 2, false),
            (0x3f8, 4, true),
            (0x3fe, 2, true),
            (0x3ff, 2, true),
            (0x3fe, 4, false),
            (0xffff, 1, false),
        ] {
            let want = if ok { Ok(()) } else { Err(Fault::gp(0)) };
            assert_eq!(r.run(|c, b| c.check_io(b, port, size)), want, "port {port:x} size {size}");
        }
        r.cpu.state.sys_flags |= eflags::IOPL;
        assert_eq!(r.run(|c, b| c.port_in(b, 0x61, 1)), Ok(0xff));
        assert_eq!(r.cpu.stats.ports, 1);
        r.cpu.state.sys_flags &= !eflags::IOPL;
        r.cpu.state.tr.limit = 0x66;
        assert_eq!(r.run(|c, b| c.port_out(b, 0x60, 1, 0)), Err(Fault::gp(0)));
        let mut v = Rig::v86(3);
        assert_eq!(v.run(|c, b| c.check_io(b, 0x61, 1)), Err(Fault::gp(0)), "IOPL does not matter in V86 mode");
    }
}
