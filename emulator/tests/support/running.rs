//! A machine in another process, with its displays.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

/// A running machine and what it says on standard error.
pub struct Running {
    /// The process; its standard input and output are pipes to COM1.
    pub child: Child,
    err: BufReader<ChildStderr>,
}

impl Running {
    /// Starts the machine of this command.
    #[must_use]
    pub fn new(command: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ring86"))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let err = BufReader::new(child.stderr.take().expect("it was asked for"));
        Running { child, err }
    }

    /// The rest of the first line on standard error with `start` in it.
    pub fn says(&mut self, start: &str) -> String {
        let mut line = String::new();
        while self.err.read_line(&mut line).expect("it can be read") > 0 {
            if let Some((_, rest)) = line.split_once(start) {
                return rest.trim_end().to_owned();
            }
            line.clear();
        }
        panic!("it never says '{start}'");
    }

    /// Reads standard output up to `text`.
    pub fn prints(&mut self, text: &str) {
        let out = self.child.stdout.as_mut().expect("it was asked for");
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(text.as_bytes()) {
            assert_eq!(out.read(&mut byte).expect("it can be read"), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
