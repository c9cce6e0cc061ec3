//! Multiboot 1 (Multiboot Specification 0.6.96): header, modules, and the information structure.

use super::elf::{self, Elf};
use super::{check_room, enter_flat, get32, place};
use crate::error::{Error, Result};
use crate::layout::Layout;
use ring86_translator::State;
use ring86_translator::state::slot;

/// The header's first word.
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What EAX holds at entry.
const BOOT_MAGIC: u64 = 0x2bad_b002;
/// The header lies within this many bytes of the file's start.
const SEARCH: usize = 8192;
/// Header flag 2: video mode fields. Ring86 sets no mode for it, which the specification leaves to the loader.
const FLAG_ADDRESSES: u32 = 1 << 16;
/// Header flags that a loader must understand: pages for modules, memory information, video mode.
const KNOWN_REQUIREMENTS: u32 = 7;
/// Where the information structure goes: low memory that the BIOS leaves alone.
const INFO: u64 = 0x9000;
/// Where the strings and the memory map go.
const STRINGS: u64 = 0xa000;
/// End of the space for strings.
const STRINGS_END: u64 = 0x1_0000;

/// Bits of `flags` in the information structure.
mod info {
    pub const MEMORY: u32 = 1 << 0;
    pub const CMDLINE: u32 = 1 << 2;
    pub const MODULES: u32 = 1 << 3;
    pub const MMAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Elf(Elf),
    /// The a.out kludge: addresses from the header.
    Flat {
        load: u32,
        entry: u32,
        bytes: Vec<u8>,
        bss: u32,
    },
}

/// A multiboot 1 kernel with its command line and modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiboot {
    name: String,
    body: Body,
    cmdline: String,
    modules: Vec<(String, Vec<u8>)>,
}

/// Offset of the multiboot header, if the file has one.
pub fn find_header(bytes: &[u8]) -> Option<usize> {
    let field = |at| get32(bytes, at);
    (0..bytes.len().min(SEARCH)).step_by(4).find(|at| {
        let sum = || Some(field(*at)?.wrapping_add(field(at + 4)?).wrapping_add(field(at + 8)?));
        field(*at) == Some(HEADER_MAGIC) && sum() == Some(0)
    })
}

impl Multiboot {
    /// Parses `bytes`, the contents of the file `name`, whose header is at `header`. Modules are pairs of a command
    /// line and contents.
    ///
    /// # Errors
    /// One sentence if the kernel is damaged or asks for something Ring86 does not have.
    pub fn parse(
        name: &str,
        bytes: &[u8],
        header: usize,
        cmdline: &str,
        modules: Vec<(String, Vec<u8>)>,
    ) -> Result<Self> {
        let field = |n: usize| {
            get32(bytes, header + n * 4)
                .ok_or_else(|| Error::new(format!("'{name}' ends inside its multiboot header; copy it again")))
        };
        let flags = field(1)?;
        let unknown = flags & 0xffff & !KNOWN_REQUIREMENTS;
        if unknown != 0 {
            return Err(Error::new(format!(
                "'{name}': its multiboot header requires features {unknown:#x}, which ring86 does not have"
            )));
        }
        let body = if flags & FLAG_ADDRESSES != 0 {
            let (header_at, load, load_end, bss_end, entry) = (field(3)?, field(4)?, field(5)?, field(6)?, field(7)?);
            let bad = |what: &str| {
                Error::new(format!("'{name}': {what} in the multiboot header is wrong; rebuild the kernel"))
            };
            let skip = header_at.checked_sub(load).ok_or_else(|| bad("load_addr"))? as usize;
            let start = header.checked_sub(skip).ok_or_else(|| bad("header_addr"))?;
            let len = match load_end {
                0 => bytes.len() - start,
                end => end.checked_sub(load).ok_or_else(|| bad("load_end_addr"))? as usize,
            };
            let cut = || {
                Error::new(format!(
                    "'{name}' is shorter than load_end_addr in its multiboot header says; copy it again"
                ))
            };
            let contents = bytes.get(start..start.saturating_add(len)).ok_or_else(cut)?.to_vec();
            let end = u64::from(load) + len as u64;
            let bss = u64::from(bss_end).saturating_sub(end) as u32;
            Body::Flat { load, entry, bytes: contents, bss }
        } else if elf::is_elf(bytes) {
            Body::Elf(Elf::parse(name, bytes)?)
        } else {
            return Err(Error::new(format!(
                "'{name}': the multiboot kernel is no ELF file and its header gives no addresses"
            )));
        };
        Ok(Multiboot { name: name.to_owned(), body, cmdline: cmdline.to_owned(), modules })
    }

    pub(super) fn describe(&self) -> String {
        let form = if matches!(self.body, Body::Elf(_)) { "an ELF32" } else { "a flat" };
        format!("{form} multiboot kernel with {} modules", self.modules.len())
    }

