//! `--display vnc:ADDRESS`: a server of the remote frame buffer protocol 3.3, 3.7 and 3.8 (RFC 6143) with the encodings
//! Raw and ZRLE and the pseudo-encoding DesktopSize.
//!
//! What a viewer sends is not trusted: lengths are bounded, and a message that makes no sense ends the connection.

use super::remote::{Hub, Input, Rect, Remote, differences};
use super::zrle::{PixelFormat, Zrle, raw};
use super::{Address, keysym};
use crate::error::{Error, Result};
use crate::logging::say;
use crate::scheduler::Waker;
use des::Des;
use des::cipher::{BlockEncrypt, KeyInit};
use ring86_devices::i8042::Buttons;
use ring86_devices::vga::Frame;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a viewer may take to introduce itself.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Longest text that a viewer may put on the clipboard; it is thrown away.
const CLIPBOARD: u32 = 1 << 20;

/// Security types.
mod security {
    pub const NONE: u8 = 1;
    pub const VNC: u8 = 2;
}

/// Encodings.
mod encoding {
    pub const RAW: i32 = 0;
    pub const ZRLE: i32 = 16;
    pub const DESKTOP_SIZE: i32 = -223;
}

/// Listens and serves viewers.
///
/// # Errors
/// If the address cannot be had or the password file not be read.
pub fn serve(address: &Address, waker: Waker) -> Result<Remote> {
    let password = match &address.password_file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e).of("--display"))?;
            let line = text.lines().next().unwrap_or("").to_owned();
            if line.is_empty() {
                return Err(Error::new(format!("'{}': the first line is to be the password", path.display())));
            }
            Some(line)
        }
    };
    let (remote, address) = Remote::listen("vnc", address.socket, waker, move |stream, hub| {
        // However a connection ends, the machine goes on.
        if let Err(error) = Viewer::new(hub, password.as_deref()).serve(&stream) {
            log::debug!("VNC viewer: {error}");
        }
        drop(stream.shutdown(std::net::Shutdown::Both));
    })?;
    say(format_args!("VNC at {address}"));
    Ok(remote)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// What the viewer asked for and the writer has not done yet.
#[derive(Clone, Debug, Default)]
struct Wishes {
    format: PixelFormat,
    zrle: bool,
    desktop_size: bool,
    /// A picture is asked for: all of it rather than what changed.
    update: Option<bool>,
    closed: bool,
}

struct Viewer<'a> {
    hub: &'a Hub,
    password: Option<&'a str>,
    wishes: Mutex<Wishes>,
    /// The size that the viewer knows.
    size: Mutex<(usize, usize)>,
}

/// A fixed number of bytes.
fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The answer of somebody who knows the password: DES with the bits of each key byte reversed. Eight bytes count.
fn answer(challenge: [u8; 16], password: &str) -> [u8; 16] {
    let mut key = [0; 8];
    for (key, byte) in key.iter_mut().zip(password.bytes()) {
        *key = byte.reverse_bits();
    }
    let cipher = Des::new(&key.into());
    let mut bytes = challenge;
    for block in bytes.as_chunks_mut::<8>().0 {
        let mut encrypted = (*block).into();
        cipher.encrypt_block(&mut encrypted);
        block.copy_from_slice(&encrypted);
    }
    bytes
}

