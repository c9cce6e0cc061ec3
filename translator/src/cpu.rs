//! The CPU: its state, its memory, and the run loop that every tier hangs off.

use crate::activity::{Activity, Doing};
use crate::block::BlockCache;
use crate::bus::Bus;
use crate::engine::Engine;
use crate::fault::{Fault, vector};
use crate::helpers::CallCounts;
use crate::mmu::Memory;
use crate::mmu::ram::Window;
use crate::mmu::shadow::Shadow;
use crate::model::Model;
use crate::pins::{self, Pins};
use crate::state::{HostX87, State, cr, eflags, mode};
use std::sync::Arc;

/// Why [`Cpu::run`] returned.
#[derive(Clone, Debug)]
pub enum Exit {
    /// The instruction budget is used up.
    Budget,
    /// HLT with interrupts possible: nothing runs until a pin changes.
    Halted,
    /// [`pins::EXIT`] was raised.
    Attention,
    /// A third fault while delivering a double fault: the processor has shut down.
    TripleFault(Box<TripleFault>),
    /// With [`Cpu::intercept`]: an exception that was not delivered. RIP is at the faulting instruction (for traps, at
    /// the next one).
    Exception(Fault),
}

/// What led to a shutdown, for people to read.
#[derive(Clone, Debug)]
pub struct TripleFault {
    /// The faults in the order they happened, each with the CS:EIP and linear address of its instruction.
    pub chain: Vec<(Fault, u16, u64, u64)>,
    /// The state at shutdown.
    pub state: Box<State>,
    /// Diagnosis, several lines.
    pub report: String,
}

/// Counters that `--stats` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks decoded and lifted.
    pub blocks_lifted: u64,
    /// Blocks entered.
    pub blocks_run: u64,
    /// Blocks thrown away because their code changed.
    pub invalidated: u64,
    /// Page walks.
    pub walks: u64,
    /// Shadow flushes.
    pub flushes: u64,
    /// Loads and stores that reached a device.
    pub mmio: u64,
    /// Port reads and writes.
    pub ports: u64,
    /// Exceptions delivered.
    pub exceptions: u64,
    /// External interrupts delivered.
    pub interrupts: u64,
    /// Calls into the helper table.
    pub helpers: u64,
}

/// One processor.
pub struct Cpu {
    /// Architectural state. After changing segments, control registers or flags by hand call [`State::update_mode`].
    pub state: State,
    /// Exceptions make [`Cpu::run`] return instead of being delivered through the IDT.
    pub intercept: bool,
    /// Counters.
    pub stats: Stats,
    pub(crate) calls: CallCounts,
    pub(crate) activity: Arc<Activity>,
    pub(crate) model: Model,
    /// The bus holds a local APIC.
    pub(crate) local_apic: bool,
    pub(crate) mem: Arc<Memory>,
    /// RAM of `mem`.
    pub(crate) ram: Window,
    pub(crate) pins: Arc<Pins>,
    pub(crate) shadow: Shadow,
    pub(crate) blocks: BlockCache,
    /// Physical address bits that exist, the A20 gate applied.
    pub(crate) phys_mask: u64,
    /// Instructions retired before the running block.
    pub(crate) retired: u64,
    /// Index of the operation being run in the running block, as of the last one that may reach a device.
    pub(crate) current_op: usize,
    /// Stop at the next instruction boundary: the running code changed, an interrupt may be pending, a breakpoint hit.
    pub(crate) bail: bool,
    /// Faults taken since the last instruction that completed, oldest first: the chain a triple fault reports.
    pub(crate) chain: Vec<(Fault, u16, u64, u64)>,
    /// IRET or POPF has just loaded RF: it covers the next instruction, not this one.
    pub(crate) rf_loaded: bool,
    /// The instruction entered a handler or task by itself: its single-step trap is gone.
    pub(crate) tf_consumed: bool,
    /// Unimplemented things already logged, by name.
    pub(crate) logged: std::collections::BTreeSet<&'static str>,
    /// The compiled tiers.
    pub(crate) engine: Option<Box<Engine>>,
    /// Linear address at which the interpreter's last block began.
    pub(crate) last_start: u64,
    /// Linear address at which compiled code missed, until the interpreter has done the access.
    pub(crate) missed: Option<u64>,
    /// Guest instructions in a block at most.
    pub(crate) block_limit: usize,
    /// Retired instructions at the boundary that the last STI's shadow covers.
    pub(crate) sti_until: u64,
}

