//! One virtual machine of KVM's with one processor.
#![expect(unsafe_code, reason = "KVM maps guest memory by address and shares a page of unions with its user")]

use super::registers;
use crate::bus::SystemBus;
use crate::error::{Error, Result};
use crate::logging::say;
use kvm_bindings::{CpuId, KVM_MEM_READONLY, kvm_cpuid_entry2, kvm_interrupt, kvm_userspace_memory_region};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use ring86_devices::Time;
use ring86_translator::activity::Doing;
use ring86_translator::state::cr;
use ring86_translator::{Bus, Cpu, Exit, Memory, Pins, TripleFault, pins};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Where Intel's processors want three pages for real mode under KVM; no RAM, ROM or chip is there.
const TSS_ADDRESS: usize = 0xfffb_d000;
/// CPUID leaf 1, ECX: the local APIC's timer has TSC deadline mode.
const TSC_DEADLINE: u32 = 1 << 24;
/// The A20 gate's address line.
const A20: u64 = 1 << 20;
/// KVM_INTERRUPT, `_IOW(KVMIO, 86h, struct kvm_interrupt)`.
const KVM_INTERRUPT: libc::c_ulong = 0x4004_ae86;
/// Most bytes that one exit moves through a port.
const IO_MAX: usize = 4096;
/// How soon an alarm that went off just before the guest was entered goes off again.
const ALARM_AGAIN: Duration = Duration::from_millis(1);

/// Kinds of exits.
#[derive(Clone, Copy)]
enum Kind {
    Port,
    Memory,
    Halt,
    Window,
    Alarm,
    Other,
}

const KINDS: [&str; 6] =
    ["exit: port", "exit: memory", "exit: HLT", "exit: interrupt window", "exit: alarm", "exit: other"];

/// A piece of guest memory that KVM maps by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    guest: u64,
    len: u64,
    offset: u64,
    readonly: bool,
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(format!("--engine kvm: /dev/kvm does not {what}: {error}"))
}

fn open() -> Result<(VmFd, VcpuFd, kvm_ioctls::Kvm)> {
    let kvm = kvm_ioctls::Kvm::new().map_err(|e| {
        Error::new(format!("--engine kvm: /dev/kvm cannot be opened ({e}); it needs KVM and the right to use it"))
    })?;
    let vm = kvm.create_vm().map_err(|e| refused("make a machine", &e))?;
    // Processors other than Intel's neither need nor refuse it.
    let _ = vm.set_tss_address(TSS_ADDRESS);
    let vcpu = vm.create_vcpu(0).map_err(|e| refused("make a processor", &e))?;
    Ok((vm, vcpu, kvm))
}

/// The machine's processor, run by KVM.
pub struct Kvm {
    // The processor goes before the machine, and both before the memory that they map.
    vcpu: VcpuFd,
    vm: VmFd,
    memory: Arc<Memory>,
    pins: Arc<Pins>,
    mapped: Vec<Piece>,
    a20: bool,
    /// The state that [`Cpu`] holds is newer than KVM's.
    changed: bool,
    /// KVM has not finished the instruction that the last exit was for.
    unfinished: bool,
    alarm: Option<Timer>,
    count: [u64; KINDS.len()],
    ns: [u64; KINDS.len()],
}

impl Kvm {
    /// A processor like `cpu`, with its memory and its answers to CPUID where the host's processor can keep them.
    ///
    /// # Errors
    /// One sentence if the host refuses.
    pub fn new(cpu: &Cpu) -> Result<Self> {
        let (vm, vcpu, kvm) = open()?;
        let host = kvm
            .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
            .map_err(|e| refused("tell what its processor can do", &e))?;
        let mut list = Vec::new();
        for function in [0, 1, 2, 0x8000_0000, 0x8000_0001, 0x8000_0002, 0x8000_0003, 0x8000_0004] {
            let [eax, ebx, mut ecx, mut edx] = cpu.cpuid_leaf(function);
            if function & 0xffff == 1 {
                let can = host.as_slice().iter().find(|e| e.function == function);
                ecx &= can.map_or(0, |e| e.ecx);
                edx &= can.map_or(0, |e| e.edx);
            }
            if function == 1 {
                // The local APIC is the board's, which does not see the register of TSC deadline mode.
                ecx &= !TSC_DEADLINE;
            }
            list.push(kvm_cpuid_entry2 { function, eax, ebx, ecx, edx, ..kvm_cpuid_entry2::default() });
        }
        let list = CpuId::from_entries(&list).map_err(|_| refused("take a CPUID table", &"it is too long"))?;
        vcpu.set_cpuid2(&list).map_err(|e| refused("take a CPUID table", &e))?;
        // The alarm only has to interrupt KVM; nobody asks whether it did.
        signal_hook::flag::register(libc::SIGALRM, Arc::new(AtomicBool::new(false)))
            .map_err(|e| Error::new(format!("--engine kvm: the host does not let an alarm be set: {e}")))?;
        if let Some(sentence) = super::trouble() {
            say(format_args!("warn: {sentence}"));
        }
        Ok(Kvm {
            vcpu,
            vm,
            memory: Arc::clone(cpu.memory()),
            pins: Arc::clone(cpu.pins()),
            mapped: Vec::new(),
            a20: true,
            changed: true,
            unfinished: false,
            alarm: None,
            count: Default::default(),
            ns: Default::default(),
        })
    }

