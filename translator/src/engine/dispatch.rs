//! How execution passes between the interpreter and compiled code.

use super::{EXIT_NAMES, Watch, native};
use crate::block::Id;
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::Res;
use crate::frame::exit;
use crate::lower::Entry;
use crate::lower::trampoline::{self, Jump};
use crate::mmu::shadow;
use crate::state::{SegReg, mode};

/// A stretch of compiled code that needs more instructions than this is left to the interpreter.
const LONGEST_SHORT: u64 = 4096;

impl Cpu {
    /// Runs until something needs the run loop, in whichever tier is best.
    pub(crate) fn run_tiers(&mut self, bus: &mut dyn Bus, end: u64) -> Res<()> {
        let mut interpret = false;
        loop {
            if self.engine.as_ref().is_some_and(|e| e.worker.ready()) {
                self.install_finished();
            }
            if !std::mem::take(&mut interpret) {
                match self.enter_native(bus, end)? {
                    None => {}
                    Some(exit::MISS) => {
                        interpret = true;
                        self.count_miss();
                        self.missed = Some(self.state.frame.exit_addr);
                    }
                    Some(exit::BUDGET) => interpret = true,
                    Some(exit::JUMP) => {}
                    Some(_) => return Ok(()),
                }
                if self.retired >= end || self.engine.as_ref().is_some_and(|e| e.left) {
                    return Ok(());
                }
                if !interpret && self.jump_known() {
                    continue;
                }
            }
            let id = self.lookup(bus)?;
            if !interpret && self.fill_jump(id) {
                continue;
            }
            if self.count(id) && !interpret && self.fill_jump(id) {
                continue;
            }
            interpret = false;
            let block = self.blocks.get(id);
            let (serial, whole) = (block.serial, self.retired + block.marks.len() as u64);
            let missed = std::mem::take(&mut self.missed);
            let special = self.run_block(bus, id, end - self.retired)?;
            if let Some(lin) = missed {
                self.learn_miss(lin);
            }
            if self.retired == whole {
                self.learn_target(id, serial);
            }
            let mut special = special;
            if let Some(e) = &mut self.engine {
                e.look(self.retired);
                special |= e.left;
            }
            if special || self.retired >= end || self.pins.get() & self.watched() != 0 {
                return Ok(());
            }
        }
    }

    /// Whether the jump cache knows RIP.
    fn jump_known(&self) -> bool {
        self.engine.as_ref().is_some_and(|e| e.jumps.find(self.state.rip, self.state.mode).is_some())
    }

    /// Runs compiled code from RIP if the jump cache knows it. Returns why it was left.
    fn enter_native(&mut self, bus: &mut dyn Bus, end: u64) -> Res<Option<u32>> {
        let rip = self.state.rip;
        let flat_cs = self.state.mode & mode::FLAT << SegReg::Cs as u32 != 0;
        let cs = &self.state.segs[1];
        let cs = (cs.base, cs.limit);
        let Some(e) = &mut self.engine else { return Ok(None) };
        e.jumps.follow(&self.shadow);
        if !flat_cs {
            e.jumps.enter_segment(cs);
        }
        let mode = self.state.mode;
        if let Some(jump) = e.jumps.find(rip, mode)
            && std::mem::take(&mut e.sample)
        {
            self.sampled(jump.region);
        }
        let Some(e) = self.engine.as_ref() else { return Ok(None) };
        let Some(jump) = e.jumps.find(rip, mode) else { return Ok(None) };
        let (show, watch) = (e.config.show, e.config.watch);
        let from = self.state.segs[1].base.wrapping_add(rip) & 0xffff_ffff;
        let why = match watch {
            None => native::run(self, bus, &jump, end),
            Some(watch) => self.run_watched(bus, &jump, end, watch),
        };
        if show.exits && (show.from..=show.to).contains(&from) {
            let reason = EXIT_NAMES[(*why.as_ref().unwrap_or(&exit::FAULT) as usize).min(EXIT_NAMES.len() - 1)];
            log::info!(
                "entered at {from:08x}, left at {:04x}:{:08x}: {reason}",
                self.state.segs[1].selector,
                self.state.rip
            );
        }
        why.map(Some)
    }

