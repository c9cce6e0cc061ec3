//! A device on an IDE cable: its registers, and how commands move data.

use super::cdrom::Cdrom;
use super::disk::{Disk, Modes, SECTOR};
use super::identify;
use crate::once::Reported;

use super::spec::{command as c, control, device, error, status};

/// The registers that hold two bytes, latest first; the earlier one serves 48-bit commands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskFile {
    pub(super) features: [u8; 2],
    pub(super) count: [u8; 2],
    low: [u8; 2],
    pub(super) mid: [u8; 2],
    pub(super) high: [u8; 2],
}

fn push(register: &mut [u8; 2], value: u8) {
    *register = [value, register[0]];
}

#[derive(Debug)]
pub(super) enum Kind {
    Disk(Disk),
    Cdrom(Cdrom),
}

/// What the data register is for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    None,
    /// Sectors to the host: next address, how many are left after the buffer, block size.
    Read {
        lba: u64,
        left: u32,
        block: u32,
    },
    /// Sectors from the host: address of the buffer, how many are left with the buffer, block size.
    Write {
        lba: u64,
        left: u32,
        block: u32,
    },
    /// The sector buffer from the host.
    Buffer,
    /// A packet from the host.
    Packet,
    /// Packet data to the host: next block, how many are left after the buffer.
    PacketData {
        block: u32,
        left: u32,
    },
    /// Packet data from the host: bytes that are left, under PIO after those in the buffer.
    PacketAccept {
        left: usize,
    },
    /// Sectors by DMA.
    Dma {
        lba: u64,
        left: u32,
        to_memory: bool,
    },
}

/// A disk or CD-ROM drive.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) kind: Kind,
    pub(super) serial: String,
    pub(super) modes: Modes,
    pub(super) task: TaskFile,
    pub(super) select: u8,
    pub(super) status: u8,
    pub(super) error: u8,
    pub(super) interrupt: bool,
    pub(super) transfer: Transfer,
    pub(super) buffer: Vec<u8>,
    pub(super) position: usize,
    /// End of the present DRQ block in the buffer.
    pub(super) block_end: usize,
    /// Largest DRQ block of the packet command.
    pub(super) byte_limit: usize,
    /// The packet command's data move by DMA.
    pub(super) packet_dma: bool,
    /// The command before was READ NATIVE MAX ADDRESS, which SET MAX ADDRESS has to follow.
    asked_native: bool,
    unsupported: Reported,
}

impl Device {
    pub(super) fn new(kind: Kind, serial: &str) -> Self {
        let mut new = Self {
            kind,
            serial: serial.to_owned(),
            modes: Modes::default(),
            task: TaskFile::default(),
            select: 0,
            status: 0,
            error: 0,
            interrupt: false,
            transfer: Transfer::None,
            buffer: Vec::new(),
            position: 0,
            block_end: 0,
            byte_limit: 0,
            packet_dma: false,
            asked_native: false,
            unsupported: Reported::default(),
        };
        new.reset();
        new
    }

    pub(super) fn is_packet(&self) -> bool {
        matches!(self.kind, Kind::Cdrom(_))
    }

    /// Hardware reset.
    pub(super) fn hardware_reset(&mut self) {
        if let Kind::Disk(disk) = &mut self.kind {
            disk.show_all();
        }
        self.reset();
    }

    /// Software or hardware reset.
    pub(super) fn reset(&mut self) {
        self.signature();
        self.modes = Modes::default();
        self.asked_native = false;
        self.error = error::PASSED;
        self.select = 0;
        self.interrupt = false;
        if let Kind::Disk(disk) = &mut self.kind {
            disk.reset();
        }
    }

    /// The registers after reset tell the kind of device.
    pub(super) fn signature(&mut self) {
        let [mid, high] = if self.is_packet() { [0x14, 0xEB] } else { [0, 0] };
        let both = |value| [value, 0];
        self.task = TaskFile { features: [0; 2], count: both(1), low: both(1), mid: both(mid), high: both(high) };
        self.stop();
        self.status = if self.is_packet() { 0 } else { status::DRDY | status::DSC };
    }

    fn stop(&mut self) {
        self.transfer = Transfer::None;
        self.buffer.clear();
        (self.position, self.block_end) = (0, 0);
    }

