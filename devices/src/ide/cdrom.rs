//! The packet commands of a CD-ROM drive.

use crate::BlockMedia;
use crate::once::Reported;

use super::sector::{self, msf, part};
use super::spec::{packet, sense, sense::Sense};

/// Bytes in a block.
pub(super) const BLOCK: usize = 2048;

/// What a packet leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, without data.
    Done,
    /// These bytes go to the host.
    Data(Vec<u8>),
    /// Blocks go to the host, in the parts that the drive notes: first, count.
    Blocks(u32, u32),
    /// So many bytes come from the host, and change nothing.
    Accept(usize),
    /// Check condition.
    Check(Sense),
}

/// A CD-ROM drive.
#[derive(Default)]
pub(super) struct Cdrom {
    media: Option<Box<dyn BlockMedia>>,
    /// Reported once, before anything else.
    attention: Option<Sense>,
    pub(super) sense: Sense,
    locked: bool,
    /// The guest asked for the tray to open; the owner has not acted on it yet.
    pub(super) eject_requested: bool,
    event: bool,
    /// What of each block the command under way wants, as [`part`] has it.
    parts: u8,
    unsupported: Reported,
}

impl std::fmt::Debug for Cdrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cdrom").field("loaded", &self.media.is_some()).field("locked", &self.locked).finish()
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    (0..4).fold(0, |value, i| value << 8 | u32::from(bytes.get(at + i).copied().unwrap_or(0)))
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    (be32(bytes, at) >> 16) as u16
}

/// Discs of more than this, in bytes, are DVDs: more than the longest CD holds.
const LONGEST_CD: u64 = 900 << 20;
/// Profiles of discs, as GET CONFIGURATION has them.
const CD_ROM: u16 = 0x0008;
const DVD_ROM: u16 = 0x0010;

/// A block's address in a reply: in minutes, seconds and frames, or as its number.
fn address(block: u32, in_msf: bool) -> [u8; 4] {
    if in_msf {
        let [minute, second, frame] = msf(block);
        [0, minute, second, frame]
    } else {
        block.to_be_bytes()
    }
}

impl Cdrom {
    pub(super) fn new(media: Option<Box<dyn BlockMedia>>) -> Self {
        Self { media, attention: Some(sense::RESET), ..Self::default() }
    }

    pub(super) fn insert(&mut self, media: Option<Box<dyn BlockMedia>>) -> Option<Box<dyn BlockMedia>> {
        self.attention = Some(sense::MEDIUM_CHANGED);
        self.event = true;
        std::mem::replace(&mut self.media, media)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    fn blocks(&self) -> Option<u32> {
        self.media.as_ref().map(|media| (media.len().div_ceil(BLOCK as u64)).min(u64::from(u32::MAX)) as u32)
    }

    /// The profile of the disc that is in the drive.
    fn profile(&self) -> Option<u16> {
        let media = self.media.as_ref()?;
        Some(if media.len() > LONGEST_CD { DVD_ROM } else { CD_ROM })
    }

    /// Reads one block, of which the parts that the command wants go behind `out`; a last one that the image holds only
    /// in part is filled up with zeros.
    pub(super) fn append_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), Sense> {
        let media = self.media.as_mut().ok_or(sense::NO_MEDIUM)?;
        let offset = u64::from(block) * BLOCK as u64;
        let held = media.len().saturating_sub(offset).min(BLOCK as u64) as usize;
        let mut data = [0; BLOCK];
        if held == 0 {
            return Err(sense::OUT_OF_RANGE);
        }
        media.read(offset, &mut data[..held]).map_err(|error| {
            log::warn!("cd-rom: reading block {block}: {error}");
            sense::READ_ERROR
        })?;
        sector::append(out, block, &data, self.parts);
        Ok(())
    }

