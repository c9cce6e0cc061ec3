//! The TFTP server at the gateway (RFC 1350; options of RFC 2347 to 2349): gives files from one folder, takes none.
//!
//! The guest drives it: each of its packets has at most one answer, and what was lost it asks for again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddrV4;
use std::path::{Component, Path, PathBuf};

/// Where requests go.
pub(super) const SERVER_PORT: u16 = 69;
/// Where the server's end of every transfer is.
pub(super) const TRANSFER_PORT: u16 = 1069;
/// Transfers at a time; the oldest makes room.
const TRANSFERS: usize = 16;
/// Bytes in a block, unless the client asks for another size.
const BLOCK: usize = 512;
/// Sizes of blocks that a client may ask for: RFC 2348's least, and what fits into one frame.
const BLOCKS: (usize, usize) = (8, 1468);

mod opcode {
    pub(super) const READ: u16 = 1;
    pub(super) const WRITE: u16 = 2;
    pub(super) const DATA: u16 = 3;
    pub(super) const ACK: u16 = 4;
    pub(super) const ERROR: u16 = 5;
    pub(super) const OPTIONS: u16 = 6;
}

mod error {
    pub(super) const OTHER: u16 = 0;
    pub(super) const NOT_FOUND: u16 = 1;
    pub(super) const FORBIDDEN: u16 = 2;
    pub(super) const BAD_REQUEST: u16 = 4;
    pub(super) const UNKNOWN_TRANSFER: u16 = 5;
}

#[derive(Debug)]
struct Transfer {
    client: SocketAddrV4,
    file: File,
    len: u64,
    block: usize,
    /// Blocks that the client has confirmed.
    confirmed: u64,
}

/// The server.
#[derive(Debug)]
pub(super) struct Tftp {
    /// The folder, without symbolic links in its path.
    folder: PathBuf,
    transfers: Vec<Transfer>,
}

fn packet(opcode: u16, number: u16, rest: &[u8]) -> Vec<u8> {
    [&opcode.to_be_bytes()[..], &number.to_be_bytes(), rest].concat()
}

fn refuse(code: u16, why: &str) -> Vec<u8> {
    packet(opcode::ERROR, code, &[why.as_bytes(), &[0]].concat())
}

impl Tftp {
    /// A server for the files in `folder`.
    ///
    /// # Errors
    /// If there is no such folder.
    pub(super) fn new(folder: &Path) -> std::io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        Ok(Tftp { folder, transfers: Vec::new() })
    }

    /// Answers a packet that `client` sent to [`SERVER_PORT`].
    pub(super) fn request(&mut self, client: SocketAddrV4, message: &[u8]) -> Vec<u8> {
        self.transfers.retain(|transfer| transfer.client != client);
        match message {
            [0, 1, rest @ ..] => self.read(client, rest).unwrap_or_else(|(code, why)| refuse(code, why)),
            [0, 2, ..] => refuse(error::FORBIDDEN, "this server takes no files"),
            _ => refuse(error::BAD_REQUEST, "no request"),
        }
    }

    fn read(&mut self, client: SocketAddrV4, request: &[u8]) -> Result<Vec<u8>, (u16, &'static str)> {
        let bad = (error::BAD_REQUEST, "the request is damaged");
        let mut words = request.split(|byte| *byte == 0).map(std::str::from_utf8);
        let mut word = || words.next().and_then(Result::ok);
        let name = word().ok_or(bad)?;
        let mode = word().ok_or(bad)?;
        if !mode.eq_ignore_ascii_case("octet") {
            return Err((error::OTHER, "this server knows mode octet only"));
        }
        let (file, len) = self.open(name)?;
        let mut transfer = Transfer { client, file, len, block: BLOCK, confirmed: 0 };
        let mut accepted = Vec::new();
        while let (Some(option), Some(value)) = (word(), word()) {
            let value = match option.to_ascii_lowercase().as_str() {
                "blksize" => {
                    let Ok(size) = value.parse::<usize>() else { continue };
                    if size < BLOCKS.0 {
                        continue;
                    }
                    transfer.block = size.min(BLOCKS.1);
                    transfer.block.to_string()
                }
                "tsize" => len.to_string(),
                _ => continue,
            };
            accepted.extend([option.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
        }
        let answer = if accepted.is_empty() {
            transfer.data()
        } else {
            // The client confirms block 0 before the first one comes.
            [&opcode::OPTIONS.to_be_bytes()[..], &accepted].concat()
        };
        if self.transfers.len() >= TRANSFERS {
            self.transfers.remove(0);
        }
        self.transfers.push(transfer);
        Ok(answer)
    }

    /// Opens a file in the folder. Its name's leading slashes mean the folder.
    fn open(&self, name: &str) -> Result<(File, u64), (u16, &'static str)> {
        let missing = |_| (error::NOT_FOUND, "there is no such file");
        let path = Path::new(name.trim_start_matches('/'));
        if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err((error::FORBIDDEN, "that is outside the folder"));
        }
        let path = self.folder.join(path).canonicalize().map_err(missing)?;
        // A symbolic link may lead out of it.
        if !path.starts_with(&self.folder) {
            return Err((error::FORBIDDEN, "that is outside the folder"));
        }
        let meta = path.metadata().map_err(missing)?;
        if !meta.is_file() {
            return Err((error::NOT_FOUND, "that is no file"));
        }
        Ok((File::open(path).map_err(missing)?, meta.len()))
    }

    /// Answers a packet that `client` sent to [`TRANSFER_PORT`].
    pub(super) fn transfer(&mut self, client: SocketAddrV4, message: &[u8]) -> Option<Vec<u8>> {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.client == client) else {
            return Some(refuse(error::UNKNOWN_TRANSFER, "there is no such transfer"));
        };
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        match (word(0)?, word(2)?) {
            (opcode::ACK, number) => {
                let transfer = &mut self.transfers[at];
                if number == transfer.confirmed.wrapping_add(1) as u16 && transfer.is_sending() {
                    transfer.confirmed += 1;
                } else if number != transfer.confirmed as u16 {
                    return None;
                }
                if transfer.is_sending() {
                    return Some(transfer.data());
                }
                self.transfers.remove(at);
            }
            (opcode::ERROR, _) => drop(self.transfers.remove(at)),
            (opcode::READ | opcode::WRITE | opcode::DATA | opcode::OPTIONS, _) => {}
            _ => return Some(refuse(error::BAD_REQUEST, "no packet of a transfer")),
        }
        None
    }
}