    pub(super) fn status(&self) -> u8 {
        self.status
    }

    pub(super) fn error(&self) -> u8 {
        self.error
    }

    /// Reads count and address registers (2 to 5).
    pub(super) fn read_task(&self, register: u16, high_order: bool) -> u8 {
        let i = usize::from(high_order);
        match register {
            2 => self.task.count[i],
            3 => self.task.low[i],
            4 => self.task.mid[i],
            _ => self.task.high[i],
        }
    }

    /// Writes features, count and address registers (1 to 5).
    pub(super) fn write_task(&mut self, register: u16, value: u8) {
        if self.status & (status::BSY | status::DRQ) != 0 {
            return;
        }
        let task = &mut self.task;
        match register {
            1 => push(&mut task.features, value),
            2 => push(&mut task.count, value),
            3 => push(&mut task.low, value),
            4 => push(&mut task.mid, value),
            _ => push(&mut task.high, value),
        }
    }

    pub(super) fn done(&mut self) {
        self.stop();
        self.status = status::DRDY | status::DSC;
        self.error = 0;
        self.interrupt = true;
    }

    pub(super) fn fail(&mut self, cause: u8) {
        self.stop();
        self.status = status::DRDY | status::DSC | status::ERR;
        self.error = cause;
        self.interrupt = true;
    }

    /// Offers `self.buffer` from the start as one block.
    pub(super) fn offer(&mut self, interrupt: bool) {
        (self.position, self.block_end) = (0, self.buffer.len());
        self.status = status::DRDY | status::DSC | status::DRQ;
        self.error = 0;
        self.interrupt |= interrupt;
    }

    /// Runs a command.
    pub(super) fn command(&mut self, code: u8) {
        self.interrupt = false;
        if code == c::DEVICE_RESET {
            if self.is_packet() {
                self.signature();
                self.error = error::PASSED;
            } else {
                self.fail(error::ABRT);
            }
            return;
        }
        self.stop();
        if code == c::DIAGNOSTIC {
            self.signature();
            self.error = error::PASSED;
            self.interrupt = true;
        } else if self.is_packet() {
            self.packet_device_command(code);
        } else {
            self.disk_command(code);
        }
    }

