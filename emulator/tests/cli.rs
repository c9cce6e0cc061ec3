//! The command line: wrong input is one sentence and an exit code of its own, and creates nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The exit code for host errors.
const HOST: i32 = 120;

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a temporary file can be written");
        path.display().to_string()
    }

    fn entries(&self) -> Vec<String> {
        let list = fs::read_dir(&self.0).expect("the folder is readable");
        let mut names: Vec<_> = list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nothing.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn ring86(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// An ELF header for `machine`.
fn elf(machine: u16) -> Vec<u8> {
    let mut file = vec![0; 128];
    file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    file[16] = 2;
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file
}

/// A multiboot kernel that writes 10h to port F4h, which ends a run with 33.
fn multiboot_image() -> Vec<u8> {
    // The header with addresses of its own: at 1 MiB, this file's 64 bytes, no BSS, entered behind the header.
    let words = [0x1bad_b002u32, 1 << 16, 0u32.wrapping_sub(0x1bad_b002 + (1 << 16))];
    let at = [0x10_0000u32, 0x10_0000, 0x10_0040, 0x10_0040, 0x10_0020];
    let mut file: Vec<u8> = words.iter().chain(&at).flat_map(|w| w.to_le_bytes()).collect();
    // mov al, 10h; out 0F4h, al; hlt
    file.extend([0xb0, 0x10, 0xe6, 0xf4, 0xf4]);
    file.resize(64, 0);
    file
}

#[test]
fn compare_runs_and_writes_its_reports() {
    let folder = Folder::new("compare");
    let image = folder.file("image", &multiboot_image());
    let args = ["compare", &image, "--runs", "2", "--runner", "interpreter,kvm,native", "-m", "4M"];
    let output = ring86(&folder.0, &[&args[..], &["--json", "out.json", "--html", "out.html"]].concat());
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}{errors}");
    assert!(table.contains("interpreter") && table.contains("KVM: "), "{table}");
    assert!(table.contains("native: image: a kernel is no program of the host"), "{table}");
    let json = fs::read_to_string(folder.0.join("out.json")).expect("the report is there");
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let first = &json["runners"][0];
    assert_eq!(first["times"][0]["all"].as_array().map(Vec::len), Some(2), "{json:#}");
    let calls = first["stats"]["image"]["calls"].as_array().expect("calls are listed");
    assert!(calls.iter().any(|c| c["name"] == "Out" && c["count"].as_u64() > Some(0)), "{json:#}");
    let page = fs::read_to_string(folder.0.join("out.html")).expect("the page is there");
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    // A guest that never ends is a failure, and says so.
    let mut endless = multiboot_image();
    endless[32..34].copy_from_slice(&[0xeb, 0xfe]);
    let endless = folder.file("endless", &endless);
    let output = ring86(&folder.0, &["compare", &endless, "--runner", "interpreter", "--limit", "1", "--runs", "1"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("FAILED: endless under interpreter: it did not finish within 1 seconds"), "{table}");
}

/// A boot sector with `code` at its start.
fn boot_sector(code: &[u8]) -> Vec<u8> {
    let mut sector = code.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

#[test]
fn wrong_input_is_one_sentence() {
    let folder = Folder::new("wrong");
    // A kernel header that promises more than the file has.
    let mut kernel = vec![0; 4096];
    kernel[0x1f1] = 1;
    kernel[0x1f4] = 0xff;
    kernel[0x1f5] = 0xff;
    kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    let truncated = folder.file("truncated", &kernel);
    let arm = folder.file("arm", &elf(183));
    let text = folder.file("text", b"This is a letter and no image.\n");
    let empty = folder.file("empty", b"");
    let mut cd = vec![0; 0x9000];
    cd[0x8001..0x8006].copy_from_slice(b"CD001");
    let cd = folder.file("cd.iso", &cd);
    let sector = folder.file("sector", &boot_sector(&[0xf4; 510]));
    // A program of Linux, the same with a dynamic linker, and a multiboot kernel that ends at once.
    let mut headers = elf(3);
    headers[28] = 52;
    headers[42] = 32;
    headers[44] = 1;
    headers[52] = 1;
    headers[60..64].copy_from_slice(&0x0804_8000u32.to_le_bytes());
    headers[72] = 1;
    let program = folder.file("program", &headers);
    headers[52] = 3;
    headers[16] = 3;
    let dynamic = folder.file("dynamic", &headers);
    let image = folder.file("image", &multiboot_image());
    let damaged = folder.file("damaged.qcow2", &[&b"QFI\xfb\0\0\0\x09"[..], &[0xff; 600]].concat());
    let large = folder.file("large", &vec![0; 3 << 20]);
    let script = |name: &str, text: &str| folder.file(name, text.as_bytes());
    let unknown = script("unknown", "# first\nwiat-screen x\n");
    let quote = script("quote", "type 'abc\n");
    let no_key = script("key", "key ctrl-alt-dle\n");
    let no_text = script("no-text", "wait-screen\n");
    let no_drive = script("no-drive", "# first\ninsert b x.img\n");
    let no_disc = script("no-disc", "eject cd\n");
    let fat_floppy = script("fat-floppy", &format!("insert a fat:{}\n", folder.0.display()));
    let raw = folder.file("raw.img", &boot_sector(&[0xf4]).repeat(2880));
    let link = folder.0.join("link").display().to_string();
    fs::hard_link(&raw, &link).expect("a second name can be made");
    let before = folder.entries();
    let missing = folder.0.join("missing").display().to_string();
    let here = folder.0.display().to_string();
    let lockstep = ["run", "--engine", "lockstep", "--clock", "virtual"];
    let table: &[(&[&str], &str)] = &[
        (&["run", "--kernel", &missing], "there is no such file"),
        (&["run", &missing], "there is no such file"),
        (&["run", &here], &format!("it is a folder; use --hd fat:{here}")),
        (&["run", "--kernel", &truncated], "cut short"),
        (&["run", &truncated], "cut short"),
        (&["run", "--kernel", &arm], "AArch64"),
        (&["run", &arm], "AArch64"),
        (&["run", &text], "no image that ring86 knows"),
        (&["run", "--kernel", &text], "is no kernel"),
        (&["run", &empty], "no image that ring86 knows"),
        (&["run", "--cd", &cd, &cd], "give one of them"),
        (&["run", "--initrd", &text, "--hd", &sector], "give one with --kernel"),
        (&["run", "--floppy", &missing], "there is no such file"),
        (&["run", "--hd", &here], &format!("it is a folder; use --hd fat:{here}")),
        (&["run", "--hd", &format!("raw:{here}")], &format!("it is a folder; use --hd fat:{here}")),
        (&["run", "--hd", &missing], "--hd: cannot read"),
        (&["run", "--hd", "fat:missing"], "there is no such file"),
        (&["run", "--hd", "fat:"], "--hd: 'fat:' lacks a name; write fat:FOLDER"),
        (&["run", "--hd", "raw:"], "--hd: 'raw:' lacks a name; write raw:FILE"),
        (&["run", "--hd", "qcow2:"], "--hd: 'qcow2:' lacks a name; write qcow2:FILE"),
        (&["run", "--hd", "none"], "--hd: none: there is no empty hard disk"),
        (&["run", "--hd", &format!("qcow2:{raw}")], "it does not begin with 'QFI' and FBh; use raw:FILE"),
        (&["run", "--floppy", &format!("fat:{here}")], &format!("can be a hard disk only; use --hd fat:{here}")),
        (&["run", "--cd", &format!("fat:{here}")], &format!("can be a hard disk only; use --hd fat:{here}")),
        (&["run", "--cd", "/dev/null"], "neither a file nor a block device"),
        (&["run", "--hd", &empty], "is empty"),
        (&["run", "--hd", &text], "less than a hard disk's first sector"),
        (&["run", "--floppy", &large], "more than a floppy's 2880 KiB"),
        (&["run", "--floppy", "a", "--floppy", "b", "--floppy", "c"], "two floppy drives"),
        (&["run", "--hd", "1", "--hd", "2", "--hd", "3", "--hd", "4", "--cd", "d"], "beside the CD drive"),
        (&["run", "--hd", &damaged], "as a qcow2 image"),
        (&["run", "--hd", &sector, "--hd", &sector], &format!("--hd {sector}: --hd {sector} is the same file")),
        (&["run", "--floppy", &raw, "--hd", &link], &format!("--hd {link}: --floppy {raw} is the same file")),
        (&["run", "--floppy", &raw, &raw], &format!("--floppy {raw}: the image {raw} is the same file")),
        (&["run", "--hd", &format!("fat:{here}"), "--hd", &format!("fat:{here}")], "is the same file"),
        (&["run"], "nothing to run"),
        (&["run", "-m", "0", &sector], "at least 1M"),
        (&["run", "-m", "1T", &sector], "60G"),
        (&["run", "-m", "x", &sector], "not a size"),
        (&["run", "-m", "-5", &sector], "not a size"),
        (&["run", "--initrd", &missing, &sector], "--initrd: cannot read"),
        (&["run", "--bios", &missing], "--bios: cannot read"),
        (&["run", "--bios", &raw, "--vga-bios", &missing], "--vga-bios: cannot read"),
        (&["run", "--option-rom", &missing], "--option-rom: cannot read"),
        (
            &["run", "--serial", "file:nowhere/x", &sector],
            "--serial: cannot create 'nowhere/x': its folder 'nowhere' does",
        ),
        (
            &["run", "--sound", "wav:nowhere/x", &sector],
            "--sound: cannot create 'nowhere/x': its folder 'nowhere' does",
        ),
        (&["run", "--parallel", "file:nowhere/x", &sector], "--parallel: cannot create 'nowhere/x': its folder"),
        (
            &["run", "--net", "user,pcap=nowhere/x", &sector],
            "--net pcap: cannot create 'nowhere/x': its folder 'nowhere'",
        ),
        (&["run", "--net", "user,tftp=nowhere", &sector], "--net tftp: cannot serve 'nowhere'"),
        (&["run", "--firmware-log", "nowhere/x", &sector], "--firmware-log: cannot write the firmware's lines to"),
        (&["run", "--display", "vnc:0,password-file=nowhere", &sector], "--display: cannot read 'nowhere'"),
        (&["run", "--initrd", &text, &sector], "which takes no --initrd"),
        (&["run", "--append", "x", &sector], "takes no --initrd and no --append"),
        (&["run", "--cpu", "286", &sector], "needs a 386"),
        (&["run", "--code-cache", "huge", &sector], "--code-cache huge"),
        (&["run", "--code-cache", "4G", &sector], "from 1M to 2G"),
        (&["run", "--display", "window", &sector], "not in this build"),
        (&["run", "--display", "terminal", &sector], "needs a terminal"),
        (&["run", "--display", "terminal", "--serial", "stdio", &sector], "both want the terminal"),
        (&["run", "--script", &missing, &sector], "--script: cannot read"),
        (&["run", "--script", &no_drive, &sector], "line 2: the machine has no drive B; start it with --floppy twice"),
        (&["run", "--script", &no_disc, &sector], "line 1: the machine has no CD drive; start it with --cd"),
        (&["run", "--script", &fat_floppy, &sector], "can be a hard disk only; use --hd fat:"),
        (&["run", "--script", &unknown, &sector], "line 2: unknown command 'wiat-screen'; did you mean 'wait-screen'?"),
        (&["run", "--script", &quote, &sector], "line 1: the quote ' is not closed"),
        (&["run", "--script", &no_key, &sector], "line 1: unknown key 'dle'; did you mean 'del'?"),
        (&["run", "--script", &no_text, &sector], "line 1: write 'wait-screen TEXT'"),
        (&["run", "--script", &empty, &sector], "has no commands"),
        (&["run", "--control", "/etc/ring86", &sector], "others can enter"),
        (&["control", "./nobody", "screen"], "no machine listens at './nobody'; start one with --control ./nobody"),
        (&["screenshot", "./nobody", "x.png"], "no machine listens"),
        (&["run", "--engine", "lockstep", &image], "needs --clock virtual"),
        (&[&lockstep[..], &["--script", &no_key, &image]].concat(), "--script would drive one machine of two"),
        (&[&lockstep[..], &["--control", "x", &image]].concat(), "--control would drive one machine of two"),
        (&[&lockstep[..], &["--display", "terminal", &image]].concat(), "no place for two machines"),
        (&[&lockstep[..], &["--net", "user", &image]].concat(), "a network is not the same twice"),
        (&[&lockstep[..], &["--forward", "tcp:2222:22", &image]].concat(), "a network is not the same twice"),
        (&[&lockstep[..], &["--trace", "io,exec", &image]].concat(), "use --trace io"),
        (&[&lockstep[..], &["--lockstep-from", "2", "--lockstep-from", "1", &image]].concat(), "smaller numbers first"),
        (&[&lockstep[..], &["--hd", &missing, &sector]].concat(), "there is no such file"),
        (&["run", "--lockstep-from", "5", &image], "is for --engine lockstep"),
        (&["run", "--serial", "file:no/such/folder/out", &sector], "cannot create"),
        (&["run", "--stats-json", "no/such/folder/out", &sector], "--stats-json: cannot write the counters"),
        (&["compare", &missing], "there is no such file"),
        (&["compare", &text], "no image that ring86 knows"),
        (&["compare", &sector], "takes a kernel"),
        (&["compare", &truncated], "cut short"),
        (&["compare", &arm], "AArch64"),
        (&["compare", &dynamic], "link it with -static"),
        (&["compare", &program], "run tools/guests linux-686"),
        (&["compare", &program, "--kernel", &text], "is no Linux kernel"),
        (&["compare", &image, "--initrd", &missing], "--initrd: cannot read"),
        (&["compare", &image, "--only", "crc32"], "has but one"),
        (&["compare", &image, "-m", "x"], "not a size"),
        (&["compare", &image, "--", "x"], "a kernel takes --append"),
        (&["compare", &image, "--json", "no/such/folder/out"], "cannot write the JSON report"),
        (&["compare", &image, "--html", &here], "it is a folder"),
        (&["compare", &image, "--json", "out", "--html", "out"], "name the same file"),
        (&["compare", &image, "--runner", "bochs"], "no such runner"),
        (&["compare", "bench", "--only", "crc33"], "no such workload"),
        (&["compare", "bench", "--append", "x"], "belong to a kernel"),
        (&["compare", "bench"], "run tools/guests busybox"),
        (&["run", "--trace", "io", "--trace-file", "no/such/folder/out", &sector], "cannot create the trace"),
    ];
    for (args, says) in table {
        let output = ring86(&folder.0, args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(output.status.code(), Some(HOST), "{args:?}: {stderr}");
        let [error] = lines[..] else { panic!("{args:?} does not say one sentence: {stderr}") };
        assert!(error.contains(says) && error.starts_with("ring86: "), "{args:?}: {stderr}");
        assert!(!error.contains("os error"), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(folder.entries(), before, "{args:?} left something behind");
    }
}

#[test]
fn wrong_arguments_have_claps_code() {
    let folder = Folder::new("usage");
    for args in [
        &["run", "--cpu", "z80"][..],
        &["run", "--debug-exit", "70000"],
        &["run", "--max-time", "0"],
        &["run", "--serial", "telnet"],
        &["run", "--trace-file", "x"],
        &["run", "--engine", "lockstep", "--lockstep-from", "1,0"],
        &["run", "--engine", "lockstep", "--lockstep-from", "1,1,65"],
        &["run", "--boot", "z", "x"],
        &["fly"],
        &[],
    ] {
        let output = ring86(&folder.0, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(folder.entries().is_empty());
    }
}

#[test]
fn help_documents_the_exit_codes() {
    let output = ring86(Path::new("."), &["--help"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for code in ["120", "122", "124", "126", "128"] {
        assert!(text.contains(code), "{text}");
    }
}

/// Runs a boot sector to its end and returns the exit code and stderr.
fn run_sector(name: &str, code: &[u8], extra: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new(name);
    let path = folder.file("boot.img", &boot_sector(code));
    let mut args = vec!["run", &path, "--clock", "virtual", "-m", "2M"];
    args.extend(extra);
    let output = ring86(&folder.0, &args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stderr), text(&output.stdout))
}

#[test]
fn exit_codes_tell_how_a_run_ended() {
    // mov al, 3; out 0F4h, al
    let (code, err, _) = run_sector("debug", &[0xb0, 3, 0xe6, 0xf4, 0xf4], &["--debug-exit", "0xf4"]);
    assert_eq!(code, Some(7), "{err}");
    // cli; hlt
    let (code, err, _) = run_sector("halted", &[0xfa, 0xf4], &[]);
    assert_eq!(code, Some(122), "{err}");
    assert!(err.contains("halted with interrupts off"), "{err}");
    // jmp $
    let (code, err, _) = run_sector("time", &[0xeb, 0xfe], &["--max-time", "1"]);
    assert_eq!(code, Some(124), "{err}");
    // cli; lidt with a zero limit; int3
    let triple = [0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x1e, 0x20, 0x7c, 0xcc];
    let (code, err, _) = run_sector("triple", &triple, &[]);
    assert_eq!(code, Some(126), "{err}");
    assert!(err.to_lowercase().contains("triple fault") && err.contains("CS"), "{err}");
    // mov al, 0FEh; out 64h, al: the keyboard controller resets the processor
    let reset = [0xb0, 0xfe, 0xe6, 0x64, 0xf4];
    let (code, err, _) = run_sector("reset", &reset, &["--no-reboot"]);
    assert_eq!(code, Some(0), "{err}");
    let (code, err, _) = run_sector("reboots", &reset, &["--max-time", "1", "--stats"]);
    assert_eq!(code, Some(124), "{err}");
    let resets = err.lines().find_map(|l| l.strip_prefix("resets")).and_then(|n| n.trim().parse::<u64>().ok());
    assert!(resets.is_some_and(|n| n > 1), "{err}");
}

#[test]
fn lockstep_takes_drives_and_shows_what_the_guest_says() {
    // As in the test below: a character on the screen and one on COM1.
    let code = [
        0xb4, 0x0e, 0xb0, b'!', 0xcd, 0x10, 0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0xba, 0xf8, 0x03, 0xb0, b'k', 0xee,
        0xfa, 0xf4,
    ];
    let (code, err, out) = run_sector("lockstep", &code, &["--engine", "lockstep", "--dump-screen", "--stats"]);
    assert_eq!(code, Some(122), "{err}");
    assert!(out.starts_with('k') && out.contains('!'), "{out}");
    assert!(err.contains("thrown away") && err.contains("no difference in") && err.contains("instructions"), "{err}");
    // mov ax, 0201h; mov cx, 1; xor dx, dx; mov bx, 8000h; int 13h; mov ax, 0301h; inc byte [8010h]; int 13h; cli; hlt:
    // reads a sector, changes it and writes it back, in both machines.
    let write = [
        0xb8, 0x01, 0x02, 0xb9, 1, 0, 0x31, 0xd2, 0x8e, 0xda, 0x8e, 0xc2, 0xbb, 0, 0x80, 0xcd, 0x13, 0xb8, 0x01, 0x03,
        0xfe, 0x06, 0x10, 0x80, 0xcd, 0x13, 0xfa, 0xf4,
    ];
    let folder = Folder::new("lockstep-write");
    let path = folder.file("boot.img", &boot_sector(&write));
    let args = ["run", "--engine", "lockstep", "--clock", "virtual", "-m", "2M", "--floppy", &path];
    let output = ring86(&folder.0, &args);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(122), "{err}");
    assert_eq!(fs::read(&path).expect("the image is there"), boot_sector(&write), "{err}");
}

#[test]
fn what_is_left_out_or_not_there_yet_is_told() {
    let folder = Folder::new("told");
    let mut image = boot_sector(&[0xfa, 0xf4]);
    image.resize(1000, 0x11);
    let disk = folder.file("odd.img", &image);
    let output = ring86(&folder.0, &["run", "--hd", &disk, "--clock", "virtual", "-m", "2M"]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(122), "{err}");
    let says = "is a raw hard disk image, without its last 488 bytes, which are no whole sector of 512; what the guest";
    assert!(err.lines().next().is_some_and(|line| line.contains(says)), "{err}");
    // What a script names may be made under way, so its absence stops nothing before its command.
    let script = folder.file("script", b"# first\ninsert a later.img\nscreenshot nowhere/x.png\n");
    let output = ring86(&folder.0, &["run", "--hd", &disk, "--clock", "virtual", "-m", "2M", "--script", &script]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(HOST), "{err}");
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 4, "{err}");
    assert!(lines[0].ends_with("line 2: there is no file 'later.img' so far"), "{err}");
    assert!(lines[1].ends_with("line 3: there is no folder 'nowhere' so far"), "{err}");
    assert!(lines[2].contains(says), "{err}");
    assert!(lines[3].ends_with("line 2: cannot read 'later.img': there is no such file"), "{err}");
    // Readers may share a file.
    let twice = ["run", "--hd", &disk, "--hd", &disk, "--ephemeral", "--clock", "virtual", "-m", "2M"];
    assert_eq!(ring86(&folder.0, &twice).status.code(), Some(122));
}

#[test]
#[cfg(unix)]
fn lockstep_ends_with_a_signal_and_says_what_it_compared() {
    let folder = Folder::new("lockstep-signal");
    // mov dx, 3F8h; mov al, '.'; out dx, al; jmp $
    let image = folder.file("boot.img", &boot_sector(&[0xba, 0xf8, 0x03, 0xb0, b'.', 0xee, 0xeb, 0xfe]));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(["run", "--engine", "lockstep", "--clock", "virtual", "-m", "2M", "--floppy", &image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The guest runs once it has said something.
    let mut first = [0];
    let mut stdout = child.stdout.take().expect("stdout is piped");
    std::io::Read::read_exact(&mut stdout, &mut first).expect("the guest says something");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let output = child.wait_with_output().expect("the program ends");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(128), "{err}");
    assert!(err.contains("no difference in"), "{err}");
}

#[test]
fn serial_output_and_the_screen_come_out() {
    // mov ah, 0Eh; mov al, '!'; int 10h; mov dx, 3FBh; mov al, 3; out dx, al: eight data bits;
    // mov dx, 3F8h; mov al, 'k'; out dx, al; cli; hlt
    let code = [
        0xb4, 0x0e, 0xb0, b'!', 0xcd, 0x10, 0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0xba, 0xf8, 0x03, 0xb0, b'k', 0xee,
        0xfa, 0xf4,
    ];
    let (_, err, out) = run_sector("serial", &code, &[]);
    assert_eq!(out, "k", "{err}");
    let (_, err, out) = run_sector("screen", &code, &["--serial", "none", "--dump-screen"]);
    assert!(out.contains('!') && !out.contains('k'), "{err}{out}");
    let folder = Folder::new("serial-file");
    let (image, log) = (folder.file("boot.img", &boot_sector(&code)), folder.0.join("log"));
    let target = format!("file:{}", log.display());
    let output = ring86(&folder.0, &["run", &image, "--clock", "virtual", "--serial", &target]);
    assert_eq!(fs::read(&log).expect("the log exists"), b"k", "{output:?}");
}

#[test]
fn piped_input_reaches_the_guest() {
    // Sets eight data bits and RTS, then echoes COM1 input plus one until a newline: mov dx, 3FBh; mov al, 3;
    // out dx, al; inc dx; out dx, al;
    // wait: mov dx, 3FDh; in al, dx; test al, 1; jz wait; mov dx, 3F8h; in al, dx; cmp al, 10; je end;
    // inc al; out dx, al; jmp wait; end: cli; hlt
    let code = [
        0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0x42, 0xee, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, 0xba, 0xf8,
        0x03, 0xec, 0x3c, 0x0a, 0x74, 0x05, 0xfe, 0xc0, 0xee, 0xeb, 0xeb, 0xfa, 0xf4,
    ];
    let folder = Folder::new("pipe");
    let image = folder.file("boot.img", &boot_sector(&code));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(["run", &image, "--max-time", "60"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(b"HAL\n").expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "IBM");
    assert_eq!(output.status.code(), Some(122));
}