    /// Executes a packet.
    pub(super) fn execute(&mut self, command: &[u8]) -> Outcome {
        let code = command.first().copied().unwrap_or(0);
        let answers_always = matches!(
            code,
            packet::INQUIRY | packet::REQUEST_SENSE | packet::GET_CONFIGURATION | packet::GET_EVENT_STATUS
        );
        if !answers_always && let Some(attention) = self.attention.take() {
            return Outcome::Check(attention);
        }
        let at = |i: usize| command.get(i).copied().unwrap_or(0);
        let limit16 = usize::from(be16(command, 7));
        self.parts = part::DATA;
        match code {
            packet::TEST_UNIT_READY => self.with_medium(|_| Outcome::Done),
            packet::REQUEST_SENSE => {
                let sense = self.attention.take().unwrap_or(std::mem::replace(&mut self.sense, sense::NONE));
                let mut data = vec![0; 18];
                (data[0], data[2], data[7], data[12], data[13]) = (0x70, sense[0], 10, sense[1], sense[2]);
                limited(data, usize::from(at(4)))
            }
            packet::INQUIRY => {
                // CD-ROM, removable, ATAPI format.
                let mut data = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
                data.extend_from_slice(b"RING86  CD-ROM          1.0 ");
                limited(data, usize::from(at(4)))
            }
            packet::START_STOP => {
                if at(4) & 3 == 2 {
                    if self.locked {
                        return Outcome::Check(sense::REMOVAL_PREVENTED);
                    }
                    self.eject_requested = true;
                }
                Outcome::Done
            }
            packet::PREVENT_ALLOW => {
                self.locked = at(4) & 1 != 0;
                Outcome::Done
            }
            packet::READ_CAPACITY => self.with_medium(|blocks| {
                let mut data = blocks.saturating_sub(1).to_be_bytes().to_vec();
                data.extend_from_slice(&(BLOCK as u32).to_be_bytes());
                Outcome::Data(data)
            }),
            packet::READ_10 => self.read(be32(command, 2), u32::from(be16(command, 7))),
            packet::READ_12 => self.read(be32(command, 2), be32(command, 6)),
            packet::READ_CD => {
                let count = be32(command, 5) & 0xFF_FFFF;
                self.read_cd(command, be32(command, 2), count)
            }
            packet::READ_CD_MSF => {
                let place = |i| (u32::from(at(i)) * 60 + u32::from(at(i + 1))) * 75 + u32::from(at(i + 2));
                match (place(3).checked_sub(150), place(6).checked_sub(place(3))) {
                    (Some(first), Some(count)) => self.read_cd(command, first, count),
                    (_, None) => Outcome::Check(sense::INVALID_FIELD),
                    (None, _) => Outcome::Check(sense::OUT_OF_RANGE),
                }
            }
            // An image has no speed.
            packet::SET_CD_SPEED => Outcome::Done,
            packet::READ_HEADER => {
                let (in_msf, block) = (at(1) & 2 != 0, be32(command, 2));
                self.with_medium(|blocks| {
                    if block >= blocks {
                        return Outcome::Check(sense::OUT_OF_RANGE);
                    }
                    // Mode 1.
                    limited([[1, 0, 0, 0], address(block, in_msf)].concat(), limit16)
                })
            }
            packet::SEEK_10 => self.with_medium(|blocks| {
                if be32(command, 2) < blocks { Outcome::Done } else { Outcome::Check(sense::OUT_OF_RANGE) }
            }),
            packet::READ_SUBCHANNEL => self.with_medium(|_| limited(vec![0, 0x15, 0, 0], limit16)),
            packet::READ_TOC => {
                // Older software puts the format into the control byte.
                let format = if at(2) & 0xF != 0 { at(2) & 0xF } else { at(9) >> 6 };
                let (in_msf, start) = (at(1) & 2 != 0, at(6));
                self.with_medium(|blocks| toc(format, in_msf, start, blocks, limit16))
            }
            packet::GET_CONFIGURATION => limited(self.configuration(at(1) & 3, be16(command, 2)), limit16),
            packet::GET_EVENT_STATUS => {
                if at(1) & 1 == 0 {
                    return Outcome::Check(sense::INVALID_FIELD);
                }
                let event = if std::mem::take(&mut self.event) { 2 } else { 0 };
                let present = if self.media.is_some() { 2 } else { 0 };
                limited(vec![0, 6, 4, 0x10, event, present, 0, 0], limit16)
            }
            packet::READ_DISC_INFORMATION => self.with_medium(|_| {
                // One complete session with one track.
                let mut data = vec![0; 34];
                (data[1], data[2], data[3], data[4], data[5], data[6]) = (32, 0x0E, 1, 1, 1, 1);
                limited(data, limit16)
            }),
            packet::READ_TRACK_INFORMATION => {
                // The track is named by a block in it, by its own number or by its session's.
                let (by_block, number) = (at(1) & 3 == 0, be32(command, 2));
                self.with_medium(|blocks| {
                    let known = if by_block { number < blocks } else { number == 1 };
                    if !known {
                        return Outcome::Check(sense::INVALID_FIELD);
                    }
                    // Track and session 1, data, mode 1, from block 0.
                    let mut data = vec![0; 36];
                    (data[1], data[2], data[3], data[5], data[6]) = (34, 1, 1, 4, 1);
                    data[24..28].copy_from_slice(&blocks.to_be_bytes());
                    limited(data, limit16)
                })
            }
            packet::MODE_SENSE_10 => self.mode_sense(at(2), limit16),
            // No field of a page can be changed.
            packet::MODE_SELECT_10 => Outcome::Accept(limit16),
            packet::MECHANISM_STATUS => limited(vec![0; 8], usize::from(be16(command, 8))),
            _ => {
                if self.unsupported.first(code) {
                    log::warn!("cd-rom: packet command {code:02X}h is not supported; it is refused");
                }
                Outcome::Check(sense::INVALID_COMMAND)
            }
        }
    }

