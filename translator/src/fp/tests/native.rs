//! The host's own instructions.
#![expect(unsafe_code, reason = "the judge of the tests is the processor, reached by inline assembly")]

use std::arch::asm;
use std::sync::LazyLock;

use super::super::F80;

/// Whether the processor is one of Intel's, which have ways of their own where a result is tiny. Ring86 does as AMD's.
pub(super) fn is_intel() -> bool {
    static INTEL: LazyLock<bool> = LazyLock::new(|| std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Genu"));
    *INTEL
}

/// What the x87 unit holds after an instruction, as FNSAVE shows it.
#[derive(Clone, Copy)]
pub(super) struct Saved {
    image: [u8; 108],
    /// Ten bytes of memory the instruction may have written; 0xa5 each before.
    pub(super) memory: [u8; 10],
    /// RFLAGS after the instruction.
    pub(super) rflags: u64,
}

impl Saved {
    pub(super) fn status(&self) -> u16 {
        u16::from_le_bytes([self.image[4], self.image[5]])
    }
    pub(super) fn st(&self, i: usize) -> F80 {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&self.image[28 + i * 10..38 + i * 10]);
        F80::from_bytes(bytes)
    }
    pub(super) fn top(&self) -> u16 {
        self.status() >> 11 & 7
    }
}

/// An x87 instruction with ST(0) = a, ST(1) = b, or the ten bytes at [rsi] as memory operand.
pub(super) type X87 = fn(F80, F80, u16, [u8; 10]) -> Saved;

macro_rules! x87 {
    ($name:ident, $insn:literal) => {
        pub(super) fn $name(a: F80, b: F80, control: u16, memory: [u8; 10]) -> Saved {
            let mut saved = Saved { image: [0; 108], memory, rflags: 0 };
            let operands = [a.to_bytes(), b.to_bytes()];
            // SAFETY: the pointers are to live locals of the sizes the instructions access; FNSAVE leaves the unit
            // initialised and empty, as it was on entry, and no waiting instruction runs while an exception pends.
            unsafe {
                asm!(
                    "fninit",
                    "fld tbyte ptr [{o} + 10]",
                    "fld tbyte ptr [{o}]",
                    "fldcw word ptr [{c}]",
                    $insn,
                    "pushfq",
                    "pop {f}",
                    "fnsave [{i}]",
                    o = in(reg) &raw const operands,
                    c = in(reg) &raw const control,
                    i = in(reg) &raw mut saved.image,
                    f = out(reg) saved.rflags,
                    in("rsi") &raw mut saved.memory,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
                    out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
                );
            }
            saved
        }
    };
}

