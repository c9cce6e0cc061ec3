//! Wrong input is one sentence.

use super::{Folder, command, conform, has_judge};

#[test]
fn wrong_input_is_one_sentence() {
    let folder = Folder::new("wrong");
    let short = folder.file("short.MOO", b"MOO \x0c\0\0\0\x01\0\0\0\x05\0\0\x008086");
    let json = folder.file("00.json", "[{\"name\":");
    let nothing = folder.file("none.json", "[]");
    let plain = Folder::new("wrong-plain");
    plain.file("plain.asm", "nop\n");
    let plain = plain.path("");
    let toml = Folder::new("wrong-toml");
    toml.file("suite.toml", "name = 'x'\nconvention = 'telepathy'\n");
    let toml = toml.path("");
    let empty = Folder::new("wrong-empty");
    let empty = empty.path("");
    for (args, code, says) in [
        (&["native", "--shard", "5/4"][..], 2, "--shard 5/4: not of the form M/N with M from 1 to N"),
        (
            &["native", "--filter", "nosuchform", "--cases", "10"],
            120,
            "--filter nosuchform: no instruction form matches",
        ),
        (&["native", "--engine", "warp"], 2, "--engine warp: not one of interpreter,"),
        (&["native", "--environment", "flat64"], 2, "--environment flat64: not one of"),
        (&["native", "--plant", "Add:XF"], 2, "--plant Add:XF: not CODE:FLAG"),
        (&["vectors", &short], 120, "short.MOO: the file is truncated: 0 of 5 tests"),
        (&["vectors", &short, "--cpu", "286"], 120, "short.MOO: the file is truncated"),
        (&["vectors", &json, "--cpu", "8086"], 120, "00.json: the file is truncated"),
        (&["vectors", &json], 120, "00.json: files of JSON do not say which CPU"),
        (&["vectors", &empty], 120, "no .MOO, .MOO.gz or .json file here"),
        (&["roms", "--filter", "nosuchrom"], 120, "--filter nosuchrom: no program matches"),
        (&["image", &toml], 120, "suite.toml: convention telepathy is none of"),
        (&["image", &empty], 120, "suite.toml: there is no such file"),
        (&["states", &empty], 120, "no .init, .def or .asm file"),
        (&["lockstep", &short], 120, "is no image that ring86 knows"),
        (&["native", "--cases", "0"], 2, "--cases 0: nothing would be run"),
        (&["native", "--jobs", "0"], 2, "--jobs 0: nothing would be run"),
        (&["native", "--cpu", "386"], 2, "--cpu 386: native asks the model max alone"),
        (&["roms", "roms"], 2, "conform roms: this suite is there twice"),
        (&["roms", "--engine", "quick,quick"], 2, "--engine quick: it is there twice"),
        (&["vectors", &nothing, "--cpu", "8086"], 120, "none.json: no tests in it"),
        (&["vectors", "/nowhere"], 120, "cannot read '/nowhere': there is no such file"),
        (&["states", &plain], 120, "no .init, .def or .asm file with a JSON header here"),
        (&["lockstep", &short, "--filter", "nosuch"], 120, "--filter: it does not match"),
        (&["roms", "--filter", "paging", "--report", &json], 120, "00.json': a file of that name is in the way"),
        (&["roms", "--report", "/proc/ring86"], 120, "--report: cannot write '/proc/ring86': there is no folder"),
        (&["lockstep", "/nowhere"], 120, "cannot read '/nowhere': there is no such file"),
        (&["against", "virtualbox"], 2, "qemu, bochs and unicorn are the emulators that can be asked"),
        (&["replay", "env=flat32"], 120, "the line to replay has no valid at="),
        (&["replay", "end=page env=seg16 bytes=0"], 120, "the line to replay has no valid bytes="),
        (&["replay", "tiers=debug seed=1 case=1 less=x"], 120, "the line to replay has no valid less="),
        (&["replay", "vectors=x"], 120, "the line to replay has no valid cpu="),
        (&["merge", &short], 120, "this is no JSON"),
    ] {
        if args.contains(&"native") && args.contains(&"--filter") && !has_judge() {
            continue;
        }
        let (got, out, err) = conform(args);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?}: {err}");
        assert!(err.contains(says) && err.starts_with("ring86: ") && err.matches('\n').count() == 1, "{args:?}: {err}");
    }
    // An emulator that is not there.
    let output = command(&["against", "qemu"]).env("PATH", "/nowhere").output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(120));
    assert_eq!(
        err,
        "ring86: conform against qemu: qemu-system-i386 is not installed (on Debian: apt-get install qemu-system-x86)\n"
    );
    let output = command(&["against", "bochs"]).env("PATH", "/nowhere").output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(120));
    let expected =
        "ring86: conform against bochs: bochs is not installed (on Debian: apt-get install bochs bochs-term)\n";
    assert_eq!(err, expected);
    let output = command(&["against", "unicorn"]).env("PATH", "/nowhere").output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(120));
    let expected = "ring86: conform against unicorn: python3 with Unicorn's module is not installed (on Debian: apt-get \
                    install python3-unicorn)\n";
    assert_eq!(err, expected);
}
