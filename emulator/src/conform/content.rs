//! What memory operands and registers hold: numbers in the format an instruction works on, x87 environments, MXCSR,
//! FXSAVE images.

use super::layout::SELECTORS;
use super::values::Random;
use iced_x86::{Code, CpuidFeature, Instruction, Mnemonic};

/// What the bytes at an operand should look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Integer,
    Single,
    Double,
    Extended,
    Bcd,
    Mxcsr,
    FpuEnvironment,
    FpuState,
    FxImage,
    Landing,
    Selector,
    FarPointer,
}

pub(super) fn content(instruction: &Instruction) -> Content {
    use Mnemonic as M;
    use iced_x86::MemorySize as S;
    match instruction.mnemonic() {
        M::Fxrstor => return Content::FxImage,
        M::Frstor => return Content::FpuState,
        M::Fldenv => return Content::FpuEnvironment,
        M::Lar | M::Lsl | M::Verr | M::Verw => return Content::Selector,
        M::Lds | M::Les | M::Lgs => return Content::FarPointer,
        M::Mov | M::Pop if instruction.op0_register().is_segment_register() => return Content::Selector,
        M::Ldmxcsr => return Content::Mxcsr,
        _ => {}
    }
    match instruction.memory_size() {
        S::Float32 | S::Packed128_Float32 | S::Packed64_Float32 => Content::Single,
        S::Float64 | S::Packed128_Float64 => Content::Double,
        S::Float80 => Content::Extended,
        S::Bcd => Content::Bcd,
        _ => Content::Integer,
    }
}

