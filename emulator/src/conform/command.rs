//! `ring86 conform`: which suites, with what, and what becomes of the results.

use super::judge;
use super::layout::Environment;
use super::opinion::Emulator;
use super::output::{self, Format};
use super::plant::Plant;
use super::results::{Asked, Results, merge};
use super::shard::Shard;
use super::{run, vectors};
use crate::config::Engine;
use clap::Args;
use ring86_translator::Model;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Exit code of a conformance run that found differences.
pub const EXIT_DIFFERENT: u8 = 1;
/// Exit code of a command line that is wrong in a way that the parser of options does not see.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a conformance run that could not be made: the command's code for host errors.
pub const EXIT_HOST: u8 = 120;

/// What `--plant` takes for every flag of every form in turn.
const EVERY_PLANT: &str = "all";

const SUITES: &str = "Suites (several may follow each other):
  native            random instructions, here and on this host's own processor
  vectors PATH      tests recorded from chips: a file or a folder of .MOO or .json, .gz or not
  roms              Ring86's own programs, one architectural fact each
  image DIR         guests that report by themselves, as DIR/suite.toml says
  states DIR        programs with the state they must end in: .init and .done, .def, .asm with a JSON header
  programs DIR      programs of i386 Linux, in a guest and on this host, as DIR/suite.toml says
  tiers             what the host cannot be asked about, between our engines: privilege, debugging, restarts
  lockstep IMAGE    a guest in compiled code beside the interpreter
  against qemu      the same guests in QEMU: what follows (roms, image DIR) is run in both and compared
  against bochs     the same with Bochs, which starts floppies, disks and ROMs
  against unicorn   the cases of native, judged by Unicorn in place of this host's processor
Instead of suites:
  replay LINE       runs one case again, as printed for a difference
  merge DIR...      joins the reports of a run's shards, from the folders given to --report

Exit codes: 0 nothing differs, 1 something does, 2 the command line is wrong, 120 a file, the judge or the host fails.
The lines of --format jsonl are explained in docs/conformance.md, runs on many machines in docs/fleet.md.";

/// `ring86 conform`.
#[derive(Args, Clone, Debug)]
#[command(after_help = SUITES)]
pub struct ConformArgs {
    /// Suites to run, see below
    #[arg(required = true, value_name = "SUITE")]
    words: Vec<String>,
    /// Engines under test, several with commas: interpreter; every instruction compiled alone: single, single-none (not
    /// optimised); every block compiled: quick, optimised (or eager), eager-none; translator compiles what is hot. With -table after it: over
    /// the flat table
    #[arg(long, default_value = "interpreter", value_name = "E", value_delimiter = ',')]
    engine: Vec<String>,
    /// CPU model, where the suite does not say it
    #[arg(long, value_name = "MODEL")]
    cpu: Option<Model>,
    /// Run only part M of N, counted from 1
    #[arg(long, value_name = "M/N", default_value = "1/1", allow_hyphen_values = true)]
    shard: String,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", alias = "threads")]
    jobs: Option<usize>,
    /// Seed of the generator of native
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Only tests whose name contains one of these: instruction forms of iced-x86 ("add_rm,imul"), files, programs
    #[arg(long, value_name = "CODE")]
    filter: Option<String>,
    /// Cases to run for native, in all shards together
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    cases: u64,
    /// Only this environment of native: flat32, seg32 or seg16
    #[arg(long, value_name = "ENV")]
    environment: Option<String>,
    /// Differences listed for each file of vectors
    #[arg(long, default_value_t = 3, value_name = "N")]
    lines: usize,
    /// Millions of guest instructions after which lockstep ends
    #[arg(long, default_value_t = 1000, value_name = "N")]
    millions: u64,
    /// Compare what the masks for undefined results leave out of native, too
    #[arg(long)]
    unmasked: bool,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Folder to fill with the report: results.jsonl, junit.xml, summary.txt, coverage.txt, coverage.html
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Plant a bug in one flag of one instruction form: CODE:FLAG; all: say for each whether native and tiers would find it
    #[arg(long, value_name = "CODE:FLAG", hide = true)]
    plant: Option<String>,
}

/// One suite of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Suite {
    Native(judge::Kind),
    Vectors(PathBuf),
    Roms,
    Image(PathBuf),
    States(PathBuf),
    Programs(PathBuf),
    Tiers,
    Lockstep(PathBuf),
}

/// Who gives a second opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    /// On guests.
    Guests(Emulator),
    /// On single instructions.
    Cases(judge::Kind),
}

