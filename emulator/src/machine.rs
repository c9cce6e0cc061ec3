//! The machine: one CPU, one board, and the loop that shares guest time between them.
//!
//! A slice runs the CPU up to the next moment a chip wants attention, then lets the chips act. A HLT is passed over at
//! the start of the next slice, after the caller had a chance to deliver input and output.

use crate::board::Board;
use crate::boot;
use crate::bus::{Journal, SystemBus};
use crate::config::{Engine, MachineConfig};
use crate::drives::Drives;
use crate::error::{Error, Result};
use crate::firmware;
use crate::keys;
use crate::kvm::Kvm;
use crate::layout::{Layout, Roms};
use crate::network::Network;
use crate::scheduler::{Clock, ClockKind, MAX_SLICE, Waker};
use crate::trace::Trace;
use ring86_devices::Time;
use ring86_devices::clock::earliest;
use ring86_devices::i8042::{Buttons, KeyCode};
use ring86_devices::vga::{Frame, TextScreen};
use ring86_translator::activity::Doing;
use ring86_translator::state::eflags;
use ring86_translator::{Cpu, Exit, Model, Pins, Stats, TripleFault, pins};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a machine stopped for good.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The guest switched the power off.
    PowerOff,
    /// The guest asked for a reset and the configuration does not allow one.
    Reset,
    /// The guest wrote this value to the debug-exit port.
    DebugExit(u32),
    /// The processor shut down.
    TripleFault(Box<TripleFault>),
    /// HLT with interrupts off: nothing can happen any more.
    Halted,
    /// The payload could not be started.
    Failed(Error),
}

/// How much serial output a machine keeps for [`Machine::serial_output`] before the oldest half is dropped.
const SERIAL_KEPT: usize = 16 << 20;
/// Keys that wait for the guest before more are left with the caller.
const KEYS_WAITING: usize = 256;
/// Serial input that waits in the machine; more stays with the caller.
const SERIAL_WAITING: usize = 64 << 10;

/// A PC.
pub struct Machine {
    config: MachineConfig,
    layout: Arc<Layout>,
    cpu: Cpu,
    /// Runs in place of `cpu`, which then only holds the state between slices.
    kvm: Option<Kvm>,
    bus: SystemBus,
    network: Option<Network>,
    /// The CPU executed HLT in the last slice.
    halted: bool,
    keys: VecDeque<(KeyCode, bool)>,
    serial_in: VecDeque<u8>,
    serial_out: Vec<u8>,
    /// How much of COM1's output was dropped from the start of `serial_out`.
    serial_dropped: u64,
    /// How much of `serial_out` [`Machine::take_serial`] has given away.
    serial_taken: usize,
    console_out: Vec<u8>,
    resets: u64,
    slices: u64,
    /// Instructions that the virtual clock counted while the CPU halted.
    skipped: u64,
}

impl Machine {
    /// Builds the machine of `config`, powered on.
    ///
    /// # Errors
    /// If the host cannot provide its memory, or the network something it needs.
    pub fn new(mut config: MachineConfig) -> Result<Self> {
        let pins = Arc::new(Pins::default());
        let rom = config.payload.is_some().then(boot::option_rom);
        if config.rom.as_ref().is_some_and(|rom| rom.len() > 0x1_0000) {
            return Err(Error::new("a ROM in place of the firmware has at most 64 KiB"));
        }
        // A shorter ROM lies at the end, where the processor starts.
        let replaced = config.rom.as_ref().map(|rom| [vec![0xff; 0x1_0000 - rom.len()], rom.clone()].concat());
        let has_apic = config.apic && config.model >= Model::Pentium;
        let foreign = config.firmware.as_ref();
        let bios = replaced.as_deref().or(foreign.map(|f| f.bios.as_slice()));
        let roms = Roms {
            bios: bios.unwrap_or_else(|| firmware::bios(has_apic)),
            option: rom.as_deref(),
            video: foreign.and_then(|f| f.video.as_deref()),
            network: config.network_rom.as_deref(),
        };
        let layout = Arc::new(Layout::with_roms(config.ram, &roms, Arc::clone(&pins))?);
        let network = config.network.as_ref().map(|net| Network::new(net, Arc::clone(&pins))).transpose()?;
        let cable = network.as_ref().map(Network::card_end);
        let board = Board::new(&config, &layout, Arc::clone(&pins), cable);
        // From here on the drives own the images: one that is taken out is closed.
        config.drives = Drives::default();
        let mut cpu = Cpu::new(config.model, Arc::clone(layout.memory()), Arc::clone(&pins));
        if board.apics.is_some() {
            cpu.connect_local_apic();
        }
        config.engine.apply(&mut cpu)?;
        let kvm = match config.engine {
            Engine::Kvm => Some(Kvm::new(&cpu)?),
            _ => None,
        };
        let mut bus = SystemBus::new(board, Clock::new(config.clock), pins, Arc::clone(cpu.activity()));
        bus.post.0 = config.test_ports.post;
        Ok(Machine {
            config,
            layout,
            cpu,
            kvm,
            bus,
            network,
            halted: false,
            keys: VecDeque::new(),
            serial_in: VecDeque::new(),
            serial_out: Vec::new(),
            serial_dropped: 0,
            serial_taken: 0,
            console_out: Vec::new(),
            resets: 0,
            slices: 0,
            skipped: 0,
        })
    }