impl Cpu {
    /// A CPU of `model` after reset.
    pub fn new(model: Model, mem: Arc<Memory>, pins: Arc<Pins>) -> Self {
        let mut cpu = Cpu {
            state: State::reset(model),
            intercept: false,
            stats: Stats::default(),
            calls: CallCounts::default(),
            activity: Arc::default(),
            model,
            local_apic: false,
            ram: mem.ram().window(),
            mem,
            pins,
            shadow: Shadow::default(),
            blocks: BlockCache::default(),
            phys_mask: 0,
            retired: 0,
            current_op: 0,
            bail: false,
            chain: Vec::new(),
            rf_loaded: false,
            tf_consumed: false,
            logged: std::collections::BTreeSet::new(),
            engine: None,
            last_start: 0,
            missed: None,
            block_limit: crate::decode::MAX_INSTRUCTIONS,
            sti_until: u64::MAX,
        };
        cpu.map_changed();
        cpu
    }

    /// Calls of the helper table by kind.
    pub fn calls(&self) -> &CallCounts {
        &self.calls
    }

    /// What the thread that runs this CPU is doing.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The model.
    pub fn model(&self) -> Model {
        self.model
    }

    /// The bus holds a local APIC, which CPUID is to show. Only models from the Pentium on have one.
    pub fn connect_local_apic(&mut self) {
        self.local_apic = self.model >= Model::Pentium;
    }

