//! The common part of the protected-mode programs: a multiboot image with its own GDT, IDT and TSS, an exception
//! catcher that records what was delivered, and checks that report through ports E9h and F4h.
//!
//! Addresses are fixed: the image at 1 MiB, the variables at 1.5 MiB, page tables at 2 MiB, scratch at 3 MiB. Code for
//! virtual-8086 mode is copied to 0800:0000 with its stack at 0900:1000.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::asm::{Asm, Emit, assemble, blob, code};

/// Where the image is loaded.
pub const IMAGE: u32 = 0x0010_0000;
/// First of the variables.
pub const VARS: u32 = 0x0018_0000;
/// Vector of the last exception or interrupt; `NONE` if there was none.
pub const VEC: u32 = VARS;
/// Its error code, or `NO_ERROR`.
pub const ERR: u32 = VARS + 4;
/// EIP that was pushed.
pub const EIP: u32 = VARS + 8;
/// CS that was pushed.
pub const CS_: u32 = VARS + 0xC;
/// EFLAGS that was pushed.
pub const EFL: u32 = VARS + 0x10;
/// ESP that was pushed, if the ring changed.
pub const ESP_: u32 = VARS + 0x14;
/// SS that was pushed, if the ring changed.
pub const SS_: u32 = VARS + 0x18;
/// ES, DS, FS, GS that were pushed, if it came from virtual-8086 mode.
pub const V86_ES: u32 = VARS + 0x1C;
/// CR2 at the time.
pub const CR2_: u32 = VARS + 0x2C;
/// DR6 at the time.
pub const DR6_: u32 = VARS + 0x30;
/// How many were delivered since the last `arm`.
pub const COUNT: u32 = VARS + 0x34;
/// Where the catcher goes on.
pub const RESUME: u32 = VARS + 0x38;
/// ESP with which it goes on.
pub const SAVED_ESP: u32 = VARS + 0x3C;
/// The general registers at the time, in the order PUSHAD leaves them: EDI first, EAX last.
pub const REGS: u32 = VARS + 0x60;
/// The segment registers at the time: GS, FS, ES, DS, a doubleword each.
pub const SREGS: u32 = VARS + 0x80;
/// Handler's ESP at entry.
pub const HANDLER_ESP: u32 = VARS + 0x90;
/// A place for whatever a test counts.
pub const USER: u32 = VARS + 0x100;
/// `VEC` when nothing was delivered.
pub const NONE: u32 = 0xFFFF_FFFF;
/// `ERR` when no error code was pushed.
pub const NO_ERROR: u32 = 0xEEEE_EEEE;

/// Flat ring-0 code.
pub const KCODE: u32 = 0x08;
/// Flat ring-0 data.
pub const KDATA: u32 = 0x10;
/// Flat ring-3 code.
pub const UCODE: u32 = 0x1B;
/// Flat ring-3 data.
pub const UDATA: u32 = 0x23;
/// The running task.
pub const TSS0_SEL: u32 = 0x28;
/// Flat 16-bit ring-0 code, limit FFFFh, base 0.
pub const KCODE16: u32 = 0x30;
/// 16-bit ring-0 data, limit FFFFh, base 0.
pub const KDATA16: u32 = 0x38;
/// First selector that tests may fill.
pub const FREE: u32 = 0x40;
/// Last byte of the GDT.
pub const GDT_LIMIT: u32 = 0x1FF;

/// Top of the ring-0 stack that the tests run on.
pub const STACK: u32 = 0x0017_F000;
/// Ring-0 stack of the TSS.
pub const STACK0: u32 = 0x0017_8000;
/// Top of the ring-3 stack.
pub const USTACK: u32 = 0x0017_0000;
/// Page directory.
pub const PD: u32 = 0x0020_0000;
/// First page table; the second follows.
pub const PT: u32 = 0x0020_1000;
/// Free memory for the tests, up to 4 MiB.
pub const SCRATCH: u32 = 0x0030_0000;
/// TSS of the running task.
pub const TSS0: u32 = 0x0018_1000;
/// Local descriptor table, if a test wants one.
pub const LDT: u32 = 0x0018_4000;

