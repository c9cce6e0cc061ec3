//! The family `forms`: every instruction form that the host is not asked about, and every one that only raises an exception
//! in user mode, brought to its end at CPL 0 in code of either size. By the manual each of them leaves the arithmetic flags
//! and DF as they are, but for IRET, which takes them from the stack (SDM volume 2, "Flags Affected").

use super::generate::{Case, Expect};
use super::machine::{CODE, CODE16, CR0, CR4, DATA, HALTED, NO_EXCEPTION, Seen, TSS_SELECTOR, descriptors, selector};
use crate::conform::plant::flags;
use crate::conform::templates::{Form, NOT_CLAIMED, completes_never, excluded, forms, forms_of};
use crate::conform::values::Random;
use iced_x86::{Code, Mnemonic};
use ring86_translator::state::eflags;

/// Where far transfers go, in the code of 16 bits.
const TARGET: u32 = 0x200;
/// Where memory operands lie.
const OPERAND: u32 = DATA + 0x100;
/// The vector of INT n.
const VECTOR: u8 = 0x30;

/// Instruction forms that cases are made of.
pub struct Forms {
    /// Those that the host is asked about, in code of 32 bits.
    pub any: Vec<Form>,
    kernel: Vec<KernelForm>,
}

/// A form of this family.
#[derive(Clone, Copy)]
pub struct KernelForm {
    /// Size of code.
    pub bits: u32,
    /// What it decodes to.
    pub code: Code,
    form: Form,
}

impl Forms {
    /// Looks the forms up.
    pub fn new() -> Forms {
        let wanted = |code| excluded(code).map_or(completes_never(code), |reason| reason != NOT_CLAIMED);
        let mut kernel = Vec::new();
        for bits in [32, 16] {
            for (code, list) in forms_of(bits, wanted) {
                let Ok(code) = Code::try_from(usize::from(code)) else { continue };
                // F2 and F3 change nothing but string instructions, whose counts are of the family `strings`.
                let plain = list.into_iter().filter(|form| matches!(form.prefix, 0 | 0x66) && !form.address_prefix);
                kernel.extend(plain.map(|form| KernelForm { bits, code, form }));
            }
        }
        Forms { any: forms(32).into_values().flatten().collect(), kernel }
    }

    /// How many forms of this family there are.
    pub fn kernels(&self) -> u64 {
        self.kernel.len() as u64
    }

    /// The form of case `number`: all of them in turn.
    pub fn kernel(&self, number: u64) -> KernelForm {
        self.kernel[(number % self.kernels()) as usize]
    }
}

/// How a case must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether it raises #UD, because no model has it; otherwise it completes.
    unknown: bool,
    /// The arithmetic flags and DF afterwards.
    flags: u32,
}

