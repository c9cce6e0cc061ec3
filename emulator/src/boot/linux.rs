//! The Linux/x86 boot protocol (Documentation/arch/x86/boot.rst): bzImage and zImage from version 2.00, entered in real
//! mode at the set-up code or in 32-bit protected mode at the kernel proper.

use super::{check_room, enter_flat, enter_real, get16, get32, place};
use crate::error::{Error, Result};
use crate::layout::{EBDA, HIGH, Layout};
use ring86_translator::State;
use ring86_translator::state::slot;

/// Offsets in the set-up header, the same in the file and in the zero page.
mod header {
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const VID_MODE: usize = 0x1fa;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const JUMP: usize = 0x200;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const KERNEL_VERSION: usize = 0x20e;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const HEAP_END_PTR: usize = 0x224;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const INIT_SIZE: usize = 0x260;
}

/// Offsets in the zero page that are not the header's.
mod zero_page {
    pub const SCREEN_INFO: usize = 0;
    pub const EXT_MEM_K: usize = 0x02;
    pub const ALT_MEM_K: usize = 0x1e0;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const E820_TABLE: usize = 0x2d0;
}

/// Bits of `loadflags`.
mod loadflags {
    pub const LOADED_HIGH: u8 = 1 << 0;
    pub const CAN_USE_HEAP: u8 = 1 << 7;
}

/// Where the set-up code or the zero page goes.
const SETUP: u64 = 0x9_0000;
/// End of the set-up code's heap, as an offset in its segment.
const HEAP_END: u64 = 0xe000;
/// Where the command line goes.
const CMDLINE: u64 = SETUP + HEAP_END;
/// Most bytes of a command line with its terminator, so that it ends below the EBDA.
const CMDLINE_ROOM: u64 = EBDA - CMDLINE;
/// What firmware may keep at the end of memory, such as ACPI tables: SeaBIOS takes 256 KiB at most.
const FIRMWARE: u64 = 256 << 10;
/// The loader type for "undefined".
const LOADER: u8 = 0xff;

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Entry {
    /// In real mode at the set-up code, which asks the BIOS for memory and video.
    #[value(name = "16")]
    Real,
    /// In protected mode at the kernel proper, with a zero page made by the loader.
    #[value(name = "32")]
    Protected,
}

/// A kernel with its command line and initial RAM disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linux {
    name: String,
    version: u16,
    /// Boot sector and set-up code.
    setup: Vec<u8>,
    /// The kernel proper.
    kernel: Vec<u8>,
    cmdline: String,
    initrd: Option<(String, Vec<u8>)>,
    entry: Entry,
}

/// True if the bytes begin like a Linux kernel with a set-up header, complete or not.
pub fn is_linux(bytes: &[u8]) -> bool {
    bytes.get(header::MAGIC..header::MAGIC + 4) == Some(b"HdrS")
}

impl Linux {
    /// Parses `bytes`, the contents of the file `name`. `initrd` is a file name with its contents.
    ///
    /// # Errors
    /// One sentence if the kernel is cut short, too old, or the command line is longer than it takes.
    pub fn parse(
        name: &str,
        bytes: &[u8],
        cmdline: &str,
        initrd: Option<(String, Vec<u8>)>,
        entry: Entry,
    ) -> Result<Self> {
        let cut = |at: u64| {
            let have = bytes.len();
            Error::new(format!(
                "'{name}' is cut short: its header announces {at} bytes and the file has {have}; copy it again"
            ))
        };
        let field = |at| get16(bytes, at).ok_or_else(|| cut(header::INIT_SIZE as u64 + 4));
        if field(header::BOOT_FLAG)? != 0xaa55 || !is_linux(bytes) {
            return Err(Error::new(format!("'{name}' is no Linux kernel: boot_flag or the HdrS magic is missing")));
        }
        let version = field(header::VERSION)?;
        if !(0x200..0x300).contains(&version) {
            return Err(Error::new(format!("'{name}': boot protocol version {version:#06x} is not 2.x")));
        }
        let sectors = match bytes[header::SETUP_SECTS] {
            0 => 4,
            n => usize::from(n),
        };
        let setup_len = (sectors + 1) * 512;
        let kernel_len = if version >= 0x204 {
            u64::from(get32(bytes, 0x1f4).ok_or_else(|| cut(setup_len as u64))?) * 16
        } else {
            u64::from(field(0x1f4)?) * 16
        };
        let need = setup_len as u64 + kernel_len;
        // Signed images carry more behind the kernel; the last paragraph may be short.
        if (bytes.len() as u64) + 16 <= need || bytes.len() <= setup_len {
            return Err(cut(need));
        }
        let room = if version >= 0x206 { u64::from(get32(bytes, header::CMDLINE_SIZE).unwrap_or(255)) } else { 255 };
        let room = room.min(CMDLINE_ROOM - 1);
        if cmdline.len() as u64 > room {
            return Err(Error::new(format!("--append is {} bytes long; '{name}' takes at most {room}", cmdline.len())));
        }
        if cmdline.contains('\0') {
            return Err(Error::new(
                "--append contains a NUL character, which ends a kernel command line; leave it out",
            ));
        }
        Ok(Linux {
            name: name.to_owned(),
            version,
            setup: bytes[..setup_len].to_vec(),
            kernel: bytes[setup_len..].to_vec(),
            cmdline: cmdline.to_owned(),
            initrd,
            entry,
        })
    }