    /// Guest memory.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.mem
    }

    /// The input pins.
    pub fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// Instructions retired and exceptions delivered since the CPU was made; resets of the guest do not clear it.
    pub fn retired(&self) -> u64 {
        self.retired
    }

    /// Counts idle time as retired instructions, so that a virtual clock can skip ahead while the guest halts.
    pub fn skip(&mut self, instructions: u64) {
        self.retired += instructions;
    }

    /// The RESET or INIT pin: architectural reset. Memory is kept.
    pub fn reset(&mut self) {
        self.state = State::reset(self.model);
        self.chain.clear();
        self.bail = false;
        self.map_changed();
    }

    /// Forgets everything derived from page tables and the physical map. Call after changing CR0, CR3, CR4 or EFER by
    /// hand.
    pub fn flush(&mut self) {
        self.flush_shadow(false);
    }

    pub(crate) fn flush_shadow(&mut self, keep_global: bool) {
        self.stats.flushes += 1;
        self.shadow.flush(keep_global);
        // Without paging CR3 means nothing.
        self.shadow.activate(if self.state.cr0 & cr::PG != 0 { self.state.cr3 } else { u64::MAX });
    }

    fn map_changed(&mut self) {
        self.pins.clear(pins::MAP);
        let width = match self.model {
            Model::I8086 => 20,
            Model::I286 => 24,
            Model::I386 | Model::I486 | Model::Pentium => 32,
            Model::P3 | Model::Max => 36,
        };
        self.phys_mask = (1 << width) - 1;
        if !self.pins.a20() {
            self.phys_mask &= !(1 << 20);
        }
        self.flush_shadow(false);
    }

    /// Instructions retired at this moment, as devices are told.
    pub(crate) fn now(&self) -> u64 {
        if let Some(e) = &self.engine
            && e.running
        {
            return e.end.saturating_sub(self.state.frame.left.max(0) as u64);
        }
        let Some(id) = self.blocks.running else { return self.retired };
        let marks = &self.blocks.get(id).marks;
        let begun = marks.partition_point(|m| usize::from(m.op) <= self.current_op);
        self.retired + (begun as u64).saturating_sub(1)
    }

    /// After a device was reached: an interrupt or a request to stop may wait.
    #[inline]
    pub(crate) fn after_device(&mut self) {
        if self.pins.get() & self.watched() != 0 {
            self.bail = true;
        }
    }

    /// RAM bytes `off..off+len` were written by the guest: drops the code made from them.
    pub(crate) fn code_written(&mut self, off: u64, len: u64) {
        if self.mem.is_code(off & !0xfff) {
            let (dropped, running) = self.blocks.invalidate(off, len, &self.mem);
            self.stats.invalidated += dropped;
            self.bail |= running;
            self.note_rewrite(off);
            self.drop_dead_regions();
        }
    }

    /// Logs once that the guest used something unimplemented.
    pub(crate) fn log_once(&mut self, what: &'static str) {
        if self.logged.insert(what) {
            log::warn!("unimplemented: {what} (cs:eip {:04x}:{:08x})", self.state.segs[1].selector, self.state.rip);
        }
    }

    /// Pins that matter in the present state.
    #[inline(always)]
    pub(crate) fn watched(&self) -> u32 {
        if self.state.sys_flags & eflags::IF != 0 { !0 } else { !pins::INTR }
    }

    /// Runs at most `budget` instructions.
    pub fn run(&mut self, bus: &mut dyn Bus, budget: u64) -> Exit {
        let end = self.retired.saturating_add(budget);
        // Another thread, or another CPU on this one, may have run since.
        self.state.host_x87 = HostX87::UNKNOWN;
        if let Some(e) = &mut self.engine {
            e.sample = true;
            // The caller has looked: a run that ended in HLT may have left this behind, and would end the next one between
            // an interrupt and its handler's first instruction, where the interpreter never stops.
            e.left = false;
        }
        loop {
            self.settle_sti();
            if self.pins.get() & self.watched() != 0
                && let Some(exit) = self.service_pins(bus)
            {
                return exit;
            }
            if self.state.halted {
                return Exit::Halted;
            }
            // An interrupt that waits has been taken by now, as at the end of a budget.
            let left = self.engine.as_mut().is_some_and(|e| std::mem::take(&mut e.left));
            if left || self.retired >= end {
                return Exit::Budget;
            }
            let result = if self.state.mode & mode::STEP != 0 || self.state.sti_shadow || self.state.ss_shadow {
                self.step(bus)
            } else if self.engine.is_some() {
                self.run_tiers(bus, end)
            } else {
                self.run_blocks(bus, end)
            };
            // Breakpoints on data, ports and tasks that the last instruction hit: a trap after it.
            let result = match result {
                Ok(()) if self.state.pending_debug != 0 && !self.state.ss_shadow => {
                    Err(Fault::db(std::mem::take(&mut self.state.pending_debug)))
                }
                other => other,
            };
            if let Err(fault) = result
                && let Some(exit) = self.raise(bus, fault)
            {
                return exit;
            }
        }
    }

    /// Notes the shadow of an STI that was the last instruction. Whatever came after it has moved the count.
    fn settle_sti(&mut self) {
        self.state.sti_shadow |= self.sti_until == self.retired;
        self.sti_until = u64::MAX;
    }

    /// One instruction with everything that surrounds it: code breakpoints before, data breakpoints and single-step
    /// after, and the interrupt shadows (SDM vol. 3, 6.8.3 and 17.3).
    fn step(&mut self, bus: &mut dyn Bus) -> Result<(), Fault> {
        let ss_shadow = std::mem::take(&mut self.state.ss_shadow);
        self.state.sti_shadow = false;
        if !ss_shadow {
            self.check_code_breakpoints()?;
        }
        let tf = self.state.sys_flags & eflags::TF != 0;
        let rf = self.state.sys_flags & eflags::RF != 0;
        let before = self.retired;
        // Notes of instructions that did not run here, or of another life before a reset, say nothing about this one.
        (self.rf_loaded, self.tf_consumed) = (false, false);
        self.run_one(bus)?;
        // RF covers one instruction; IRET and POPF that load it keep it for the next.
        if rf && self.retired != before && !std::mem::take(&mut self.rf_loaded) {
            self.state.sys_flags &= !eflags::RF;
            self.state.update_mode();
        }
        let mut dr6 = std::mem::take(&mut self.state.pending_debug);
        if tf && !std::mem::take(&mut self.tf_consumed) {
            dr6 |= 1 << 14;
        }
        if dr6 != 0 && !self.state.ss_shadow {
            return Err(Fault::db(dr6));
        }
        self.state.pending_debug = dr6 & !(1 << 14);
        Ok(())
    }

    fn check_code_breakpoints(&mut self) -> Result<(), Fault> {
        if self.state.dr[7] & 0xff == 0 || self.state.sys_flags & eflags::RF != 0 {
            return Ok(());
        }
        let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xffff_ffff;
        let mut hit = 0;
        for i in 0..4 {
            let enabled = self.state.dr[7] >> (i * 2) & 3 != 0;
            if enabled && self.state.dr[7] >> (16 + i * 4) & 3 == 0 && self.state.dr[i as usize] & 0xffff_ffff == lin {
                hit |= 1 << i;
            }
        }
        if hit != 0 { Err(Fault { vector: vector::DB, error: None, address: 0, dr6: hit | DB_FAULT }) } else { Ok(()) }
    }

    fn service_pins(&mut self, bus: &mut dyn Bus) -> Option<Exit> {
        let lines = self.pins.get();
        if lines & pins::MAP != 0 {
            self.map_changed();
        }
        if lines & pins::STALE != 0 {
            self.pins.clear(pins::STALE);
            for (off, len) in self.mem.take_stale() {
                self.code_written(off, len);
            }
        }
        if lines & pins::INIT != 0 {
            self.pins.clear(pins::INIT);
            self.reset();
        }
        if lines & pins::EXIT != 0 {
            self.pins.clear(pins::EXIT);
            return Some(Exit::Attention);
        }
        if self.state.sti_shadow || self.state.ss_shadow {
            return None;
        }
        let result = if lines & pins::NMI != 0 && !self.state.nmi_blocked {
            self.pins.clear(pins::NMI);
            self.state.halted = false;
            self.state.nmi_blocked = true;
            self.external_interrupt(bus, vector::NMI)
        } else if lines & pins::INTR != 0 && self.state.sys_flags & eflags::IF != 0 {
            self.state.halted = false;
            self.stats.interrupts += 1;
            let before = self.activity.enter(Doing::Deliver);
            let v = bus.acknowledge(self.retired);
            let result = self.external_interrupt(bus, v);
            self.activity.leave(before);
            result
        } else {
            return None;
        };
        match result {
            Ok(()) => None,
            Err(fault) => self.raise(bus, fault),
        }
    }

    /// Delivers an exception raised by an instruction, or returns it when intercepted. RIP is at the instruction that
    /// is to be restarted (or, for traps, after the one that trapped).
    fn raise(&mut self, bus: &mut dyn Bus, mut fault: Fault) -> Option<Exit> {
        if self.intercept {
            fault.dr6 &= !crate::system::NEW_TASK;
            return Some(Exit::Exception(fault));
        }
        self.stats.exceptions += 1;
        // Delivery takes time: a handler whose first instruction faults must not stop the clock and outlast any budget.
        self.retired += 1;
        if self.model == Model::I8086 && fault.vector == vector::DE {
            // The 8086 returns from a divide error to the next instruction.
            let lin = self.state.segs[1].base.wrapping_add(self.state.rip) & 0xf_ffff;
            if let Ok(block) = self.lift_single(bus, lin) {
                self.state.rip = self.state.rip.wrapping_add(u64::from(block.len)) & 0xffff;
            }
        }
        let is_trap = fault.vector == vector::DB && fault.dr6 & DB_FAULT == 0;
        fault.dr6 &= !DB_FAULT;
        let before = self.activity.enter(Doing::Deliver);
        let result = self.deliver_exception(bus, fault, !is_trap);
        self.activity.leave(before);
        result.err().map(Exit::TripleFault)
    }
}

/// In [`Fault::dr6`]: the #DB is a fault (code breakpoint, general detect), not a trap.
pub(crate) const DB_FAULT: u32 = 1 << 31;
