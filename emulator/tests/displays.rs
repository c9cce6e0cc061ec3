//! The VBE services as a program uses them, and the screen, keys and serial port over VNC and in a web page, with clients
//! of our own.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/running.rs"]
mod running;

use flate2::{Decompress, FlushDecompress};
use folder::{Folder, ring86};
use iced_x86::code_asm::*;
use patience::PATIENCE;
use running::Running;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

/// A screenshot as width, height and pixels.
fn picture(png: &[u8]) -> (u32, u32, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    (info.width, info.height, bytes.as_chunks::<3>().0[..(info.width * info.height) as usize].to_vec())
}

/// Sets a VBE mode, stores four bytes in the linear frame buffer at `offset` with the BIOS's block move and a byte
/// through the window in its third bank, and stays. Whatever goes wrong leaves the screen in text mode.
fn vbe_sector(mode: u32, offset: u32) -> Vec<u8> {
    let mut a = CodeAssembler::new(16).expect("16-bit code");
    let mut code = || -> Result<(), IcedError> {
        let mut stay = a.create_label();
        a.xor(ax, ax)?;
        a.mov(ds, ax)?;
        a.mov(es, ax)?;
        a.mov(di, 0x1000)?;
        a.mov(dword_ptr(0x1000), 0x3245_4256)?; // 'VBE2'
        a.mov(ax, 0x4f00)?;
        a.int(0x10)?;
        a.cmp(ax, 0x004f)?;
        a.jne(stay)?;
        a.cmp(dword_ptr(0x1000), 0x4153_4556)?; // 'VESA'
        a.jne(stay)?;
        a.cmp(word_ptr(0x1000 + 18), 256)?; // 16 MiB
        a.jne(stay)?;
        a.mov(ax, 0x4f01)?;
        a.mov(cx, mode)?;
        a.int(0x10)?;
        a.cmp(ax, 0x004f)?;
        a.jne(stay)?;
        a.mov(ax, 0x4f02)?;
        a.mov(bx, mode | 0x4000)?;
        a.int(0x10)?;
        a.cmp(ax, 0x004f)?;
        a.jne(stay)?;
        a.mov(ax, 0x4f03)?;
        a.int(0x10)?;
        a.cmp(bx, mode | 0x4000)?;
        a.jne(stay)?;
        // Block move of two words: descriptors at 2000h, source 9000h, destination in the frame buffer.
        a.mov(cx, 24)?;
        a.mov(di, 0x2000)?;
        a.xor(ax, ax)?;
        a.rep().stosw()?;
        a.mov(dword_ptr(0x9000), 0x0030_6090)?;
        a.mov(word_ptr(0x2010), 0xffff)?;
        a.mov(dword_ptr(0x2012), 0x9300_9000u32)?;
        a.mov(word_ptr(0x2018), 0xffff)?;
        a.mov(eax, dword_ptr(0x1000 + 0x28))?;
        a.add(eax, offset)?;
        a.mov(dword_ptr(0x201a), eax)?;
        a.mov(byte_ptr(0x201d), 0x93)?;
        a.shr(eax, 24)?;
        a.mov(byte_ptr(0x201f), al)?;
        a.mov(si, 0x2000)?;
        a.mov(cx, 2)?;
        a.mov(ah, 0x87)?;
        a.int(0x15)?;
        a.mov(ax, 0x4f05)?;
        a.xor(bx, bx)?;
        a.mov(dx, 2)?;
        a.int(0x10)?;
        a.push(0xa000)?;
        a.pop(es)?;
        a.mov(byte_ptr(0).es(), 0xff)?;
        a.set_label(&mut stay)?;
        a.hlt()?;
        a.jmp(stay)
    };
    code().expect("the code is right");
    let mut image = a.assemble(0x7c00).expect("the code is right");
    assert!(image.len() <= 510);
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image
}

