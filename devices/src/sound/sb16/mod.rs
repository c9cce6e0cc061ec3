//! Creative's Sound Blaster 16: DSP 4.05, CT1745 mixer, YMF262 synthesizer and the UART mode of an MPU-401.
//!
//! There is no sound coming in: recording yields silence, and what is sent to a MIDI device is gone.

mod adpcm;
mod dsp;
mod mixer;
pub mod spec;
#[cfg(test)]
mod tests;
mod transfer;

use super::opl3::Opl3;
use super::{Step, Track};
use crate::{BytePorts, DmaPeer, IrqLine, Time, Timed};
use dsp::Dsp;
use mixer::Mixer;
use spec::{ADLIB_BASE, MPU_BASE, irq_status, mpu_command, mpu_status, port};
use std::collections::VecDeque;

/// Amplitude of the synthesizer against its 16-bit sum: single notes are soft beside samples.
const FM_GAIN: i32 = 2;

/// What is recorded.
const SILENCE: u16 = 0x80;

/// The MPU-401, which knows its UART mode.
#[derive(Debug, Default)]
struct Mpu {
    uart: bool,
    answers: VecDeque<u8>,
}

impl Mpu {
    fn command(&mut self, value: u8) {
        // Leaving UART mode is not acknowledged; other commands are not taken in it.
        let was_uart = self.uart;
        match value {
            mpu_command::RESET => self.uart = false,
            mpu_command::UART => self.uart = true,
            _ => {}
        }
        if !was_uart {
            self.answers = VecDeque::from([mpu_command::ACKNOWLEDGE]);
        }
    }

    fn status(&self) -> u8 {
        let no_data = if self.answers.is_empty() { mpu_status::NO_DATA } else { 0 };
        0x3F | no_data
    }
}

/// The card, at ports 220h to 22Fh, 330h and 331h, 388h to 38Bh.
#[derive(Debug)]
pub struct SoundBlaster {
    // Wiring.
    irqs: [IrqLine; 4],
    // Parts.
    dsp: Dsp,
    mixer: Mixer,
    fm: Opl3,
    mpu: Mpu,
    // Volatile state.
    /// Up to when transfers may ask for samples.
    now: Time,
    /// The level of the converter, left and right.
    level: [i32; 2],
    track: Track,
}

impl SoundBlaster {
    /// A card as after power-on. `irqs` are the lines that software chooses from: 9, 5, 7 and 10.
    pub fn new(irqs: [IrqLine; 4]) -> Self {
        let mut card = Self {
            irqs,
            dsp: Dsp::new(),
            mixer: Mixer::new(),
            fm: Opl3::new(),
            mpu: Mpu::default(),
            now: 0,
            level: [0; 2],
            track: Track::default(),
        };
        card.apply_volume(0);
        card
    }

    /// The system's reset.
    pub fn reset(&mut self, now: Time) {
        self.dsp = Dsp::new();
        self.mixer = Mixer::new();
        self.fm.reset(now);
        self.mpu = Mpu::default();
        self.level = [0; 2];
        self.apply_volume(now);
        self.drive_irqs();
    }

    /// Keeps what the card plays from now on.
    pub fn listen(&mut self) {
        self.track.listen();
        self.fm.listen();
    }

    /// Moves what the card played up to `now` to `steps`: the samples as far as they were fetched.
    pub fn hear(&mut self, now: Time, steps: &mut Vec<Step>) {
        self.track.take(steps);
        self.fm.hear(now, steps);
    }

    fn apply_volume(&mut self, now: Time) {
        let volume = self.mixer.volume(spec::mixer::FM).map(|v| v * FM_GAIN);
        self.fm.set_volume(now, volume);
    }

    /// Puts `level` out at `time`.
    fn play(&mut self, time: Time, level: [i32; 2]) {
        self.level = level;
        if self.track.is_heard() {
            let volume = self.mixer.volume(spec::mixer::VOICE);
            let scaled = |side: usize| ((i64::from(level[side]) * i64::from(volume[side])) >> 16) as i32;
            self.track.set(time, scaled(0), scaled(1));
        }
    }

    fn drive_irqs(&mut self) {
        let selected = self.mixer.irq();
        let high = self.dsp.interrupts != 0;
        for (i, line) in self.irqs.iter().enumerate() {
            line.set_level(high && selected == Some(i));
        }
    }

    fn acknowledge(&mut self, interrupt: u8) {
        self.dsp.interrupts &= !interrupt;
        self.drive_irqs();
    }

    // ------------------------------------------------------------------------------------------------------- DMA

    /// Whether the transfer's samples go over an 8-bit channel.
    fn is_narrow(&self) -> bool {
        let wide = self.dsp.transfer.as_ref().is_some_and(transfer::Transfer::is_wide);
        // Without a 16-bit channel, 16-bit samples come as two bytes each.
        !wide || self.mixer.dma_16().is_none()
    }

