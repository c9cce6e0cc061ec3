//! An initial RAM disk around one Linux program: a "newc" cpio archive with an /init of our own, which starts the
//! program, times it by the guest's clock, says so on the console and switches the machine off.

use crate::boot::cpio::newc;
use crate::error::{Error, Result};
use iced_x86::code_asm::{
    CodeAssembler, CodeLabel, IcedError, al, byte_ptr, dl, dword_ptr, eax, ebx, ecx, edi, edx, esi,
};

/// What /init prints when it begins: the kernel has booted.
pub const READY: &str = "ring86-init-ready";
/// What the line with the times begins with. Five hexadecimal words follow: seconds and nanoseconds at the start, the
/// same at the end, and the program's wait status.
pub const TIMES: &str = "ring86-program";

/// Where /init is loaded: the traditional place of i386 programs.
const BASE: u32 = 0x0804_8000;
/// ELF header and one program header.
const HEADERS: u32 = 52 + 32;

/// The data of /init and where each piece of it lies.
struct Data {
    bytes: Vec<u8>,
}

impl Data {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let at = BASE + HEADERS + self.bytes.len() as u32;
        self.bytes.extend(bytes);
        at
    }

    fn text(&mut self, text: &str) -> u32 {
        self.put(format!("{text}\0").as_bytes())
    }
}

/// `int 80h` with the number in EAX and arguments in EBX, ECX, EDX, ESI.
fn system_call(a: &mut CodeAssembler, number: u32, arguments: &[u32]) -> std::result::Result<(), IcedError> {
    for (register, &value) in [ebx, ecx, edx, esi].into_iter().zip(arguments) {
        a.mov(register, value)?;
    }
    a.mov(eax, number)?;
    a.int(0x80)
}

/// The numbers of the i386 system calls used here.
mod number {
    pub const EXIT: u32 = 1;
    pub const FORK: u32 = 2;
    pub const WRITE: u32 = 4;
    pub const EXECVE: u32 = 11;
    pub const PAUSE: u32 = 29;
    pub const REBOOT: u32 = 88;
    pub const WAIT4: u32 = 114;
    pub const CLOCK_GETTIME: u32 = 265;
}

/// The program that becomes process 1.
fn init(arguments: &[String]) -> std::result::Result<Vec<u8>, IcedError> {
    let mut data = Data { bytes: Vec::new() };
    let ready = format!("{READY}\n");
    let ready_at = data.text(&ready);
    let program = data.text("/program");
    let mut argv = vec![program];
    argv.extend(arguments.iter().map(|text| data.text(text)));
    argv.push(0);
    let argv: Vec<u8> = argv.into_iter().flat_map(u32::to_le_bytes).collect();
    let argv = data.put(&argv);
    let path = data.text("PATH=/bin");
    let envp = [path.to_le_bytes(), [0; 4]].concat();
    let envp = data.put(&envp);
    let refused = "init: the kernel does not start the program\n";
    let refused_at = data.text(refused);
    let line = format!("\n{TIMES} {}\n", ["00000000"; 5].join(" "));
    let line_at = data.text(&line);
    let digits_at = line_at + TIMES.len() as u32 + 2;
    // Two times of two words, then the status.
    let words = data.put(&[0; 20]);
    const CLOCK_MONOTONIC: u32 = 1;

    let mut a = CodeAssembler::new(32)?;
    let (mut parent, mut word, mut digit, mut decimal, mut rest): (
        CodeLabel,
        CodeLabel,
        CodeLabel,
        CodeLabel,
        CodeLabel,
    ) = (a.create_label(), a.create_label(), a.create_label(), a.create_label(), a.create_label());
    system_call(&mut a, number::WRITE, &[1, ready_at, ready.len() as u32])?;
    system_call(&mut a, number::CLOCK_GETTIME, &[CLOCK_MONOTONIC, words])?;
    system_call(&mut a, number::FORK, &[])?;
    a.test(eax, eax)?;
    a.jne(parent)?;
    system_call(&mut a, number::EXECVE, &[program, argv, envp])?;
    system_call(&mut a, number::WRITE, &[2, refused_at, refused.len() as u32])?;
    system_call(&mut a, number::EXIT, &[127])?;
    a.set_label(&mut parent)?;
    a.mov(ebx, eax)?;
    a.mov(ecx, words + 16)?;
    a.xor(edx, edx)?;
    a.xor(esi, esi)?;
    a.mov(eax, number::WAIT4)?;
    a.int(0x80)?;
    system_call(&mut a, number::CLOCK_GETTIME, &[CLOCK_MONOTONIC, words + 8])?;
    a.mov(esi, words)?;
    a.mov(edi, digits_at)?;
    a.mov(ecx, 5u32)?;
    a.set_label(&mut word)?;
    a.mov(edx, dword_ptr(esi))?;
    a.mov(ebx, 8u32)?;
    a.set_label(&mut digit)?;
    a.rol(edx, 4u32)?;
    a.mov(al, dl)?;
    a.and(al, 15u32)?;
    a.add(al, u32::from(b'0'))?;
    a.cmp(al, u32::from(b'9'))?;
    a.jbe(decimal)?;
    a.add(al, u32::from(b'a' - b'9' - 1))?;
    a.set_label(&mut decimal)?;
    a.mov(byte_ptr(edi), al)?;
    a.inc(edi)?;
    a.dec(ebx)?;
    a.jne(digit)?;
    a.inc(edi)?;
    a.add(esi, 4u32)?;
    a.dec(ecx)?;
    a.jne(word)?;
    system_call(&mut a, number::WRITE, &[1, line_at, line.len() as u32])?;
    // reboot(2): LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF.
    system_call(&mut a, number::REBOOT, &[0xfee1_dead, 672_274_793, 0x4321_fedc, 0])?;
    a.set_label(&mut rest)?;
    system_call(&mut a, number::PAUSE, &[])?;
    a.jmp(rest)?;

    data.bytes.resize(data.bytes.len().next_multiple_of(16), 0);
    let entry = BASE + HEADERS + data.bytes.len() as u32;
    let code = a.assemble(u64::from(entry))?;
    let size = HEADERS + (data.bytes.len() + code.len()) as u32;
    Ok([headers(entry, size), data.bytes, code].concat())
}

