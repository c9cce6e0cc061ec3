//! `--display window` on an X server without a screen, with a stranger's tools at its keyboard and mouse; or the
//! sentence that says why there is no window.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/patience.rs"]
mod patience;

use folder::{Folder, ring86};
use iced_x86::code_asm::*;
use patience::PATIENCE;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BUILT: bool = cfg!(all(feature = "window", target_os = "linux"));

/// An X server.
struct Server {
    process: Child,
    display: String,
}

impl Server {
    /// `None`, and a line that says so, if this host has none of the tools; in CI that is a failure.
    fn start() -> Option<Self> {
        for tool in ["Xvfb", "xdotool", "xwd"] {
            let there = Command::new(tool).arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if there.is_err() {
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{tool} is missing");
                eprintln!("skipped: {tool} is missing (apt-get install xvfb xdotool x11-apps)");
                return None;
            }
        }
        let mut process = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x1024x24"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("Xvfb says its number");
        Some(Server { process, display: format!(":{}", line.trim()) })
    }

    /// A command that talks to this server.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("DISPLAY", &self.display).env_remove("WAYLAND_DISPLAY").stdin(Stdio::null());
        command
    }

    /// What a tool prints.
    fn ask(&self, program: &str, args: &[&str]) -> Vec<u8> {
        self.command(program, args).stderr(Stdio::null()).output().expect("the tool runs").stdout
    }

    fn tool(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.ask("xdotool", args)).trim().to_owned()
    }

    /// The colour in the middle of a window.
    fn colour(&self, window: &str) -> [u8; 3] {
        let dump = self.ask("xwd", &["-id", window, "-silent"]);
        // XWD file, version 7: a head of 32-bit big-endian words, the window's name, the colours, the dots.
        let word = |n: usize| dump.get(n * 4..n * 4 + 4).map_or(0, |w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
        let (head, width, height, line, colours) = (word(0), word(4), word(5), word(12), word(19));
        let at = head + colours * 12 + height / 2 * line + width / 2 * 4;
        dump.get(at as usize..at as usize + 3).map_or([0; 3], |dot| [dot[2], dot[1], dot[0]])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is gone already is none the worse.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Asks until the answer is what is waited for.
fn until<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, mut ask: impl FnMut() -> T) {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if answer == *wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {answer:?}, not {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Fills the screen of mode 13h with red, with blue after `b`; `q` writes 10h to the debug exit.
fn sector() -> Vec<u8> {
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    let mut code = || -> Result<(), IcedError> {
        let (mut fill, mut wait, mut quit) = (a.create_label(), a.create_label(), a.create_label());
        a.mov(ax, 0x0013)?;
        a.int(0x10)?;
        a.mov(bl, 4)?;
        a.set_label(&mut fill)?;
        a.mov(ax, 0xa000)?;
        a.mov(es, ax)?;
        a.xor(di, di)?;
        a.mov(cx, 64000)?;
        a.mov(al, bl)?;
        a.rep().stosb()?;
        a.set_label(&mut wait)?;
        a.xor(ah, ah)?;
        a.int(0x16)?;
        a.mov(bl, 1)?;
        a.cmp(al, i32::from(b'b'))?;
        a.je(fill)?;
        a.cmp(al, i32::from(b'q'))?;
        a.je(quit)?;
        a.jmp(wait)?;
        a.set_label(&mut quit)?;
        a.mov(al, 0x10)?;
        a.out(0xf4, al)
    };
    code().expect("the code is right");
    let mut image = a.assemble(0x7c00).expect("the code is right");
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(1440 << 10, 0);
    image
}

/// A machine, and its end if a test fails.
struct Machine(Child);

impl Machine {
    /// Its exit code.
    fn ended(&mut self) -> Option<i32> {
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A machine in a window, and the window's number.
fn start(server: &Server, image: &str) -> (Machine, String) {
    let options = ["run", "--display", "window", "--serial", "none", "--debug-exit", "0xf4", "--net", "none"];
    let options = [&options[..], &["--max-time", "100", image]].concat();
    let machine = Machine(server.command(env!("CARGO_BIN_EXE_ring86"), &options).spawn().expect("the program starts"));
    let begun = Instant::now();
    loop {
        let window = server.tool(&["search", "--name", "^Ring86$"]);
        if !window.is_empty() {
            return (machine, window);
        }
        assert!(begun.elapsed() < PATIENCE, "no window");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_window_shows_the_screen_and_takes_keys_and_mouse() {
    let Some(server) = BUILT.then(Server::start).flatten() else {
        return eprintln!("skipped: this build has no window, or this host no X server");
    };
    let folder = Folder::new("window");
    let image = folder.file("floppy.img", sector());
    let (mut machine, window) = start(&server, &image);
    until("the screen", &[170, 0, 0], || server.colour(&window));
    server.tool(&["windowfocus", &window]);
    server.tool(&["key", "b"]);
    until("the screen after a key", &[0, 0, 170], || server.colour(&window));
    // A click in the window gives it the mouse; the keys of Ctrl-Alt-G take it back and are none of the guest's.
    server.tool(&["mousemove", "--window", &window, "100", "100", "click", "1"]);
    let name = || server.tool(&["getwindowname", &window]);
    until("the title", &"Ring86: Ctrl-Alt-G gives the mouse back".to_owned(), name);
    server.tool(&["key", "ctrl+alt+g"]);
    until("the title", &"Ring86".to_owned(), name);
    server.tool(&["key", "ctrl+alt+p"]);
    until("the title", &"Ring86: stopped, Ctrl-Alt-P goes on".to_owned(), name);
    server.tool(&["key", "ctrl+alt+p"]);
    until("the title", &"Ring86".to_owned(), name);
    // Reset starts from the beginning.
    server.tool(&["key", "ctrl+alt+r"]);
    until("the screen after a reset", &[170, 0, 0], || server.colour(&window));
    server.tool(&["key", "q"]);
    assert_eq!(machine.ended(), Some(0x21));
    assert!(folder.read("floppy.img") == sector(), "the guest left its disk alone");
}

#[test]
fn closing_the_window_ends_the_machine() {
    let Some(server) = BUILT.then(Server::start).flatten() else {
        return eprintln!("skipped: this build has no window, or this host no X server");
    };
    let folder = Folder::new("window-close");
    let (mut machine, window) = start(&server, &folder.file("floppy.img", sector()));
    until("the screen", &[170, 0, 0], || server.colour(&window));
    server.tool(&["windowclose", &window]);
    assert_eq!(machine.ended(), Some(128));
}

#[test]
fn without_a_desktop_there_is_a_sentence() {
    let folder = Folder::new("window-none");
    let image = folder.file("floppy.img", sector());
    let ended = match BUILT {
        false => ring86(&folder.0, &["run", "--display", "window", &image]),
        true => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ring86"));
            command.args(["run", "--display", "window", &image]).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
            let output =
                command.env_remove("WAYLAND_SOCKET").stdin(Stdio::null()).output().expect("the program starts");
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            folder::Ended { code: output.status.code(), out: String::new(), err }
        }
    };
    let says = if BUILT { "no window can be had" } else { "--features window" };
    assert_eq!(ended.code, Some(120), "{}", ended.err);
    assert!(ended.err.contains(says), "{}", ended.err);
}
