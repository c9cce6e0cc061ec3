//! 82077AA floppy disk controller with two drives.
//!
//! It moves data by DMA (it is a [`DmaPeer`]) or through its FIFO. After any port access, and after
//! [`Timed::advance`], the board lets the DMA controller run channel 2 if [`DmaPeer::dreq`] says so.

mod drive;
mod execute;
pub mod spec;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::clock::earliest;
use crate::{BlockMedia, BytePorts, DmaPeer, IrqLine, Time, Timed};
use drive::{Disk, Drive};
pub use drive::{Geometry, SECTOR};
use execute::Transfer;
use spec::{DSKCHG, POLL_DISABLE, RESET_TIME, dor, dsr, msr, register, st0};

/// Drives that can be connected.
pub const DRIVES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Command,
    Execution,
    Result,
}

/// The controller; it decodes the low three bits of the port, of which 6 is not its own.
#[derive(Debug)]
pub struct FloppyController {
    // Wiring.
    irq: IrqLine,
    // Parts.
    drives: [Drive; 4],
    // Volatile state.
    phase: Phase,
    command: Vec<u8>,
    result: VecDeque<u8>,
    transfer: Option<Transfer>,
    /// The result, should terminal count come with the byte that was moved last.
    normal_end: Option<[u8; 7]>,
    /// The host could not make durable what the last command wrote.
    unsafe_write: bool,
    last_end_of_track: u8,
    /// When the running command's execution gets to its data.
    ready_at: Option<Time>,
    dor: u8,
    tdr: u8,
    rate: u8,
    specify: [u8; 2],
    configure: [u8; 2],
    /// Transfers seek whether EIS says so or not.
    seeks_unasked: bool,
    perpendicular: u8,
    locked: bool,
    interrupt: bool,
    /// When reset is over.
    reset_at: Option<Time>,
    /// Seeks under way: when they end, and the ST0 they end with.
    seeks: [Option<(Time, u8)>; 4],
    /// What each drive has to say to SENSE INTERRUPT STATUS: the ST0 of a seek that is done, or what polling found after a
    /// reset. A seek's end takes the place of the latter, so that software that does not sense all drives after a reset
    /// (BSD's probes) gets the seek's.
    reports: [Option<u8>; 4],
}

impl FloppyController {
    /// From now on every transfer seeks to its cylinder, as emulators' controllers do without EIS: BIOSes written for them
    /// rely on it.
    pub fn seek_unasked(&mut self) {
        self.seeks_unasked = true;
    }

    /// A controller held in reset as after power-on, with `drives` (0 to 2) empty drives on its cable.
    pub fn new(irq: IrqLine, drives: usize) -> Self {
        let mut chip = Self {
            irq,
            drives: Default::default(),
            phase: Phase::Command,
            command: Vec::new(),
            result: VecDeque::new(),
            transfer: None,
            normal_end: None,
            unsafe_write: false,
            last_end_of_track: 0,
            ready_at: None,
            dor: 0,
            tdr: 0,
            rate: 2,
            specify: [0; 2],
            configure: [0; 2],
            seeks_unasked: false,
            perpendicular: 0,
            locked: false,
            interrupt: false,
            reset_at: None,
            seeks: [None; 4],
            reports: [None; 4],
        };
        for drive in chip.drives.iter_mut().take(drives.min(DRIVES)) {
            drive.present = true;
            drive.changed = true;
        }
        chip
    }

    /// Puts a disk into a drive, or takes it out; the old one comes back. A disk too long for any format, or for
    /// a drive that is not there, comes back itself.
    pub fn insert(&mut self, drive: usize, media: Option<Box<dyn BlockMedia>>) -> Option<Box<dyn BlockMedia>> {
        let Some(slot) = self.drives.get_mut(drive).filter(|slot| slot.present) else { return media };
        let disk = match media {
            Some(media) => match Geometry::of_length(media.len()) {
                Some(geometry) => Some(Disk { media, geometry }),
                None => return Some(media),
            },
            None => None,
        };
        slot.changed = true;
        std::mem::replace(&mut slot.disk, disk).map(|disk| disk.media)
    }

