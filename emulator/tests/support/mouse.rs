//! A guest that says what its mouse does.

use iced_x86::code_asm::*;

/// Prints `>`, and status, x and y of each packet as digits: the pointing device services of int 15h, with a handler.
///
/// # Errors
/// If the code is wrong.
pub fn prints_what_it_does(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut stay = a.create_label();
    a.xor(ax, ax)?;
    a.mov(es, ax)?;
    a.mov(ax, 0xc205)?;
    a.mov(bh, 3)?;
    a.int(0x15)?;
    // Where the handler lies comes from a call, which pushes its own place.
    let mut skip = a.create_label();
    a.call(skip)?;
    a.push(bp)?;
    a.mov(bp, sp)?;
    a.pusha()?;
    for at in [12, 10, 8] {
        a.mov(al, byte_ptr(bp + at))?;
        a.add(al, i32::from(b'0'))?;
        a.mov(ah, 0x0e)?;
        a.int(0x10)?;
    }
    a.popa()?;
    a.pop(bp)?;
    a.retf()?;
    a.set_label(&mut skip)?;
    a.pop(bx)?;
    a.mov(ax, 0xc207)?;
    a.int(0x15)?;
    a.mov(ax, 0xc200)?;
    a.mov(bh, 1)?;
    a.int(0x15)?;
    a.mov(ax, 0x0e00 | u32::from(b'>'))?;
    a.int(0x10)?;
    a.sti()?;
    a.set_label(&mut stay)?;
    a.hlt()?;
    a.jmp(stay)
}
