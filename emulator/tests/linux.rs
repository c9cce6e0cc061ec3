//! Debian's own i386 kernels boot to a shell on the serial line, run commands, and switch the machine off.

#[path = "support/guest.rs"]
mod guest;
mod support;

use guest::guest;
use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::MachineConfig;
use ring86::machine::{Machine, Outcome};
use std::fs;
use support::wait;

const PROMPT: &str = "~ # ";
const ROOT_PROMPT: &str = "/ # ";

fn boot(kernel: &str, entry: Entry, append: &str) -> Option<Machine> {
    let (kernel, initrd) = (guest(kernel)?, guest("initrd-busybox.cpio.gz")?);
    let bytes = fs::read(&kernel).expect("the kernel is readable");
    let initrd = ("initrd".to_owned(), fs::read(initrd).expect("the initial RAM disk is readable"));
    let mut config = MachineConfig::new();
    config.ram = 128 << 20;
    let append = format!("console=ttyS0 panic=-1 {append}");
    let payload = image::kernel("kernel", &bytes, &append, Some(initrd), entry);
    config.payload = Some(payload.expect("the kernel is a good one"));
    config.reboot = false;
    Some(support::machine(config))
}

fn at_prompt(machine: &Machine, from: usize) -> bool {
    let new = String::from_utf8_lossy(machine.serial_output().get(from..).unwrap_or(&[])).into_owned();
    [PROMPT, ROOT_PROMPT].iter().any(|prompt| new.contains(prompt))
}

/// Types `command` and returns what it printed.
fn shell(machine: &mut Machine, command: &str) -> String {
    let from = machine.serial_output().len();
    machine.serial_input(format!("{command}\n").as_bytes());
    wait(machine, command, 60, |m| at_prompt(m, from));
    String::from_utf8_lossy(&machine.serial_output()[from..]).into_owned()
}

/// Where the kernel says that its interrupts come from.
fn controllers(machine: &mut Machine) -> String {
    shell(machine, "[ -e /proc/interrupts ] || mount -t proc proc /proc; cat /proc/interrupts")
}

fn session(kernel: &str, release: &str, entry: Entry) {
    let Some(mut machine) = boot(kernel, entry, "") else { return };
    wait(&mut machine, "a shell prompt", 120, |m| at_prompt(m, 0));
    let text = machine.serial_text();
    assert!(text.contains("ring86-init-ready"), "{text}");
    assert!(!text.contains("BUG:") && !text.contains("Oops"), "{text}");
    assert!(text.contains("hpet0: at MMIO 0xfed00000"), "{text}");
    let interrupts = controllers(&mut machine);
    assert!(interrupts.contains("IO-APIC") && !interrupts.contains("XT-PIC"), "{interrupts}");
    let uname = shell(&mut machine, "uname -rm");
    assert!(uname.contains(release) && uname.contains("i686"), "{uname}");
    let sum = shell(&mut machine, "i=0; s=0; while [ $i -lt 1000 ]; do i=$((i+1)); s=$((s+i*i)); done; echo s=$s");
    assert!(sum.contains("s=333833500"), "{sum}");
    let pipe = shell(&mut machine, "seq 1 2000 | sort -n | md5sum");
    assert!(pipe.contains("ea4d0a24dabcaa11f9aa979b872d162b"), "{pipe}");
    machine.serial_input(b"poweroff -f\n");
    match machine.run_until(|_| false, 60_000_000_000) {
        Err(Outcome::PowerOff) => {}
        Err(other) => panic!("{}\n{}", support::explain(&other), machine.serial_text()),
        Ok(_) => panic!("the guest did not switch off\n{}", machine.serial_text()),
    }
}

#[test]
fn the_686_kernel() {
    session("vmlinuz-686", "-686", Entry::Real);
}

#[test]
fn the_686_pae_kernel() {
    session("vmlinuz-686-pae", "-686-pae", Entry::Real);
}

#[test]
fn the_686_kernel_by_its_32_bit_entry() {
    // The zero page made here in place of the set-up code: the memory map and the text screen are in it.
    let Some(mut machine) = boot("vmlinuz-686", Entry::Protected, "") else { return };
    let enabled = |m: &mut Machine| m.serial_text().contains("console [ttyS0] enabled");
    wait(&mut machine, "the kernel's first lines", 120, enabled);
    let text = machine.serial_text();
    assert!(text.contains("[mem 0x0000000000100000-0x0000000007ffffff] usable") && text.contains("Memory: "), "{text}");
}

/// The kernel finds `_32_`, calls our BIOS in 32-bit protected mode, and reads all configuration space by it.
#[test]
fn the_686_kernel_asks_the_pci_bios() {
    let Some(mut machine) = boot("vmlinuz-686", Entry::Real, "pci=bios") else { return };
    let said = |m: &mut Machine| m.serial_text().contains("pci 0000:00:02.0: [1234:1111]");
    wait(&mut machine, "the display adapter in the list of PCI devices", 60, said);
    let text = machine.serial_text();
    assert!(text.contains("PCI: PCI BIOS revision 2.10 entry at 0xf"), "{text}");
    for device in ["00.0: [8086:1237]", "01.0: [8086:7000]", "01.1: BAR 4 [io  0xc000-0xc00f]"] {
        assert!(text.contains(device), "{device}: {text}");
    }
}

#[test]
fn the_686_kernel_without_the_apics() {
    let Some(mut machine) = boot("vmlinuz-686", Entry::Real, "noapic nolapic") else { return };
    wait(&mut machine, "a shell prompt", 120, |m| at_prompt(m, 0));
    let interrupts = controllers(&mut machine);
    assert!(interrupts.contains("XT-PIC") && !interrupts.contains("IO-APIC"), "{interrupts}");
}
