//! The CT1745 mixer: volumes, and which interrupt line and DMA channels the card uses.

use super::spec::mixer::{
    DMA, FM, IRQ, LAST, LINE_RIGHT, MASTER, OUTPUT_GAIN, PRO_CD, PRO_FM, PRO_LINE, PRO_MASTER, PRO_VOICE, RESET, VOICE,
};
use crate::sound::opl3::UNITY;

/// Amplitudes for attenuations of 0, 2, 4 ... 62 dB, in parts of [`UNITY`].
fn attenuated(level: u8) -> i64 {
    let steps = 31 - level.min(31);
    // 10^(-2/20) in each step.
    (0..steps).fold(f64::from(UNITY), |amplitude, _| amplitude * 0.794_328_234_724_281_5).round() as i64
}

/// Registers. Their names are offsets.
#[derive(Clone, Debug)]
pub(super) struct Mixer {
    pub(super) index: u8,
    /// Registers 30h to 47h.
    levels: [u8; 24],
    irq: u8,
    dma: u8,
}

/// Where the 4-bit volumes of a Sound Blaster Pro lie among the 5-bit ones.
fn pro(index: u8) -> Option<u8> {
    match index {
        PRO_VOICE => Some(VOICE),
        PRO_MASTER => Some(MASTER),
        PRO_FM => Some(FM),
        PRO_CD => Some(0x36),
        PRO_LINE => Some(0x38),
        _ => None,
    }
}

impl Mixer {
    /// As after power-on: interrupt line 5, DMA channels 1 and 5.
    pub(super) fn new() -> Self {
        let mut mixer = Self { index: 0, levels: [0; 24], irq: 0x02, dma: 0x22 };
        mixer.reset();
        mixer
    }

    /// Volumes as the guide gives them: master, voice and FM 14 dB below full, inputs off, tone flat.
    fn reset(&mut self) {
        self.levels = [0; 24];
        self.levels[..6].fill(24 << 3);
        // Output switches; tone controls in their middle.
        self.levels[0x3C - 0x30] = 0x1F;
        self.levels[0x3D - 0x30] = 0x15;
        self.levels[0x3E - 0x30] = 0x0B;
        self.levels[0x44 - 0x30..].fill(8 << 4);
    }

    fn level(&mut self, index: u8) -> Option<&mut u8> {
        self.levels.get_mut(usize::from(index.checked_sub(MASTER)?))
    }

    pub(super) fn read(&mut self) -> u8 {
        if let Some(left) = pro(self.index) {
            let [left, right] = [left, left + 1].map(|index| self.level(index).map_or(0, |level| *level) >> 4);
            return left << 4 | right;
        }
        match self.index {
            MASTER..=LAST => self.level(self.index).map_or(0xFF, |level| *level),
            IRQ => self.irq,
            DMA => self.dma,
            _ => 0xFF,
        }
    }

    pub(super) fn write(&mut self, value: u8) {
        let index = self.index;
        if let Some(left) = pro(index) {
            for (index, nibble) in [(left, value >> 4), (left + 1, value & 0xF)] {
                if let Some(level) = self.level(index) {
                    *level = nibble << 4 | 8;
                }
            }
            return;
        }
        // Only the implemented bits of each register read back.
        let implemented = match index {
            MASTER..=LINE_RIGHT | 0x3A => 0xF8,
            0x3C => 0x1F,
            0x3D | 0x3E => 0x7F,
            0x3B | 0x3F..=0x42 => 0xC0,
            0x43 => 0x01,
            0x44..=LAST => 0xF0,
            _ => 0,
        };
        match index {
            RESET => self.reset(),
            IRQ => self.irq = value & 0x0F,
            DMA => self.dma = value & 0xEB,
            _ => {
                if let Some(level) = self.level(index) {
                    *level = value & implemented;
                }
            }
        }
    }

    /// Amplitudes of the source whose left volume is register `source`, behind the master volume and the output gain.
    /// The amplifier is taken to make up for the 14 dB of the master volume after reset.
    pub(super) fn volume(&self, source: u8) -> [i32; 2] {
        let level = |index: u8| self.levels.get(usize::from(index - MASTER)).copied().unwrap_or(0);
        [0, 1].map(|side| {
            let (source, master) = (level(source + side) >> 3, level(MASTER + side) >> 3);
            let gain = level(OUTPUT_GAIN + side) >> 6;
            if source == 0 || master == 0 {
                return 0;
            }
            let amplitude = attenuated(source) * attenuated(master) / attenuated(24);
            (amplitude << gain).min(i64::from(UNITY) * 16) as i32
        })
    }

    /// Number of the output that the interrupt goes to: of lines 9 (2 on older machines), 5, 7 and 10.
    pub(super) fn irq(&self) -> Option<usize> {
        (0..4).find(|line| self.irq >> line & 1 != 0)
    }

    /// The channel of 8-bit transfers: 0, 1 or 3.
    pub(super) fn dma_8(&self) -> Option<u8> {
        [0, 1, 3].into_iter().find(|channel| self.dma >> channel & 1 != 0)
    }

    /// The channel of 16-bit transfers: 5, 6 or 7.
    pub(super) fn dma_16(&self) -> Option<u8> {
        [5, 6, 7].into_iter().find(|channel| self.dma >> channel & 1 != 0)
    }
}