pub(super) fn fill(bytes: &mut [u8], content: Content, random: &mut Random) {
    match content {
        Content::Integer | Content::Landing => {}
        Content::FarPointer => {
            for (byte, value) in bytes.iter_mut().rev().zip(random.pick(&SELECTORS).to_le_bytes().into_iter().rev()) {
                *byte = value;
            }
        }
        Content::Selector => {
            for (byte, value) in bytes.iter_mut().zip(random.pick(&SELECTORS).to_le_bytes()) {
                *byte = value;
            }
        }
        Content::Single => {
            for chunk in bytes.chunks_exact_mut(4) {
                chunk.copy_from_slice(&random.f32().to_le_bytes());
            }
        }
        Content::Double => {
            for chunk in bytes.chunks_exact_mut(8) {
                chunk.copy_from_slice(&random.f64().to_le_bytes());
            }
        }
        Content::Extended => put80(bytes, 0, random.f80()),
        Content::Bcd => {
            for byte in bytes.iter_mut().take(9) {
                *byte = if random.one_in(3) { 0 } else { (random.below(10) << 4 | random.below(10)) as u8 };
            }
            if random.one_in(8) {
                // A digit beyond 9: undefined by the manual, but silicon agrees with itself.
                bytes[random.below(9) as usize] = random.next32() as u8;
            }
            if let Some(sign) = bytes.get_mut(9) {
                *sign = random.pick(&[0, 0x80, 0, 0x80, 0x7F, 0xFF]);
            }
        }
        Content::Mxcsr => {
            // Bit 17 is AMD's alone: left clear.
            let value = mxcsr(random) | if random.one_in(8) { 1 << (18 + random.below(14)) } else { 0 };
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Content::FpuEnvironment | Content::FpuState => {
            let wide = matches!(bytes.len(), 28 | 108);
            let (control, status) = (fpu_control(random), random.next32() as u16);
            let tag = if random.one_in(2) { random.next32() as u16 } else { 0 };
            let step = if wide { 4 } else { 2 };
            for (index, value) in [control, status, tag].into_iter().enumerate() {
                bytes[index * step..index * step + 2].copy_from_slice(&value.to_le_bytes());
            }
            if content == Content::FpuState {
                let start = if wide { 28 } else { 14 };
                for index in 0..8 {
                    put80(bytes, start + 10 * index, random.f80());
                }
            }
        }
        Content::FxImage => {
            fx_fill(bytes, true, random);
            if random.one_in(16) {
                bytes[26] |= 1 << (2 + random.below(6));
            }
        }
    }
}

fn put80(bytes: &mut [u8], at: usize, (significand, exponent): (u64, u16)) {
    bytes[at..at + 8].copy_from_slice(&significand.to_le_bytes());
    bytes[at + 8..at + 10].copy_from_slice(&exponent.to_le_bytes());
}

fn fpu_control(random: &mut Random) -> u16 {
    let rounding = if random.one_in(2) { 0 } else { random.below(4) as u16 };
    let precision = if random.one_in(2) { 3 } else { random.pick(&[0u16, 2, 3, 1]) };
    let masks = if random.one_in(8) { random.below(64) as u16 } else { 0x3F };
    0x40 | masks | precision << 8 | rounding << 10 | (random.below(2) as u16) << 12
}

fn mxcsr(random: &mut Random) -> u32 {
    if random.one_in(2) {
        return 0x1F80;
    }
    let masks = if random.one_in(8) { random.below(64) << 7 } else { 0x1F80 };
    let flags = if random.one_in(4) { random.below(64) } else { 0 };
    let zeroing = if random.one_in(4) { random.pick(&[0x8000, 0x40, 0x8040]) } else { 0 };
    masks | flags | zeroing | random.below(4) << 13
}

/// The x87, MMX and XMM state for an instruction.
pub(super) fn fx_image(image: &mut [u8], instruction: &Instruction, random: &mut Random) {
    use CpuidFeature as F;
    let x87 = instruction
        .cpuid_features()
        .iter()
        .any(|feature| matches!(feature, F::FPU | F::FPU287 | F::FPU387 | F::FXSR | F::MMX));
    fx_fill(image, x87 || random.one_in(16), random);
    // XMM registers in the type that the instruction computes on.
    let lane = lane_of(instruction.code());
    if lane == Lane::None {
        return;
    }
    for at in (160..288).step_by(8) {
        let value = match lane {
            Lane::Double => random.f64(),
            Lane::Single => u64::from(random.f32()) | u64::from(random.f32()) << 32,
            _ => u64::from(random.int32()) | u64::from(random.int32()) << 32,
        };
        image[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

/// An FXSAVE image as after FNINIT, with the MXCSR's default and zeros in all registers.
pub(super) fn empty_fx() -> [u8; super::layout::FX_LEN] {
    let mut image = [0; super::layout::FX_LEN];
    image[0..2].copy_from_slice(&0x037Fu16.to_le_bytes());
    image[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
    image
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    None,
    Integer,
    Single,
    Double,
}

fn lane_of(code: Code) -> Lane {
    use CpuidFeature as F;
    let features = code.cpuid_features();
    if !features.iter().any(|feature| matches!(feature, F::SSE | F::SSE2 | F::FXSR)) {
        return Lane::None;
    }
    use Mnemonic as M;
    match code.mnemonic() {
        M::Cvtss2sd | M::Cvtps2pd | M::Cvtps2dq | M::Cvttps2dq => return Lane::Single,
        M::Cvtdq2pd | M::Cvtdq2ps => return Lane::Integer,
        M::Cvtsd2ss
        | M::Cvtpd2ps
        | M::Cvtpd2dq
        | M::Cvttpd2dq
        | M::Cvtpd2pi
        | M::Cvttpd2pi
        | M::Cvtsd2si
        | M::Cvttsd2si => return Lane::Double,
        M::Addsd
        | M::Addpd
        | M::Subsd
        | M::Subpd
        | M::Mulsd
        | M::Mulpd
        | M::Divsd
        | M::Divpd
        | M::Sqrtsd
        | M::Sqrtpd
        | M::Minsd
        | M::Minpd
        | M::Maxsd
        | M::Maxpd
        | M::Cmpsd
        | M::Cmppd
        | M::Comisd
        | M::Ucomisd => return Lane::Double,
        _ => {}
    }
    if features.contains(&F::SSE) { Lane::Single } else { Lane::Integer }
}

fn fx_fill(image: &mut [u8], x87: bool, random: &mut Random) {
    image[..32].fill(0);
    let (mut control, mut status, mut tags) = (0x37Fu16, 0u16, 0u8);
    if x87 {
        control = if random.one_in(2) { 0x37F } else { fpu_control(random) };
        status = (random.next32() as u16 & 0x7F00) & 0x7F00;
        if random.one_in(4) {
            status |= random.below(128) as u16;
        }
        status &= 0x7F7F;
        // ES and B follow from the unmasked exceptions.
        if status & !control & 0x3F != 0 {
            status |= 0x8080;
        }
        tags = match random.below(8) {
            0..=3 => 0xFF,
            4 => 0,
            _ => random.next32() as u8,
        };
    }
    image[0..2].copy_from_slice(&control.to_le_bytes());
    image[2..4].copy_from_slice(&status.to_le_bytes());
    image[4] = tags;
    image[24..28].copy_from_slice(&mxcsr(random).to_le_bytes());
    let mut last = (0, 0);
    for index in 0..8 {
        let at = 32 + 16 * index;
        let (mut significand, mut exponent) = if x87 { random.f80() } else { (0, 0) };
        // Operands that meet in the same binade, where sums cancel and quotients are close to 1.
        if x87 && random.one_in(6) {
            (significand, exponent) = (last.0 ^ random.next() >> (random.next32() & 63).max(1), last.1);
            significand |= last.0 & 1 << 63;
            exponent ^= (random.below(2) as u16) << 15;
        }
        last = (significand, exponent);
        put80(image, at, (significand, exponent));
        image[at + 10..at + 16].fill(0);
    }
    for at in (160..288).step_by(8) {
        image[at..at + 8].copy_from_slice(&random.next().to_le_bytes());
    }
    image[288..].fill(0);
}
