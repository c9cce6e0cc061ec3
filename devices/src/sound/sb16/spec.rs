//! Creative Labs, "Sound Blaster Series Hardware Programming Guide" (1993): the Sound Blaster 16 with DSP 4.05 and the
//! CT1745 mixer.

/// First port of the card, as its jumpers are most often set.
pub const BASE: u16 = 0x220;
/// First port of the MPU-401.
pub const MPU_BASE: u16 = 0x330;
/// First port of the FM synthesizer where an AdLib card has it.
pub const ADLIB_BASE: u16 = 0x388;

/// The DSP's version.
pub const VERSION: [u8; 2] = [4, 5];
/// What the DSP says after a reset.
pub const READY: u8 = 0xAA;
/// The DSP's copyright notice (command E3h).
pub const COPYRIGHT: &[u8] = b"COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992.\0";
/// Slowest and fastest rate that command 41h sets, in samples a second and side.
pub const RATES: (u32, u32) = (5_000, 45_000);

/// Ports, from the card's base on.
pub mod port {
    /// Mixer index.
    pub const MIXER_INDEX: u16 = 0x4;
    /// Mixer data.
    pub const MIXER_DATA: u16 = 0x5;
    /// DSP reset.
    pub const RESET: u16 = 0x6;
    /// FM synthesizer, as on an AdLib card.
    pub const FM: u16 = 0x8;
    /// DSP read data.
    pub const READ: u16 = 0xA;
    /// DSP write command or data (write), write buffer status (read).
    pub const WRITE: u16 = 0xC;
    /// DSP read buffer status; reading it acknowledges the 8-bit interrupt.
    pub const READ_STATUS: u16 = 0xE;
    /// Reading it acknowledges the 16-bit interrupt.
    pub const ACKNOWLEDGE_16: u16 = 0xF;
}

/// Mixer registers.
pub mod mixer {
    /// Reset.
    pub const RESET: u8 = 0x00;
    /// Voice volume as on a Sound Blaster Pro: four bits for each side.
    pub const PRO_VOICE: u8 = 0x04;
    /// Master volume, likewise.
    pub const PRO_MASTER: u8 = 0x22;
    /// FM volume, likewise.
    pub const PRO_FM: u8 = 0x26;
    /// CD volume, likewise.
    pub const PRO_CD: u8 = 0x28;
    /// Line volume, likewise.
    pub const PRO_LINE: u8 = 0x2E;
    /// Master volume, left; the right side follows.
    pub const MASTER: u8 = 0x30;
    /// Voice volume, left.
    pub const VOICE: u8 = 0x32;
    /// FM volume, left.
    pub const FM: u8 = 0x34;
    /// Volumes of CD and line, both sides.
    pub const LINE_RIGHT: u8 = 0x39;
    /// Output gain, left.
    pub const OUTPUT_GAIN: u8 = 0x41;
    /// The last of the tone controls.
    pub const LAST: u8 = 0x47;
    /// Interrupt select.
    pub const IRQ: u8 = 0x80;
    /// DMA select.
    pub const DMA: u8 = 0x81;
    /// Interrupt status.
    pub const IRQ_STATUS: u8 = 0x82;
}

/// Bits of the interrupt status register.
pub mod irq_status {
    /// 8-bit DMA.
    pub const DMA_8: u8 = 1 << 0;
    /// 16-bit DMA.
    pub const DMA_16: u8 = 1 << 1;
    /// What the upper bits of a DSP 4.05 read as.
    pub const UPPER: u8 = 0x20;
}

/// Status of the MPU-401.
pub mod mpu_status {
    /// No data waits to be read.
    pub const NO_DATA: u8 = 1 << 7;
}

/// Commands and answers of the MPU-401.
pub mod mpu_command {
    /// Reset.
    pub const RESET: u8 = 0xFF;
    /// UART mode.
    pub const UART: u8 = 0x3F;
    /// The answer to both.
    pub const ACKNOWLEDGE: u8 = 0xFE;
}
