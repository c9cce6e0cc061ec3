//! Boot sectors from assembled code.

use iced_x86::code_asm::{CodeAssembler, IcedError};

/// A boot sector of `code`, which runs at 7C00h in 16-bit mode.
///
/// # Panics
/// If it cannot be assembled, or is too long.
#[must_use]
pub fn boot(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    code(&mut a).expect("the code is right");
    let mut image = a.assemble(0x7c00).expect("the code is right");
    assert!(image.len() <= 510);
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image
}
