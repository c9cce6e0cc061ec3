//! `suite.toml` of the suite `programs`. docs/conformance.md explains it.

use crate::config;
use crate::conform::fields::{self, Fields};
use ring86_translator::Model;
use std::path::{Path, PathBuf};

/// Name of the file.
pub const FILE: &str = "suite.toml";

/// What a program is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// What it prints and how it ends on this host.
    Host,
    /// Its exit status, which must be 0, and the texts that it must not print.
    Status,
}

/// What a `suite.toml` says.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name of the suite in reports.
    pub name: String,
    /// The Linux kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk: one that runs what `ring86.run=` says.
    pub initrd: PathBuf,
    /// Further arguments of the kernel.
    pub arguments: String,
    /// Bytes of RAM.
    pub ram: u64,
    /// The model, if the suite wants one.
    pub cpu: Option<Model>,
    /// What must not be printed.
    pub never: Option<String>,
    /// The programs, in the order of their names.
    pub programs: Vec<Program>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// File name in the folder.
    pub name: String,
    /// Its arguments, between blanks.
    pub arguments: Vec<String>,
    /// What it is held to.
    pub judge: Judge,
    /// Seconds after which it is killed, of guest time and on the host.
    pub seconds: u64,
    /// Variables of its environment: `NAME=VALUE`.
    pub environment: Vec<String>,
    /// An extended regular expression: lines of output that are left out of the comparison.
    pub ignore: Option<String>,
    /// Why it is not run.
    pub skip: Option<String>,
    /// Why it may fail.
    pub verdict: Option<String>,
}

const KEYS: [&str; 13] = [
    "name",
    "kernel",
    "initrd",
    "arguments",
    "memory",
    "cpu",
    "programs",
    "judge",
    "seconds",
    "environment",
    "never",
    "program",
    "comment",
];

/// Reads the description in `folder`.
///
/// # Errors
/// One sentence that names file, field and fix.
pub fn read(folder: &Path) -> Result<Description, String> {
    let path = folder.join(FILE);
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name}: there is no such file; it says which programs run where"),
        _ => format!("{name}: {error}"),
    })?;
    let mut description = parse(&text, &fields::files(folder)?).map_err(|error| format!("{name}: {error}"))?;
    description.kernel = folder.join(&description.kernel);
    description.initrd = folder.join(&description.initrd);
    Ok(description)
}

fn parse(text: &str, files: &[String]) -> Result<Description, String> {
    let table = fields::table(text)?;
    let fields = Fields { table: &table, place: "" };
    fields.known(&KEYS)?;
    let needed = |key: &str, what: &str| fields.text(key)?.ok_or_else(|| format!("{key} is missing: {what}"));
    let memory = fields.text("memory")?.unwrap_or_else(|| "256M".to_owned());
    Ok(Description {
        name: needed("name", "what reports call the suite")?,
        kernel: needed("kernel", "the Linux kernel that the programs run on")?.into(),
        initrd: needed("initrd", "the initial RAM disk that the programs are added to")?.into(),
        arguments: fields.text("arguments")?.unwrap_or_default(),
        ram: config::parse_ram(&memory).map_err(|error| error.to_string().replace("-m ", "memory "))?,
        cpu: match fields.text("cpu")? {
            Some(cpu) => Some(cpu.parse().map_err(|_| format!("cpu {cpu} is no model"))?),
            None => None,
        },
        never: fields.text("never")?,
        programs: programs(&fields, files)?,
    })
}

fn judge(fields: &Fields, otherwise: Judge) -> Result<Judge, String> {
    match fields.text("judge")?.as_deref() {
        None => Ok(otherwise),
        Some("host") => Ok(Judge::Host),
        Some("status") => Ok(Judge::Status),
        Some(other) => Err(format!("{}judge {other} is none of host, status", fields.place)),
    }
}

fn seconds(fields: &Fields, otherwise: u64) -> Result<u64, String> {
    Ok(fields.number("seconds", 100_000)?.map_or(otherwise, |seconds| seconds as u64))
}