#[test]
fn a_program_sets_vbe_modes_and_reaches_the_frame_buffer() {
    let folder = Folder::new("vbe");
    // Mode, size, bytes of a pixel, and the colours of 90 60 30 00 and of a lone FF at 128 KiB (with
    // three bytes a pixel that is the last of one).
    for (mode, width, height, bytes, first, second) in [
        (0x143, 800, 600, 4, [0x30, 0x60, 0x90], [0, 0, 0xff]),
        (0x118, 1024, 768, 3, [0x30, 0x60, 0x90], [0xff, 0, 0]),
        (0x111, 640, 480, 2, [0x63, 0x10, 0x84], [0, 0x1c, 0xff]),
        (0x105, 1024, 768, 1, [0xb6, 0x71, 0x71], [0, 0, 0]),
    ] {
        let image = folder.file("boot.img", vbe_sector(mode, (5 * width + 7) * bytes));
        let script = folder.file("script", "sleep 0.5\nscreenshot shot.png\n");
        let ended = ring86(&folder.0, &["run", &image, "--clock", "virtual", "--serial", "none", "--script", &script]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let (w, h, pixels) = picture(&folder.read("shot.png"));
        assert_eq!((w, h), (width, height), "mode {mode:x}");
        let at = |x: u32, y: u32| pixels[(y * width + x) as usize];
        if bytes > 1 {
            assert_eq!(at(7, 5), first, "mode {mode:x}");
        }
        let banked = 0x2_0000 / bytes;
        assert_eq!(at(banked % width, banked / width), second, "mode {mode:x}");
        assert_eq!(at(0, 0), [0, 0, 0]);
    }
}

#[test]
fn the_boot_menu_asks() {
    let folder = Folder::new("menu");
    let image = folder.file("boot.img", vbe_sector(0x143, 0));
    let script =
        folder.file("script", "wait-screen 'Esc  as usual'\nscreen\ntype 7\ntype 1\nsleep 1\nscreenshot shot.png\n");
    let args = ["run", &image, "--boot", "menu", "--clock", "virtual", "--serial", "none", "--script", &script];
    let ended = ring86(&folder.0, &args);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("1  floppy A") && !ended.out.contains("3  CD"), "{}", ended.out);
    assert_eq!(picture(&folder.read("shot.png")).0, 800);
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a good time");
    stream
}

/// A VNC viewer.
struct Viewer {
    stream: TcpStream,
    width: usize,
    height: usize,
}

fn bytes<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("an answer");
    bytes
}

impl Viewer {
    fn new(address: &str) -> Self {
        let mut stream = connect(address);
        assert_eq!(&bytes::<12>(&mut stream), b"RFB 003.008\n");
        stream.write_all(b"RFB 003.008\n").expect("it listens");
        assert_eq!(bytes::<2>(&mut stream), [1, 1], "no password");
        stream.write_all(&[1]).expect("it listens");
        assert_eq!(bytes::<4>(&mut stream), [0; 4]);
        stream.write_all(&[1]).expect("it listens");
        let [w1, w0, h1, h0] = bytes(&mut stream);
        let [bits, depth, big, truth, ..] = bytes::<16>(&mut stream);
        assert_eq!((bits, depth, big, truth), (32, 24, 0, 1));
        let length = u32::from_be_bytes(bytes(&mut stream));
        let mut name = vec![0; length as usize];
        stream.read_exact(&mut name).expect("a name");
        assert_eq!(name, b"Ring86");
        Viewer { stream, width: u16::from_be_bytes([w1, w0]).into(), height: u16::from_be_bytes([h1, h0]).into() }
    }

    fn encodings(&mut self, list: &[i32]) {
        let mut message = vec![2, 0, 0, list.len() as u8];
        message.extend(list.iter().flat_map(|encoding| encoding.to_be_bytes()));
        self.stream.write_all(&message).expect("it listens");
    }

    /// Asks for all of the picture. Returns the encoding of the only part, and what follows its header.
    fn whole(&mut self) -> i32 {
        let mut message = vec![3, 0, 0, 0, 0, 0];
        message.extend((self.width as u16).to_be_bytes());
        message.extend((self.height as u16).to_be_bytes());
        self.stream.write_all(&message).expect("it listens");
        assert_eq!(bytes::<4>(&mut self.stream), [0, 0, 0, 1]);
        let [_, _, _, _, w1, w0, h1, h0] = bytes(&mut self.stream);
        assert_eq!(usize::from(u16::from_be_bytes([w1, w0])), self.width);
        assert_eq!(usize::from(u16::from_be_bytes([h1, h0])), self.height);
        i32::from_be_bytes(bytes(&mut self.stream))
    }

    fn key(&mut self, keysym: u32) {
        for down in [1, 0] {
            let mut message = vec![4, down, 0, 0];
            message.extend(keysym.to_be_bytes());
            self.stream.write_all(&message).expect("it listens");
        }
    }
}