    /// The video mode of `vga=` on the command line, which is the loader's business; the last one counts.
    fn video_mode(&self) -> Option<u16> {
        let value = self.cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix("vga=")).next_back()?;
        match value {
            "normal" => Some(0xffff),
            "ext" => Some(0xfffe),
            "ask" => Some(0xfffd),
            _ => value.strip_prefix("0x").map_or_else(|| value.parse(), |digits| u16::from_str_radix(digits, 16)).ok(),
        }
    }

    fn field32(&self, at: usize) -> u32 {
        get32(&self.setup, at).unwrap_or(0)
    }

    fn high(&self) -> bool {
        self.setup[header::LOADFLAGS] & loadflags::LOADED_HIGH != 0
    }

    pub(super) fn describe(&self) -> String {
        let at = 0x200 + usize::from(get16(&self.setup, header::KERNEL_VERSION).unwrap_or(0));
        let text = self.setup.get(at..).unwrap_or(&[]);
        let text: String = text.iter().take(60).take_while(|b| b.is_ascii_graphic()).map(|b| char::from(*b)).collect();
        let protocol = format!("boot protocol {}.{:02}", self.version >> 8, self.version & 0xff);
        if at == 0x200 || text.is_empty() {
            format!("a Linux kernel ({protocol})")
        } else {
            format!("a Linux kernel, version {text} ({protocol})")
        }
    }

    /// Where the initial RAM disk goes: as high as the kernel allows, on a page of its own, below what firmware keeps at
    /// the memory's end.
    fn place_initrd(&self, layout: &Layout, kernel_at: u64) -> Result<u64> {
        let Some((name, bytes)) = &self.initrd else { return Ok(0) };
        let max = if self.version >= 0x203 { u64::from(self.field32(header::INITRD_ADDR_MAX)) } else { 0x37ff_ffff };
        let end = layout.low_end().saturating_sub(FIRMWARE).min(max.saturating_add(1));
        let room = u64::from(self.field32(header::INIT_SIZE)).max(self.kernel.len() as u64);
        let at = end.saturating_sub(bytes.len() as u64) & !0xfff;
        if at < kernel_at + room {
            let need = (kernel_at + room + bytes.len() as u64).div_ceil(1 << 20) + 1;
            return Err(Error::new(format!(
                "'{name}' does not fit into memory beside '{}'; give the machine at least -m {need}M",
                self.name
            )));
        }
        place(layout, name, "the initial RAM disk", at, bytes)?;
        Ok(at)
    }

    pub(super) fn start(&self, layout: &Layout, state: &mut State) -> Result<()> {
        let kernel_at = if self.high() { HIGH } else { 0x1_0000 };
        check_room(layout, &self.name, "the kernel", kernel_at, self.kernel.len() as u64)?;
        if !self.high() && self.kernel.len() as u64 > SETUP - kernel_at {
            return Err(Error::new(format!(
                "'{}' is a zImage of more than 512 KiB, which cannot be loaded",
                self.name
            )));
        }
        place(layout, &self.name, "the kernel", kernel_at, &self.kernel)?;
        let initrd = self.place_initrd(layout, kernel_at)?;
        let mut line = self.cmdline.as_bytes().to_vec();
        line.push(0);
        place(layout, &self.name, "the command line", CMDLINE, &line)?;
        match self.entry {
            Entry::Real => {
                let mut setup = self.setup.clone();
                self.fill_header(&mut setup, initrd);
                if setup.len() as u64 > HEAP_END {
                    return Err(Error::new(format!(
                        "'{}': the set-up code is longer than the protocol allows",
                        self.name
                    )));
                }
                place(layout, &self.name, "the set-up code", SETUP, &setup)?;
                let segment = (SETUP >> 4) as u16;
                enter_real(state, segment + 0x20, 0, segment);
                state.set_gpr(slot::RSP, HEAP_END);
            }
            Entry::Protected => {
                if self.video_mode().is_some_and(|mode| mode < 0xfffd) {
                    log::warn!("vga= is carried out by the kernel's set-up code, which --entry 32 leaves out");
                }
                let page = self.zero_page(layout, initrd);
                place(layout, &self.name, "the zero page", SETUP, &page)?;
                let entry = if self.high() { self.field32(header::CODE32_START) } else { kernel_at as u32 };
                enter_flat(layout, state, entry);
                state.set_gpr(slot::RSI, SETUP);
            }
        }
        Ok(())
    }

    /// The fields of the header that the loader fills in.
    fn fill_header(&self, setup: &mut [u8], initrd: u64) {
        let mut put = |at: usize, value: &[u8]| {
            if let Some(field) = setup.get_mut(at..at + value.len()) {
                field.copy_from_slice(value);
            }
        };
        put(header::TYPE_OF_LOADER, &[LOADER]);
        if let Some(mode) = self.video_mode() {
            put(header::VID_MODE, &mode.to_le_bytes());
        }
        if self.version >= 0x201 {
            put(header::LOADFLAGS, &[self.setup[header::LOADFLAGS] | loadflags::CAN_USE_HEAP]);
            put(header::HEAP_END_PTR, &((HEAP_END - 0x200) as u16).to_le_bytes());
        }
        if let Some((_, bytes)) = &self.initrd {
            put(header::RAMDISK_IMAGE, &(initrd as u32).to_le_bytes());
            put(header::RAMDISK_SIZE, &(bytes.len() as u32).to_le_bytes());
        }
        if self.version >= 0x202 {
            put(header::CMD_LINE_PTR, &(CMDLINE as u32).to_le_bytes());
        } else {
            // The old way: a magic word and an offset in the set-up segment.
            put(0x20, &0xa33f_u16.to_le_bytes());
            put(0x22, &(HEAP_END as u16).to_le_bytes());
        }
    }

    /// What the set-up code would have found out: the header, the memory map, and 80x25 text on a VGA.
    fn zero_page(&self, layout: &Layout, initrd: u64) -> Vec<u8> {
        let mut page = vec![0; 4096];
        // The header ends where the jump at its start says.
        let end = (header::MAGIC + usize::from(self.setup[header::JUMP + 1])).min(self.setup.len()).min(0x290);
        page[header::SETUP_SECTS..end].copy_from_slice(&self.setup[header::SETUP_SECTS..end]);
        self.fill_header(&mut page, initrd);
        let mut put = |at: usize, value: &[u8]| page[at..at + value.len()].copy_from_slice(value);
        let s = zero_page::SCREEN_INFO;
        // Cursor in the first column of the last row; mode 3, 80 columns, 25 rows of 16 lines, VGA.
        put(s, &[0, 24]);
        put(s + 6, &[3, 80]);
        put(s + 0x0e, &[25, 1, 16]);
        let extended = layout.low_end().saturating_sub(HIGH) >> 10;
        put(zero_page::EXT_MEM_K, &(extended.min(0xfc00) as u16).to_le_bytes());
        put(zero_page::ALT_MEM_K, &(extended as u32).to_le_bytes());
        let map = layout.e820();
        put(zero_page::E820_ENTRIES, &[map.len() as u8]);
        for (i, region) in map.iter().enumerate() {
            let at = zero_page::E820_TABLE + i * 20;
            put(at, &region.start.to_le_bytes());
            put(at + 8, &region.len.to_le_bytes());
            put(at + 16, &region.kind.to_le_bytes());
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring86_translator::{Model, Pins};
    use std::sync::Arc;

    fn sample() -> Vec<u8> {
        let mut f = vec![0; 2 * 512 + 64];
        f[header::SETUP_SECTS] = 1;
        f[0x1f4] = 4;
        f[header::BOOT_FLAG..header::BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        f[header::JUMP] = 0xeb;
        f[header::JUMP + 1] = 0x6a;
        f[header::MAGIC..header::MAGIC + 4].copy_from_slice(b"HdrS");
        f[header::VERSION..header::VERSION + 2].copy_from_slice(&[0x0f, 2]);
        f[header::LOADFLAGS] = loadflags::LOADED_HIGH;
        f[header::CODE32_START..header::CODE32_START + 4].copy_from_slice(&0x10_0000u32.to_le_bytes());
        f[header::INITRD_ADDR_MAX..header::INITRD_ADDR_MAX + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        f[header::CMDLINE_SIZE..header::CMDLINE_SIZE + 4].copy_from_slice(&200u32.to_le_bytes());
        f[header::INIT_SIZE..header::INIT_SIZE + 4].copy_from_slice(&0x1000u32.to_le_bytes());
        f[1024..].fill(0x90);
        f
    }

    fn layout() -> Layout {
        Layout::new(4 << 20, &[0; 65536], None, Arc::new(Pins::default())).unwrap()
    }

    fn read32(l: &Layout, at: u64) -> u32 {
        let mut b = [0; 4];
        l.memory().dma_read(at, &mut b);
        u32::from_le_bytes(b)
    }

    #[test]
    fn the_loader_carries_out_vga() {
        let mode = |cmdline: &str| Linux::parse("k", &sample(), cmdline, None, Entry::Real).unwrap().video_mode();
        assert_eq!(
            (mode("a vga=0x314 b"), mode("vga=normal vga=788"), mode("vga=ask")),
            (Some(0x314), Some(788), Some(0xfffd))
        );
        assert_eq!((mode("video=vesafb xvga=1"), mode("vga=never"), mode("vga=99999")), (None, None, None));
        let linux = Linux::parse("k", &sample(), "vga=0x317", None, Entry::Real).unwrap();
        let mut setup = linux.setup.clone();
        linux.fill_header(&mut setup, 0);
        assert_eq!(get16(&setup, header::VID_MODE), Some(0x317));
    }

    #[test]
    fn both_entries() {
        let initrd = Some(("i".to_owned(), vec![5; 100]));
        for entry in [Entry::Real, Entry::Protected] {
            let k = Linux::parse("k", &sample(), "console=ttyS0", initrd.clone(), entry).unwrap();
            let l = layout();
            let mut s = State::reset(Model::Max);
            k.start(&l, &mut s).unwrap();
            assert_eq!(read32(&l, HIGH), 0x9090_9090);
            assert_eq!(read32(&l, SETUP + header::RAMDISK_IMAGE as u64), 0x3b_f000);
            assert_eq!(read32(&l, SETUP + header::RAMDISK_SIZE as u64), 100);
            assert_eq!(u64::from(read32(&l, SETUP + header::CMD_LINE_PTR as u64)), CMDLINE);
            assert_eq!(read32(&l, 0x3b_f000), 0x0505_0505);
            assert_eq!(read32(&l, CMDLINE), u32::from_le_bytes(*b"cons"));
            if entry == Entry::Real {
                assert_eq!((s.segs[1].selector, s.rip, s.segs[2].selector), (0x9020, 0, 0x9000));
                assert_eq!(s.cr0 & 1, 0);
            } else {
                assert_eq!((s.segs[1].selector, s.rip, s.gpr(slot::RSI)), (0x10, 0x10_0000, SETUP));
                assert_eq!(read32(&l, SETUP + zero_page::E820_ENTRIES as u64) & 0xff, l.e820().len() as u32);
            }
        }
    }

    #[test]
    fn every_truncation_is_one_sentence() {
        let file = sample();
        let parse = |f: &[u8]| Linux::parse("k", f, "", None, Entry::Real);
        assert!(parse(&file).is_ok());
        for len in header::MAGIC + 4..file.len() - 16 {
            let error = parse(&file[..len]).unwrap_err().to_string();
            assert!(error.contains("cut short") && !error.contains('\n'), "{len}: {error}");
        }
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let long = "x".repeat(201);
        let error = Linux::parse("k", &sample(), &long, None, Entry::Real).unwrap_err().to_string();
        assert!(error.contains("at most 200"), "{error}");
        let initrd = Some(("i".to_owned(), vec![0; 4 << 20]));
        let k = Linux::parse("k", &sample(), "", initrd, Entry::Real).unwrap();
        let error = k.start(&layout(), &mut State::reset(Model::Max)).unwrap_err().to_string();
        assert!(error.contains("at least -m 7M"), "{error}");
    }
}
