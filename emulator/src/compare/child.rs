//! One run of one guest as a process of its own, so that memory and caches are as cold for each.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Lines that are kept of what a process prints; a guest may print for hours.
const LINES_MAX: usize = 20_000;
/// Bytes that are kept of a line.
const LINE_MAX: usize = 4096;

/// What came of a process.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// From start to end.
    pub took: Duration,
    /// Lines of standard output with the time since the start at which each was complete.
    pub lines: Vec<(Duration, String)>,
    /// The last line of standard error.
    pub last_words: String,
}

/// Runs `command`, without input, for at most `limit`.
///
/// # Errors
/// One sentence if it cannot be started or takes too long.
pub fn run(mut command: Command, limit: Duration) -> Result<Finished, String> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|e| format!("'{program}' cannot be started: {e}"))?;
    let (to, lines_from) = channel();
    let (errors_to, errors_from) = channel();
    // The threads end with the pipes, which a process that the program left behind may keep open: nobody waits for them.
    if let Some(pipe) = child.stdout.take() {
        std::thread::spawn(move || read_lines(pipe, start, &to));
    }
    if let Some(pipe) = child.stderr.take() {
        std::thread::spawn(move || read_lines(pipe, start, &errors_to));
    }
    let result = follow(&mut child, start, limit, &lines_from);
    if result.is_err() {
        // It may have ended by itself meanwhile.
        drop(child.kill());
    }
    let status = child.wait().map_err(|e| format!("'{program}' got lost: {e}"))?;
    let took = start.elapsed();
    let lines = result?;
    let mut last_words = String::new();
    while let Ok((_, line)) = errors_from.recv_timeout(Duration::from_millis(500)) {
        if !line.trim().is_empty() {
            last_words = line;
        }
    }
    Ok(Finished { code: status.code(), took, lines, last_words })
}

/// Collects lines until the output is closed.
fn follow(
    child: &mut Child,
    start: Instant,
    limit: Duration,
    from: &Receiver<(Duration, String)>,
) -> Result<Vec<(Duration, String)>, String> {
    let mut lines = Vec::new();
    let too_long = || format!("it did not finish within {} seconds (see --limit)", limit.as_secs());
    loop {
        let left = limit.checked_sub(start.elapsed()).ok_or_else(too_long)?;
        match from.recv_timeout(left) {
            Ok(line) if lines.len() < LINES_MAX => lines.push(line),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Err(too_long()),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // The output may be closed some time before the end.
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() > limit {
            return Err(too_long());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(lines)
}

fn read_lines(mut pipe: impl Read, start: Instant, to: &Sender<(Duration, String)>) {
    let mut buffer = [0; 4096];
    let mut line: Vec<u8> = Vec::new();
    while let Ok(n) = pipe.read(&mut buffer) {
        if n == 0 {
            break;
        }
        let now = start.elapsed();
        for &byte in &buffer[..n] {
            match byte {
                b'\n' => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    line.clear();
                    if to.send((now, text)).is_err() {
                        return;
                    }
                }
                b'\r' => {}
                _ if line.len() < LINE_MAX => line.push(byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        // Nobody listens any more if this fails.
        drop(to.send((start.elapsed(), String::from_utf8_lossy(&line).into_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_codes_and_last_words() {
        let done = run(shell("echo one; printf 'two\\r\\nthree'; echo no >&2; exit 7"), Duration::from_secs(60));
        let done = done.expect("a shell runs");
        let lines: Vec<&str> = done.lines.iter().map(|(_, l)| l.as_str()).collect();
        assert_eq!((lines, done.code, done.last_words.as_str()), (vec!["one", "two", "three"], Some(7), "no"));
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let error = run(shell("exec sleep 100"), Duration::from_millis(100)).expect_err("it takes too long");
        assert!(error.contains("did not finish"), "{error}");
        let start = Instant::now();
        run(shell("exec sleep 100 >/dev/null"), Duration::from_millis(100)).expect_err("it takes too long");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_is_not_there() {
        match run(Command::new("/no/such/program"), Duration::from_secs(60)) {
            Err(error) => assert!(error.contains("cannot be started"), "{error}"),
            // QEMU's user-mode emulation, in which tools/cross runs this, loses what a new process fails with.
            Ok(done) => assert!(done.code == Some(127) && cfg!(not(target_arch = "x86_64")), "{done:?}"),
        }
    }
}
