//! Other people's firmware runs unmodified on this board, and starts what ours starts: SeaBIOS, the Bochs BIOS, U-Boot.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/shared_guest.rs"]
mod shared_guest;

use folder::{Ended, Folder, ring86};
use foreign::{firmware, seabios};
use guest::guest;
use shared_guest::shared_guest;
use std::fs;

/// Runs a script on the virtual clock; it must end well.
#[track_caller]
fn run(folder: &Folder, script: &str, firmware: &[String], args: &[&str]) -> Ended {
    let script = folder.file("script", format!("timeout 30\n{script}"));
    let mut all = vec!["run", "--clock", "virtual", "-m", "32M", "--net", "none", "--script", &script];
    all.extend(firmware.iter().map(String::as_str));
    all.extend(args);
    let ended = ring86(&folder.0, &all);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended
}

const DOS: &str = "wait-screen 'A:\\>'\ntype 'ver\\n'\nwait-screen 'FreeCom version'\n";

#[test]
fn seabios_finds_the_board_and_starts_a_floppy() {
    let (Some(firmware), Some(image)) = (seabios(), shared_guest("freedos722.img")) else { return };
    let folder = Folder::new("seabios-floppy");
    let floppy = folder.file("freedos.img", image);
    run(&folder, DOS, &firmware, &["--serial", "none", "--floppy", &floppy, "--firmware-log", "log"]);
    let log = String::from_utf8_lossy(&folder.read("log")).into_owned();
    for line in [
        "Found QEMU fw_cfg",
        "QEMU fw_cfg DMA interface supported",
        "qemu/e820: addr 0x0000000000000000 len 0x0000000002000000 [RAM]",
        "PCI: init bdf=00:01.3 id=8086:7113",
        "Running option rom at c000:0003",
        "Start SeaVGABIOS",
        "PS2 keyboard initialized",
        "Booting from Floppy...",
    ] {
        assert!(log.contains(line), "no '{line}' in\n{log}");
    }
}

#[test]
fn seabios_starts_a_cd() {
    let (Some(firmware), Some(path)) = (seabios(), guest("memtest86+ia32.iso")) else { return };
    let folder = Folder::new("seabios-cd");
    let cd = path.display().to_string();
    let script = "wait-screen 'Test #2'\nkey f1\nwait-screen 'Test selection'\nscreen\n";
    let ended = run(&folder, script, &firmware, &["--serial", "none", "--boot", "d", "--cd", &cd]);
    assert!(ended.out.contains("Memtest86+ v6"), "{}", ended.out);
}

#[test]
fn seabios_starts_a_hard_disk_from_its_menu() {
    let (Some(firmware), Some(path)) = (seabios(), guest("grub/grub-rescue-cdrom.iso")) else { return };
    let folder = Folder::new("seabios-disk");
    let disk = folder.file("disk.img", fs::read(path).expect("the image is readable"));
    let script = "wait-screen 'Press ESC for boot menu'\nkey esc\nwait-screen 'Select boot device'\n\
                  wait-screen 'RING86'\nkey 1\nwait-screen GNU/Linux\nkey c\nwait-screen 'grub>'\ntype 'ls\\n'\n\
                  wait-screen '(hd0,msdos1)'\n";
    let ended = run(&folder, script, &firmware, &["--serial", "none", "--boot", "menu", "--hd", &disk]);
    // SeaBIOS asks the disk for a packet device's identification, which is nothing to warn of.
    assert!(!ended.err.contains("ide: command"), "{}", ended.err);
}

#[test]
fn seabios_starts_a_kernel() {
    let (Some(firmware), Some(path)) = (seabios(), guest("memtest86+ia32.bin")) else { return };
    let folder = Folder::new("seabios-kernel");
    let kernel = path.display().to_string();
    run(&folder, "wait-screen 'Test #2'\n", &firmware, &["--serial", "none", "--kernel", &kernel]);
}

#[test]
fn the_bochs_bios_starts_a_floppy() {
    let (Some(new), Some(old)) = (
        firmware("bochsbios/BIOS-bochs-latest", "vgabios/vgabios.bin"),
        firmware("bochsbios/BIOS-bochs-legacy", "vgabios/vgabios.bin"),
    ) else {
        return;
    };
    let Some(image) = shared_guest("freedos722.img") else { return };
    let folder = Folder::new("bochsbios");
    let floppy = folder.file("freedos.img", image);
    for firmware in [new, old] {
        run(&folder, DOS, &firmware, &["--serial", "none", "--floppy", &floppy]);
    }
}

#[test]
fn u_boot_reaches_its_prompt() {
    let Some(rom) = guest("u-boot.rom") else { return };
    let folder = Folder::new("u-boot");
    let firmware = ["--bios".to_owned(), rom.display().to_string()];
    run(&folder, "wait-serial 'DRAM:  32 MiB'\nwait-serial '=> '\n", &firmware, &["--serial", "file:serial"]);
    let serial = String::from_utf8_lossy(&folder.read("serial")).into_owned();
    assert!(serial.contains("U-Boot 20") && serial.contains("QEMU x86 (I440FX)"), "{serial}");
}

