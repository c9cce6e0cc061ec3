//! `--engine kvm`: a PC whose processor is the host's, or the sentence that says why not.
//!
//! What runs here is 16-bit code, which every KVM can run, those that interpret it included.

#[path = "support/folder.rs"]
mod folder;

use folder::{Ended, Folder, ring86};
use iced_x86::code_asm::*;

/// Runs a boot sector under KVM; without KVM on this host says so and gives nothing.
fn sector(name: &str, code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Option<Ended> {
    let built = cfg!(all(feature = "kvm", target_os = "linux", target_arch = "x86_64"));
    let usable = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if built && !usable {
        eprintln!("skipped: /dev/kvm is not there or not for this user");
        return None;
    }
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    code(&mut a).expect("the code is right");
    let mut image = a.assemble(0x7c00).expect("the code is right");
    assert!(image.len() <= 510);
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(1440 << 10, 0);
    let folder = Folder::new(name);
    let image = folder.file("floppy.img", image);
    let args = ["run", "--engine", "kvm", "--serial", "none", "--debug-exit", "0xf4", "--max-time", "60", "--stats"];
    let ended = ring86(&folder.0, &[&args[..], &["--dump-screen", &image]].concat());
    assert!(folder.read("floppy.img")[510..512] == [0x55, 0xaa], "the guest left its disk alone");
    if !built {
        assert_eq!(ended.code, Some(120));
        let reason =
            if cfg!(all(target_os = "linux", target_arch = "x86_64")) { "--features kvm" } else { "x86-64 only" };
        assert!(ended.err.contains(reason), "{}", ended.err);
        eprintln!("skipped: this build has no KVM");
        return None;
    }
    Some(ended)
}

/// Writes `value` to the debug-exit port.
fn leave(a: &mut CodeAssembler, value: u32) -> Result<(), IcedError> {
    a.mov(al, value)?;
    a.out(0xf4, al)
}

#[test]
fn firmware_interrupts_ports_and_memory() {
    let ended = sector("kvm-devices", |a| {
        let mut bad = a.create_label();
        a.xor(ax, ax)?;
        a.mov(ds, ax)?;
        a.mov(es, ax)?;
        a.cld()?;
        // The timer's interrupt wakes HLT; the BIOS counts it.
        a.mov(bx, word_ptr(0x46c))?;
        a.sti()?;
        for _ in 0..3 {
            a.hlt()?;
        }
        a.cmp(bx, word_ptr(0x46c))?;
        a.je(bad)?;
        // A colour of the palette, written and read back as strings of bytes.
        a.mov(dword_ptr(0x600), 0x0012_3405)?;
        a.mov(dx, 0x3c8)?;
        a.mov(al, 7)?;
        a.out(dx, al)?;
        a.inc(dx)?;
        a.mov(si, 0x600)?;
        a.mov(cx, 3)?;
        a.rep().outsb()?;
        a.mov(dx, 0x3c7)?;
        a.mov(al, 7)?;
        a.out(dx, al)?;
        a.mov(dx, 0x3c9)?;
        a.mov(di, 0x604)?;
        a.mov(cx, 3)?;
        a.rep().insb()?;
        a.mov(byte_ptr(0x607), 0)?;
        a.mov(eax, dword_ptr(0x604))?;
        a.cmp(eax, dword_ptr(0x600))?;
        a.jne(bad)?;
        // Text on the screen, through the BIOS and the video memory.
        a.mov(ax, 0x0e4b)?;
        a.int(0x10)?;
        a.mov(ax, 0xb800)?;
        a.mov(es, ax)?;
        a.mov(word_ptr(2000).es(), 0x0721)?;
        a.cmp(word_ptr(2000).es(), 0x0721)?;
        a.jne(bad)?;
        leave(a, 9)?;
        a.set_label(&mut bad)?;
        leave(a, 2)
    });
    let Some(ended) = ended else { return };
    assert_eq!(ended.code, Some(19), "{}", ended.err);
    assert!(ended.out.contains('K') && ended.out.contains('!'), "{}", ended.out);
    for kind in ["exit: port", "exit: memory", "exit: HLT", "under KVM"] {
        assert!(ended.err.contains(kind), "{kind}: {}", ended.err);
    }
}

#[test]
fn the_a20_gate() {
    let ended = sector("kvm-a20", |a| {
        let mut bad = a.create_label();
        a.xor(ax, ax)?;
        a.mov(ds, ax)?;
        a.dec(ax)?;
        a.mov(es, ax)?;
        // 0000:0500 and FFFF:0510 are a megabyte apart, or the same byte.
        for (gate, same) in [(0u32, true), (2, false), (0, true)] {
            a.in_(al, 0x92)?;
            a.and(al, 0xfc)?;
            a.or(al, gate)?;
            a.out(0x92, al)?;
            a.mov(byte_ptr(0x510).es(), 0x11)?;
            a.mov(byte_ptr(0x500), 0x22)?;
            a.cmp(byte_ptr(0x510).es(), if same { 0x22 } else { 0x11 })?;
            a.jne(bad)?;
        }
        leave(a, 9)?;
        a.set_label(&mut bad)?;
        leave(a, 2)
    });
    let Some(ended) = ended else { return };
    assert_eq!(ended.code, Some(19), "{}", ended.err);
}

#[test]
fn what_cannot_be_with_it_is_said() {
    let folder = Folder::new("kvm-options");
    for (options, says) in [(["--clock", "virtual"], "--clock host"), (["--trace", "exec"], "only io")] {
        let ended = ring86(&folder.0, &[&["demo", "--engine", "kvm"], &options[..]].concat());
        assert!(ended.code == Some(120) && ended.err.contains(says), "{}", ended.err);
    }
}
