//! The conformance laboratory from its command line: shards, planted bugs, suites of other people's making, reports.

use iced_x86::code_asm::*;
use ring86::conform::judge;
use ring86::conform::native::Oracle;
use ring86::conform::results::{Results, Status};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

#[path = "support/linux_program.rs"]
mod linux_program;

use linux_program::linux_program;

/// A folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ring86-lab-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a temporary file can be written");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nothing.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ring86"));
    command.arg("conform").args(args).stdin(Stdio::null());
    command
}

/// Runs `ring86 conform` and gives exit code and output.
fn conform(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Runs it with JSON lines and reads them.
fn results(args: &[&str]) -> (i32, Results) {
    let (code, out, err) = conform(&[args, &["--format", "jsonl"]].concat());
    let results = Results::parse("output", &out).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}"));
    (code, results)
}

/// As [`results`], with the seconds that it took: the processor's if other programs kept it waiting.
fn timed(args: &[&str]) -> (i32, Results, f64) {
    let start = Instant::now();
    // The shell tells the times of its children in the second line: minutes and seconds, of user and system.
    let output = Command::new("sh")
        .args(["-c", "\"$@\"; code=$?; times >&2; exit $code", "sh", env!("CARGO_BIN_EXE_ring86"), "conform"])
        .args(args)
        .args(["--format", "jsonl"])
        .output()
        .expect("a shell starts");
    let elapsed = start.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let seconds = |time: &str| {
        let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let times: Option<Vec<f64>> = errors.lines().last().unwrap_or_default().split_whitespace().map(seconds).collect();
    let busy: f64 = times.filter(|times| times.len() == 2).expect("the shell's times").iter().sum();
    let results = Results::parse("output", &String::from_utf8_lossy(&output.stdout)).expect("a report");
    (output.status.code().unwrap_or(-1), results, elapsed.min(busy))
}

fn has_judge() -> bool {
    match Oracle::new() {
        Ok(_) => true,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            false
        }
    }
}

/// Says why a test is left out. In CI nothing is.
fn missing(what: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what}");
    eprintln!("skipped: {what}");
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        missing(&format!("{program} is not installed"));
    }
    found
}

// ---------------------------------------------------------------------------------------------------- shards