    /// Writes a trace from now on.
    pub fn set_trace(&mut self, trace: Trace) {
        self.bus.trace = trace;
    }

    /// Keeps an account of what the CPU and the chips say to each other from now on.
    pub fn keep_journal(&mut self) {
        self.bus.journal = Some(Journal::default());
    }

    /// What [`Machine::keep_journal`] asked for.
    pub fn journal(&self) -> Option<&Journal> {
        self.bus.journal.as_ref()
    }

    /// A handle that wakes this machine, which must run on the calling thread.
    pub fn waker(&self) -> Waker {
        Waker::new(Arc::clone(self.cpu.pins()))
    }

    /// Guest time since power-on.
    pub fn now(&self) -> Time {
        self.bus.clock.now(self.cpu.retired())
    }

    /// Instructions retired, and counted as idle time on the virtual clock.
    pub fn retired(&self) -> u64 {
        self.cpu.retired()
    }

    /// Instructions executed, idle time left out.
    pub fn executed(&self) -> u64 {
        self.cpu.retired() - self.skipped
    }

    /// Writes out what the trace has buffered.
    pub fn flush_trace(&mut self) {
        self.bus.trace.flush();
    }

    /// The CPU's counters.
    pub fn stats(&self) -> Stats {
        self.cpu.stats
    }

    /// Resets of the guest, and slices run.
    pub fn counts(&self) -> (u64, u64) {
        (self.resets, self.slices)
    }

    /// The processor.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// KVM, if it runs the guest.
    pub fn kvm(&self) -> Option<&Kvm> {
        self.kvm.as_ref()
    }

