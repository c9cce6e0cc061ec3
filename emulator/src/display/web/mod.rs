//! `--display web:ADDRESS`: one page for a browser on this host, and a WebSocket that carries picture, keys, mouse and
//! COM1.
//!
//! Only who knows the token in the printed address gets anything but the empty page. Host and Origin are checked, so
//! that no other page in the same browser can use the machine. Heads and messages are bounded.

use super::remote::{Hub, Input, Rect, Remote, Shown, differences};
use super::{Address, places};
use crate::error::{Error, Result};
use crate::logging::say;
use crate::scheduler::Waker;
use ring86_devices::i8042::Buttons;
use ring86_devices::vga::Frame;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// The page.
const PAGE: &str = include_str!("page.html");
/// Longest head of a request.
const HEAD: usize = 8 << 10;
/// Longest message of a browser.
const MESSAGE: usize = 16 << 10;
/// How long a browser may take for a request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Fastest mouse: counts in one message.
const FASTEST: i32 = 4096;

/// Kinds of messages to the page.
mod kind {
    /// Width, height, aspect width, aspect height.
    pub const SIZE: u8 = 0;
    /// Left, top, width, height, then red, green, blue, 255 of each pixel.
    pub const PART: u8 = 1;
    /// The picture is complete; a byte: paused.
    pub const COMPLETE: u8 = 2;
    /// Bytes from COM1.
    pub const SERIAL: u8 = 3;
}

/// Listens and serves browsers.
///
/// # Errors
/// If the address cannot be had or the host has no random numbers.
pub fn serve(address: &Address, waker: Waker) -> Result<Remote> {
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|e| Error::new(format!("--display web: no random numbers: {e}")))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = token.clone();
    let (remote, address) = Remote::listen("web", address.socket, waker, move |stream, hub| {
        if let Err(error) = visit(&stream, hub, &secret) {
            log::debug!("browser: {error}");
        }
        drop(stream.shutdown(std::net::Shutdown::Both));
    })?;
    say(format_args!("the screen is at http://{address}/#{token}"));
    Ok(remote)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The head of a request.
#[derive(Debug, Default)]
struct Request {
    path: String,
    host: String,
    origin: Option<String>,
    key: Option<String>,
}

impl Request {
    /// Reads to the empty line.
    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if head.len() >= HEAD {
                return Err(bad("the head is too long"));
            }
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Self::parse(&head).ok_or_else(|| bad("no GET request"))
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path, version) = (words.next()?, words.next()?, words.next()?);
        if method != "GET" || version != "HTTP/1.1" {
            return None;
        }
        let mut request = Request { path: path.to_owned(), ..Request::default() };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim().to_owned();
            match name.to_ascii_lowercase().as_str() {
                "host" => request.host = value,
                "origin" => request.origin = Some(value),
                "sec-websocket-key" => request.key = Some(value),
                _ => {}
            }
        }
        Some(request)
    }

    /// The request is for this server by a name that only this host has.
    fn is_local(&self, address: SocketAddr) -> bool {
        let port = address.port();
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")].contains(&self.host)
            || self.host == address.to_string()
    }

    /// The request comes from our own page and knows the token.
    fn may_use(&self, token: &str) -> bool {
        let Some(given) = self.path.strip_prefix("/socket?") else { return false };
        let own = self.origin.as_ref().is_some_and(|origin| *origin == format!("http://{}", self.host));
        let differences = given.bytes().zip(token.bytes()).fold(0, |wrong, (a, b)| wrong | (a ^ b));
        own && given.len() == token.len() && differences == 0
    }
}

fn respond(stream: &mut impl Write, status: &str, body: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
         img-src data: blob:; connect-src 'self' ws:\r\n\r\n{body}",
        body.len()
    )
}

/// One connection.
fn visit(mut stream: &TcpStream, hub: &Hub, token: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(HANDSHAKE))?;
    let request = Request::read(&mut stream)?;
    if !request.is_local(stream.local_addr()?) {
        return respond(&mut stream, "403 Forbidden", "This machine is shown under its own address only.\n");
    }
    match (request.path.as_str(), &request.key) {
        ("/", _) => respond(&mut stream, "200 OK", PAGE),
        (_, Some(key)) if request.may_use(token) => {
            let accept = derive_accept_key(key.as_bytes());
            write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )?;
            stream.set_read_timeout(None)?;
            talk(stream, hub)
        }
        (path, _) if path.starts_with("/socket") => {
            respond(&mut stream, "403 Forbidden", "The token is wrong: use the address that ring86 printed.\n")
        }
        _ => respond(&mut stream, "404 Not Found", "There is one page here: /\n"),
    }
}

