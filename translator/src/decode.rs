//! Guest bytes to instructions (iced-x86), and instructions to a block: where a block begins and ends.

use crate::block::{Block, End, Mark};
use crate::bus::Bus;
use crate::cpu::Cpu;
use crate::fault::{Fault, Res};
use crate::ir::{self, Op};
use crate::lift::Lifter;
use crate::mmu::shadow;
use crate::mmu::walk::Access;
use crate::model::Model;
use crate::state::mode;
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic};

/// Most instructions in one block.
pub(crate) const MAX_INSTRUCTIONS: usize = 64;
/// No instruction is longer (SDM vol. 2, 2.3.11); more is #GP(0).
const MAX_LENGTH: usize = 15;

/// What the bytes at one place hold.
enum Decoded {
    /// An instruction.
    Instruction(Instruction),
    /// An instruction may begin here but needs bytes behind the end of the slice.
    NeedsMore,
    /// No instruction: #UD.
    Invalid,
    /// Too long: #GP(0).
    TooLong,
}

/// The 80286 has no prefixes 64 to 67, ignores LOCK where it has no meaning, and takes at most ten bytes (iAPX 286
/// Programmer's Reference Manual, appendix B; the recorded vectors show the rest).
fn decode_286(bytes: &[u8], at: usize) -> Decoded {
    const MAX_LENGTH_286: usize = 10;
    let tail = &bytes[at.min(bytes.len())..];
    let window = &tail[..tail.len().min(MAX_LENGTH_286)];
    let prefixes =
        window.iter().take_while(|b| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3));
    let count = prefixes.clone().count();
    if prefixes.clone().any(|b| matches!(b, 0x64..=0x67)) {
        return Decoded::Invalid;
    }
    let locks = prefixes.filter(|b| **b == 0xf0).count();
    let mut plain = [0; MAX_LENGTH_286];
    let mut len = 0;
    for (i, b) in window.iter().enumerate() {
        if i >= count || *b != 0xf0 {
            plain[len] = *b;
            len += 1;
        }
    }
    let mut d = Decoder::with_ip(16, &plain[..len], (at + locks) as u64, DecoderOptions::LOADALL286);
    let mut ins = d.decode();
    match d.last_error() {
        DecoderError::None => {
            ins.set_len(ins.len() + locks);
            Decoded::Instruction(ins)
        }
        DecoderError::NoMoreBytes if tail.len() < MAX_LENGTH_286 => Decoded::NeedsMore,
        DecoderError::NoMoreBytes => Decoded::TooLong,
        _ => Decoded::Invalid,
    }
}

fn decode_at(bytes: &[u8], at: usize, bits: u32, model: Model) -> Decoded {
    if model == Model::I286 {
        return decode_286(bytes, at);
    }
    let tail = &bytes[at.min(bytes.len())..];
    // Without BMI1 and LZCNT the F3 prefix of TZCNT and LZCNT means nothing: they are BSF and BSR, which kernels use.
    let plain = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD | DecoderOptions::NO_WBNOINVD;
    let options = match model {
        Model::I8086 => plain | DecoderOptions::LOADALL286,
        _ => plain,
    };
    let window = &tail[..tail.len().min(MAX_LENGTH)];
    let mut d = Decoder::with_ip(bits, window, at as u64, options);
    let ins = d.decode();
    match d.last_error() {
        DecoderError::None => Decoded::Instruction(ins),
        DecoderError::NoMoreBytes if tail.len() < MAX_LENGTH => Decoded::NeedsMore,
        DecoderError::NoMoreBytes => Decoded::TooLong,
        _ if ins.len() >= MAX_LENGTH && only_prefixes(window) => Decoded::TooLong,
        _ => Decoded::Invalid,
    }
}

/// True if the bytes are prefixes from end to end: whatever follows is too long.
fn only_prefixes(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3))
}

/// How a block that ends with `ins` is left.
fn end_of(ins: &Instruction) -> End {
    match ins.flow_control() {
        FlowControl::Call if ins.is_call_near() => End::Call,
        FlowControl::IndirectCall if ins.is_call_near_indirect() => End::IndirectCall,
        FlowControl::IndirectBranch if ins.is_jmp_near_indirect() => End::Indirect,
        FlowControl::Return if ins.mnemonic() == Mnemonic::Ret => End::Return,
        _ => End::Static,
    }
}

