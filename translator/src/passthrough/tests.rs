//! Batches against the interpreter: every instruction that goes into one, alone and in company.
#![expect(unsafe_code, reason = "runs assembled batches")]

use super::*;
use crate::cpu::{Cpu, Exit};
use crate::fp::F80;
use crate::mmu::Memory;
use crate::state::{HostX87, Segment, State, attr, cr, eflags};
use crate::{NullBus, Pins};
use iced_x86::{Code, Decoder, DecoderOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

const CODE: u64 = 0x1000;
const DATA: u64 = 0x1_0000;
const DATA_LEN: usize = 512;

/// One page of executable memory.
struct Page(*mut u8);

const PAGE: usize = 1 << 15;

impl Page {
    fn new() -> Self {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
        let p = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(p, libc::MAP_FAILED);
        Page(p.cast())
    }
    fn install(&mut self, code: &[u8]) {
        assert!(code.len() <= PAGE, "{} bytes", code.len());
        // SAFETY: the mapping is PAGE bytes, ours alone, and never writable and executable at once.
        unsafe {
            assert_eq!(libc::mprotect(self.0.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE), 0);
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.0, code.len());
            assert_eq!(libc::mprotect(self.0.cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC), 0);
        }
    }
    fn call(&self, state: &mut State, args: &mut [u64]) -> u32 {
        // SAFETY: the page holds a batch, or the code of `release`; both keep to this signature, and the pointers in
        // `args` are to live memory of the sizes the batch's instructions access.
        unsafe {
            let f: extern "sysv64" fn(*mut State, *mut u64) -> u32 = std::mem::transmute(self.0);
            f(state, args.as_mut_ptr())
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody runs it any more.
        unsafe {
            libc::munmap(self.0.cast(), PAGE);
        }
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn f32(&mut self) -> u32 {
        let r = self.next() as u32;
        let sign = r & 0x8000_0000;
        match self.below(12) {
            0 => sign,
            1 => sign | 0x7f80_0000,
            2 => sign | 0x7fc0_0000 | r & 0x3f_ffff,
            3 => sign | 0x7f80_0001 | r & 0x3f_ffff,
            4 => sign | r & 0x7f_ffff,
            5 => sign | 0x3f80_0000,
            6 => sign | 0x7f7f_ffff,
            7 => sign | (0x80_0000 + (r & 3)),
            8 => (self.below(200) as f32 - 100.0).to_bits(),
            9 => sign | (0x3e80_0000 + (r & 0x3ff_ffff)),
            _ => r,
        }
    }
    fn f64(&mut self) -> u64 {
        let r = self.next();
        let sign = r & 1 << 63;
        match self.below(12) {
            0 => sign,
            1 => sign | 0x7ff << 52,
            2 => sign | 0xfff << 51 | r & 0xffff_ffff,
            3 => sign | 0x7ff << 52 | 1 | r & 0xffff_ffff,
            4 => sign | r & ((1 << 52) - 1),
            5 => sign | 0x3ff << 52,
            6 => sign | 0x7fef_ffff_ffff_ffff,
            7 => sign | ((1 << 52) + (r & 3)),
            8 => (self.below(200) as f64 * 0.5 - 50.0).to_bits(),
            9 => sign | 0x3f0 << 52 | r & 0x1f_ffff_ffff_ffff,
            10 => u64::from(self.f32()) << 32 | u64::from(self.f32()),
            _ => r,
        }
    }
    fn f80(&mut self) -> F80 {
        let r = self.next();
        let sign = (r as u16) & 0x8000;
        let top = 1 << 63;
        match self.below(14) {
            0 => F80::new(sign, 0),
            1 => F80::new(sign | 0x7fff, top),
            2 => F80::new(sign | 0x7fff, top | top >> 1 | r >> 2),
            3 => F80::new(sign | 0x7fff, top | r >> 2 | 1),
            4 => F80::new(sign, r >> 1),
            5 => F80::new(sign, top | r),
            6 => F80::new(sign | 0x3fff, top),
            7 => F80::new(sign | 0x7ffe, u64::MAX - (r & 3)),
            8 => F80::new(sign | 1, top | r & 3),
            9 => F80::new(sign | (0x3fff + self.below(70) as u16), top | r),
            10 => crate::fp::x87::widen_f64(self.f64()),
            11 => F80::new(r as u16, self.next()),
            _ => F80::new(sign | (0x3ff0 + self.below(32) as u16), top | r),
        }
    }
    fn vector(&mut self) -> u128 {
        match self.below(4) {
            0 => (0..4).fold(0, |v, _| v << 32 | u128::from(self.f32())),
            1 | 2 => u128::from(self.f64()) << 64 | u128::from(self.f64()),
            _ => u128::from(self.next()) << 64 | u128::from(self.next()),
        }
    }
    /// Like data that programs compute on, so that results stay finite over many instructions.
    fn mild(&mut self) -> F80 {
        crate::fp::x87::widen_f64(((self.below(2000) as f64 - 1000.0) / 7.0).to_bits())
    }
}

/// An instruction with its bytes.
#[derive(Clone)]
struct Sample {
    bytes: Vec<u8>,
    item: Item,
    shape: Shape,
}

fn mode() -> u32 {
    mode::CODE32 | mode::FPU | mode::SSE | mode::PE
}

/// The instruction at the start of `bytes`, if it is for a batch. Memory operands get an address in the data.
fn sample(bytes: &[u8]) -> Option<Sample> {
    let mut d = Decoder::new(32, bytes, DecoderOptions::NONE);
    let ins = d.decode();
    let bytes = bytes.get(..ins.len())?;
    let shape = shape(&ins, Model::Max, mode(), Home::Host)?;
    let opcode = if shape.pointers { lift::x87::opcode(bytes) } else { 0 };
    Some(Sample { bytes: bytes.to_vec(), item: Item { ins, opcode }, shape })
}

/// Every instruction that is for a batch, with every register and one memory address, by form.
fn samples() -> BTreeMap<Code, Vec<Sample>> {
    let mut all: BTreeMap<Code, Vec<Sample>> = BTreeMap::new();
    let mut keep = |bytes: &[u8]| {
        if let Some(s) = sample(bytes) {
            all.entry(s.item.ins.code()).or_default().push(s);
        }
    };
    let tail = |modrm: u8, at: u32| -> Vec<u8> {
        let mut v = Vec::new();
        if modrm < 0xc0 {
            v.push(modrm & 0x38 | 5);
            v.extend((DATA as u32 + at).to_le_bytes());
        } else {
            v.push(modrm);
        }
        v
    };
    for modrm in (0..0x40).step_by(8).chain(0xc0..=0xff) {
        for at in [0, 16, 0x40, 0x80] {
            for op in 0xd8..=0xdf {
                keep(&[&[op][..], &tail(modrm, at)].concat());
            }
            for prefix in [&[][..], &[0x66], &[0xf2], &[0xf3]] {
                for op in 0..=0xff {
                    let imm = [at as u8 ^ modrm ^ op];
                    keep(&[prefix, &[0x0f, op], &tail(modrm, at), &imm].concat());
                }
            }
            if modrm >= 0xc0 {
                break;
            }
        }
    }
    keep(&[0x9b]);
    all
}

fn cpu() -> Cpu {
    let pins = Arc::new(Pins::default());
    let mem = Arc::new(Memory::flat(1 << 20, pins.clone()).expect("1 MiB of memory"));
    let mut cpu = Cpu::new(Model::Max, mem, pins);
    let data = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::DB | attr::G;
    for (i, s) in cpu.state.segs.iter_mut().enumerate() {
        *s = Segment { base: 0, limit: u32::MAX, attr: data, selector: 0x10 + i as u16 * 8 };
    }
    cpu.state.segs[1].attr |= attr::CODE;
    cpu.state.cr0 = cr::PE | cr::ET | cr::NE;
    cpu.state.cr4 = cr::OSFXSR | cr::OSXMMEXCPT;
    cpu.state.update_mode();
    cpu.flush();
    cpu.intercept = true;
    cpu
}

#[repr(align(64))]
#[derive(Clone, PartialEq, Eq)]
struct Data([u8; DATA_LEN]);

struct Bench {
    cpu: Cpu,
    page: Page,
    settling: Page,
    random: Random,
    host: HostX87,
    cases: usize,
    refused: usize,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let random = Random(seed);
        let mut settling = Page::new();
        settling.install(&settle().expect("assembles"));
        Bench { cpu: cpu(), page: Page::new(), settling, random, host: HostX87::UNKNOWN, cases: 0, refused: 0 }
    }

    /// Random registers and control words; with tags mostly such that no register stack fault comes.
    fn state(&mut self, tags: &x87::Stack, mild: bool) -> State {
        let mut s = self.cpu.state.clone();
        let r = &mut self.random;
        s.rip = CODE;
        s.host_x87 = self.host;
        for i in 0..8 {
            s.slots[i] = u64::from(if r.one_in(2) { r.f32() } else { r.below(100) as u32 });
        }
        s.set_arith_flags(r.next() as u32 & eflags::ARITH);
        for i in 0..16 {
            s.vectors[i] = r.vector();
        }
        for v in &mut s.fpu.regs {
            *v = if mild && !r.one_in(8) { r.mild() } else { r.f80() };
        }
        let control = if r.one_in(2) { 0x37f } else { [0x07f, 0x27f, 0x37f][r.below(3)] | (r.below(4) as u16) << 10 };
        s.fpu.cw = if r.one_in(40) { control & !(1 << r.below(6)) } else { control };
        s.fpu.sw = r.next() as u16 & 0x7f7f;
        if r.one_in(4) {
            s.fpu.sw &= !0x3f;
        }
        if s.fpu.sw & !s.fpu.cw & 0x3f != 0 {
            s.fpu.sw |= 0x8080;
        }
        let wanted = tags.full_before | tags.empty_before;
        let tags = r.next() as u8 & !wanted | tags.empty_before;
        let tags = if r.one_in(30) { r.next() as u8 } else { tags };
        s.fpu.empty = tags.rotate_left(s.fpu.top().into());
        s.fpu.last_opcode = 0x123;
        s.fpu.last_ip = 0x4567;
        s.fpu.last_dp = 0x89ab;
        s.fpu.last_cs = 1;
        s.fpu.last_ds = 2;
        let masks = if r.one_in(40) { 0x1f80 & !(0x80 << r.below(6)) } else { 0x1f80 };
        let modes = if r.one_in(2) { 0 } else { r.next() as u32 & 0xe040 };
        s.mxcsr = masks | modes | r.next() as u32 & if r.one_in(2) { 0x3f } else { 0 };
        s
    }

    fn data(&mut self) -> Data {
        let mut d = Data([0; DATA_LEN]);
        for chunk in d.0.chunks_mut(16) {
            let r = &mut self.random;
            let bytes = match r.below(4) {
                0 => {
                    let mut b = r.vector().to_le_bytes();
                    b[..10].copy_from_slice(&r.f80().to_bytes());
                    b
                }
                1 => u128::from(r.below(100) as u64).to_le_bytes(),
                _ => r.vector().to_le_bytes(),
            };
            chunk.copy_from_slice(&bytes);
        }
        d
    }

    /// Runs one batch on `states` random states, in the interpreter and by its code.
    fn check(&mut self, list: &[Sample], states: usize, mild: bool) {
        let items: Vec<Item> = list.iter().map(|s| s.item).collect();
        let host_only = longest(&items, Home::State) < items.len();
        let home = if host_only || self.random.one_in(2) { Home::Host } else { Home::State };
        let batch = assemble(&items, home).expect("assembles");
        let mut plan = Plan::new(home);
        for i in &items {
            plan.push(i).expect("fits");
        }
        let tags = tags_for(&items);
        let mut bytes: Vec<u8> = list.iter().flat_map(|s| s.bytes.clone()).collect();
        bytes.extend([0x0f, 0x0b]);
        self.cpu.memory().dma_write(CODE, &bytes);
        self.page.install(&batch.code);
        for _ in 0..states {
            let start = self.state(&tags, mild);
            let data = self.data();
            self.one(list, &plan, &batch, start, data);
        }
    }

    fn one(&mut self, list: &[Sample], plan: &Plan, batch: &Batch, start: State, before: Data) {
        self.cases += 1;
        let mut data = before.clone();
        let mut state = start.clone();
        let mut args = vec![0xdead_beef_dead_beef; batch.arg_count];
        fill(list, batch, &start, &mut data, CODE, &mut args);
        let done = self.page.call(&mut state, &mut args);
        self.settling.call(&mut state, &mut []);
        self.host = state.host_x87;
        assert!(state.fp_on_host == 0);
        let names: Vec<String> = list.iter().map(|s| s.item.ins.to_string()).collect();
        let names = names.join("; ");
        if done == 0 {
            self.refused += 1;
            let loads = list.iter().any(|s| s.item.ins.mnemonic() == Mnemonic::Fldcw);
            let masked = !loads && start.fpu.cw & 0x3f == 0x3f && start.fpu.sw & 0x8080 == 0;
            let tags = start.fpu.empty.rotate_right(start.fpu.top().into());
            let fits = tags & (plan.stack.full_before | plan.stack.empty_before) == plan.stack.empty_before;
            let sse = !plan.mxcsr || start.mxcsr & 0x1f80 == 0x1f80;
            assert!(batch.may_refuse && !(sse && (!plan.x87 || masked && fits)), "{names}: refused without a reason");
            same(&names, &start, &state, &start);
            assert!(data == before, "{names}: refused and wrote memory");
            return;
        }
        for (s, layout) in list.iter().zip(&batch.args) {
            if let (Some(k), Some((slot, w))) = (layout.gpr_out, s.shape.gpr_out) {
                let old = &mut state.slots[usize::from(slot)];
                *old = if w == Width::W { *old & !0xffff | args[k] } else { args[k] };
            }
            if let Some(k) = layout.flags {
                assert_eq!(args[k] & !0x45, 0, "{names}");
                state.set_arith_flags(args[k] as u32);
            }
        }
        self.cpu.state = start.clone();
        self.cpu.memory().ram().write_bytes(DATA as usize, &before.0);
        match self.cpu.run(&mut NullBus, list.len() as u64) {
            Exit::Budget => {}
            other => panic!("{names}: the interpreter says {other:?}"),
        }
        let mut expected = Data([0; DATA_LEN]);
        self.cpu.memory().ram().read_bytes(DATA as usize, &mut expected.0);
        same(&names, &self.cpu.state, &state, &start);
        for (i, (a, b)) in expected.0.iter().zip(&data.0).enumerate() {
            assert_eq!(a, b, "{names}: memory byte {i:#x} from {:x?}", start.fpu);
        }
    }
}

/// Gives a batch its arguments; `eip` is that of its first instruction, and the result that behind its last.
fn fill(list: &[Sample], batch: &Batch, start: &State, data: &mut Data, mut eip: u64, args: &mut [u64]) -> u64 {
    let base = data.0.as_mut_ptr() as u64;
    for (n, (s, layout)) in list.iter().zip(&batch.args).enumerate() {
        assert_eq!(layout.mem.is_some(), s.shape.mem.is_some());
        let linear = s.item.ins.memory_displacement64();
        if let Some(k) = layout.mem {
            args[k] = base + (linear - DATA);
        }
        if let Some(k) = layout.gpr_in {
            args[k] = start.slots[usize::from(s.shape.gpr_in.expect("reads one"))];
        }
        if let Some(k) = layout.condition {
            args[k] = u64::from(holds(s.shape.condition.expect("has one"), start));
        }
        if let Some(p) = batch.ip.filter(|p| p.item == n) {
            args[p.arg] = eip;
        }
        if let Some(p) = batch.dp.filter(|p| p.item == n) {
            args[p.arg] = linear;
        }
        eip += s.bytes.len() as u64;
    }
    eip
}

/// What the register stack needs so that `items` run without a fault, if that can be.
fn tags_for(items: &[Item]) -> x87::Stack {
    let mut plan = Plan::new(Home::State);
    for i in items {
        // What does not fit is left out: those states fault.
        let _ = plan.push(i);
    }
    plan.stack
}

fn holds(cc: Cc, s: &State) -> bool {
    match cc {
        Cc::B => s.cf(),
        Cc::E => s.zf(),
        Cc::Be => s.cf() || s.zf(),
        Cc::P => s.pf(),
        Cc::Ae => !s.cf(),
        Cc::Ne => !s.zf(),
        Cc::A => !(s.cf() || s.zf()),
        _ => !s.pf(),
    }
}

fn same(names: &str, expected: &State, found: &State, start: &State) {
    assert_eq!(expected.fpu, found.fpu, "{names}\nfrom {:#x?}", start.fpu);
    assert_eq!(expected.mxcsr, found.mxcsr, "{names} from {:#x?}", start.mxcsr);
    for i in 0..16 {
        assert_eq!(expected.slots[i], found.slots[i], "{names}: register {i}");
        let (e, f, s) = (expected.vectors[i], found.vectors[i], start.vectors[i]);
        assert_eq!(e, f, "{names}: xmm{i} {e:x} {f:x} from {s:x} mxcsr {:x}", start.mxcsr);
    }
    assert_eq!(expected.arith_flags(), found.arith_flags(), "{names}");
}

#[test]
fn each_form_alone() {
    let mut b = Bench::new(1);
    let all = samples();
    for list in all.values() {
        let picks = list.len().min(8);
        for _ in 0..picks {
            let s = list[b.random.below(list.len())].clone();
            if longest(&[s.item], Home::Host) == 1 {
                b.check(&[s], 400 / picks, false);
            }
        }
    }
    println!("{} forms, {} cases, {} refused", all.len(), b.cases, b.refused);
    let x87 = all.values().filter(|l| l[0].shape.pointers).count();
    assert!((x87, all.len() - x87) >= (80, 200), "{x87} and {} forms", all.len() - x87);
    assert!(b.refused * 5 < b.cases);
}

/// Instructions in random order, as many as fit a batch.
fn company(b: &mut Bench, pool: &[Sample], most: usize) -> Vec<Sample> {
    let length = 2 + b.random.below(most);
    let mut list: Vec<Sample> = Vec::new();
    let mut items = Vec::new();
    let mut tries = 0;
    while list.len() < length && tries < 200 {
        tries += 1;
        let s = pool[b.random.below(pool.len())].clone();
        items.push(s.item);
        if longest(&items, Home::Host) == items.len() {
            list.push(s);
        } else {
            items.pop();
        }
    }
    list
}

#[test]
fn in_company() {
    let all = samples();
    let every: Vec<Sample> = all.values().map(|l| l[l.len() / 2].clone()).collect();
    let x87: Vec<Sample> = all.values().flatten().filter(|s| s.shape.pointers).cloned().collect();
    let sse: Vec<Sample> = all.values().flatten().filter(|s| !s.shape.pointers).cloned().collect();
    let mut b = Bench::new(2);
    let mut refused = Vec::new();
    for (pool, most) in [(&x87, 8), (&x87, 40), (&sse, 12), (&every, 20), (&every, 62)] {
        let before = b.refused;
        for n in 0..300 {
            let list = company(&mut b, pool, most);
            b.check(&list, 20, n % 2 == 0);
        }
        refused.push(b.refused - before);
    }
    println!("{} cases, refused {refused:?}", b.cases);
    assert!(b.refused * 2 < b.cases);
}

/// Batches one after the other leave on the host what the next one finds there.
#[test]
fn one_after_the_other() {
    let all = samples();
    let every: Vec<Sample> = all.values().map(|l| l[l.len() / 3].clone()).collect();
    let mut b = Bench::new(5);
    let mut pages: Vec<Page> = (0..4).map(|_| Page::new()).collect();
    for _ in 0..300 {
        let list = company(&mut b, &every, 30);
        let cuts = b.random.below(list.len());
        let items: Vec<Item> = list.iter().map(|s| s.item).collect();
        // Results in registers and flags go through the caller, who is not here to carry them from part to part.
        let parts: Vec<&[Item]> = [&items[..cuts], &items[cuts..]].into_iter().filter(|p| !p.is_empty()).collect();
        let carried = list
            .iter()
            .any(|s| s.shape.gpr_out.is_some() || s.shape.flags_out || s.item.ins.mnemonic() == Mnemonic::Fldcw);
        if carried {
            continue;
        }
        let whole = tags_for(&items);
        let mut bytes: Vec<u8> = list.iter().flat_map(|s| s.bytes.clone()).collect();
        bytes.extend([0x0f, 0x0b]);
        b.cpu.memory().dma_write(CODE, &bytes);
        let batches: Vec<Batch> = parts.iter().map(|p| assemble(p, Home::Host).expect("assembles")).collect();
        for (page, batch) in pages.iter_mut().zip(&batches) {
            page.install(&batch.code);
        }
        for _ in 0..20 {
            let mut start = b.state(&whole, true);
            start.fpu.cw |= 0x3f;
            start.fpu.sw &= 0x7f7f;
            start.mxcsr |= 0x1f80;
            let before = b.data();
            let (mut state, mut data) = (start.clone(), before.clone());
            let (mut rest, mut eip) = (&list[..], CODE);
            for (page, batch) in pages.iter().zip(&batches) {
                let (part, behind) = rest.split_at(batch.args.len());
                let mut args = vec![0; batch.arg_count];
                eip = fill(part, batch, &start, &mut data, eip, &mut args);
                rest = behind;
                assert_eq!(page.call(&mut state, &mut args), 1);
            }
            b.settling.call(&mut state, &mut []);
            b.host = state.host_x87;
            b.cpu.state = start.clone();
            b.cpu.memory().ram().write_bytes(DATA as usize, &before.0);
            assert!(matches!(b.cpu.run(&mut NullBus, list.len() as u64), Exit::Budget));
            let names: Vec<String> = list.iter().map(|s| s.item.ins.to_string()).collect();
            same(&names.join("; "), &b.cpu.state, &state, &start);
            let mut expected = Data([0; DATA_LEN]);
            b.cpu.memory().ram().read_bytes(DATA as usize, &mut expected.0);
            assert!(expected == data, "{names:?}: memory");
            b.cases += 1;
        }
    }
    assert!(b.cases > 1000, "{}", b.cases);
}

#[test]
fn release_gives_the_host_back() {
    let mut b = Bench::new(3);
    let list = [sample(&[0xd9, 0xfa]).expect("FSQRT")];
    b.check(&list, 20, false);
    b.page.install(&release().expect("assembles"));
    let mut state = b.cpu.state.clone();
    state.host_x87 = HostX87::UNKNOWN;
    b.page.call(&mut state, &mut [0]);
    assert_eq!(state.host_x87, HostX87 { control: 0x37f, sticky: 0 });
    // What it says is what is there: a batch that trusts it still agrees with the interpreter.
    b.host = state.host_x87;
    b.check(&list, 20, false);
}

#[test]
fn a_batch_ends_before_what_depends_on_its_results() {
    let items = |codes: &[&[u8]]| -> Vec<Item> { codes.iter().map(|c| sample(c).expect("for a batch").item).collect() };
    let movd_eax_xmm0: &[u8] = &[0x66, 0x0f, 0x7e, 0xc0];
    let cvtsi2sd_xmm1_eax: &[u8] = &[0xf2, 0x0f, 0x2a, 0xc8];
    let fld_eax: &[u8] = &[0xd9, 0x00];
    let fld_ebx: &[u8] = &[0xd9, 0x03];
    let fld1: &[u8] = &[0xd9, 0xe8];
    let fstp: &[u8] = &[0xdd, 0xd8];
    let fadd: &[u8] = &[0xd8, 0xc1];
    assert_eq!(longest(&items(&[movd_eax_xmm0, cvtsi2sd_xmm1_eax]), Home::State), 1);
    assert_eq!(longest(&items(&[movd_eax_xmm0, fld_eax]), Home::State), 1);
    assert_eq!(longest(&items(&[movd_eax_xmm0, fld_ebx]), Home::State), 2);
    // The ninth push, and a read of what was popped, fault for certain.
    assert_eq!(longest(&items(&[fld1; 12]), Home::State), 8);
    assert_eq!(longest(&items(&[fld1, fstp, fld1, fadd]), Home::State), 4);
    assert_eq!(longest(&items(&[fstp, fstp, fstp, fstp, fstp, fstp, fstp, fadd]), Home::State), 7);
    assert_eq!(longest(&items(&[fadd; 100]), Home::State), MAX_ITEMS);
    let host = Home::Host;
    assert!(assemble(&items(&[movd_eax_xmm0, fld_eax]), host).is_none() && assemble(&[], host).is_none());
}

#[test]
fn what_is_not_for_a_batch() {
    let shape_of = |code: &[u8], m: u32| {
        let ins = Decoder::new(32, code, DecoderOptions::NONE).decode();
        shape(&ins, Model::Max, m, Home::State).is_some()
    };
    let (fsqrt, addps) = (&[0xd9, 0xfa][..], &[0x0f, 0x58, 0xc1][..]);
    assert!(shape_of(fsqrt, mode()) && !shape_of(fsqrt, mode() & !mode::FPU));
    assert!(shape_of(addps, mode()) && !shape_of(addps, mode() & !mode::SSE));
    assert!(shape_of(&[0x9b], mode()) && !shape_of(&[0x9b], mode() | mode::WAIT_NM));
    // FSIN, FPREM, FLDCW, RCPPS, PADDB mm, FISTTP, MOVSD the string instruction.
    let others: [&[u8]; 7] =
        [&[0xd9, 0xfe], &[0xd9, 0xf8], &[0xd9, 0x28], &[0x0f, 0x53, 0xc1], &[0x0f, 0xfc, 0xc1], &[0xdb, 0x08], &[0xa5]];
    for code in others {
        assert!(!shape_of(code, mode()), "{code:x?}");
    }
    let ins = Decoder::new(32, addps, DecoderOptions::NONE).decode();
    assert!(shape(&ins, Model::Pentium, mode(), Home::Host).is_none());
}

/// Nanoseconds an instruction for batches as programs have them.
#[test]
#[ignore = "measures; run it with --release --nocapture"]
fn speed() {
    let fld = |n: u8| vec![0xdd, 0x05, n * 8, 0, 1, 0];
    let fmul = |n: u8| vec![0xdc, 0x0d, n * 8, 0, 1, 0];
    let fadd = |n: u8| vec![0xdc, 0x05, n * 8, 0, 1, 0];
    let fstp = |n: u8| vec![0xdd, 0x1d, n * 8, 0, 1, 0];
    let (faddp, fxch) = (vec![0xde, 0xc1], vec![0xd9, 0xc9]);
    let movapd = |x: u8, n: u8| vec![0x66, 0x0f, 0x28, x << 3 | 5, n * 8, 0, 1, 0];
    let store = |x: u8, n: u8| vec![0x66, 0x0f, 0x29, x << 3 | 5, n * 8, 0, 1, 0];
    let mulpd = |x: u8, y: u8| vec![0x66, 0x0f, 0x59, 0xc0 | x << 3 | y];
    let addpd = |x: u8, y: u8| vec![0x66, 0x0f, 0x58, 0xc0 | x << 3 | y];
    let paddd = |x: u8, y: u8| vec![0x66, 0x0f, 0xfe, 0xc0 | x << 3 | y];
    let dot: Vec<Vec<u8>> =
        vec![fld(0), fmul(1), fld(2), fmul(3), faddp.clone(), fld(4), fmul(5), faddp.clone(), fadd(6), fstp(7)];
    let kept: Vec<Vec<u8>> = vec![fld(0), fmul(1), faddp.clone()];
    let deep: Vec<Vec<u8>> = vec![vec![0xd8, 0xc1], vec![0xd8, 0xca], fxch, vec![0xd8, 0xc3], vec![0xdc, 0xca]];
    let sse: Vec<Vec<u8>> =
        vec![movapd(0, 0), mulpd(0, 1), addpd(2, 0), movapd(3, 2), mulpd(3, 1), addpd(4, 3), addpd(5, 2), store(5, 4)];
    let small: Vec<Vec<u8>> = vec![movapd(0, 0), mulpd(0, 1), addpd(2, 0)];
    let integer: Vec<Vec<u8>> = vec![movapd(0, 0), paddd(0, 1), paddd(2, 0), store(2, 4)];
    let long: Vec<Vec<u8>> = dot.iter().cycle().take(40).cloned().collect();
    let both = [Home::State, Home::Host];
    for ((name, codes), home) in [
        ("x87 chain of 10", dot),
        ("x87 fld fmul faddp", kept),
        ("x87 on registers, 5", deep),
        ("x87 chain of 40", long),
        ("SSE2 loop body of 8", sse),
        ("SSE2 of 3", small),
        ("SSE2 integer of 4", integer),
    ]
    .into_iter()
    .flat_map(|c| both.map(|m| (c.clone(), m)))
    {
        let mut b = Bench::new(4);
        let list: Vec<Sample> = codes.iter().map(|c| sample(c).expect("for a batch")).collect();
        let items: Vec<Item> = list.iter().map(|s| s.item).collect();
        let batch = assemble(&items, home).expect("assembles");
        b.page.install(&batch.code);
        let mut state = b.cpu.state.clone();
        state.fpu.reset();
        state.fpu.empty = 0xf0;
        state.fpu.sw = 0x20;
        for r in &mut state.fpu.regs {
            *r = F80::ONE;
        }
        let mut data = [1.0f64; 64];
        let mut args = vec![0u64; batch.arg_count];
        for (s, layout) in list.iter().zip(&batch.args) {
            if let Some(k) = layout.mem {
                args[k] = data.as_mut_ptr() as u64 + s.item.ins.memory_displacement64() - DATA;
            }
        }
        let mut best = f64::MAX;
        const CALLS: u32 = 200_000;
        for _ in 0..7 {
            let start = std::time::Instant::now();
            for _ in 0..CALLS {
                state.fpu.empty = 0xf0;
                state.fpu.sw = 0x20;
                std::hint::black_box(b.page.call(&mut state, &mut args));
            }
            b.settling.call(&mut state, &mut []);
            best = best.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        println!(
            "{name:24} {home:?} {:4} bytes {best:7.1} ns a batch {:6.2} ns an instruction",
            batch.code.len(),
            best / items.len() as f64
        );
    }
    let mut b = Bench::new(6);
    let fabs = [sample(&[0xd9, 0xe1]).expect("FABS").item];
    let batch = assemble(&fabs, Home::Host).expect("assembles");
    b.page.install(&batch.code);
    let mut state = b.cpu.state.clone();
    state.fpu.reset();
    state.fpu.empty = 0;
    let mut args = vec![0u64; batch.arg_count];
    for _ in 0..5 {
        let start = std::time::Instant::now();
        for _ in 0..100_000 {
            b.page.call(&mut state, &mut args);
            b.settling.call(&mut state, &mut []);
        }
        println!("x87 to the host and home: {:.0} ns", start.elapsed().as_nanos() as f64 / 1e5);
    }
}
