//! Debian 12 for i386: installed on a disk that boots through GRUB to a login, fetches a package from a server on this
//! host, and keeps what was written; and the installer's first screen, in text and in the graphical frame buffer.
//!
//! `tools/guests debian` installs the system.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/package.rs"]
mod package;
#[path = "support/pictures.rs"]
mod pictures;

use folder::{Ended, Folder, ring86};
use foreign::seabios;
use guest::guest;
use package::Repository;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes in the package that the guest fetches; they do not compress.
const LENGTH: usize = 4 << 20;

/// A web server on the host's loopback for a repository. Returns its port, and how many times the package was sent.
fn web_server(repository: Repository) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that goes away early is the test's business, which looks at the guest.
            drop(stream.and_then(|stream| serve(&stream, &repository, &count)));
        }
    });
    (port, sent)
}

/// Answers the requests of one connection.
fn serve(mut stream: &TcpStream, repository: &Repository, sent: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let path = request.split_whitespace().nth(1).unwrap_or("");
        let (status, body) = if path.ends_with("/Packages") {
            ("200 OK", repository.packages.as_bytes())
        } else if path.ends_with(".deb") {
            ("200 OK", repository.deb.as_slice())
        } else {
            ("404 Not Found", &b""[..])
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
        sent.fetch_add(usize::from(path.ends_with(".deb")), Ordering::Relaxed);
    }
}

/// Bytes without a pattern (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x2545_f491_4f6c_dd1d_u64;
    let mut step = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word as u8
    };
    (0..length).map(|_| step()).collect()
}

/// Runs a script; it must end well.
#[track_caller]
fn run(folder: &Folder, script: &str, args: &[&str]) -> Ended {
    let script = folder.file("script", script);
    let mut all = vec!["run", "--serial", "none", "--script", &script];
    all.extend(args);
    let ended = ring86(&folder.0, &all);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended
}

#[test]
fn an_installed_system_boots_fetches_a_package_and_keeps_it() {
    let Some(installed) = guest("debian.img") else { return };
    let folder = Folder::new("debian");
    let disk = folder.0.join("disk.img");
    fs::copy(installed, &disk).expect("there is room for the disk");
    let disk = disk.display().to_string();
    let content = noise(LENGTH);
    let sum = package::sha256(&folder.0, &content);
    let (port, sent) = web_server(package::repository(&folder.0, "ring86-data", &content));
    // The host's clock, since the server is one of the host's programs.
    let script = format!(
        "timeout 1500\nwait-screen '*Debian GNU/Linux'\nkey enter\nwait-screen 'ring86 login:'\ntype 'root\\n'\n\
         wait-screen Password:\ntype 'ring86\\n'\nwait-screen 'root@ring86:~#'\n\
         type 'echo deb [trusted=yes] http://10.0.2.2:{port} ./ > /etc/apt/sources.list; clear\\n'\n\
         type 'uname -rm; apt-get update && apt-get install ring86-data && sha256sum /srv/data && echo over\\n'\n\
         wait-screen '{sum}  /srv/data'\nscreen\nscreenshot apt.png\nsleep 1\ntype 'echo zyxwvu > note; poweroff\\n'\nexpect-exit 0\n"
    );
    let ended = run(&folder, &script, &["--net", "user,allow=loopback", &disk]);
    assert!(ended.err.contains("is a hard disk image of 409600 KiB with one partition"), "{}", ended.err);
    pictures::keep(&folder, "apt.png", "debian-apt");
    assert_eq!(sent.load(Ordering::Relaxed), 1, "{}", ended.out);

    // What it wrote is there at the next start, which GRUB's third choice and SeaBIOS make.
    let Some(firmware) = seabios() else { return };
    let script = format!(
        "timeout 300\nwait-screen '*Debian GNU/Linux'\nkey down down enter\nwait-screen '# '\n\
         type 'cat /root/note; sha256sum /srv/data\\n'\nwait-screen '{sum}  /srv/data'\nwait-screen zyxwvu\nscreenshot kept.png\n\
         type 'poweroff -ff\\n'\nexpect-exit 0\n"
    );
    let mut args = vec!["--clock", "virtual", "--net", "none", "--hd", &disk];
    args.extend(firmware.iter().map(String::as_str));
    run(&folder, &script, &args);
    pictures::keep(&folder, "kept.png", "debian-kept");
}

