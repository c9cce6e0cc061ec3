//! The processor's state in KVM's form and back.

use kvm_bindings::{kvm_dtable, kvm_fpu, kvm_regs, kvm_segment, kvm_sregs};
use ring86_translator::State;
use ring86_translator::state::{Segment, TableReg, attr, eflags, slot};

/// TYPE of a busy 32-bit TSS, which VMX wants in TR even in real mode (SDM vol. 3, 27.3.1.2).
const TSS_BUSY: u8 = 0xb;

fn segment_out(s: &Segment) -> kvm_segment {
    let bit = |n: u32| (s.attr >> n & 1) as u8;
    kvm_segment {
        base: s.base,
        limit: s.limit,
        selector: s.selector,
        type_: s.system_type(),
        present: bit(15),
        dpl: s.dpl(),
        db: bit(22),
        s: bit(12),
        l: bit(21),
        g: bit(23),
        avl: bit(20),
        unusable: u8::from(!s.present()),
        padding: 0,
    }
}

fn segment_in(s: &kvm_segment) -> Segment {
    let bits = [
        (u32::from(s.type_), 8),
        (s.s.into(), 12),
        (s.dpl.into(), 13),
        (s.present.into(), 15),
        (s.avl.into(), 20),
        (s.l.into(), 21),
        (s.db.into(), 22),
        (s.g.into(), 23),
    ];
    let all = bits.iter().fold(0, |all, (value, at)| all | value << at);
    Segment {
        base: s.base,
        limit: s.limit,
        attr: if s.unusable == 0 { all & attr::MASK } else { 0 },
        selector: s.selector,
    }
}

fn table(t: TableReg) -> kvm_dtable {
    kvm_dtable { base: t.base, limit: t.limit, padding: [0; 3] }
}

/// The general registers.
pub fn general(s: &State) -> kvm_regs {
    kvm_regs {
        rax: s.gpr(slot::RAX),
        rbx: s.gpr(slot::RBX),
        rcx: s.gpr(slot::RCX),
        rdx: s.gpr(slot::RDX),
        rsi: s.gpr(slot::RSI),
        rdi: s.gpr(slot::RDI),
        rsp: s.gpr(slot::RSP),
        rbp: s.gpr(slot::RBP),
        rip: s.rip,
        rflags: s.eflags().into(),
        ..kvm_regs::default()
    }
}

/// Segments, tables and control registers; `old` has what is not of interest here.
pub fn system(s: &State, old: &kvm_sregs) -> kvm_sregs {
    let mut tr = segment_out(&s.tr);
    if tr.present == 0 {
        (tr.present, tr.type_, tr.unusable) = (1, TSS_BUSY, 0);
    }
    kvm_sregs {
        es: segment_out(&s.segs[0]),
        cs: segment_out(&s.segs[1]),
        ss: segment_out(&s.segs[2]),
        ds: segment_out(&s.segs[3]),
        fs: segment_out(&s.segs[4]),
        gs: segment_out(&s.segs[5]),
        ldt: segment_out(&s.ldtr),
        tr,
        gdt: table(s.gdtr),
        idt: table(s.idtr),
        cr0: s.cr0,
        cr2: s.cr2,
        cr3: s.cr3,
        cr4: s.cr4,
        efer: s.efer,
        interrupt_bitmap: [0; 4],
        ..*old
    }
}

/// x87 and SSE as after a reset: whoever changes a state from outside starts afresh.
pub fn floating(s: &State) -> kvm_fpu {
    kvm_fpu { fcw: s.fpu.cw, fsw: s.fpu.sw, ftwx: !s.fpu.empty, mxcsr: s.mxcsr, ..kvm_fpu::default() }
}

/// Takes over what KVM says, x87 and SSE left out.
pub fn take(s: &mut State, regs: &kvm_regs, sregs: &kvm_sregs) {
    let general = [
        (slot::RAX, regs.rax),
        (slot::RCX, regs.rcx),
        (slot::RDX, regs.rdx),
        (slot::RBX, regs.rbx),
        (slot::RSP, regs.rsp),
        (slot::RBP, regs.rbp),
        (slot::RSI, regs.rsi),
        (slot::RDI, regs.rdi),
    ];
    for (n, value) in general {
        s.set_gpr(n, value);
    }
    s.rip = regs.rip;
    let segments = [&sregs.es, &sregs.cs, &sregs.ss, &sregs.ds, &sregs.fs, &sregs.gs];
    s.segs = segments.map(segment_in);
    s.ldtr = segment_in(&sregs.ldt);
    s.tr = segment_in(&sregs.tr);
    s.gdtr = TableReg { base: sregs.gdt.base, limit: sregs.gdt.limit };
    s.idtr = TableReg { base: sregs.idt.base, limit: sregs.idt.limit };
    (s.cr0, s.cr2, s.cr3, s.cr4, s.efer) = (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer);
    let flags = regs.rflags as u32;
    s.cpl = match s.cr0 & 1 {
        0 => 0,
        _ if flags & eflags::VM != 0 => 3,
        _ => s.segs[2].dpl(),
    };
    s.set_eflags(flags);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring86_translator::Model;

    #[test]
    fn there_and_back() {
        let mut from = State::reset(Model::Max);
        for n in 0..8 {
            from.set_gpr(n, 0x1000 + u64::from(n));
        }
        from.segs[1] = Segment { base: 0x100, limit: u32::MAX, attr: 0x00cf_9b00 & attr::MASK, selector: 8 };
        from.cr0 = 0x8000_0011;
        from.set_eflags(eflags::IF | eflags::CF);
        let mut to = State::reset(Model::Max);
        take(&mut to, &general(&from), &system(&from, &kvm_sregs::default()));
        assert_eq!((0..8).map(|n| to.gpr(n)).collect::<Vec<_>>(), (0x1000..0x1008).collect::<Vec<_>>());
        assert_eq!((to.segs, to.ldtr, to.tr), (from.segs, from.ldtr, from.tr));
        assert_eq!((to.gdtr, to.idtr, to.cr0, to.rip), (from.gdtr, from.idtr, from.cr0, from.rip));
        assert_eq!((to.eflags(), to.mode), (from.eflags(), from.mode));
    }
}
