//! The command line.

use crate::automation::{self, client};
use crate::boot::linux::Entry;
use crate::config::{self, MachineConfig};
use crate::display;
use crate::drives::DriveArgs;
use crate::error::{Error, Result};
use crate::foreign::FirmwareArgs;
use crate::lockstep::Focus;
use crate::logging::{self, say};
use crate::network::{Forward, Net, UserNet};
use crate::printer;
use crate::scheduler::ClockKind;
use crate::serial;
use crate::session::{self, Options, code};
use crate::sound;
use crate::storage::Access;
use crate::trace::What;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ring86_translator::Model;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// What `--help` ends with.
const EXIT_CODES: &str = "Exit codes:
  0            the guest switched its power off, or asked for a reset under --no-reboot
  (v*2+1)&255  the guest wrote v to the --debug-exit port (always odd)
  2            the command line is wrong
  116          --engine lockstep found a difference between compiled code and the interpreter
  118          the machine ended well, but --script expected something else
  120          host error: a file, the terminal or memory; one sentence on stderr says what
  122          the guest halted with interrupts off
  124          --max-time is over, or something that --script waited for did not come
  126          triple fault; a report on stderr explains it
  128          stopped by Ctrl-A X or a signal";

/// A PC in software.
#[derive(Debug, Parser)]
#[command(name = "ring86", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a kernel or an image.
    Run(Box<Run>),
    /// Run the built-in demonstration guest.
    Demo(Box<Demo>),
    /// Send commands to a running machine.
    Control(client::ControlArgs),
    /// Write a picture of a running machine's screen.
    Screenshot(client::ScreenshotArgs),
    /// Test this CPU, by suites: against the host's processor, recorded vectors, guests that test themselves.
    Conform(Box<crate::conform::command::ConformArgs>),
    /// Measure what virtualization costs: the same guest under every engine, beside the host itself.
    Compare(Box<crate::compare::CompareArgs>),
}

/// How instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The best there is.
    Auto,
    /// The interpreter.
    Interpreter,
    /// Compiled code.
    Translator,
    /// Compiled code beside the interpreter, compared step by step.
    Lockstep,
    /// The host's processor, under Linux's KVM: to compare with (needs the feature kvm and --clock host).
    Kvm,
}

fn parse_range(text: &str) -> std::result::Result<(u64, u64), String> {
    let parse = |t: &str| u64::from_str_radix(t.trim_start_matches("0x"), 16).ok();
    text.split_once('-')
        .and_then(|(a, b)| Some((parse(a)?, parse(b)?)))
        .filter(|(a, b)| a <= b)
        .ok_or_else(|| "a range is two hexadecimal addresses, for example c0100000-c01fffff".to_owned())
}

/// How compiled code reaches guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MmuKind {
    /// The best there is.
    Auto,
    /// A table of pages.
    Table,
    /// Guest pages mapped at their own addresses, behind a byte of permissions each.
    Window,
}

