//! ELF executables (System V ABI, "Object Files", and its i386 supplement): 32-bit, little-endian, i386 only.

use super::{enter_flat, get16, get32, place};
use crate::error::{Error, Result};
use crate::layout::Layout;
use ring86_translator::State;
use ring86_translator::state::slot;

/// `e_machine` of the i386.
const EM_386: u16 = 3;
/// `e_machine` of x86-64.
const EM_X86_64: u16 = 62;
/// `p_type` of a segment to load.
const PT_LOAD: u32 = 1;

/// One loadable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub at: u32,
    /// Bytes from the file.
    pub bytes: Vec<u8>,
    /// Size in memory; what lies beyond the bytes is zero.
    pub memory: u32,
}

/// A 32-bit executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    name: String,
    entry: u32,
    segments: Vec<Segment>,
}

/// True if the bytes begin like an ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

impl Elf {
    /// Parses `bytes`, the contents of the file `name`.
    ///
    /// # Errors
    /// One sentence if it is for another machine, not an executable, or cut short.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let cut = |what: &str| Error::new(format!("'{name}': the ELF file ends inside its {what}; copy it again"));
        let header = |at| get16(bytes, at).ok_or_else(|| cut("header"));
        let big_endian = bytes.get(5) == Some(&2);
        let machine = if big_endian { header(18)?.swap_bytes() } else { header(18)? };
        if machine == EM_X86_64 {
            return Err(Error::new(format!(
                "'{name}' is an ELF file for x86-64, and this machine has no long mode yet; use an i386 build"
            )));
        }
        if machine != EM_386 || big_endian || bytes.get(4) != Some(&1) {
            let other = machine_name(machine);
            return Err(Error::new(format!("'{name}' is an ELF file for {other}, not for i386; use an i386 build")));
        }
        let kind = header(16)?;
        if kind != 2 && kind != 3 {
            return Err(Error::new(format!("'{name}': e_type is {kind}, which is not an executable; link it first")));
        }
        let entry = get32(bytes, 24).ok_or_else(|| cut("header"))?;
        let table = get32(bytes, 28).ok_or_else(|| cut("header"))? as usize;
        let (size, count) = (usize::from(header(42)?), usize::from(header(44)?));
        if size < 32 {
            return Err(Error::new(format!("'{name}': e_phentsize is {size}, which is below 32; the file is damaged")));
        }
        let mut segments = Vec::new();
        let mut start = entry;
        for i in 0..count {
            let at = table.saturating_add(i * size);
            let field = |n: usize| get32(bytes, at.saturating_add(n * 4)).ok_or_else(|| cut("program headers"));
            let (file, memory) = (field(4)?, field(5)?);
            if field(0)? != PT_LOAD || memory == 0 {
                continue;
            }
            let offset = field(1)? as usize;
            let contents = bytes.get(offset..offset.saturating_add(file as usize)).ok_or_else(|| cut("segments"))?;
            if file > memory {
                return Err(Error::new(format!(
                    "'{name}': p_filesz of segment {i} exceeds p_memsz; the file is damaged"
                )));
            }
            let (linked, at) = (field(2)?, field(3)?);
            // Kernels linked to run high name their entry by its linear address, and are entered without paging.
            if entry.wrapping_sub(linked) < memory {
                start = entry.wrapping_sub(linked).wrapping_add(at);
            }
            segments.push(Segment { at, bytes: contents.to_vec(), memory });
        }
        if segments.is_empty() {
            return Err(Error::new(format!("'{name}': the ELF file has no segment to load; it is not an executable")));
        }
        Ok(Elf { name: name.to_owned(), entry: start, segments })
    }

    /// Where execution begins: a physical address.
    pub fn entry(&self) -> u32 {
        self.entry
    }

    /// Puts the segments into RAM. Returns the first address behind the highest one.
    pub(super) fn load(&self, layout: &Layout) -> Result<u64> {
        let mut end = 0;
        for segment in &self.segments {
            let last = u64::from(segment.at) + u64::from(segment.memory);
            super::check_room(layout, &self.name, "a segment", segment.at.into(), segment.memory.into())?;
            place(layout, &self.name, "a segment", segment.at.into(), &segment.bytes)?;
            let zeros = vec![0; segment.memory as usize - segment.bytes.len()];
            place(layout, &self.name, "a segment", last - zeros.len() as u64, &zeros)?;
            end = end.max(last);
        }
        Ok(end)
    }

    /// Loads the segments and enters at `e_entry`, where that was loaded, in flat 32-bit mode, with a stack below the EBDA.
    pub(super) fn start(&self, layout: &Layout, state: &mut State) -> Result<()> {
        self.load(layout)?;
        enter_flat(layout, state, self.entry);
        state.set_gpr(slot::RSP, crate::layout::EBDA - 16);
        Ok(())
    }
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        2 | 18 | 43 => "SPARC",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "64-bit PowerPC",
        22 => "S/390",
        40 => "Arm",
        50 => "Itanium",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => return format!("machine number {machine}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal executable of one segment, for tests here and in `multiboot`.
    pub(crate) fn sample(machine: u16) -> Vec<u8> {
        let mut f = vec![0; 84 + 8];
        f[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        let mut put = |at: usize, v: &[u8]| f[at..at + v.len()].copy_from_slice(v);
        put(16, &2u16.to_le_bytes());
        put(18, &machine.to_le_bytes());
        put(24, &0x10_0000u32.to_le_bytes());
        put(28, &52u32.to_le_bytes());
        put(42, &32u16.to_le_bytes());
        put(44, &1u16.to_le_bytes());
        for (i, v) in [1u32, 84, 0, 0x10_0000, 8, 16, 5, 4096].iter().enumerate() {
            put(52 + i * 4, &v.to_le_bytes());
        }
        put(84, b"abcdefgh");
        f
    }

    #[test]
    fn a_good_file_and_every_truncation() {
        let file = sample(EM_386);
        let elf = Elf::parse("x", &file).unwrap();
        assert_eq!((elf.entry(), elf.segments.len()), (0x10_0000, 1));
        assert_eq!(elf.segments[0].bytes, b"abcdefgh");
        for len in 6..file.len() {
            let error = Elf::parse("x", &file[..len]).unwrap_err().to_string();
            assert!(error.contains("ends inside"), "{len}: {error}");
        }
    }

    #[test]
    fn the_entry_is_where_its_segment_was_loaded() {
        let mut file = sample(EM_386);
        file[24..28].copy_from_slice(&0xc010_0004u32.to_le_bytes());
        file[60..64].copy_from_slice(&0xc010_0000u32.to_le_bytes());
        assert_eq!(Elf::parse("x", &file).unwrap().entry(), 0x10_0004);
        // In no segment by its linear address: it is physical already.
        file[24..28].copy_from_slice(&0x10_0008u32.to_le_bytes());
        assert_eq!(Elf::parse("x", &file).unwrap().entry(), 0x10_0008);
    }

    #[test]
    fn other_machines_are_named() {
        let text = |m| Elf::parse("x", &sample(m)).unwrap_err().to_string();
        assert!(text(183).contains("AArch64"));
        assert!(text(62).contains("x86-64"));
        assert!(text(999).contains("machine number 999"));
        let mut big = sample(8 << 8);
        big[5] = 2;
        assert!(Elf::parse("x", &big).unwrap_err().to_string().contains("MIPS"));
    }
}
