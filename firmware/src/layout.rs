//! Where the firmware keeps its data: the BIOS data area at 0040:0000, the EBDA below 640 KiB, and the stack frame
//! that every service sees. Offsets are the IBM PC/AT's unless said otherwise.
//!
//! Offsets are `i32` because that is what the assembler's memory operands take.

/// Segment of the BIOS data area.
pub const BDA: i32 = 0x40;
/// Segment of the extended BIOS data area: the last KiB below 640 KiB.
pub const EBDA: i32 = 0x9fc0;
/// Base memory in KiB, without the EBDA.
pub const BASE_KIB: i32 = 639;

/// BIOS data area, offsets from 0040:0000.
pub mod bda {
    pub const COM_PORTS: i32 = 0x00;
    pub const LPT_PORTS: i32 = 0x08;
    pub const EBDA_SEGMENT: i32 = 0x0e;
    pub const EQUIPMENT: i32 = 0x10;
    pub const MEMORY_KIB: i32 = 0x13;
    pub const SHIFT_FLAGS: i32 = 0x17;
    pub const SHIFT_KEYS: i32 = 0x18;
    pub const ALT_NUMPAD: i32 = 0x19;
    pub const KEY_HEAD: i32 = 0x1a;
    pub const KEY_TAIL: i32 = 0x1c;
    pub const KEY_BUFFER: i32 = 0x1e;
    pub const FLOPPY_RECALIBRATED: i32 = 0x3e;
    pub const FLOPPY_MOTORS: i32 = 0x3f;
    pub const FLOPPY_MOTOR_TICKS: i32 = 0x40;
    pub const FLOPPY_STATUS: i32 = 0x41;
    pub const FLOPPY_RESULT: i32 = 0x42;
    pub const VIDEO_MODE: i32 = 0x49;
    pub const VIDEO_COLUMNS: i32 = 0x4a;
    pub const VIDEO_PAGE_SIZE: i32 = 0x4c;
    pub const VIDEO_PAGE_START: i32 = 0x4e;
    pub const CURSOR_POSITIONS: i32 = 0x50;
    pub const CURSOR_SHAPE: i32 = 0x60;
    pub const VIDEO_PAGE: i32 = 0x62;
    pub const CRTC_PORT: i32 = 0x63;
    pub const VIDEO_MODE_SELECT: i32 = 0x65;
    pub const VIDEO_PALETTE: i32 = 0x66;
    pub const TICKS: i32 = 0x6c;
    pub const MIDNIGHT: i32 = 0x70;
    pub const BREAK_FLAG: i32 = 0x71;
    pub const RESET_FLAG: i32 = 0x72;
    pub const DISK_STATUS: i32 = 0x74;
    pub const DISK_COUNT: i32 = 0x75;
    pub const LPT_TIMEOUTS: i32 = 0x78;
    pub const COM_TIMEOUTS: i32 = 0x7c;
    pub const KEY_BUFFER_START: i32 = 0x80;
    pub const KEY_BUFFER_END: i32 = 0x82;
    pub const VIDEO_LAST_ROW: i32 = 0x84;
    pub const CHARACTER_HEIGHT: i32 = 0x85;
    pub const VIDEO_CONTROL: i32 = 0x87;
    pub const VIDEO_SWITCHES: i32 = 0x88;
    pub const VIDEO_FLAGS: i32 = 0x89;
    pub const VIDEO_COMBINATION: i32 = 0x8a;
    pub const FLOPPY_RATE: i32 = 0x8b;
    pub const FLOPPY_MEDIA: i32 = 0x90;
    pub const FLOPPY_CYLINDERS: i32 = 0x94;
    pub const KEYBOARD_STATE: i32 = 0x96;
    pub const KEYBOARD_LEDS: i32 = 0x97;
    pub const WAIT_POINTER: i32 = 0x98;
    pub const WAIT_COUNT: i32 = 0x9c;
    pub const WAIT_ACTIVE: i32 = 0xa0;
    pub const VIDEO_SAVE_TABLE: i32 = 0xa8;
    /// The VBE mode, with its linear bit; a customary place.
    pub const VBE_MODE: i32 = 0xba;
    /// The power state that VBE/PM was asked for; the firmware's own.
    pub const VIDEO_POWER: i32 = 0xbc;
}