/// What must be the same in a merged report and in that of a whole run.
fn essence(results: &Results) -> String {
    let lines = results.json_lines();
    let mut lines: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !line.contains(r#""type":"end""#)).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn shards_merge_into_the_report_of_a_whole_run() {
    if !has_judge() {
        return;
    }
    let folder = Folder::new("shards");
    let native = ["native", "roms", "--cases", "40000", "--seed", "7", "--filter", "add,imul,paging", "--jobs", "1"];
    let whole = folder.path("whole");
    assert_eq!(conform(&[&native[..], &["--report", &whole]].concat()).0, 0);
    let shards: Vec<String> = (1..=3).map(|m| folder.path(&format!("part{m}"))).collect();
    if has("parallel") {
        // As docs/fleet.md has it.
        let status = Command::new("parallel")
            .args(["--will-cite", "-j", "2", env!("CARGO_BIN_EXE_ring86"), "conform"])
            .args(native)
            .args(["--shard", "{}/3", "--report"])
            .arg(folder.path("part{}"))
            .args([":::", "1", "2", "3"])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("parallel starts").success());
    } else {
        let start = |(m, report): (usize, &String)| {
            let shard = format!("{m}/3");
            let mut child = command(&[&native[..], &["--shard", &shard, "--report", report]].concat());
            child.stdout(Stdio::null()).spawn().expect("the program starts")
        };
        for mut child in (1..).zip(&shards).map(start).collect::<Vec<_>>() {
            assert!(child.wait().expect("it ends").success());
        }
    }
    let read = |report: &str| {
        let path = Path::new(report).join("results.jsonl");
        Results::parse(report, &fs::read_to_string(path).expect("a report")).expect("a whole report")
    };
    // Disjoint: no shard has what another has, and each has something.
    let cases: Vec<u64> = shards.iter().map(|shard| read(shard).totals().cases).collect();
    let expected = read(&whole);
    assert!(cases.iter().all(|cases| *cases > 0), "{cases:?}");
    assert_eq!(cases.iter().sum::<u64>(), expected.totals().cases);
    let merged = folder.path("merged");
    let mut args = vec!["merge"];
    args.extend(shards.iter().rev().map(String::as_str));
    args.extend(["--report", &merged]);
    let (code, out, err) = conform(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(essence(&read(&merged)), essence(&expected));
    // A shard that is missing, and one that is there twice.
    let (code, _, err) = conform(&["merge", &shards[0], &shards[2]]);
    assert_eq!((code, err.as_str()), (120, "ring86: shard 2/3 is missing\n"));
    let (code, _, err) = conform(&["merge", &shards[0], &shards[0], &shards[1], &shards[2]]);
    assert!(code == 120 && err.ends_with("shard 1/3 is there twice\n"), "{err}");
}

/// The script of docs/fleet.md, with a controller and a node on this machine alone.
#[test]
fn slurm_runs_the_shards_of_the_document() {
    if !has_judge() {
        return;
    }
    let folder = Folder::new("slurm");
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/slurm");
    let output = Command::new(&tool)
        .args([env!("CARGO_BIN_EXE_ring86"), "20000", &folder.path("")])
        .stdin(Stdio::null())
        .output()
        .expect("the tool starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if err.contains("is not installed") {
        eprintln!("skipped: {err}");
        return;
    }
    assert!(output.status.success(), "{err}{}", String::from_utf8_lossy(&output.stdout));
    let path = folder.0.join("whole/results.jsonl");
    let whole = Results::parse("whole", &fs::read_to_string(path).expect("a report")).expect("a whole report");
    // Four parts that are complete stand for the whole.
    assert_eq!(whole.shards, [(1, 1)]);
    assert!(whole.is_clean() && whole.totals().cases > 10_000, "{:?}", whole.totals());
}

/// What the document has that cannot be run here is at least of its language.
#[test]
fn the_files_of_the_document_are_well_formed() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fleet.md")).expect("docs");
    let block = |heading: &str| -> String {
        let part = document.split(&format!("## {heading}\n")).nth(1).expect("a heading");
        part.split("```").nth(1).expect("a block").split_once('\n').expect("lines").1.to_owned()
    };
    let script = block("Slurm");
    let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().expect("a shell starts");
    std::io::Write::write_all(&mut shell.stdin.take().expect("its input"), script.as_bytes()).expect("it reads");
    assert!(shell.wait().expect("it ends").success(), "{script}");
    // Each line of the container's file is an instruction, and what it copies is there.
    let words = ["FROM", "WORKDIR", "COPY", "RUN", "ENTRYPOINT"];
    for line in block("A container").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(words.contains(&line.split_whitespace().next().unwrap_or_default()), "{line}");
    }
    let job = block("Kubernetes");
    let python = "import sys, yaml\njob = yaml.safe_load(sys.stdin)\nspec = job['spec']\n\
        pod = spec['template']['spec']\nassert job['kind'] == 'Job' and spec['completionMode'] == 'Indexed'\n\
        print(spec['completions'], pod['containers'][0]['args'][0])";
    let child = Command::new("python3").args(["-c", python]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        missing("python3, which reads YAML, is not installed");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), job.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success()
        && said.is_empty()
        && Command::new("python3").args(["-c", "import yaml"]).status().is_ok_and(|s| !s.success())
    {
        missing("python3-yaml is not installed");
        return;
    }
    let (completions, command) = said.trim().split_once(' ').expect("a number and a command");
    assert!(command.contains(&format!("$((JOB_COMPLETION_INDEX + 1))/{completions} ")), "{said}");
}

// ------------------------------------------------------------------------------------------------- planted bugs