    /// The state in [`Cpu`] was changed from outside, by a reset or a loader.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Exits from the guest by kind: name, how many, and nanoseconds until the guest went on.
    pub fn exits(&self) -> Vec<(&'static str, u64, u64)> {
        let all = KINDS.iter().zip(self.count).zip(self.ns);
        all.map(|((name, count), ns)| (*name, count, ns)).filter(|(_, count, _)| *count != 0).collect()
    }

    /// Runs the guest until guest time `until`, or until it halts, shuts down or the board wants attention.
    ///
    /// # Errors
    /// One sentence if KVM cannot go on.
    pub fn run(&mut self, cpu: &mut Cpu, bus: &mut SystemBus, until: Time) -> Result<Exit> {
        let now = bus.clock.now(0);
        self.set_alarm(Some(Duration::from_nanos(until.saturating_sub(now).max(1_000))))?;
        let exit = self.turns(cpu, bus, until);
        self.set_alarm(None)?;
        self.finish()?;
        if !self.changed {
            let halted = cpu.state.halted;
            let regs = self.vcpu.get_regs().map_err(|e| refused("show registers", &e))?;
            let sregs = self.vcpu.get_sregs().map_err(|e| refused("show registers", &e))?;
            registers::take(&mut cpu.state, &regs, &sregs);
            cpu.state.halted = halted;
        }
        match exit? {
            // As above: the report shows the state that was just read.
            Exit::TripleFault(_) => Ok(Exit::TripleFault(Box::new(shutdown(cpu)))),
            exit => Ok(exit),
        }
    }

