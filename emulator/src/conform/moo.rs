//! Reader for MOO files, the format of the SingleStepTests sets: chunks of a 4-byte tag, a u32 length and a payload,
//! little-endian; see the format's own specification, version 1.1. Bus cycles and prefetch queues are skipped.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// Registers by name. Sixteen-bit sets fill the lower halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// AX CX DX BX SP BP SI DI, in encoding order.
    pub gpr: [u32; 8],
    /// ES CS SS DS FS GS.
    pub segments: [u16; 6],
    /// IP.
    pub ip: u32,
    /// FLAGS.
    pub flags: u32,
    /// CR0, CR3, DR6, DR7: in 80386 sets.
    pub system: [u32; 4],
}

/// What a position in a REGS or RG32 chunk stands for.
#[derive(Clone, Copy)]
enum Slot {
    Gpr(usize),
    Segment(usize),
    Ip,
    Flags,
    System(usize),
}

/// Order of REGS.
const ORDER16: [Slot; 14] = [
    Slot::Gpr(0),
    Slot::Gpr(3),
    Slot::Gpr(1),
    Slot::Gpr(2),
    Slot::Segment(1),
    Slot::Segment(2),
    Slot::Segment(3),
    Slot::Segment(0),
    Slot::Gpr(4),
    Slot::Gpr(5),
    Slot::Gpr(6),
    Slot::Gpr(7),
    Slot::Ip,
    Slot::Flags,
];

/// Order of RG32.
const ORDER32: [Slot; 20] = [
    Slot::System(0),
    Slot::System(1),
    Slot::Gpr(0),
    Slot::Gpr(3),
    Slot::Gpr(1),
    Slot::Gpr(2),
    Slot::Gpr(6),
    Slot::Gpr(7),
    Slot::Gpr(5),
    Slot::Gpr(4),
    Slot::Segment(1),
    Slot::Segment(3),
    Slot::Segment(0),
    Slot::Segment(4),
    Slot::Segment(5),
    Slot::Segment(2),
    Slot::Ip,
    Slot::Flags,
    Slot::System(2),
    Slot::System(3),
];

impl Registers {
    fn set(&mut self, slot: Slot, value: u32) {
        match slot {
            Slot::Gpr(index) => self.gpr[index] = value,
            Slot::Segment(index) => self.segments[index] = value as u16,
            Slot::Ip => self.ip = value,
            Slot::Flags => self.flags = value,
            Slot::System(index) => self.system[index] = value,
        }
    }

    /// All bits set: a mask that leaves nothing out.
    pub fn all() -> Registers {
        Registers { gpr: [u32::MAX; 8], segments: [u16::MAX; 6], ip: u32::MAX, flags: u32::MAX, system: [u32::MAX; 4] }
    }
}

/// An exception that the test raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Vector.
    pub vector: u8,
    /// Linear address of the flags word pushed.
    pub flags_address: u32,
}

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Test {
    /// Number in the file.
    pub index: u32,
    /// Disassembly.
    pub name: String,
    /// The instruction.
    pub bytes: Vec<u8>,
    /// Registers before.
    pub initial: Registers,
    /// Memory before.
    pub initial_memory: Vec<(u32, u8)>,
    /// Registers after.
    pub last: Registers,
    /// Memory after.
    pub last_memory: Vec<(u32, u8)>,
    /// Defined bits of the registers after, if the test says.
    pub mask: Option<Registers>,
    /// The exception, if one was raised.
    pub exception: Option<Exception>,
}

/// A file of tests.
#[derive(Clone, Debug)]
pub struct File {
    /// The CPU tag: 8088, 8086, V20, C286, 386E ...
    pub cpu: String,
    /// Defined bits for every test of the file.
    pub mask: Option<Registers>,
    tests: Tests,
}

/// Where tests come from.
#[derive(Clone, Debug)]
enum Tests {
    /// Chunks in a file's bytes, read one by one: to take all of them apart at once costs more than to run them.
    Chunks { bytes: Vec<u8>, chunks: Vec<Range<usize>>, numbered: bool },
    /// Tests at hand.
    List(Vec<Test>),
}

impl File {
    /// A file of tests at hand, recorded on `cpu`.
    pub fn of(cpu: &str, tests: Vec<Test>) -> File {
        File { cpu: cpu.to_owned(), mask: None, tests: Tests::List(tests) }
    }