#[test]
fn a_planted_bug_is_found_and_made_small_within_ten_seconds() {
    if !has_judge() {
        return;
    }
    let plants = [
        ("Add_rm32_r32", "OF"),
        ("Sbb_AL_imm8", "AF"),
        ("Shld_rm16_r16_CL", "CF"),
        ("Cmpsb_m8_m8", "ZF"),
        ("Ucomisd_xmm_xmmm64", "PF"),
        ("Fcomi_st0_sti", "ZF"),
        ("Mov_r32_rm32", "SF"),
        ("Popfw", "DF"),
        ("Bt_rm32_r32", "CF"),
    ];
    for (code, flag) in plants {
        let plant = format!("{code}:{flag}");
        // Every instruction form, as without a suspicion.
        let (exit, results, seconds) = timed(&["native", "--cases", "60000", "--plant", &plant]);
        assert!(seconds < 10.0, "{plant}: {seconds} s");
        assert_eq!(exit, 1, "{plant} was not found");
        let bad: Vec<_> = results.tests.iter().filter(|test| test.status != Status::Pass).collect();
        assert!(bad.iter().all(|test| test.name.ends_with(&format!(" {code}"))), "{plant}: {bad:?}");
        assert!((1..=3).contains(&bad.len()), "{plant}: {bad:?}");
        for test in bad {
            let reproducer = test.reproducer.as_ref().expect("a reproducer");
            // One instruction, and with the bug alone: without it there is no difference.
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--plant", &plant]);
            assert_eq!(exit, 1, "{out}{err}");
            assert!(out.contains("differs (judge/ring86): eflags:"), "{out}");
            assert!(out.contains("\nbefore ") && out.contains("\njudge  ") && out.contains("\nring86 "), "{out}");
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", "interpreter,single"]);
            assert_eq!(exit, 0, "{out}{err}");
            assert!(out.contains("interpreter: no difference") && out.contains("single: no difference"), "{out}");
        }
    }
}

/// Every flag of every instruction form in turn, over few cases: the time on the clock is in docs/conformance.md.
#[test]
fn a_bug_planted_in_any_flag_of_any_form_is_found_in_few_cases() {
    if !has_judge() {
        return;
    }
    let (code, got) = results(&["native", "--plant", "all", "--cases", "300000"]);
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status.is_bad()).map(|t| (&t.name, &t.detail)).collect();
    assert_eq!(code, 0, "{bad:?}");
    let found: Vec<_> = got.tests.iter().filter(|test| test.status == Status::Pass).collect();
    assert!(found.len() > 1900 && got.totals().cases > 12_000, "{:?}", got.totals());
    let of = |name: &str| got.tests.iter().find(|test| test.name == name).expect("a form");
    // Of a multiplication CF, OF and DF, and what the host's maker and Ring86 have in common.
    let mul = of("32-bit Mul_rm32");
    let left_out = mul.detail.split_once("; undefined and not compared: ").map(|(_, flags)| flags);
    assert!(matches!((mul.cases, left_out), (3, Some("PF AF ZF SF")) | (6, Some("ZF"))), "{mul:?}");
    // Only raises an exception in user mode, which leaves the flags to the handler; tiers has it at CPL 0.
    assert_eq!(of("16-bit Hlt").status, Status::Pass);
    assert_eq!(of("32-bit Cpuid").detail, "describes the host");
    let (code, got) = results(&["tiers", "--plant", "all"]);
    assert_eq!((code, got.tests.len()), (0, 180));
}

/// Bugs on purpose in the engine under test, which the interpreter beside it does not have.
#[test]
fn a_bug_planted_in_compiled_code_is_found_by_tiers_and_made_small() {
    for (code, flag, engine, cases) in [
        ("Inc_r32", "ZF", "interpreter", "50000"),
        ("Popfd", "DF", "quick", "20000"),
        ("Scasb_AL_m8", "CF", "quick", "20000"),
    ] {
        let plant = format!("{code}:{flag}");
        let (exit, results, seconds) = timed(&["tiers", "--cases", cases, "--engine", engine, "--plant", &plant]);
        assert!(seconds < 10.0, "{plant}: {seconds} s");
        assert_eq!(exit, 1, "{plant} was not found");
        let bad: Vec<_> = results.tests.iter().filter(|test| test.status != Status::Pass).collect();
        assert!(!bad.is_empty() && bad.iter().all(|test| test.reproducer.is_some()), "{bad:?}");
        for reproducer in bad.iter().filter_map(|test| test.reproducer.as_ref()) {
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", engine, "--plant", &plant]);
            assert_eq!(exit, 1, "{out}{err}");
            // Of several instructions the one with the bug is left, sometimes with one that it cannot do without.
            let address = |line: &&str| line.get(..8).is_some_and(|at| at.bytes().all(|b| b.is_ascii_hexdigit()));
            let listed = out.lines().filter(address);
            assert!((1..=2).contains(&listed.count()), "{plant}: {out}");
            let (exit, out, err) = conform(&["replay", &reproducer.line, "--engine", engine]);
            assert_eq!(exit, 0, "{out}{err}");
        }
    }
}

