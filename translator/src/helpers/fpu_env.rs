//! x87 and SSE state in memory: FSTENV, FLDENV, FSAVE, FRSTOR, FXSAVE, FXRSTOR (SDM vol. 1, 8.1.10 and 10.5).

use super::misc::env;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::fp::F80;
use crate::lift::x87::SUPPRESSED;
use crate::state::{SegReg, cr};

/// MXCSR bits that exist.
const MXCSR_MASK: u32 = 0xffff;

impl Cpu {
    /// The 16-bit tag word: two bits for each physical register.
    fn tag_word(&self) -> u16 {
        (0..8).fold(0, |tw, i| {
            let tag = if self.state.fpu.empty >> i & 1 != 0 { 3 } else { self.state.fpu.regs[i].tag() };
            tw | u16::from(tag & 3) << (2 * i)
        })
    }

    /// Bytes from `off` on that one access may cover, 8, 4 or 1 of `len`: as it is aligned, it stays in its page, and
    /// the offset does not wrap.
    fn piece(&self, seg: SegReg, off: u64, len: usize) -> usize {
        let lin = self.state.segs[seg as usize].base.wrapping_add(off);
        let fits = |size: usize| lin.is_multiple_of(size as u64) && len >= size && off + size as u64 <= 1 << 32;
        [8, 4].into_iter().find(|size| fits(*size)).unwrap_or(1)
    }

    fn put(&mut self, bus: &mut dyn Bus, seg: SegReg, at: u64, mut bytes: &[u8]) -> Res<()> {
        let mut off = at;
        while !bytes.is_empty() {
            off &= 0xffff_ffff;
            let (piece, rest) = bytes.split_at(self.piece(seg, off, bytes.len()));
            match *piece {
                [a, b, c, d, e, f, g, h] => {
                    self.write_seg(bus, seg, off, u64::from_le_bytes([a, b, c, d, e, f, g, h]))?;
                }
                [a, b, c, d] => self.write_seg(bus, seg, off, u32::from_le_bytes([a, b, c, d]))?,
                _ => self.write_seg(bus, seg, off, piece[0])?,
            }
            off += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, bus: &mut dyn Bus, seg: SegReg, at: u64, bytes: &mut [u8]) -> Res<()> {
        let (mut off, mut done) = (at, 0);
        while done < bytes.len() {
            off &= 0xffff_ffff;
            let size = self.piece(seg, off, bytes.len() - done);
            let value = match size {
                8 => self.read_seg::<u64>(bus, seg, off)?,
                4 => self.read_seg::<u32>(bus, seg, off)?.into(),
                _ => self.read_seg::<u8>(bus, seg, off)?.into(),
            };
            bytes[done..done + size].copy_from_slice(&value.to_le_bytes()[..size]);
            (off, done) = (off + size as u64, done + size);
        }
        Ok(())
    }

    fn probe_image(&mut self, seg: SegReg, at: u64, len: u64) -> Res<()> {
        let mut n = 0;
        while n < len {
            self.probe_seg(seg, at.wrapping_add(n) & 0xffff_ffff, 1)?;
            n += 64;
        }
        self.probe_seg(seg, at.wrapping_add(len - 1) & 0xffff_ffff, 1)
    }

    /// The environment as stored: 14 or 28 bytes, in the protected- or real-mode layout.
    fn environment(&self, wide: bool) -> Vec<u8> {
        let f = &self.state.fpu;
        let real = !self.state.protected();
        let ip = if real { (u64::from(f.last_cs) << 4).wrapping_add(f.last_ip) } else { f.last_ip } as u32;
        let dp = if real { (u64::from(f.last_ds) << 4).wrapping_add(f.last_dp) } else { f.last_dp } as u32;
        let op = u32::from(f.last_opcode & 0x7ff);
        let mut words: Vec<u32> = vec![f.cw.into(), f.sw.into(), self.tag_word().into()];
        match (wide, real) {
            (true, false) => words.extend([ip, u32::from(f.last_cs) | op << 16, dp, u32::from(f.last_ds)]),
            (true, true) => words.extend([ip & 0xffff, (ip >> 16) << 12 | op, dp & 0xffff, (dp >> 16) << 12]),
            (false, false) => words.extend([ip, f.last_cs.into(), dp, f.last_ds.into()]),
            (false, true) => words.extend([ip, (ip >> 4) & 0xf000 | op, dp, (dp >> 4) & 0xf000]),
        }
        let mut out = Vec::new();
        for (i, w) in words.iter().enumerate() {
            if wide {
                // Unused upper halves read as ones.
                let fill = if i < 3 || i == 6 && !real { 0xffff_0000 } else { 0 };
                out.extend((w | fill).to_le_bytes());
            } else {
                out.extend((*w as u16).to_le_bytes());
            }
        }
        out
    }

    fn load_environment(&mut self, bytes: &[u8], wide: bool) {
        let word = |i: usize| -> u32 {
            if wide {
                u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
            } else {
                u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).into()
            }
        };
        let real = !self.state.protected();
        let f = &mut self.state.fpu;
        f.cw = word(0) as u16 & 0x1f3f | 0x40;
        f.sw = word(1) as u16;
        f.empty = (0..8).fold(0, |e, i| e | u8::from(word(2) >> (2 * i) & 3 == 3) << i);
        if real {
            let high = |w: u32| if wide { (w >> 12) << 16 } else { (w & 0xf000) << 4 };
            f.last_cs = 0;
            f.last_ip = (word(3) & 0xffff | high(word(4))).into();
            f.last_opcode = word(4) as u16 & 0x7ff;
            f.last_ds = 0;
            f.last_dp = (word(5) & 0xffff | high(word(6))).into();
        } else {
            f.last_ip = word(3).into();
            f.last_cs = word(4) as u16;
            if wide {
                f.last_opcode = (word(4) >> 16) as u16 & 0x7ff;
            }
            f.last_dp = word(5).into();
            f.last_ds = word(6) as u16;
        }
        self.state.x87_summary();
    }