    fn with_medium(&self, act: impl FnOnce(u32) -> Outcome) -> Outcome {
        self.blocks().map_or(Outcome::Check(sense::NO_MEDIUM), act)
    }

    fn read(&self, first: u32, count: u32) -> Outcome {
        self.with_medium(|blocks| match first.checked_add(count) {
            Some(_) if count == 0 => Outcome::Done,
            Some(end) if end <= blocks => Outcome::Blocks(first, count),
            _ => Outcome::Check(sense::OUT_OF_RANGE),
        })
    }

    /// READ CD and READ CD MSF, which say what of each sector is wanted: all sectors are mode 1.
    fn read_cd(&mut self, command: &[u8], first: u32, count: u32) -> Outcome {
        let at = |i: usize| command.get(i).copied().unwrap_or(0);
        if !matches!(at(1) >> 2 & 7, 0 | 2) {
            return Outcome::Check(sense::ILLEGAL_MODE);
        }
        // Mode 1 has no subheader. Neither error flags nor subchannels are in the image.
        let parts = at(9) & (part::SYNC | part::HEADER | part::DATA | part::EDC);
        if at(9) & 6 != 0 || at(10) & 7 != 0 || !sector::is_contiguous(parts) {
            return Outcome::Check(sense::INVALID_FIELD);
        }
        self.parts = parts;
        match self.read(first, count) {
            Outcome::Blocks(..) if parts == 0 => Outcome::Done,
            outcome => outcome,
        }
    }