#[test]
fn random_bytes_are_consumed_and_refused_as_on_the_host() {
    if !has_judge() {
        return;
    }
    let bytes = ["native", "--filter", "bytes", "--cases", "1500000"];
    let (exit, found) = results(&[&bytes[..], &["--engine", "interpreter,single"]].concat());
    let why: Vec<_> = found.tests.iter().filter_map(|test| Some(&test.reproducer.as_ref()?.text)).collect();
    assert_eq!((exit, found.tests.len()), (0, 12), "{why:?}");
    assert!(found.totals().cases > 40_000 && found.tests.iter().all(|test| test.cases > 1000), "{found:?}");
    // One byte too many is noticed, and of what is found little is left.
    let (exit, found) = results(&[&bytes[..], &["--plant", "Mov_r32_rm32:LENGTH", "--seed", "2"]].concat());
    assert_eq!(exit, 1);
    let bad: Vec<_> = found.tests.iter().filter_map(|test| test.reproducer.as_ref()).collect();
    assert!(!bad.is_empty());
    for reproducer in bad {
        assert!(reproducer.text.starts_with("8b ") || reproducer.text.starts_with("66 8b "), "{}", reproducer.text);
        let (exit, out, err) = conform(&["replay", &reproducer.line]);
        assert_eq!(exit, 0, "{out}{err}");
        assert!(out.contains("\njudge   next instruction at ") && out.contains("interpreter: no difference"), "{out}");
    }
}

#[test]
fn what_is_left_of_a_case_is_what_matters() {
    if !has_judge() {
        return;
    }
    let args = ["native", "--cases", "5000", "--plant", "Add_rm32_r32:OF", "--filter", "add_rm32_r32"];
    let (_, results) = results(&[&args[..], &["--environment", "flat32"]].concat());
    let reproducer = results.tests[0].reproducer.as_ref().expect("a reproducer");
    // The bug shows with any operands, so the registers that no address needs are zero, and no flag is set before.
    assert!(reproducer.line.contains(" edi=0 ") || reproducer.line.contains(" esi=0 "), "{}", reproducer.line);
    assert!(reproducer.line.contains(" eflags=202 "), "{}", reproducer.line);
}

// -------------------------------------------------------------------------------------------------- wrong input

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

// ----------------------------------------------------------------------------------------- guests that report

/// A multiboot kernel of `code`, which is linked at its own address.
fn multiboot(code: impl Fn(&mut CodeAssembler, u32)) -> Vec<u8> {
    const BASE: u32 = 0x10_0000;
    const HEADER: u32 = 48;
    let mut a = CodeAssembler::new(32).unwrap();
    code(&mut a, BASE + HEADER);
    let code = a.assemble(u64::from(BASE + HEADER)).unwrap();
    let end = BASE + HEADER + code.len() as u32;
    let flags = 0x1_0000u32;
    let magic = 0x1BAD_B002u32;
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [magic, flags, checksum, BASE, BASE, end, end, BASE + HEADER, 0, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).chain(code).collect()
}

/// A kernel that sends `text` on COM1, after it read from port E0h what it wrote there, and writes `value` to F4h.
fn unit_tests(text: &str, value: u32) -> Vec<u8> {
    multiboot(|a, _| {
        a.mov(eax, 0x1234_5678).unwrap();
        a.mov(edx, 0xE0).unwrap();
        a.out(dx, eax).unwrap();
        a.xor(eax, eax).unwrap();
        a.in_(eax, dx).unwrap();
        let mut same = a.create_label();
        a.cmp(eax, 0x1234_5678).unwrap();
        a.je(same).unwrap();
        a.hlt().unwrap();
        a.set_label(&mut same).unwrap();
        // 115,200 baud, 8 bits.
        for (port, value) in [(0x3FB, 0x80), (0x3F8, 1), (0x3F9, 0), (0x3FB, 3)] {
            a.mov(edx, port).unwrap();
            a.mov(al, value).unwrap();
            a.out(dx, al).unwrap();
        }
        for byte in text.bytes() {
            let mut wait = a.create_label();
            a.mov(edx, 0x3FD).unwrap();
            a.set_label(&mut wait).unwrap();
            a.in_(al, dx).unwrap();
            a.test(al, 0x20).unwrap();
            a.je(wait).unwrap();
            a.mov(edx, 0x3F8).unwrap();
            a.mov(al, u32::from(byte)).unwrap();
            a.out(dx, al).unwrap();
        }
        a.mov(edx, 0xF4).unwrap();
        a.mov(eax, value).unwrap();
        a.out(dx, eax).unwrap();
        let mut forever = a.create_label();
        a.set_label(&mut forever).unwrap();
        a.jmp(forever).unwrap();
    })
}

