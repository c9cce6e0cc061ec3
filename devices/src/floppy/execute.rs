//! The commands of the 82077AA and how they move sectors.

use super::drive::SECTOR;
use super::spec::{ACCESS, EIS, ENHANCED, RECALIBRATE_STEPS, command as c, dor, st0, st1, st2, st3};
use super::{FloppyController, Phase};
use crate::Time;

/// What a transfer does with its sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    ReadDeleted,
    ReadTrack,
    Write,
    Verify,
    Format,
    Scan(u8),
    ReadId,
}

/// A command in its execution phase.
#[derive(Debug)]
pub(super) struct Transfer {
    action: Action,
    drive: u8,
    /// Head selected, which is what the result's ST0 shows.
    head: u8,
    multi_track: bool,
    skip: bool,
    /// The sector being looked for: cylinder, head, record, size code.
    id: [u8; 4],
    end_of_track: u8,
    /// Sectors left, for format and counted verify; step, for scan.
    count: u8,
    fill: u8,
    buffer: [u8; SECTOR],
    position: usize,
    status: [u8; 3],
    /// Terminal count came.
    ended: bool,
}

impl Transfer {
    /// The host reads rather than writes.
    pub(super) fn to_host(&self) -> bool {
        matches!(self.action, Action::Read | Action::ReadDeleted | Action::ReadTrack | Action::ReadId | Action::Verify)
    }

    /// The seven result bytes.
    fn result(&self) -> [u8; 7] {
        let [status0, status1, status2] = self.status;
        let [cylinder, head, record, size] = self.id;
        [status0 | self.drive | self.head << 2, status1, status2, cylinder, head, record, size]
    }

    /// Goes on to the next sector as the result table has it; whether the cylinder's end was passed.
    fn next_sector(&mut self) -> bool {
        let step = if matches!(self.action, Action::Scan(_)) { self.count.max(1) } else { 1 };
        let passed = self.id[2] >= self.end_of_track;
        if !passed {
            self.id[2] = self.id[2].saturating_add(step);
            return false;
        }
        self.id[2] = 1;
        if !self.multi_track {
            self.id[0] = self.id[0].wrapping_add(1);
            return true;
        }
        self.id[1] ^= 1;
        self.head ^= 1;
        let both_done = self.id[1] & 1 == 0;
        if both_done {
            self.id[0] = self.id[0].wrapping_add(1);
        }
        both_done
    }
}

impl FloppyController {
    /// Runs a complete command.
    pub(super) fn execute(&mut self, now: Time, command: &[u8]) {
        let first = command[0];
        let parameter = |i: usize| command.get(i).copied().unwrap_or(0);
        match first & 0x1F {
            c::SPECIFY => {
                self.specify = [parameter(1), parameter(2)];
                self.answer(&[]);
            }
            c::CONFIGURE => {
                self.configure = [parameter(2), parameter(3)];
                self.answer(&[]);
            }
            c::PERPENDICULAR => {
                // The drive bits change only under the overwrite bit.
                let value = parameter(1);
                let drives = if value & 0x80 != 0 { value & 0x3C } else { self.perpendicular & 0x3C };
                self.perpendicular = drives | value & 3;
                self.answer(&[]);
            }
            c::LOCK => {
                self.locked = first & 0x80 != 0;
                self.answer(&[u8::from(self.locked) << 4]);
            }
            c::VERSION => self.answer(&[ENHANCED]),
            c::DUMPREG => self.dump_registers(),
            c::SENSE_INTERRUPT => self.sense_interrupt(),
            c::SENSE_DRIVE => {
                let unit = parameter(1) & 7;
                let drive = &self.drives[usize::from(unit & 3)];
                let track_0 = drive.present && drive.cylinder == 0;
                let status = st3::FIXED
                    | unit
                    | if track_0 { st3::T0 } else { 0 }
                    | if drive.write_protected() { st3::WP } else { 0 };
                self.answer(&[status]);
            }
            c::RECALIBRATE => self.recalibrate(now, parameter(1) & 3),
            c::SEEK => {
                let drive = parameter(1) & 3;
                let from = self.drives[usize::from(drive)].cylinder;
                let target = match (first & 0x80 != 0, first & c::MFM != 0) {
                    (false, _) => parameter(2),
                    (true, true) => from.saturating_add(parameter(2)),
                    (true, false) => from.saturating_sub(parameter(2)),
                };
                self.seek(now, drive, target, st0::SE | parameter(1) & 7);
                self.answer(&[]);
            }
            _ => self.start_transfer(now, command),
        }
    }

