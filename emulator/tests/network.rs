//! Real guests on the user-mode network: iPXE and Debian's kernel get a lease and fetch a file from this host, over
//! every card.
//!
//! The kernel's modules come from the Debian installer's initial RAM disk.

#[path = "support/guest.rs"]
mod guest;
mod support;

use flate2::read::GzDecoder;
use guest::guest;
use ring86::boot::image;
use ring86::boot::linux::Entry;
use ring86::config::{Engine, MachineConfig};
use ring86::machine::{Machine, Outcome};
use ring86::network::Net;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

/// Length of the file that guests fetch.
const LENGTH: usize = 200_000;

/// Text, since busybox's wget posts no zeros.
fn file() -> Vec<u8> {
    (0..LENGTH as u32).map(|i| b'a' + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 26).collect()
}

/// A web server on the host's loopback: GET gives the file, POST says whether it got the same. Returns its port.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that goes away early is the test's business, which looks at the guest.
            drop(stream.and_then(|stream| serve(&stream)));
        }
    });
    port
}

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let post = line.starts_with("POST");
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = if !post {
        file()
    } else if body == file() {
        b"#!ipxe\necho the-same\n".to_vec()
    } else {
        b"different\n".to_vec()
    };
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len())?;
    stream.write_all(&answer)
}

/// A machine with `ram` bytes that starts `kernel` with this initial RAM disk, on the network `net`.
fn machine(ram: u64, kernel: &Path, append: &str, initrd: Vec<u8>, net: &str) -> Machine {
    let mut config = MachineConfig::new();
    config.ram = ram;
    config.reboot = false;
    config.engine = Engine::Translator(ring86_translator::engine::Config::default());
    let bytes = fs::read(kernel).expect("the kernel is readable");
    let payload = image::kernel("kernel", &bytes, append, Some(("initrd".to_owned(), initrd)), Entry::Real);
    config.payload = Some(payload.expect("the kernel is a good one"));
    let Ok(Net::User(options)) = net.parse() else { panic!("{net} is no network") };
    config.network = Some(*options);
    support::machine(config)
}

// ------------------------------------------------------------------------------------------------------------- iPXE

fn ipxe(model: &str) {
    let Some(kernel) = guest("ipxe/ipxe.lkrn") else { return };
    let port = web_server();
    let script =
        format!("#!ipxe\ndhcp net0\nimgfetch --name data http://10.0.2.2:{port}/data\nimgstat\necho over\nshell\n");
    let net = format!("user,allow=loopback,model={model}");
    // Its header asks for a high place for the script.
    let mut machine = machine(1 << 30, &kernel, "", script.into_bytes(), &net);
    support::wait(&mut machine, "end of the script", 120, |m| m.screen_text().lines().any(|line| line == "over"));
    let screen = machine.screen_text();
    assert!(screen.contains(&format!("data : {LENGTH} bytes")), "{screen}");
}

#[test]
fn ipxe_over_rtl8139() {
    ipxe("rtl8139");
}

#[test]
fn ipxe_over_ne2k_pci() {
    ipxe("ne2k_pci");
}

// ------------------------------------------------------------------------------------------------------------ Linux

/// Appends a file to a cpio archive of the kind that the kernel unpacks ("newc").
fn add(archive: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
    let fields = [0, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    archive.extend(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// The file whose name ends in `name` in a "newc" archive.
fn find<'a>(archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0;
    loop {
        let header = archive.get(at..at + 110)?;
        let field = |i: usize| {
            let digits = std::str::from_utf8(&header[6 + 8 * i..14 + 8 * i]).ok()?;
            usize::from_str_radix(digits, 16).ok()
        };
        let (size, name_size) = (field(6)?, field(11)?);
        let data = (at + 110 + name_size).next_multiple_of(4);
        if archive.get(at + 110..at + 109 + name_size)?.ends_with(name.as_bytes()) {
            return archive.get(data..data + size);
        }
        at = (data + size).next_multiple_of(4);
    }
}

fn linux(model: &str, modules: &[&str]) {
    let Some(installer) = guest("debian-installer/initrd.gz") else { return };
    let (Some(kernel), Some(shell)) = (guest("vmlinuz-686"), guest("initrd-busybox.cpio.gz")) else { return };
    let mut archive = Vec::new();
    let file = fs::File::open(installer).expect("the installer's initial RAM disk is readable");
    GzDecoder::new(file).read_to_end(&mut archive).expect("it is a gzip file");
    let port = web_server();
    let mut extra = Vec::new();
    let mut script = String::new();
    for module in modules {
        let (module, parameters) = module.split_once(' ').unwrap_or((module, ""));
        let name = format!("{module}.ko");
        let bytes = find(&archive, &format!("/{name}")).unwrap_or_else(|| panic!("the installer has no {name}"));
        add(&mut extra, &name, 0o100_644, bytes);
        script += &format!("insmod /{name} {parameters}\n");
    }
    let lease = "[ $1 = bound ] || exit 0\nip addr add $ip/$mask dev $interface\nip route add default via $router\n\
                 echo lease $ip/$mask from $serverid, router $router, names from $dns\n";
    add(&mut extra, "lease.sh", 0o100_755, format!("#!/bin/sh\n{lease}").as_bytes());
    script += &format!(
        "ip link set eth0 up\nudhcpc -i eth0 -n -q -f -s /lease.sh\nping -c 2 10.0.2.2\n\
         wget -O /tmp/data http://10.0.2.2:{port}/data && wc -c /tmp/data\n\
         wget -O - --post-file=/tmp/data http://10.0.2.2:{port}/back\n\
         wget -O - http://10.0.2.2:1/ && echo wrongly connected\n\
         wget -O - http://192.168.99.99:{port}/ && echo wrongly connected\ncat /proc/net/dev\necho over\n"
    );
    add(&mut extra, "net.sh", 0o100_755, format!("#!/bin/sh\n{script}").as_bytes());
    add(&mut extra, "TRAILER!!!", 0, &[]);
    let mut initrd = fs::read(shell).expect("the initial RAM disk is readable");
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(extra);
    let net = format!("user,allow=loopback,model={model}");
    let mut machine = machine(128 << 20, &kernel, "console=ttyS0 panic=-1 ring86.run=sh,/net.sh", initrd, &net);
    match machine.run_until(|_| false, 300_000_000_000) {
        Err(Outcome::PowerOff) => {}
        Err(other) => panic!("{}\n{}", support::explain(&other), support::serial_end(&machine)),
        Ok(_) => panic!("the guest did not switch off\n{}", support::serial_end(&machine)),
    }
    let text = machine.serial_text();
    let lease = "lease 10.0.2.15/24 from 10.0.2.2, router 10.0.2.2, names from 10.0.2.3";
    assert!(text.to_lowercase().contains("52:54:00:12:34:56"), "the card's address\n{text}");
    for wanted in [lease, "2 packets received", &format!("{LENGTH} /tmp/data"), "the-same", "over"] {
        assert!(text.contains(wanted), "'{wanted}' is not in\n{text}");
    }
    assert_eq!(text.matches("Connection refused").count(), 2, "{text}");
    assert!(!text.contains("wrongly connected") && !text.contains("BUG:") && !text.contains("timed out"), "{text}");
}

#[test]
fn linux_over_rtl8139() {
    linux("rtl8139", &["mii", "8139cp"]);
}

#[test]
fn linux_over_ne2k_pci() {
    linux("ne2k_pci", &["8390", "ne2k-pci"]);
}

#[test]
fn linux_over_ne2k_isa() {
    linux("ne2k_isa", &["8390p", "ne io=0x300 irq=10"]);
}
