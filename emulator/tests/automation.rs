//! Scripts and the control socket: text in every kind of mode, keys, mouse, pictures, exit codes, and two runs alike.

#[path = "support/sector.rs"]
mod boot_sector;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/mouse.rs"]
mod mouse;
#[path = "support/patience.rs"]
mod patience;

use folder::{Ended, Folder, ring86};
use iced_x86::code_asm::*;
use patience::PATIENCE;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs the demo guest with a script on the virtual clock.
fn demo(folder: &Folder, script: &str, args: &[&str]) -> Ended {
    let script = folder.file("script", script);
    let mut all = vec!["demo", "--clock", "virtual", "--serial", "none", "--script", &script];
    all.extend(args);
    ring86(&folder.0, &all)
}

/// Runs a boot sector with a script.
fn sector(folder: &Folder, code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>, script: &str) -> Ended {
    let (image, script) = (folder.file("boot.img", boot_sector::boot(code)), folder.file("script", script));
    ring86(&folder.0, &["run", &image, "--clock", "virtual", "--serial", "none", "--script", &script])
}

#[test]
fn two_runs_are_alike() {
    let folder = Folder::new("alike");
    let script = "wait-screen 'ring86> '\ntype 'echo Typed at an exact time: \"#$%\\n'\nwait-screen 'Typed at'\n\
                  mouse 20 -10 left\ntype 'clock\\n'\nsleep 0.25\nkey a b c backspace\nsleep 0.1\nscreenshot shot.png\nscreen\n";
    let run = || {
        let ended = demo(&folder, script, &["--stats"]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let instructions = ended.err.lines().find(|line| line.starts_with("guest instructions")).map(str::to_owned);
        (instructions.expect("--stats counts"), ended.out, folder.read("shot.png"))
    };
    let first = run();
    assert!(first.1.contains("\nTyped at an exact time: \"#$%\n") && first.1.contains("ring86> ab"), "{}", first.1);
    assert_eq!(first.2[..8], *b"\x89PNG\r\n\x1a\n");
    assert!(first == run());
}

#[test]
fn the_exit_code_says_how_it_went() {
    let folder = Folder::new("codes");
    let ready = "wait-screen 'ring86> '\n";
    let ended = demo(&folder, &format!("{ready}type 'poweroff\\n'\nexpect-exit 0\n"), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ended = demo(&folder, &format!("{ready}type 'poweroff\\n'\nexpect-exit 5\n"), &[]);
    assert_eq!(ended.code, Some(118), "{}", ended.err);
    assert!(ended.err.contains("line 3: the machine ended with exit code 0 during 'expect-exit 5'"), "{}", ended.err);
    let ended = demo(&folder, &format!("{ready}type 'crash\\n'\nwait-screen never\n"), &[]);
    assert_eq!(ended.code, Some(126), "{}", ended.err);
    let ended = demo(&folder, &format!("{ready}type 'crash\\n'\nexpect-exit 126\n"), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let ended = demo(&folder, &format!("{ready}timeout 0.5\nwait-screen never\n"), &[]);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(ended.err.contains("line 3: no 'never' on the screen after 0.5 s; the screen shows:"), "{}", ended.err);
    assert!(ended.err.contains("\nring86>\n"), "{}", ended.err);
    let ended = demo(&folder, &format!("{ready}timeout 0.5\nexpect-exit 0\n"), &[]);
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    let ended = demo(&folder, "pause\nsleep 1\n", &[]);
    assert_eq!(ended.code, Some(120), "{}", ended.err);
    assert!(ended.err.contains("write 'resume' first"), "{}", ended.err);
    for (line, says) in [
        ("eject cd", "no CD drive"),
        ("eject b", "no drive B"),
        ("insert a missing.img", "there is no such file"),
        ("screenshot no/such/folder/x.png", "cannot write"),
    ] {
        let ended = demo(&folder, line, &[]);
        assert_eq!(ended.code, Some(120), "{}", ended.err);
        assert!(ended.err.contains(says) && ended.err.contains("line 1: "), "{}", ended.err);
    }
}

#[test]
fn serial_output_is_waited_for_in_order() {
    let folder = Folder::new("serial");
    let script = "wait-serial 'ring86> '\ntype 'echo one\\n'\nwait-serial one\nwait-serial 'ring86> '\n\
                  type 'echo two\\n'\nwait-serial two\ntimeout 0.5\nwait-serial one\n";
    let ended = demo(&folder, script, &[]);
    // The echo of what was typed counts too, so "one" came twice before "two", but not after it.
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(ended.err.contains("line 8: no 'one' on COM1"), "{}", ended.err);
}

#[test]
fn text_is_read_in_graphics_modes() {
    let folder = Folder::new("graphics");
    for mode in [0x03, 0x04, 0x06, 0x0d, 0x0e, 0x10, 0x12, 0x13] {
        let text = format!("Mode {mode:02X}h");
        let code = |a: &mut CodeAssembler| {
            a.mov(ax, mode)?;
            a.int(0x10)?;
            a.mov(bx, 0x000f)?;
            for c in format!(" {text}\r\n {text}!").bytes() {
                a.mov(ax, 0x0e00 | u32::from(c))?;
                a.int(0x10)?;
            }
            let mut stay = a.create_label();
            a.set_label(&mut stay)?;
            a.hlt()?;
            a.jmp(stay)
        };
        let ended = sector(&folder, code, &format!("timeout 5\nwait-screen '{text}!'\nscreen\n"));
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.contains(&format!("\n {text}!\n")), "{}", ended.out);
    }
}

#[test]
fn the_mouse_moves_and_clicks() {
    let folder = Folder::new("mouse");
    let script =
        "timeout 5\nwait-screen '>'\nmouse 3 -2 left\nwait-screen '932'\nmouse 4 -5\nwait-screen '845'\nscreen\n";
    let ended = sector(&folder, mouse::prints_what_it_does, script);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

/// A machine in another process, stopped at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_machine_is_controlled_through_its_socket() {
    let folder = Folder::new("control");
    let socket = folder.0.join("own/socket").display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(["demo", "--serial", "none", "--control", &socket])
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut running = Running(child);
    let since = Instant::now();
    // Its name is there a moment before it listens.
    while UnixStream::connect(&socket).is_err() {
        assert!(since.elapsed() < PATIENCE, "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mode = |path: &str| std::fs::metadata(folder.0.join(path)).expect("it exists").permissions().mode() & 0o777;
    // The socket's own mode follows its name's appearance by a moment.
    let control = |words: &[&str]| ring86(&folder.0, &[&["control", &socket], words].concat());
    let ok = |words: &[&str]| {
        let ended = control(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.err);
        ended.out
    };
    ok(&["timeout", "120"]);
    assert_eq!((mode("own"), mode("own/socket")), (0o700, 0o600));
    ok(&["wait-screen", "ring86> "]);
    ok(&["type", "echo It's \"quoted\" here\\n"]);
    ok(&["wait-serial", "It's \"quoted\" here"]);
    assert!(ok(&["screen"]).contains("\nIt's \"quoted\" here\n"));
    let ended = ring86(&folder.0, &["screenshot", &socket, "shot.png"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(folder.read("shot.png")[..4], *b"\x89PNG");
    ok(&["pause"]);
    let before = ok(&["screen"]);
    let ended = control(&["type", "x"]);
    assert_eq!(ended.code, Some(120), "{}", ended.err);
    assert!(ended.err.contains("the machine is paused"), "{}", ended.err);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ok(&["screen"]), before);
    ok(&["resume"]);
    let ended = control(&["kye", "a"]);
    assert!(ended.err.contains("did you mean 'key'?"), "{}", ended.err);
    let second = ring86(&folder.0, &["demo", "--serial", "none", "--control", &socket]);
    assert_eq!(second.code, Some(120), "{}", second.err);
    assert!(second.err.contains("another machine listens there"), "{}", second.err);
    // Answers come at once, even while another client waits for something.
    let waiting = Command::new(env!("CARGO_BIN_EXE_ring86"))
        .args(["control", &socket, "expect-exit", "0"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // However long it takes to start.
    let open_files = format!("/proc/{}/fd", waiting.id());
    let has_socket = || {
        std::fs::read_dir(&open_files)
            .expect("it runs")
            .flatten()
            .any(|file| file.path().read_link().is_ok_and(|target| target.to_string_lossy().starts_with("socket:")))
    };
    let since = Instant::now();
    while cfg!(target_os = "linux") && !has_socket() {
        assert!(since.elapsed() < PATIENCE, "no client");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    ok(&["reset"]);
    ok(&["sleep", "0.1"]);
    ok(&["wait-screen", "ring86> "]);
    ok(&["quit"]);
    assert_eq!(running.0.wait().expect("it ends").code(), Some(0));
    let waiting = waiting.wait_with_output().expect("it ends");
    assert_eq!(waiting.status.code(), Some(0), "{waiting:?}");
    assert!(!std::path::Path::new(&socket).exists());
    let ended = control(&["screen"]);
    assert!(ended.err.contains("no machine listens"), "{}", ended.err);
}

#[test]
fn a_socket_in_a_folder_open_to_others_is_refused() {
    let folder = Folder::new("open");
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let socket = folder.0.join("socket").display().to_string();
    let ended = ring86(&folder.0, &["demo", "--serial", "none", "--control", &socket]);
    assert_eq!(ended.code, Some(120), "{}", ended.err);
    assert!(ended.err.contains("others can enter the folder"), "{}", ended.err);
}
