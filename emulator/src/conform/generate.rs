//! Encodings and states: seeded, deterministic, and weighted towards edges.

use super::address::{
    Anchor, Operand, PAGE, effective_address, explicit_operand, in_parts, linear_address, number, set_address,
    string_operands, target, window_start,
};
use super::content::{Content, content, fill, fx_image};
use super::layout::{
    ABSENT_PAGE, ARENA, ARENA_LEN, Environment, HARNESS_LEN, Placement, SELECTORS, Segment, Shape, field, get32, put32,
    seg,
};
use super::templates::{Form, excluded};
use super::values::Random;
use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// The user-changeable EFLAGS that states vary: arithmetic, DF, and rarely NT, AC, ID.
const ARITHMETIC: u32 = 0x8D5;

const DF: u32 = 0x400;

const NT: u32 = 0x4000;

const AC: u32 = 0x4_0000;

const ID: u32 = 0x20_0000;

const TF: u32 = 0x100;

/// A memory window around an anchor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) anchor: Anchor,
    before: u32,
    len: u32,
}

/// An encoded instruction and how to make states for it.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Where it lies.
    pub placement: Placement,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Decoded.
    pub instruction: Instruction,
    /// What a record for it holds.
    pub shape: Shape,
    pub(super) windows: Vec<Window>,
    pub(super) content: Content,
    /// Operands must be aligned to 16 bytes or fault.
    aligned16: bool,
    /// Registers that hold branch targets.
    pub(super) landing_register: Option<usize>,
    /// Faults at unusual places would let the native CPU run into the harness.
    interior_only: bool,
    /// Two operands of which at most one may fault: the order of the accesses is not architectural.
    one_fault: bool,
}

impl Encoding {
    /// A random encoding of one of `forms` in an environment. None when the random bytes do not fit the form.
    pub fn new(environment: Environment, code: u16, forms: &[Form], random: &mut Random) -> Option<Encoding> {
        let plain = |form: &&Form| matches!(form.prefix, 0 | 0x66);
        let form = if forms.iter().any(|form| plain(&form)) && !random.one_in(8) {
            let count = forms.iter().filter(plain).count() as u32;
            *forms.iter().filter(plain).nth(random.below(count) as usize)?
        } else {
            random.pick(forms)
        };
        let offset = if random.one_in(8) {
            // The instruction crosses a page.
            HARNESS_LEN + 2 * PAGE - 1 - random.below(6)
        } else {
            HARNESS_LEN + 0x100
        };
        let placement = Placement { environment, offset };
        let mut bytes = [0u8; 15];
        write_form(form, random, &mut bytes);
        let (mut instruction, constants) = decode(placement, &bytes)?;
        if instruction.code() as u16 != code {
            return None;
        }
        // Displacements that are the whole address, and branch targets, are chosen rather than random.
        let segments = environment.segments();
        let mut patched = false;
        if let Some(operand) = explicit_operand(&instruction)
            && operand.base.is_none()
            && constants.has_displacement()
        {
            let segment = segments[operand.segment];
            let linear = target(segment, operand.size, !in_parts(operand.size), random)?;
            let value = linear.wrapping_sub(segment.base).to_le_bytes();
            let (at, size) = (constants.displacement_offset(), constants.displacement_size());
            bytes[at..at + size].copy_from_slice(&value[..size]);
            patched = true;
        }
        if instruction.op_count() > 0 && is_near_branch(instruction.op0_kind()) {
            let next = placement.eip().wrapping_add(instruction.len() as u32);
            let landing = random.pick(&placement.landings());
            let at = constants.immediate_offset();
            let size = constants.immediate_size();
            bytes[at..at + size].copy_from_slice(&landing.wrapping_sub(next).to_le_bytes()[..size]);
            patched = true;
        }
        // What OF is for counts above 1 is undefined: half of the counts are 1.
        if is_shift(instruction.mnemonic()) && constants.has_immediate() && random.one_in(2) {
            bytes[constants.immediate_offset()] = 1;
            patched = true;
        }
        if patched {
            instruction = decode(placement, &bytes)?.0;
            if instruction.code() as u16 != code {
                return None;
            }
        }
        Encoding::of(placement, &bytes[..instruction.len()], instruction)
    }

