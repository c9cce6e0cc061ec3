//! `cpu`, `mem`, `pci`, `clock`, `peek`: what the machine is made of.

use iced_x86::code_asm::*;

use super::*;

/// CPUID leaf 1 EDX, by bit.
const FEATURES: [(u32, &str); 22] = [
    (0, "fpu"),
    (1, "vme"),
    (2, "de"),
    (3, "pse"),
    (4, "tsc"),
    (5, "msr"),
    (6, "pae"),
    (8, "cx8"),
    (9, "apic"),
    (11, "sep"),
    (12, "mtrr"),
    (13, "pge"),
    (14, "mca"),
    (15, "cmov"),
    (16, "pat"),
    (17, "pse36"),
    (19, "clflush"),
    (23, "mmx"),
    (24, "fxsr"),
    (25, "sse"),
    (26, "sse2"),
    (28, "htt"),
];
/// PCI classes and their names.
const CLASSES: [(u32, &str); 8] = [
    (0x0600, "host bridge"),
    (0x0601, "ISA bridge"),
    (0x0101, "IDE controller"),
    (0x0680, "power management"),
    (0x0300, "VGA"),
    (0x0200, "Ethernet"),
    (0x0100, "SCSI"),
    (0x0C03, "USB"),
];

pub(super) fn write(t: &mut Pm) -> Emit {
    cpu(t)?;
    mem(t)?;
    pci(t)?;
    clock(t)?;
    peek(t)
}

fn cpu(t: &mut Pm) -> Emit {
    t.here("cmd.cpu")?;
    say(t, "Processor  ")?;
    // CPUID exists if EFLAGS.ID can be changed.
    code!(t; pushfd(); pop(eax); mov(ecx, eax); xor(eax, 0x20_0000); push(eax); popfd(); pushfd(); pop(eax); xor(eax, ecx);
        test(eax, 0x20_0000); jne(t.at("cpu.id")));
    say(t, "a 386 or 486 without CPUID\n")?;
    code!(t; ret());
    t.here("cpu.id")?;
    code!(t;
        xor(eax, eax); cpuid(); mov(dword_ptr(TEMP), ebx); mov(dword_ptr(TEMP + 4), edx); mov(dword_ptr(TEMP + 8), ecx);
        mov(dword_ptr(TEMP + 12), 0); push(TEMP as i32); call(t.at("puts"));
        mov(eax, 0x8000_0000u32); cpuid(); cmp(eax, 0x8000_0004u32 as i32); jb(t.at("cpu.model")); push(32); call(t.at("putc")));
    for leaf in 0..3 {
        code!(t;
            mov(eax, 0x8000_0002u32 + leaf); cpuid(); mov(edi, TEMP + leaf * 16);
            mov(dword_ptr(edi), eax); mov(dword_ptr(edi + 4), ebx); mov(dword_ptr(edi + 8), ecx); mov(dword_ptr(edi + 12), edx));
    }
    code!(t; mov(dword_ptr(TEMP + 48), 0); push(TEMP as i32); call(t.at("puts")));
    t.here("cpu.model")?;
    code!(t; mov(eax, 1); cpuid(); mov(dword_ptr(TEMP), edx); mov(esi, eax));
    for (text, shift) in [(", family ", 8), (" model ", 4), (" stepping ", 0)] {
        say(t, text)?;
        code!(t; mov(eax, esi); shr(eax, shift); and(eax, 15); push(eax); call(t.at("decimal")));
    }
    say(t, "\n          ")?;
    for (bit, name) in FEATURES {
        let skip = t.fresh("skip");
        code!(t; bt(dword_ptr(TEMP), bit); jae(t.at(&skip)));
        say(t, &format!(" {name}"))?;
        t.here(&skip)?;
    }
    say(t, "\n")?;
    // The time stamp counter over ten ticks of the timer.
    code!(t; bt(dword_ptr(TEMP), 4); jae(t.at("cpu.end")); call(t.at("tick")); rdtsc(); mov(esi, eax); mov(edi, edx); mov(ebx, dword_ptr(TICKS)); add(ebx, 10));
    t.here("cpu.wait")?;
    code!(t; hlt(); cmp(dword_ptr(TICKS), ebx); jb(t.at("cpu.wait")); rdtsc(); sub(eax, esi); sbb(edx, edi); cmp(edx, 100_000); jae(t.at("cpu.end"));
        mov(ebx, 100_000); div(ebx));
    say(t, "           time stamp counter at ")?;
    code!(t; push(eax); call(t.at("decimal")));
    say(t, " MHz\n")?;
    t.here("cpu.end")?;
    code!(t; ret());
    // Waits for the next timer interrupt. Changes EAX.
    t.here("tick")?;
    code!(t; mov(eax, dword_ptr(TICKS)));
    t.here("tick.wait")?;
    code!(t; hlt(); cmp(eax, dword_ptr(TICKS)); je(t.at("tick.wait")); ret());
    Ok(())
}