/// The words of a text between blanks.
fn words(fields: &Fields, key: &str) -> Result<Vec<String>, String> {
    Ok(fields.text(key)?.unwrap_or_default().split_whitespace().map(str::to_owned).collect())
}

fn programs(fields: &Fields, files: &[String]) -> Result<Vec<Program>, String> {
    let plain = |name: String| {
        Ok(Program {
            name,
            arguments: Vec::new(),
            judge: judge(fields, Judge::Host)?,
            seconds: seconds(fields, 60)?,
            environment: words(fields, "environment")?,
            ignore: None,
            skip: None,
            verdict: None,
        })
    };
    let chosen = fields.chosen("programs", files)?.into_iter().filter(|file| file != FILE);
    let mut programs = chosen.map(plain).collect::<Result<Vec<Program>, String>>()?;
    for value in fields.table.get("program").and_then(toml::Value::as_array).into_iter().flatten() {
        let table = value.as_table().ok_or("program must be a table: [[program]]")?;
        let own = Fields { table, place: "program." };
        own.known(&["name", "arguments", "judge", "seconds", "ignore", "skip", "verdict"])?;
        let name = own.text("name")?.ok_or("program.name is missing")?;
        // A program that this machine's compiler could not make has no file, but may have a reason.
        if !files.contains(&name) && own.text("skip")?.is_none() {
            return Err(format!("program.name: there is no file '{name}'"));
        }
        let mut program = plain(name)?;
        program.arguments = words(&own, "arguments")?;
        program.ignore = own.text("ignore")?;
        program.judge = judge(&own, program.judge)?;
        program.seconds = seconds(&own, program.seconds)?;
        program.skip = own.text("skip")?;
        program.verdict = own.text("verdict")?;
        match programs.iter_mut().find(|known| known.name == program.name) {
            Some(known) => *known = program,
            None => programs.push(program),
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    let is_safe = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-=:,/".contains(&byte));
    for program in &programs {
        if let Some(word) = [&program.name]
            .into_iter()
            .chain(&program.arguments)
            .chain(&program.environment)
            .find(|word| !is_safe(word))
        {
            return Err(format!("'{word}' has letters that a guest's shell may not take as they are"));
        }
    }
    if programs.is_empty() {
        return Err("there is no program in this folder".to_owned());
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = 'x'\nkernel = 'k'\ninitrd = 'i'\n";

    fn files() -> Vec<String> {
        ["a", "b", FILE].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_the_suite_says_holds_where_a_program_says_nothing() {
        let text = format!(
            "{HEAD}judge = 'status'\nseconds = 9\n[[program]]\nname = 'b'\narguments = '1 2'\njudge = 'host'\n\
             [[program]]\nname = 'c'\nskip = 'why'\n"
        );
        let programs = parse(&text, &files()).unwrap().programs;
        let short: Vec<_> = programs.iter().map(|p| (p.name.as_str(), p.judge, p.seconds, p.arguments.len())).collect();
        assert_eq!(short, [("a", Judge::Status, 9, 0), ("b", Judge::Host, 9, 2), ("c", Judge::Status, 9, 0)]);
        assert_eq!(programs[2].skip.as_deref(), Some("why"));
    }

    #[test]
    fn mistakes_are_one_sentence() {
        for (text, says) in [
            ("name = 'x'", "kernel is missing: the Linux kernel"),
            (&format!("{HEAD}judge = 'me'"), "judge me is none of host, status"),
            (&format!("{HEAD}speed = 1"), "speed is no key; there are name,"),
            (&format!("{HEAD}[[program]]\nname = 'c'"), "program.name: there is no file 'c'"),
            (&format!("{HEAD}[[program]]\nname = 'a'\narguments = '$(x)'"), "'$(x)' has letters"),
            (&format!("{HEAD}programs = ['*.elf']"), "programs: no file is like '*.elf'"),
        ] {
            let error = parse(text, &files()).unwrap_err();
            assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
        }
        let error = read(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error, "/nowhere/suite.toml: there is no such file; it says which programs run where");
    }
}
