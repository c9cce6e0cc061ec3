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
    let prefixes = window.iter().take_while(|b| is_prefix(**b));
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
    if d.last_error() == DecoderError::None {
        return Decoded::Instruction(ins);
    }
    let length = match plain_length(window, bits, options) {
        Some(length) => (length <= window.len()).then_some(length),
        None => undefined_length(window, bits),
    };
    match length {
        Some(_) => Decoded::Invalid,
        None if tail.len() < MAX_LENGTH => Decoded::NeedsMore,
        None => Decoded::TooLong,
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// The length of what would be an instruction without LOCK, with more bytes, or with fewer prefixes; it may be over
/// [`MAX_LENGTH`].
fn plain_length(bytes: &[u8], bits: u32, options: u32) -> Option<usize> {
    let prefixes = bytes.iter().take_while(|b| is_prefix(**b)).count();
    let (lead, core) = bytes.split_at(prefixes);
    if core.is_empty() {
        return Some(prefixes + 1);
    }
    // Each prefix once, and only those that a length depends on.
    let repeat = lead.iter().rev().find(|b| matches!(**b, 0xf2 | 0xf3));
    let kept = [0x66, 0x67].iter().filter(|b| lead.contains(b)).chain(repeat);
    let count = kept.clone().count();
    let mut padded = [0; 2 * MAX_LENGTH];
    for (to, from) in padded.iter_mut().zip(kept.chain(core)) {
        *to = *from;
    }
    let mut d = Decoder::with_ip(bits, &padded, 0, options | DecoderOptions::NO_INVALID_CHECK);
    let ins = d.decode();
    (d.last_error() == DecoderError::None).then_some(prefixes - count + ins.len())
}

/// How many bytes the processor fetches of what is no instruction before it raises #UD: faults of the fetch come first
/// (SDM vol. 3, table 6-2). None if there must be more. ModRM, address and immediate bytes are those of the opcode
/// map's neighbours; the host's processor (`conform native --filter bytes`) is the judge.
fn undefined_length(bytes: &[u8], bits: u32) -> Option<usize> {
    let mut rest = bytes.iter().copied();
    let (mut operand16, mut address16) = (bits == 16, bits == 16);
    let opcode = loop {
        match rest.next()? {
            0x66 => operand16 = bits != 16,
            0x67 => address16 = bits != 16,
            byte if is_prefix(byte) => {}
            opcode => break opcode,
        }
    };
    let (modrm, immediate) = match opcode {
        0x0f => match rest.next()? {
            map @ (0x38 | 0x3a) => {
                // The third byte of the opcode.
                rest.next()?;
                (true, usize::from(map == 0x3a))
            }
            // Unassigned, without a ModRM byte; 37h and 77h, GETSEC and EMMS, with a prefix that they do not have.
            0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x36 | 0x37 | 0x39 | 0x3b..=0x3f | 0x77 | 0x7a | 0x7b | 0xa6 | 0xa7 => {
                (false, 0)
            }
            0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => (true, 1),
            _ => (true, 0),
        },
        0xc6 => (true, 1),
        0xc7 => (true, if operand16 { 2 } else { 4 }),
        0x62 | 0x8c..=0x8f | 0xc4 | 0xc5 | 0xd8..=0xdf | 0xfe | 0xff => (true, 0),
        _ => (false, 0),
    };
    let mut more = immediate;
    if modrm {
        let modrm = rest.next()?;
        let (form, place) = (modrm >> 6, modrm & 7);
        more += match (form, address16) {
            (3, _) => 0,
            (0, true) if place == 6 => 2,
            (form, true) => usize::from(form),
            (form, false) => {
                let base = if place == 4 { rest.next()? & 7 } else { place };
                match form {
                    0 if base == 5 => 4,
                    0 => 0,
                    1 => 1,
                    _ => 4,
                }
            }
        };
    }
    let read = bytes.len() - rest.len() + more;
    (read <= bytes.len()).then_some(read)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], bits: u32) -> &'static str {
        match decode_at(bytes, 0, bits, Model::Max) {
            Decoded::Instruction(_) => "instruction",
            Decoded::NeedsMore => "more",
            Decoded::Invalid => "invalid",
            Decoded::TooLong => "too long",
        }
    }

    /// Fetches fault before bytes that are whole are found to be no instruction: as an AMD Zen 3 does.
    #[test]
    fn what_is_no_instruction_is_fetched_whole() {
        for (bytes, bits, expected) in [
            // LLDT and VERR's group with a displacement, /6 and /7 of which are undefined.
            (&[0x0f, 0x00, 0xb0, 0, 0, 0][..], 32, "more"),
            (&[0x0f, 0x00, 0xb0, 0, 0, 0, 0], 32, "invalid"),
            (&[0x0f, 0x00, 0xb0, 0], 16, "more"),
            (&[0x67, 0x0f, 0x00, 0xb0, 0, 0, 0], 16, "more"),
            (&[0x0f, 0x00, 0xb0, 0, 0], 16, "invalid"),
            // Shifts of MMX registers have an immediate, memory forms of them too.
            (&[0x0f, 0x73, 0x00], 32, "more"),
            (&[0x0f, 0x73, 0x00, 0], 32, "invalid"),
            (&[0xc7, 0x48, 0, 0, 0, 0], 32, "more"),
            (&[0xc7, 0x48, 0, 0, 0, 0, 0], 32, "invalid"),
            (&[0x66, 0xc7, 0x48, 0, 0, 0], 32, "invalid"),
            // LOCK where it is not allowed.
            (&[0xf0, 0x3d, 0, 0, 0], 32, "more"),
            (&[0xf0, 0x3d, 0, 0, 0, 0], 32, "invalid"),
            // No ModRM byte, and the x87's undefined ones, which have one.
            (&[0x0f], 32, "more"),
            (&[0x0f, 0x04], 32, "invalid"),
            (&[0x0f, 0xa6], 16, "invalid"),
            (&[0xdb], 32, "more"),
            (&[0xdb, 0xe5], 32, "invalid"),
            // MOVMSKPS of memory.
            (&[0x0f, 0x50, 0x05], 32, "more"),
            (&[0x0f, 0x50, 0x04, 0x25, 0, 0, 0], 32, "more"),
            (&[0x0f, 0x50, 0x04, 0x25, 0, 0, 0, 0], 32, "invalid"),
            (&[0x66, 0x0f, 0x77], 32, "invalid"),
            // JMP FAR with LOCK would be 17 bytes long.
            (&[0xf0, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0xea, 0, 0, 0], 32, "more"),
            (&[0xf0, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0xea, 0, 0, 0, 0], 32, "too long"),
            (&[0x66; 14], 32, "more"),
            (&[0x66; 15], 32, "too long"),
            (&[0x90], 32, "instruction"),
        ] {
            assert_eq!(text(bytes, bits), expected, "{bytes:02x?}");
        }
    }
}