/// A ROM in place of the firmware that writes `codes` to port 190h and halts.
fn post_rom(codes: &[u8]) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).unwrap();
    a.cli().unwrap();
    a.mov(dx, 0x190).unwrap();
    for code in codes {
        a.mov(al, u32::from(*code)).unwrap();
        a.out(dx, al).unwrap();
    }
    a.hlt().unwrap();
    let code = a.assemble(0).unwrap();
    let mut rom = vec![0; 0x1_0000];
    rom[..code.len()].copy_from_slice(&code);
    // JMP F000:0000 at the reset vector.
    rom[0xFFF0..0xFFF5].copy_from_slice(&[0xEA, 0, 0, 0, 0xF0]);
    rom
}

fn statuses(results: &Results) -> Vec<(&str, &str)> {
    results.tests.iter().map(|test| (test.name.as_str(), test.status.name())).collect()
}

#[test]
fn guests_report_in_the_manner_of_kvm_unit_tests() {
    let folder = Folder::new("kvm");
    folder.file(
        "suite.toml",
        "name = 'units'\nconvention = 'kvm-unit-tests'\n[[image]]\nname = 'c.flat'\nskip = 'no APIC'\n",
    );
    folder
        .file("a.flat", unit_tests("x\r\nPASS: first\r\nSKIP: second (why)\r\nPASS: first\r\nSUMMARY: 3 tests\r\n", 0));
    folder.file("b.flat", unit_tests("PASS: one\nFAIL: two\n", 1));
    folder.file("c.flat", unit_tests("", 0));
    let path = folder.path("");
    let (code, got) = results(&["image", &path]);
    assert_eq!(code, 1);
    let expected = [
        ("a.flat: first", "pass"),
        ("a.flat: second (why)", "skip"),
        ("a.flat: first (3)", "pass"),
        ("a.flat", "pass"),
        ("b.flat: one", "pass"),
        ("b.flat: two", "fail"),
        ("b.flat", "fail"),
        ("c.flat", "skip"),
    ];
    assert_eq!(statuses(&got), expected);
    assert!(got.tests[6].detail.starts_with("it was to write 0 to the exit port, but wrote 1 to the exit port;"));
    // A verdict turns the failure into something left out; one on what passes is a failure.
    let verdicts = "name = 'units'\nconvention = 'kvm-unit-tests'\n[[image]]\nname = 'b.flat'\nverdict = 'known'\n\
                    [[image]]\nname = 'c.flat'\nskip = 'no APIC'\n";
    folder.file("suite.toml", verdicts);
    assert_eq!(results(&["image", &path]).0, 0);
    folder.file("suite.toml", verdicts.replace("b.flat", "a.flat"));
    let (code, got) = results(&["image", &path, "--filter", "a.flat"]);
    assert_eq!(code, 1);
    assert!(got.tests.iter().any(|test| test.detail.contains("its verdict in suite.toml is out of date")));
    // In shards each image runs once.
    let (_, first) = results(&["image", &path, "--shard", "1/2"]);
    let (_, second) = results(&["image", &path, "--shard", "2/2"]);
    assert_eq!(first.tests.len() + second.tests.len(), 8);
}