fn mem(t: &mut Pm) -> Emit {
    t.here("cmd.mem")?;
    code!(t; mov(ebx, dword_ptr(MBINFO)); test(dword_ptr(ebx), 1); je(t.at("mem.map")));
    say(t, "Memory     ")?;
    code!(t; mov(eax, dword_ptr(ebx + 8)); add(eax, 1024); shr(eax, 10); push(eax); call(t.at("decimal")));
    say(t, " MiB\n")?;
    t.here("mem.map")?;
    code!(t; test(dword_ptr(ebx), 0x40); je(t.at("mem.end")); mov(esi, dword_ptr(ebx + 48)); mov(edi, dword_ptr(ebx + 44)); add(edi, esi));
    t.here("mem.next")?;
    code!(t; cmp(esi, edi); jae(t.at("mem.end")));
    say(t, "           ")?;
    code!(t; push(dword_ptr(esi + 8)); call(t.at("hex8")); push(dword_ptr(esi + 4)); call(t.at("hex8")));
    say(t, "  ")?;
    code!(t; mov(eax, dword_ptr(esi + 12)); mov(edx, dword_ptr(esi + 16)); shrd(eax, edx, 10); push(eax); call(t.at("decimal")));
    say(t, " KiB ")?;
    code!(t; cmp(dword_ptr(esi + 20), 1); jne(t.at("mem.other")));
    say(t, "usable\n")?;
    code!(t; jmp(t.at("mem.step")));
    t.here("mem.other")?;
    say(t, "reserved\n")?;
    t.here("mem.step")?;
    code!(t; add(esi, dword_ptr(esi)); add(esi, 4); jmp(t.at("mem.next")));
    t.here("mem.end")?;
    code!(t; ret());
    Ok(())
}

fn pci(t: &mut Pm) -> Emit {
    // Configuration doubleword EAX (bus, device, function, register) into EAX. Changes EDX.
    t.here("pci.read")?;
    code!(t; or(eax, 0x8000_0000u32); mov(dx, 0xCF8); out(dx, eax); mov(dx, 0xCFC); in_(eax, dx); ret());
    t.here("cmd.pci")?;
    code!(t; xor(ebx, ebx));
    t.here("pci.next")?;
    code!(t; mov(eax, ebx); call(t.at("pci.read")); cmp(ax, 0xFFFFu32 as i32); je(t.at("pci.step")); mov(esi, eax));
    say(t, "PCI        00:")?;
    code!(t; mov(eax, ebx); shr(eax, 11); push(eax); call(t.at("hex2")); push(0x2E); call(t.at("putc"));
        mov(eax, ebx); shr(eax, 8); and(eax, 7); push(eax); call(t.at("hex1")); push(32); call(t.at("putc"));
        push(esi); call(t.at("hex4")); push(0x3A); call(t.at("putc")); shr(esi, 16); push(esi); call(t.at("hex4")); push(32); call(t.at("putc"));
        lea(eax, dword_ptr(ebx + 8)); call(t.at("pci.read")); shr(eax, 16); mov(esi, eax));
    for (class, name) in CLASSES {
        let skip = t.fresh("skip");
        code!(t; cmp(esi, class as i32); jne(t.at(&skip)));
        say(t, name)?;
        code!(t; jmp(t.at("pci.named")));
        t.here(&skip)?;
    }
    say(t, "class ")?;
    code!(t; push(esi); call(t.at("hex4")));
    t.here("pci.named")?;
    say(t, "\n")?;
    t.here("pci.step")?;
    code!(t; add(ebx, 0x100); cmp(ebx, 0x1_0000); jb(t.at("pci.next")); ret());
    Ok(())
}

