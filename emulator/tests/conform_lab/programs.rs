//! Programs, and states that others recorded.

use super::{Folder, has, missing, results, statuses};
use crate::linux_program::linux_program;
use std::fs;
use std::path::Path;

/// A dump of registers in the style of libx86emu.
fn registers(first: u32, ip: u32) -> String {
    let mut text =
        format!("cr0=00000000\ngdt.base=0 gdt.limit=ffff\nidt.base=0 idt.limit=ffff\neax={first:08x} ebx=00000002\n");
    text += &format!("eip={ip:08x} eflags=00000006\n");
    for segment in ["cs", "ss", "ds", "es", "fs", "gs"] {
        let access = if segment == "cs" { "009b" } else { "0093" };
        text += &format!("{segment}=0000 {segment}.base=00000000 {segment}.limit=0000ffff {segment}.acc={access}\n");
    }
    text
}

#[test]
fn programs_end_in_the_states_that_others_recorded() {
    let folder = Folder::new("states");
    let code = ";           0   1   2   3   4   5   6   7\n00001000:  66  01  d8  a2  00  20  f4\n";
    for (name, last) in [("good", 3), ("bad", 4)] {
        folder.file(&format!("{name}.init"), format!("{code}{}", registers(1, 0x1000)));
        folder.file(&format!("{name}.done"), format!("{code}00002000: *03\n{}", registers(last, 0x1007)));
    }
    folder.file("alone.init", format!("{code}{}", registers(1, 0x1000)));
    let path = folder.path("");
    for engine in ["interpreter", "eager", "single-none-table"] {
        let (exit, got) = results(&["states", &path, "--engine", engine]);
        assert_eq!(exit, 1);
        assert_eq!(statuses(&got), [("alone", "skip"), ("bad", "fail"), ("good", "pass")], "{engine}: {:?}", got.tests);
        assert_eq!(got.tests[1].detail, "eax: 4/3");
    }
    folder.file("verdicts.txt", "# why\nbad: the suite is wrong here\n");
    let (exit, got) = results(&["states", &path]);
    assert_eq!((exit, got.tests[1].detail.as_str()), (0, "the suite is wrong here\neax: 4/3"));
}

#[test]
fn lines_in_the_style_of_valgrind_are_run() {
    let folder = Folder::new("def");
    let lines = "###aaa is left out\nadcb eflags[0x1,0x1] : imm8[12] m8.ub[34] => 1.ub[47]\n\
                 addl r32.ud[1] r32.ud[2] => 1.ud[4]\nfadd st0.ps[1.5] st2.ps[2] => st2.ps[3.5]\n\
                 paddb mm.ub[1,2,3,4,5,6,7,255] mm.ub[1,1,1,1,1,1,1,1] => 1.ub[2,3,4,5,6,7,8,0]\n\
                 haddpd xmm.pd[1,2] xmm.pd[3,4] => 1.pd[7,3]\nnosuch r32.ud[1] => 0.ud[1]\n";
    folder.file("x.def", lines);
    let (exit, got) = results(&["states", &folder.path("")]);
    let expected = [
        ("x.def adcb", "pass"),
        ("x.def addl", "fail"),
        ("x.def fadd", "pass"),
        ("x.def paddb", "pass"),
        ("x.def haddpd", "skip"),
        ("x.def nosuch", "skip"),
    ];
    assert_eq!((exit, statuses(&got)), (1, expected.to_vec()), "{:?}", got.tests);
    assert!(got.tests[1].detail.starts_with("line 3, addl %eax, %ebx: "), "{}", got.tests[1].detail);
}

#[test]
fn programs_with_a_header_are_run() {
    if !has("nasm") {
        return;
    }
    let folder = Folder::new("headed");
    let program = |value: &str, mode: &str| {
        format!(
            "%ifdef CONFIG\n{{\"RegData\": {{\"RAX\": \"{value}\", \"XMM0\": [\"0x2\", \"0x0\"]}},\n\
             \"MemoryData\": {{\"0x20000\": \"0x00000041\"}}, \"Mode\": \"{mode}\"}}\n%endif\n\
             mov eax, 0x41\nmov [0x20000], eax\nmov ecx, 2\nmovd xmm0, ecx\nhlt\n"
        )
    };
    folder.file("a.asm", program("0x41", "32BIT"));
    folder.file("b.asm", program("0x42", "32BIT"));
    folder.file("c.asm", program("0x41", "64BIT"));
    let (exit, got) = results(&["states", &folder.path("")]);
    let expected = [("a.asm", "pass"), ("b.asm", "fail"), ("c.asm", "skip")];
    assert_eq!((exit, statuses(&got)), (1, expected.to_vec()), "{:?}", got.tests);
}

/// The suites that `tools/guests libx86emu valgrind` fetches, if they are there. What fails has a verdict.
#[test]
fn suites_of_debians_source_packages_pass() {
    for (name, engines, least) in [("libx86emu", "interpreter,eager", 68), ("valgrind", "interpreter", 2500)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/suites").join(name);
        if !path.is_dir() {
            missing(&format!("no suite of {name}; run tools/guests {name}"));
            continue;
        }
        let path = path.display().to_string();
        let (exit, got) = results(&["states", &path, "--engine", engines]);
        let bad: Vec<_> = got.tests.iter().filter(|test| test.status.is_bad()).collect();
        assert_eq!(exit, 0, "{bad:?}");
        assert!(got.totals().cases >= least, "{:?}", got.totals());
    }
}

#[test]
fn programs_are_held_to_the_host_and_to_their_own_status() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let (kernel, initrd) = (guests.join("vmlinuz-686"), guests.join("initrd-busybox.cpio.gz"));
    if !kernel.exists() || !initrd.exists() {
        return missing("guests/vmlinuz-686 or guests/initrd-busybox.cpio.gz is not there: run 'tools/guests ci'");
    }
    let folder = Folder::new("programs");
    for name in ["same", "seven"] {
        folder.file(name, linux_program());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.0.join(name), mode).expect("a program of our own");
    }
    let description = format!(
        "name = 'small'\nkernel = '{}'\ninitrd = '{}'\nprograms = ['same', 'seven']\njudge = 'host'\n\
         [[program]]\nname = 'seven'\njudge = 'status'\n",
        kernel.display(),
        initrd.display()
    );
    folder.file("suite.toml", description);
    let (exit, got) = results(&["programs", &folder.path(""), "--engine", "translator", "--jobs", "1"]);
    // The second ends with 7, which is not 0.
    assert_eq!((exit, statuses(&got)), (1, vec![("same", "pass"), ("seven", "fail")]), "{:?}", got.tests);
}