    /// The plan for an instruction whose bytes are known.
    pub fn of(placement: Placement, bytes: &[u8], instruction: Instruction) -> Option<Encoding> {
        use Mnemonic as M;
        let code = instruction.code();
        let mnemonic = instruction.mnemonic();
        let mut windows = Vec::new();
        let explicit = explicit_operand(&instruction);
        let bit_string = matches!(mnemonic, M::Bt | M::Bts | M::Btr | M::Btc)
            && explicit.is_some()
            && instruction.op1_kind() == OpKind::Register;
        if let Some(operand) = explicit
            && touches_memory(mnemonic)
        {
            let (before, len) = match operand.size {
                _ if bit_string => (80, 176),
                0..=8 => (8, 32),
                size => (16, (size + 47) / 16 * 16),
            };
            if bit_string {
                let register = instruction.op1_register().full_register32();
                if operand.base == number(register) || operand.index == number(register) {
                    // The bit offset would be the address too: nowhere near the arena.
                    return None;
                }
            }
            windows.push(Window { anchor: Anchor::Operand(operand), before, len });
        }
        for operand in string_operands(&instruction) {
            let (before, len) = if operand.size > 4 { (8, 32) } else { (32, 80) };
            windows.push(Window { anchor: Anchor::Operand(operand), before, len });
        }
        let size = operand_size(&instruction);
        match mnemonic {
            M::Enter => {
                windows.push(Window { anchor: Anchor::Stack(size), before: 144, len: 176 });
                windows.push(Window { anchor: Anchor::Frame(size), before: 8, len: 16 });
            }
            M::Leave => windows.push(Window { anchor: Anchor::Frame(size), before: 8, len: 32 }),
            M::Pusha | M::Pushad => windows.push(Window { anchor: Anchor::Stack(size), before: 40, len: 64 }),
            M::Popa | M::Popad => windows.push(Window { anchor: Anchor::Stack(8 * size), before: 8, len: 64 }),
            _ if instruction.is_stack_instruction() => {
                windows.push(Window { anchor: Anchor::Stack(size), before: 16, len: 32 });
            }
            _ => {}
        }
        windows.truncate(2);
        let fx = uses_fx(code);
        let loads_segment = match mnemonic {
            M::Lds | M::Les | M::Lgs => true,
            M::Pop | M::Mov => instruction.op0_register().is_segment_register(),
            _ => false,
        };
        if loads_segment && matches!(instruction.op0_register(), Register::FS | Register::SS) {
            // The harness stands on them.
            return None;
        }
        let mut shape = Shape { window: [0; 2], fx, segments: loads_segment, code: false };
        for (index, window) in windows.iter().enumerate() {
            shape.window[index] = window.len as usize;
        }
        let indirect =
            matches!(mnemonic, M::Jmp | M::Call) && !is_near_branch(instruction.op0_kind()) || mnemonic == M::Ret;
        let content = if indirect { Content::Landing } else { content(&instruction) };
        let landing_register = (indirect && mnemonic != M::Ret && instruction.op0_kind() == OpKind::Register)
            .then(|| number(instruction.op0_register().full_register32()))
            .flatten();
        if landing_register == Some(4) {
            // A branch target that is the stack pointer too lies outside the arena.
            return None;
        }
        if (0..instruction.op_count()).any(|op| matches!(instruction.op_register(op), Register::DR4 | Register::DR5)) {
            // Whether CR4.DE or the privilege level is looked at first differs between vendors.
            return None;
        }
        if matches!(mnemonic, M::Loope | M::Loopne) && bytes.iter().any(|byte| matches!(byte, 0xF2 | 0xF3)) {
            // Reserved (SDM volume 2, REP): on Zen the prefix replaces the condition.
            return None;
        }
        let compares = matches!(mnemonic, M::Cmpsb | M::Cmpsw)
            || mnemonic == M::Cmpsd && instruction.op0_kind() != OpKind::Register;
        let segments = placement.environment.segments();
        let low = |window: &Window| match window.anchor {
            Anchor::Operand(operand) => operand.address16 && segments[operand.segment].limit == u32::MAX,
            _ => false,
        };
        if compares && windows.iter().any(low) {
            // Both operands would fault, in an order of the implementation's choice.
            return None;
        }
        let double_shift = matches!(mnemonic, M::Shld | M::Shrd) && instruction.op1_register().size() == 2;
        if double_shift && instruction.op_count() == 3 && instruction.op2_kind() == OpKind::Immediate8 {
            // SDM volume 2, SHLD: a count above the operand size leaves the result undefined.
            if instruction.immediate8() & 31 > 16 {
                return None;
            }
        }
        let aligned16 = windows.first().is_some_and(|window| match window.anchor {
            Anchor::Operand(operand) => {
                operand.size == 16
                    && !matches!(mnemonic, M::Movups | M::Movupd | M::Movdqu | M::Maskmovdqu)
                    && !matches!(mnemonic, M::Fbld)
                    || operand.size == 512
            }
            _ => false,
        });
        // A selector may not be read from the arena's pattern: it could name a descriptor of the host's.
        let selects = loads_segment || matches!(mnemonic, M::Lar | M::Lsl | M::Verr | M::Verw);
        let interior_only = indirect
            || selects
            || matches!(mnemonic, M::Popf | M::Popfd | M::Fxsave | M::Fxrstor)
            // The parts of a long operand may wrap at 64 KiB each by itself.
            || windows.iter().any(|w| matches!(w.anchor, Anchor::Operand(o) if in_parts(o.size) && o.address16))
            || mnemonic == M::Maskmovdqu
            // How many bytes of the slot are written differs: see the masks.
            || mnemonic == M::Push && instruction.op0_register().is_segment_register();
        Some(Encoding {
            placement,
            bytes: bytes.to_vec(),
            instruction,
            shape,
            windows,
            content,
            aligned16,
            landing_register,
            interior_only,
            one_fault: compares,
        })
    }

