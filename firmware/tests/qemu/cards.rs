//! ROMs on cards.

use super::{Program, Scratch, arguments, disk, floppy};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// A network card's ROM of 2 KiB that writes a letter to the debug console whenever it is called: I when it is
/// initialised, C by its boot connection vector, E by its bootstrap entry vector; X where it is not called as it should
/// be. Its entry leaves a mark in its own memory, which it cannot change any more when it is to start a system.
fn card_rom() -> Result<Vec<u8>, IcedError> {
    const MARK: i32 = 0x7e;
    let mut rom = vec![0; 2048];
    let mut put = |at: usize, bytes: &[u8]| rom[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x55, 0xaa, 4]);
    put(0x18, &[0x20, 0, 0x40, 0]);
    put(0x20, b"PCIR\xec\x10\x39\x81\0\0\x18\0\0\0\0\x02\x04\0\0\0\0\x80");
    put(0x40, b"$PnP\x01\x02");
    let mut at = 0x80;
    let mut entry = |code: &dyn Fn(&mut CodeAssembler, CodeLabel) -> Result<(), IcedError>, letter: u8| {
        let mut a = CodeAssembler::new(16)?;
        let (mut wrong, mut say) = (a.create_label(), a.create_label());
        a.mov(dl, i32::from(letter))?;
        a.cmp(word_ptr(di).es(), 0x5024)?; // "$P"
        a.jne(wrong)?;
        code(&mut a, wrong)?;
        a.jmp(say)?;
        a.set_label(&mut wrong)?;
        a.mov(dl, i32::from(b'X'))?;
        a.set_label(&mut say)?;
        a.mov(al, dl)?;
        a.out(0xe9, al)?;
        a.retf()?;
        let bytes = a.assemble(at as u64)?;
        put(at, &bytes);
        at += bytes.len();
        Ok((at - bytes.len()) as u16)
    };
    let initialise = entry(
        &|a, wrong| {
            a.cmp(ax, 5 << 3)?; // bus 0, device 5, function 0
            a.jne(wrong)?;
            a.cmp(bx, -1)?;
            a.jne(wrong)?;
            a.mov(byte_ptr(MARK).cs(), 1)
        },
        b'I',
    )?;
    let connect = entry(&|a, _| a.mov(byte_ptr(MARK).cs(), 2), b'C')?;
    let start = entry(
        &|a, wrong| {
            a.mov(byte_ptr(MARK).cs(), 3)?;
            a.cmp(byte_ptr(MARK).cs(), 2)?;
            a.jne(wrong)
        },
        b'E',
    )?;
    put(3, &[0xe9]);
    put(4, &(initialise - 6).to_le_bytes());
    put(0x56, &connect.to_le_bytes());
    put(0x5a, &start.to_le_bytes());
    let sum = rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rom[2047] = sum.wrapping_neg();
    Ok(rom)
}

#[test]
fn a_cards_rom_is_run_and_may_decline_to_boot() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.report(|a| a.mov(ax, 0x1234))?;
    let floppy_image = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("card-rom");
    let (image, rom) = (scratch.file("floppy", &floppy_image), scratch.file("rom", &card_rom()?));
    let mut all = arguments(&[floppy(&image)]);
    all.extend(["-boot".to_owned(), "nac".to_owned(), "-device".to_owned()]);
    all.push(format!("rtl8139,addr=5,romfile={rom}"));
    let Some(log) = scratch.run(&all) else { return Ok(()) };
    assert_eq!(log, "ICE1234 ");
    Ok(())
}

/// Where the ROM below leaves what it was told, and how many answers there are.
const ANSWERS: i32 = 0x8_f000;
const ANSWER_COUNT: i32 = 15;