    fn disk_command(&mut self, code: u8) {
        let Kind::Disk(disk) = &mut self.kind else { return };
        let asked_native = std::mem::take(&mut self.asked_native);
        let multiple = u32::from(disk.multiple());
        match code {
            0x10..=0x1F | 0x70..=0x7F => self.done(),
            c::READ | c::READ_ONCE => self.start_read(false, 1),
            c::READ_EXT => self.start_read(true, 1),
            c::READ_MULTIPLE | c::READ_MULTIPLE_EXT | c::WRITE_MULTIPLE | c::WRITE_MULTIPLE_EXT if multiple == 0 => {
                self.fail(error::ABRT);
            }
            c::READ_MULTIPLE => self.start_read(false, multiple),
            c::READ_MULTIPLE_EXT => self.start_read(true, multiple),
            c::WRITE | c::WRITE_ONCE => self.start_write(false, 1),
            c::WRITE_EXT => self.start_write(true, 1),
            c::WRITE_MULTIPLE => self.start_write(false, multiple),
            c::WRITE_MULTIPLE_EXT => self.start_write(true, multiple),
            c::READ_DMA | c::READ_DMA_ONCE => self.start_dma(false, true),
            c::READ_DMA_EXT => self.start_dma(true, true),
            c::WRITE_DMA | c::WRITE_DMA_ONCE => self.start_dma(false, false),
            c::WRITE_DMA_EXT => self.start_dma(true, false),
            c::VERIFY | c::VERIFY_ONCE => self.verify(false),
            c::VERIFY_EXT => self.verify(true),
            c::INITIALIZE_PARAMETERS => {
                let (heads, sectors) = (u16::from(self.select & 0xF) + 1, u16::from(self.task.count[0]));
                if disk.set_translation(heads, sectors) { self.done() } else { self.fail(error::ABRT) }
            }
            c::SET_MULTIPLE => {
                let count = self.task.count[0];
                if disk.set_multiple(count) { self.done() } else { self.fail(error::ABRT) }
            }
            c::FLUSH | c::FLUSH_EXT => match disk.media.flush() {
                Ok(()) => self.done(),
                Err(problem) => {
                    log::warn!("ide: flushing the disk: {problem}");
                    self.fail(error::ABRT);
                }
            },
            c::IDENTIFY => {
                self.buffer = identify::disk(disk, self.modes, &self.serial);
                self.transfer = Transfer::Read { lba: 0, left: 0, block: 1 };
                self.offer(true);
            }
            c::SET_FEATURES => {
                let accepted = match self.task.features[0] {
                    0x03 => self.modes.select(self.task.count[0]),
                    code @ (0x02 | 0x82) => match disk.set_cache(code == 0x02) {
                        Ok(()) => true,
                        Err(problem) => {
                            log::warn!("ide: flushing the disk: {problem}");
                            false
                        }
                    },
                    // Read look-ahead on and off, reverting to defaults on and off.
                    0xAA | 0x55 | 0x66 | 0xCC => true,
                    _ => false,
                };
                if accepted { self.done() } else { self.fail(error::ABRT) }
            }
            // Standby, idle, sleep, old and new codes.
            0x94..=0x97 | 0x99 | 0xE0..=0xE3 | 0xE6 => self.done(),
            c::CHECK_POWER | 0x98 => {
                self.task.count[0] = 0xFF;
                self.done();
            }
            c::READ_NATIVE_MAX | c::READ_NATIVE_MAX_EXT => {
                let last = disk.native_sectors().saturating_sub(1);
                let extended = code == c::READ_NATIVE_MAX_EXT;
                self.asked_native = true;
                self.select |= device::LBA;
                self.set_address(if extended { last } else { last.min(0x0FFF_FFFF) }, extended);
                self.done();
            }
            c::SET_MAX | c::SET_MAX_EXT => {
                // With the count's bit 0 it would have to outlive the power, for which there is no place.
                let possible = asked_native && self.task.count[0] & 1 == 0 && self.select & device::LBA != 0;
                let last = self.lba(code == c::SET_MAX_EXT);
                let Kind::Disk(disk) = &mut self.kind else { return };
                if !possible {
                    self.fail(error::ABRT);
                } else if disk.set_last(last) {
                    self.done();
                } else {
                    self.fail(error::IDNF);
                }
            }
            c::READ_BUFFER => {
                self.buffer = disk.sector_buffer.to_vec();
                self.transfer = Transfer::Read { lba: 0, left: 0, block: 1 };
                self.offer(true);
            }
            c::WRITE_BUFFER => {
                self.buffer.resize(SECTOR, 0);
                self.transfer = Transfer::Buffer;
                self.offer(false);
            }
            // Software tries these to find out what there is: a disk has no packet device's identification, and IDENTIFY
            // says that there is no SMART.
            c::IDENTIFY_PACKET | c::SMART => self.fail(error::ABRT),
            _ => {
                if self.unsupported.first(code) {
                    log::warn!("ide: command {code:02X}h is not supported; it is aborted");
                }
                self.fail(error::ABRT);
            }
        }
    }

    /// The logical address in the registers.
    fn lba(&self, extended: bool) -> u64 {
        let TaskFile { low, mid, high, .. } = self.task;
        if extended {
            u64::from_le_bytes([low[0], mid[0], high[0], low[1], mid[1], high[1], 0, 0])
        } else {
            u64::from(u32::from_le_bytes([low[0], mid[0], high[0], self.select & 0xF]))
        }
    }

    /// First sector and count that the registers name, if the disk has them all; else the address is reported.
    fn range(&mut self, extended: bool) -> Option<(u64, u32)> {
        let Kind::Disk(disk) = &self.kind else { return None };
        let TaskFile { count, low, mid, high, .. } = self.task;
        let word = |pair: [u8; 2]| u32::from(pair[1]) << 8 | u32::from(pair[0]);
        let (lba, count) = if extended {
            (Some(self.lba(true)), (word(count).wrapping_sub(1) & 0xFFFF) + 1)
        } else {
            let count = u32::from(count[0].wrapping_sub(1)) + 1;
            let head = self.select & 0xF;
            let lba = if self.select & device::LBA != 0 {
                Some(self.lba(false))
            } else {
                disk.chs(u16::from_le_bytes([mid[0], high[0]]), u16::from(head), u16::from(low[0]))
            };
            (lba, count)
        };
        let found = lba.filter(|lba| lba + u64::from(count) <= disk.sectors());
        if found.is_none() {
            self.fail(error::IDNF);
        }
        found.map(|lba| (lba, count))
    }

