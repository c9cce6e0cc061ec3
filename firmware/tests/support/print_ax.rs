//! A subroutine of 16-bit guest programs that prints.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Emits what prints AX in four hexadecimal digits and a blank on the debug console, and returns. CX is lost.
///
/// # Errors
/// If it cannot be assembled.
pub fn emit(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut digit, mut decimal) = (a.create_label(), a.create_label());
    a.mov(cx, 4)?;
    a.set_label(&mut digit)?;
    a.rol(ax, 4)?;
    a.push(ax)?;
    a.and(al, 0x0f)?;
    a.add(al, b'0' as i32)?;
    a.cmp(al, b'9' as i32)?;
    a.jbe(decimal)?;
    a.add(al, 7)?;
    a.set_label(&mut decimal)?;
    a.out(0xe9, al)?;
    a.pop(ax)?;
    a.loop_(digit)?;
    a.mov(al, b' ' as i32)?;
    a.out(0xe9, al)?;
    a.ret()
}