impl<'a> Viewer<'a> {
    fn new(hub: &'a Hub, password: Option<&'a str>) -> Self {
        Viewer { hub, password, wishes: Mutex::default(), size: Mutex::new((0, 0)) }
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> MutexGuard<'_, (usize, usize)> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(HANDSHAKE))?;
        self.introduce(&mut &*stream)?;
        stream.set_read_timeout(None)?;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let result = self.write(&mut &*stream);
                // The reader notices.
                drop(stream.shutdown(std::net::Shutdown::Both));
                result
            });
            let read = self.read(&mut &*stream);
            self.wishes().closed = true;
            self.hub.notify();
            drop(stream.shutdown(std::net::Shutdown::Both));
            let written = writer.join().unwrap_or_else(|_| Err(bad("the writer ended early")));
            read.and(written)
        })
    }

    /// Version, security, initialisation.
    fn introduce(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        stream.write_all(b"RFB 003.008\n")?;
        let version = take::<12>(stream)?;
        let minor = match &version {
            b"RFB 003.003\n" | b"RFB 003.005\n" => 3,
            b"RFB 003.007\n" => 7,
            b"RFB 003.008\n" => 8,
            _ => return Err(bad("unknown version")),
        };
        let kind = if self.password.is_some() { security::VNC } else { security::NONE };
        if minor == 3 {
            stream.write_all(&u32::from(kind).to_be_bytes())?;
        } else {
            stream.write_all(&[1, kind])?;
            if take::<1>(stream)? != [kind] {
                return Err(bad("unknown security type"));
            }
        }
        if let Some(password) = self.password {
            let mut challenge = [0; 16];
            getrandom::fill(&mut challenge).map_err(|e| bad(&e.to_string()))?;
            stream.write_all(&challenge)?;
            let given = take::<16>(stream)?;
            let expected = answer(challenge, password);
            if given.iter().zip(expected).fold(0, |wrong, (a, b)| wrong | (a ^ b)) != 0 {
                stream.write_all(&1u32.to_be_bytes())?;
                if minor == 8 {
                    let why = b"wrong password";
                    stream.write_all(&(why.len() as u32).to_be_bytes())?;
                    stream.write_all(why)?;
                }
                // Guessing is to take its time.
                std::thread::sleep(Duration::from_secs(1));
                return Err(bad("wrong password"));
            }
        }
        if minor == 8 || self.password.is_some() {
            stream.write_all(&[0; 4])?;
        }
        // Whether others may watch as well: they may.
        take::<1>(stream)?;
        let shown = self.hub.wait(|shown| shown.number > 0 && shown.frame.width > 0);
        let size = (shown.frame.width.clamp(1, 0xFFFF), shown.frame.height.clamp(1, 0xFFFF));
        *self.size() = size;
        let mut message = Vec::new();
        message.extend((size.0 as u16).to_be_bytes());
        message.extend((size.1 as u16).to_be_bytes());
        message.extend(PixelFormat::default().to_bytes());
        message.extend(6u32.to_be_bytes());
        message.extend(b"Ring86");
        stream.write_all(&message)
    }

    /// The viewer's messages, until it goes.
    fn read(&self, stream: &mut impl Read) -> io::Result<()> {
        let mut pointer: Option<(i32, i32)> = None;
        loop {
            match take::<1>(stream)?[0] {
                0 => {
                    take::<3>(stream)?;
                    let format = PixelFormat::parse(&take(stream)?).ok_or_else(|| bad("pixel format"))?;
                    self.wishes().format = format;
                }
                2 => {
                    let [_, high, low] = take(stream)?;
                    let (mut zrle, mut desktop_size, mut raw_first) = (false, false, false);
                    for _ in 0..u16::from_be_bytes([high, low]) {
                        match i32::from_be_bytes(take(stream)?) {
                            encoding::RAW if !zrle => raw_first = true,
                            encoding::ZRLE => zrle = true,
                            encoding::DESKTOP_SIZE => desktop_size = true,
                            _ => {}
                        }
                    }
                    let mut wishes = self.wishes();
                    (wishes.zrle, wishes.desktop_size) = (zrle && !raw_first, desktop_size);
                }
                3 => {
                    let [incremental, ..] = take::<9>(stream)?;
                    let mut wishes = self.wishes();
                    wishes.update = Some(incremental == 0 || wishes.update == Some(true));
                    drop(wishes);
                    self.hub.notify();
                }
                4 => {
                    let [down, _, _, a, b, c, d] = take(stream)?;
                    if let Some(key) = keysym::key(u32::from_be_bytes([a, b, c, d]))
                        && !self.hub.send(Input::Key(key, down != 0))
                    {
                        return Ok(());
                    }
                }
                5 => {
                    let [mask, x1, x0, y1, y0] = take(stream)?;
                    let place = (i32::from(u16::from_be_bytes([x1, x0])), i32::from(u16::from_be_bytes([y1, y0])));
                    let before = pointer.replace(place).unwrap_or(place);
                    let button = |bit: u8| mask >> bit & 1 != 0;
                    let input = Input::Mouse {
                        right: place.0 - before.0,
                        away: before.1 - place.1,
                        wheel: i32::from(button(4)) - i32::from(button(3)),
                        buttons: Buttons { left: button(0), middle: button(1), right: button(2), ..Buttons::default() },
                    };
                    if !self.hub.send(input) {
                        return Ok(());
                    }
                }
                6 => {
                    take::<3>(stream)?;
                    let length = u32::from_be_bytes(take(stream)?);
                    if length > CLIPBOARD {
                        return Err(bad("clipboard text too long"));
                    }
                    io::copy(&mut stream.by_ref().take(length.into()), &mut io::sink())?;
                }
                _ => return Err(bad("unknown message")),
            }
        }
    }

    /// Pictures, as they are asked for and change.
    fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut sent: Option<(u64, std::sync::Arc<Frame>)> = None;
        let mut zrle = Zrle::default();
        let mut message = Vec::new();
        loop {
            let ready = |number: u64| {
                let wishes = self.wishes();
                let fresh = sent.as_ref().is_none_or(|(seen, _)| *seen != number);
                wishes.closed || wishes.update.is_some_and(|all| all || fresh)
            };
            let shown = self.hub.wait(|shown| ready(shown.number));
            if !ready(shown.number) {
                continue;
            }
            let mut current = self.wishes();
            let wishes = current.clone();
            current.update = None;
            drop(current);
            if wishes.closed {
                return Ok(());
            }
            message.clear();
            message.extend([0, 0]);
            let mut size = self.size();
            let real = (shown.frame.width.min(0xFFFF), shown.frame.height.min(0xFFFF));
            if real != *size && real.0 > 0 && real.1 > 0 && wishes.desktop_size {
                // The viewer then asks for all of the new picture.
                *size = real;
                drop(size);
                sent = None;
                message.extend(1u16.to_be_bytes());
                header(Rect { x: 0, y: 0, width: real.0, height: real.1 }, encoding::DESKTOP_SIZE, &mut message);
            } else {
                let known = *size;
                drop(size);
                let frame = fitted(&shown.frame, known);
                let old = sent.as_ref().filter(|_| wishes.update == Some(false)).map(|(_, frame)| fitted(frame, known));
                let rects = old.map_or_else(|| vec![Rect::whole(&frame)], |old| differences(&old, &frame));
                sent = Some((shown.number, std::sync::Arc::clone(&shown.frame)));
                if rects.is_empty() {
                    // What changed is nothing that is seen: the wish stays.
                    self.wishes().update.get_or_insert(false);
                    continue;
                }
                message.extend((rects.len() as u16).to_be_bytes());
                for rect in rects {
                    if wishes.zrle {
                        header(rect, encoding::ZRLE, &mut message);
                        zrle.encode(&frame, rect, &wishes.format, &mut message);
                    } else {
                        header(rect, encoding::RAW, &mut message);
                        raw(&frame, rect, &wishes.format, &mut message);
                    }
                }
            }
            stream.write_all(&message)?;
        }
    }
}