/// The machine and its connections, the same for every way to run one.
#[derive(Debug, Args)]
struct Common {
    /// Memory: a number with K, M or G (a bare number is MiB).
    #[arg(short = 'm', value_name = "SIZE", default_value = "256M", allow_hyphen_values = true)]
    memory: String,
    /// Processor: 8086, 286, 386, 486, pentium, p3 or max.
    #[arg(long, value_name = "MODEL", default_value = "max")]
    cpu: Model,
    /// How instructions are executed.
    #[arg(long, value_enum, default_value = "auto")]
    engine: Engine,
    /// How compiled code reaches guest memory.
    #[arg(long, value_enum, default_value = "auto")]
    mmu: MmuKind,
    /// Room for compiled code: a number with K, M or G.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    code_cache: String,
    /// Name regions of compiled code for Linux's perf, in /tmp/perf-PID.map.
    #[arg(long)]
    perf_map: bool,
    /// Local APIC, I/O APIC and HPET: with the processors that had a local APIC (pentium, p3, max), or never.
    #[arg(long, value_enum, default_value = "auto")]
    apic: ApicKind,
    /// How often the interpreter runs a block before it is compiled.
    #[arg(long, value_name = "N", hide = true)]
    hot: Option<u32>,
    /// Compile without optimising.
    #[arg(long, hide = true)]
    quick_code: bool,
    /// Under --engine lockstep: where to look closely, as its report says.
    #[arg(long, value_name = "FROM[,STRETCH[,BLOCK]]", hide = true)]
    lockstep_from: Vec<Focus>,
    /// Where COM1 leads: stdio, none or file:PATH. Default: stdio, or none under --display terminal.
    #[arg(long, value_name = "TARGET")]
    serial: Option<serial::Target>,
    /// What is at the parallel port: none, or file:PATH for a printer whose paper is that file.
    #[arg(long, value_name = "TARGET", default_value = "none")]
    parallel: printer::Target,
    /// Where the screen is shown: none, terminal, vnc:[HOST:]PORT[,password-file=F], web:[PORT].
    #[arg(long, value_name = "TARGET", default_value = "none")]
    display: display::Target,
    /// Where the sound goes: none or wav:FILE.
    #[arg(long, value_name = "TARGET", default_value = "none")]
    sound: sound::Target,
    /// How loud the PC speaker is in it, in per cent.
    #[arg(long, value_name = "PERCENT", default_value = "25", value_parser = clap::value_parser!(u8).range(0..=100))]
    speaker_volume: u8,
    /// Port at which a guest ends the run with an exit code (a number, 0x for hexadecimal).
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    debug_exit: Option<u16>,
    /// End the run when the guest asks for a reset.
    #[arg(long)]
    no_reboot: bool,
    /// What the board does when the processor shuts down after a triple fault.
    #[arg(long, value_enum, default_value = "stop")]
    triple_fault: TripleFault,
    /// Guest time: retired instructions at 100 MIPS, or the host's clock. Default: host.
    #[arg(long, value_enum, default_value = "host")]
    clock: ClockKind,
    /// Network card: none, or user with options: model=rtl8139|ne2k_pci|ne2k_isa, mac=M, allow=loopback, allow=lan,
    /// dns=ADDRESS, pcap=FILE, tftp=FOLDER, bootfile=NAME (several with commas). Default: user; none under --engine lockstep.
    #[arg(long, value_name = "NETWORK")]
    net: Option<Net>,
    /// A port of the host that leads into the guest: tcp:2222:22, udp:ADDRESS:HOSTPORT:GUESTPORT. May be repeated.
    #[arg(long, value_name = "FORWARD")]
    forward: Vec<Forward>,
    /// End the run after this many seconds of guest time.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    max_time: Option<u64>,
    /// Write down what happens: exec, int, io; of compiled code, to stderr: blocks, ir, clif, asm, exits (several with
    /// commas).
    #[arg(long, alias = "show-code", value_enum, value_delimiter = ',', value_name = "WHAT")]
    trace: Vec<What>,
    /// Linear addresses of the compiled code to trace, where a region begins: FROM-TO, hexadecimal.
    #[arg(long, alias = "show-range", value_name = "FROM-TO", value_parser = parse_range)]
    trace_range: Option<(u64, u64)>,
    /// File for the trace, in place of stderr.
    #[arg(long, value_name = "FILE", requires = "trace")]
    trace_file: Option<PathBuf>,
    /// Print counters at the end.
    #[arg(long)]
    stats: bool,
    /// Write counters to a file at the end, as JSON.
    #[arg(long, value_name = "FILE")]
    stats_json: Option<PathBuf>,
    /// Count apart what came before each line on COM1 that begins with one of these words (several with commas).
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    stats_at: Vec<String>,
    /// Print the text screen at the end.
    #[arg(long)]
    dump_screen: bool,
    /// Carry out the commands in this file (docs/scripts.md), then end with exit code 0.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Take the same commands from 'ring86 control', at a Unix socket with this name or path.
    #[arg(long, value_name = "NAME")]
    control: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ApicKind {
    /// As the processor model has it.
    Auto,
    /// The 8259A alone.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TripleFault {
    /// End the run with a report.
    Stop,
    /// Reset the machine, as a PC's board does.
    Reset,
}

#[derive(Debug, Args)]
struct Run {
    /// A kernel, a boot sector, or a floppy or disk image; what it is shows from its contents.
    image: Option<PathBuf>,
    /// A Linux, multiboot or ELF32 kernel to start without a boot disk.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk (for multiboot: the module).
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Kernel command line.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    append: String,
    /// Where a Linux kernel is entered: at its 16-bit set-up code, or at the 32-bit kernel proper.
    #[arg(long, value_enum, default_value = "16")]
    entry: Entry,
    #[command(flatten)]
    drives: DriveArgs,
    #[command(flatten)]
    firmware: FirmwareArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Demo {
    #[command(flatten)]
    common: Common,
}

fn parse_port(text: &str) -> std::result::Result<u16, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a port is a number from 0 to 65535 or 0x0 to 0xffff".to_owned())
}

/// Seconds, with a fraction if wanted, as nanoseconds.
fn parse_seconds(text: &str) -> std::result::Result<u64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => Ok((seconds * 1e9) as u64),
        _ => Err("a time is a number of seconds above 0".to_owned()),
    }
}