    /// Fills `record` with a state. False if no safe one was found.
    pub fn state(&self, record: &mut [u8], random: &mut Random) -> bool {
        (0..8).any(|_| self.try_state(record, random))
    }

    fn try_state(&self, record: &mut [u8], random: &mut Random) -> bool {
        use Mnemonic as M;
        let instruction = &self.instruction;
        let mnemonic = instruction.mnemonic();
        let segments = self.placement.environment.segments();
        let mut gpr: [u32; 8] = std::array::from_fn(|_| random.int32());
        let mut eflags = random.next32() & (ARITHMETIC | ID) | 0x202;
        if random.one_in(4) {
            eflags |= DF;
        }
        if random.one_in(64) {
            eflags |= NT;
        }
        // SDM volume 3, 6.15, interrupt 17: whether unaligned 128-bit accesses are checked differs between
        // implementations.
        let checked =
            !self.windows.iter().any(|w| matches!(w.anchor, Anchor::Operand(o) if o.size >= 16 && !in_parts(o.size)));
        let selector = mnemonic == M::Push && instruction.op0_register().is_segment_register();
        if random.one_in(64) && checked && !self.one_fault && !selector {
            eflags |= AC;
        }

        match mnemonic {
            M::Shl | M::Shr | M::Sal | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd => {
                if !random.one_in(4) {
                    gpr[1] = gpr[1] & !0xFF | random.below(40);
                }
                if matches!(mnemonic, M::Shld | M::Shrd) && instruction.op1_register().size() == 2 {
                    gpr[1] = gpr[1] & !0x1F | random.below(17);
                }
            }
            M::Div | M::Idiv => self.dividend(&mut gpr, random),
            M::Loop | M::Loope | M::Loopne | M::Jcxz | M::Jecxz if random.one_in(2) => {
                gpr[1] = gpr[1] & !0xFFFF | random.below(3);
            }
            _ => {}
        }
        if self.is_repeated() {
            gpr[1] = if self.address16() { gpr[1] & !0xFFFF } else { 0 } | random.below(8);
        }
        if matches!(mnemonic, M::Bt | M::Bts | M::Btr | M::Btc)
            && !self.windows.is_empty()
            && let Some(register) = self.bit_register()
        {
            let bit = random.below(1024).wrapping_sub(512);
            gpr[register] =
                if instruction.op1_register().size() == 2 { gpr[register] & !0xFFFF | bit & 0xFFFF } else { bit };
        }
        if let Some(register) = self.selector_register() {
            gpr[register] = gpr[register] & !0xFFFF | u32::from(random.pick(&SELECTORS));
        }
        let landing = random.pick(&self.placement.landings());
        if let Some(register) = self.landing_register {
            gpr[register] = landing;
        }

        // Registers that address memory.
        let quiet = if self.one_fault { random.below(2) as usize } else { usize::MAX };
        for (index, window) in self.windows.iter().enumerate() {
            // A long operand that breaks two rules: which comes first differs.
            let long = matches!(window.anchor, Anchor::Operand(o) if in_parts(o.size));
            let quiet = index == quiet || long && eflags & AC != 0;
            self.aim(window, &mut gpr, segments, quiet, random);
        }
        if matches!(mnemonic, M::Shld | M::Shrd)
            && instruction.op1_register().size() == 2
            && instruction.op2_kind() == OpKind::Register
            && gpr[1] & 31 > 16
        {
            // CL became part of an address.
            return false;
        }
        let mut anchors = [0u32; 2];
        let mut starts = [0u32; 2];
        for (index, window) in self.windows.iter().enumerate() {
            let linear = linear_address(window.anchor, &gpr, segments);
            if !self.safe(window.anchor, linear, segments) || self.breaks_two_rules(window.anchor, linear, segments) {
                return false;
            }
            anchors[index] = linear;
            starts[index] = window_start(linear.wrapping_sub(window.before), window.len);
        }

        if self.content == Content::Landing && starts[0].abs_diff(starts[1]) < 96 {
            // The second window would hide the target in the first.
            return false;
        }

        for (reg, offset) in field::GPR.iter().enumerate() {
            put32(record, *offset, gpr[reg]);
        }
        put32(record, field::SS, u32::from(segments[seg::SS].selector));
        put32(record, field::EFLAGS, eflags);
        put32(record, field::EIP, 0);
        put32(record, field::VECTOR, 0);
        put32(record, field::ERROR, 0);
        put32(record, field::CR2, 0);
        for index in 0..2 {
            put32(record, field::WINDOW[index], starts[index]);
            let at = self.shape.window_offset(index);
            for word in record[at..at + self.shape.window[index]].chunks_exact_mut(4) {
                word.copy_from_slice(&random.int32().to_le_bytes());
            }
        }
        if self.shape.fx {
            let at = self.shape.fx_offset();
            fx_image(&mut record[at..at + super::layout::FX_LEN], instruction, random);
            if mnemonic == M::Cvtpi2ps && !self.windows.is_empty() {
                // Intel's Sapphire Rapids does not look for a pending exception in the memory form, nor does Ring86; others
                // have not been asked. None pending.
                record[at + 2..at + 4].fill(0);
            }
        }
        self.contents(record, &anchors, &starts, landing, random)
    }

