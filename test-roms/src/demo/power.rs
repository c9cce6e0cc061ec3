//! `poweroff`, `reboot`, `crash`, and the answer to an exception nobody expects.

use iced_x86::code_asm::*;

use super::*;
use crate::pm::{CR2_, EIP, ERR, STACK, VEC};

/// The PIIX4's power management function, 00:01.3.
const PIIX4_PM: u32 = 0x0000_0B00;

pub(super) fn write(t: &mut Pm) -> Emit {
    t.here("cmd.poweroff")?;
    say(t, "Good bye.\n")?;
    // PMBASE, register 40h; where no firmware has set it: 600h, with PMIOSE in register 80h. PM1a control is 4 above,
    // SLP_EN bit 13, and the sleep type of S5 is 0.
    code!(t;
        mov(eax, PIIX4_PM); call(t.at("pci.read")); cmp(eax, 0x7113_8086); jne(t.at("poweroff.exit"));
        mov(eax, PIIX4_PM | 0x40); call(t.at("pci.read")); and(eax, 0xFFC0); jne(t.at("poweroff.base"));
        mov(eax, 0x601); out(dx, eax);
        mov(eax, PIIX4_PM | 0x80); call(t.at("pci.read")); or(eax, 1); out(dx, eax); mov(eax, 0x600));
    t.here("poweroff.base")?;
    code!(t; lea(edx, dword_ptr(eax + 4)); mov(ax, 0x2000); out(dx, ax); mov(ecx, 100_000));
    t.here("poweroff.wait")?;
    code!(t; loop_(t.at("poweroff.wait")));
    t.here("poweroff.exit")?;
    code!(t; xor(eax, eax); mov(dx, 0xF4); out(dx, eax));
    say(t, "This machine cannot be switched off.\n")?;
    code!(t; ret());

    t.here("cmd.reboot")?;
    code!(t; cli(); call(t.at("kbd.ready")); mov(al, 0xFEu32); out(0x64, al); mov(ecx, 1_000_000));
    t.here("reboot.wait")?;
    code!(t; loop_(t.at("reboot.wait")); in_(al, 0x92u32); or(al, 1); out(0x92u32, al));
    t.here("cmd.crash")?;
    // With an IDT of no entries the first exception cannot be delivered, nor the double fault.
    code!(t; mov(word_ptr(TEMP), 0); mov(dword_ptr(TEMP + 2), 0); lidt(fword_ptr(TEMP)); ud2());

    t.here("stray")?;
    // In the middle of a self-test it is that test's failure.
    code!(t; mov(eax, dword_ptr(VEC)); cmp(dword_ptr(FAIL_TO), 0); jne(t.at("fail")); mov(esp, STACK); sti());
    say(t, "\nException ")?;
    code!(t; push(dword_ptr(VEC)); call(t.at("decimal")));
    for (text, var) in [(" error ", ERR), (" at ", EIP), (" CR2 ", CR2_)] {
        say(t, text)?;
        code!(t; push(dword_ptr(var)); call(t.at("hex8")));
    }
    say(t, "\n")?;
    code!(t; jmp(t.at("prompt")));
    Ok(())
}
