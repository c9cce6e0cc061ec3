//! Boot loaders and small systems of others, each used by keyboard, on our own firmware and on SeaBIOS: GRUB 2's floppy and
//! CD, GRUB legacy's menu, a game and a microkernel started by multiboot, iPXE, MikeOS, OpenBSD's floppy.

#[path = "support/fat.rs"]
mod fat;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/pictures.rs"]
mod pictures;
#[path = "support/shared_guest.rs"]
mod shared_guest;

use folder::{Ended, Folder, ring86};
use foreign::seabios;
use guest::guest;
use shared_guest::shared_guest;
use std::fs;

/// Runs a script on the virtual clock, first on our own firmware, then on SeaBIOS; both must end well, and the last screen is kept as a
/// picture.
#[track_caller]
fn on_both(name: &str, script: &str, args: &[&str]) -> Vec<Ended> {
    let Some(seabios) = seabios() else { return Vec::new() };
    let folder = Folder::new(name);
    let script = folder.file("script", format!("timeout 60\n{script}screenshot last.png\n"));
    let run = |firmware: &[String], whose: &str| {
        let mut all = vec!["run", "--clock", "virtual", "--serial", "none", "--ephemeral", "--script", &script];
        all.extend(firmware.iter().map(String::as_str));
        all.extend(args);
        let ended = ring86(&folder.0, &all);
        assert_eq!(ended.code, Some(0), "{whose}: {}", ended.err);
        pictures::keep(&folder, "last.png", &format!("{name}-{whose}"));
        ended
    };
    vec![run(&[], "ring86"), run(&seabios, "seabios")]
}

#[test]
fn grub_from_a_floppy_and_a_cd() {
    let (Some(floppy), Some(cd)) = (guest("grub/grub-rescue-floppy.img"), guest("grub/grub-rescue-cdrom.iso")) else {
        return;
    };
    let (floppy, cd) = (floppy.display().to_string(), cd.display().to_string());
    let script = |drive| {
        format!(
            "wait-screen GNU/Linux\nkey down down down\nwait-screen '*FreeBSD (or GNU/kFreeBSD), via'\nkey c\n\
             wait-screen 'grub>'\ntype 'ls\\n'\nwait-screen '({drive})'\n"
        )
    };
    on_both("grub-floppy", &script("fd0"), &["--net", "none", "--floppy", &floppy]);
    on_both("grub-cd", &script("cd"), &["--net", "none", "--cd", &cd]);
}

/// GRUB legacy's stages with a menu, and the game as its second choice.
#[test]
fn grub_legacy_starts_a_game_from_its_menu() {
    let (Some(stage1), Some(stage2)) = (guest("grub-legacy/stage1"), guest("grub-legacy/stage2")) else { return };
    let Some(game) = guest("invaders.exec") else { return };
    let read = |path| fs::read(path).expect("the guest is readable");
    let (mut boot, game) = (read(stage1), read(game));
    boot.extend(read(stage2));
    let menu = b"timeout 30\ntitle nothing\nhalt\ntitle The game\nkernel (fd0)/boot/grub/invaders.exc\n";
    let folder = Folder::new("legacy-image");
    let image = folder.file("grub.img", fat::floppy(&boot, &[(b"MENU    LST", menu), (b"INVADERSEXC", &game)]));
    let script = "wait-screen 'The game'\nkey down enter\nwait-screen '-*-'\nsleep 1\nscreen\nkey left left left\n\
                  sleep 0.5\nscreen\n";
    for ended in on_both("grub-legacy", script, &["--net", "none", "--floppy", &image]) {
        ship_moved(&ended);
    }
}

/// The ship is drawn as '/-\' at the screen's bottom, and went left between the two screens that were printed.
#[track_caller]
fn ship_moved(ended: &Ended) {
    let ship: Vec<usize> = ended.out.lines().filter_map(|line| line.find("/ \\").or(line.find("/-\\"))).collect();
    assert!(matches!(ship[..], [before, after] if after < before), "{ship:?}\n{}", ended.out);
}