    /// Makes quotients that fit, in most cases.
    fn dividend(&self, gpr: &mut [u32; 8], random: &mut Random) {
        let signed = self.instruction.mnemonic() == Mnemonic::Idiv;
        if random.one_in(4) {
            return;
        }
        let small = if random.one_in(2) { 0 } else { random.below(0x100) };
        match self.instruction.op0_register().size().max(self.instruction.memory_size().size()) {
            1 => {
                let ah = if signed { (gpr[0] as i8 >> 7) as u32 & 0xFF } else { small & 0x3F };
                gpr[0] = gpr[0] & !0xFF00 | ah << 8;
            }
            2 => gpr[2] = gpr[2] & !0xFFFF | if signed { (gpr[0] as i16 >> 15) as u32 & 0xFFFF } else { small },
            _ => gpr[2] = if signed { (gpr[0] as i32 >> 31) as u32 } else { small },
        }
    }

    pub(super) fn is_repeated(&self) -> bool {
        self.instruction.has_rep_prefix() || self.instruction.has_repne_prefix()
    }

    fn address16(&self) -> bool {
        self.windows.iter().any(|window| matches!(window.anchor, Anchor::Operand(operand) if operand.address16))
            || self.windows.is_empty() && self.placement.environment.bits() == 16
    }