    pub(super) fn start(&self, layout: &Layout, state: &mut State) -> Result<()> {
        let (entry, end) = match &self.body {
            Body::Elf(elf) => (elf.entry(), elf.load(layout)?),
            Body::Flat { load, entry, bytes, bss } => {
                let len = bytes.len() as u64 + u64::from(*bss);
                check_room(layout, &self.name, "the kernel", u64::from(*load), len)?;
                place(layout, &self.name, "the kernel", u64::from(*load), bytes)?;
                let zeros = vec![0; *bss as usize];
                place(layout, &self.name, "the kernel", u64::from(*load) + bytes.len() as u64, &zeros)?;
                (*entry, u64::from(*load) + len)
            }
        };
        let mut strings = Strings { bytes: Vec::new(), name: &self.name };
        let mut words = [0u32; 29];
        words[0] = info::MEMORY | info::CMDLINE | info::MMAP | info::LOADER_NAME;
        words[1] = (crate::layout::EBDA >> 10) as u32;
        words[2] = (layout.low_end().saturating_sub(crate::layout::HIGH) >> 10) as u32;
        words[4] = strings.text(&format!("{} {}", self.name, self.cmdline))?;
        words[16] = strings.text("ring86")?;

        // Modules lie behind the kernel, each on a page of its own.
        let mut at = end.max(crate::layout::HIGH).next_multiple_of(4096);
        let mut list = Vec::new();
        for (line, bytes) in &self.modules {
            place(layout, &self.name, "a module", at, bytes)?;
            let end = at + bytes.len() as u64;
            for word in [at as u32, end as u32, strings.text(line)?, 0] {
                list.extend(word.to_le_bytes());
            }
            at = end.next_multiple_of(4096);
        }
        if !self.modules.is_empty() {
            words[0] |= info::MODULES;
            words[5] = self.modules.len() as u32;
            words[6] = strings.push(&list)?;
        }
        let mut map = Vec::new();
        for region in layout.e820() {
            map.extend(20u32.to_le_bytes());
            map.extend(region.start.to_le_bytes());
            map.extend(region.len.to_le_bytes());
            map.extend(region.kind.to_le_bytes());
        }
        words[11] = map.len() as u32;
        words[12] = strings.push(&map)?;

        layout.memory().dma_write(STRINGS, &strings.bytes);
        let words: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        layout.memory().dma_write(INFO, &words);
        enter_flat(layout, state, entry);
        state.set_gpr(slot::RAX, BOOT_MAGIC);
        state.set_gpr(slot::RBX, INFO);
        Ok(())
    }
}

/// Builds the area behind the information structure.
struct Strings<'a> {
    bytes: Vec<u8>,
    name: &'a str,
}

impl Strings<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<u32> {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let at = STRINGS + self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() as u64 > STRINGS_END - STRINGS {
            return Err(Error::new(format!("'{}': the command lines do not fit; shorten --append", self.name)));
        }
        Ok(at as u32)
    }

    fn text(&mut self, text: &str) -> Result<u32> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.push(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring86_translator::{Model, Pins};
    use std::sync::Arc;

    fn flat(load_end: u32) -> Vec<u8> {
        let header = [HEADER_MAGIC, FLAG_ADDRESSES, 0u32.wrapping_sub(HEADER_MAGIC).wrapping_sub(FLAG_ADDRESSES)];
        let mut words = vec![0xcccc_cccc];
        words.extend(header);
        words.extend([0x10_0004, 0x10_0000, load_end, 0x10_1000, 0x10_0024]);
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn a_flat_kernel_with_a_module() {
        let file = flat(0);
        let header = find_header(&file).unwrap();
        assert_eq!(header, 4);
        let modules = vec![("mod one".to_owned(), vec![7; 5000])];
        let mb = Multiboot::parse("k", &file, header, "hello", modules).unwrap();
        let layout = Layout::new(4 << 20, &[0; 65536], None, Arc::new(Pins::default())).unwrap();
        let mut state = State::reset(Model::Max);
        mb.start(&layout, &mut state).unwrap();
        assert_eq!((state.gpr(0), state.gpr(3), state.rip), (BOOT_MAGIC, INFO, 0x10_0024));
        let read = |at: u64| {
            let mut b = [0; 4];
            layout.memory().dma_read(at, &mut b);
            u64::from(u32::from_le_bytes(b))
        };
        assert_eq!(read(0x10_0000), 0xcccc_cccc);
        assert_eq!(read(INFO) & 0xffff, 0x24d);
        assert_eq!((read(INFO + 4), read(INFO + 8)), (639, 3 << 10));
        let module = read(INFO + 24);
        assert_eq!((read(module), read(module + 4)), (0x10_1000, 0x10_1000 + 5000));
        assert_eq!(read(0x10_1000), 0x0707_0707);
        let mut line = [0; 7];
        layout.memory().dma_read(read(INFO + 16), &mut line);
        assert_eq!(&line, b"k hello");
        assert_eq!(read(INFO + 44), 24 * layout.e820().len() as u64);
    }

    #[test]
    fn damaged_headers() {
        let text = |f: &[u8]| Multiboot::parse("k", f, 4, "", Vec::new()).unwrap_err().to_string();
        assert!(text(&flat(0x10_8000)).contains("shorter than load_end_addr"));
        assert!(text(&flat(0)[..20]).contains("ends inside"));
        assert!(text(&flat(4)).contains("load_end_addr in"));
        assert_eq!(find_header(b"no header at all"), None);
        let mut large = flat(0);
        large[20..24].copy_from_slice(&0x20_0000u32.to_le_bytes());
        assert!(text(&large).contains("load_addr"));
    }
}
