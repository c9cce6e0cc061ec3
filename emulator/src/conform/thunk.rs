//! Machine code around a tested instruction: a loop, in the code size under test, that loads a record's state,
//! runs the instruction and stores the state it left. All of it reaches memory through FS, which is flat in
//! every environment.

use super::layout::{CODE, CTRL, Environment, HARNESS_LEN, Placement, STACK_TOP, Shape, field, seg};

/// Offsets in the control page.
pub mod ctrl {
    /// Linear address of the current input record.
    pub const INPUT: u32 = 0x00;
    /// Linear address of the current output record.
    pub const OUTPUT: u32 = 0x04;
    /// Linear address behind the last input record.
    pub const END: u32 = 0x08;
    /// The harness's own ESP and SS.
    pub const STACK: u32 = 0x10;
    /// Scratch record header: what the instruction left.
    pub const SCRATCH: u32 = 0x40;
    /// RSP of the 64-bit code that started the batch.
    pub const SAVED_RSP: u32 = 0x80;
    /// FS base of the 64-bit code that started the batch.
    pub const SAVED_FS_BASE: u32 = 0x88;
    /// Far pointer (EIP, CS) to the loop's start.
    pub const START: u32 = 0x90;
    /// EIP at which the loop continues after a fault.
    pub const AFTER_FAULT: u32 = 0x98;
    /// Offset of the FXSAVE image in an output record, 0 for none.
    pub const FX_OFFSET: u32 = 0x9C;
    /// Linear address of EIP 0.
    pub const CODE_BASE: u32 = 0xA0;
    /// Vector and EIP of a fault inside the harness itself.
    pub const LOST: u32 = 0xA8;
}

const START: u32 = 0;
const COMMON: u32 = 0x4000;
/// Offset in the code area of the 64-bit function that runs one batch.
pub const ENTER64: u32 = 0x7F00;
const EXIT64: u32 = 0x7F80;

const EAX: u8 = 0;
const ECX: u8 = 1;
const ESP: u8 = 4;
const ESI: u8 = 6;
const EDI: u8 = 7;

#[derive(Clone, Copy)]
enum Place {
    /// An absolute linear address.
    At(u32),
    /// A register (not ESP) plus a displacement.
    By(u8, u32),
}

/// Emits instructions with 32-bit operands and addresses in 16- or 32-bit code.
struct Emitter {
    bytes: Vec<u8>,
    ip: u32,
    bits16: bool,
}

impl Emitter {
    fn new(environment: Environment, offset: u32) -> Emitter {
        let ip = (CODE + offset).wrapping_sub(environment.code_base());
        Emitter { bytes: Vec::with_capacity(1024), ip, bits16: environment.bits() == 16 }
    }

    fn here(&self) -> u32 {
        self.ip.wrapping_add(self.bytes.len() as u32)
    }

    fn operand32(&mut self) {
        if self.bits16 {
            self.bytes.push(0x66);
        }
    }

    /// An instruction with a memory operand in FS.
    fn memory(&mut self, sized: bool, opcode: &[u8], reg: u8, place: Place) {
        if sized {
            self.operand32();
        }
        if self.bits16 {
            self.bytes.push(0x67);
        }
        self.bytes.push(0x64);
        self.bytes.extend_from_slice(opcode);
        let (modrm, displacement) = match place {
            Place::At(address) => (0x05, address),
            Place::By(base, displacement) => (0x80 | base, displacement),
        };
        self.bytes.push(modrm | reg << 3);
        self.bytes.extend_from_slice(&displacement.to_le_bytes());
    }

    fn load(&mut self, reg: u8, place: Place) {
        self.memory(true, &[0x8B], reg, place);
    }

    fn store(&mut self, place: Place, reg: u8) {
        self.memory(true, &[0x89], reg, place);
    }