    /// The register that LAR, LSL, VERR or VERW take their selector from.
    pub(super) fn selector_register(&self) -> Option<usize> {
        let operand = match self.instruction.mnemonic() {
            Mnemonic::Lar | Mnemonic::Lsl => 1,
            Mnemonic::Verr | Mnemonic::Verw => 0,
            Mnemonic::Mov if self.shape.segments => 1,
            _ => return None,
        };
        number(self.instruction.op_register(operand).full_register32())
    }

    pub(super) fn bit_register(&self) -> Option<usize> {
        if self.instruction.op1_kind() != OpKind::Register {
            return None;
        }
        number(self.instruction.op1_register().full_register32())
    }

    /// Sets the registers that an anchor's address comes from.
    fn aim(&self, window: &Window, gpr: &mut [u32; 8], segments: [Segment; 6], quiet: bool, random: &mut Random) {
        match window.anchor {
            Anchor::Stack(size) | Anchor::Frame(size) => {
                let reg = if matches!(window.anchor, Anchor::Stack(_)) { 4 } else { 5 };
                let segment = segments[seg::SS];
                let Some(linear) = target(segment, size, !self.interior_only, random) else { return };
                let offset = linear.wrapping_sub(segment.base);
                let aligned =
                    if random.one_in(8) { offset } else { offset & !(size.max(2) - 1) | offset & 0x8000_0000 };
                gpr[reg] = if segment.big { aligned } else { gpr[reg] & !0xFFFF | aligned & 0xFFFF };
            }
            Anchor::Operand(operand) => {
                let segment = segments[operand.segment];
                // A misaligned operand at a segment's limit breaks two rules: which comes first differs.
                let misaligned = self.aligned16 && random.one_in(16);
                let edges = !self.interior_only && !misaligned && !quiet;
                let Some(mut linear) = target(segment, operand.size, edges, random) else { return };
                if quiet && linear >> 12 == (ARENA >> 12) + ABSENT_PAGE {
                    linear = ARENA + 0x3400 + (linear & 0xFF);
                }
                if self.aligned16 && !misaligned {
                    linear &= !15;
                } else if operand.size.is_power_of_two() && random.one_in(2) {
                    linear &= !(operand.size - 1);
                }
                let offset = linear.wrapping_sub(segment.base);
                let Some(base) = operand.base else {
                    // Only an index (the displacement is in the arena already): stay near.
                    if let Some(index) = operand.index {
                        gpr[index] = random.below(64);
                    }
                    return;
                };
                if operand.index == Some(base) {
                    let value = offset.wrapping_sub(operand.displacement) / (1 + operand.scale);
                    set_address(gpr, base, value, operand.address16);
                    return;
                }
                if let Some(index) = operand.index
                    && !operand.index_al
                    && !random.one_in(4)
                {
                    set_address(gpr, index, random.below(0x100), operand.address16);
                }
                let rest = effective_address(&Operand { base: None, ..operand }, gpr);
                let mut value = offset.wrapping_sub(rest);
                if operand.address16 {
                    value &= 0xFFFF;
                }
                set_address(gpr, base, value, operand.address16);
            }
        }
    }