/// What the words ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Task {
    /// Suites, and which emulator gives a second opinion.
    Suites(Vec<Suite>, Option<Emulator>),
    Replay(String),
    Merge(Vec<PathBuf>),
}

/// An error and its exit code.
type Failure = (u8, String);

fn usage(sentence: impl Into<String>) -> Failure {
    (EXIT_USAGE, sentence.into())
}

fn host(sentence: impl ToString) -> Failure {
    (EXIT_HOST, sentence.to_string())
}

fn parse_words(words: &[String]) -> Result<Task, Failure> {
    let mut suites = Vec::new();
    let mut against: Option<Second> = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut operand = |what: &str| {
            rest.next().map(PathBuf::from).ok_or_else(|| usage(format!("conform {word}: {what} must follow")))
        };
        match word.as_str() {
            "native" => suites.push(Suite::Native(judge::Kind::Host)),
            "tiers" => suites.push(Suite::Tiers),
            "roms" => suites.push(Suite::Roms),
            "vectors" => suites.push(Suite::Vectors(operand("a file or folder of vectors")?)),
            "image" => suites.push(Suite::Image(operand("a folder with a suite.toml")?)),
            "states" => suites.push(Suite::States(operand("a folder of programs and their states")?)),
            "programs" => suites.push(Suite::Programs(operand("a folder with a suite.toml")?)),
            "lockstep" => suites.push(Suite::Lockstep(operand("an image")?)),
            "against" => {
                let name = operand("the name of an emulator (qemu, bochs or unicorn)")?.display().to_string();
                let known = match Emulator::named(&name) {
                    Some(emulator) => Second::Guests(emulator),
                    None if name == judge::Kind::Unicorn.name() => Second::Cases(judge::Kind::Unicorn),
                    None => {
                        return Err(usage(format!(
                            "conform against {name}: qemu, bochs and unicorn are the emulators that can be asked"
                        )));
                    }
                };
                if against.replace(known).is_some_and(|other| other != known) {
                    return Err(usage("conform against: one emulator at a time"));
                }
            }
            "replay" if suites.is_empty() => {
                let line = rest.map(String::as_str).collect::<Vec<_>>().join(" ");
                if line.is_empty() {
                    return Err(usage("conform replay: a line must follow, as printed for a difference"));
                }
                return Ok(Task::Replay(line));
            }
            "merge" if suites.is_empty() => {
                let folders: Vec<PathBuf> = rest.map(PathBuf::from).collect();
                if folders.is_empty() {
                    return Err(usage("conform merge: the folders of the shards' reports must follow"));
                }
                return Ok(Task::Merge(folders));
            }
            other => {
                return Err(usage(format!(
                    "conform {other}: no suite of that name; there are native, vectors PATH, roms, image DIR, states DIR, programs DIR, tiers, lockstep IMAGE, against qemu, bochs or unicorn, replay LINE and merge DIR"
                )));
            }
        }
    }
    let emulator = match against {
        None => None,
        Some(Second::Guests(emulator)) => {
            let guests = |suite: &Suite| matches!(suite, Suite::Roms | Suite::Image(_));
            judged(&mut suites, Suite::Roms, guests, emulator.name(), "guests; roms and image DIR are")?;
            Some(emulator)
        }
        Some(Second::Cases(kind)) => {
            let cases = |suite: &Suite| matches!(suite, Suite::Native(_));
            judged(&mut suites, Suite::Native(kind), cases, kind.name(), "single instructions; native is")?;
            suites.fill(Suite::Native(kind));
            None
        }
    };
    Ok(Task::Suites(suites, emulator))
}

/// Whether a second opinion on these suites can be had. Without any it is on `plain`.
fn judged(
    suites: &mut Vec<Suite>,
    plain: Suite,
    can: impl Fn(&Suite) -> bool,
    name: &str,
    others: &str,
) -> Result<(), Failure> {
    if suites.is_empty() {
        suites.push(plain);
    }
    let Some(suite) = suites.iter().find(|suite| !can(suite)) else { return Ok(()) };
    let suite = format!("{suite:?}").to_lowercase();
    let suite = suite.split('(').next().unwrap_or_default();
    Err(usage(format!("conform against {name}: {suite} is no suite of {others}")))
}

/// Runs `ring86 conform` and gives its exit code.
pub fn main(args: &ConformArgs) -> u8 {
    match conform(args) {
        Ok(code) => code,
        Err((code, sentence)) => {
            eprintln!("ring86: {sentence}");
            code
        }
    }
}