    /// The channel on which samples are due, as far as [`Timed::advance`] was told the time.
    pub fn dma_channel(&self) -> Option<u8> {
        if !self.dreq() {
            None
        } else if self.is_narrow() {
            self.mixer.dma_8()
        } else {
            self.mixer.dma_16()
        }
    }

    /// To be called when the DMA controller has served [`SoundBlaster::dma_channel`]: if samples are still due, it
    /// does not, and the card waits for it.
    pub fn served(&mut self) {
        if self.dreq()
            && let Some(transfer) = &mut self.dsp.transfer
        {
            transfer.stall();
        }
    }

    fn item(&mut self, now: Time, value: u16) {
        let narrow = self.is_narrow();
        let Some(transfer) = &mut self.dsp.transfer else { return };
        let interrupt = if transfer.is_wide() { irq_status::DMA_16 } else { irq_status::DMA_8 };
        let arrival = transfer.item(now, value, narrow);
        if arrival.done {
            self.dsp.transfer = None;
        }
        for (time, level) in arrival.levels.into_iter().flatten() {
            self.play(time, level);
        }
        if arrival.block_end {
            self.dsp.interrupts |= interrupt;
            self.drive_irqs();
        }
    }

    // ----------------------------------------------------------------------------------------------------- ports

    fn read_card(&mut self, now: Time, offset: u16) -> u8 {
        match offset {
            0..=3 | port::FM | 0x9 => self.fm.read8(now, offset),
            port::MIXER_INDEX => self.mixer.index,
            port::MIXER_DATA if self.mixer.index == spec::mixer::IRQ_STATUS => self.dsp.interrupts | irq_status::UPPER,
            port::MIXER_DATA => self.mixer.read(),
            port::READ => self.dsp.read(),
            // Always ready for the next byte.
            port::WRITE => 0x7F,
            port::READ_STATUS => {
                self.acknowledge(irq_status::DMA_8);
                if self.dsp.has_answer() { 0xFF } else { 0x7F }
            }
            port::ACKNOWLEDGE_16 => {
                self.acknowledge(irq_status::DMA_16);
                0xFF
            }
            _ => 0xFF,
        }
    }

    fn write_card(&mut self, now: Time, offset: u16, value: u8) {
        match offset {
            0..=3 | port::FM | 0x9 => self.fm.write8(now, offset, value),
            port::MIXER_INDEX => self.mixer.index = value,
            port::MIXER_DATA => {
                self.mixer.write(value);
                self.apply_volume(now);
                self.drive_irqs();
            }
            port::RESET => {
                self.dsp.reset_line(value & 1 != 0);
                self.drive_irqs();
            }
            port::WRITE => {
                if let Some(level) = self.dsp.write(now, value) {
                    self.play(now, [level; 2]);
                }
                self.drive_irqs();
            }
            _ => {}
        }
    }
}

impl BytePorts for SoundBlaster {
    fn read8(&mut self, now: Time, port: u16) -> u8 {
        self.advance(now);
        match port {
            MPU_BASE => self.mpu.answers.pop_front().unwrap_or(0xFF),
            port if port == MPU_BASE + 1 => self.mpu.status(),
            ADLIB_BASE..=0x38B => self.fm.read8(now, port),
            _ => self.read_card(now, port & 0xF),
        }
    }

    fn write8(&mut self, now: Time, port: u16, value: u8) {
        self.advance(now);
        match port {
            // Nobody is at the other end of the MIDI cable.
            MPU_BASE => {}
            port if port == MPU_BASE + 1 => self.mpu.command(value),
            ADLIB_BASE..=0x38B => self.fm.write8(now, port, value),
            _ => self.write_card(now, port & 0xF, value),
        }
    }
}

impl Timed for SoundBlaster {
    fn next_event(&self) -> Option<Time> {
        self.dsp.next_event()
    }

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        let before = self.dsp.interrupts;
        self.dsp.advance(now);
        if let Some(transfer) = &mut self.dsp.transfer {
            transfer.forgive(now);
        }
        if self.dsp.interrupts != before {
            self.drive_irqs();
        }
    }
}

impl DmaPeer for SoundBlaster {
    fn dreq(&self) -> bool {
        self.dsp.transfer.as_ref().is_some_and(|transfer| transfer.is_due(self.now))
    }

    /// Recording: silence.
    fn dma_take(&mut self, now: Time) -> u16 {
        self.item(now, SILENCE);
        SILENCE
    }

    fn dma_give(&mut self, now: Time, value: u16) {
        self.item(now, value);
    }

    fn terminal_count(&mut self, _now: Time) {}
}