fn header(rect: Rect, encoding: i32, message: &mut Vec<u8>) {
    for value in [rect.x, rect.y, rect.width, rect.height] {
        message.extend((value as u16).to_be_bytes());
    }
    message.extend(encoding.to_be_bytes());
}

/// The picture cut or filled up with black to a size, for viewers whose window keeps its own.
fn fitted(frame: &Frame, (width, height): (usize, usize)) -> std::borrow::Cow<'_, Frame> {
    if (frame.width, frame.height) == (width, height) {
        return std::borrow::Cow::Borrowed(frame);
    }
    let mut rgb = vec![0; width * height * 3];
    let shared = width.min(frame.width) * 3;
    if shared > 0 {
        for (to, from) in rgb.chunks_exact_mut(width * 3).zip(frame.rgb.chunks_exact(frame.width * 3)) {
            to[..shared].copy_from_slice(&from[..shared]);
        }
    }
    std::borrow::Cow::Owned(Frame { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn des_is_used_with_reversed_bits() {
        // A published pair: key 0123456789ABCDEF, plain 4E6F772069732074, cipher 3FA40E8A984D4815.
        let key: String =
            [0x01u8, 0x23, 0x45, 0x67].iter().map(|byte| char::from(byte.reverse_bits() & 0x7F)).collect();
        assert_ne!(answer([0; 16], &key), answer([0; 16], "other"));
        let cipher = Des::new(&0x0123_4567_89AB_CDEFu64.to_be_bytes().into());
        let mut block = 0x4E6F_7720_6973_2074u64.to_be_bytes().into();
        cipher.encrypt_block(&mut block);
        assert_eq!(<[u8; 8]>::from(block), 0x3FA4_0E8A_984D_4815u64.to_be_bytes());
    }

    #[test]
    fn pictures_are_fitted() {
        let frame = Frame { width: 2, height: 2, rgb: (1..=12).collect() };
        assert_eq!(fitted(&frame, (1, 3)).rgb, [1, 2, 3, 7, 8, 9, 0, 0, 0]);
        assert_eq!(fitted(&frame, (3, 1)).rgb, [1, 2, 3, 4, 5, 6, 0, 0, 0]);
        assert_eq!(fitted(&Frame { width: 0, height: 0, rgb: Vec::new() }, (1, 1)).rgb, [0, 0, 0]);
    }
}