fn conform(args: &ConformArgs) -> Result<u8, Failure> {
    let plant = args.plant.as_deref().filter(|plant| *plant != EVERY_PLANT).map(Plant::parse);
    let plant = plant.transpose().map_err(usage)?;
    let results = match parse_words(&args.words)? {
        Task::Replay(line) => return replay(&line, args, plant),
        Task::Merge(folders) => merged(folders, args.report.as_deref())?,
        Task::Suites(suites, against) => {
            check(args, &suites)?;
            if let Some(folder) = &args.report {
                output::prepare_folder(folder).map_err(host)?;
            }
            run_suites(args, &suites, against, plant)?
        }
    };
    // First what cannot fail: hours of work may be in it.
    print!("{}", output::render(&results, args.format));
    if let Some(folder) = &args.report {
        output::write_folder(&results, folder).map_err(host)?;
    }
    Ok(if results.is_clean() { 0 } else { EXIT_DIFFERENT })
}

/// What can be wrong with the options beside each one for itself.
fn check(args: &ConformArgs, suites: &[Suite]) -> Result<(), Failure> {
    let twice =
        |list: &[String]| list.iter().enumerate().find(|(n, word)| list[..*n].contains(word)).map(|f| f.1.clone());
    if let Some(engine) = twice(&args.engine) {
        return Err(usage(format!("--engine {engine}: it is there twice")));
    }
    let names: Vec<String> = suites.iter().map(|suite| format!("{suite:?}").to_lowercase()).collect();
    if let Some(suite) = twice(&names) {
        let name = suite.split('(').next().unwrap_or_default();
        return Err(usage(format!("conform {name}: this suite is there twice")));
    }
    for (option, value) in [("--cases", Some(args.cases)), ("--jobs", args.jobs.map(|jobs| jobs as u64))] {
        if value == Some(0) {
            return Err(usage(format!("{option} 0: nothing would be run; 1 is the least")));
        }
    }
    let fixed = suites.iter().find_map(|suite| match suite {
        Suite::Native(_) => Some("native"),
        Suite::Tiers => Some("tiers"),
        _ => None,
    });
    match (fixed, args.cpu) {
        (Some(suite), Some(model)) if model != Model::Max => Err(usage(format!(
            "--cpu {model}: {suite} asks the model max alone, which has what the host has; leave --cpu out"
        ))),
        _ => Ok(()),
    }
}

fn named_engine(name: &str) -> Result<Engine, Failure> {
    Engine::named(name).ok_or_else(|| {
        usage(format!(
            "--engine {name}: not one of interpreter, translator, single, single-none, quick, optimised, eager, eager-none (each but the first also with -table)"
        ))
    })
}

/// What all suites of one run with one engine have in common.
pub struct Context<'a> {
    /// Engine under test.
    pub engine: Engine,
    /// Its name in reports.
    pub engine_name: &'a str,
    /// The model asked for.
    pub cpu: Option<Model>,
    /// Which part of the work.
    pub shard: Shard,
    /// Threads.
    pub jobs: usize,
    /// Parts of names, in lower case, with commas.
    pub filter: Option<String>,
    /// Another emulator runs every guest too.
    pub against: Option<Emulator>,
}

impl Context<'_> {
    /// Whether the filter lets a name through.
    pub fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.filter.as_ref().is_none_or(|filter| filter.split(',').any(|part| name.contains(part)))
    }
}

fn run_suites(
    args: &ConformArgs,
    suites: &[Suite],
    against: Option<Emulator>,
    plant: Option<Plant>,
) -> Result<Results, Failure> {
    let shard = Shard::parse(&args.shard).map_err(usage)?;
    let engines: Vec<(&String, Engine)> =
        args.engine.iter().map(|name| Ok((name, named_engine(name)?))).collect::<Result<_, Failure>>()?;
    if let Some(emulator) = against {
        emulator.check().map_err(host)?;
    }
    let asked =
        Asked { suites: args.words.join(" "), options: options(args), version: env!("CARGO_PKG_VERSION").to_owned() };
    let mut results = Results::new(asked, shard);
    let start = Instant::now();
    for (name, engine) in engines {
        let context = Context {
            engine,
            engine_name: name,
            cpu: args.cpu,
            shard,
            jobs: args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |count| count.get())),
            filter: args.filter.as_ref().map(|filter| filter.to_lowercase()),
            against,
        };
        for suite in suites {
            run_suite(suite, &context, args, plant, &mut results)?;
        }
    }
    results.seconds = start.elapsed().as_secs_f64();
    Ok(results)
}