    /// The format of the disk in a drive.
    pub fn geometry(&self, drive: usize) -> Option<Geometry> {
        Some(self.drives.get(drive)?.disk.as_ref()?.geometry)
    }

    /// Whether a drive's motor is on: its light.
    pub fn motor(&self, drive: usize) -> bool {
        drive < DRIVES && self.dor & dor::MOT_EN0 << drive != 0
    }

    /// The system's reset: the controller goes back into reset, disks stay.
    pub fn reset(&mut self) {
        let drives = std::mem::take(&mut self.drives);
        *self = Self { drives, ..Self::new(self.irq.clone(), 0) };
        self.update_irq();
    }

    /// The chip's own reset, by DOR or DSR.
    fn chip_reset(&mut self) {
        self.phase = Phase::Command;
        self.command.clear();
        self.result.clear();
        (self.transfer, self.ready_at) = (None, None);
        (self.seeks, self.reports) = ([None; 4], [None; 4]);
        self.interrupt = false;
        self.specify[1] &= !1;
        if !self.locked {
            self.configure = [0; 2];
        }
        self.perpendicular &= 0x3C;
    }

    fn in_reset(&self) -> bool {
        self.dor & dor::RESET_N == 0 || self.reset_at.is_some()
    }

    fn update_irq(&mut self) {
        // Without DMA each byte of the execution phase asks for service.
        let service = self.non_dma() && self.data_ready();
        let gate = self.dor & dor::DMAGATE_N != 0;
        self.irq.set_level(gate && (self.interrupt || service));
    }

    fn non_dma(&self) -> bool {
        self.specify[1] & 1 != 0
    }

    /// The execution phase waits for the host's next byte.
    fn data_ready(&self) -> bool {
        self.phase == Phase::Execution && self.ready_at.is_none() && self.transfer.is_some()
    }

    fn main_status(&self) -> u8 {
        if self.in_reset() {
            return 0;
        }
        let busy = self.seeks.iter().enumerate().fold(0, |bits, (i, seek)| bits | u8::from(seek.is_some()) << i);
        busy | match self.phase {
            Phase::Command if self.command.is_empty() => msr::RQM,
            Phase::Command => msr::RQM | msr::CMD_BUSY,
            Phase::Result => msr::RQM | msr::DIO | msr::CMD_BUSY,
            Phase::Execution => {
                let mut status = msr::CMD_BUSY;
                if self.non_dma() {
                    status |= msr::NON_DMA;
                    if self.data_ready() {
                        status |= msr::RQM;
                    }
                }
                if self.transfer.as_ref().is_some_and(Transfer::to_host) {
                    status |= msr::DIO;
                }
                status
            }
        }
    }

    fn write_dor(&mut self, now: Time, value: u8) {
        let before = std::mem::replace(&mut self.dor, value);
        if value & dor::RESET_N == 0 {
            self.chip_reset();
            self.reset_at = None;
        } else if before & dor::RESET_N == 0 {
            self.reset_at = now.checked_add(RESET_TIME);
        }
    }

    fn write_dsr(&mut self, now: Time, value: u8) {
        self.rate = value & dsr::DRATESEL;
        if value & dsr::SW_RESET != 0 {
            self.chip_reset();
            if self.dor & dor::RESET_N != 0 {
                self.reset_at = now.checked_add(RESET_TIME);
            }
        }
    }

    fn end_reset(&mut self) {
        self.reset_at = None;
        if self.configure[0] & POLL_DISABLE == 0 {
            // Polling finds that every drive's ready line "changed".
            self.reports = [0, 1, 2, 3].map(|drive| Some(st0::POLLING | drive));
            self.interrupt = true;
        }
    }

    fn read_fifo(&mut self, now: Time) -> u8 {
        match self.phase {
            Phase::Execution if self.non_dma() && self.data_ready() => self.dma_take(now) as u8,
            Phase::Result => {
                self.interrupt = false;
                let byte = self.result.pop_front().unwrap_or(0);
                if self.result.is_empty() {
                    self.phase = Phase::Command;
                }
                byte
            }
            _ => 0,
        }
    }