    fn dump_registers(&mut self) {
        let cylinder = |i: usize| self.drives[i].cylinder;
        let bytes = [
            cylinder(0),
            cylinder(1),
            cylinder(2),
            cylinder(3),
            self.specify[0],
            self.specify[1],
            self.last_end_of_track,
            u8::from(self.locked) << 7 | self.perpendicular & 0x3F,
            self.configure[0],
            self.configure[1],
        ];
        self.answer(&bytes);
    }

    fn sense_interrupt(&mut self) {
        let status = self.reports.iter_mut().find_map(Option::take);
        // The first sense after a reset ends that interrupt; seeks have one each.
        self.interrupt = self.reports.iter().flatten().any(|status| status & st0::POLLING != st0::POLLING);
        match status {
            Some(status) => {
                let cylinder = self.drives[usize::from(status & 3)].cylinder;
                self.answer(&[status, cylinder]);
            }
            None => self.answer(&[st0::INVALID]),
        }
    }

    /// Time of one step pulse.
    fn step_time(&self) -> Time {
        let steps = u64::from(16 - (self.specify[0] >> 4));
        // In units of half a millisecond at 1 Mb/s, in proportion at lower rates.
        let unit = [1_000_000, 1_670_000, 2_000_000, 500_000][usize::from(self.rate & 3)];
        steps * unit
    }

    fn seek(&mut self, now: Time, drive: u8, target: u8, status: u8) {
        let index = usize::from(drive & 3);
        let distance = u64::from(self.drives[index].cylinder.abs_diff(target));
        let done = now.saturating_add(ACCESS + distance * self.step_time());
        if distance > 0 {
            self.drives[index].step_to(target);
        }
        self.seeks[index] = Some((done, status));
    }

    fn recalibrate(&mut self, now: Time, drive: u8) {
        let slot = &self.drives[usize::from(drive)];
        let steps = if slot.present { slot.cylinder } else { RECALIBRATE_STEPS };
        let found = slot.present && steps <= RECALIBRATE_STEPS;
        if found {
            self.seek(now, drive, 0, st0::SE | drive);
        } else {
            let target = self.drives[usize::from(drive)].cylinder.saturating_sub(RECALIBRATE_STEPS);
            self.seek(now, drive, target, st0::ABNORMAL | st0::SE | st0::EC | drive);
        }
        self.answer(&[]);
    }

    fn start_transfer(&mut self, now: Time, command: &[u8]) {
        let first = command[0];
        let parameter = |i: usize| command.get(i).copied().unwrap_or(0);
        let action = match first & 0x1F {
            c::READ => Action::Read,
            c::READ_DELETED => Action::ReadDeleted,
            c::READ_TRACK => Action::ReadTrack,
            c::WRITE | c::WRITE_DELETED => Action::Write,
            c::VERIFY => Action::Verify,
            c::FORMAT => Action::Format,
            c::READ_ID => Action::ReadId,
            scan => Action::Scan(scan),
        };
        let unit = parameter(1);
        let mut transfer = Transfer {
            action,
            drive: unit & 3,
            head: unit >> 2 & 1,
            multi_track: first & c::MT != 0,
            skip: first & c::SK != 0,
            id: [parameter(2), parameter(3), parameter(4), parameter(5)],
            end_of_track: parameter(6),
            count: parameter(8),
            fill: 0,
            buffer: [0; SECTOR],
            position: 0,
            status: [0; 3],
            ended: false,
        };
        match action {
            Action::Format => {
                transfer.id = [0, 0, 0, parameter(2)];
                (transfer.count, transfer.fill) = (parameter(3), parameter(5));
            }
            Action::ReadTrack => transfer.id[2] = 1,
            // Without the enable count bit a verify runs to the end of the track.
            Action::Verify if unit & 0x80 == 0 => transfer.count = 0,
            _ => {}
        }
        let drive = &self.drives[usize::from(transfer.drive)];
        let mut delay = ACCESS;
        let seeks = self.seeks_unasked || self.configure[0] & EIS != 0;
        if seeks && drive.present && !matches!(action, Action::Format | Action::ReadId) {
            let target = transfer.id[0];
            let distance = u64::from(drive.cylinder.abs_diff(target));
            delay += distance * self.step_time();
            if distance > 0 {
                self.drives[usize::from(transfer.drive)].step_to(target);
            }
        }
        self.phase = Phase::Execution;
        // Without a turning disk there are no index pulses to count: the command never ends but by reset.
        let spinning = self.dor & dor::MOT_EN0 << transfer.drive != 0;
        let turning = spinning && self.drives[usize::from(transfer.drive)].disk.is_some();
        self.ready_at = Some(if turning { now.saturating_add(delay) } else { Time::MAX });
        self.last_end_of_track = if action == Action::Format { transfer.count } else { transfer.end_of_track };
        self.normal_end = None;
        self.transfer = Some(transfer);
    }