/// The options that change what is run, in one spelling.
fn options(args: &ConformArgs) -> String {
    let mut text = format!("--engine {} --seed {} --cases {}", args.engine.join(","), args.seed, args.cases);
    if args.words.iter().any(|word| word == "lockstep") {
        text += &format!(" --millions {}", args.millions);
    }
    let others = [
        ("--cpu", args.cpu.map(|cpu| cpu.to_string())),
        ("--filter", args.filter.clone()),
        ("--environment", args.environment.clone()),
        ("--plant", args.plant.clone()),
        ("--unmasked", args.unmasked.then(String::new)),
    ];
    for (name, value) in others {
        if let Some(value) = value {
            text += &format!(" {name} {value}");
            text.truncate(text.trim_end().len());
        }
    }
    text
}

fn run_suite(
    suite: &Suite,
    context: &Context,
    args: &ConformArgs,
    plant: Option<Plant>,
    results: &mut Results,
) -> Result<(), Failure> {
    match suite {
        Suite::Native(judge) => {
            let environment = match &args.environment {
                None => None,
                Some(name) => Some(
                    Environment::from_name(name)
                        .ok_or_else(|| usage(format!("--environment {name}: not one of flat32, seg32, seg16")))?,
                ),
            };
            let plan = run::Plan {
                cases: args.cases,
                seed: args.seed,
                engine: context.engine,
                threads: context.jobs,
                filter: context.filter.clone(),
                environment,
                lines_per_form: 0,
                shard: context.shard,
                plant,
                sweep: args.plant.as_deref() == Some(EVERY_PLANT),
                unmasked: args.unmasked,
                judge: *judge,
            };
            // The filter names instruction forms; random bytes, which only the host is asked about, have a name of their own.
            let bytes = context.wants(super::bytes::NAME) && *judge == judge::Kind::Host && !plan.sweep;
            if !bytes || context.filter.as_deref() != Some(super::bytes::NAME) {
                let outcome = run::run(&plan, &|text| eprintln!("{text}")).map_err(host)?;
                if plan.sweep {
                    super::sweep::add_to(&outcome, plan.filter.is_none(), context.engine_name, results);
                } else {
                    outcome.add_to(results, context.engine_name);
                }
            }
            if bytes {
                super::bytes::run(&plan, context.engine_name, results).map_err(host)?;
            }
        }
        Suite::Vectors(path) => {
            let plan = vectors::Plan {
                path: path.clone(),
                model: context.cpu,
                engine: context.engine,
                threads: context.jobs,
                lines_per_file: args.lines,
                filter: context.filter.clone(),
                shard: context.shard,
                only: None,
            };
            let folder = if path.is_dir() { path.as_path() } else { Path::new("") };
            vectors::run(&plan).map_err(host)?.add_to(results, context.engine_name, folder);
        }
        Suite::Roms => results.tests.extend(super::roms::run(context).map_err(host)?),
        Suite::Image(folder) => results.tests.extend(super::image::run(folder, context).map_err(host)?),
        Suite::States(folder) => results.tests.extend(super::states::run(folder, context).map_err(host)?),
        Suite::Tiers if args.plant.as_deref() == Some(EVERY_PLANT) => {
            results.tests.extend(super::tiers::sweep(args.seed, context).map_err(host)?);
        }
        Suite::Tiers => {
            // A case here is compiled anew, where one of native is a state for code that is there.
            let cases = args.cases.div_ceil(100);
            super::tiers::run(cases, args.seed, context, plant, results).map_err(host)?;
        }
        Suite::Programs(folder) => results.tests.extend(super::programs::run(folder, context).map_err(host)?),
        Suite::Lockstep(path) => {
            results.tests.extend(super::lockstep::run(path, args.millions, context).map_err(host)?);
        }
    }
    Ok(())
}

/// Joins the reports in `folders`, without the one that an earlier call left in `whole`.
fn merged(mut folders: Vec<PathBuf>, whole: Option<&Path>) -> Result<Results, Failure> {
    let place = |path: &Path| path.canonicalize().ok();
    folders.retain(|folder| whole.is_none_or(|whole| place(whole).is_none() || place(whole) != place(folder)));
    let read = |folder: &PathBuf| {
        let path = if folder.is_dir() { folder.join(output::LINES) } else { folder.clone() };
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(&path).map_err(|error| host(crate::error::Error::io("read", &path, &error)))?;
        Ok((name.clone(), Results::parse(&name, &text).map_err(host)?))
    };
    merge(folders.iter().map(read).collect::<Result<Vec<_>, Failure>>()?).map_err(host)
}