    /// The processor, for tests that set registers.
    pub fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpu
    }

    /// The chips.
    pub fn board(&mut self) -> &mut Board {
        &mut self.bus.board
    }

    /// Guest memory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Runs until a chip wants attention, at most until guest time `limit` and no longer than [`MAX_SLICE`].
    pub fn slice(&mut self, limit: Time) -> Option<Outcome> {
        self.slices += 1;
        let now = self.now();
        self.feed(now);
        if std::mem::take(&mut self.halted) {
            self.pass_time(limit);
        }
        let now = self.now();
        self.bus.board.advance(now);
        if let Some(outcome) = self.serve_requests() {
            return Some(outcome);
        }
        let until = self.next_event().min(limit).min(now.saturating_add(MAX_SLICE));
        self.bus.deadline = until;
        let before = self.cpu.retired();
        let exit = match &mut self.kvm {
            Some(kvm) => match kvm.run(&mut self.cpu, &mut self.bus, until) {
                Ok(exit) => exit,
                Err(error) => return Some(Outcome::Failed(error)),
            },
            None => self.run_cpu(self.bus.clock.budget(now, until)),
        };
        let after = self.now();
        self.bus.clock.learn(self.cpu.retired() - before, now, after);
        self.collect();
        match exit {
            Exit::Halted if self.cpu.state.sys_flags & eflags::IF == 0 && self.pins() & pins::NMI == 0 => {
                return self.serve_requests().or(Some(Outcome::Halted));
            }
            Exit::Halted => self.halted = true,
            Exit::TripleFault(_) if self.config.reset_on_triple_fault => self.reset(),
            Exit::TripleFault(fault) => return Some(Outcome::TripleFault(fault)),
            Exit::Budget | Exit::Attention | Exit::Exception(_) => {}
        }
        self.serve_requests()
    }

    /// Whether the CPU waits in HLT.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// When a chip or the network next wants attention.
    pub fn next_event(&self) -> Time {
        let network = self.network.as_ref().and_then(Network::next_event);
        earliest(self.bus.board.next_event(), network).unwrap_or(Time::MAX)
    }

    fn pins(&self) -> u32 {
        self.cpu.pins().get()
    }

    /// The CPU halts: sleeps or skips to the next event, unless something waits already.
    fn pass_time(&mut self, limit: Time) {
        if self.pins() != 0 {
            return;
        }
        let now = self.now();
        let until = self.next_event().min(limit).min(now.saturating_add(25_000_000));
        if until > now {
            let before = self.cpu.activity().enter(Doing::Idle);
            let virtual_time = self.bus.clock.kind() == ClockKind::Virtual;
            if virtual_time && self.network.as_ref().is_some_and(Network::awaits_host) {
                // An answer from outside is awaited: guest time passes no faster than the host's, or the guest would
                // give up before the answer had a chance. The network wakes this thread.
                let start = Instant::now();
                std::thread::park_timeout(Duration::from_nanos(until - now));
                if start.elapsed() < Duration::from_nanos(until - now) {
                    self.cpu.activity().leave(before);
                    return;
                }
            }
            let skipped = self.bus.clock.idle(now, until);
            self.cpu.activity().leave(before);
            self.skipped += skipped;
            self.cpu.skip(skipped);
        }
    }

    fn run_cpu(&mut self, budget: u64) -> Exit {
        if !self.bus.trace.single_steps() {
            // Whatever the processor does not mark as something else.
            let before = self.cpu.activity().enter(Doing::Interpret);
            let exit = self.cpu.run(&mut self.bus, budget);
            self.cpu.activity().leave(before);
            return exit;
        }
        for _ in 0..budget {
            self.bus.trace.instruction(&self.cpu);
            let from = (self.cpu.state.segs[1].selector, self.cpu.state.rip);
            let exceptions = self.cpu.stats.exceptions;
            let exit = self.cpu.run(&mut self.bus, 1);
            if self.bus.trace.interrupts() && self.cpu.stats.exceptions != exceptions {
                let now = self.now();
                self.bus.trace.exception(now, from, &self.cpu.state);
            }
            if !matches!(exit, Exit::Budget) {
                self.bus.trace.flush();
                return exit;
            }
        }
        Exit::Budget
    }

    /// What the chips asked for since the last look.
    fn serve_requests(&mut self) -> Option<Outcome> {
        let requests = self.bus.board.requests.clone();
        let status = self.bus.board.debug_exit.lock().status();
        if let Some(value) = status {
            return Some(Outcome::DebugExit(value));
        }
        if requests.power_off.take() {
            return Some(Outcome::PowerOff);
        }
        if requests.reset.take() {
            if !self.config.reboot {
                return Some(Outcome::Reset);
            }
            self.reset();
        }
        if requests.handoff.take()
            && let Some(payload) = &self.config.payload
        {
            if let Err(error) = payload.start(&self.layout, &mut self.cpu.state) {
                return Some(Outcome::Failed(error));
            }
            self.cpu.state.update_mode();
            self.cpu.flush();
            self.kvm.iter_mut().for_each(Kvm::changed);
            self.halted = false;
        }
        None
    }

    /// A reset. With a shutdown status in CMOS 0Fh the guest wants its processor alone restarted, to get back to real
    /// mode as on a PC/AT; otherwise the chips and the memory map are reset as well.
    pub fn reset(&mut self) {
        self.resets += 1;
        let now = self.now();
        if self.bus.board.shutdown_status() == 0 {
            self.bus.board.reset(now);
            self.layout.reset();
        }
        self.bus.board.reset_processor();
        self.cpu.reset();
        self.kvm.iter_mut().for_each(Kvm::changed);
        self.halted = false;
    }

    /// Runs until `done` says so (looked at after each slice), the machine stops, or `span` of guest time has passed.
    /// Returns whether `done` said so.
    ///
    /// # Errors
    /// The outcome, if the machine stopped for good.
    pub fn run_until(
        &mut self,
        mut done: impl FnMut(&mut Self) -> bool,
        span: Time,
    ) -> std::result::Result<bool, Outcome> {
        let limit = self.now().saturating_add(span);
        while self.now() < limit {
            if let Some(outcome) = self.slice(limit) {
                return Err(outcome);
            }
            if done(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands waiting input to the chips as far as they have room.
    fn feed(&mut self, now: Time) {
        if let Some(network) = &mut self.network {
            network.poll(now);
        }
        if !self.serial_in.is_empty() {
            let mut uart = self.bus.board.com[0].lock();
            if uart.receiver_ready() {
                let accepted = uart.push_rx(now, self.serial_in.make_contiguous());
                self.serial_in.drain(..accepted);
            }
        }
        if !self.keys.is_empty() {
            let mut keyboard = self.bus.board.keyboard.lock();
            while keyboard.key_room()
                && let Some((key, pressed)) = self.keys.pop_front()
            {
                keyboard.key(now, key, pressed);
            }
        }
    }

    /// Takes what the chips put out.
    fn collect(&mut self) {
        let sent = self.bus.board.com[0].lock().drain_tx();
        self.serial_out.extend(sent);
        for uart in &self.bus.board.com[1..] {
            // Nothing is plugged in there.
            uart.lock().drain_tx();
        }
        self.console_out.extend(self.bus.board.console.lock().drain());
        for (kept, taken) in [(&mut self.serial_out, Some(&mut self.serial_taken)), (&mut self.console_out, None)] {
            if kept.len() > SERIAL_KEPT {
                let drop = kept.len() - SERIAL_KEPT / 2;
                kept.drain(..drop);
                if let Some(taken) = taken {
                    *taken = taken.saturating_sub(drop);
                    self.serial_dropped += drop as u64;
                }
            }
        }
    }

    /// Bytes for COM1. They wait until the guest listens. Returns how many were taken.
    pub fn serial_input(&mut self, bytes: &[u8]) -> usize {
        let room = SERIAL_WAITING.saturating_sub(self.serial_in.len()).min(bytes.len());
        self.serial_in.extend(&bytes[..room]);
        room
    }

    /// Room for serial input.
    pub fn serial_room(&self) -> usize {
        SERIAL_WAITING.saturating_sub(self.serial_in.len())
    }

    /// What the guest sent on COM1 since the last call.
    pub fn take_serial(&mut self) -> Vec<u8> {
        let new = self.serial_out.get(self.serial_taken..).unwrap_or(&[]).to_vec();
        self.serial_taken = self.serial_out.len();
        new
    }

    /// What the guest sent on COM1, up to the last megabytes of it.
    pub fn serial_output(&self) -> &[u8] {
        &self.serial_out
    }

    /// What the guest sent on COM1 from `position` (counted from power-on) on, and the position of its first byte,
    /// which is later if that much is not kept any more.
    pub fn serial_from(&self, position: u64) -> (u64, &[u8]) {
        let skip = usize::try_from(position.saturating_sub(self.serial_dropped)).unwrap_or(usize::MAX);
        let skip = skip.min(self.serial_out.len());
        (self.serial_dropped + skip as u64, &self.serial_out[skip..])
    }

    /// [`Machine::serial_output`] as text.
    pub fn serial_text(&self) -> String {
        String::from_utf8_lossy(&self.serial_out).into_owned()
    }

    /// What the guest wrote to the debug console, up to the last megabytes of it.
    pub fn console_text(&self) -> String {
        String::from_utf8_lossy(&self.console_out).into_owned()
    }

    /// How many bytes [`Machine::console_text`] is made of.
    pub fn console_length(&self) -> usize {
        self.console_out.len()
    }

    /// The bytes written to the POST port, if the configuration names one.
    pub fn post_codes(&self) -> &[u8] {
        &self.bus.post.1
    }

    /// The text screen; `None` in graphics modes.
    pub fn screen(&self) -> Option<TextScreen> {
        self.bus.board.vga.lock().text_screen()
    }

    /// The text screen as lines without trailing blanks; empty in graphics modes.
    pub fn screen_text(&self) -> String {
        let rows = self.screen().map(|s| s.rows).unwrap_or_default();
        rows.iter().map(|row| format!("{}\n", row.trim_end())).collect()
    }

    /// The picture on the screen.
    pub fn frame(&self) -> Frame {
        self.bus.board.vga.lock().render(self.now())
    }

    /// Moves the mouse right and away from the user, and sets its buttons.
    pub fn mouse(&mut self, right: i32, away: i32, buttons: Buttons) {
        let now = self.now();
        self.bus.board.keyboard.lock().mouse(now, right, away, 0, buttons);
    }

    /// As [`Machine::mouse`], with the wheel towards the user.
    pub fn move_mouse(&mut self, right: i32, away: i32, wheel: i32, buttons: Buttons) {
        let now = self.now();
        self.bus.board.keyboard.lock().mouse(now, right, away, wheel, buttons);
    }

    /// Whether the pixels of the picture are meant to be square; the VGA's own modes fill a screen of 4:3.
    pub fn has_square_pixels(&self) -> bool {
        self.bus.board.vga.lock().has_square_pixels()
    }

    /// Whether the keys that wait for the guest are few.
    pub fn key_room(&self) -> bool {
        self.keys.len() < KEYS_WAITING
    }

    /// Stops guest time, or lets it go on. A machine that is paused must not be given slices.
    pub fn pause(&mut self, paused: bool) {
        self.bus.clock.stop(paused);
    }

    /// Whether guest time stands still.
    pub fn is_paused(&self) -> bool {
        self.bus.clock.is_stopped()
    }

    /// Presses or releases a key.
    pub fn key(&mut self, key: KeyCode, pressed: bool) {
        self.keys.push_back((key, pressed));
    }

    /// Types `text` on the keyboard, as on a US layout. Characters that it does not have are left out.
    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            if let Some(strokes) = keys::strokes(c) {
                self.keys.extend(strokes);
            }
        }
    }
}