    /// What GET CONFIGURATION says, from the feature `start` on: all features, only the current ones, or that one alone.
    fn configuration(&self, which: u8, start: u16) -> Vec<u8> {
        let profile = self.profile();
        let is = |wanted: u16| u8::from(profile == Some(wanted));
        let disc = u8::from(profile.is_some());
        let [dvd_high, dvd_low] = DVD_ROM.to_be_bytes();
        let [cd_high, cd_low] = CD_ROM.to_be_bytes();
        // Number, whether it is always current and whether it is now, and what belongs to it.
        let features: [(u16, u8, u8, Vec<u8>); 6] = [
            // Profiles.
            (0x0000, 1, 1, vec![dvd_high, dvd_low, is(DVD_ROM), 0, cd_high, cd_low, is(CD_ROM), 0]),
            // Core: ATAPI.
            (0x0001, 1, 1, vec![0, 0, 0, 2]),
            // Removable medium: a tray with a lock, which can be opened.
            (0x0003, 1, 1, vec![0x29, 0, 0, 0]),
            // Random readable: blocks of 2048 bytes, one at a time.
            (0x0010, 0, disc, vec![0, 0, 8, 0, 0, 1, 0, 0]),
            // CD read.
            (0x001E, 0, is(CD_ROM), vec![0; 4]),
            // DVD read.
            (0x001F, 0, is(DVD_ROM), vec![]),
        ];
        let mut data = vec![0; 8];
        data[6..].copy_from_slice(&profile.unwrap_or(0).to_be_bytes());
        for (number, persistent, current, more) in features {
            let wanted = match which {
                0 => number >= start,
                1 => number >= start && current != 0,
                _ => number == start,
            };
            if wanted {
                data.extend(number.to_be_bytes());
                data.extend([persistent << 1 | current, more.len() as u8]);
                data.extend(more);
            }
        }
        let length = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&length.to_be_bytes());
        data
    }

    fn mode_sense(&self, page: u8, limit: usize) -> Outcome {
        let medium = if self.media.is_some() { 0x01 } else { 0x70 };
        let mut data = vec![0, 0, medium, 0, 0, 0, 0, 0];
        let (recovery, capabilities) = (page & 0x3F == 0x01, page & 0x3F == 0x2A);
        let all = page & 0x3F == 0x3F;
        if !(recovery || capabilities || all) {
            return Outcome::Check(sense::INVALID_FIELD);
        }
        if recovery || all {
            data.extend_from_slice(&[0x01, 6, 0, 5, 0, 0, 0, 0]);
        }
        if capabilities || all {
            // DVD-ROM; tray, lock; 706 kB/s.
            let locked = u8::from(self.locked) << 1;
            data.extend_from_slice(&[
                0x2A,
                18,
                0x08,
                0,
                0x01,
                0,
                0x29 | locked,
                0,
                2,
                0xC2,
                0,
                2,
                0,
                0,
                2,
                0xC2,
                0,
                0,
                0,
                0,
            ]);
        }
        let length = (data.len() - 2) as u16;
        data[..2].copy_from_slice(&length.to_be_bytes());
        limited(data, limit)
    }
}

/// Data cut to the allocation length.
fn limited(mut data: Vec<u8>, limit: usize) -> Outcome {
    data.truncate(limit);
    if data.is_empty() { Outcome::Done } else { Outcome::Data(data) }
}

/// Table of contents of a disc with one data track.
fn toc(format: u8, in_msf: bool, start: u8, blocks: u32, limit: usize) -> Outcome {
    let mut data = vec![0, 0, 1, 1];
    match format {
        0 => {
            if start > 1 && start != 0xAA {
                return Outcome::Check(sense::INVALID_FIELD);
            }
            let tracks = [(1, 0), (0xAA, blocks)];
            for (track, block) in tracks.into_iter().filter(|&(track, _)| track >= start) {
                data.extend_from_slice(&[0, 0x14, track, 0]);
                data.extend_from_slice(&address(block, in_msf));
            }
        }
        1 => {
            data.extend_from_slice(&[0, 0x14, 1, 0]);
            data.extend_from_slice(&address(0, in_msf));
        }
        2 => {
            for (point, [minute, second, frame]) in
                [(0xA0, [1, 0, 0]), (0xA1, [1, 0, 0]), (0xA2, msf(blocks)), (1, msf(0))]
            {
                data.extend_from_slice(&[1, 0x14, 0, point, 0, 0, 0, 0, minute, second, frame]);
            }
        }
        _ => return Outcome::Check(sense::INVALID_FIELD),
    }
    let length = (data.len() - 2) as u16;
    data[..2].copy_from_slice(&length.to_be_bytes());
    limited(data, limit)
}