/// A network card's ROM of 2 KiB that asks for memory while it is initialised, writes to it, and keeps the answers.
fn memory_rom() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let (mut look, mut found) = (a.create_label(), a.create_label());
    a.pusha()?;
    a.push(ds)?;
    a.push(es)?;
    a.mov(ax, ANSWERS >> 4)?;
    a.mov(ds, ax)?;
    a.xor(si, si)?;
    a.mov(ax, 0xe000)?;
    a.set_label(&mut look)?;
    a.mov(es, ax)?;
    a.cmp(dword_ptr(0).es(), 0x4d4d_5024)?; // "$PMM"
    a.je(found)?;
    a.inc(ax)?;
    a.jnz(look)?;
    a.set_label(&mut found)?;
    let call = |a: &mut CodeAssembler, function: i32, arguments: &[(bool, u32)]| -> Result<(), IcedError> {
        a.mov(bp, sp)?;
        for (long, argument) in arguments.iter().rev() {
            a.mov(eax, *argument)?;
            if *long { a.push(eax)? } else { a.push(ax)? }
        }
        a.push(function)?;
        a.db(&[0x26, 0xff, 0x1e, 0x07, 0x00])?; // call far es:[7]
        a.mov(sp, bp)?;
        a.mov(word_ptr(si), ax)?;
        a.mov(word_ptr(si + 2), dx)?;
        a.add(si, 4)
    };
    let (long, short) = (|value: u32| (true, value), |value: u32| (false, value));
    let allocate =
        |a: &mut CodeAssembler, paragraphs, handle, flags| call(a, 0, &[long(paragraphs), long(handle), short(flags)]);
    const HANDLE: u32 = 0x6162_6364;
    const NO_HANDLE: u32 = 0xffff_ffff;
    allocate(&mut a, 0, NO_HANDLE, 2)?; // the longest block of extended memory
    allocate(&mut a, 0x801, NO_HANDLE, 2)?; // 32 KiB and a paragraph
    allocate(&mut a, 0x1000, HANDLE, 6)?; // 64 KiB, aligned to that
    // What it got is memory, and can be reached.
    a.push(es)?;
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.mov(edi, dword_ptr(si - 4))?;
    a.mov(dword_ptr(edi + 0xfffc).es(), 0x1234_5678)?;
    a.mov(eax, dword_ptr(edi + 0xfffc).es())?;
    a.mov(dword_ptr(si), eax)?;
    a.add(si, 4)?;
    a.pop(es)?;
    allocate(&mut a, 0, NO_HANDLE, 2)?;
    allocate(&mut a, 0x10, NO_HANDLE, 1)?; // conventional
    allocate(&mut a, 0, NO_HANDLE, 1)?;
    call(&mut a, 1, &[long(HANDLE)])?;
    call(&mut a, 1, &[long(NO_HANDLE)])?;
    allocate(&mut a, 0x100_0000, NO_HANDLE, 3)?; // more than there is
    allocate(&mut a, 0x10, NO_HANDLE, 0x0a)?; // a flag that is reserved
    // Frees the aligned block, which is not to be found then, nor freed again.
    a.mov(eax, dword_ptr(8))?;
    a.push(eax)?;
    a.push(2)?;
    a.db(&[0x26, 0xff, 0x1e, 0x07, 0x00])?;
    a.add(sp, 6)?;
    a.mov(word_ptr(si), ax)?;
    a.mov(word_ptr(si + 2), dx)?;
    a.add(si, 4)?;
    call(&mut a, 1, &[long(HANDLE)])?;
    call(&mut a, 2, &[long(0x20_0000)])?;
    call(&mut a, 9, &[])?; // no such function
    a.pop(es)?;
    a.pop(ds)?;
    a.popa()?;
    a.retf()?;
    let mut rom = vec![0; 2048];
    let code = a.assemble(0x80)?;
    rom[..6].copy_from_slice(&[0x55, 0xaa, 4, 0xe9, 0x7a, 0]);
    rom[0x18..0x1a].copy_from_slice(&[0x20, 0]);
    rom[0x20..0x38].copy_from_slice(b"PCIR\xec\x10\x39\x81\0\0\x18\0\0\0\0\x02\x04\0\0\0\0\x80\0\0");
    rom[0x80..0x80 + code.len()].copy_from_slice(&code);
    rom[2047] = rom.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    Ok(rom)
}

#[test]
fn a_cards_rom_gets_memory() -> Result<(), IcedError> {
    let mut p = Program::new()?;
    p.asm.mov(ax, ANSWERS >> 4)?;
    p.asm.mov(es, ax)?;
    for answer in 0..ANSWER_COUNT {
        p.report(|a| a.mov(ax, word_ptr(4 * answer + 2).es()))?;
        p.report(|a| a.mov(ax, word_ptr(4 * answer).es()))?;
        p.line()?;
    }
    // Once a system is started there is none to be had: the handle is not looked for.
    p.asm.push(0)?;
    p.asm.push(0)?;
    p.asm.push(1)?;
    p.asm.mov(ax, 0xf000)?;
    p.asm.mov(es, ax)?;
    p.asm.db(&[0x26, 0xff, 0x1e, 0xb7, 0xe0])?; // call far es:[E0B7h]
    p.asm.add(sp, 6)?;
    p.report(|_| Ok(()))?;
    let image = disk(2880, &p.finish()?)?;
    let scratch = Scratch::new("memory-rom");
    let (image, rom) = (scratch.file("floppy", &image), scratch.file("rom", &memory_rom()?));
    let mut all = arguments(&[floppy(&image)]);
    all.extend(["-device".to_owned(), format!("rtl8139,addr=5,romfile={rom}")]);
    let Some(log) = scratch.run(&all) else { return Ok(()) };
    // 64 MiB: extended memory from 48 MiB on, conventional memory from 64 KiB to 639 KiB.
    let expected = [
        "0010 0000",
        "0300 0000",
        "0301 0000",
        "1234 5678",
        "000F E000",
        "0001 0000",
        "0000 8FB0",
        "0301 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0000",
        "0000 0001",
        "FFFF FFFF",
        "FFFF",
    ];
    assert_eq!(log.lines().map(str::trim_end).collect::<Vec<_>>(), expected, "{log}");
    Ok(())
}