    /// Leaves an address in the registers, in the form the command used.
    fn set_address(&mut self, lba: u64, extended: bool) {
        let bytes = lba.to_le_bytes();
        if extended {
            (self.task.low, self.task.mid, self.task.high) =
                ([bytes[0], bytes[3]], [bytes[1], bytes[4]], [bytes[2], bytes[5]]);
        } else if self.select & device::LBA != 0 {
            (self.task.low[0], self.task.mid[0], self.task.high[0]) = (bytes[0], bytes[1], bytes[2]);
            self.select = self.select & 0xF0 | bytes[3] & 0xF;
        } else if let Kind::Disk(disk) = &self.kind {
            let (_, heads, sectors) = disk.geometry();
            let (track, sector) = (lba / u64::from(sectors.max(1)), lba % u64::from(sectors.max(1)));
            let (cylinder, head) = (track / u64::from(heads.max(1)), track % u64::from(heads.max(1)));
            self.task.low[0] = sector as u8 + 1;
            (self.task.mid[0], self.task.high[0]) = (cylinder as u8, (cylinder >> 8) as u8);
            self.select = self.select & 0xF0 | head as u8 & 0xF;
        }
    }

    fn start_read(&mut self, extended: bool, block: u32) {
        if let Some((lba, count)) = self.range(extended) {
            self.read_block(lba, count, block);
        }
    }

    /// Reads the next block into the buffer and offers it.
    fn read_block(&mut self, lba: u64, left: u32, block: u32) {
        let Kind::Disk(disk) = &mut self.kind else { return };
        let now = left.min(block);
        self.buffer.resize(now as usize * SECTOR, 0);
        if let Err(problem) = disk.read(lba, &mut self.buffer) {
            log::warn!("ide: reading {now} sectors at {lba}: {problem}");
            self.set_address(lba, false);
            self.fail(error::UNC);
            return;
        }
        self.transfer = Transfer::Read { lba: lba + u64::from(now), left: left - now, block };
        self.offer(true);
    }

    fn start_write(&mut self, extended: bool, block: u32) {
        if let Some((lba, count)) = self.range(extended) {
            if self.is_read_only() {
                self.fail(error::ABRT);
            } else {
                self.want_block(lba, count, block, false);
            }
        }
    }

    fn is_read_only(&self) -> bool {
        matches!(&self.kind, Kind::Disk(disk) if disk.media.read_only())
    }

    fn want_block(&mut self, lba: u64, left: u32, block: u32, interrupt: bool) {
        self.buffer.resize(left.min(block) as usize * SECTOR, 0);
        self.transfer = Transfer::Write { lba, left, block };
        self.offer(interrupt);
    }

    fn write_block(&mut self, lba: u64, left: u32, block: u32) {
        let Kind::Disk(disk) = &mut self.kind else { return };
        if let Err(problem) = disk.write(lba, &self.buffer) {
            log::warn!("ide: writing at sector {lba}: {problem}");
            self.set_address(lba, false);
            self.fail(error::IDNF);
            return;
        }
        let now = left.min(block);
        if left == now {
            self.end_write();
        } else {
            self.want_block(lba + u64::from(now), left - now, block, true);
        }
    }

    /// All sectors of a write command went to the media; whether that holds.
    fn end_write(&mut self) -> bool {
        let Kind::Disk(disk) = &mut self.kind else { return false };
        let settled = disk.settle();
        match &settled {
            Ok(()) => self.done(),
            Err(problem) => {
                log::warn!("ide: writing through: {problem}");
                self.fail(error::ABRT);
            }
        }
        settled.is_ok()
    }

    fn verify(&mut self, extended: bool) {
        if self.range(extended).is_some() {
            self.done();
        }
    }