impl Common {
    fn engine(&self) -> Result<config::Engine> {
        use ring86_translator::engine;
        let code = self.trace.iter().any(|w| w.is_code());
        if code != self.trace_range.is_some() {
            return Err(Error::new(
                "--trace blocks, ir, clif, asm and exits need --trace-range FROM-TO, and it needs one of them",
            ));
        }
        if code && matches!(self.engine, Engine::Interpreter | Engine::Kvm) {
            return Err(Error::new("--trace of compiled code: this engine compiles nothing; use --engine translator"));
        }
        if self.engine == Engine::Interpreter {
            return Ok(config::Engine::Interpreter);
        }
        if self.engine == Engine::Kvm {
            if self.clock != ClockKind::Host {
                return Err(Error::new("--engine kvm: nobody counts its instructions, so it needs --clock host"));
            }
            if self.trace.iter().any(|w| *w != What::Io) {
                return Err(Error::new("--engine kvm: of the traces only io works with it"));
            }
            return Ok(config::Engine::Kvm);
        }
        let mut c = engine::Config::default();
        if self.engine == Engine::Lockstep {
            c.threshold = crate::lockstep::THRESHOLD;
        }
        match self.mmu {
            MmuKind::Auto => {}
            MmuKind::Table => c.mmu = engine::Mmu::Table,
            MmuKind::Window => c.mmu = engine::Mmu::Window,
        }
        c.code_cache = config::parse_code_cache(&self.code_cache)?;
        if let Some(n) = self.hot {
            c.threshold = n.max(1);
        }
        c.optimise = !self.quick_code;
        c.perf_map = self.perf_map;
        if let Some((from, to)) = self.trace_range {
            let wants = |w| self.trace.contains(&w);
            let (blocks, exits) = (wants(What::Blocks), wants(What::Exits));
            let (ir, clif, asm) = (wants(What::Ir), wants(What::Clif), wants(What::Asm));
            c.show = engine::Show { from, to, ir, clif, asm, blocks, exits };
        }
        Ok(config::Engine::Translator(c))
    }

    /// Whether lockstep can do what is asked for.
    fn check_lockstep(&self) -> Result<()> {
        let refused = |what: &str, why: &str| Err(Error::new(format!("--engine lockstep: {what} {why}")));
        if self.clock != ClockKind::Virtual {
            return Err(Error::new("--engine lockstep needs --clock virtual: two runs are only the same with it"));
        }
        if self.display != display::Target::None {
            return refused("--display", "has no place for two machines; use --dump-screen");
        }
        if self.script.is_some() {
            return refused("--script", "would drive one machine of two; give the guest its input on COM1");
        }
        if self.control.is_some() {
            return refused("--control", "would drive one machine of two; give the guest its input on COM1");
        }
        if self.parallel != printer::Target::None {
            return refused("--parallel", "would be printed by two machines");
        }
        if self.sound != sound::Target::None {
            return refused("--sound", "would be played by two machines");
        }
        if self.net.as_ref().is_some_and(|net| *net != Net::None) || !self.forward.is_empty() {
            return refused("a network", "is not the same twice; leave out --net and --forward");
        }
        if self.trace.iter().any(|what| *what != What::Io) {
            return refused("--trace exec and int", "run instructions one at a time; use --trace io");
        }
        if !self.lockstep_from.is_sorted_by_key(|f| f.from) {
            return refused("--lockstep-from", "comes in the order of the report, smaller numbers first");
        }
        Ok(())
    }

    /// Runs two machines of `config` with `drives`.
    fn lockstep(&self, config: MachineConfig, drives: DriveArgs, options: &Options) -> Result<u8> {
        let config::Engine::Translator(engine) = config.engine else {
            return Err(Error::new("--engine lockstep: this host has no compiled code to compare"));
        };
        let make = move || {
            let mut config = config.clone();
            drives.insert(&mut config)?;
            Ok(config)
        };
        session::lockstep(Rc::new(make), engine, &self.lockstep_from, options)
    }

    fn config(&self) -> Result<MachineConfig> {
        if self.engine != Engine::Lockstep && !self.lockstep_from.is_empty() {
            return Err(Error::new("--lockstep-from is for --engine lockstep"));
        }
        if self.engine == Engine::Lockstep {
            self.check_lockstep()?;
        }
        let mut config = MachineConfig::new();
        config.engine = self.engine()?;
        config.ram = config::parse_ram(&self.memory)?;
        if self.cpu < Model::I386 {
            return Err(Error::new(format!(
                "--cpu {}: the firmware needs a 386 or later; the older models serve 'ring86 conform vectors'",
                self.cpu
            )));
        }
        config.model = self.cpu;
        config.clock = self.clock;
        if self.clock == ClockKind::Host {
            config.date = config::host_date();
        }
        config.network = match &self.net {
            None if self.engine == Engine::Lockstep => None,
            None => Some(UserNet { forwards: self.forward.clone(), ..UserNet::default() }),
            Some(Net::User(net)) => Some(UserNet { forwards: self.forward.clone(), ..(**net).clone() }),
            Some(Net::None) if self.forward.is_empty() => None,
            Some(Net::None) => return Err(Error::new("--forward needs a network; leave out --net none")),
        };
        config.apic = self.apic == ApicKind::Auto;
        config.debug_exit = self.debug_exit;
        config.reboot = !self.no_reboot;
        config.reset_on_triple_fault = self.triple_fault == TripleFault::Reset;
        Ok(config)
    }

