//! A floppy that starts a multiboot program on a PC that only has a BIOS.

use iced_x86::code_asm::*;

use crate::asm::{assemble, code};
use crate::pm::{IMAGE, desc};
use crate::{Kind, Rom};

/// A 1.44 MB floppy: the boot sector as it is, or for a multiboot program a loader that reads it through INT 13h into
/// low memory, opens A20, enters protected mode, copies it to 1 MiB and jumps to its entry.
///
/// # Panics
/// If the loader does not assemble, which the crate's own test rules out.
pub fn floppy(rom: &Rom) -> Vec<u8> {
    let mut disk = match rom.kind {
        Kind::BootSector => rom.image.to_vec(),
        Kind::Multiboot => loader(rom.image),
    };
    disk.resize(1_474_560, 0);
    disk
}

fn loader(image: &[u8]) -> Vec<u8> {
    let sectors = image.len().div_ceil(512) as u32;
    let entry = image.get(28..32).map_or(IMAGE, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut boot = assemble(0x7C00, 16, &|t| {
        code!(t;
            cli(); xor(ax, ax); mov(ds, ax); mov(ss, ax); mov(sp, 0x7000); mov(byte_ptr(0x600), dl); sti(); cld();
            in_(al, 0x92u32); or(al, 2); and(al, 0xFEu32 as i32); out(0x92u32, al);
            mov(ax, 0x1000); mov(es, ax); mov(si, 1));
        t.here("next")?;
        // Sector SI of 18 a track, two heads: CH track, DH head, CL sector from 1.
        code!(t;
            mov(ax, si); mov(cl, 18); div(cl); mov(cl, ah); inc(cl); mov(dh, al); and(dh, 1); shr(al, 1); mov(ch, al);
            mov(dl, byte_ptr(0x600)); xor(bx, bx); mov(ax, 0x0201); int(0x13); jb(t.at("next"));
            mov(ax, es); add(ax, 0x20); mov(es, ax); inc(si); cmp(si, sectors as i32); jbe(t.at("next"));
            cli(); lgdt(fword_ptr(t.addr("gdtr"))); mov(eax, cr0); or(al, 1); mov(cr0, eax); jmp_far(8, t.addr("flat")));
        t.bits(32)?;
        t.here("flat")?;
        code!(t;
            mov(eax, 16); mov(ds, eax); mov(es, eax); mov(ss, eax);
            mov(esi, 0x1_0000); mov(edi, IMAGE); mov(ecx, sectors * 128); rep().movsd();
            mov(eax, 0x2BAD_B002); mov(ebx, t.addr("info")); mov(edx, entry); jmp(edx));
        t.align(8)?;
        t.a.dq(&[0, desc(0, 0xF_FFFF, 0x9B, 0xC), desc(0, 0xF_FFFF, 0x93, 0xC)])?;
        t.here("gdtr")?;
        code!(t; dw(&[23]); dd(&[t.addr("gdtr") - 24]));
        t.here("info")?;
        t.a.dd(&[0; 4])
    })
    .unwrap_or_else(|error| panic!("the loader does not assemble: {error}"));
    assert!(boot.len() <= 510 && sectors < 900);
    boot.resize(510, 0);
    boot.extend([0x55, 0xAA]);
    boot.extend(image);
    boot
}
