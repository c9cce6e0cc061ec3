//! How a service is entered and left: registers saved in one frame (`layout::frame`), DS at the BIOS data area.

use crate::asm::{Builder, Emit, x86};
use crate::layout::{BDA, frame};
use iced_x86::code_asm::*;

/// Saves the caller's registers in a frame at SS:BP and points DS at the BIOS data area. Other registers keep the
/// caller's values.
pub fn enter(b: &mut Builder) -> Emit {
    x86!(b;
        push ds;
        push es;
        pushad;
        mov bp, sp;
        push BDA;
        pop ds;
        cld;
    );
    Ok(())
}

/// Dispatches on AH through the table `table` of `count` entries; larger values go to `otherwise`.
pub fn dispatch_ah(b: &mut Builder, count: i32, table: &str, otherwise: &str) -> Emit {
    let unknown = b.global(otherwise);
    x86!(b;
        cmp ah, count;
        jae unknown;
        movzx bx, ah;
        add bx, bx;
        jmp word_ptr(bx + b.at(table)).cs();
    );
    Ok(())
}

pub fn emit(b: &mut Builder) -> Emit {
    x86!(b;
        // Success: CF clear, AH = 0.
        return_ok:
            mov byte_ptr(bp + frame::AH), 0;
        // CF clear, registers as the frame has them.
        return_clear:
            and byte_ptr(bp + frame::FLAGS), 0xfe;
        return_frame:
            popad;
            pop es;
            pop ds;
            iret;
        // Failure: CF set, AH = 86h "function not supported".
        return_unsupported:
            mov ah, 0x86;
        // Failure: CF set, AH as in AH.
        return_error:
            mov byte_ptr(bp + frame::AH), ah;
        return_carry:
            or byte_ptr(bp + frame::FLAGS), 1;
            jmp @return_frame;
    );
    Ok(())
}