    /// Enters the guest again and again.
    fn turns(&mut self, cpu: &mut Cpu, bus: &mut SystemBus, until: Time) -> Result<Exit> {
        let mut left: Option<(Kind, Instant)> = None;
        loop {
            let lines = self.pins.get();
            if lines & pins::MAP != 0 || self.mapped.is_empty() {
                self.pins.clear(pins::MAP);
                self.map()?;
            }
            if lines & pins::STALE != 0 {
                self.pins.clear(pins::STALE);
                // Nothing was translated that could be stale.
                drop(self.memory.take_stale());
            }
            if lines & pins::INIT != 0 {
                self.pins.clear(pins::INIT);
                cpu.reset();
                self.changed = true;
            }
            if lines & pins::EXIT != 0 {
                self.pins.clear(pins::EXIT);
                return Ok(Exit::Attention);
            }
            if std::mem::take(&mut self.changed) {
                self.load(cpu)?;
            }
            if lines & pins::NMI != 0 {
                self.pins.clear(pins::NMI);
                self.vcpu.nmi().map_err(|e| refused("take an NMI", &e))?;
                cpu.state.halted = false;
            }
            self.interrupt(cpu, bus, lines & pins::INTR != 0)?;
            if cpu.state.halted {
                return Ok(Exit::Halted);
            }
            if bus.clock.now(0) >= until {
                return Ok(Exit::Budget);
            }
            if let Some((kind, since)) = left.take() {
                let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.ns[kind as usize] = self.ns[kind as usize].saturating_add(ns);
            }
            let before = cpu.activity().enter(Doing::Hardware);
            let exit = self.vcpu.run();
            let since = Instant::now();
            cpu.activity().leave(before);
            self.unfinished = false;
            let kind = match exit {
                Ok(VcpuExit::IoIn(port, data)) => {
                    self.unfinished = true;
                    cpu.stats.ports += 1;
                    let (to, len) = (data.as_mut_ptr(), data.len());
                    for at in (0..len).step_by(self.io_size()) {
                        let size = self.io_size().min(len - at);
                        let value = bus.port_read(0, port, size as u8).to_le_bytes();
                        // SAFETY: `to` and `len` are what KVM said lies in the page it shares with this process, mapped
                        // until the processor goes; at + size <= len, and nobody else has a reference to it.
                        unsafe { to.add(at).copy_from_nonoverlapping(value.as_ptr(), size.min(value.len())) }
                    }
                    Kind::Port
                }
                Ok(VcpuExit::IoOut(port, data)) => {
                    self.unfinished = true;
                    cpu.stats.ports += 1;
                    let mut copy = [0; IO_MAX];
                    let len = data.len().min(IO_MAX);
                    copy[..len].copy_from_slice(&data[..len]);
                    for item in copy[..len].chunks(self.io_size()) {
                        let mut value = [0; 4];
                        let size = item.len().min(4);
                        value[..size].copy_from_slice(&item[..size]);
                        bus.port_write(0, port, size as u8, u32::from_le_bytes(value));
                    }
                    Kind::Port
                }
                Ok(VcpuExit::MmioRead(address, data)) => {
                    self.unfinished = true;
                    cpu.stats.mmio += 1;
                    let address = if self.a20 { address } else { address & !A20 };
                    let size = data.len().min(8);
                    let value = bus.mem_read(0, address, size as u8).to_le_bytes();
                    data[..size].copy_from_slice(&value[..size]);
                    Kind::Memory
                }
                Ok(VcpuExit::MmioWrite(address, data)) => {
                    self.unfinished = true;
                    cpu.stats.mmio += 1;
                    let address = if self.a20 { address } else { address & !A20 };
                    if self.memory.page(address).write.is_some() {
                        // ROM is read here and RAM behind it written.
                        self.memory.dma_write(address, data);
                    } else {
                        let mut value = [0; 8];
                        let size = data.len().min(8);
                        value[..size].copy_from_slice(&data[..size]);
                        bus.mem_write(0, address, size as u8, u64::from_le_bytes(value));
                    }
                    Kind::Memory
                }
                Ok(VcpuExit::Hlt) => {
                    cpu.state.halted = true;
                    Kind::Halt
                }
                Ok(VcpuExit::IrqWindowOpen) => Kind::Window,
                Ok(VcpuExit::Shutdown) => {
                    let report = String::new();
                    let state = Box::new(cpu.state.clone());
                    return Ok(Exit::TripleFault(Box::new(TripleFault { chain: Vec::new(), state, report })));
                }
                Ok(VcpuExit::Intr) => Kind::Alarm,
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Kind::Alarm,
                Ok(VcpuExit::InternalError) => {
                    return Err(self.stuck(cpu, "does not know the instruction or cannot do it"));
                }
                Ok(VcpuExit::FailEntry(reason, _)) => {
                    return Err(self.stuck(cpu, &format!("refuses the processor's state, reason {reason:x}h")));
                }
                Ok(_) => Kind::Other,
                Err(error) => return Err(self.stuck(cpu, &format!("fails: {error}"))),
            };
            self.count[kind as usize] += 1;
            left = Some((kind, since));
        }
    }

    /// Size of the items that the last port exit moves.
    fn io_size(&mut self) -> usize {
        // SAFETY: called after an exit for a port only, when KVM has filled in this member of the union; all its bit
        // patterns are numbers.
        let size = unsafe { self.vcpu.get_kvm_run().__bindgen_anon_1.io.size };
        usize::from(size).clamp(1, 4)
    }

    /// Delivers an interrupt if one is `wanted` and the processor takes it now; asks to be told when it will.
    fn interrupt(&mut self, cpu: &mut Cpu, bus: &mut SystemBus, wanted: bool) -> Result<()> {
        let run = self.vcpu.get_kvm_run();
        let open = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
        run.request_interrupt_window = u8::from(wanted && !open);
        if !(wanted && open) {
            return Ok(());
        }
        run.ready_for_interrupt_injection = 0;
        let interrupt = kvm_interrupt { irq: bus.acknowledge(0).into() };
        // SAFETY: the descriptor is a processor of KVM's, and the argument what the request asks for.
        if unsafe { libc::ioctl(self.vcpu.as_raw_fd(), KVM_INTERRUPT, &raw const interrupt) } != 0 {
            return Err(refused("take an interrupt", &std::io::Error::last_os_error()));
        }
        cpu.stats.interrupts += 1;
        cpu.state.halted = false;
        Ok(())
    }