    /// Whether an access there can reach only the arena, the fault handler, or code that may not be written.
    fn safe(&self, anchor: Anchor, linear: u32, segments: [Segment; 6]) -> bool {
        let segment = match anchor {
            Anchor::Operand(operand) => segments[operand.segment],
            Anchor::Stack(_) | Anchor::Frame(_) => segments[seg::SS],
        };
        if segment.limit != u32::MAX {
            return !segment.code;
        }
        let margin = 0x200;
        // Nothing is mapped below 64 KiB.
        linear < 0xF000 || linear.wrapping_sub(ARENA + margin) < ARENA_LEN - 2 * margin - 0x200
    }

    /// Misaligned and beyond a limit, or a POPA whose skipped slot alone crosses 64 KiB: what silicon says first
    /// differs.
    fn breaks_two_rules(&self, anchor: Anchor, linear: u32, segments: [Segment; 6]) -> bool {
        match anchor {
            Anchor::Operand(operand) => {
                let segment = segments[operand.segment];
                let last = u64::from(linear.wrapping_sub(segment.base)) + u64::from(operand.size) - 1;
                self.aligned16 && linear & 15 != 0 && last > u64::from(segment.range().1)
            }
            Anchor::Stack(_) => {
                let popa = matches!(self.instruction.mnemonic(), Mnemonic::Popa | Mnemonic::Popad);
                let selector = self.instruction.op0_register().is_segment_register();
                popa && linear & 3 != 0 || selector && linear & 0xFFF < 4
            }
            Anchor::Frame(_) => false,
        }
    }

    /// Puts meaningful bytes where the instruction reads.
    fn contents(
        &self,
        record: &mut [u8],
        anchors: &[u32; 2],
        starts: &[u32; 2],
        landing: u32,
        random: &mut Random,
    ) -> bool {
        let mut ok = true;
        for (index, window) in self.windows.iter().enumerate() {
            let operand_size = match window.anchor {
                Anchor::Operand(operand) => operand.size as usize,
                Anchor::Stack(size) | Anchor::Frame(size) => size as usize,
            };
            let is_stack = matches!(window.anchor, Anchor::Stack(_));
            let within = anchors[index].wrapping_sub(starts[index]) as usize;
            let fits = within + operand_size <= self.shape.window[index];
            let at = self.shape.window_offset(index) + within;
            if self.content == Content::Landing {
                // CALL's stack slot is written, not read.
                let read = is_stack == (self.instruction.mnemonic() == Mnemonic::Ret);
                if read && fits {
                    record[at..at + operand_size].copy_from_slice(&landing.to_le_bytes()[..operand_size]);
                } else if read {
                    // Reads a target that is not a landing, unless it faults: only the absent page is certain.
                    ok &= anchors[index] >> 12 == (ARENA >> 12) + ABSENT_PAGE;
                }
                continue;
            }
            if !fits {
                continue;
            }
            let bytes = &mut record[at..at + operand_size];
            if matches!(self.instruction.mnemonic(), Mnemonic::Popf | Mnemonic::Popfd) {
                if let Some(byte) = bytes.get_mut(1) {
                    *byte &= !((TF >> 8) as u8);
                }
                continue;
            }
            fill(bytes, self.content, random);
        }
        if matches!(self.instruction.mnemonic(), Mnemonic::Popf | Mnemonic::Popfd) && !self.windows.is_empty() {
            let within = anchors[0].wrapping_sub(starts[0]) as usize;
            ok &= within + 4 <= self.shape.window[0] || anchors[0] >> 12 == (ARENA >> 12) + ABSENT_PAGE;
        }
        self.compare_and_exchange(record, anchors, starts, random);
        ok
    }