#[test]
fn a_game_is_a_multiboot_kernel() {
    let Some(game) = guest("invaders.exec") else { return };
    let script = "wait-screen '-*-'\nsleep 1\nscreen\nkey left left left\nsleep 0.5\nscreen\n";
    let game = game.display().to_string();
    for ended in on_both("invaders", script, &["--net", "none", &game]) {
        assert!(ended.err.contains("is a flat multiboot kernel with 0 modules"), "{}", ended.err);
        ship_moved(&ended);
    }
}

#[test]
fn gnumach_asks_for_its_bootstrap() {
    let Some(kernel) = guest("gnumach.gz") else { return };
    let script = "wait-screen 'No bootstrap code loaded with t'\nscreen\n";
    let kernel = kernel.display().to_string();
    let both = on_both("gnumach", script, &["--net", "none", &kernel]);
    // Our firmware leaves the bus master function on; SeaBIOS has the kernel do that.
    assert!(both.iter().take(1).all(|ended| !ended.out.contains("is not enabled (BIOS)")), "{both:?}");
    for ended in both {
        assert!(ended.err.contains("is an ELF32 multiboot kernel with 0 modules"), "{}", ended.err);
        for line in
            ["Intel 82371 PIIX3 (dual FIFO) DMA Bus Mastering IDE", "FDC 0 is a post-1991 82077", "com0: at atbus0"]
        {
            assert!(ended.out.contains(line), "no '{line}' in\n{}", ended.out);
        }
    }
}

/// By DHCP alone: iPXE's `dhcp` also waits a quarter of a minute for IPv6 routers, of which there are none.
#[test]
fn ipxe_from_a_cd_gets_a_lease() {
    let Some(cd) = guest("ipxe/ipxe.iso") else { return };
    let script = "wait-screen Ctrl-B\nkey ctrl-b\nwait-screen 'iPXE>'\n\
                  type 'ifconf -c dhcp net0 && show net0/ip\\n'\nwait-screen 'ipv4 = 10.0.2.15'\nscreen\n";
    let cd = cd.display().to_string();
    for ended in on_both("ipxe", script, &["--cd", &cd]) {
        assert!(ended.out.contains("Configuring [dhcp] (net0 52:54:00:12:34:56)"), "{}", ended.out);
    }
}

#[test]
fn mikeos_on_seabios_too() {
    let Some(image) = shared_guest("mikeos.flp") else { return };
    let folder = Folder::new("mikeos-image");
    let image = folder.file("mikeos.flp", image);
    let script = "wait-screen 'Thanks for trying out MikeOS!'\nkey right\nkey enter\nwait-screen 'Commands: DIR'\n\
                  type 'dir\\n'\nwait-screen KERNEL.BIN\n";
    on_both("mikeos-both", script, &["--net", "none", "--floppy", &image]);
}

/// OpenBSD 2.8's kernel probes the board in depth. It waits eight seconds for SCSI adapters that are not there, all the
/// while reading the 8254, so these are left out by its own configuration prompt.
#[test]
fn openbsd_from_a_floppy() {
    let Some(image) = shared_guest("openbsd.img") else { return };
    let folder = Folder::new("openbsd-image");
    let image = folder.file("openbsd.img", image);
    let script = "wait-screen 'boot>'\ntype 'b -c\\n'\nwait-screen 'UKC>'\n\
                  type 'disable bt\\n'\nwait-screen 'bt1 disabled'\ntype 'disable aha\\n'\n\
                  wait-screen 'aha* disabled'\ntype 'quit\\n'\nwait-screen '(I)nstall, (U)pgrade or (S)hell?'\nscreen\n\
                  type 's\\n'\nwait-screen '# '\ntype 'echo $((7*191))\\n'\nwait-screen 1337\n";
    for ended in on_both("openbsd", script, &["--net", "none", "--floppy", &image]) {
        for line in [
            "\"Intel 82371SB (Triton II) IDE\" rev 0x00: DMA",
            "npx0 at isa0 port 0xf0/16: using exception 16",
            "pccom1 at isa0 port 0x2f8/8 irq 3: ns16550a",
            "fd0 at fdc0 drive 0: 1.44MB 80 cyl, 2 head, 18 sec",
        ] {
            assert!(ended.out.contains(line), "no '{line}' in\n{}", ended.out);
        }
    }
}