/// ELF32 headers of an i386 executable with one segment, which is all of the file.
fn headers(entry: u32, size: u32) -> Vec<u8> {
    let mut out = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |list: &[u16]| list.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let words = |list: &[u32]| list.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    // e_type EXEC, e_machine 386; e_version, e_entry, e_phoff, e_shoff, e_flags; e_ehsize, e_phentsize, e_phnum, and
    // no sections.
    out.extend(halves(&[2, 3]));
    out.extend(words(&[1, entry, 52, 0, 0]));
    out.extend(halves(&[52, 32, 1, 40, 0, 0]));
    // PT_LOAD: offset, two addresses, two sizes, readable, writable and executable, aligned to a page.
    out.extend(words(&[1, 0, BASE, BASE, size, size, 7, 4096]));
    out
}

/// The initial RAM disk for `program`, started with `arguments`.
///
/// # Errors
/// If an argument cannot be given to a program.
pub fn around(program: &[u8], arguments: &[String]) -> Result<Vec<u8>> {
    if let Some(bad) = arguments.iter().find(|a| a.contains('\0')) {
        return Err(Error::new(format!("'{}' holds a zero byte, which no argument may", bad.escape_debug())));
    }
    let init = init(arguments).map_err(|e| Error::new(format!("the start-up program cannot be assembled: {e}")))?;
    Ok(newc(&[
        (".", 0o40755, (0, 0), &[]),
        ("dev", 0o40755, (0, 0), &[]),
        ("tmp", 0o41777, (0, 0), &[]),
        ("dev/console", 0o20600, (5, 1), &[]),
        ("dev/null", 0o20666, (1, 3), &[]),
        ("init", 0o100_755, (0, 0), &init),
        ("program", 0o100_755, (0, 0), program),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_is_an_executable_that_this_emulator_would_load() {
        let init = init(&["one".to_owned(), "two words".to_owned()]).expect("it assembles");
        crate::boot::elf::Elf::parse("init", &init).expect("it is an i386 executable");
        let text = String::from_utf8_lossy(&init).into_owned();
        assert!(text.contains("/program\0") && text.contains("two words\0") && text.contains(READY));
    }

    #[test]
    fn arguments_without_zero_bytes() {
        assert!(around(b"", &["a\0b".to_owned()]).is_err());
    }
}