    /// Lets half of the CMPXCHGs succeed.
    fn compare_and_exchange(&self, record: &mut [u8], anchors: &[u32; 2], starts: &[u32; 2], random: &mut Random) {
        let mnemonic = self.instruction.mnemonic();
        if !matches!(mnemonic, Mnemonic::Cmpxchg | Mnemonic::Cmpxchg8b) || self.windows.is_empty() || random.one_in(2) {
            return;
        }
        let at = self.shape.window_offset(0) + anchors[0].wrapping_sub(starts[0]) as usize;
        let (eax, edx) = (get32(record, field::GPR[0]), get32(record, field::GPR[2]));
        if at + 8 <= self.shape.window_offset(0) + self.shape.window[0] {
            put32(record, at, eax);
            if mnemonic == Mnemonic::Cmpxchg8b {
                put32(record, at + 4, edx);
            }
        }
    }

    /// The count of a shift or rotate in a record, of which processors take five bits.
    pub fn count(&self, record: &[u8]) -> Option<u8> {
        let last = self.instruction.op_count().checked_sub(1)?;
        let count = match self.instruction.op_kind(last) {
            OpKind::Immediate8 => self.instruction.immediate8(),
            OpKind::Register if self.instruction.op_register(last) == Register::CL => record[field::GPR[1]],
            _ => return None,
        };
        Some(count & 31)
    }

    /// Where the first operand lies in window 0 of a record.
    pub fn operand_offset(&self, record: &[u8]) -> Option<i64> {
        let window = self.windows.first()?;
        let gpr = field::GPR.map(|offset| get32(record, offset));
        let linear = linear_address(window.anchor, &gpr, self.placement.environment.segments());
        Some(i64::from(linear) - i64::from(get32(record, field::WINDOW[0])))
    }

    /// Intel syntax, for people.
    pub fn text(&self) -> String {
        use iced_x86::{Formatter, IntelFormatter};
        let mut text = String::new();
        IntelFormatter::new().format(&self.instruction, &mut text);
        text
    }
}

pub(super) fn decode(placement: Placement, bytes: &[u8]) -> Option<(Instruction, iced_x86::ConstantOffsets)> {
    let bits = placement.environment.bits();
    let decode = |options| {
        let mut decoder = Decoder::with_ip(bits, bytes, u64::from(placement.eip()), options);
        let instruction = decoder.decode();
        let constants = decoder.get_constant_offsets(&instruction);
        (!instruction.is_invalid()).then_some((instruction, constants))
    };
    // A LOCK prefix where it is not allowed is #UD: worth asking about, except before MOV CRn, where AMD reaches CR8,
    // and VERW, where Zen takes it.
    decode(DecoderOptions::NONE).or_else(|| {
        decode(DecoderOptions::NO_INVALID_CHECK).filter(|(instruction, _)| {
            let control =
                [Code::Mov_r32_cr, Code::Mov_cr_r32, Code::Verw_rm16, Code::Verw_r32m16].contains(&instruction.code());
            instruction.has_lock_prefix() && !control && excluded(instruction.code()).is_none()
        })
    })
}

/// Decodes `bytes` where `placement` says and plans states for them.
pub fn encoding_of(placement: Placement, bytes: &[u8]) -> Option<Encoding> {
    let (instruction, _) = decode(placement, bytes)?;
    Encoding::of(placement, &bytes[..instruction.len()], instruction)
}

/// Shifts and rotates.
fn is_shift(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    let double = matches!(mnemonic, M::Shld | M::Shrd);
    double || matches!(mnemonic, M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shl | M::Sal | M::Shr | M::Sar)
}