#[test]
fn a_vnc_viewer_sees_and_types() {
    let mut machine = Running::new(&["demo", "--display", "vnc:0"]);
    let address = machine.says("VNC at ");
    machine.prints("ring86> ");
    let mut viewer = Viewer::new(&address);
    assert_eq!((viewer.width, viewer.height), (720, 400));
    assert_eq!(viewer.whole(), 0, "raw until something else is asked for");
    let mut pixels = vec![0; 720 * 400 * 4];
    viewer.stream.read_exact(&mut pixels).expect("a picture");
    let lit = pixels.as_chunks::<4>().0.iter().filter(|pixel| **pixel != [0; 4]).count();
    assert!(lit > 1000, "{lit} pixels are not black");
    for c in "echo seen over vnc".bytes() {
        viewer.key(c.into());
    }
    viewer.key(0xff0d);
    machine.prints("\nseen over vnc");
    viewer.encodings(&[16, 0, -223]);
    assert_eq!(viewer.whole(), 16);
    let length = u32::from_be_bytes(bytes(&mut viewer.stream));
    let mut packed = vec![0; length as usize];
    viewer.stream.read_exact(&mut packed).expect("a picture");
    let mut plain = Vec::with_capacity(1 << 20);
    Decompress::new(true).decompress_vec(&packed, &mut plain, FlushDecompress::Sync).expect("a zlib stream");
    // Twelve tiles across and seven down, of sixteen colours at most.
    assert!((1..=16).contains(&plain[0]) && plain.len() > 84 * 4, "{} bytes", plain.len());
    // A moving mouse and nonsense: the connection ends, the machine does not.
    viewer.stream.write_all(&[5, 1, 0, 10, 0, 10, 5, 0, 1, 0, 0, 200]).expect("it listens");
    viewer.stream.write_all(&[99; 64]).expect("it listens");
    let since = Instant::now();
    while viewer.stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
        assert!(since.elapsed() < PATIENCE, "the connection stays open");
    }
    for nonsense in
        [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"RFB 003.008\n\x07", b"RFB 003.008\n\x01\x01\x06\0\0\0\xff\xff\xff\xff"]
    {
        connect(&address).write_all(nonsense).expect("it listens");
    }
    let mut viewer = Viewer::new(&address);
    viewer.key(u32::from(b'x'));
    assert_eq!(viewer.whole(), 0);
}

/// The answer to a request.
fn get(address: &str, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).expect("it listens");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn a_web_page_sees_and_types_and_nobody_else_does() {
    let mut machine = Running::new(&["demo", "--display", "web:0"]);
    let url = machine.says("the screen is at http://");
    let (address, token) = url.split_once("/#").expect("an address with a token");
    assert_eq!(token.len(), 64);
    machine.prints("ring86> ");
    let page = get(address, &format!("GET / HTTP/1.1\nHost: {address}\n\n"));
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("<canvas") && !page.contains(token));
    assert!(get(address, "GET / HTTP/1.1\nHost: elsewhere.example\n\n").starts_with("HTTP/1.1 403"));
    assert!(get(address, &format!("GET /x HTTP/1.1\nHost: {address}\n\n")).starts_with("HTTP/1.1 404"));
    let upgrade = |token: &str, origin: &str| {
        let mut request = format!("ws://{address}/socket?{token}").into_client_request().expect("a good address");
        request.headers_mut().insert("Origin", origin.parse().expect("a good value"));
        tungstenite::client(request, connect(address)).map_err(Box::new)
    };
    let own = format!("http://{address}");
    assert!(upgrade(&token.replace(char::is_alphanumeric, "0"), &own).is_err());
    assert!(upgrade(token, "http://elsewhere.example").is_err());
    let (mut socket, _) = upgrade(token, &own).expect("the token is right");
    let next = |socket: &mut tungstenite::WebSocket<TcpStream>| loop {
        if let Message::Binary(bytes) = socket.read().expect("a message") {
            return bytes;
        }
    };
    // 720 by 400 dots on a screen of 4 to 3.
    assert_eq!(next(&mut socket)[..], [0, 0xd0, 0x02, 0x90, 0x01, 4, 0, 3, 0]);
    let part = next(&mut socket);
    assert_eq!((part[0], part.len()), (1, 9 + 720 * 400 * 4));
    for c in "echo seen in a page".chars() {
        let code = if c == ' ' { "Space".to_owned() } else { format!("Key{}", c.to_ascii_uppercase()) };
        for way in ["down", "up"] {
            socket.send(Message::text(format!("{way} {code}"))).expect("it listens");
        }
    }
    for line in ["down Enter", "up Enter", "nonsense", "mouse 1 2 3", "mouse 4 5 0 1", "drawn"] {
        socket.send(Message::text(line)).expect("it listens");
    }
    machine.prints("\nseen in a page");
    let mut serial = Vec::new();
    while !String::from_utf8_lossy(&serial).contains("\nseen in a page") {
        let message = next(&mut socket);
        match message[0] {
            2 => socket.send(Message::text("drawn")).expect("it listens"),
            3 => serial.extend_from_slice(&message[1..]),
            _ => {}
        }
    }
    socket.send(Message::text("pause")).expect("it listens");
    loop {
        let message = next(&mut socket);
        if message[..] == [2, 1] {
            break;
        }
        if message[0] == 2 {
            socket.send(Message::text("drawn")).expect("it listens");
        }
    }
    // Too much at once ends the connection, not the machine.
    drop(socket.send(Message::text("x".repeat(1 << 20))));
    assert!(upgrade(token, &own).is_ok());
}