impl Cpu {
    /// Decodes and lifts from linear address `lin`, whose first byte is RAM offset `at`, to a control transfer, the page
    /// end or the length limit. Faults only if the first instruction cannot be fetched.
    pub(crate) fn lift_block(&mut self, bus: &mut dyn Bus, lin: u64, at: u64, limit: u64) -> Res<Block> {
        if self.model == Model::I8086 {
            return self.lift_single(bus, lin);
        }
        let room = 4096 - (at & 0xfff) as usize;
        let mut buffer = [0u8; 4096];
        let bytes = &mut buffer[..room];
        self.mem.ram().read_bytes(at as usize, bytes);
        let bits = if self.state.mode & mode::CODE32 != 0 { 32 } else { 16 };
        let mut lifter = Lifter::new(self.model, self.state.mode);
        let mut pos = 0;
        let mut marks = Vec::new();
        let mut ended = false;
        let mut end = End::Static;
        let room_in_segment = limit - self.state.rip;
        while !ended && marks.len() < self.block_limit && lifter.ops.len() < 3000 {
            let mark = Mark { op: lifter.ops.len() as u16, offset: pos as u16 };
            match decode_at(bytes, pos, bits, self.model) {
                Decoded::Instruction(ins) => {
                    // A block never runs beyond the code segment's limit, unless its first instruction does.
                    if pos as u64 + ins.len() as u64 - 1 > room_in_segment && !marks.is_empty() {
                        break;
                    }
                    marks.push(mark);
                    pos += ins.len();
                    ended = lifter.instruction(&ins, &bytes[pos - ins.len()..pos], pos);
                    end = end_of(&ins);
                    if lifter.ops.len() == usize::from(mark.op) {
                        lifter.ops.push(Op::Nop);
                    }
                }
                Decoded::NeedsMore if marks.is_empty() => return self.lift_single(bus, lin),
                Decoded::NeedsMore => break,
                // Its own block, made from all the bytes that may have been looked at: rewriting one of them may make a
                // valid instruction, and the segment's end among them another fault.
                Decoded::Invalid if !marks.is_empty() => break,
                Decoded::Invalid => {
                    marks.push(mark);
                    lifter.ops.push(Op::Undefined);
                    lifter.ops.push(Op::Exit);
                    pos = MAX_LENGTH.min(bytes.len());
                    ended = true;
                }
                Decoded::TooLong if marks.is_empty() => return Err(Fault::gp(0)),
                Decoded::TooLong => break,
            }
        }
        if !ended {
            lifter.ops.push(Op::Fall { rel: pos as i32 });
        }
        let mut ops = lifter.ops;
        let last = marks.last().map_or(0, |m| usize::from(m.op));
        ir::drop_dead_flags(&mut ops, last);
        Ok(Block { ops, marks, len: pos.max(1) as u32, end, ..Block::default() })
    }

    /// Decodes and lifts the one instruction at `lin`, fetching byte by byte: across pages, from devices, at limits.
    pub(crate) fn lift_single(&mut self, bus: &mut dyn Bus, lin: u64) -> Res<Block> {
        let limit = u64::from(self.state.segs[1].limit);
        let user = self.user();
        let bits = if self.state.mode & mode::CODE32 != 0 { 32 } else { 16 };
        let mut bytes = Vec::with_capacity(MAX_LENGTH);
        let mut tail = None;
        let mut page = (u64::MAX, 0);
        loop {
            let n = bytes.len() as u64;
            let ip = self.state.rip + n;
            if ip > limit && self.model != Model::I8086 {
                return Err(Fault::gp(0));
            }
            let mut l = lin.wrapping_add(n) & 0xffff_ffff;
            if self.model == Model::I8086 {
                l = self.state.segs[1].base.wrapping_add(ip & 0xffff) & 0xf_ffff;
            }
            if l >> 12 != page.0 {
                page = (l >> 12, self.translate(l, Access::Fetch, user)?);
                if l >> 12 != lin >> 12 {
                    tail = Some(page.1 & !0xfff);
                }
            }
            let b = if page.1 & shadow::IO != 0 {
                let retired = self.now();
                bus.mem_read(retired, (page.1 & !0xfff) | (l & 0xfff), 1) as u8
            } else {
                self.mem.ram().read::<u8>(((page.1 & !0xfff) | (l & 0xfff)) as usize)
            };
            bytes.push(b);
            if self.model == Model::I8086 {
                if let Some((ins, len)) = crate::lift::i8086::decode(&bytes) {
                    let mut lifter = Lifter::new(self.model, self.state.mode);
                    if !lifter.instruction_8086(&ins, &bytes, len) {
                        lifter.ops.push(Op::Fall { rel: len as i32 });
                    }
                    let marks = vec![Mark { op: 0, offset: 0 }];
                    return Ok(Block { ops: lifter.ops, marks, len: len as u32, tail, ..Block::default() });
                }
                continue;
            }
            let mut lifter = Lifter::new(self.model, self.state.mode);
            let mut end = End::Static;
            let len = match decode_at(&bytes, 0, bits, self.model) {
                Decoded::NeedsMore => continue,
                Decoded::TooLong => return Err(Fault::gp(0)),
                Decoded::Invalid => {
                    lifter.ops.push(Op::Undefined);
                    lifter.ops.push(Op::Exit);
                    bytes.len()
                }
                Decoded::Instruction(ins) => {
                    if !lifter.instruction(&ins, &bytes, ins.len()) {
                        lifter.ops.push(Op::Fall { rel: ins.len() as i32 });
                    }
                    end = end_of(&ins);
                    ins.len()
                }
            };
            let marks = vec![Mark { op: 0, offset: 0 }];
            return Ok(Block { ops: lifter.ops, marks, len: len as u32, tail, end, ..Block::default() });
        }
    }
}
