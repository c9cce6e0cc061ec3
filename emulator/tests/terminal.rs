//! `--display terminal` on a pseudo-terminal: what is drawn in terminals of several sizes, keys, graphics modes, and the
//! terminal as it was before.

#![cfg(target_os = "linux")]

#[path = "support/patience.rs"]
mod patience;
#[path = "support/sector.rs"]
mod sector;
#[path = "support/vt.rs"]
mod vt;

use iced_x86::code_asm::*;
use nix::pty::{Winsize, openpty};
use patience::PATIENCE;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use vt::Terminal;

/// ring86 on a terminal of its own.
struct Session {
    child: Child,
    /// The terminal's side of the program.
    slave: File,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    terminal: Terminal,
    /// The terminal's settings before the program was started, as `stty -g` prints them.
    before: String,
}

impl Session {
    /// Starts `ring86` with these arguments on a terminal of this size. `None` without the program that makes a terminal
    /// the one that a process belongs to, without which nobody tells it of a new size.
    fn new(columns: u16, rows: u16, args: &[&str]) -> Option<Self> {
        if Command::new("setsid").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: setsid is missing (it is in util-linux)");
            return None;
        }
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a pseudo-terminal");
        let (slave, mut master) = (File::from(pair.slave), File::from(pair.master));
        let keyboard = master.try_clone().expect("another handle");
        // Before the program starts: it may have changed them at the next look.
        let before = stty(&slave, &["-g"]);
        let end = || Stdio::from(slave.try_clone().expect("another handle"));
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_ring86")])
            .args(args)
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program starts");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let terminal = Terminal::new(columns.into(), rows.into());
        Some(Session { child, slave, keyboard, output, terminal, before })
    }

    /// The terminal's settings, as `stty -g` prints them.
    fn settings(&self) -> String {
        stty(&self.slave, &["-g"])
    }

    /// Changes the number of `what`, "cols" or "rows": one alone, since stty would change them one after the other.
    fn resize(&mut self, what: &str, number: usize) {
        // Whatever was on its way belongs to the old size.
        self.settle();
        let (columns, rows) = self.terminal.size;
        self.terminal = if what == "cols" { Terminal::new(number, rows) } else { Terminal::new(columns, number) };
        self.terminal.alternate = true;
        stty(&self.slave, &[what, &number.to_string()]);
    }

    /// Takes output until nothing comes for a moment.
    fn settle(&mut self) {
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.terminal.write(&bytes);
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Takes output until the terminal shows what is wanted.
    #[track_caller]
    fn wait(&mut self, what: &str, shows: impl Fn(&Terminal) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !shows(&self.terminal) {
            match self.output.recv_timeout(Duration::from_millis(50)) {
                Ok(bytes) => self.terminal.write(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the terminal is gone before {what}"),
            }
            assert!(Instant::now() < end, "no {what}: {:#?}", self.terminal);
        }
    }
}

/// Runs stty on a terminal and returns what it prints.
fn stty(terminal: &File, words: &[&str]) -> String {
    let terminal = terminal.try_clone().expect("another handle");
    let output = Command::new("stty").args(words).stdin(terminal).output().expect("stty runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes a letter to both ends of every row, and then does what keys say: h and e put the cursor into the first and the
/// last place, the latter with a command that the keyboard controller does not have; g takes the graphics mode 12h, t the
/// text mode and writes the letters anew.
fn program(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut draw, mut row, mut wait) = (a.create_label(), a.create_label(), a.create_label());
    let (mut home, mut end, mut place, mut graphics) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut draw)?;
    a.mov(ax, 3)?;
    a.int(0x10)?;
    a.mov(ax, 0xb800)?;
    a.mov(es, ax)?;
    a.xor(di, di)?;
    a.mov(ax, 0x1f00 | u32::from(b'A'))?;
    a.set_label(&mut row)?;
    a.mov(word_ptr(di).es(), ax)?;
    a.add(al, 0x20)?;
    a.mov(word_ptr(di + 158).es(), ax)?;
    a.sub(al, 0x1f)?;
    a.add(di, 160)?;
    a.cmp(di, 25 * 160)?;
    a.jb(row)?;
    a.set_label(&mut wait)?;
    a.xor(ax, ax)?;
    a.int(0x16)?;
    for (key, label) in [(b'h', home), (b'e', end), (b'g', graphics), (b't', draw)] {
        a.cmp(al, i32::from(key))?;
        a.je(label)?;
    }
    a.jmp(wait)?;
    a.set_label(&mut home)?;
    a.xor(dx, dx)?;
    a.jmp(place)?;
    a.set_label(&mut end)?;
    a.mov(al, 0xB0)?;
    a.out(0x64, al)?;
    a.mov(dx, 24 << 8 | 79)?;
    a.set_label(&mut place)?;
    a.mov(ah, 2)?;
    a.xor(bx, bx)?;
    a.int(0x10)?;
    a.jmp(wait)?;
    a.set_label(&mut graphics)?;
    a.mov(ax, 0x12)?;
    a.int(0x10)?;
    a.jmp(wait)
}

/// The rows of the guest's screen from `top` on, as a terminal of this size shows them with `left` columns to its left.
fn part(left: usize, top: usize, columns: usize, rows: usize) -> Vec<String> {
    let row = |y: usize| {
        let letter = |first: u8| char::from(first + y as u8);
        let whole = format!("{}{:78}{}", letter(b'A'), "", letter(b'a'));
        whole.chars().skip(left).take(columns).collect::<String>().trim_end().to_owned()
    };
    let mut all: Vec<_> = (top..25.min(top + rows)).map(row).collect();
    all.resize(rows, String::new());
    all
}

#[test]
fn a_terminal_shows_what_it_has_room_for_and_is_restored() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), sector::boot(program)).expect("it can be written");
    let image = file.path().display().to_string();
    let Some(mut session) = Session::new(60, 15, &["run", &image, "--display", "terminal", "-m", "4M"]) else { return };
    // The upper left part: the other letters are beyond the right edge.
    session.wait("upper left part", |t| t.alternate && t.rows() == part(0, 0, 60, 15) && t.cursor == (0, 0));
    assert_ne!(session.settings(), session.before, "the terminal is not raw");
    session.types("e");
    session.wait("lower right part", |t| t.rows() == part(20, 10, 60, 15) && t.cursor == (59, 14) && t.cursor_shown);
    session.types("h");
    session.wait("upper left part again", |t| t.rows() == part(0, 0, 60, 15) && t.cursor == (0, 0));
    // Wider than the screen, then lower than before.
    session.resize("cols", 100);
    session.wait("whole rows", |t| t.rows() == part(0, 0, 100, 15));
    session.resize("rows", 30);
    session.wait("whole screen", |t| t.rows() == part(0, 0, 100, 30));
    session.types("e");
    session.wait("cursor", |t| t.cursor == (79, 24));
    session.resize("rows", 5);
    session.wait("last rows", |t| t.rows() == part(0, 20, 100, 5) && t.cursor == (79, 4));
    session.types("g");
    let mut notice = vec!["640x480 graphics: see it with --display web or vnc".to_owned()];
    notice.resize(5, String::new());
    session.wait("notice", |t| t.rows() == notice && !t.cursor_shown);
    session.types("t");
    session.wait("text again", |t| t.rows() == part(0, 0, 100, 5) && t.cursor_shown);
    session.types("\x01x");
    // What the log has to say comes when the screen is the user's again.
    session.wait("end", |t| {
        !t.alternate && t.cursor_shown && t.first.contains("ring86: warn: 8042: command B0h is reserved")
    });
    assert_eq!(session.child.wait().expect("it ends").code(), Some(128));
    assert_eq!(session.settings(), session.before);
}