    fn start_dma(&mut self, extended: bool, to_memory: bool) {
        if let Some((lba, left)) = self.range(extended) {
            if !to_memory && self.is_read_only() {
                self.fail(error::ABRT);
                return;
            }
            self.transfer = Transfer::Dma { lba, left, to_memory };
            self.status = status::DRDY | status::DSC | status::DRQ;
            self.error = 0;
        }
    }

    /// Whether a DMA command waits, and whether its data go to memory.
    pub(super) fn dma_direction(&self) -> Option<bool> {
        match self.transfer {
            Transfer::Dma { to_memory, .. } => Some(to_memory),
            Transfer::PacketData { .. } if self.packet_dma => Some(true),
            Transfer::PacketAccept { .. } if self.packet_dma => Some(false),
            _ => None,
        }
    }

    /// Bytes of the next piece of a DMA command, a sector at most.
    pub(super) fn dma_length(&self) -> usize {
        match self.transfer {
            Transfer::PacketData { .. } => self.buffer.len().saturating_sub(self.position).min(SECTOR),
            Transfer::PacketAccept { left } => left.min(SECTOR),
            _ => SECTOR,
        }
    }

    /// Moves one piece of a DMA command, which has [`Self::dma_length`] bytes; whether that went well.
    pub(super) fn dma_piece(&mut self, data: &mut [u8]) -> bool {
        let Transfer::Dma { lba, left, to_memory } = self.transfer else { return self.packet_dma_piece(data) };
        let Kind::Disk(disk) = &mut self.kind else { return false };
        let result = if to_memory { disk.read(lba, data) } else { disk.write(lba, data) };
        if let Err(problem) = result {
            log::warn!("ide: DMA at sector {lba}: {problem}");
            self.set_address(lba, false);
            self.fail(if to_memory { error::UNC } else { error::IDNF });
            return false;
        }
        if left == 1 && !to_memory {
            return self.end_write();
        } else if left == 1 {
            self.done();
        } else {
            self.transfer = Transfer::Dma { lba: lba + 1, left: left - 1, to_memory };
        }
        true
    }

    /// Reads the data register.
    pub(super) fn read_data(&mut self) -> u16 {
        let readable = match self.transfer {
            Transfer::Read { .. } => true,
            Transfer::PacketData { .. } => !self.packet_dma,
            _ => false,
        };
        if !readable {
            return 0xFFFF;
        }
        let byte = |i: usize| self.buffer.get(i).copied().unwrap_or(0);
        let value = u16::from_le_bytes([byte(self.position), byte(self.position + 1)]);
        self.position += 2;
        if self.position >= self.block_end {
            self.block_done();
        }
        value
    }

    /// Writes the data register.
    pub(super) fn write_data(&mut self, value: u16) {
        let writable = match self.transfer {
            Transfer::Write { .. } | Transfer::Buffer | Transfer::Packet => true,
            Transfer::PacketAccept { .. } => !self.packet_dma,
            _ => false,
        };
        if !writable {
            return;
        }
        for (place, byte) in self.buffer.iter_mut().skip(self.position).zip(value.to_le_bytes()) {
            *place = byte;
        }
        self.position += 2;
        if self.position >= self.block_end {
            self.block_done();
        }
    }

    fn block_done(&mut self) {
        match self.transfer {
            Transfer::Read { left: 0, .. } => {
                // The last block of a read ends without another interrupt.
                self.stop();
                self.status = status::DRDY | status::DSC;
            }
            Transfer::Read { lba, left, block } => self.read_block(lba, left, block),
            Transfer::Write { lba, left, block } => self.write_block(lba, left, block),
            Transfer::Buffer => {
                if let Kind::Disk(disk) = &mut self.kind {
                    for (place, byte) in disk.sector_buffer.iter_mut().zip(&self.buffer) {
                        *place = *byte;
                    }
                }
                self.done();
            }
            Transfer::Packet => self.run_packet(),
            Transfer::PacketData { block, left } => self.packet_data(block, left),
            Transfer::PacketAccept { left } => self.packet_accept(left),
            Transfer::None | Transfer::Dma { .. } => {}
        }
    }

    /// Which of the two bytes of a register HOB selects.
    pub(super) fn high_order(control_value: u8) -> bool {
        control_value & control::HOB != 0
    }
}