#[test]
fn roms_report_in_the_manner_of_test386() {
    let folder = Folder::new("post");
    folder.file("suite.toml", "name = 'post'\nconvention = 'test386'\n");
    folder.file("good.bin", post_rom(&[0, 1, 2, 0xFF]));
    folder.file("bad.bin", post_rom(&[0, 1, 2]));
    let (code, got) = results(&["image", &folder.path(""), "--engine", "interpreter,eager"]);
    assert_eq!(code, 1);
    let expected = [("bad.bin", "fail"), ("good.bin", "pass"), ("bad.bin", "fail"), ("good.bin", "pass")];
    assert_eq!(statuses(&got), expected);
    assert!(got.tests[0].detail.starts_with("the last POST code is 02h, not ffh, and it halted"), "{:?}", got.tests[0]);
}

#[test]
fn text_and_other_ports_are_a_convention_too() {
    let folder = Folder::new("text");
    let toml = "name = 'text'\nconvention = 'text'\ntest-device = true\nseconds = 1\n[text]\nfrom = 'serial'\npass = 'ok'\n\
                done = 'all done'\n";
    folder.file("suite.toml", toml);
    // Nothing listens at F4h, so the program goes on for ever: its text ends the run.
    folder.file("a.bin", unit_tests("ok 1 - adds\nok 2 - all done\n", 0));
    folder.file("b.bin", unit_tests("ok 1\n", 0));
    let (code, got) = results(&["image", &folder.path("")]);
    assert_eq!(code, 1);
    assert_eq!(statuses(&got)[2], ("a.bin", "pass"));
    assert_eq!(statuses(&got)[4], ("b.bin", "fail"));
    assert!(got.tests[4].detail.starts_with("it did not say 'all done' and had not ended"), "{}", got.tests[4].detail);
}

#[test]
fn bochs_gives_a_second_opinion() {
    let (code, _, err) = conform(&["against", "bochs", "roms", "--filter", "nosuchrom"]);
    if !err.contains("no program matches") {
        assert!(code == 120 && err.starts_with("ring86: conform against bochs: "), "{err}");
        eprintln!("skipped: {err}");
        return;
    }
    let folder = Folder::new("bochs");
    let path = folder.path("");
    folder.file("suite.toml", "name = 'x'\nconvention = 'exit'\n");
    folder.file("a.flat", unit_tests("PASS: one\n", 0));
    let (code, got) = results(&["against", "bochs", "image", &path]);
    assert_eq!((code, got.tests[0].status), (0, Status::Skip));
    assert_eq!(got.tests[0].detail, "bochs cannot start a kernel without a disk");
    let (code, got) = results(&["against", "bochs", "roms", "--filter", "popf,gp-msr", "--jobs", "1"]);
    assert!(code == 0 && got.tests.len() > 1 && got.tests.iter().all(|test| test.status == Status::Pass), "{got:?}");
}

#[test]
fn qemu_gives_a_second_opinion() {
    if !has("qemu-system-i386") {
        return;
    }
    let folder = Folder::new("qemu");
    folder.file("suite.toml", "name = 'units'\nconvention = 'kvm-unit-tests'\n");
    // QEMU has no test device here, so the first program halts there and passes here.
    folder.file("a.flat", unit_tests("PASS: one\n", 0));
    let exit = |value: u32| {
        multiboot(|a, _| {
            a.mov(eax, value).unwrap();
            a.out(0xF4, eax).unwrap();
            a.hlt().unwrap();
        })
    };
    folder.file("b.flat", exit(0));
    folder.file("c.flat", exit(3));
    let path = folder.path("");
    let (code, got) = results(&["against", "qemu", "image", &path, "--filter", "b.flat,c.flat"]);
    assert_eq!((code, statuses(&got)), (0, vec![("b.flat", "pass"), ("c.flat", "pass")]), "{:?}", got.tests);
    let (code, got) = results(&["against", "qemu", "roms", "--filter", "popf"]);
    assert!(code == 0 && !got.tests.is_empty(), "{:?}", got.tests);
}

