//! Every instruction form the native judge is asked about, found by decoding all opcodes rather than from a list
//! that could forget one, and the forms that it cannot be asked about, each with the reason.

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Mnemonic};
use std::collections::BTreeMap;

/// One way to write an instruction: what generation keeps fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// 66, F2 or F3, or 0 for none.
    pub prefix: u8,
    /// 67 is part of the form (JCXZ, LOOP).
    pub address_prefix: bool,
    /// The opcode follows 0F.
    pub two_byte: bool,
    /// Opcode.
    pub opcode: u8,
    /// A ModRM byte of this form. Its reg field is fixed and it stays a register or a memory form; the rest may
    /// vary as long as the instruction stays the same.
    pub modrm: Option<u8>,
}

/// Reason for leaving out what no model has.
pub const NOT_CLAIMED: &str = "not an instruction of the models claimed";

/// Why the host CPU is not asked about an instruction. None: it is.
pub fn excluded(code: Code) -> Option<&'static str> {
    use Mnemonic as M;
    let reason = match code.mnemonic() {
        M::INVALID => NOT_CLAIMED,
        M::Int => "INT n is a system call on the host",
        M::Sysenter | M::Sysexit | M::Syscall | M::Sysret => "enters or leaves the host's kernel",
        M::Iret | M::Iretd | M::Retf => "far transfer: needs the host's descriptor tables",
        M::Call | M::Jmp if code.is_call_far() || code.is_jmp_far() => {
            "far transfer: needs the host's descriptor tables"
        }
        M::Call | M::Jmp if code.is_call_far_indirect() || code.is_jmp_far_indirect() => {
            "far transfer: needs the host's descriptor tables"
        }
        M::Rdtsc | M::Rdpmc => "the counter is the host's",
        M::Cpuid => "describes the host",
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => "UMIP: answered by the host's kernel",
        // The harness stands on SS and FS.
        M::Lfs | M::Lss => "would take the harness's segments away",
        M::Pop if matches!(code, Code::Popw_SS | Code::Popd_SS | Code::Popw_FS | Code::Popd_FS) => {
            "would take the harness's segments away"
        }
        M::Reservednop if matches!(code, Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D) => {
            "a prefetch of AMD's"
        }
        M::Int1 => "reported at another address under hypervisors than on bare silicon",
        M::Loadall => "not on the host",
        _ => return feature_excluded(code),
    };
    Some(reason)
}

/// Whether an instruction cannot come to its end in user mode with IOPL 0 and no I/O permission bitmap, or ever.
pub fn completes_never(code: Code) -> bool {
    code.is_privileged() || matches!(code.mnemonic(), Mnemonic::Int3 | Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2)
}

fn feature_excluded(code: Code) -> Option<&'static str> {
    use CpuidFeature as F;
    let claimed = code.cpuid_features().iter().all(|feature| {
        matches!(
            feature,
            F::INTEL8086
                | F::INTEL186
                | F::INTEL286
                | F::INTEL386
                | F::INTEL486
                | F::CMOV
                | F::CX8
                | F::CLFSH
                | F::FPU
                | F::FPU287
                | F::FPU387
                | F::FXSR
                | F::MMX
                | F::MSR
                | F::MULTIBYTENOP
                | F::PAUSE
                | F::SSE
                | F::SSE2
        )
    });
    if claimed { None } else { Some(NOT_CLAIMED) }
}

/// All forms of all instructions the judge is asked about, in code of `bits` bits.
pub fn forms(bits: u32) -> BTreeMap<u16, Vec<Form>> {
    forms_of(bits, |code| excluded(code).is_none())
}

/// All forms of the instructions wanted, in code of `bits` bits.
pub fn forms_of(bits: u32, wanted: impl Fn(Code) -> bool) -> BTreeMap<u16, Vec<Form>> {
    let mut all: BTreeMap<u16, Vec<Form>> = BTreeMap::new();
    for two_byte in [false, true] {
        for opcode in 0..=255u8 {
            if !two_byte && is_prefix(opcode) || two_byte && matches!(opcode, 0x38 | 0x3A) {
                continue;
            }
            for (prefix, address_prefix) in
                [(0, false), (0x66, false), (0xF2, false), (0xF3, false), (0, true), (0x66, true)]
            {
                for modrm in 0..=255u8 {
                    let form = Form { prefix, address_prefix, two_byte, opcode, modrm: Some(modrm) };
                    let Some((code, has_modrm)) = decode(bits, form) else { continue };
                    if !wanted(code) {
                        continue;
                    }
                    let list = all.entry(code as u16).or_default();
                    if !has_modrm {
                        if !list.iter().any(|old| old.prefix == prefix && old.opcode == opcode) {
                            list.push(Form { modrm: None, ..form });
                        }
                        break;
                    }
                    if address_prefix {
                        // With a ModRM byte the address size is chosen freely later.
                        continue;
                    }
                    let register_form = modrm >= 0xC0;
                    let same = |old: &Form| {
                        old.prefix == prefix
                            && old.two_byte == two_byte
                            && old.opcode == opcode
                            && old.modrm.is_some_and(|m| m >> 3 & 7 == modrm >> 3 & 7 && (m >= 0xC0) == register_form)
                    };
                    if !list.iter().any(same) {
                        list.push(form);
                    }
                }
            }
        }
    }
    all
}

fn is_prefix(opcode: u8) -> bool {
    matches!(opcode, 0x0F | 0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 | 0x66 | 0x67 | 0xF0 | 0xF2 | 0xF3)
}

/// The instruction that a form's bytes are, and whether its ModRM byte is one.
fn decode(bits: u32, form: Form) -> Option<(Code, bool)> {
    let mut bytes = [0u8; 24];
    let mut len = 0;
    let mut push = |byte| {
        bytes[len] = byte;
        len += 1;
    };
    if form.address_prefix {
        push(0x67);
    }
    if form.prefix != 0 {
        push(form.prefix);
    }
    if form.two_byte {
        push(0x0F);
    }
    push(form.opcode);
    push(form.modrm?);
    let mut decoder = Decoder::with_ip(bits, &bytes, 0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let code = instruction.code();
    let op_code = code.op_code();
    let has_modrm = op_code.op_kinds().iter().any(|kind| takes_modrm(*kind))
        || op_code.is_group()
        || op_code.is_rm_group()
        || (form.opcode >= 0xD8 && form.opcode <= 0xDF && !form.two_byte)
        || (form.two_byte && matches!(form.opcode, 0x01 | 0xAE));
    Some((code, has_modrm))
}

fn takes_modrm(kind: iced_x86::OpCodeOperandKind) -> bool {
    let name = format!("{kind:?}");
    name.contains("_reg") || name.contains("_rm") || name.contains("or_mem") || name == "mem" || name == "mem_mpx"
}