    /// The head is over the first sector.
    pub(super) fn begin_data(&mut self) {
        let Some(transfer) = &self.transfer else { return };
        let drive = &self.drives[usize::from(transfer.drive)];
        let Some(disk) = &drive.disk else { return };
        let formatted = drive.cylinder < disk.geometry.cylinders && transfer.head < disk.geometry.heads;
        if !disk.geometry.rate_fits(self.rate) || !formatted {
            self.fail(st1::MA, 0);
        } else if matches!(transfer.action, Action::Write | Action::Format) && drive.write_protected() {
            self.fail(st1::NW, 0);
        } else if transfer.action == Action::ReadId {
            let (cylinder, head) = (drive.cylinder, transfer.head);
            if let Some(transfer) = &mut self.transfer {
                transfer.id = [cylinder, head, 1, 2];
            }
            self.finish();
        } else if transfer.action == Action::Format {
            if transfer.count == 0 {
                self.finish();
            }
        } else {
            self.begin_sector();
        }
    }

    /// Finds the sector the transfer stands at; reads it if that is wanted.
    fn begin_sector(&mut self) {
        loop {
            let Some(transfer) = &mut self.transfer else { return };
            let drive = &mut self.drives[usize::from(transfer.drive)];
            let Some(disk) = &mut drive.disk else { return };
            let [cylinder, head, record, size] = transfer.id;
            let here = (drive.cylinder, transfer.head, record);
            let found = head == transfer.head && size == 2 && disk.has(here.0, here.1, here.2);
            if transfer.action == Action::ReadTrack {
                if !found || cylinder != drive.cylinder {
                    // Reading a track ignores what the address marks say, but reports it.
                    transfer.status[1] |= st1::ND;
                }
            } else if cylinder != drive.cylinder {
                self.fail(st1::ND, st2::WC);
                return;
            } else if !found {
                self.fail(st1::ND, 0);
                return;
            }
            transfer.position = 0;
            if transfer.action == Action::Write {
                transfer.buffer = [0; SECTOR];
                return;
            }
            if transfer.action == Action::ReadDeleted {
                // No image holds deleted data, so this is always the other kind.
                transfer.status[2] |= st2::CM;
                if transfer.skip {
                    if transfer.next_sector() {
                        self.fail(st1::EN, 0);
                        return;
                    }
                    continue;
                }
            }
            match disk.read(here) {
                Ok(data) => transfer.buffer = data,
                Err(error) => {
                    log::warn!("floppy: reading sector {here:?}: {error}");
                    self.fail(st1::DE, st2::DD);
                    return;
                }
            }
            if transfer.action != Action::Verify {
                return;
            }
            // Verify reads without moving data.
            let last = transfer.count == 1;
            transfer.count = transfer.count.saturating_sub(1);
            let passed = transfer.next_sector();
            if last || passed {
                self.finish();
                return;
            }
        }
    }

    /// The next byte for the host.
    pub(super) fn take_byte(&mut self) -> u8 {
        let Some(transfer) = &mut self.transfer else { return 0 };
        let byte = transfer.buffer.get(transfer.position).copied().unwrap_or(0);
        transfer.position += 1;
        if transfer.position >= SECTOR {
            self.end_sector();
        }
        byte
    }

    /// The next byte from the host.
    pub(super) fn give_byte(&mut self, byte: u8) {
        let Some(transfer) = &mut self.transfer else { return };
        match transfer.action {
            Action::Format => {
                if let Some(place) = transfer.id.get_mut(transfer.position) {
                    *place = byte;
                }
                transfer.position += 1;
                if transfer.position == 4 {
                    self.format_sector();
                }
            }
            Action::Scan(code) => {
                let disk = transfer.buffer.get(transfer.position).copied().unwrap_or(0);
                // FFh from either side matches anything.
                if disk != byte && disk != 0xFF && byte != 0xFF {
                    transfer.status[2] &= !st2::SH;
                    let satisfied = match code {
                        c::SCAN_LOW => disk < byte,
                        c::SCAN_HIGH => disk > byte,
                        _ => false,
                    };
                    if !satisfied {
                        transfer.status[2] |= st2::SN;
                    }
                } else if transfer.position == 0 {
                    transfer.status[2] |= st2::SH;
                }
                transfer.position += 1;
                if transfer.position >= SECTOR {
                    self.end_sector();
                }
            }
            _ => {
                if let Some(place) = transfer.buffer.get_mut(transfer.position) {
                    *place = byte;
                }
                transfer.position += 1;
                if transfer.position >= SECTOR {
                    self.end_sector();
                }
            }
        }
    }

