//! APM's entry points in protected mode: connect in real mode, make the segments that the answer names, and call.
//!
//! APM BIOS Interface Specification 1.2, 4.6: AX=5302h gives a 16-bit entry point, AX=5303h a 32-bit one.

#[path = "../../firmware/tests/support/print_ax.rs"]
mod print_ax;
#[path = "support/sector.rs"]
mod sector;

use iced_x86::IcedError;
use iced_x86::code_asm::*;
use ring86::config::MachineConfig;
use ring86::drives::Bay;
use ring86::machine::{Machine, Outcome};
use ring86::storage::Image;

const DEBUG_EXIT: u16 = 0xf4;
/// Where the program keeps the far pointer to the entry point, the address of its descriptors, and what a call gave back:
/// AX, BX, CX, DX.
const ENTRY: u32 = 0x6000;
const DESCRIPTORS: u32 = 0x6008;
const SAVED: u32 = 0x6010;
/// Selectors: APM's code (with 16-bit code and data behind it, or data alone), our 16-bit code, flat data.
const APM: u32 = 0x08;
const CODE: u32 = 0x20;
const DATA: u32 = 0x28;
/// The word behind the last call.
const END: u16 = 0xffff;

/// One call: what AL, BX and CX are, and what AX, BX, CX, DX and the carry flag have to be, empty for one that
/// does not come back.
type Call = (u8, u16, u16, &'static str);

/// A boot sector that connects the 32-bit (`wide`) or 16-bit interface, makes `calls` from 16-bit protected-mode code and
/// prints what each gives back.
fn program(wide: bool, calls: &[Call]) -> Vec<u8> {
    let code = |a: &mut CodeAssembler| -> Result<(), IcedError> {
        let [mut gdt, mut table, mut far, mut call, mut end, mut failed, mut base, mut print] =
            [(); 8].map(|()| a.create_label());
        a.xor(ax, ax)?;
        a.mov(ds, ax)?;
        a.mov(ss, ax)?;
        a.mov(sp, 0x7c00)?;
        a.mov(eax, if wide { 0x5303 } else { 0x5302 })?;
        a.xor(ebx, ebx)?;
        a.int(0x15)?;
        a.jc(failed)?;
        a.mov(dword_ptr(ENTRY), ebx)?;
        a.mov(word_ptr(if wide { ENTRY + 4 } else { ENTRY + 2 }), APM)?;
        // The bases of 32-bit code, 16-bit code and data, or of 16-bit code and data.
        for register in if wide { &[ax, cx, dx][..] } else { &[ax, cx][..] } {
            a.push(*register)?;
        }
        // A call leaves the address of what follows it.
        a.call(gdt)?;
        a.dq(&[0])?;
        let (code32, code16, data) = (0x0040_9a00_0000_ffff, 0x0000_9a00_0000_ffff, 0x0000_9200_0000_ffff);
        let apm = if wide { [code32, code16, data] } else { [code16, data, 0] };
        a.dq(&apm)?;
        a.dq(&[code16, data])?;
        a.set_label(&mut gdt)?;
        a.pop(word_ptr(DESCRIPTORS))?;
        let segments = if wide { 3 } else { 2 };
        for index in (0..segments).rev() {
            a.pop(ax)?;
            a.mov(di, word_ptr(DESCRIPTORS))?;
            a.add(di, 8 + 8 * index)?;
            a.call(base)?;
        }
        a.cli()?;
        a.mov(word_ptr(SAVED), 0x2f)?;
        a.movzx(eax, word_ptr(DESCRIPTORS))?;
        a.mov(dword_ptr(SAVED + 2), eax)?;
        a.lgdt(fword_ptr(SAVED))?;
        a.mov(eax, cr0)?;
        a.or(al, 1)?;
        a.mov(cr0, eax)?;
        // Goes on behind the call, in the segment below its return address.
        a.push(CODE as i32)?;
        a.call(far)?;
        a.mov(ax, DATA)?;
        a.mov(ds, ax)?;
        a.mov(ss, ax)?;
        a.call(table)?;
        for (function, second, third, _) in calls {
            a.dw(&[0x5300 | u16::from(*function), *second, *third])?;
        }
        a.dw(&[END])?;
        a.set_label(&mut table)?;
        a.pop(si)?;
        a.jmp(call)?;
        a.set_label(&mut far)?;
        a.retf()?;
        a.set_label(&mut base)?;
        a.movzx(eax, ax)?;
        a.shl(eax, 4)?;
        a.mov(word_ptr(di + 2), ax)?;
        a.shr(eax, 16)?;
        a.mov(byte_ptr(di + 4), al)?;
        a.ret()?;
        a.set_label(&mut call)?;
        a.lodsw()?;
        a.cmp(ax, i32::from(END as i16))?;
        a.je(end)?;
        a.mov(bx, word_ptr(si))?;
        a.mov(cx, word_ptr(si + 2))?;
        a.add(si, 4)?;
        a.mov(dx, 0)?;
        if wide {
            a.call(fword_ptr(ENTRY))?;
        } else {
            a.call(dword_ptr(ENTRY))?;
        }
        a.pushf()?;
        for (i, register) in [ax, bx, cx, dx].into_iter().enumerate() {
            a.mov(word_ptr(SAVED + 2 * i as u32), register)?;
        }
        for i in 0..4 {
            a.mov(ax, word_ptr(SAVED + 2 * i))?;
            a.call(print)?;
        }
        a.pop(ax)?;
        a.and(ax, 1)?;
        a.call(print)?;
        a.mov(al, 10)?;
        a.out(0xe9, al)?;
        a.jmp(call)?;
        a.set_label(&mut end)?;
        a.xor(eax, eax)?;
        a.out(i32::from(DEBUG_EXIT), eax)?;
        a.set_label(&mut failed)?;
        a.mov(al, 1)?;
        a.out(i32::from(DEBUG_EXIT), eax)?;
        a.hlt()?;
        a.set_label(&mut print)?;
        print_ax::emit(a)
    };
    sector::boot(code)
}

/// Runs `calls`; how the machine ended.
#[track_caller]
fn check(wide: bool, calls: &[Call]) -> Outcome {
    let mut image = program(wide, calls);
    image.resize(1440 << 10, 0);
    let mut config = MachineConfig::new();
    config.ram = 16 << 20;
    config.debug_exit = Some(DEBUG_EXIT);
    config.drives.floppies[0] = Bay::Loaded(Image::memory(image, false));
    let mut machine = Machine::new(config).expect("the host has memory for a test machine");
    let outcome = machine.run_until(|_| false, 20_000_000_000).expect_err("it ends");
    let said = machine.console_text();
    let answers: Vec<&str> = said.lines().map(str::trim_end).collect();
    let wanted: Vec<&str> = calls.iter().map(|call| call.3).filter(|answer| !answer.is_empty()).collect();
    assert_eq!(answers, wanted, "32-bit: {wide}, {outcome:?}");
    outcome
}

#[test]
fn power_is_managed_from_protected_mode() {
    let calls = [
        // The driver's version is agreed on; what there is: both interfaces.
        (0x0e, 0, 0x0102, "0102 0000 0102 0000 0000"),
        (0x00, 0, 0, "0102 504D 0003 0000 0000"),
        // On the mains, no battery; there is no second battery to ask about.
        (0x0a, 1, 0, "000A 01FF 80FF FFFF 0000"),
        (0x0a, 0x8001, 0, "090A 8001 0000 0000 0001"),
        // Switched off and on again.
        (0x0c, 1, 5, "000C 0001 0000 0000 0000"),
        (0x08, 0xffff, 0, "0008 FFFF 0000 0000 0000"),
        (0x0c, 1, 5, "010C 0001 0005 0000 0001"),
        (0x00, 0, 0, "0102 504D 000B 0000 0000"),
        (0x09, 0xffff, 0, "0009 FFFF 0000 0000 0000"),
        (0x0c, 1, 5, "000C 0001 0000 0000 0000"),
        // No event, nothing that would wake the machine, no single devices.
        (0x0b, 0, 0, "800B 0000 0000 0000 0001"),
        (0x07, 1, 2, "6007 0001 0002 0000 0001"),
        (0x10, 0, 7, "0010 0000 0000 0000 0000"),
        (0x07, 0x0200, 1, "0907 0200 0001 0000 0001"),
        (0x11, 0, 0, "0C11 0000 0000 0000 0001"),
        // Nothing works after it is disconnected.
        (0x04, 0, 0, "0004 0000 0000 0000 0000"),
        (0x0a, 1, 0, "030A 0001 0000 0000 0001"),
    ];
    for wide in [false, true] {
        let outcome = check(wide, &calls);
        assert!(matches!(outcome, Outcome::DebugExit(0)), "{outcome:?}");
    }
}

#[test]
fn the_machine_is_switched_off_from_protected_mode() {
    for wide in [false, true] {
        let outcome = check(wide, &[(0x0f, 1, 1, "000F 0001 0001 0000 0000"), (0x07, 1, 3, "")]);
        assert!(matches!(outcome, Outcome::PowerOff), "{outcome:?}");
    }
}