impl Transfer {
    /// Whether a block is still to be confirmed: the last one is shorter than the others.
    fn is_sending(&self) -> bool {
        self.confirmed <= self.len / self.block as u64
    }

    /// The block behind the confirmed ones.
    fn data(&mut self) -> Vec<u8> {
        let start = self.confirmed * self.block as u64;
        let mut data = vec![0; usize::try_from(self.len.saturating_sub(start)).unwrap_or(0).min(self.block)];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut data));
        match read {
            Ok(()) => packet(opcode::DATA, self.confirmed.wrapping_add(1) as u16, &data),
            Err(_) => refuse(error::OTHER, "the file cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::{fs, process};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ring86-tftp-{name}-{}", process::id()));
            fs::create_dir_all(path.join("inside/deep")).unwrap();
            fs::write(path.join("inside/even"), vec![7; 1024]).unwrap();
            fs::write(path.join("inside/deep/short"), b"abc").unwrap();
            fs::write(path.join("secret"), b"secret").unwrap();
            Folder(path)
        }

        fn server(&self) -> Tftp {
            Tftp::new(&self.0.join("inside")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 2000);

    fn ask(server: &mut Tftp, request: &str) -> Vec<u8> {
        server.request(CLIENT, &[&[0, 1], request.as_bytes()].concat())
    }

    fn ack(server: &mut Tftp, number: u16) -> Option<Vec<u8>> {
        server.transfer(CLIENT, &packet(opcode::ACK, number, &[]))
    }

    #[test]
    fn a_file_comes_in_blocks_and_ends_with_a_short_one() {
        let folder = Folder::new("blocks");
        let mut server = folder.server();
        let first = ask(&mut server, "even\0octet\0");
        assert_eq!((&first[..4], first.len()), (&[0, 3, 0, 1][..], 516));
        assert_eq!(ack(&mut server, 1).map(|p| (p[3], p.len())), Some((2, 516)));
        assert_eq!(ack(&mut server, 1).map(|p| (p[3], p.len())), Some((2, 516)), "asked again");
        assert_eq!(ack(&mut server, 7), None);
        assert_eq!(ack(&mut server, 2).map(|p| (p[3], p.len())), Some((3, 4)));
        assert_eq!(ack(&mut server, 3), None);
        assert_eq!(ack(&mut server, 3).map(|p| p[1]), Some(5), "the transfer is over");
    }

    #[test]
    fn options_are_confirmed_before_the_first_block() {
        let folder = Folder::new("options");
        let mut server = folder.server();
        let answer = ask(&mut server, "/deep/short\0OCTET\0blksize\x009000\0tsize\x000\0windowsize\x004\0");
        assert_eq!(answer, b"\0\x06blksize\x001468\0tsize\x003\0");
        assert_eq!(ack(&mut server, 0).as_deref(), Some(&b"\0\x03\0\x01abc"[..]));
        assert_eq!(ack(&mut server, 1), None);
    }

    #[test]
    fn nothing_outside_the_folder_is_given_and_nothing_is_taken() {
        let folder = Folder::new("outside");
        let mut server = folder.server();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.0.join("secret"), folder.0.join("inside/link")).unwrap();
        for (name, code) in [("../secret", 2), ("deep/../../secret", 2), ("/../secret", 2), ("none", 1), ("deep", 1)] {
            assert_eq!(ask(&mut server, &format!("{name}\0octet\0"))[..4], [0, 5, 0, code], "{name}");
        }
        #[cfg(unix)]
        assert_eq!(ask(&mut server, "link\0octet\0")[..4], [0, 5, 0, 2]);
        let absolute = folder.0.join("secret").display().to_string();
        assert_eq!(ask(&mut server, &format!("{absolute}\0octet\0"))[..4], [0, 5, 0, 1]);
        assert_eq!(server.request(CLIENT, b"\0\x02new\0octet\0")[..4], [0, 5, 0, 2]);
        assert!(!folder.0.join("inside/new").exists());
    }

    #[test]
    fn nonsense_is_survived() {
        let folder = Folder::new("nonsense");
        let mut server = folder.server();
        for bad in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\0\x01even",
            b"\0\x01\xff\xfe\0octet\0",
            b"\0\x01even\0netascii\0",
            b"\0\x09",
        ] {
            assert_eq!(server.request(CLIENT, bad)[1], 5, "{bad:?}");
        }
        ask(&mut server, "even\0octet\0");
        assert_eq!(server.transfer(CLIENT, b"\0"), None);
        assert_eq!(server.transfer(CLIENT, b"\0\x04\0"), None);
        for port in 0..100 {
            server.request(SocketAddrV4::new(*CLIENT.ip(), port), b"\0\x01even\0octet\0");
        }
        assert_eq!(server.transfers.len(), TRANSFERS);
        assert!(Tftp::new(&folder.0.join("secret")).is_err());
    }
}