fn clock(t: &mut Pm) -> Emit {
    // Register AL of the clock into AL, as two decimal digits whatever its format. Changes EAX, ECX.
    t.here("rtc.read")?;
    code!(t;
        out(0x70, al); in_(al, 0x71); mov(ecx, eax); mov(al, 0x0B); out(0x70, al); in_(al, 0x71); test(al, 4); xchg(eax, ecx);
        je(t.at("rtc.bcd")); aam(10); shl(ah, 4); or(al, ah));
    t.here("rtc.bcd")?;
    code!(t; movzx(eax, al); ret());
    t.here("cmd.clock")?;
    say(t, "Date       ")?;
    // Register A bit 7: an update is under way.
    code!(t; mov(ecx, 100_000));
    t.here("rtc.wait")?;
    code!(t; mov(al, 0x0A); out(0x70, al); in_(al, 0x71); test(al, 0x80u32 as i32); loopne(t.at("rtc.wait")));
    for (register, after) in [(0x32, ""), (9, "-"), (8, "-"), (7, " "), (4, ":"), (2, ":"), (0, "\n")] {
        code!(t; mov(al, register); call(t.at("rtc.read")); push(eax); call(t.at("hex2")));
        if !after.is_empty() {
            say(t, after)?;
        }
    }
    code!(t; ret());
    Ok(())
}

fn peek(t: &mut Pm) -> Emit {
    t.here("cmd.peek")?;
    code!(t; mov(esi, dword_ptr(ARGS)); xor(ebx, ebx); xor(eax, eax));
    t.here("peek.digit")?;
    code!(t;
        lodsb(); test(al, al); je(t.at("peek.show")); or(al, 0x20); cmp(al, 0x78); je(t.at("peek.digit")); sub(al, 0x30); jb(t.at("peek.bad"));
        cmp(al, 9); jbe(t.at("peek.add")); sub(al, 0x27); cmp(al, 10); jb(t.at("peek.bad")); cmp(al, 15); ja(t.at("peek.bad")));
    t.here("peek.add")?;
    code!(t; shl(ebx, 4); or(ebx, eax); jmp(t.at("peek.digit")));
    t.here("peek.bad")?;
    say(t, "peek wants a hexadecimal address\n")?;
    code!(t; ret());
    t.here("peek.show")?;
    code!(t; mov(edi, 4));
    t.here("peek.line")?;
    code!(t; push(ebx); call(t.at("hex8")); mov(ecx, 16));
    t.here("peek.byte")?;
    code!(t; push(32); call(t.at("putc")); movzx(eax, byte_ptr(ebx)); inc(ebx); push(eax); call(t.at("hex2")); loop_(t.at("peek.byte")));
    say(t, "  ")?;
    code!(t; mov(ecx, 16));
    t.here("peek.text")?;
    code!(t; mov(edx, ebx); sub(edx, ecx); movzx(eax, byte_ptr(edx)); cmp(al, 32); jb(t.at("peek.dot")); cmp(al, 126); jbe(t.at("peek.char")));
    t.here("peek.dot")?;
    code!(t; mov(eax, 0x2E));
    t.here("peek.char")?;
    code!(t; push(eax); call(t.at("putc")); loop_(t.at("peek.text")));
    say(t, "\n")?;
    code!(t; dec(edi); jne(t.at("peek.line")); ret());
    Ok(())
}