    /// How many tests there are.
    pub fn len(&self) -> usize {
        match &self.tests {
            Tests::Chunks { chunks, .. } => chunks.len(),
            Tests::List(tests) => tests.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads test `position`, from 0 to [`File::len`], over `into`, whose allocations are used again.
    ///
    /// # Errors
    /// Part of a sentence.
    pub fn read_test(&self, position: usize, into: &mut Test) -> Result<(), String> {
        match &self.tests {
            Tests::Chunks { bytes, chunks, numbered } => {
                test(&mut Cursor { bytes: &bytes[chunks[position].clone()] }, into)?;
                // A number is what a test is asked for by. Files recorded on the 8086 have zeros in its place.
                if !numbered {
                    into.index = position as u32;
                }
            }
            Tests::List(tests) => into.clone_from(&tests[position]),
        }
        Ok(())
    }
}

/// Reads a file, compressed or not. The error is a sentence that names the file.
pub fn read(path: &Path) -> Result<File, String> {
    parse(read_plain(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

/// The bytes of a file, unpacked if they are compressed. The error is a sentence that names the file.
pub fn read_plain(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| crate::error::Error::io("read", path, &error).to_string())?;
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(bytes);
    }
    // The sets shrink to about an eighth.
    let mut plain = Vec::with_capacity(bytes.len() * 10);
    flate2::bufread::MultiGzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .map_err(|error| format!("{}: the compressed file is damaged or truncated ({error})", path.display()))?;
    Ok(plain)
}

/// Reads bytes with bounds.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        if len > self.bytes.len() {
            return Err("the file is truncated".to_string());
        }
        let (head, tail) = self.bytes.split_at(len);
        self.bytes = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    /// The next chunk: tag and payload.
    fn chunk(&mut self) -> Result<Option<(&'a [u8], Cursor<'a>)>, String> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.take(4)?;
        let len = self.u32()? as usize;
        Ok(Some((tag, Cursor { bytes: self.take(len)? })))
    }

    fn counted(&mut self) -> Result<&'a [u8], String> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    fn registers16(&mut self, into: &mut Registers) -> Result<(), String> {
        let present = self.u16()?;
        for (bit, slot) in ORDER16.into_iter().enumerate() {
            if present >> bit & 1 != 0 {
                into.set(slot, u32::from(self.u16()?));
            }
        }
        Ok(())
    }

    fn registers32(&mut self, into: &mut Registers) -> Result<(), String> {
        let present = self.u32()?;
        for (bit, slot) in ORDER32.into_iter().enumerate() {
            if present >> bit & 1 != 0 {
                into.set(slot, self.u32()?);
            }
        }
        Ok(())
    }

    fn memory(&mut self, into: &mut Vec<(u32, u8)>) -> Result<(), String> {
        let count = self.u32()? as usize;
        // Five bytes each. What the count promises beyond the chunk's end is not there.
        let bytes = self.take(count.checked_mul(5).ok_or("the file is truncated")?)?;
        let pair = |b: &[u8]| (u32::from_le_bytes([b[0], b[1], b[2], b[3]]), b[4]);
        into.clear();
        into.extend(bytes.chunks_exact(5).map(pair));
        Ok(())
    }
}

/// Reads the bytes of a plain file.
pub fn parse(bytes: Vec<u8>) -> Result<File, String> {
    let mut cursor = Cursor { bytes: &bytes };
    let Some((b"MOO ", mut header)) = cursor.chunk()? else {
        return Err("this is no MOO file".to_string());
    };
    let version = header.take(4)?[0];
    if version != 1 {
        return Err(format!("MOO version {version} is not known, only 1"));
    }
    let count = header.u32()? as usize;
    let cpu = String::from_utf8_lossy(header.bytes).trim_matches(['\0', ' ']).to_string();
    let mut mask = None;
    // No more than the file has room for, whatever its header promises.
    let mut chunks = Vec::with_capacity(count.min(bytes.len() / 64));
    let mut numbers = Vec::with_capacity(chunks.capacity());
    while let Some((tag, mut chunk)) = cursor.chunk()? {
        match tag {
            b"TEST" => {
                let end = bytes.len() - cursor.bytes.len();
                chunks.push(end - chunk.bytes.len()..end);
                numbers.push(chunk.u32()?);
            }
            b"RMSK" => chunk.registers16(mask.get_or_insert_with(Registers::all))?,
            b"RM32" => chunk.registers32(mask.get_or_insert_with(Registers::all))?,
            _ => {}
        }
    }
    if chunks.len() != count {
        return Err(format!("the file is truncated: {} of {count} tests", chunks.len()));
    }
    numbers.sort_unstable();
    let numbered = numbers.is_sorted_by(|a, b| a < b);
    Ok(File { cpu, mask, tests: Tests::Chunks { bytes, chunks, numbered } })
}

fn test(chunk: &mut Cursor, into: &mut Test) -> Result<(), String> {
    into.index = chunk.u32()?;
    into.name.clear();
    into.bytes.clear();
    into.initial = Registers::default();
    into.last = Registers::default();
    into.initial_memory.clear();
    into.last_memory.clear();
    into.mask = None;
    into.exception = None;
    while let Some((tag, mut part)) = chunk.chunk()? {
        match tag {
            b"NAME" => into.name.push_str(&String::from_utf8_lossy(part.counted()?)),
            b"BYTS" => into.bytes.extend_from_slice(part.counted()?),
            b"INIT" => state(&mut part, &mut into.initial, &mut into.initial_memory, &mut None)?,
            b"FINA" => {
                // The final registers hold only what changed.
                into.last = into.initial;
                state(&mut part, &mut into.last, &mut into.last_memory, &mut into.mask)?;
            }
            b"EXCP" => {
                into.exception = Some(Exception { vector: part.take(1)?[0], flags_address: part.u32()? });
            }
            _ => {}
        }
    }
    Ok(())
}

