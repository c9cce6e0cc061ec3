//! A program for Linux guests, made here.

use iced_x86::code_asm::*;

/// A program of i386 Linux that prints a line and ends with 7, as a static ELF file of one segment.
pub fn linux_program() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let said = b"from a program\n";
    let mut a = CodeAssembler::new(32).unwrap();
    // Behind the code, whose length is always the same.
    const TEXT: u32 = BASE + HEADERS + 5 * 4 + 2 + 5 * 2 + 2;
    for (register, value) in [(eax, 4), (ebx, 1), (ecx, TEXT), (edx, said.len() as u32)] {
        a.mov(register, value).unwrap();
    }
    a.int(0x80).unwrap();
    a.mov(eax, 1).unwrap();
    a.mov(ebx, 7).unwrap();
    a.int(0x80).unwrap();
    a.db(said).unwrap();
    let code = a.assemble(u64::from(BASE + HEADERS)).unwrap();
    let size = HEADERS + code.len() as u32;
    let halves = |list: &[u16]| list.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    let words = |list: &[u32]| list.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 3]),
        words(&[1, BASE + HEADERS, 52, 0, 0]),
        halves(&[52, 32, 1, 0, 0, 0]),
        words(&[1, 0, BASE, BASE, size, size, 5, 0x1000]),
        code,
    ]
    .concat()
}
