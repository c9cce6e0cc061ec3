//! Intel SDM vol. 3A chapter 10 (local APIC) and Intel 82093AA datasheet 290566 (I/O APIC).

/// Offsets of the local APIC's registers in its page.
pub mod local {
    /// Local APIC ID.
    pub const ID: u16 = 0x020;
    /// Version, and the number of the last LVT entry.
    pub const VERSION: u16 = 0x030;
    /// Task priority.
    pub const TPR: u16 = 0x080;
    /// Arbitration priority.
    pub const APR: u16 = 0x090;
    /// Processor priority.
    pub const PPR: u16 = 0x0A0;
    /// End of interrupt.
    pub const EOI: u16 = 0x0B0;
    /// Remote read.
    pub const RRD: u16 = 0x0C0;
    /// Logical destination.
    pub const LDR: u16 = 0x0D0;
    /// Destination format.
    pub const DFR: u16 = 0x0E0;
    /// Spurious interrupt vector.
    pub const SVR: u16 = 0x0F0;
    /// In-service register, first of eight.
    pub const ISR: u16 = 0x100;
    /// Trigger mode register, first of eight.
    pub const TMR: u16 = 0x180;
    /// Interrupt request register, first of eight.
    pub const IRR: u16 = 0x200;
    /// Last of the three registers of eight words each.
    pub const IRR_LAST: u16 = 0x270;
    /// Error status.
    pub const ESR: u16 = 0x280;
    /// Interrupt command, low half.
    pub const ICR_LOW: u16 = 0x300;
    /// Interrupt command, high half: the destination.
    pub const ICR_HIGH: u16 = 0x310;
    /// LVT: timer.
    pub const LVT_TIMER: u16 = 0x320;
    /// LVT: thermal sensor.
    pub const LVT_THERMAL: u16 = 0x330;
    /// LVT: performance counters.
    pub const LVT_PERFORMANCE: u16 = 0x340;
    /// LVT: pin LINT0, where a PC's 8259A is.
    pub const LVT_LINT0: u16 = 0x350;
    /// LVT: pin LINT1, where a PC's NMI is.
    pub const LVT_LINT1: u16 = 0x360;
    /// LVT: errors.
    pub const LVT_ERROR: u16 = 0x370;
    /// Timer: initial count.
    pub const INITIAL_COUNT: u16 = 0x380;
    /// Timer: current count.
    pub const CURRENT_COUNT: u16 = 0x390;
    /// Timer: divide configuration.
    pub const DIVIDE: u16 = 0x3E0;
}

/// Bits of the local vector table's entries; where they exist they mean the same in redirection entries.
pub mod lvt {
    /// Vector.
    pub const VECTOR: u32 = 0xFF;
    /// Delivery mode.
    pub const DELIVERY: u32 = 7 << 8;
    /// Destination mode: logical (ICR and redirection entries).
    pub const LOGICAL: u32 = 1 << 11;
    /// Delivery status: send pending.
    pub const PENDING: u32 = 1 << 12;
    /// Input pin polarity: active low.
    pub const ACTIVE_LOW: u32 = 1 << 13;
    /// Remote IRR: a level interrupt was accepted and its service has not ended.
    pub const REMOTE_IRR: u32 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u32 = 1 << 15;
    /// Masked.
    pub const MASKED: u32 = 1 << 16;
    /// Timer mode: one-shot (0), periodic (1), TSC deadline (2), in bits 18-17.
    pub const TIMER_MODE_SHIFT: u32 = 17;
}

/// Bits of the interrupt command register's low half.
pub mod icr {
    /// Level: assert.
    pub const ASSERT: u32 = 1 << 14;
    /// Destination shorthand's shift.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// Bits that can be written.
    pub const WRITABLE: u32 = 0x000C_CFFF;
}

/// Bits of the spurious interrupt vector register.
pub mod svr {
    /// Software enable.
    pub const ENABLE: u32 = 1 << 8;
    /// Bits that can be written: focus checking too.
    pub const WRITABLE: u32 = 0x3FF;
}

/// Bits of the error status register.
pub mod esr {
    /// A message was accepted by nobody.
    pub const SEND_ACCEPT: u32 = 1 << 2;
    /// A message with a vector below 16 was to be sent.
    pub const SEND_VECTOR: u32 = 1 << 5;
    /// A message with a vector below 16 was received, or an LVT entry has one.
    pub const RECEIVED_VECTOR: u32 = 1 << 6;
    /// Access to a register that does not exist.
    pub const REGISTER: u32 = 1 << 7;
}

/// IA32_APIC_BASE: the APIC is enabled.
pub const BASE_ENABLE: u64 = 1 << 11;
/// Where the local APIC's page is after reset.
pub const LOCAL_BASE: u64 = 0xFEE0_0000;

/// Registers of the 82093AA.
pub mod io {
    /// Offset of the register select, in its window.
    pub const IOREGSEL: u64 = 0x00;
    /// Offset of the data window.
    pub const IOWIN: u64 = 0x10;
    /// ID in bits 27-24.
    pub const IOAPICID: u8 = 0x00;
    /// Version, and the number of the last redirection entry in bits 23-16.
    pub const IOAPICVER: u8 = 0x01;
    /// Arbitration ID in bits 27-24.
    pub const IOAPICARB: u8 = 0x02;
    /// First of two registers for each redirection entry.
    pub const IOREDTBL: u8 = 0x10;
    /// Number of inputs.
    pub const PINS: usize = 24;
    /// What IOAPICVER reads.
    pub const VERSION: u32 = 0x0017_0011;
    /// Bits of a redirection entry's low half that can be written.
    pub const WRITABLE: u32 = 0x0001_AFFF;
}