    fn write_fifo(&mut self, now: Time, value: u8) {
        match self.phase {
            Phase::Execution if self.non_dma() && self.data_ready() => self.dma_give(now, u16::from(value)),
            Phase::Command if !self.in_reset() => {
                self.command.push(value);
                match spec::command_length(self.command[0]) {
                    Some(length) if self.command.len() < length => {}
                    Some(_) => {
                        let command = std::mem::take(&mut self.command);
                        self.execute(now, &command);
                    }
                    None => {
                        self.command.clear();
                        self.answer(&[st0::INVALID]);
                    }
                }
            }
            _ => {}
        }
    }

    /// Enters the result phase, without an interrupt.
    fn answer(&mut self, bytes: &[u8]) {
        self.result = bytes.iter().copied().collect();
        self.phase = if bytes.is_empty() { Phase::Command } else { Phase::Result };
        (self.transfer, self.ready_at) = (None, None);
    }

    fn selected(&self) -> usize {
        usize::from(self.dor & dor::DRIVE_SEL)
    }
}

impl Timed for FloppyController {
    fn next_event(&self) -> Option<Time> {
        let seek = self.seeks.iter().flatten().map(|&(at, _)| at).min();
        // A command that waits for a disk that does not turn waits for ever.
        let ready = self.ready_at.filter(|&at| at != Time::MAX);
        earliest(earliest(self.reset_at, ready), seek)
    }

    fn advance(&mut self, now: Time) {
        if self.reset_at.is_some_and(|at| at <= now) {
            self.end_reset();
        }
        for drive in 0..self.seeks.len() {
            if let Some((at, status)) = self.seeks[drive]
                && at <= now
            {
                self.seeks[drive] = None;
                self.reports[drive] = Some(status);
                self.interrupt = true;
            }
        }
        if self.ready_at.is_some_and(|at| at <= now) {
            self.ready_at = None;
            self.begin_data();
        }
        self.update_irq();
    }
}

impl DmaPeer for FloppyController {
    fn dreq(&self) -> bool {
        self.dor & dor::DMAGATE_N != 0 && !self.non_dma() && self.data_ready()
    }

    fn dma_take(&mut self, _now: Time) -> u16 {
        // A channel that runs the wrong way still counts bytes.
        let byte = if self.transfer.as_ref().is_some_and(Transfer::to_host) {
            self.take_byte()
        } else {
            self.give_byte(0xFF);
            0xFF
        };
        self.update_irq();
        u16::from(byte)
    }

    fn dma_give(&mut self, _now: Time, value: u16) {
        if self.transfer.as_ref().is_some_and(Transfer::to_host) {
            self.take_byte();
        } else {
            self.give_byte(value as u8);
        }
        self.update_irq();
    }

    fn terminal_count(&mut self, _now: Time) {
        self.end_of_transfer();
        self.update_irq();
    }
}

impl BytePorts for FloppyController {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        let value = match port & 7 {
            register::DOR => self.dor,
            register::TDR => self.tdr,
            register::MSR_DSR => self.main_status(),
            register::FIFO => self.read_fifo(now),
            register::DIR_CCR => {
                let drive = self.selected();
                let spinning = self.dor & dor::MOT_EN0 << drive != 0;
                if spinning && self.drives[drive].present && self.drives[drive].changed { DSKCHG } else { 0 }
            }
            // The status registers A and B exist in PS/2 mode only.
            _ => 0xFF,
        };
        self.advance(now);
        value
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port & 7 {
            register::DOR => self.write_dor(now, value),
            register::TDR => self.tdr = value & 3,
            register::MSR_DSR => self.write_dsr(now, value),
            register::FIFO => self.write_fifo(now, value),
            register::DIR_CCR => self.rate = value & dsr::DRATESEL,
            _ => {}
        }
        self.advance(now);
    }
}