/// The picture in a file: width and pixels.
fn picture(folder: &Folder, name: &str) -> (usize, Vec<[u8; 3]>) {
    let png = folder.read(name);
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    (info.width as usize, bytes[..info.buffer_size()].as_chunks::<3>().0.to_vec())
}

fn installer(name: &str, firmware: &[String], append: &str, script: &str) -> Option<(Folder, Ended)> {
    let (kernel, initrd) = (guest("debian-installer/linux")?, guest("debian-installer/initrd.gz")?);
    let (kernel, initrd) = (kernel.display().to_string(), initrd.display().to_string());
    let folder = Folder::new(name);
    let append = format!("nomodeset quiet {append}");
    let mut args = vec!["--clock", "virtual", "-m", "768M", "--net", "none", "--kernel", &kernel, "--initrd", &initrd];
    args.extend(["--append", &append]);
    args.extend(firmware.iter().map(String::as_str));
    let ended = run(&folder, script, &args);
    Some((folder, ended))
}

fn installer_in_text(name: &str, firmware: &[String]) {
    let script = "timeout 300\nwait-screen 'Select a language'\nwait-screen '<Tab> moves'\nkey home down\nsleep 1\nscreen\n\
                  key down down enter\nwait-screen opholdssted\nscreen\nscreenshot last.png\n";
    let Some((folder, ended)) = installer(name, firmware, "vga=normal fb=false", script) else { return };
    pictures::keep(&folder, "last.png", name);
    for line in ["No localization", "Dansk"] {
        assert!(ended.out.contains(line), "no '{line}' in\n{}", ended.out);
    }
}

/// In the frame buffer the installer draws with a font of its own, so the test looks at the colours: the chosen line is a
/// red bar on a grey box on blue, and the bar moves with the arrow keys.
fn installer_in_graphics(name: &str, firmware: &[String]) {
    let script = "sleep 240\nscreenshot before.png\nkey down down\nsleep 2\nscreenshot after.png\n";
    let Some((folder, _)) = installer(name, firmware, "vga=788", script) else { return };
    let bar = |file: &str| {
        pictures::keep(&folder, file, &format!("{name}-{}", file.trim_end_matches(".png")));
        let (width, pixels) = picture(&folder, file);
        assert_eq!((width, pixels.len()), (800, 800 * 600), "{file}");
        // Five or six bits of each colour are left of what the installer asks for.
        let is = |pixel: &[u8; 3], color: [u8; 3]| pixel.iter().zip(color).all(|(one, other)| one.abs_diff(other) < 8);
        let share = |color| pixels.iter().filter(|pixel| is(pixel, color)).count() * 100 / pixels.len();
        assert!(share([0xaa; 3]) > 50 && share([0, 0, 0xaa]) > 5, "{file} is not the installer's dialog");
        let bar = |row: &[[u8; 3]]| row.iter().filter(|pixel| is(pixel, [0xaa, 0, 0])).count() > 300;
        pixels.chunks(width).position(bar).expect("a red bar")
    };
    let (before, after) = (bar("before.png"), bar("after.png"));
    assert_eq!(after, before + 2 * 16);
}

#[test]
fn the_installer_in_text() {
    installer_in_text("installer-text", &[]);
}

#[test]
fn the_installer_in_graphics_on_seabios() {
    let Some(firmware) = seabios() else { return };
    installer_in_graphics("installer-graphics-seabios", &firmware);
}

#[test]
fn the_installer_in_text_on_seabios() {
    let Some(firmware) = seabios() else { return };
    installer_in_text("installer-text-seabios", &firmware);
}

#[test]
fn the_installer_in_graphics() {
    installer_in_graphics("installer-graphics", &[]);
}
