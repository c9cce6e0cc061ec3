//! The suite `programs`: programs of i386 Linux, run in a Linux guest and held to what they do on this host, or to their
//! own exit status, as a `suite.toml` says ([`description`]). Each program is a test.
//!
//! What the host's runs print goes into the guest with the programs, which compares there: the serial line carries only
//! results and first differences.

pub mod description;
mod host;

use super::command::Context;
use super::guest::{self, Left, Limits};
use super::results::{Status, Test};
use super::shard::spread;
use crate::boot::cpio::newc;
use crate::boot::image;
use crate::boot::linux::Entry;
use crate::config::MachineConfig;
use crate::session::read_file;
use description::{Description, Judge, Program};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Where the programs lie in the guest.
const PLACE: &str = "suite";
/// What lines of the guest's script begin with that name a program and say how it went.
const MARK: &str = "@@ring86 ";
/// Guest time for a boot, in seconds.
const BOOT: u64 = 120;

/// Runs the programs of this shard.
///
/// # Errors
/// One sentence.
pub fn run(folder: &Path, context: &Context) -> Result<Vec<Test>, String> {
    let description = description::read(folder)?;
    let wanted: Vec<&Program> = description.programs.iter().filter(|program| context.wants(&program.name)).collect();
    if wanted.is_empty()
        && let Some(filter) = &context.filter
    {
        return Err(format!("--filter {filter}: no program in {} matches", folder.display()));
    }
    let mine: Vec<&Program> =
        wanted.into_iter().zip(0..).filter(|(_, n)| context.shard.has(*n)).map(|(p, _)| p).collect();
    let test = |program: &Program, status, detail: &str| {
        Test::new(&description.name, context.engine_name, &program.name, status, detail)
    };
    let mut tests: Vec<Test> =
        mine.iter().filter_map(|p| p.skip.as_ref().map(|reason| test(p, Status::Skip, reason))).collect();
    let mut cases = Vec::new();
    for program in mine.into_iter().filter(|program| program.skip.is_none()) {
        cases.push(Case::new(folder, program)?);
    }
    // One guest a thread, since a guest takes longer to boot than most programs to run.
    let jobs = context.jobs.min(cases.len()).max(1);
    let groups: Vec<Vec<&Case>> = (0..jobs).map(|job| cases.iter().skip(job).step_by(jobs).collect()).collect();
    for results in spread(jobs, jobs, |job| group(&description, &groups[job], context)) {
        for (name, (status, detail)) in results? {
            let program = description.programs.iter().find(|program| program.name == name);
            let Some(program) = program else { continue };
            let (status, detail) = match (&program.verdict, status) {
                (Some(verdict), Status::Fail | Status::Error) => (Status::Skip, format!("{verdict}\n{detail}")),
                (Some(verdict), Status::Pass) => {
                    let detail = format!("it passes, so its verdict in suite.toml is out of date: {verdict}");
                    (Status::Fail, detail)
                }
                _ => (status, detail),
            };
            tests.push(test(program, status, &detail));
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

/// A program with what it must do.
struct Case<'a> {
    program: &'a Program,
    bytes: Vec<u8>,
    status: i32,
    /// What it must print, compressed by gzip.
    output: Option<Vec<u8>>,
}

impl<'a> Case<'a> {
    fn new(folder: &Path, program: &'a Program) -> Result<Case<'a>, String> {
        let bytes = read_file(&folder.join(&program.name)).map_err(|error| error.to_string())?;
        let (status, output) = match program.judge {
            Judge::Status => (0, None),
            Judge::Host => {
                let done = host::run(folder, program)?;
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                let zipped = gzip.write_all(&done.output).and_then(|()| gzip.finish());
                (done.status, Some(zipped.map_err(|error| format!("{}: {error}", program.name))?))
            }
        };
        Ok(Case { program, bytes, status, output })
    }
}

/// What the guest does, in its shell's words.
fn script(cases: &[&Case], never: Option<&str>) -> String {
    // A word of the shell between single quotes.
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut text = format!(
        "show() {{ sed 's/^/  /' | head -n 12 | cut -c 1-160; }}\n\
         less() {{ if [ -n \"$ignore\" ]; then grep -vE -e \"$ignore\"; else cat; fi; }}\n\
         ifconfig lo 127.0.0.1\n\
         never={} vars={}\n\
         one() {{\n\
         name=$1 want=$2 time=$3 ignore=$4; shift 4\n\
         rm -rf /tmp/w; mkdir -p /tmp/w; cd /tmp/w\n\
         env -i $vars timeout -s KILL $time /{PLACE}/$name \"$@\" </dev/null >/tmp/out 2>/tmp/err; is=$?\n\
         if [ $is != $want ]; then\n\
         echo \"{MARK}$name fail exit status $is, not $want\"; tail -n 6 /tmp/out | show; tail -n 6 /tmp/err | show\n\
         elif [ -n \"$never\" ] && grep -qF -- \"$never\" /tmp/out /tmp/err; then\n\
         echo \"{MARK}$name fail it says $never\"; grep -hF -- \"$never\" /tmp/out /tmp/err | show\n\
         elif [ -e /{PLACE}/$name.gz ] && ! {{ zcat /{PLACE}/$name.gz | less >/tmp/want; less </tmp/out | cmp -s - /tmp/want; }}; then\n\
         echo \"{MARK}$name fail its output is not the host's ($(wc -c </tmp/out) bytes)\"\n\
         less </tmp/out | diff /tmp/want - | show\n\
         else echo \"{MARK}$name pass $(wc -c </tmp/out) bytes of output\"; fi; }}\n",
        quoted(never.unwrap_or_default()),
        quoted(&cases.first().map_or_else(String::new, |case| case.program.environment.join(" ")))
    );
    for case in cases {
        let program = case.program;
        let _ = writeln!(
            text,
            "one {} {} {} {} {}",
            program.name,
            case.status,
            program.seconds,
            quoted(program.ignore.as_deref().unwrap_or_default()),
            program.arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        );
    }
    text + &format!("echo '{MARK}: end'\n")
}

/// The archive to append to the initial RAM disk.
fn archive(cases: &[&Case], never: Option<&str>) -> Vec<u8> {
    let script = script(cases, never);
    let names: Vec<(String, String)> = cases
        .iter()
        .map(|c| (format!("{PLACE}/{}", c.program.name), format!("{PLACE}/{}.gz", c.program.name)))
        .collect();
    let run = format!("{PLACE}/run");
    let mut entries = vec![(PLACE, 0o40755, (0, 0), &[][..]), (&run, 0o100_644, (0, 0), script.as_bytes())];
    for (case, (program, output)) in cases.iter().zip(&names) {
        entries.push((program, 0o100_755, (0, 0), &case.bytes));
        if let Some(bytes) = &case.output {
            entries.push((output, 0o100_644, (0, 0), bytes));
        }
    }
    newc(&entries)
}

/// How the guest says its programs went.
type Results = BTreeMap<String, (Status, String)>;

fn results(serial: &str) -> Results {
    let mut results = Results::new();
    let mut last: Option<String> = None;
    for line in serial.lines() {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix(MARK) {
            let mut words = rest.splitn(3, ' ');
            let (name, status) = (words.next().unwrap_or_default(), words.next());
            last = None;
            let status = match status {
                Some("pass") => Status::Pass,
                Some("fail") => Status::Fail,
                _ => continue,
            };
            results.insert(name.to_owned(), (status, words.next().unwrap_or_default().to_owned()));
            last = Some(name.to_owned());
        } else if let Some(entry) = last.as_ref().and_then(|name| results.get_mut(name))
            && line.starts_with("  ")
        {
            entry.1 += "\n";
            entry.1 += line;
        }
    }
    results
}

/// Runs the programs of one thread: in one guest, and what is left in another if a program takes the guest down.
fn group(description: &Description, cases: &[&Case], context: &Context) -> Result<Results, String> {
    let mut all = Results::new();
    let mut rest = cases;
    while let Some(first) = rest.first() {
        let left = boot(description, rest, context)?;
        let found = results(&left.serial);
        let done = rest.iter().take_while(|case| found.contains_key(&case.program.name)).count();
        let none = found.is_empty() && std::ptr::eq(*first, cases[0]);
        all.extend(found);
        if let Some(culprit) = rest.get(done) {
            let detail = format!("the guest {} while it ran\n{}", left.end, guest::tail(&left));
            if none && !left.serial.contains("ring86-init-ready") {
                return Err(format!("{}: the kernel does not come to its /init: it {}", description.name, left.end));
            }
            all.insert(culprit.program.name.clone(), (Status::Error, detail));
        }
        rest = &rest[(done + 1).min(rest.len())..];
    }
    Ok(all)
}

fn boot(description: &Description, cases: &[&Case], context: &Context) -> Result<Left, String> {
    let read = |path: &Path| read_file(path).map_err(|error| error.to_string());
    let (kernel, mut initrd) = (read(&description.kernel)?, read(&description.initrd)?);
    // Linux unpacks archives that follow each other, at multiples of 4 bytes.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(archive(cases, description.never.as_deref()));
    let arguments = format!("console=ttyS0 quiet loglevel=1 {} ring86.run=sh,/{PLACE}/run", description.arguments);
    let payload = image::kernel(
        &description.kernel.display().to_string(),
        &kernel,
        &arguments,
        Some((description.initrd.display().to_string(), initrd)),
        Entry::Real,
    );
    let mut config = MachineConfig::new();
    config.ram = description.ram;
    config.model = context.cpu.or(description.cpu).unwrap_or(config.model);
    config.engine = context.engine;
    config.reboot = false;
    config.payload = Some(payload.map_err(|error| error.to_string())?);
    let seconds = BOOT + cases.iter().map(|case| case.program.seconds).sum::<u64>();
    let until_text = Some(format!("{MARK}: end"));
    guest::run(config, &Limits { time: seconds * 1_000_000_000, until_text, until_post: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_is_read() {
        let text = "boot\r\n@@ring86 a pass 3 bytes of output\r\nnoise\r\n@@ring86 b fail exit status 1, not 0\r\n  one\r\n\
                    noise\r\n  two\r\n@@ring86 : end\r\n  three\r\n";
        let results = results(text);
        assert_eq!(results["a"], (Status::Pass, "3 bytes of output".to_owned()));
        assert_eq!(results["b"], (Status::Fail, "exit status 1, not 0\n  one\n  two".to_owned()));
        assert_eq!(results.len(), 2);
    }

    #[test]
    fn the_archive_holds_programs_and_what_they_must_print() {
        let program = Program {
            name: "p".to_owned(),
            arguments: vec!["1".to_owned()],
            judge: Judge::Host,
            seconds: 5,
            environment: Vec::new(),
            ignore: None,
            skip: None,
            verdict: None,
        };
        let case = Case { program: &program, bytes: b"ELF".to_vec(), status: 3, output: Some(b"zip".to_vec()) };
        let archive = String::from_utf8_lossy(&archive(&[&case], Some("it's"))).into_owned();
        for what in ["suite/run\0", "suite/p\0", "suite/p.gz\0", "one p 3 5 '' '1'\n", "never='it'\\''s' vars=''\n"] {
            assert!(archive.contains(what), "{what}");
        }
    }
}
