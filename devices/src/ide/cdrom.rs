//! The packet commands of a CD-ROM drive.

use crate::BlockMedia;
use crate::once::Reported;

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
    /// Blocks go to the host: first, count.
    Blocks(u32, u32),
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

/// Minutes, seconds and frames of a block, with the two seconds before block 0.
fn msf(block: u32) -> [u8; 4] {
    let frames = block + 150;
    [0, (frames / 75 / 60) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
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

    /// Reads one block; a last one that the image holds only in part is filled up with zeros.
    pub(super) fn read_block(&mut self, block: u32) -> Result<[u8; BLOCK], Sense> {
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
        Ok(data)
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
            packet::GET_CONFIGURATION => {
                let profile = if self.media.is_some() { 0x0008u16 } else { 0 };
                let mut data = vec![0, 0, 0, 0x0C, 0, 0];
                data.extend_from_slice(&profile.to_be_bytes());
                // Profile list: CD-ROM, current if there is a disc.
                data.extend_from_slice(&[0, 0, 3, 4, 0, 8, u8::from(self.media.is_some()), 0]);
                limited(data, limit16)
            }
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
            packet::MODE_SENSE_10 => self.mode_sense(at(2), limit16),
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
            // Tray, lock; 706 kB/s.
            let locked = u8::from(self.locked) << 1;
            data.extend_from_slice(&[
                0x2A,
                18,
                0,
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
    let address = |block: u32| if in_msf { msf(block) } else { block.to_be_bytes() };
    let mut data = vec![0, 0, 1, 1];
    match format {
        0 => {
            if start > 1 && start != 0xAA {
                return Outcome::Check(sense::INVALID_FIELD);
            }
            let tracks = [(1, 0), (0xAA, blocks)];
            for (track, block) in tracks.into_iter().filter(|&(track, _)| track >= start) {
                data.extend_from_slice(&[0, 0x14, track, 0]);
                data.extend_from_slice(&address(block));
            }
        }
        1 => {
            data.extend_from_slice(&[0, 0x14, 1, 0]);
            data.extend_from_slice(&address(0));
        }
        2 => {
            for (point, [_, minute, second, frame]) in
                [(0xA0, [0, 1, 0, 0]), (0xA1, [0, 1, 0, 0]), (0xA2, msf(blocks)), (1, msf(0))]
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