/// Access byte: present, ring 0, data, writable, accessed.
pub const DATA0: u8 = 0x93;
/// Access byte: present, ring 3, data, writable, accessed.
pub const DATA3: u8 = 0xF3;
/// Access byte: present, ring 0, code, readable, accessed.
pub const CODE0: u8 = 0x9B;

/// A segment descriptor (SDM 3A 3.4.5). `flags` is the upper nibble: G, D/B, L, AVL.
pub const fn desc(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    (limit as u64 & 0xFFFF)
        | ((base as u64 & 0xFF_FFFF) << 16)
        | ((access as u64) << 40)
        | ((limit as u64 >> 16 & 0xF) << 48)
        | ((flags as u64 & 0xF) << 52)
        | ((base as u64 >> 24) << 56)
}

/// A gate descriptor (SDM 3A 5.8.3): `access` with its type, `count` parameters.
pub const fn gate(selector: u32, offset: u32, access: u8, count: u8) -> u64 {
    (offset as u64 & 0xFFFF)
        | ((selector as u64) << 16)
        | ((count as u64) << 32)
        | ((access as u64) << 40)
        | ((offset as u64 >> 16) << 48)
}

/// Where a fault is to be reported.
#[derive(Clone, Debug)]
pub enum Where {
    /// At the instruction behind the `mark` (or the first one, if there is none).
    Fault,
    /// Behind the last instruction.
    End,
    /// At this name.
    Name(&'static str),
    /// At this address.
    Addr(u32),
    /// Anywhere.
    Any,
}

/// What is to be delivered.
#[derive(Clone, Debug)]
pub struct Fault {
    vector: u32,
    error: u32,
    at: Where,
    user: bool,
    eflags: u32,
}

/// An exception without error code, restarting at the faulting instruction.
pub const fn fault(vector: u32) -> Fault {
    Fault { vector, error: NO_ERROR, at: Where::Fault, user: false, eflags: 2 }
}

/// An exception with error code, restarting at the faulting instruction.
pub const fn fault_e(vector: u32, error: u32) -> Fault {
    Fault { vector, error, at: Where::Fault, user: false, eflags: 2 }
}

impl Fault {
    /// With the return address there.
    pub fn at(mut self, at: Where) -> Self {
        self.at = at;
        self
    }
    /// The code runs in ring 3.
    pub const fn user(mut self) -> Self {
        self.user = true;
        self
    }
    /// The code runs in ring 3 with these flags.
    pub const fn user_flags(mut self, eflags: u32) -> Self {
        self.user = true;
        self.eflags = eflags;
        self
    }
}

/// The program being written.
pub struct Pm<'a> {
    asm: &'a mut Asm,
    checks: u32,
    current: Vec<String>,
}

impl std::ops::Deref for Pm<'_> {
    type Target = Asm;
    fn deref(&self) -> &Asm {
        self.asm
    }
}
impl std::ops::DerefMut for Pm<'_> {
    fn deref_mut(&mut self) -> &mut Asm {
        self.asm
    }
}

/// Vectors that push an error code (SDM 3A 6.15).
const WITH_ERROR: [u32; 7] = [8, 10, 11, 12, 13, 14, 17];

/// Assembles a program: entry, body, pass report, runtime, tables.
pub fn build(name: &str, body: &dyn Fn(&mut Pm) -> Emit) -> Result<Vec<u8>, IcedError> {
    assemble(IMAGE, 32, &|asm| {
        let mut t = Pm { asm, checks: 0, current: Vec::new() };
        t.prologue()?;
        body(&mut t)?;
        code!(t.asm; jmp(t.at("pass")));
        t.report(name)?;
        t.runtime()?;
        t.tables()
    })
}

/// Assembles a program that defines `fail` (EAX: value found, EBX: number of the check), `stray` (an exception nobody
/// expects) and `print` itself, and does not come back.
pub fn build_hosted(body: &dyn Fn(&mut Pm) -> Emit) -> Result<Vec<u8>, IcedError> {
    assemble(IMAGE, 32, &|asm| {
        let mut t = Pm { asm, checks: 0, current: Vec::new() };
        t.prologue()?;
        body(&mut t)?;
        t.runtime()?;
        t.tables()
    })
}