/// Makes `case` one of `form`.
pub fn fill(case: &mut Case, r: &mut Random, KernelForm { bits, code, form }: KernelForm) {
    (case.cpl, case.short, case.bits) = (0, false, bits);
    case.gpr[3] = OPERAND;
    (case.gpr[6], case.gpr[7]) = (OPERAND, OPERAND);
    case.gpr[2] = r.below(0x3F0);
    case.sysenter = (selector(0, 0).into(), (DATA + 0x1800).into(), (CODE + TARGET).into());
    let name = format!("{code:?}");
    // MOV of control and debug registers takes a register, whatever mod says.
    let memory = form.modrm.is_some_and(|modrm| modrm < 0xC0) && code.mnemonic() != Mnemonic::Mov;
    let register = form.modrm.map_or(0, |modrm| modrm >> 3 & 7);
    if bits == 16 && (memory || name.starts_with("Ins") || name.starts_with("Outs")) {
        case.code.push(0x67);
    }
    case.code.extend((form.prefix != 0).then_some(form.prefix));
    case.code.extend(form.two_byte.then_some(0x0F));
    case.code.push(form.opcode);
    // [EBX], or EAX.
    case.code.extend(form.modrm.map(|modrm| if memory { modrm & 0x38 | 3 } else { modrm & 0x38 | 0xC0 }));
    let wide = |value: u32, long: bool| value.to_le_bytes()[..if long { 4 } else { 2 }].to_vec();
    let far = |offset: u32, selector: u16, long| [wide(offset, long), selector.to_le_bytes().to_vec()].concat();
    let long = ["1632", "Retfd", "Iretd", "Popd"].iter().any(|part| name.contains(part));
    // Operand, stack: what each needs to come to its end.
    let (mut operand, mut stack) = (vec![0; 8], Vec::new());
    let mut after = case.flags;
    case.gpr[0] = 0;
    match code.mnemonic() {
        Mnemonic::Call | Mnemonic::Jmp if form.modrm.is_some() => operand = far(TARGET, CODE16, long),
        Mnemonic::Call | Mnemonic::Jmp => case.code.extend(far(TARGET, CODE16, long)),
        Mnemonic::Retf => {
            stack = [wide(TARGET, long), wide(CODE16.into(), long)].concat();
            if name.ends_with("imm16") {
                case.code.extend([8, 0]);
            }
        }
        Mnemonic::Iret | Mnemonic::Iretd => {
            after = r.next32() & (eflags::ARITH | eflags::DF) | 2;
            stack = [wide(TARGET, long), wide(CODE16.into(), long), wide(after, long)].concat();
        }
        Mnemonic::Lfs | Mnemonic::Lss => operand = far(r.next32(), selector(0, 1), long),
        Mnemonic::Pop => stack = wide(selector(0, 1).into(), long),
        Mnemonic::Int => {
            case.code.push(VECTOR);
            case.gates = vec![VECTOR];
        }
        Mnemonic::Int1 => case.gates = vec![1],
        Mnemonic::Int3 => case.gates = vec![3],
        Mnemonic::In | Mnemonic::Out if name.contains("imm8") => case.code.push(0x80),
        Mnemonic::Lgdt => {
            let limit = descriptors().len() as u16 * 8 - 1;
            operand = [limit.to_le_bytes().to_vec(), wide(super::machine::GDT, true)].concat();
        }
        Mnemonic::Lidt => operand = vec![0xFF, 0x03, 0, 0, 0, 0],
        Mnemonic::Ltr => {
            case.gpr[0] = TSS_SELECTOR.into();
            operand = wide(TSS_SELECTOR.into(), false);
        }
        Mnemonic::Lmsw => {
            case.gpr[0] = CR0 as u32 & 0xF;
            operand = wide(CR0 as u32 & 0xF, false);
        }
        Mnemonic::Mov if name.starts_with("Mov_cr") => {
            case.gpr[0] = match register {
                0 => CR0 as u32,
                3 => super::machine::DIRECTORY,
                4 => CR4 as u32,
                _ => r.next32(),
            };
        }
        Mnemonic::Mov if name.starts_with("Mov_dr") => {
            case.gpr[0] = match register {
                6 => 0xFFFF_0FF0,
                7 => 0x400,
                _ => r.next32(),
            };
        }
        Mnemonic::Wrmsr => (case.gpr[0], case.gpr[1], case.gpr[2]) = (selector(0, 0).into(), 0x174, 0),
        Mnemonic::Rdmsr => case.gpr[1] = 0x174,
        Mnemonic::Rdpmc => case.gpr[1] = 0,
        Mnemonic::Sysexit => (case.gpr[1], case.gpr[2]) = (DATA + 0x1800, CODE + TARGET),
        _ => {}
    }
    case.memory = vec![(OPERAND, operand), (case.gpr[4], stack)];
    let unknown = match code.mnemonic() {
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 | Mnemonic::Loadall => true,
        Mnemonic::Syscall | Mnemonic::Sysret => true,
        // With CR4.DE DR4 and DR5 are none; CR1 and those above CR4 never are.
        Mnemonic::Mov if name.contains("dr") => matches!(register, 4 | 5),
        Mnemonic::Mov => !matches!(register, 0 | 2 | 3 | 4),
        _ => false,
    };
    case.expect = Expect::Ends(Ending { unknown, flags: after & (eflags::ARITH | eflags::DF) });
}

/// What is wrong with how a case ended.
pub fn wrong(ending: Ending, seen: &Seen) -> Option<String> {
    let end = (seen.ends[0].0, seen.ends[0].1);
    let asked = if ending.unknown { (6, None) } else { (NO_EXCEPTION, None) };
    if end != asked && (ending.unknown || end.0 != HALTED) {
        return Some(format!("the manual asks for {asked:x?} at CPL 0, it was {end:x?}"));
    }
    let flags = seen.flags & (eflags::ARITH | eflags::DF);
    (flags != ending.flags).then(|| format!("the manual asks for flags {:x}, they are {flags:x}", ending.flags))
}

/// Which of the flags that a bug may get wrong in how a case ended are not noticed.
pub fn unnoticed(ending: Ending, seen: &Seen) -> Vec<&'static str> {
    let noticed = |bit| wrong(ending, &Seen { flags: seen.flags ^ bit, ..seen.clone() }).is_some();
    flags().filter(|(_, bit)| !noticed(*bit)).map(|(name, _)| name).collect()
}