x87!(fadd, "fadd st(0), st(1)");
x87!(fsub, "fsub st(0), st(1)");
x87!(fsubr, "fsubr st(0), st(1)");
x87!(fmul, "fmul st(0), st(1)");
x87!(fdiv, "fdiv st(0), st(1)");
x87!(fdivr, "fdivr st(0), st(1)");
x87!(fsqrt, "fsqrt");
x87!(frndint, "frndint");
x87!(fscale, "fscale");
x87!(fxtract, "fxtract");
x87!(fprem, "fprem");
x87!(fprem1, "fprem1");
x87!(fcom, "fcom st(1)");
x87!(fcomp, "fcomp st(1)");
x87!(ftst, "ftst");
x87!(fucom, "fucom st(1)");
x87!(fcomi, "fcomi st(0), st(1)");
x87!(fxam, "fxam");
x87!(fadd_m32, "fadd dword ptr [rsi]");
x87!(fadd_m64, "fadd qword ptr [rsi]");
x87!(fsub_m32, "fsub dword ptr [rsi]");
x87!(fsubr_m64, "fsubr qword ptr [rsi]");
x87!(fmul_m32, "fmul dword ptr [rsi]");
x87!(fmul_m64, "fmul qword ptr [rsi]");
x87!(fdiv_m32, "fdiv dword ptr [rsi]");
x87!(fdiv_m64, "fdiv qword ptr [rsi]");
x87!(fdivr_m32, "fdivr dword ptr [rsi]");
x87!(fdivr_m64, "fdivr qword ptr [rsi]");
x87!(fiadd_m32, "fiadd dword ptr [rsi]");
x87!(fidivr_m16, "fidivr word ptr [rsi]");
x87!(fcom_m32, "fcom dword ptr [rsi]");
x87!(fcom_m64, "fcom qword ptr [rsi]");
x87!(fld_m32, "fld dword ptr [rsi]");
x87!(fld_m64, "fld qword ptr [rsi]");
x87!(fild_m16, "fild word ptr [rsi]");
x87!(fild_m32, "fild dword ptr [rsi]");
x87!(fild_m64, "fild qword ptr [rsi]");
x87!(fbld, "fbld [rsi]");
x87!(fst_m32, "fst dword ptr [rsi]");
x87!(fst_m64, "fst qword ptr [rsi]");
x87!(fist_m16, "fist word ptr [rsi]");
x87!(fist_m32, "fist dword ptr [rsi]");
x87!(fistp_m64, "fistp qword ptr [rsi]");
x87!(fisttp_m16, "fisttp word ptr [rsi]");
x87!(fisttp_m32, "fisttp dword ptr [rsi]");
x87!(fisttp_m64, "fisttp qword ptr [rsi]");
x87!(fbstp, "fbstp [rsi]");
x87!(fldl2t, "fldl2t");
x87!(fldl2e, "fldl2e");
x87!(fldpi, "fldpi");
x87!(fldlg2, "fldlg2");
x87!(fldln2, "fldln2");
x87!(f2xm1, "f2xm1");
x87!(fyl2x, "fyl2x");
x87!(fyl2xp1, "fyl2xp1");
x87!(fpatan, "fpatan");
x87!(fsin, "fsin");
x87!(fcos, "fcos");
x87!(fsincos, "fsincos");
x87!(fptan, "fptan");

/// What an SSE instruction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Simd {
    /// XMM0, or RAX, or what LAHF showed.
    pub(super) value: u64,
    /// MXCSR afterwards.
    pub(super) mxcsr: u32,
    /// The instruction raised #XM.
    pub(super) faulted: bool,
}

/// A two-operand SSE instruction on the low lanes of a and b under an MXCSR.
pub(super) type Sse = fn(u64, u64, u32) -> Simd;

/// Lets a SIMD exception skip the instruction: execution goes on at the address in R11, with R10 telling.
pub(super) fn catch_simd_exceptions() {
    extern "C" fn skip(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid ucontext to a handler installed with SA_SIGINFO, and the only code of this
        // process that raises SIGFPE is that of the macro below, which keeps an address of its own in R11.
        unsafe {
            let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
            registers[libc::REG_RIP as usize] = registers[libc::REG_R11 as usize];
            registers[libc::REG_R10 as usize] = 1;
        }
    }
    // SAFETY: an all-zero sigaction is a valid one, and the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = skip as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGFPE, &raw const action, std::ptr::null_mut()), 0);
    }
}

macro_rules! sse {
    ($name:ident, $insn:literal) => {
        sse!($name, $insn, "movq rax, xmm0");
    };
    ($name:ident, int $insn:literal) => {
        sse!($name, $insn, "");
    };
    ($name:ident, $insn:literal, $result:literal) => {
        pub(super) fn $name(a: u64, b: u64, mxcsr: u32) -> Simd {
            let (mut after, usual) = (mxcsr, 0x1f80u32);
            let (value, faulted): (u64, u64);
            // SAFETY: the pointers are to live locals, MXCSR is put back, and an exception goes on at label 2.
            unsafe {
                asm!(
                    "movq xmm0, {a}",
                    "movq xmm1, {b}",
                    "xor eax, eax",
                    "xor r10d, r10d",
                    "lea r11, [rip + 2f]",
                    "ldmxcsr [{m}]",
                    $insn,
                    "2:",
                    "stmxcsr [{m}]",
                    "ldmxcsr [{u}]",
                    $result,
                    a = in(reg) a,
                    b = in(reg) b,
                    m = in(reg) &raw mut after,
                    u = in(reg) &raw const usual,
                    out("rax") value, out("r10") faulted, out("r11") _, out("xmm0") _, out("xmm1") _,
                );
            }
            Simd { value, mxcsr: after, faulted: faulted != 0 }
        }
    };
}

