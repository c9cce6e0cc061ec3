//! A program on this host: what it prints and how it ends.

use super::description::Program;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// As a shell sees it: 128 and the signal's number for a program that a signal ended.
    pub status: i32,
    /// What it wrote to its standard output.
    pub output: Vec<u8>,
}

/// Runs `program` of `folder` in an empty folder of its own.
///
/// # Errors
/// One sentence if this host does not start it, or if it takes too long.
pub fn run(folder: &Path, program: &Program) -> Result<Done, String> {
    let name = &program.name;
    let refused = |error: std::io::Error| format!("{name}: this host does not run it ({error})");
    let path = folder.join(name).canonicalize().map_err(refused)?;
    let place = tempfile::tempdir().map_err(refused)?;
    let output = place.path().join("output");
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).map_err(refused)?;
    let mut child = Command::new(path)
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().filter_map(|variable| variable.split_once('=')))
        .current_dir(&empty)
        .stdin(Stdio::null())
        .stdout(File::create(&output).map_err(refused)?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(refused)?;
    let end = Instant::now() + Duration::from_secs(program.seconds);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(refused)? {
            break status;
        }
        if Instant::now() > end {
            // It may have ended meanwhile.
            drop(child.kill());
            drop(child.wait());
            return Err(format!("{name}: on this host it does not end within {} seconds", program.seconds));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Done { status, output: std::fs::read(&output).map_err(refused)? })
}