    fn store_immediate(&mut self, place: Place, value: u32) {
        self.memory(true, &[0xC7], 0, place);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Copies `len` bytes, a multiple of 16, through XMM0.
    fn copy(&mut self, to: (u8, u32), from: (u8, u32), len: usize) {
        for at in (0..len as u32).step_by(16) {
            self.memory(false, &[0xF3, 0x0F, 0x6F], 0, Place::By(from.0, from.1 + at));
            self.memory(false, &[0xF3, 0x0F, 0x7F], 0, Place::By(to.0, to.1 + at));
        }
    }

    fn sized(&mut self, opcode: &[u8]) {
        self.operand32();
        self.bytes.extend_from_slice(opcode);
    }

    fn move_immediate(&mut self, reg: u8, value: u32) {
        self.sized(&[0xB8 | reg]);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn load_segment(&mut self, index: usize, selector: u16) {
        self.move_immediate(EAX, u32::from(selector));
        self.bytes.extend_from_slice(&[0x8E, 0xC0 | (index as u8) << 3]);
    }

    fn lss_esp(&mut self, place: Place) {
        self.memory(true, &[0x0F, 0xB2], ESP, place);
    }

    fn jump(&mut self, opcode: &[u8], target: u32) {
        self.sized(opcode);
        let displacement = target.wrapping_sub(self.here().wrapping_add(4));
        self.bytes.extend_from_slice(&displacement.to_le_bytes());
    }

    fn jump_far(&mut self, selector: u16, target: u32) {
        self.sized(&[0xEA]);
        self.bytes.extend_from_slice(&target.to_le_bytes());
        self.bytes.extend_from_slice(&selector.to_le_bytes());
    }
}

const fn scratch(offset: usize) -> Place {
    Place::At(CTRL + ctrl::SCRATCH + offset as u32)
}

/// Offset of EIP-relative `offset` in the code area.
fn eip(environment: Environment, offset: u32) -> u32 {
    (CODE + offset).wrapping_sub(environment.code_base())
}

/// What the parent writes before a batch: pieces of the code area and of the control page.
pub struct Thunk {
    /// Offset in the code area, and bytes.
    pub code: Vec<(u32, Vec<u8>)>,
    /// EIP of the loop's start.
    pub start: u32,
    /// EIP at which the loop stores the x87 state, and goes on to `after_fault`.
    pub store_fx: u32,
    /// EIP at which the loop continues after a fault, when that is done.
    pub after_fault: u32,
}

/// The loop for records of one shape in one environment. It jumps to `placement`'s instruction, whose landing
/// pads come from [`landings`].
pub fn build(placement: Placement, shape: Shape) -> Thunk {
    let environment = placement.environment;
    let segments = environment.segments();
    let own_stack = segments[seg::SS].selector != 0x2B;
    let stride = shape.stride() as u32;

    let mut e = Emitter::new(environment, START);
    // Segments, once for the batch. SS follows with LSS.
    for index in [seg::FS, seg::ES, seg::DS, seg::GS] {
        e.load_segment(index, segments[index].selector);
    }
    e.lss_esp(Place::At(CTRL + ctrl::STACK));
    let top = e.here();
    if shape.segments {
        for (index, _) in field::SELECTORS {
            e.load_segment(index, segments[index].selector);
        }
    }
    e.load(ESI, Place::At(CTRL + ctrl::INPUT));
    for index in 0..2 {
        if shape.window[index] > 0 {
            e.load(EDI, Place::By(ESI, field::WINDOW[index] as u32));
            e.copy((EDI, 0), (ESI, shape.window_offset(index) as u32), shape.window[index]);
        }
    }
    if shape.code {
        // Code written at another linear address than it is run from: IRET serialises (SDM volume 3, 8.1.3 and 8.3). NT,
        // which a case may have set, would make it a task's return.
        e.sized(&[0x6A, 0x02]);
        e.sized(&[0x9D]);
        e.sized(&[0x9C]);
        e.sized(&[0x0E]);
        e.sized(&[0x68]);
        let behind = e.here() + 4 + if e.bits16 { 2 } else { 1 };
        e.bytes.extend_from_slice(&behind.to_le_bytes());
        e.sized(&[0xCF]);
    }
    if shape.fx {
        e.memory(false, &[0x0F, 0xAE], 1, Place::By(ESI, shape.fx_offset() as u32));
    }
    e.memory(true, &[0xFF], 6, Place::By(ESI, field::EFLAGS as u32));
    e.sized(&[0x9D]);
    for reg in [0u8, 1, 2, 3, 5, 7] {
        e.load(reg, Place::By(ESI, field::GPR[reg as usize] as u32));
    }
    if own_stack {
        e.lss_esp(Place::By(ESI, field::GPR[4] as u32));
    } else {
        e.load(ESP, Place::By(ESI, field::GPR[4] as u32));
    }
    e.load(ESI, Place::By(ESI, field::GPR[6] as u32));
    e.jump(&[0xE9], placement.eip());
    let prologue = e.bytes;

    let mut e = Emitter::new(environment, COMMON);
    for (reg, offset) in field::GPR.iter().enumerate() {
        e.store(scratch(*offset), reg as u8);
    }
    if own_stack {
        e.lss_esp(Place::At(CTRL + ctrl::STACK));
    } else {
        e.move_immediate(ESP, STACK_TOP);
    }
    e.sized(&[0x9C]);
    e.sized(&[0x58]);
    e.store(scratch(field::EFLAGS), EAX);
    // The direction and alignment-check flags would disturb what follows.
    e.sized(&[0xA9]);
    e.bytes.extend_from_slice(&0x4_0400u32.to_le_bytes());
    e.bytes.extend_from_slice(&[0x74, if e.bits16 { 5 } else { 3 }]);
    e.sized(&[0x6A, 0x02]);
    e.sized(&[0x9D]);
    // The fault handler overwrites the vector, and continues below.
    e.store_immediate(scratch(field::VECTOR), super::layout::NO_EXCEPTION);
    let store_fx = e.here();
    if shape.fx {
        e.load(EDI, Place::At(CTRL + ctrl::OUTPUT));
        e.memory(false, &[0x0F, 0xAE], 0, Place::By(EDI, shape.fx_offset() as u32));
    }
    let after_fault = e.here();
    if shape.segments {
        for (index, offset) in field::SELECTORS {
            e.memory(false, &[0x8C], index as u8, scratch(offset));
        }
    }
    e.load(EDI, Place::At(CTRL + ctrl::OUTPUT));
    e.load(ESI, Place::At(CTRL + ctrl::INPUT));
    e.move_immediate(ECX, CTRL + ctrl::SCRATCH);
    e.copy((EDI, 0), (ECX, 0), super::layout::HEADER_LEN);
    for index in 0..2 {
        if shape.window[index] > 0 {
            e.load(EAX, Place::By(ESI, field::WINDOW[index] as u32));
            e.copy((EDI, shape.window_offset(index) as u32), (EAX, 0), shape.window[index]);
        }
    }
    for (reg, place) in [(EDI, ctrl::OUTPUT), (ESI, ctrl::INPUT)] {
        e.sized(&[0x81, 0xC0 | reg]);
        e.bytes.extend_from_slice(&stride.to_le_bytes());
        e.store(Place::At(CTRL + place), reg);
    }
    e.memory(true, &[0x3B], ESI, Place::At(CTRL + ctrl::END));
    e.jump(&[0x0F, 0x82], top);
    for index in [seg::ES, seg::DS] {
        e.load_segment(index, 0x2B);
    }
    e.load_segment(seg::GS, 0);
    e.load_segment(seg::FS, 0);
    e.jump_far(0x33, CODE + EXIT64);
    let epilogue = e.bytes;

    Thunk { code: vec![(START, prologue), (COMMON, epilogue)], start: eip(environment, START), store_fx, after_fault }
}

/// The tested instruction with its landing pads, as a piece of the code area: first the offset, then bytes. What
/// is not written there stays INT3.
pub fn landings(placement: Placement, instruction: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let environment = placement.environment;
    let pad = |offset: u32| {
        let mut e = Emitter::new(environment, offset);
        let here = e.here();
        e.store_immediate(scratch(field::EIP), here);
        e.jump(&[0xE9], eip(environment, COMMON));
        (offset, e.bytes)
    };
    let behind = placement.offset + instruction.len() as u32;
    vec![
        pad(placement.offset - super::layout::LANDING_BEFORE),
        (placement.offset, instruction.to_vec()),
        pad(behind),
        pad(placement.offset + super::layout::LANDING_AFTER),
    ]
}

/// The 64-bit ends of the loop: a function that jumps into it, and the way back. They never change.
pub fn ends64() -> Vec<(u32, Vec<u8>)> {
    let absolute = |bytes: &mut Vec<u8>, opcode: &[u8], reg: u8, address: u32| {
        bytes.extend_from_slice(opcode);
        // [disp32] without RIP: SIB with neither base nor index.
        bytes.extend_from_slice(&[0x04 | reg << 3, 0x25]);
        bytes.extend_from_slice(&address.to_le_bytes());
    };
    let mut enter = vec![0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
    absolute(&mut enter, &[0x48, 0x89], ESP, CTRL + ctrl::SAVED_RSP);
    absolute(&mut enter, &[0xFF], 5, CTRL + ctrl::START);

    let mut exit = Vec::new();
    absolute(&mut exit, &[0x48, 0x8B], ESP, CTRL + ctrl::SAVED_RSP);
    // arch_prctl(ARCH_SET_FS, saved): loading FS lost the thread pointer.
    exit.extend_from_slice(&[0xB8, 158, 0, 0, 0, 0xBF, 0x02, 0x10, 0, 0]);
    absolute(&mut exit, &[0x48, 0x8B], ESI, CTRL + ctrl::SAVED_FS_BASE);
    exit.extend_from_slice(&[0x0F, 0x05]);
    // The x87 and MXCSR as the System V ABI wants them.
    exit.extend_from_slice(&[0xDB, 0xE3, 0x68, 0x80, 0x1F, 0, 0, 0x0F, 0xAE, 0x14, 0x24, 0x58]);
    exit.extend_from_slice(&[0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3]);
    vec![(ENTER64, enter), (EXIT64, exit)]
}

const _: () = assert!(EXIT64 + 0x80 <= HARNESS_LEN);