/// What the reader tells the writer.
#[derive(Debug, Default)]
struct Signals {
    /// The page has drawn the last picture.
    drawn: AtomicBool,
    closed: AtomicBool,
}

/// The WebSocket, in both directions.
fn talk(stream: &TcpStream, hub: &Hub) -> io::Result<()> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    let signals = Signals { drawn: AtomicBool::new(true), closed: AtomicBool::new(false) };
    let (input, output) = (stream.try_clone()?, stream.try_clone()?);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let result = write(WebSocket::from_raw_socket(output, Role::Server, Some(config)), hub, &signals);
            drop(stream.shutdown(std::net::Shutdown::Both));
            result
        });
        let read = read(WebSocket::from_raw_socket(input, Role::Server, Some(config)), hub, &signals);
        signals.closed.store(true, Ordering::Release);
        hub.notify();
        drop(stream.shutdown(std::net::Shutdown::Both));
        let written = writer.join().unwrap_or_else(|_| Err(tungstenite::Error::ConnectionClosed));
        read.and(written).map_err(io::Error::other)
    })
}

fn read(mut socket: WebSocket<TcpStream>, hub: &Hub, signals: &Signals) -> std::result::Result<(), tungstenite::Error> {
    loop {
        match socket.read()? {
            Message::Text(text) if text.as_str() == "drawn" => {
                signals.drawn.store(true, Ordering::Release);
                hub.notify();
            }
            Message::Text(text) => {
                // What is not understood is left out: a page of another version, say.
                if let Some(input) = understand(text.as_str())
                    && !hub.send(input)
                {
                    return Ok(());
                }
            }
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
}

/// A line from the page.
fn understand(text: &str) -> Option<Input> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "down" | "up" => Some(Input::Key(places::key(rest)?, word == "down")),
        "mouse" => {
            let mut numbers = rest.split(' ').map(str::parse::<i32>);
            let mut next = || numbers.next()?.ok().map(|number| number.clamp(-FASTEST, FASTEST));
            let (right, down, wheel, mask) = (next()?, next()?, next()?, next()?);
            let button = |bit: i32| mask >> bit & 1 != 0;
            let buttons =
                Buttons { left: button(0), right: button(1), middle: button(2), fourth: button(3), fifth: button(4) };
            Some(Input::Mouse { right, away: -down, wheel, buttons })
        }
        "reset" => Some(Input::Reset),
        "pause" => Some(Input::Pause(true)),
        "resume" => Some(Input::Pause(false)),
        "serial" => Some(Input::Serial(rest.as_bytes().to_vec())),
        _ => None,
    }
}

/// What the page has of the machine so far.
#[derive(Default)]
struct Page {
    frame: Option<Arc<Frame>>,
    number: u64,
    aspect: (usize, usize),
    serial_end: u64,
}

impl Page {
    /// The messages that bring the page up to date.
    fn update(&mut self, shown: &Shown) -> Vec<Vec<u8>> {
        let message = |kind: u8, values: &[usize]| {
            let values = values.iter().flat_map(|value| (*value as u16).to_le_bytes());
            std::iter::once(kind).chain(values).collect::<Vec<u8>>()
        };
        let mut messages = Vec::new();
        let frame = &shown.frame;
        let same_size = |old: &Arc<Frame>| (old.width, old.height) == (frame.width, frame.height);
        let old = self.frame.as_ref().filter(|old| same_size(old) && self.aspect == shown.aspect);
        if old.is_none() {
            messages.push(message(kind::SIZE, &[frame.width, frame.height, shown.aspect.0, shown.aspect.1]));
        }
        for rect in old.map_or_else(|| vec![Rect::whole(frame)], |old| differences(old, frame)) {
            let mut part = message(kind::PART, &[rect.x, rect.y, rect.width, rect.height]);
            for row in rect.rows(frame) {
                part.extend(row.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]));
            }
            messages.push(part);
        }
        let new = usize::try_from(shown.serial_end - self.serial_end).unwrap_or(usize::MAX).min(shown.serial.len());
        if new > 0 {
            let mut serial = vec![kind::SERIAL];
            serial.extend_from_slice(&shown.serial[shown.serial.len() - new..]);
            messages.push(serial);
        }
        messages.push(vec![kind::COMPLETE, shown.paused.into()]);
        *self = Page {
            frame: Some(Arc::clone(frame)),
            number: shown.number,
            aspect: shown.aspect,
            serial_end: shown.serial_end,
        };
        messages
    }
}

