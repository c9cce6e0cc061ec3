//! Other people's assemblers, as processes of their own: GNU as for AT&T syntax, NASM for Intel's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn call(program: &str, package: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = output.map_err(|_| {
        format!("{program} is not installed, which this suite needs (on Debian: apt-get install {package})")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = errors.lines().find(|line| line.contains("rror")).unwrap_or(&errors).trim().to_owned();
    Err(format!("{program}: {first}"))
}

fn in_folder(text: &str, work: impl FnOnce(&str, &str, &str) -> Result<(), String>) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let name = |file: &str| folder.path().join(file).display().to_string();
    let (source, object, binary) = (name("source.s"), name("object.o"), name("binary"));
    let written = std::fs::File::create(&source).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{source}: {error}"))?;
    work(&source, &object, &binary)?;
    std::fs::read(Path::new(&binary)).map_err(|error| format!("{binary}: {error}"))
}

/// Assembles Intel syntax to a flat binary.
pub fn nasm(text: &str) -> Result<Vec<u8>, String> {
    in_folder(text, |source, _, binary| call("nasm", "nasm", &["-f", "bin", "-o", binary, source]))
}

/// Bytes that each line of [`gnu_lines`] may need.
pub const SLOT: usize = 32;
/// HLT, which fills a slot.
const HLT: u8 = 0xF4;

/// Assembles each line of AT&T syntax by itself: its bytes, followed by HLTs to [`SLOT`] bytes, or what the assembler
/// has against it.
pub fn gnu_lines(lines: &[String]) -> Result<Vec<Result<Vec<u8>, String>>, String> {
    let mut wrong: Vec<Option<String>> = vec![None; lines.len()];
    // The assembler names all the lines that it does not take at once; a second time it takes the rest.
    for _ in 0..2 {
        let text: String = lines
            .iter()
            .zip(&wrong)
            .map(|(line, wrong)| {
                let line = if wrong.is_some() { "hlt" } else { line };
                format!("{line}\n.balign {SLOT}, {HLT:#x}\n")
            })
            .collect();
        let mut complaints = Vec::new();
        let binary = in_folder(&text, |source, object, binary| {
            let output = Command::new("as").args(["--32", "-o", object, source]).output();
            let output = output.map_err(|_| {
                "as is not installed, which this suite needs (on Debian: apt-get install binutils)".to_owned()
            })?;
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                let mut parts = line.strip_prefix(source).unwrap_or_default().splitn(3, ':');
                let number = parts.nth(1).and_then(|number| number.parse::<usize>().ok());
                if let (Some(number), Some(message)) = (number, parts.next())
                    && message.contains("Error")
                {
                    complaints.push(((number - 1) / 2, message.trim().to_owned()));
                }
            }
            if !complaints.is_empty() {
                std::fs::write(binary, []).map_err(|error| format!("{binary}: {error}"))?;
                return Ok(());
            }
            call("objcopy", "binutils", &["-O", "binary", "-j", ".text", object, binary])
        })?;
        if complaints.is_empty() {
            let slots = binary.chunks(SLOT).map(<[u8]>::to_vec);
            let slots: Vec<_> = slots.zip(wrong).map(|(slot, wrong)| wrong.map_or(Ok(slot), Err)).collect();
            if slots.len() != lines.len() {
                return Err("as: an instruction is longer than its slot".to_owned());
            }
            return Ok(slots);
        }
        for (index, message) in complaints {
            if let Some(wrong) = wrong.get_mut(index) {
                *wrong = Some(message);
            }
        }
    }
    Err("as: it has something against lines that it took before".to_owned())
}