    /// Lets KVM finish the instruction that it left the guest for, so that its registers are whole.
    fn finish(&mut self) -> Result<()> {
        if std::mem::take(&mut self.unfinished) {
            self.vcpu.set_kvm_immediate_exit(1);
            let done = self.vcpu.run().map(drop);
            self.vcpu.set_kvm_immediate_exit(0);
            if let Err(error) = done
                && error.errno() != libc::EINTR
            {
                return Err(refused("finish an instruction", &error));
            }
        }
        Ok(())
    }

    /// Hands the state in `cpu` to KVM.
    fn load(&mut self, cpu: &Cpu) -> Result<()> {
        self.finish()?;
        let no = |e| refused("take registers", &e);
        let old = self.vcpu.get_sregs().map_err(no)?;
        self.vcpu.set_sregs(&registers::system(&cpu.state, &old)).map_err(no)?;
        self.vcpu.set_regs(&registers::general(&cpu.state)).map_err(no)?;
        self.vcpu.set_fpu(&registers::floating(&cpu.state)).map_err(no)?;
        // What was said of the state before does not hold for this one.
        self.vcpu.get_kvm_run().ready_for_interrupt_injection = 0;
        Ok(())
    }

    /// What KVM is to map: the pieces of RAM and ROM. With A20 low the second megabyte shows the first; higher odd
    /// megabytes, which no program looks for there, stay what they are.
    fn pieces(&self) -> Vec<Piece> {
        let mut list: Vec<Piece> = Vec::new();
        let mut add = |piece: Piece| match list.last_mut() {
            Some(last)
                if last.guest + last.len == piece.guest
                    && last.offset + last.len == piece.offset
                    && last.readonly == piece.readonly =>
            {
                last.len += piece.len;
            }
            _ => list.push(piece),
        };
        let extents = self.memory.extents();
        let all = extents.iter().filter_map(|(guest, len, to)| {
            Some(Piece { guest: *guest, len: *len, offset: to.read?, readonly: to.write != to.read })
        });
        if self.a20 {
            all.for_each(add);
            return list;
        }
        let (low, high): (Vec<Piece>, Vec<Piece>) = all.partition(|p| p.guest < A20);
        low.iter().for_each(|p| add(*p));
        low.iter().for_each(|p| add(Piece { guest: p.guest + A20, ..*p }));
        for p in high.iter().filter(|p| p.guest + p.len > 2 * A20) {
            let cut = (2 * A20).saturating_sub(p.guest);
            add(Piece { guest: p.guest + cut, len: p.len - cut, offset: p.offset + cut, ..*p });
        }
        list
    }

    /// Brings KVM's map of guest memory up to date.
    fn map(&mut self) -> Result<()> {
        self.a20 = self.pins.a20();
        let new = self.pieces();
        // Places are numbered in order; those that are as they were stay.
        let same = |i: usize, list: &[Piece], other: &[Piece]| list.get(i) == other.get(i);
        for i in 0..self.mapped.len() {
            if !same(i, &self.mapped, &new) {
                self.place(i, &Piece { len: 0, ..self.mapped[i] })?;
            }
        }
        for (i, piece) in new.iter().enumerate() {
            if !same(i, &self.mapped, &new) {
                self.place(i, piece)?;
            }
        }
        self.mapped = new;
        Ok(())
    }

    fn place(&self, number: usize, piece: &Piece) -> Result<()> {
        let ram = self.memory.ram();
        if piece.offset.checked_add(piece.len).is_none_or(|end| end > ram.len() as u64) {
            return Err(refused("map guest memory", &"a piece lies outside it"));
        }
        let region = kvm_userspace_memory_region {
            slot: number as u32,
            flags: if piece.readonly { KVM_MEM_READONLY } else { 0 },
            guest_phys_addr: piece.guest,
            memory_size: piece.len,
            userspace_addr: ram.as_ptr() as u64 + piece.offset,
        };
        // SAFETY: the range lies inside the mapping of guest RAM, checked above, which `self.memory` keeps until after
        // the machine is gone; its bytes are shared with a guest by design. Pieces do not overlap: their old selves
        // went first.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(|e| refused("map guest memory", &e))
    }