#[test]
fn unicorn_gives_a_second_opinion_on_instructions() {
    if let Err(reason) = judge::Kind::Unicorn.start() {
        // .ci/run installs it.
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let forms = "add_rm32_r32,adc_rm8_imm8,shld_rm32_r32_cl,pushad,ud2,int3,div_rm16,popfd";
    let few = ["against", "unicorn", "--cases", "8000", "--jobs", "1", "--filter", forms];
    let (code, got) = results(&[&few[..], &["--engine", "interpreter,single"]].concat());
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status != Status::Pass).collect();
    assert_eq!(code, 0, "{bad:?}");
    assert!(got.totals().cases > 8000 && got.tests.iter().all(|test| test.suite == "unicorn"), "{:?}", got.totals());
    assert!(got.cells.keys().all(|key| key.judge == "unicorn") && got.cells.len() > 30);
    // Exceptions were raised on both sides, too.
    assert!(got.cells.values().any(|cell| cell.counts[3].0 > 0));
    // What differs is made small, and a line says who judged.
    let plant = ["--plant", "Add_rm32_r32:ZF", "--environment", "seg16"];
    let (code, got) = results(&[&few[..], &plant[..]].concat());
    let bad: Vec<_> = got.tests.iter().filter(|test| test.status != Status::Pass).collect();
    assert_eq!((code, bad.len(), bad[0].name.as_str()), (1, 1, "seg16 Add_rm32_r32"), "{bad:?}");
    let line = &bad[0].reproducer.as_ref().expect("a reproducer").line;
    assert!(line.starts_with("judge=unicorn env=seg16 "), "{line}");
    assert_eq!(conform(&["replay", line, "--plant", "Add_rm32_r32:ZF"]).0, 1);
    let (code, out, err) = conform(&["replay", line]);
    assert_eq!((code, out.lines().next()), (0, Some("interpreter: no difference")), "{err}");
}

#[test]
fn a_kernel_runs_in_lockstep() {
    let folder = Folder::new("lockstep");
    let image = folder.file(
        "k",
        multiboot(|a, _| {
            let mut again = a.create_label();
            a.mov(ecx, 2_000_000).unwrap();
            a.set_label(&mut again).unwrap();
            a.add(eax, ecx).unwrap();
            a.rol(eax, 3).unwrap();
            a.dec(ecx).unwrap();
            a.jne(again).unwrap();
            a.out(0xF4, eax).unwrap();
            a.hlt().unwrap();
        }),
    );
    let (code, got) = results(&["lockstep", &image]);
    assert_eq!(code, 0, "{:?}", got.tests);
    assert!(got.tests.len() == 1 && got.tests[0].cases > 20, "{:?}", got.tests);
    assert!(results(&["lockstep", &image, "--shard", "2/2"]).1.tests.is_empty());
}

// ---------------------------------------------------------------------------------------- programs and states

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

// --------------------------------------------------------------------------------------------------- reports

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

#[test]
fn every_claimed_instruction_form_is_in_the_matrix() {
    if !has_judge() {
        return;
    }
    let folder = Folder::new("matrix");
    let report = folder.path("report");
    let (code, out, err) = conform(&["native", "--cases", "200000", "--report", &report]);
    assert_eq!(code, 0, "{out}{err}");
    let read = |name: &str| fs::read_to_string(Path::new(&report).join(name)).expect("part of the report");
    let (table, page) = (read("coverage.txt"), read("coverage.html"));
    for bits in [16, 32] {
        let forms = ring86::conform::templates::forms(bits);
        assert!(forms.len() > 900);
        for code in forms.keys() {
            let name = format!("{:?}", iced_x86::Code::try_from(usize::from(*code)).unwrap());
            let row = table.lines().find(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(&name) && words.next() == Some(&bits.to_string())
            });
            assert!(row.is_some(), "{name} in {bits}-bit code has no row");
            assert!(page.contains(&format!("<td>{name}</td>")), "{name} is not on the page");
        }
        for (name, reason) in ring86::conform::coverage::not_asked(bits) {
            assert!(table.contains(&name) && page.contains(reason), "{name}: {reason}");
        }
    }
    // All four kinds of operand were reached by a form that has them.
    let row = table.lines().find(|line| line.starts_with("Add_rm32_r32 ") && line.contains(" 32 native")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().skip(4).take(4).collect();
    assert!(cells.iter().all(|cell| cell.parse::<u64>().is_ok_and(|cases| cases > 0)), "{row}");
    // What is left out differs by maker, but of all of them it is something here.
    let mul = table.lines().find(|line| line.starts_with("Mul_rm32 ")).unwrap();
    assert!(mul.ends_with("  ZF") || mul.ends_with("  PF, AF, ZF, SF"), "{mul}");
}