/// Extended BIOS data area, offsets from its segment. Only the first byte and the pointing device's fields are
/// customary; the rest is this firmware's own.
pub mod ebda {
    /// Size of the area in KiB.
    pub const SIZE_KIB: i32 = 0x00;
    /// Far pointer to the pointing device's handler (int 15h AX=C207).
    pub const MOUSE_HANDLER: i32 = 0x22;
    /// Bits 2-0: index of the next byte of the packet.
    pub const MOUSE_INDEX: i32 = 0x26;
    /// Bit 7: a handler is set; bits 2-0: bytes in a packet less one.
    pub const MOUSE_FLAGS: i32 = 0x27;
    /// The packet so far.
    pub const MOUSE_PACKET: i32 = 0x28;
    /// Fixed disk parameter tables of drives 80h and 81h, 16 bytes each (int 41h and 46h point here).
    pub const DISK_TABLES: i32 = 0x3d;
    /// What a ROM can start by itself: its bootstrap entry vector, and its product's name in the same segment.
    pub const BEV_OFFSET: i32 = 0x60;
    pub const BEV_SEGMENT: i32 = 0x62;
    pub const BEV_NAME: i32 = 0x64;
    /// Segment where the next ROM of a PCI card goes.
    pub const SHADOW_NEXT: i32 = 0x66;
    /// What is still to be tried, four bits each, the next in the lowest.
    pub const BOOT_ORDER: i32 = 0x68;
    /// 1 after a reset, 0 after power-on.
    pub const RESTART: i32 = 0x6c;
    /// 1 while option ROMs may ask for memory.
    pub const PMM_OPEN: i32 = 0x6d;
    /// Drive records, `drive::SIZE` bytes each, in the order primary master, primary slave, secondary master, slave.
    pub const DRIVES: i32 = 0x100;
    /// Index of the drive record behind BIOS drives 80h to 83h.
    pub const DISK_MAP: i32 = 0x180;
    /// Index of the first CD drive's record, FFh for none.
    pub const CD_DRIVE: i32 = 0x184;
    /// BIOS drive number under which a no-emulation CD was booted, 0 for none.
    pub const CD_BOOTED: i32 = 0x185;
    /// Next free I/O port and memory address while PCI resources are handed out.
    pub const PCI_NEXT_PORT: i32 = 0x188;
    pub const PCI_NEXT_MEMORY: i32 = 0x18c;
    /// Command packet for ATAPI devices, 12 bytes.
    pub const PACKET: i32 = 0x190;
    /// A disk transfer in progress: block (64 bits), blocks left, linear address, operation, blocks in this command.
    pub const TRANSFER_BLOCK: i32 = 0x1a0;
    pub const TRANSFER_COUNT: i32 = 0x1a8;
    pub const TRANSFER_ADDRESS: i32 = 0x1ac;
    pub const TRANSFER_OPERATION: i32 = 0x1b0;
    pub const TRANSFER_CHUNK: i32 = 0x1b2;
    /// 0: whole CD blocks; 1 to 4: only that quarter, a 512-byte sector of an emulated floppy.
    pub const TRANSFER_PART: i32 = 0x1b4;
    /// El Torito media type while a CD's image stands for a drive: 1 to 3 a floppy as drive 0, 4 a disk as drive 80h, 0
    /// for none.
    pub const CD_MEDIA: i32 = 0x1b5;
    /// First block of that image.
    pub const CD_IMAGE: i32 = 0x1b8;
    /// What the user chose in the boot menu (1 floppy, 2 disk, 3 CD, 4 network), 0 for the usual order.
    pub const BOOT_CHOICE: i32 = 0x1bc;
    /// The drive record of the disk that a CD's image stands for.
    pub const CD_DISK: i32 = 0x1c0;
    /// Where the CD's boot image was loaded (segment), and how many sectors of it.
    pub const CD_SEGMENT: i32 = 0x1e0;
    pub const CD_SECTORS: i32 = 0x1e2;
    /// Power management: bits 1-0 the interface that is connected (1 real mode, 2 16-bit, 3 32-bit), `APM_DISABLED`,
    /// `APM_DISENGAGED`.
    pub const APM_STATE: i32 = 0x1e4;
    /// How often the CD drive was locked (int 13h AH=45h).
    pub const CD_LOCKS: i32 = 0x1e5;
    /// What int 16h AX=0305h last set: bits 6-5 the delay, bits 4-0 the rate.
    pub const TYPEMATIC: i32 = 0x1e6;
    /// One sector: IDENTIFY data, and bounce buffer of floppy sectors that straddle a DMA page.
    pub const SECTOR: i32 = 0x200;
}

/// A drive record in the EBDA.
pub mod drive {
    pub const SIZE: i32 = 32;
    /// Command block's first port; zero where no drive answers.
    pub const PORT: i32 = 0;
    /// Device control port.
    pub const CONTROL: i32 = 2;
    /// 00h or 10h: bit 4 of the Device/Head register.
    pub const SELECT: i32 = 4;
    /// 0 none, 1 ATA, 2 ATAPI, 3 an image on the CD.
    pub const KIND: i32 = 5;
    /// Geometry that int 13h shows.
    pub const CYLINDERS: i32 = 6;
    pub const HEADS: i32 = 8;
    pub const SECTORS: i32 = 10;
    /// Geometry that the drive was set to.
    pub const PHYSICAL_CYLINDERS: i32 = 12;
    pub const PHYSICAL_HEADS: i32 = 14;
    pub const PHYSICAL_SECTORS: i32 = 16;
    /// Bit 0: LBA; bit 1: 48-bit addresses.
    pub const FLAGS: i32 = 18;
    /// Number of sectors, 64 bits.
    pub const TOTAL: i32 = 20;
}

/// The frame of a service: `push ds; push es; pushad; mov bp, sp` on top of what INT pushed.
pub mod frame {
    pub const DI: i32 = 0;
    pub const ESI: i32 = 4;
    pub const SI: i32 = 4;
    pub const BP: i32 = 8;
    pub const EBX: i32 = 16;
    pub const BX: i32 = 16;
    pub const BL: i32 = 16;
    pub const BH: i32 = 17;
    pub const EDX: i32 = 20;
    pub const DX: i32 = 20;
    pub const DL: i32 = 20;
    pub const DH: i32 = 21;
    pub const ECX: i32 = 24;
    pub const CX: i32 = 24;
    pub const CL: i32 = 24;
    pub const CH: i32 = 25;
    pub const EAX: i32 = 28;
    pub const AX: i32 = 28;
    pub const AL: i32 = 28;
    pub const AH: i32 = 29;
    pub const ES: i32 = 32;
    pub const DS: i32 = 34;
    pub const FLAGS: i32 = 40;
}