/// A folder with what a network card starts: a script of iPXE's that tries to leave it, then memtest86+.
fn served(folder: &Folder) -> Option<()> {
    let kernel = guest("memtest86+ia32.bin")?;
    fs::create_dir(folder.0.join("served")).expect("a folder can be made");
    fs::copy(kernel, folder.0.join("served/memtest")).expect("a file can be copied");
    folder.file("secret", "secret");
    let steps = "#!ipxe\nimgfetch ../secret && echo got-out || echo kept-in\nsleep 1\nkernel memtest\nboot\n";
    folder.file("served/start.ipxe", steps);
    Some(())
}

/// Starts it by the ROM `rom` of the card `model`.
#[track_caller]
fn starts_by_network(folder: &Folder, script: &str, firmware: &[String], (rom, model): (&str, &str), boot: &str) {
    let script = folder.file("script", format!("timeout 60\n{script}wait-screen kept-in\nwait-screen 'Test #2'\n"));
    let net = format!("user,model={model},tftp=served,bootfile=start.ipxe");
    let mut args = vec!["run", "--clock", "virtual", "-m", "32M", "--serial", "none", "--script", &script];
    args.extend(firmware.iter().map(String::as_str));
    args.extend(["--option-rom", rom, "--boot", boot, "--net", &net]);
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_network_cards_rom_starts_a_file_from_a_folder() {
    let (Some(firmware), Some(rom)) = (seabios(), guest("ipxe/pxe-rtl8139.rom")) else { return };
    let folder = Folder::new("network-boot");
    let Some(()) = served(&folder) else { return };
    starts_by_network(&folder, "", &firmware, (&rom.display().to_string(), "rtl8139"), "n");
}

#[test]
fn our_own_firmware_runs_a_network_cards_rom() {
    let folder = Folder::new("own-network-boot");
    let Some(()) = served(&folder) else { return };
    // The NE2000's ROM names no device. Both keep what they need in memory from the POST Memory Manager.
    for (rom, model) in [("ipxe/pxe-rtl8139.rom", "rtl8139"), ("ipxe/pxe-ne2k_pci.rom", "ne2k_pci")] {
        let Some(rom) = guest(rom) else { return };
        let memory = "wait-screen 'PMM+01000000+'\n";
        starts_by_network(&folder, memory, &[], (&rom.display().to_string(), model), "n");
    }
}

#[test]
fn the_boot_menu_lists_the_network() {
    let Some(rom) = guest("ipxe/pxe-rtl8139.rom") else { return };
    let folder = Folder::new("own-network-menu");
    let Some(()) = served(&folder) else { return };
    let menu = "wait-screen '4  network: iPXE'\nkey 4\nwait-screen 'Starting from the network.'\n";
    starts_by_network(&folder, menu, &[], (&rom.display().to_string(), "rtl8139"), "menu");
}

#[test]
fn seabios_is_the_same_for_both_engines() {
    let Some(firmware) = seabios() else { return };
    let folder = Folder::new("seabios-lockstep");
    let mut args = vec!["run", "--engine", "lockstep", "--clock", "virtual", "-m", "16M", "--max-time", "0.2"];
    args.extend(firmware.iter().map(String::as_str));
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(ended.err.contains("no difference in "), "{}", ended.err);
}

#[test]
fn wrong_files_are_refused_in_a_sentence() {
    let folder = Folder::new("wrong-firmware");
    let odd = folder.file("odd.bin", [0; 1000]);
    let short = folder.file("short.rom", [0x55, 0xaa, 4, 0]);
    let bios = folder.file("bios.bin", vec![0; 65_536]);
    let floppy = folder.file("disk.img", vec![0; 1440 << 10]);
    let missing = folder.0.join("missing.bin").display().to_string();
    for (args, says) in [
        (vec!["--bios", &odd], "it has 1000 bytes; a BIOS has a multiple of 64 KiB, up to 16 MiB"),
        (vec!["--bios", &missing], "missing.bin': there is no such file"),
        (
            vec!["--floppy", &floppy, "--vga-bios", &short],
            "our own firmware has its own video BIOS; give --bios as well",
        ),
        (vec!["--bios", &bios, "--vga-bios", &short], "it has 4 bytes, fewer than the 2048 its header names"),
        (vec!["--bios", &bios, "--vga-bios", &odd], "it is no adapter's ROM, which begins with the bytes 55h AAh"),
        (vec!["--floppy", &floppy, "--option-rom", &short, "--net", "none"], "no network card to carry it"),
        (
            vec!["--floppy", &floppy, "--boot", "n"],
            "--boot n: the network card's ROM does that; give one with --option-rom",
        ),
        (vec!["--bios", &bios, "--net", "user,tftp=nowhere"], "cannot serve 'nowhere': there is no such file"),
        (vec!["--floppy", &floppy, "--option-rom", &short, "--net", "user,model=ne2k_isa"], "use --net user,model="),
    ] {
        let ended = ring86(&folder.0, &[&["run", "--serial", "none"], args.as_slice()].concat());
        assert_eq!(ended.code, Some(120), "{args:?}: {}", ended.err);
        let said: Vec<&str> =
            ended.err.lines().filter(|line| !line.contains("what the guest writes goes into it")).collect();
        assert!(matches!(said[..], [line] if line.contains(says)), "{args:?}: {}", ended.err);
    }
}
