//! The common part of the real-mode programs: one boot sector each, for every processor from the 8086 on.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::asm::{Asm, Emit, assemble, code};

/// Where a boot sector is loaded.
pub const ORG: u32 = 0x7C00;
/// Vector of the last interrupt that the catcher took, FFh if there was none (byte).
pub const VEC: u32 = 0x600;
/// IP that was pushed.
pub const IP: u32 = 0x602;
/// CS that was pushed.
pub const CS_: u32 = 0x604;
/// Flags that were pushed.
pub const FL: u32 = 0x606;
/// SP that goes on after the catcher.
const SAVED_SP: u32 = 0x608;
/// IP at which it goes on.
const RESUME: u32 = 0x60A;
/// Free memory.
pub const DATA: u32 = 0x1000;

/// The program being written.
pub struct Rm<'a> {
    asm: &'a mut Asm,
    checks: u32,
    caught: bool,
}

impl std::ops::Deref for Rm<'_> {
    type Target = Asm;
    fn deref(&self) -> &Asm {
        self.asm
    }
}
impl std::ops::DerefMut for Rm<'_> {
    fn deref_mut(&mut self) -> &mut Asm {
        self.asm
    }
}

/// Assembles a boot sector.
pub fn build(name: &str, body: &dyn Fn(&mut Rm) -> Emit) -> Result<Vec<u8>, IcedError> {
    let mut bytes = assemble(ORG, 16, &|asm| {
        let mut t = Rm { asm, checks: 0, caught: false };
        code!(t; cli(); cld(); xor(ax, ax); mov(ds, ax); mov(es, ax); mov(ss, ax); mov(sp, 0x7000));
        body(&mut t)?;
        let caught = t.caught;
        let t = t.asm;
        code!(t; xor(bx, bx); mov(si, t.addr("text.pass") as i32); jmp(t.at("report")));
        t.here("fail")?;
        code!(t; mov(si, t.addr("text.fail") as i32));
        t.here("report")?;
        code!(t; cld(); mov(dx, 0xE9); xor(ax, ax); mov(ds, ax));
        t.here("next")?;
        code!(t; lodsb(); out(dx, al); cmp(al, 10); jne(t.at("next")); mov(dx, 0xF4); mov(al, bl); out(dx, al));
        // A machine without the exit port may have the one that takes this word.
        code!(t; mov(si, t.addr("text.shutdown") as i32); mov(dx, 0x8900u32); mov(cx, 8));
        t.here("word")?;
        code!(t; lodsb(); out(dx, al); loop_(t.at("word")));
        t.here("forever")?;
        code!(t; hlt(); jmp(t.at("forever")));
        if caught {
            // Entered with the vector in AL, by a call from the stub: the frame is below the saved AX.
            t.here("catch")?;
            code!(t;
                push(bp); mov(bp, sp); push(ds); push(ax); xor(ax, ax); mov(ds, ax);
                mov(ax, word_ptr(bp + 4)); mov(word_ptr(IP), ax);
                mov(ax, word_ptr(bp + 6)); mov(word_ptr(CS_), ax);
                mov(ax, word_ptr(bp + 8)); mov(word_ptr(FL), ax);
                // The return address of the call in the stub tells the vector.
                mov(bp, word_ptr(bp + 2)); mov(al, byte_ptr(bp + 0).cs()); mov(byte_ptr(VEC), al);
                pop(ax); pop(ds); mov(ss, word_ptr(t.addr("zero")).cs()); mov(sp, word_ptr(SAVED_SP).cs());
                jmp(word_ptr(RESUME).cs()));
            t.here("zero")?;
            t.a.dw(&[0])?;
        }
        t.here("text.pass")?;
        t.text(format!("PASS {name}\n").as_bytes())?;
        t.here("text.fail")?;
        t.text(format!("FAIL {name}\n").as_bytes())?;
        t.here("text.shutdown")?;
        t.text(b"Shutdown")
    })?;
    assert!(bytes.len() <= 510, "{name}: {} bytes do not fit a boot sector", bytes.len());
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xAA]);
    Ok(bytes)
}

impl Rm<'_> {
    fn fail_unless_equal(&mut self) -> Emit {
        self.checks += 1;
        let n = self.checks as i32;
        let ok = self.fresh("ok");
        code!(self; je(self.at(&ok)); mov(bl, n); jmp(self.at("fail")));
        self.here(&ok)
    }

    /// The register holds `value`. Changes flags only.
    pub fn eq(&mut self, reg: AsmRegister16, value: u16) -> Emit {
        code!(self; cmp(reg, i32::from(value as i16)));
        self.fail_unless_equal()
    }

    /// The word at `address` (of segment 0, by DS) holds `value`.
    pub fn mem_eq(&mut self, address: u32, value: u16) -> Emit {
        code!(self; cmp(word_ptr(address), i32::from(value as i16)));
        self.fail_unless_equal()
    }

    /// The byte at `address` holds `value`.
    pub fn mem8_eq(&mut self, address: u32, value: u8) -> Emit {
        code!(self; cmp(byte_ptr(address), i32::from(value as i8)));
        self.fail_unless_equal()
    }

    /// The flags `mask` are `value`. Changes AX and flags.
    pub fn flags(&mut self, mask: u16, value: u16) -> Emit {
        code!(self; pushf(); pop(ax); and(ax, i32::from(mask as i16)); cmp(ax, i32::from(value as i16)));
        self.fail_unless_equal()
    }

    /// Goes on only if ZF is set.
    pub fn check_zf(&mut self) -> Emit {
        self.fail_unless_equal()
    }

    /// Runs `body`, during which `vector` is to be delivered with the return address at its start (or `at`).
    pub fn expect(&mut self, vector: u8, at: Option<&str>, body: impl FnOnce(&mut Self) -> Emit) -> Emit {
        self.caught = true;
        let id = self.fresh("e");
        let (stub, start, after) = (format!("{id}.stub"), format!("{id}.start"), format!("{id}.after"));
        code!(self;
            mov(word_ptr(u32::from(vector) * 4), self.addr(&stub) as i32); mov(word_ptr(u32::from(vector) * 4 + 2), 0);
            mov(byte_ptr(VEC), 0xFFu32);
            mov(word_ptr(SAVED_SP), sp); mov(word_ptr(RESUME), self.addr(&after) as i32);
            jmp(self.at(&start)));
        self.here(&stub)?;
        code!(self; call(self.at("catch")); db(&[vector]));
        self.here(&start)?;
        body(self)?;
        self.here(&after)?;
        self.mem8_eq(VEC, vector)?;
        let ip = self.addr(at.unwrap_or(&start));
        self.mem_eq(IP, ip as u16)
    }
}
