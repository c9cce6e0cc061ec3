//! A second opinion on cases of single instructions: Unicorn, a CPU without a machine, in a Python process of its own
//! (`unicorn.py`). It runs the same loop over records as the host's processor does.

use super::generate::Encoding;
use super::judge::Judge;
use super::layout::{
    ARENA, ARENA_LEN, CODE, CODE_LEN, CTRL, HARNESS_LEN, INPUT, LOW, OUTPUT, Placement, RECORDS_LEN, STACK_TOP, Shape,
    TOTAL_LEN, field, put32, seg,
};
use super::masks::Mask;
use super::native::{Lost, Maker};
use super::tables;
use super::thunk::{self, ctrl};
use super::unicorn_differs;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PROGRAM: &str = include_str!("unicorn.py");
/// Isolated (`-I`), so that a file of the same name in the current folder is not taken for the module.
const PYTHON: &str = "python3";
/// Bytes of the control page that the loop uses.
const CONTROL_LEN: usize = 0x100;
/// In the control page: where a fault's x87 state is stored, for the program alone.
const STORE_FX: u32 = 0xB0;

/// The process, and the memory that it shares by copies.
pub struct Unicorn {
    python: PathBuf,
    process: Option<Process>,
    control: [u8; CONTROL_LEN],
    code: Vec<u8>,
    input: Vec<u8>,
    output: Vec<u8>,
    arena: Vec<u8>,
    loaded: Option<(Placement, Shape)>,
    /// The loop is not in the process's memory yet.
    stale: bool,
    shape: Shape,
    entry: (u16, u32),
}