    fn options(&self, access: Access) -> Options {
        let serial = match (&self.serial, &self.display) {
            (Some(target), _) => target.clone(),
            (None, display::Target::Terminal) => serial::Target::None,
            (None, _) => serial::Target::Stdio,
        };
        Options {
            serial,
            display: self.display.clone(),
            parallel: self.parallel.clone(),
            sound: sound::Options { target: self.sound.clone(), speaker_volume: self.speaker_volume },
            max_time: self.max_time,
            trace: self.trace.clone(),
            trace_file: self.trace_file.clone(),
            stats: self.stats,
            stats_json: self.stats_json.clone(),
            stats_at: self.stats_at.clone(),
            dump_screen: self.dump_screen,
            firmware_log: None,
            automation: automation::Options { script: self.script.clone(), control: self.control.clone(), access },
            notes: Vec::new(),
        }
    }
}

impl Run {
    fn options(&self, access: Access) -> Options {
        let firmware_log = self.firmware.log().map(ToOwned::to_owned);
        Options { firmware_log, ..self.common.options(access) }
    }

    fn run(&self) -> Result<u8> {
        let mut config = self.common.config()?;
        self.firmware.insert(&mut config)?;
        let initrd = match &self.initrd {
            Some(path) => Some((path.display().to_string(), session::read_file(path).map_err(|e| e.of("--initrd"))?)),
            None => None,
        };
        let mut initrd = initrd;
        let mut notes = Vec::new();
        let mut append = self.append.as_str();
        if let Some(path) = &self.kernel {
            let name = path.display().to_string();
            let bytes = session::read_file(path).map_err(|e| e.of("--kernel"))?;
            let bytes = crate::boot::image::unpacked(&name, bytes)?;
            let payload = crate::boot::image::kernel(&name, &bytes, append, initrd.take(), self.entry)?;
            notes.push(format!("'{name}' is {}", payload.describe()));
            config.payload = Some(payload);
            append = "";
        }
        let mut drives = self.drives.clone();
        match &self.image {
            Some(path) => notes.extend(drives.insert_bare(&mut config, path, append, initrd, self.entry)?),
            None if self.kernel.is_none() && drives.is_empty() && !self.firmware.has_rom() => {
                return Err(Error::new(
                    "nothing to run: give an image, --floppy, --hd, --cd or --kernel, or try 'ring86 demo'",
                ));
            }
            None if initrd.is_some() || !append.is_empty() => {
                return Err(Error::new("--initrd and --append are for a kernel: give one with --kernel"));
            }
            None => {}
        }
        if self.common.engine == Engine::Lockstep {
            let drives = drives.ephemeral();
            // The two machines open them for themselves.
            notes.extend(drives.insert(&mut config.clone())?);
            return self.common.lockstep(config, drives, &Options { notes, ..self.options(Access::default()) });
        }
        notes.extend(drives.insert(&mut config)?);
        session::run(config, &Options { notes, ..self.options(drives.access()) })
    }
}

impl Demo {
    fn run(&self) -> Result<u8> {
        let config = crate::demo::config(self.common.config()?)?;
        if self.common.engine == Engine::Lockstep {
            return self.common.lockstep(config, DriveArgs::default(), &self.common.options(Access::default()));
        }
        session::run(config, &self.common.options(Access::default()))
    }
}

/// Parses the arguments, does what they say, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init();
    let result = match &cli.command {
        Command::Run(run) => run.run(),
        Command::Demo(demo) => demo.run(),
        Command::Compare(args) => args.run(),
        Command::Control(args) => client::control(args),
        Command::Screenshot(args) => client::screenshot(args),
        Command::Conform(args) => Ok(crate::conform::command::main(args)),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        say(format_args!("{error}"));
        code::HOST
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ports_and_times() {
        assert_eq!(parse_port("0xf4"), Ok(0xf4));
        assert_eq!(parse_port("244"), Ok(244));
        assert!(parse_port("65536").is_err() && parse_port("f4").is_err());
        assert_eq!(parse_seconds("1.5"), Ok(1_500_000_000));
        for bad in ["0", "-1", "nan", "inf", "x", ""] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