    fn fxsave_image(&self) -> [u8; 288] {
        let s = &self.state;
        let f = &s.fpu;
        let mut m = [0u8; 288];
        m[0..2].copy_from_slice(&f.cw.to_le_bytes());
        m[2..4].copy_from_slice(&f.sw.to_le_bytes());
        m[4] = !f.empty;
        m[6..8].copy_from_slice(&(f.last_opcode & 0x7ff).to_le_bytes());
        m[8..12].copy_from_slice(&(f.last_ip as u32).to_le_bytes());
        m[12..14].copy_from_slice(&f.last_cs.to_le_bytes());
        m[16..20].copy_from_slice(&(f.last_dp as u32).to_le_bytes());
        m[20..22].copy_from_slice(&f.last_ds.to_le_bytes());
        m[24..28].copy_from_slice(&s.mxcsr.to_le_bytes());
        m[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
        for i in 0..8usize {
            let r = f.regs[(usize::from(f.top()) + i) & 7];
            m[32 + 16 * i..42 + 16 * i].copy_from_slice(&r.to_bytes());
            m[160 + 16 * i..176 + 16 * i].copy_from_slice(&s.vectors[i].to_le_bytes());
        }
        m
    }

    fn fxrstor_image(&mut self, m: &[u8; 288]) -> Res<()> {
        let u16_at = |i: usize| u16::from_le_bytes([m[i], m[i + 1]]);
        let u32_at = |i: usize| u32::from_le_bytes([m[i], m[i + 1], m[i + 2], m[i + 3]]);
        let sse = self.state.cr4 & cr::OSFXSR != 0;
        if sse && u32_at(24) & !MXCSR_MASK != 0 {
            return Err(Fault::gp(0));
        }
        let f = &mut self.state.fpu;
        f.cw = u16_at(0) & 0x1f3f | 0x40;
        f.sw = u16_at(2);
        f.empty = !m[4];
        f.last_opcode = u16_at(6) & 0x7ff;
        f.last_ip = u32_at(8).into();
        f.last_cs = u16_at(12);
        f.last_dp = u32_at(16).into();
        f.last_ds = u16_at(20);
        let top = usize::from(f.top());
        for i in 0..8usize {
            let mut b = [0u8; 10];
            b.copy_from_slice(&m[32 + 16 * i..42 + 16 * i]);
            f.regs[(top + i) & 7] = F80::from_bytes(b);
        }
        if sse {
            self.state.mxcsr = u32_at(24);
            for i in 0..8usize {
                let mut b = [0u8; 16];
                b.copy_from_slice(&m[160 + 16 * i..176 + 16 * i]);
                self.state.vectors[i] = u128::from_le_bytes(b);
            }
        }
        self.state.x87_summary();
        Ok(())
    }
}

/// Runs one of the instructions; `imm`: segment, [`env`] selector << 8, 32-bit layout << 16.
pub(crate) fn run(cpu: &mut Cpu, bus: &mut dyn Bus, seg: SegReg, off: u64, imm: u32) -> Res<()> {
    let wide = imm >> 16 & 1 != 0;
    let env_len: u64 = if wide { 28 } else { 14 };
    if !matches!(imm >> 8 & 0xff, env::FXSAVE | env::FXRSTOR) {
        // The areas are aligned like their words (SDM vol. 3, table 6-7).
        let write = matches!(imm >> 8 & 0xff, env::FSTENV | env::FSAVE);
        let lin = cpu.seg_lin(seg, off, 1, write)?;
        cpu.check_alignment(lin, if wide { 4 } else { 2 })?;
    }
    match imm >> 8 & 0xff {
        env::FSTENV => {
            cpu.probe_image(seg, off, env_len)?;
            let bytes = cpu.environment(wide);
            cpu.put(bus, seg, off, &bytes)?;
            cpu.state.fpu.cw |= 0x3f;
            cpu.state.x87_summary();
        }
        env::FSAVE => {
            cpu.probe_image(seg, off, env_len + 80)?;
            let mut bytes = cpu.environment(wide);
            let f = &cpu.state.fpu;
            for i in 0..8u8 {
                bytes.extend(f.regs[usize::from(f.top().wrapping_add(i) & 7)].to_bytes());
            }
            cpu.put(bus, seg, off, &bytes)?;
            cpu.state.fpu.reset();
        }
        env::FLDENV => {
            let mut bytes = vec![0; env_len as usize];
            cpu.take(bus, seg, off, &mut bytes)?;
            cpu.load_environment(&bytes, wide);
        }
        env::FRSTOR => {
            let mut bytes = vec![0; env_len as usize + 80];
            cpu.take(bus, seg, off, &mut bytes)?;
            cpu.load_environment(&bytes, wide);
            let top = usize::from(cpu.state.fpu.top());
            for (i, chunk) in bytes[env_len as usize..].chunks_exact(10).enumerate() {
                let mut b = [0u8; 10];
                b.copy_from_slice(chunk);
                cpu.state.fpu.regs[(top + i) & 7] = F80::from_bytes(b);
            }
        }
        what => {
            let lin = cpu.state.segs[seg as usize].base.wrapping_add(off);
            if lin & 15 != 0 {
                return Err(Fault::gp(0));
            }
            if what == env::FXSAVE {
                cpu.probe_image(seg, off, 512)?;
                let m = cpu.fxsave_image();
                // XMM registers are part of the image only when the system enabled them.
                let len = if cpu.state.cr4 & cr::OSFXSR != 0 { 288 } else { 160 };
                cpu.put(bus, seg, off, &m[..len])?;
            } else {
                let mut m = [0u8; 288];
                cpu.take(bus, seg, off, &mut m)?;
                cpu.fxrstor_image(&m)?;
            }
        }
    }
    Ok(())
}

/// Stores what an x87 `Get` operation left in its slots; `imm`: segment, size << 8, slots << 16 and << 24.
pub(crate) fn store(cpu: &mut Cpu, bus: &mut dyn Bus, seg: SegReg, off: u64, imm: u32) -> Res<()> {
    let lo = cpu.state.slots[(imm >> 16 & 0xff) as usize];
    let hi = cpu.state.slots[(imm >> 24) as usize];
    if hi == SUPPRESSED {
        return Ok(());
    }
    match imm >> 8 & 0xff {
        2 => cpu.write_seg(bus, seg, off, lo as u16),
        4 => cpu.write_seg(bus, seg, off, lo as u32),
        8 => cpu.write_seg(bus, seg, off, lo),
        _ => {
            cpu.write_seg(bus, seg, off, lo)?;
            cpu.write_seg(bus, seg, off.wrapping_add(8) & 0xffff_ffff, hi as u16)
        }
    }
}