/// Writes a form with random free fields, prefixes and immediates.
pub(super) fn write_form(form: Form, random: &mut Random, bytes: &mut [u8; 15]) {
    let mut len = 0;
    let mut push = |byte: u8| {
        bytes[len] = byte;
        len += 1;
    };
    let has_memory = form.modrm.is_some_and(|modrm| modrm < 0xC0);
    let is_string = !form.two_byte && matches!(form.opcode, 0xA4..=0xA7 | 0xAA..=0xAF | 0x6C..=0x6F);
    let may_address = has_memory || is_string || !form.two_byte && matches!(form.opcode, 0xA0..=0xA3 | 0xD7);
    if random.one_in(if may_address { 4 } else { 64 }) {
        // CS only where it is flat; the others everywhere.
        push(random.pick(&[0x26, 0x36, 0x3E, 0x64, 0x65, 0x2E]));
    }
    if form.address_prefix || may_address && random.one_in(4) {
        push(0x67);
    }
    if is_string && form.prefix != 0xF2 && form.prefix != 0xF3 && random.one_in(2) {
        push(random.pick(&[0xF2, 0xF3]));
    }
    if form.prefix != 0 {
        push(form.prefix);
    }
    if random.one_in(if has_memory { 16 } else { 64 }) {
        push(0xF0);
    }
    if form.two_byte {
        push(0x0F);
    }
    push(form.opcode);
    if let Some(modrm) = form.modrm {
        if modrm >= 0xC0 {
            // x87 forms may encode the instruction in r/m: the caller checks what came out.
            push(if random.one_in(4) { modrm } else { modrm & 0xF8 | random.below(8) as u8 });
        } else {
            push(modrm & 0x38 | (random.below(3) as u8) << 6 | random.below(8) as u8);
        }
    }
    let body = len;
    for chunk in bytes[body..].chunks_mut(4) {
        let value = match random.below(4) {
            0 => random.int32(),
            1 => random.below(256) | random.below(256) << 8 | random.below(4) << 16,
            _ => random.next32(),
        };
        chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
    }
}

pub(super) fn is_near_branch(kind: OpKind) -> bool {
    matches!(kind, OpKind::NearBranch16 | OpKind::NearBranch32)
}

/// False for instructions whose memory operand is only an address.
fn touches_memory(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    !matches!(mnemonic, M::Lea | M::Nop | M::Reservednop | M::Ud0 | M::Ud1)
}

/// Bytes that a stack instruction pushes or pops at once.
fn operand_size(instruction: &Instruction) -> u32 {
    let increment = instruction.stack_pointer_increment().unsigned_abs();
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Enter if instruction.code() == Code::Enterw_imm16_imm8 => 2,
        M::Leave if instruction.code() == Code::Leavew => 2,
        M::Pusha | M::Popa => 2,
        M::Pushad | M::Popad | M::Enter | M::Leave => 4,
        M::Ret => {
            if matches!(instruction.code(), Code::Retnw | Code::Retnw_imm16) {
                2
            } else {
                4
            }
        }
        _ if increment == 2 => 2,
        _ => 4,
    }
}

/// Whether states need the x87, MMX or XMM registers.
fn uses_fx(code: Code) -> bool {
    use CpuidFeature as F;
    code.cpuid_features()
        .iter()
        .any(|feature| matches!(feature, F::FPU | F::FPU287 | F::FPU387 | F::MMX | F::SSE | F::SSE2 | F::FXSR))
        && !matches!(
            code.mnemonic(),
            Mnemonic::Movnti
                | Mnemonic::Lfence
                | Mnemonic::Sfence
                | Mnemonic::Mfence
                | Mnemonic::Prefetchnta
                | Mnemonic::Prefetcht0
                | Mnemonic::Prefetcht1
                | Mnemonic::Prefetcht2
        )
        || code.mnemonic() == Mnemonic::Wait
}