    /// Sets or clears the alarm that interrupts the guest.
    fn set_alarm(&mut self, after: Option<Duration>) -> Result<()> {
        let no = |e: nix::Error| Error::new(format!("--engine kvm: the host does not let an alarm be set: {e}"));
        if self.alarm.is_none() {
            let notify = SigevNotify::SigevThreadId {
                signal: Signal::SIGALRM,
                thread_id: nix::unistd::gettid().as_raw(),
                si_value: 0,
            };
            self.alarm = Some(Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify)).map_err(no)?);
        }
        let when = match after {
            Some(after) => Expiration::IntervalDelayed(after.into(), ALARM_AGAIN.into()),
            None => Expiration::OneShot(Duration::ZERO.into()),
        };
        match &mut self.alarm {
            Some(alarm) => alarm.set(when, TimerSetTimeFlags::empty()).map_err(no),
            None => Ok(()),
        }
    }

    /// The sentence for a guest that KVM cannot run on.
    fn stuck(&mut self, cpu: &mut Cpu, what: &str) -> Error {
        if let (Ok(regs), Ok(sregs)) = (self.vcpu.get_regs(), self.vcpu.get_sregs()) {
            registers::take(&mut cpu.state, &regs, &sregs);
        }
        let at = crate::trace::disassemble(cpu);
        let (cs, ip) = (cpu.state.segs[1].selector, cpu.state.rip);
        Error::new(format!("--engine kvm: KVM {what}: {cs:04x}:{ip:08x} {at}"))
    }
}

/// What can be said about a shutdown: KVM does not tell which faults led to it.
fn shutdown(cpu: &Cpu) -> TripleFault {
    let s = &cpu.state;
    let report = format!(
        "triple fault under KVM, which does not tell the faults before it\n  next instruction {:04x}:{:08x} {}\n  cr0 {:08x} \
         cr2 {:08x} cr3 {:08x} cr4 {:08x} paging {}\n",
        s.segs[1].selector,
        s.rip,
        crate::trace::disassemble(cpu),
        s.cr0,
        s.cr2,
        s.cr3,
        s.cr4,
        s.cr0 & cr::PG != 0
    );
    TripleFault { chain: Vec::new(), state: Box::new(s.clone()), report }
}

/// A machine with a page of code and nothing else.
pub struct Bare {
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: Memory,
}

impl Bare {
    /// One that begins with `code` at address 0, in real mode.
    ///
    /// # Errors
    /// One sentence if the host refuses.
    pub fn new(code: &[u8]) -> std::result::Result<Self, String> {
        let (vm, vcpu, _) = open().map_err(|e| e.to_string().trim_start_matches("--engine kvm: ").to_owned())?;
        let no = |e: &dyn std::fmt::Display| format!("/dev/kvm does not run a trial: {e}");
        let memory = Memory::flat(1 << 16, Arc::default()).map_err(|e| no(&e))?;
        memory.ram().write_bytes(0, code);
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: memory.ram().len() as u64,
            userspace_addr: memory.ram().as_ptr() as u64,
        };
        // SAFETY: the range is a whole mapping, which is kept until after the machine is gone.
        unsafe { vm.set_user_memory_region(region) }.map_err(|e| no(&e))?;
        let mut sregs = vcpu.get_sregs().map_err(|e| no(&e))?;
        (sregs.cs.base, sregs.cs.selector) = (0, 0);
        vcpu.set_sregs(&sregs).map_err(|e| no(&e))?;
        let mut regs = vcpu.get_regs().map_err(|e| no(&e))?;
        (regs.rip, regs.rflags) = (0, 2);
        vcpu.set_regs(&regs).map_err(|e| no(&e))?;
        Ok(Bare { vcpu, _vm: vm, _memory: memory })
    }

    /// Runs it until HLT.
    ///
    /// # Errors
    /// One sentence if it ends otherwise.
    pub fn run_to_halt(&mut self) -> std::result::Result<(), String> {
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::Hlt) => return Ok(()),
                Err(error) if error.errno() == libc::EINTR => {}
                Ok(exit) => return Err(format!("KVM cannot run a plain loop of 16-bit code here: {exit:?}")),
                Err(error) => return Err(format!("KVM cannot run a plain loop of 16-bit code here: {error}")),
            }
        }
    }
}
