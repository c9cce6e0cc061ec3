//! Shards and their merging, by hand, by GNU parallel and by Slurm; the report.

use super::{Folder, command, conform, has, has_judge, missing};
use ring86::conform::results::Results;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