struct Process {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    fn start(python: &Path) -> std::io::Result<Process> {
        let mut child = Command::new(python)
            .args(["-I", "-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let absent = || std::io::Error::other("it has no pipes");
        let to = BufWriter::new(child.stdin.take().ok_or_else(absent)?);
        let from = BufReader::new(child.stdout.take().ok_or_else(absent)?);
        let mut process = Process { child, to, from };
        let mut memory = Vec::new();
        let tables = tables::lay(&mut |offset, bytes| memory.push((LOW + offset, bytes.to_vec())), LOW, true);
        let flat = super::layout::Environment::Flat32.segments();
        let setup = serde_json::json!({
            "low": LOW, "length": TOTAL_LEN, "code": CODE, "harness_length": HARNESS_LEN, "control": CTRL,
            "stack": STACK_TOP, "flat": flat[seg::SS].selector, "gdtr": tables.gdtr, "ldtr": tables.ldtr,
            "tr": tables.tr, "cr3": tables.cr3, "supervisor": tables::SUPERVISOR,
            "supervisor_code": tables::SUPERVISOR_CODE, "supervisor_data": tables::SUPERVISOR_DATA,
            "scratch": ctrl::SCRATCH, "input": ctrl::INPUT, "end": ctrl::END, "code_base": ctrl::CODE_BASE,
            "after_fault": ctrl::AFTER_FAULT, "fx_offset": ctrl::FX_OFFSET, "store_fx": STORE_FX,
            "gpr": field::GPR, "eflags": field::EFLAGS, "eip": field::EIP, "vector": field::VECTOR,
            "error": field::ERROR, "cr2": field::CR2,
        });
        writeln!(process.to, "{setup}")?;
        for (address, bytes) in memory {
            process.write(address, &bytes)?;
        }
        Ok(process)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.to.write_all(b"W")?;
        self.to.write_all(&address.to_le_bytes())?;
        self.to.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.to.write_all(bytes)
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> std::io::Result<()> {
        self.to.write_all(b"R")?;
        self.to.write_all(&address.to_le_bytes())?;
        self.to.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.to.flush()?;
        self.from.read_exact(bytes)
    }

    /// Runs a batch and gives what went wrong, or an empty text.
    fn batch(&mut self, (selector, address): (u16, u32)) -> std::io::Result<String> {
        self.to.write_all(b"G")?;
        self.to.write_all(&selector.to_le_bytes())?;
        self.to.write_all(&address.to_le_bytes())?;
        self.to.flush()?;
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        self.from.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The first Python on the path that has Unicorn's module: where there are several, not all have.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PYTHON)).find(|python| {
        let mut asked = Command::new(python);
        asked.args(["-I", "-c", "import unicorn"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    })
}

impl Unicorn {
    /// Starts the process.
    ///
    /// # Errors
    /// One sentence if Python or Unicorn is not there.
    pub fn new() -> Result<Unicorn, String> {
        let python = python().ok_or(
            "conform against unicorn: python3 with Unicorn's module is not installed (on Debian: apt-get install python3-unicorn)",
        )?;
        let process = Process::start(&python)
            .map_err(|error| format!("conform against unicorn: {PYTHON} cannot be started: {error}"))?;
        Ok(Unicorn {
            python,
            process: Some(process),
            control: [0; CONTROL_LEN],
            code: vec![0xCC; CODE_LEN as usize],
            input: vec![0; RECORDS_LEN as usize],
            output: vec![0; RECORDS_LEN as usize],
            arena: vec![0; ARENA_LEN as usize],
            loaded: None,
            stale: true,
            shape: Shape::default(),
            entry: (0, 0),
        })
    }

    fn set(&mut self, offset: u32, value: u32) {
        put32(&mut self.control, offset as usize, value);
    }

    fn lay_code(&mut self, pieces: Vec<(u32, Vec<u8>)>) {
        for (offset, bytes) in pieces {
            self.code[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn exchange(&mut self, len: usize) -> std::io::Result<String> {
        if self.process.is_none() {
            self.process = Some(Process::start(&self.python)?);
            self.stale = true;
        }
        let Some(process) = &mut self.process else { return Ok(String::new()) };
        process.write(CTRL, &self.control)?;
        let tested = HARNESS_LEN as usize;
        let from = if self.stale { 0 } else { tested };
        // Only the pages just behind the harness are ever used.
        process.write(CODE + from as u32, &self.code[from..tested + 0x3000])?;
        self.stale = false;
        process.write(INPUT, &self.input[..len])?;
        process.write(ARENA, &self.arena)?;
        let why = process.batch(self.entry)?;
        process.read(OUTPUT, &mut self.output[..len])?;
        process.read(ARENA, &mut self.arena)?;
        process.read(CTRL, &mut self.control)?;
        Ok(why)
    }
}

impl Judge for Unicorn {
    fn load(&mut self, placement: Placement, shape: Shape, instruction: &[u8]) {
        if self.loaded != Some((placement, shape)) {
            let thunk = thunk::build(placement, shape);
            let environment = placement.environment;
            self.entry = (environment.segments()[seg::CS].selector, thunk.start);
            self.set(ctrl::AFTER_FAULT, thunk.after_fault);
            self.set(STORE_FX, thunk.store_fx);
            self.set(ctrl::FX_OFFSET, if shape.fx { shape.fx_offset() as u32 } else { 0 });
            self.set(ctrl::CODE_BASE, environment.code_base());
            self.set(ctrl::STACK, STACK_TOP);
            self.set(ctrl::STACK + 4, 0x2B);
            self.lay_code(thunk.code);
            self.loaded = Some((placement, shape));
            self.shape = shape;
            self.stale = true;
        }
        self.code[HARNESS_LEN as usize..].fill(0xCC);
        self.lay_code(thunk::landings(placement, instruction));
    }

    fn input(&mut self) -> &mut [u8] {
        &mut self.input
    }

    fn input_ref(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.input[range]
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn arena(&mut self) -> &mut [u8] {
        &mut self.arena
    }

    fn run(&mut self, count: usize) -> Result<(), Lost> {
        let stride = self.shape.stride();
        self.set(ctrl::INPUT, INPUT);
        self.set(ctrl::OUTPUT, OUTPUT);
        self.set(ctrl::END, INPUT + (stride * count) as u32);
        let reason = match self.exchange(stride * count) {
            Ok(why) if why.is_empty() => return Ok(()),
            Ok(why) => why,
            Err(error) => format!("unicorn's process was lost: {error}"),
        };
        self.process = None;
        let at = super::layout::get32(&self.control, ctrl::INPUT as usize).wrapping_sub(INPUT) as usize;
        Err(Lost { index: (at / stride).min(count.saturating_sub(1)), reason })
    }

    fn maker(&self) -> Maker {
        // What Ring86 does with undefined flags is AMD's way.
        Maker::Amd
    }

    fn known(
        &self,
        encoding: &Encoding,
        _input: &[u8],
        expected: &[u8],
        got: &[u8],
        _unmasked: bool,
    ) -> Option<&'static str> {
        unicorn_differs::known(encoding, expected, got)
    }

    fn narrow(&self, encoding: &Encoding, mask: &mut Mask) {
        unicorn_differs::narrow(encoding, mask);
    }
}