fn write(
    mut socket: WebSocket<TcpStream>,
    hub: &Hub,
    signals: &Signals,
) -> std::result::Result<(), tungstenite::Error> {
    let mut page = Page::default();
    loop {
        let ready = |shown: &Shown| {
            signals.closed.load(Ordering::Acquire)
                || shown.number != page.number && shown.frame.width > 0 && signals.drawn.load(Ordering::Acquire)
        };
        let shown = hub.wait(ready);
        if signals.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        if !ready(&shown) {
            continue;
        }
        signals.drawn.store(false, Ordering::Release);
        for message in page.update(&shown) {
            socket.write(Message::binary(message))?;
        }
        socket.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring86_devices::i8042::KeyCode;

    #[test]
    fn requests_are_checked() {
        let parse = |text: &str| Request::parse(text.replace('\n', "\r\n").as_bytes());
        let head =
            "GET /socket?abc HTTP/1.1\nHost: localhost:80\nOrigin: http://localhost:80\nSec-WebSocket-Key: k\n\n";
        let request = parse(head).expect("a good request");
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(request.is_local(at(80)) && !request.is_local(at(81)));
        assert!(request.may_use("abc") && !request.may_use("abd") && !request.may_use("abcd"));
        for (from, to) in [("Origin: http://localhost", "Origin: http://other"), ("Origin", "X"), ("/socket?", "/s?")] {
            assert!(!parse(&head.replace(from, to)).expect("a request").may_use("abc"), "{to}");
        }
        assert!(!parse(&head.replace("Host: localhost", "Host: other.example")).expect("a request").is_local(at(80)));
        assert!(parse("POST / HTTP/1.1\n\n").is_none() && parse("GET\n\n").is_none() && parse("").is_none());
        let endless = io::repeat(b'x');
        assert!(Request::read(&mut endless.take(1 << 20)).is_err());
    }

    #[test]
    fn lines_are_understood_or_left_out() {
        assert_eq!(understand("down KeyA"), Some(Input::Key(KeyCode::A, true)));
        assert_eq!(understand("up Digit7"), Some(Input::Key(KeyCode::Digit7, false)));
        assert_eq!(understand("down Backquote"), Some(Input::Key(KeyCode::Grave, true)));
        let buttons = Buttons { left: true, middle: true, ..Buttons::default() };
        let expected = Input::Mouse { right: 3, away: 4, wheel: -1, buttons };
        assert_eq!(understand("mouse 3 -4 -1 5"), Some(expected));
        assert_eq!(understand("serial a b"), Some(Input::Serial(b"a b".to_vec())));
        for bad in
            ["", "down", "down Key", "down KeyAB", "mouse", "mouse 1 2 3", "mouse 99999999999 0 0 0", "format c:"]
        {
            assert_eq!(understand(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_page_gets_what_changed() {
        let frame = Arc::new(Frame { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] });
        let mut shown = Shown {
            number: 1,
            frame,
            aspect: (4, 3),
            paused: false,
            serial: Arc::new(b"hello".to_vec()),
            serial_end: 5,
        };
        let mut page = Page::default();
        let first = page.update(&shown);
        assert_eq!(first[0], [kind::SIZE, 2, 0, 1, 0, 4, 0, 3, 0]);
        assert_eq!(first[1], [kind::PART, 0, 0, 0, 0, 2, 0, 1, 0, 1, 2, 3, 255, 4, 5, 6, 255]);
        assert_eq!(
            (first[2].as_slice(), first[3].as_slice()),
            (b"\x03hello".as_slice(), [kind::COMPLETE, 0].as_slice())
        );
        (shown.number, shown.paused, shown.serial_end) = (2, true, 7);
        assert_eq!(page.update(&shown), [b"\x03lo".to_vec(), vec![kind::COMPLETE, 1]]);
    }
}