    fn format_sector(&mut self) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.position = 0;
        transfer.count = transfer.count.saturating_sub(1);
        let drive = &mut self.drives[usize::from(transfer.drive)];
        let here = (drive.cylinder, transfer.head, transfer.id[2]);
        let result = drive.disk.as_mut().map(|disk| disk.write(here, &[transfer.fill; SECTOR]));
        if let Some(Err(error)) = result {
            log::warn!("floppy: formatting sector {here:?}: {error}");
            self.fail(st1::DE, 0);
        } else if self.transfer.as_ref().is_some_and(|t| t.count == 0) {
            self.finish();
        }
    }

    /// A whole sector went by: store it if it was written, then go on, or stop.
    fn end_sector(&mut self) {
        let Some(transfer) = &mut self.transfer else { return };
        let drive = &mut self.drives[usize::from(transfer.drive)];
        if transfer.action == Action::Write {
            let here = (drive.cylinder, transfer.head, transfer.id[2]);
            let result = drive.disk.as_mut().map(|disk| disk.write(here, &transfer.buffer));
            if let Some(Err(error)) = result {
                log::warn!("floppy: writing sector {here:?}: {error}");
                self.fail(st1::DE, st2::DD);
                return;
            }
        }
        let met = matches!(transfer.action, Action::Scan(_)) && transfer.status[2] & st2::SN == 0;
        let stop = transfer.ended || met || transfer.action == Action::ReadDeleted;
        let before = (transfer.id, transfer.head);
        let passed = transfer.next_sector();
        if stop {
            if met {
                (transfer.id, transfer.head) = before;
            }
            self.finish();
            return;
        }
        let scan = matches!(transfer.action, Action::Scan(_));
        if scan {
            if passed {
                self.finish();
            } else {
                transfer.status[2] = 0;
                self.begin_sector();
            }
            return;
        }
        // Terminal count may still come with the byte just moved: then what lies beyond does not matter.
        let normal = transfer.result();
        self.unsafe_write = false;
        if passed {
            self.fail(st1::EN, 0);
        } else {
            self.begin_sector();
        }
        self.normal_end = (!self.unsafe_write).then_some(normal);
    }

    /// Terminal count: the sector under the head is the last one.
    pub(super) fn end_of_transfer(&mut self) {
        let normal = self.normal_end.take();
        let Some(transfer) = &mut self.transfer else {
            if self.phase == Phase::Result
                && let Some(normal) = normal
            {
                self.answer(&normal);
            }
            return;
        };
        transfer.ended = true;
        if transfer.action == Action::Format || transfer.position == 0 {
            // At a sector's start it came with the last byte of the sector before.
            self.finish();
        } else {
            // The rest of the sector is read and dropped, or written as zeros.
            transfer.position = SECTOR;
            self.end_sector();
        }
    }

    fn fail(&mut self, status1: u8, status2: u8) {
        if let Some(transfer) = &mut self.transfer {
            transfer.status[0] |= st0::ABNORMAL;
            transfer.status[1] |= status1;
            transfer.status[2] |= status2;
        }
        self.finish();
    }

    fn finish(&mut self) {
        let Some(mut transfer) = self.transfer.take() else { return };
        if matches!(transfer.action, Action::Write | Action::Format) {
            // A command that wrote is over when what it wrote is safe.
            let drive = &mut self.drives[usize::from(transfer.drive)];
            if let Some(Err(error)) = drive.disk.as_mut().map(|disk| disk.media.flush()) {
                log::warn!("floppy: making drive {} durable: {error}", transfer.drive);
                transfer.status[0] |= st0::ABNORMAL;
                transfer.status[1] |= st1::DE;
                self.unsafe_write = true;
            }
        }
        self.answer(&transfer.result());
        self.interrupt = true;
    }
}