impl Pm<'_> {
    fn prologue(&mut self) -> Emit {
        let t = &mut *self.asm;
        // Multiboot 1 header with the address fields (bit 16), so that the flat image needs no ELF around it.
        const MAGIC: u32 = 0x1BAD_B002;
        const FLAGS: u32 = 0x0001_0000;
        let check = 0u32.wrapping_sub(MAGIC).wrapping_sub(FLAGS);
        code!(t; dd(&[MAGIC, FLAGS, check, IMAGE, IMAGE, 0, 0, t.addr("entry")]));
        t.here("entry")?;
        code!(t;
            cli(); cld();
            lgdt(fword_ptr(t.addr("gdtr")));
            jmp_far(KCODE as u16, t.addr("flat")));
        t.here("flat")?;
        code!(t;
            mov(eax, KDATA); mov(ds, eax); mov(es, eax); mov(fs, eax); mov(gs, eax); mov(ss, eax);
            mov(esp, STACK);
            lidt(fword_ptr(t.addr("idtr")));
            // Variables and TSS start as zeros.
            mov(edi, VARS); mov(ecx, 0x4000u32 / 4); xor(eax, eax); rep().stosd();
            mov(dword_ptr(TSS0 + 4), STACK0); mov(dword_ptr(TSS0 + 8), KDATA);
            mov(dword_ptr(TSS0 + 0x64), 0x0068_0000u32);
            mov(eax, TSS0_SEL); ltr(ax);
            xor(eax, eax); lldt(ax);
            // Both interrupt controllers masked, at vectors 20h and 28h.
            mov(al, 0x11); out(0x20, al); out(0xA0u32, al);
            mov(al, 0x20); out(0x21, al); mov(al, 0x28); out(0xA1u32, al);
            mov(al, 4); out(0x21, al); mov(al, 2); out(0xA1u32, al);
            mov(al, 1); out(0x21, al); out(0xA1u32, al);
            mov(al, 0xFFu32); out(0x21, al); out(0xA1u32, al);
            push(2); popfd();
            mov(dword_ptr(VEC), NONE));
        Ok(())
    }

    /// How a program tells its end.
    fn report(&mut self, name: &str) -> Emit {
        let t = &mut *self.asm;
        t.here("pass")?;
        code!(t; mov(esi, t.addr("text.pass")); call(t.at("print")); xor(eax, eax); jmp(t.at("exit")));
        // EAX: the value found; EBX: the number of the check.
        t.here("fail")?;
        code!(t;
            push(eax); push(ebx);
            mov(esi, t.addr("text.fail")); call(t.at("print"));
            mov(eax, dword_ptr(esp)); call(t.at("print.hex"));
            mov(esi, t.addr("text.found")); call(t.at("print"));
            mov(eax, dword_ptr(esp + 4)); call(t.at("print.hex"));
            mov(al, 10); out(0xE9u32, al);
            pop(eax));
        t.here("exit")?;
        code!(t;
            mov(dx, 0xF4); out(dx, eax);
            // A machine without the exit port may have the one that takes this word.
            mov(esi, t.addr("text.shutdown")); mov(dx, 0x8900u32); mov(ecx, 8); rep().outsb());
        t.here("forever")?;
        code!(t; cli(); hlt(); jmp(t.at("forever")));
        t.here("print")?;
        code!(t; cld(); mov(edx, 0xE9));
        t.here("print.next")?;
        code!(t; lodsb(); test(al, al); je(t.at("print.end")); out(dx, al); jmp(t.at("print.next")));
        t.here("print.end")?;
        code!(t; ret());
        t.here("print.hex")?;
        code!(t; mov(edx, 0xE9); mov(ecx, 8); mov(ebx, eax));
        t.here("print.digit")?;
        code!(t;
            rol(ebx, 4); mov(al, bl); and(al, 15); cmp(al, 10); sbb(al, 0x69); das(); out(dx, al);
            loop_(t.at("print.digit")); ret());
        t.here("stray")?;
        code!(t; mov(esp, STACK); mov(esi, t.addr("text.unexpected")); call(t.at("print")));
        for var in [VEC, ERR, EIP, CR2_] {
            code!(t; mov(eax, dword_ptr(var)); call(t.at("print.hex")); mov(al, 32); out(0xE9u32, al));
        }
        code!(t; mov(eax, dword_ptr(VEC)); mov(ebx, 99); jmp(t.at("fail")));
        t.here("text.pass")?;
        t.text(format!("PASS {name}\n\0").as_bytes())?;
        t.here("text.fail")?;
        t.text(format!("FAIL {name} check \0").as_bytes())?;
        t.here("text.found")?;
        t.text(b" found \0")?;
        t.here("text.unexpected")?;
        t.text(b"unexpected vector, error, eip, cr2: \0")?;
        t.here("text.shutdown")?;
        t.text(b"Shutdown")
    }

    /// The exception catcher.
    fn runtime(&mut self) -> Emit {
        let t = &mut *self.asm;
        for vector in (0..0x30).chain([0x80]) {
            t.here(&format!("v{vector}"))?;
            if !WITH_ERROR.contains(&vector) {
                code!(t; push(NO_ERROR as i32));
            }
            code!(t; push(vector as i32); jmp(t.at("catch")));
        }
        t.here("catch")?;
        code!(t;
            push(ds); push(es); push(fs); push(gs); pushad();
            mov(eax, KDATA); mov(ds, eax); mov(es, eax); cld();
            mov(dword_ptr(HANDLER_ESP), esp);
            mov(esi, esp); mov(edi, REGS); mov(ecx, 12); rep().movsd();
            mov(edi, VEC); mov(ecx, 11); rep().movsd();
            mov(eax, cr2); mov(dword_ptr(CR2_), eax);
            mov(eax, dr6); mov(dword_ptr(DR6_), eax);
            inc(dword_ptr(COUNT));
            mov(eax, KDATA); mov(fs, eax); mov(gs, eax); mov(ss, eax);
            mov(esp, dword_ptr(SAVED_ESP));
            mov(eax, dword_ptr(RESUME)); test(eax, eax); je(t.at("unexpected"));
            mov(dword_ptr(RESUME), 0);
            push(2); popfd();
            jmp(eax));
        t.here("unexpected")?;
        code!(t; jmp(t.at("stray")));
        Ok(())
    }

    fn tables(&mut self) -> Emit {
        let t = &mut *self.asm;
        t.align(16)?;
        t.here("gdt")?;
        let mut gdt = [0u64; 0x40];
        gdt[1] = desc(0, 0xF_FFFF, 0x9B, 0xC);
        gdt[2] = desc(0, 0xF_FFFF, 0x93, 0xC);
        gdt[3] = desc(0, 0xF_FFFF, 0xFB, 0xC);
        gdt[4] = desc(0, 0xF_FFFF, 0xF3, 0xC);
        gdt[5] = desc(TSS0, 0x67, 0x89, 0);
        gdt[6] = desc(0, 0xFFFF, 0x9B, 0);
        gdt[7] = desc(0, 0xFFFF, 0x93, 0);
        t.a.dq(&gdt)?;
        t.here("idt")?;
        for vector in 0..0x81 {
            let entry = if vector < 0x30 || vector == 0x80 {
                let access = if vector == 0x80 || vector == 3 || vector == 4 { 0xEE } else { 0x8E };
                gate(KCODE, t.addr(&format!("v{vector}")), access, 0)
            } else {
                0
            };
            t.a.dq(&[entry])?;
        }
        t.here("gdtr")?;
        code!(t; dw(&[GDT_LIMIT as u16]); dd(&[t.addr("gdt")]));
        t.here("idtr")?;
        code!(t; dw(&[0x81 * 8 - 1]); dd(&[t.addr("idt")]));
        t.here("idtr.real")?;
        code!(t; dw(&[0x3FF]); dd(&[0]));
        t.align(4)?;
        t.here("data")?;
        t.a.dd(&[0; 16])?;
        Ok(())
    }

    /// The number of the next check; it is what a failing program puts on the exit port.
    fn number(&mut self) -> u32 {
        self.checks += 1;
        self.checks
    }

    /// With the comparison just done: fails, showing EAX as loaded by `load`, unless ZF is set.
    fn unless_equal(&mut self, load: impl FnOnce(&mut Asm) -> Emit) -> Emit {
        let n = self.number();
        let ok = self.fresh("ok");
        code!(self; je(self.at(&ok)));
        load(self.asm)?;
        code!(self; mov(ebx, n); jmp(self.at("fail")));
        self.here(&ok)
    }

    /// The register holds `value`. Changes flags only.
    pub fn eq(&mut self, reg: AsmRegister32, value: u32) -> Emit {
        code!(self; cmp(reg, value as i32));
        self.unless_equal(|a| a.a.mov(eax, reg))
    }

    /// The doubleword at `address` holds `value`. Changes flags only.
    pub fn mem_eq(&mut self, address: u32, value: u32) -> Emit {
        code!(self; cmp(dword_ptr(address), value as i32));
        self.unless_equal(|a| a.a.mov(eax, dword_ptr(address)))
    }

    /// The word at `address` holds `value`. Changes flags only.
    pub fn mem16_eq(&mut self, address: u32, value: u16) -> Emit {
        code!(self; cmp(word_ptr(address), i32::from(value as i16)));
        self.unless_equal(|a| a.a.movzx(eax, word_ptr(address)))
    }

    /// The byte at `address` holds `value`. Changes flags only.
    pub fn mem8_eq(&mut self, address: u32, value: u8) -> Emit {
        code!(self; cmp(byte_ptr(address), i32::from(value as i8)));
        self.unless_equal(|a| a.a.movzx(eax, byte_ptr(address)))
    }

    /// The bits `mask` of the doubleword at `address` are `value`. Changes flags only.
    pub fn mem_bits(&mut self, address: u32, mask: u32, value: u32) -> Emit {
        code!(self;
            push(dword_ptr(address)); and(dword_ptr(esp), mask as i32); cmp(dword_ptr(esp), value as i32);
            lea(esp, dword_ptr(esp + 4)));
        self.unless_equal(|a| a.a.mov(eax, dword_ptr(address)))
    }

    /// The flags `mask` are `value`. Changes flags only.
    pub fn flags(&mut self, mask: u32, value: u32) -> Emit {
        code!(self;
            pushfd(); and(dword_ptr(esp), mask as i32); cmp(dword_ptr(esp), value as i32);
            lea(esp, dword_ptr(esp + 4)));
        self.unless_equal(|a| a.a.mov(eax, dword_ptr(esp - 4)))
    }

    /// Fails if control gets here.
    pub fn unreachable(&mut self) -> Emit {
        let n = self.number();
        code!(self; mov(ebx, n); jmp(self.at("fail")));
        Ok(())
    }

    /// The next instruction is the one that `Where::Fault` means.
    pub fn mark(&mut self) -> Emit {
        let name = format!("{}.mark", self.current.last().cloned().unwrap_or_default());
        self.here(&name)
    }

    /// Arms the catcher: after the next exception control goes on at `resume`, with the ESP of now.
    pub fn arm(&mut self, resume: &str) -> Emit {
        code!(self;
            mov(dword_ptr(VEC), NONE); mov(dword_ptr(COUNT), 0);
            mov(dword_ptr(RESUME), self.addr(resume)); mov(dword_ptr(SAVED_ESP), esp));
        Ok(())
    }

    /// Goes to ring 3 at `target` with `eflags`. Changes EAX.
    pub fn enter_user(&mut self, target: &str, eflags: u32) -> Emit {
        code!(self;
            mov(eax, UDATA); mov(ds, eax); mov(es, eax); mov(fs, eax); mov(gs, eax);
            push(UDATA as i32); push(USTACK as i32); push(eflags as i32); push(UCODE as i32);
            push(self.addr(target) as i32); iretd());
        Ok(())
    }

    /// Runs `body` and checks that `what` is delivered. What follows runs in ring 0 with flat segments.
    pub fn expect(&mut self, what: Fault, body: impl FnOnce(&mut Self) -> Emit) -> Emit {
        let id = self.fresh("expect");
        let (start, end, after) = (format!("{id}.start"), format!("{id}.end"), format!("{id}.after"));
        self.arm(&after)?;
        if what.user {
            self.enter_user(&start, what.eflags)?;
        }
        self.here(&start)?;
        self.current.push(id.clone());
        body(self)?;
        self.current.pop();
        self.here(&end)?;
        if what.user {
            code!(self; int(0x80));
        }
        self.here(&after)?;
        code!(self; mov(dword_ptr(RESUME), 0));
        let mark = format!("{id}.mark");
        let eip = match &what.at {
            Where::Fault if self.is_known(&mark) => Some(self.addr(&mark)),
            Where::Fault => Some(self.addr(&start)),
            Where::End => Some(self.addr(&end)),
            Where::Name(name) => Some(self.addr(name)),
            Where::Addr(address) => Some(*address),
            Where::Any => None,
        };
        self.mem_eq(VEC, what.vector)?;
        self.mem_eq(ERR, what.error)?;
        if let Some(eip) = eip {
            self.mem_eq(EIP, eip)?;
        }
        self.mem_eq(COUNT, 1)
    }

    /// Runs `body`, in ring 3 if `user`, and checks that nothing is delivered.
    pub fn no_fault(&mut self, user: bool, body: impl FnOnce(&mut Self) -> Emit) -> Emit {
        if user {
            let what = Fault { vector: 0x80, error: NO_ERROR, at: Where::Any, user, eflags: 2 };
            self.expect(what, body)
        } else {
            self.arm("unexpected")?;
            body(self)?;
            self.mem_eq(COUNT, 0)
        }
    }

    /// Writes a descriptor into the GDT at run time.
    pub fn gdt(&mut self, selector: u32, descriptor: u64) -> Emit {
        let at = self.addr("gdt") + (selector & !7);
        self.store64(at, descriptor)
    }

    /// Writes a gate into the IDT at run time.
    pub fn idt(&mut self, vector: u32, descriptor: u64) -> Emit {
        let at = self.addr("idt") + vector * 8;
        self.store64(at, descriptor)
    }

    /// Writes eight bytes at run time.
    pub fn store64(&mut self, at: u32, value: u64) -> Emit {
        code!(self; mov(dword_ptr(at), value as u32); mov(dword_ptr(at + 4), (value >> 32) as u32));
        Ok(())
    }

    /// Maps the first 8 MiB one to one with 4 KiB pages that ring 3 may write, and turns paging on. Changes EAX, ECX, EDI.
    pub fn paging(&mut self) -> Emit {
        let next = self.fresh("paging");
        code!(self;
            mov(edi, PD); mov(ecx, 0x400); xor(eax, eax); rep().stosd();
            mov(dword_ptr(PD), PT | 7); mov(dword_ptr(PD + 4), (PT + 0x1000) | 7);
            mov(edi, PT); mov(eax, 7); mov(ecx, 0x800));
        self.here(&next)?;
        code!(self;
            stosd(); add(eax, 0x1000); loop_(self.at(&next));
            mov(eax, PD); mov(cr3, eax);
            mov(eax, cr0); or(eax, 0x8000_0000u32); mov(cr0, eax));
        Ok(())
    }

    /// The address of the page-table entry of a linear address below 8 MiB.
    pub fn pte_of(linear: u32) -> u32 {
        PT + (linear >> 12) * 4
    }

    /// Writes the page-table entry of `linear` and invalidates it.
    pub fn pte(&mut self, linear: u32, entry: u32) -> Emit {
        code!(self; mov(dword_ptr(Self::pte_of(linear)), entry); invlpg(byte_ptr(linear)));
        Ok(())
    }

    /// Code that is assembled for `runs_at` and copied there at run time. Changes ECX, ESI, EDI.
    pub fn copy_code(&mut self, runs_at: u32, copy_to: u32, bitness: u32, body: &dyn Fn(&mut Asm) -> Emit) -> Emit {
        let bytes = blob(runs_at, bitness, body)?;
        let (data, past) = (self.fresh("blob"), self.fresh("blob"));
        code!(self;
            cld(); mov(esi, self.addr(&data)); mov(edi, copy_to); mov(ecx, bytes.len() as u32); rep().movsb();
            jmp(self.at(&past)));
        self.here(&data)?;
        self.text(&bytes)?;
        self.here(&past)
    }

    /// Jumps to `to` unless CPUID leaf 1 EDX has `bit`: for facts of features a processor may lack. Changes EAX to EDX.
    pub fn unless_feature(&mut self, bit: u32, to: &str) -> Emit {
        code!(self; mov(eax, 1); cpuid(); bt(edx, bit); jae(self.at(to)));
        Ok(())
    }
}