fn state(
    part: &mut Cursor,
    registers: &mut Registers,
    memory: &mut Vec<(u32, u8)>,
    mask: &mut Option<Registers>,
) -> Result<(), String> {
    while let Some((tag, mut chunk)) = part.chunk()? {
        match tag {
            b"REGS" => chunk.registers16(registers)?,
            b"RG32" => chunk.registers32(registers)?,
            b"RMSK" => chunk.registers16(mask.get_or_insert_with(Registers::all))?,
            b"RM32" => chunk.registers32(mask.get_or_insert_with(Registers::all))?,
            b"RAM " => chunk.memory(memory)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(tag: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = tag.to_vec();
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn sample(cpu: &[u8], registers: Vec<u8>) -> Vec<u8> {
        let mut header = vec![1, 0, 0, 0, 1, 0, 0, 0];
        header.extend_from_slice(cpu);
        let mut test = 7u32.to_le_bytes().to_vec();
        test.extend(chunk(b"NAME", &[3, 0, 0, 0, b'n', b'o', b'p']));
        test.extend(chunk(b"BYTS", &[1, 0, 0, 0, 0x90]));
        test.extend(chunk(b"INIT", &[registers, chunk(b"RAM ", &[1, 0, 0, 0, 0x34, 0x12, 0, 0, 0x90])].concat()));
        test.extend(chunk(b"FINA", &chunk(b"REGS", &[0, 0x10, 1, 0])));
        test.extend(chunk(b"CYCL", &[1, 2, 3]));
        test.extend(chunk(b"EXCP", &[6, 0x78, 0x56, 0, 0]));
        [chunk(b"MOO ", &header), chunk(b"META", &[1, 2]), chunk(b"TEST", &test)].concat()
    }

    fn tests(file: &File) -> Vec<Test> {
        let mut test = Test::default();
        (0..file.len()).map(|n| file.read_test(n, &mut test).map(|()| test.clone()).unwrap()).collect()
    }

    #[test]
    fn a_16_bit_test_is_read() {
        let regs = chunk(b"REGS", &[0x03, 0x20, 0x11, 0x11, 0x22, 0x22, 0x02, 0xF0]);
        let file = parse(sample(b"8086", regs)).unwrap();
        assert_eq!(file.cpu, "8086");
        let test = &tests(&file)[0];
        assert_eq!((test.index, test.name.as_str(), &test.bytes[..]), (7, "nop", &[0x90][..]));
        assert_eq!(test.initial.gpr, [0x1111, 0, 0, 0x2222, 0, 0, 0, 0]);
        assert_eq!((test.initial.flags, test.last.flags, test.last.ip), (0xF002, 0xF002, 1));
        assert_eq!(test.initial_memory, [(0x1234, 0x90)]);
        assert_eq!(test.exception, Some(Exception { vector: 6, flags_address: 0x5678 }));
    }

    #[test]
    fn tests_that_share_a_number_are_counted() {
        let mut bytes = sample(b"8086", chunk(b"REGS", &[0, 0]));
        let test = bytes.windows(4).position(|tag| tag == b"TEST").unwrap();
        bytes.extend_from_within(test..);
        bytes[12] = 2;
        let numbers: Vec<u32> = tests(&parse(bytes).unwrap()).iter().map(|test| test.index).collect();
        assert_eq!(numbers, [0, 1]);
    }

    #[test]
    fn a_32_bit_test_is_read() {
        let mut regs = 0x0003_0004u32.to_le_bytes().to_vec();
        for value in [0x1234_5678u32, 0x100, 0x2] {
            regs.extend_from_slice(&value.to_le_bytes());
        }
        let file = parse(sample(b"386E", chunk(b"RG32", &regs))).unwrap();
        let initial = tests(&file)[0].initial;
        assert_eq!((initial.gpr[0], initial.ip, initial.flags), (0x1234_5678, 0x100, 2));
    }

    #[test]
    fn a_truncated_file_is_one_sentence() {
        let bytes = sample(b"8086", chunk(b"REGS", &[0, 0]));
        for len in 1..bytes.len() {
            let error = parse(bytes[..len].to_vec()).unwrap_err();
            assert!(error.starts_with("the file is truncated"), "{len}: {error}");
        }
        assert_eq!(parse(Vec::new()).unwrap_err(), "this is no MOO file");
        assert_eq!(parse(b"PK\x03\x04\0\0\0\0".to_vec()).unwrap_err(), "this is no MOO file");
    }
}