/// Runs one line again, whichever suite it is from.
fn replay(line: &str, args: &ConformArgs, plant: Option<Plant>) -> Result<u8, Failure> {
    let mut different = false;
    for name in &args.engine {
        let engine = named_engine(name)?;
        let (differences, text) = if line.starts_with("vectors=") {
            replay_vector(line, engine)?
        } else if line.starts_with("end=") {
            super::bytes::replay(line, engine, plant).map_err(host)?
        } else if line.starts_with("tiers=") {
            super::tiers::replay(line, engine, plant).map_err(host)?
        } else {
            run::replay(line, engine, plant, args.unmasked).map_err(host)?
        };
        println!("{name}: {}", if differences.is_empty() { "no difference" } else { "differs" });
        println!("{text}");
        different |= !differences.is_empty();
    }
    Ok(if different { EXIT_DIFFERENT } else { 0 })
}

fn replay_vector(line: &str, engine: Engine) -> Result<(String, String), Failure> {
    let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let bad = |key: &str| host(format!("the line to replay has no valid {key}="));
    let plan = vectors::Plan {
        path: value("vectors").map(PathBuf::from).ok_or_else(|| bad("vectors"))?,
        model: Some(value("cpu").and_then(|cpu| cpu.parse().ok()).ok_or_else(|| bad("cpu"))?),
        engine,
        threads: 1,
        lines_per_file: 1,
        filter: None,
        shard: Shard::WHOLE,
        only: Some(value("test").and_then(|test| test.parse().ok()).ok_or_else(|| bad("test"))?),
    };
    let outcome = vectors::run(&plan).map_err(host)?;
    let mut results = Results::default();
    let summary = outcome.summary();
    outcome.add_to(&mut results, "", Path::new(""));
    let test = results.tests.into_iter().next();
    let found = test.as_ref().is_some_and(|test| test.cases + test.skipped > 0);
    if !found {
        return Err(host(format!("{}: no test of that number", plan.path.display())));
    }
    let test = test.map(|test| (test.detail, test.reproducer));
    Ok(match test {
        Some((detail, Some(reproducer))) => (detail, reproducer.text),
        _ => (String::new(), summary),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Task, Failure> {
        parse_words(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn suites_follow_each_other() {
        let expected = vec![Suite::Native(judge::Kind::Host), Suite::Vectors("a/b".into()), Suite::Roms];
        assert_eq!(words("native vectors a/b roms"), Ok(Task::Suites(expected, None)));
        assert_eq!(words("against qemu"), Ok(Task::Suites(vec![Suite::Roms], Some(Emulator::Qemu))));
        let unicorn = vec![Suite::Native(judge::Kind::Unicorn)];
        assert_eq!(words("against unicorn"), Ok(Task::Suites(unicorn.clone(), None)));
        assert_eq!(words("native against unicorn"), Ok(Task::Suites(unicorn, None)));
        assert_eq!(words("replay a=1 b=2"), Ok(Task::Replay("a=1 b=2".to_owned())));
        assert_eq!(words("merge x y"), Ok(Task::Merge(vec!["x".into(), "y".into()])));
    }

    #[test]
    fn wrong_words_are_one_sentence() {
        for (text, says) in [
            ("vectors", "conform vectors: a file or folder of vectors must follow"),
            ("nativ", "conform nativ: no suite of that name"),
            ("against", "the name of an emulator"),
            ("against virtualbox", "qemu, bochs and unicorn are the emulators"),
            ("against qemu against bochs", "one emulator at a time"),
            ("against qemu native", "conform against qemu: native is no suite of guests"),
            ("against unicorn roms", "conform against unicorn: roms is no suite of single instructions"),
            ("against unicorn against qemu", "one emulator at a time"),
            ("replay", "a line must follow"),
            ("merge", "must follow"),
            ("native merge x", "conform merge: no suite of that name"),
        ] {
            let (code, sentence) = words(text).unwrap_err();
            assert_eq!(code, EXIT_USAGE);
            assert!(sentence.contains(says) && !sentence.contains('\n'), "{text}: {sentence}");
        }
    }
}