    /// Runs compiled code in short stretches: see [`Config::watch`].
    fn run_watched(&mut self, bus: &mut dyn Bus, jump: &Jump, end: u64, watch: Watch) -> Res<u32> {
        let (before, mut most) = (self.retired, watch.most);
        let why = loop {
            let why = native::run(self, bus, jump, end.min(before + most));
            // A stretch runs whole or not at all.
            let none = matches!(why, Ok(exit::BUDGET)) && self.retired == before && before + most < end;
            if !none || most >= LONGEST_SHORT {
                break why;
            }
            most += 1;
        };
        // Where nothing has run, the interpreter cannot stop: behind an interrupt, before its handler.
        if let Some(e) = self.engine.as_mut().filter(|_| self.retired != before) {
            e.look(self.retired);
        }
        why
    }

    /// Puts the region that block `id` is an entry of into the jump cache for RIP. False if there is none, or if its
    /// pages are not where they were.
    fn fill_jump(&mut self, id: Id) -> bool {
        let Some((region_id, entry)) = self.blocks.get(id).profile.native else { return false };
        let (rip, user) = (self.state.rip, self.user());
        let cs = &self.state.segs[1];
        let (base, limit) = (cs.base, cs.limit);
        let Some(e) = &self.engine else { return false };
        let Some(region) = e.regions.get(region_id as usize).and_then(Option::as_ref) else { return false };
        let Some(&Entry { delta, need }) = region.entries.get(entry as usize) else { return false };
        let anchor = rip.wrapping_sub(delta as i64 as u64) & 0xffff_ffff;
        if region.fixed.is_some_and(|f| f.rip != anchor || f.limit != limit) {
            return false;
        }
        let code = e.cache.address(&region.piece) as u64;
        let mut global = shadow::G;
        for page in region.pages.clone() {
            let lin = base.wrapping_add(anchor).wrapping_add(page.delta as i64 as u64) & 0xffff_ffff;
            let Some(entry) = self.maps_code(lin, page.at, user) else { return false };
            global &= entry;
        }
        let tag = trampoline::tag(rip, self.state.mode);
        let Some(e) = &mut self.engine else { return false };
        e.jumps.follow(&self.shadow);
        let need = u16::try_from(need.max(0)).unwrap_or(u16::MAX);
        e.jumps.put(rip, Jump { tag, code, entry, region: region_id, delta, need, global: u16::from(global != 0) });
        true
    }

    /// The shadow's entry of linear page `lin` if it maps the RAM page at `at` for fetches, without side effects that the
    /// guest could see.
    fn maps_code(&mut self, lin: u64, at: u64, user: bool) -> Option<u64> {
        let e = self.shadow.get(usize::from(user), lin);
        let e = if e & shadow::X != 0 { e } else { self.translate_quietly(lin, user)? };
        (e & shadow::IO == 0 && e & !0xfff == at).then_some(e)
    }

    /// Compiled code missed at `lin` and the interpreter has done the access: the window may take the page in.
    fn learn_miss(&mut self, lin: u64) {
        let view = usize::from(self.user());
        let e = self.shadow.get(view, lin);
        if e & shadow::R != 0 {
            self.shadow.window_miss(view, lin, 1, e & shadow::W != 0);
        }
    }

    /// Remembers where the indirect transfer at the end of block `id`, which has run to its end, went.
    fn learn_target(&mut self, id: Id, serial: u64) {
        use crate::block::End;
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let start = self.last_start;
        if let Some(b) = self.blocks.alive(id, serial)
            && matches!(b.end, End::Indirect | End::IndirectCall)
            && b.profile.targets.len() < 8
        {
            let delta = lin.wrapping_sub(start) as i32;
            if !b.profile.targets.contains(&delta) {
                b.profile.targets.push(delta);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::block::Key;
    use crate::bus::NullBus;
    use crate::engine::Config;
    use crate::model::Model;
    use crate::state::slot;
    use crate::system::testing::Rig;

    #[test]
    fn a_block_that_is_cut_short_teaches_no_targets() {
        let mut cpu = Rig::real(Model::Max).cpu;
        cpu.enable_translator(Config::default()).expect("a code generator for this host");
        // NOP, NOP, NOP, JMP CX to the first of them.
        cpu.mem.ram().write_bytes(0x100, &[0x90, 0x90, 0x90, 0xff, 0xe1]);
        cpu.state.set_gpr(slot::RCX, 0x100);
        let key = Key { at: 0x100, mode: cpu.state.mode };
        for _ in 0..2 {
            cpu.run(&mut NullBus, 1);
            cpu.run(&mut NullBus, 3);
        }
        let id = cpu.blocks.find(key).expect("a block that has run");
        assert_eq!((cpu.state.rip, cpu.blocks.get(id).profile.targets.len()), (0x100, 0));
        cpu.run(&mut NullBus, 4);
        assert_eq!(cpu.blocks.get(id).profile.targets, [0]);
    }
}