sse!(addss, "addss xmm0, xmm1");
sse!(subss, "subss xmm0, xmm1");
sse!(mulss, "mulss xmm0, xmm1");
sse!(divss, "divss xmm0, xmm1");
sse!(sqrtss, "sqrtss xmm0, xmm1");
sse!(minss, "minss xmm0, xmm1");
sse!(maxss, "maxss xmm0, xmm1");
sse!(addsd, "addsd xmm0, xmm1");
sse!(subsd, "subsd xmm0, xmm1");
sse!(mulsd, "mulsd xmm0, xmm1");
sse!(divsd, "divsd xmm0, xmm1");
sse!(sqrtsd, "sqrtsd xmm0, xmm1");
sse!(minsd, "minsd xmm0, xmm1");
sse!(maxsd, "maxsd xmm0, xmm1");
sse!(cmpss0, "cmpss xmm0, xmm1, 0");
sse!(cmpss1, "cmpss xmm0, xmm1, 1");
sse!(cmpss2, "cmpss xmm0, xmm1, 2");
sse!(cmpss3, "cmpss xmm0, xmm1, 3");
sse!(cmpss4, "cmpss xmm0, xmm1, 4");
sse!(cmpss5, "cmpss xmm0, xmm1, 5");
sse!(cmpss6, "cmpss xmm0, xmm1, 6");
sse!(cmpss7, "cmpss xmm0, xmm1, 7");
sse!(cmpsd0, "cmpsd xmm0, xmm1, 0");
sse!(cmpsd1, "cmpsd xmm0, xmm1, 1");
sse!(cmpsd2, "cmpsd xmm0, xmm1, 2");
sse!(cmpsd3, "cmpsd xmm0, xmm1, 3");
sse!(cmpsd4, "cmpsd xmm0, xmm1, 4");
sse!(cmpsd5, "cmpsd xmm0, xmm1, 5");
sse!(cmpsd6, "cmpsd xmm0, xmm1, 6");
sse!(cmpsd7, "cmpsd xmm0, xmm1, 7");
sse!(cvtss2sd, "cvtss2sd xmm0, xmm1");
sse!(cvtsd2ss, "cvtsd2ss xmm0, xmm1");
sse!(rcpss, "rcpss xmm0, xmm1");
sse!(rsqrtss, "rsqrtss xmm0, xmm1");
sse!(cvtsi2ss32, "movd eax, xmm1\ncvtsi2ss xmm0, eax");
sse!(cvtsi2ss64, "movq rax, xmm1\ncvtsi2ss xmm0, rax");
sse!(cvtsi2sd32, "movd eax, xmm1\ncvtsi2sd xmm0, eax");
sse!(cvtsi2sd64, "movq rax, xmm1\ncvtsi2sd xmm0, rax");
sse!(cvtss2si32, int "cvtss2si eax, xmm1");
sse!(cvtss2si64, int "cvtss2si rax, xmm1");
sse!(cvttss2si32, int "cvttss2si eax, xmm1");
sse!(cvttss2si64, int "cvttss2si rax, xmm1");
sse!(cvtsd2si32, int "cvtsd2si eax, xmm1");
sse!(cvtsd2si64, int "cvtsd2si rax, xmm1");
sse!(cvttsd2si32, int "cvttsd2si eax, xmm1");
sse!(cvttsd2si64, int "cvttsd2si rax, xmm1");
sse!(comiss, int "comiss xmm0, xmm1\nlahf\nmovzx eax, ah");
sse!(ucomiss, int "ucomiss xmm0, xmm1\nlahf\nmovzx eax, ah");
sse!(comisd, int "comisd xmm0, xmm1\nlahf\nmovzx eax, ah");
sse!(ucomisd, int "ucomisd xmm0, xmm1\nlahf\nmovzx eax, ah");
