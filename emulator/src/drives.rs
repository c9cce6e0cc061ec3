//! The drives of a machine: `--floppy`, `--hd`, `--cd`, `--boot`, and where a bare image goes.

use crate::boot::image::{self, Kind};
use crate::boot::linux::Entry;
use crate::config::MachineConfig;
use crate::error::{Error, Result};
use crate::storage::{self, Access, Image, Opened, Role};
use clap::Args;
use ring86_devices::BlockMedia;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The IDE place of the CD drive: master of the second channel, where PCs have it.
pub const CD_PLACE: usize = 2;
/// The file name that stands for an empty drive.
const EMPTY: &str = "none";
/// Bytes of a hard disk's sector.
const SECTOR: u64 = 512;
/// Words before a file's name that say what it is.
const PREFIXES: [&str; 3] = ["fat:", "raw:", "qcow2:"];

/// Why a medium for drive B has no place.
pub const NO_DRIVE_B: &str = "the machine has no drive B; start it with --floppy twice ('none' is an empty drive)";
/// Why a disc has no place.
pub const NO_CD_DRIVE: &str = "the machine has no CD drive; start it with --cd ('none' is an empty drive)";

/// A drive for removable media.
#[derive(Clone, Debug, Default)]
pub enum Bay {
    /// No drive.
    #[default]
    Absent,
    /// A drive with nothing in it.
    Empty,
    /// A drive with a disk in it.
    Loaded(Image),
}

impl Bay {
    /// What is in it.
    pub fn image(&self) -> Option<&Image> {
        match self {
            Bay::Loaded(image) => Some(image),
            Bay::Absent | Bay::Empty => None,
        }
    }

    /// Whether there is a drive.
    pub fn is_present(&self) -> bool {
        !matches!(self, Bay::Absent)
    }
}

/// What the firmware can start from, with the number that CMOS gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// Floppy drive A.
    Floppy = 1,
    /// The first hard disk.
    Disk = 2,
    /// The CD drive.
    Cd = 3,
    /// The network card, by its ROM.
    Network = 4,
}

/// What the user wants started first, second and third; whatever is not named comes after that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootOrder {
    /// In this order.
    pub devices: Vec<BootDevice>,
    /// The firmware asks first.
    pub menu: bool,
}

impl FromStr for BootOrder {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.eq_ignore_ascii_case("menu") {
            return Ok(BootOrder { devices: Vec::new(), menu: true });
        }
        let mut order = Vec::new();
        for letter in text.chars() {
            let device = match letter.to_ascii_lowercase() {
                'a' => BootDevice::Floppy,
                'c' => BootDevice::Disk,
                'd' => BootDevice::Cd,
                'n' => BootDevice::Network,
                _ => {
                    return Err(
                        "use a (floppy), c (hard disk), d (CD), n (network), several with the first one first, or \
                                menu"
                            .to_owned(),
                    );
                }
            };
            if order.contains(&device) {
                return Err(format!("'{letter}' is there twice"));
            }
            order.push(device);
        }
        if order.is_empty() {
            return Err("use a (floppy), c (hard disk), d (CD) or n (network)".to_owned());
        }
        Ok(BootOrder { devices: order, menu: false })
    }
}

/// A device on an IDE cable.
#[derive(Clone, Debug)]
pub enum Unit {
    /// A hard disk.
    Disk(Image),
    /// A CD drive, with or without a disc.
    Cd(Option<Image>),
}

/// All drives of a machine.
#[derive(Clone, Debug, Default)]
pub struct Drives {
    /// Floppy drives A and B.
    pub floppies: [Bay; 2],
    /// Hard disks, first to fourth. With a CD drive there are at most three.
    pub disks: Vec<Image>,
    /// The CD drive.
    pub cd: Bay,
    /// What the firmware starts from.
    pub boot: BootOrder,
}

impl Drives {
    /// Drives on the floppy cable: one at least, as on every PC, though a machine without disks does not tell its
    /// firmware of it.
    pub fn floppy_drives(&self) -> usize {
        if self.floppies[1].is_present() { 2 } else { 1 }
    }

    /// The drives' types for the CMOS: by the disk that is in them, else 1.44 MB.
    pub fn floppy_types(&self) -> [u8; 2] {
        self.floppies.each_ref().map(|bay| match bay {
            Bay::Absent => 0,
            Bay::Empty => 4,
            Bay::Loaded(image) => image::drive_type(image.len()),
        })
    }

    /// The boot order for the CMOS: what the user wants, then whatever else there is.
    pub fn boot_order(&self) -> [u8; 3] {
        let rest = [BootDevice::Floppy, BootDevice::Disk, BootDevice::Cd];
        let rest = rest.into_iter().filter(|device| !self.boot.devices.contains(device));
        let mut order = self.boot.devices.iter().copied().chain(rest).map(|device| device as u8);
        std::array::from_fn(|_| order.next().unwrap_or(0))
    }

    /// The IDE devices by place: 0 and 1 are master and slave of the first channel, 2 and 3 of the second.
    pub fn ide_units(&self) -> Vec<(usize, Unit)> {
        let cd = match &self.cd {
            Bay::Absent => None,
            Bay::Empty => Some(Unit::Cd(None)),
            Bay::Loaded(image) => Some(Unit::Cd(Some(image.clone()))),
        };
        let places = (0..4).filter(|place| cd.is_none() || *place != CD_PLACE);
        let mut units: Vec<_> = places.zip(self.disks.iter().cloned().map(Unit::Disk)).collect();
        units.extend(cd.map(|cd| (CD_PLACE, cd)));
        units
    }
}

/// The options about drives.
#[derive(Clone, Debug, Default, Args)]
pub struct DriveArgs {
    /// Floppy image for drive A, the second time for B; 'none' is a drive without a disk.
    #[arg(long, value_name = "FILE")]
    floppy: Vec<PathBuf>,
    /// Hard disk image, raw or qcow2, up to four times. raw:FILE or qcow2:FILE says which; fat:FOLDER is a folder as a disk.
    #[arg(long, value_name = "FILE")]
    hd: Vec<PathBuf>,
    /// CD image; 'none' is a drive without a disc.
    #[arg(long, value_name = "FILE")]
    cd: Option<PathBuf>,
    /// What to start from: a (floppy), c (hard disk), d (CD), n (network, needs --option-rom), or several, the first one
    /// first; or menu, which asks.
    #[arg(long, value_name = "LETTERS")]
    boot: Option<BootOrder>,
    /// Throw away what the guest writes to its disks.
    #[arg(long)]
    ephemeral: bool,
    /// A file that a qcow2 image may use as its backing file.
    #[arg(long, value_name = "FILE")]
    backing: Vec<PathBuf>,
    /// What the bare image seems to be.
    #[arg(skip)]
    guess: Option<(PathBuf, Role, String)>,
}

impl DriveArgs {
    /// Whether a drive is asked for.
    pub fn is_empty(&self) -> bool {
        self.floppy.is_empty() && self.hd.is_empty() && self.cd.is_none()
    }

    /// What holds for all images, later ones too.
    pub fn access(&self) -> Access {
        Access { ephemeral: self.ephemeral, backing: self.backing.clone() }
    }

    /// The same drives, with what the guest writes thrown away: several machines can have them at once.
    pub fn ephemeral(&self) -> Self {
        DriveArgs { ephemeral: true, ..self.clone() }
    }

    /// Opens all images and puts them into the machine. Returns what the user should know about them.
    ///
    /// # Errors
    /// One sentence if there are too many, or one cannot be opened.
    pub fn insert(&self, config: &mut MachineConfig) -> Result<Vec<String>> {
        if let Some(extra) = self.floppy.get(2) {
            return Err(Error::new(format!("--floppy {}: a PC has two floppy drives; leave one out", extra.display())));
        }
        let most = if self.cd.is_some() { 3 } else { 4 };
        if let Some(extra) = self.hd.get(most) {
            let beside = if most == 3 { " beside the CD drive" } else { "" };
            return Err(Error::new(format!(
                "--hd {}: there is room for {most} hard disks{beside}; leave one out",
                extra.display()
            )));
        }
        let mut loader = Loader { drives: self, access: self.access(), loaded: Vec::new(), notes: Vec::new() };
        for (path, bay) in self.floppy.iter().zip(&mut config.drives.floppies) {
            *bay = loader.load(path, Role::Floppy)?;
        }
        for path in &self.hd {
            if let Bay::Loaded(image) = loader.load(path, Role::Disk)? {
                config.drives.disks.push(image);
            }
        }
        if let Some(path) = &self.cd {
            config.drives.cd = loader.load(path, Role::Cd)?;
        }
        if let Some(order) = &self.boot {
            if order.devices.contains(&BootDevice::Network) && config.network_rom.is_none() {
                return Err(Error::new(
                    "--boot n: the network card's ROM does that; give one with --option-rom, for example iPXE's",
                ));
            }
            config.drives.boot = order.clone();
        }
        Ok(loader.notes)
    }

    /// Puts the file at `path` where its contents say it belongs, before the other drives. A kernel becomes the payload,
    /// with `append` and `initrd`, and what it is comes back for the user.
    ///
    /// # Errors
    /// One sentence if it is no image, cannot be opened, or `append` and `initrd` have no use.
    pub fn insert_bare(
        &mut self,
        config: &mut MachineConfig,
        path: &Path,
        append: &str,
        initrd: Option<(String, Vec<u8>)>,
        entry: Entry,
    ) -> Result<Option<String>> {
        if path.is_dir() {
            return Err(a_folder(path));
        }
        let (mut head, mut len) = read_head(path)?;
        let name = path.display().to_string();
        let packed = image::is_gzip(&head);
        if packed {
            head = image::unpacked(&name, crate::session::read_file(path)?)?;
            len = head.len() as u64;
        }
        let kind = image::recognise(&head, len).ok_or_else(|| image::unknown(&name, len))?;
        if packed && !matches!(kind, Kind::Linux | Kind::Multiboot | Kind::Elf) {
            return Err(Error::new(format!(
                "'{name}' is a disk image that gzip compressed; unpack it with gunzip first"
            )));
        }
        let (what, device) = match kind {
            Kind::Linux | Kind::Multiboot | Kind::Elf => {
                if config.payload.is_some() {
                    return Err(Error::new(format!("'{name}' is a second kernel beside --kernel; give one")));
                }
                let bytes = image::unpacked(&name, crate::session::read_file(path)?)?;
                let payload = image::kernel(&name, &bytes, append, initrd, entry)?;
                let what = format!("'{name}' is {}", payload.describe());
                config.payload = Some(payload);
                return Ok(Some(what));
            }
            Kind::Floppy => {
                self.floppy.insert(0, path.to_owned());
                ("a floppy", BootDevice::Floppy)
            }
            Kind::Disk | Kind::Qcow2 => {
                self.hd.insert(0, path.to_owned());
                (if kind == Kind::Disk { "a hard disk" } else { "a qcow2 hard disk" }, BootDevice::Disk)
            }
            Kind::Cd => {
                if let Some(other) = self.cd.replace(path.to_owned()) {
                    let other = other.display();
                    return Err(Error::new(format!("'{name}' is a CD image beside --cd {other}; give one of them")));
                }
                ("a CD", BootDevice::Cd)
            }
        };
        if initrd.is_some() || !append.is_empty() {
            return Err(Error::new(format!("'{name}' is {what} image, which takes no --initrd and no --append")));
        }
        let guess = format!("{what} image of {} KiB{}", len.div_ceil(1024), image::details(kind, &head));
        let role = match device {
            BootDevice::Floppy => Role::Floppy,
            BootDevice::Cd => Role::Cd,
            BootDevice::Disk | BootDevice::Network => Role::Disk,
        };
        self.guess = Some((path.to_owned(), role, guess));
        if self.boot.is_none() {
            self.boot = Some(BootOrder { devices: vec![device], menu: false });
        }
        Ok(None)
    }
}

/// Opens the images of one machine, one after the other.
struct Loader<'a> {
    drives: &'a DriveArgs,
    access: Access,
    /// What it has opened, with the option that named it; the bare image has none.
    loaded: Vec<(&'static str, PathBuf)>,
    /// What the user should know: what each is taken for and what becomes of it.
    notes: Vec<String>,
}

impl Loader<'_> {
    fn load(&mut self, path: &Path, role: Role) -> Result<Bay> {
        if path.as_os_str() == EMPTY && role != Role::Disk {
            return Ok(Bay::Empty);
        }
        let name = path.display();
        let guess = self.drives.guess.as_ref();
        // The bare image is the first of its kind.
        let guess = guess.filter(|(guessed, kind, _)| guessed == path && *kind == role);
        let guess = guess.filter(|_| !self.loaded.iter().any(|(option, _)| option.is_empty()));
        let option = match role {
            _ if guess.is_some() => "",
            Role::Floppy => "--floppy",
            Role::Disk => "--hd",
            Role::Cd => "--cd",
        };
        let named = |error: Error| if option.is_empty() { error } else { error.of(option) };
        let opened =
            open(path, role, &self.access).map_err(|error| self.twice(option, path).unwrap_or_else(|| named(error)))?;
        let mut what = match (guess, role) {
            (Some((.., guess)), _) => guess.clone(),
            (None, Role::Floppy) => "a floppy image".to_owned(),
            (None, Role::Disk) => format!("a {} hard disk image", opened.format),
            (None, Role::Cd) => "a CD image".to_owned(),
        };
        if role == Role::Disk && opened.format == "raw" {
            let rest = std::fs::metadata(file_of(path)).map_or(0, |meta| meta.len()) % SECTOR;
            if rest != 0 {
                what += &format!(", without its last {rest} bytes, which are no whole sector of {SECTOR}");
            }
        }
        self.notes.push(format!("'{name}' is {what}{}", opened.writes));
        self.loaded.push((option, path.to_owned()));
        Ok(Bay::Loaded(opened.image))
    }

    /// The error for an image that could not be opened because this machine has it already.
    fn twice(&self, option: &'static str, path: &Path) -> Option<Error> {
        let file = file_of(path);
        // Any number of readers may have it.
        let written = file.is_dir() || std::fs::OpenOptions::new().write(true).open(&file).is_ok();
        if self.access.ephemeral || !written {
            return None;
        }
        let naming = |option: &'static str| if option.is_empty() { "the image" } else { option };
        let (other, other_path) = self.loaded.iter().find(|(_, other)| is_same_file(&file_of(other), &file))?;
        Some(Error::new(format!(
            "{} {}: {} {} is the same file, and a file can be in one drive alone; leave one out, or copy it",
            naming(option),
            path.display(),
            naming(other),
            other_path.display()
        )))
    }
}

/// Opens an image as [`storage::open`] does, and knows names that are mistakes.
///
/// # Errors
/// As there.
pub fn open(path: &Path, role: Role, access: &Access) -> Result<Opened> {
    check_name(path, role)?;
    storage::open(path, role, access)
}

/// Whether an image for `role` can have this name.
///
/// # Errors
/// One sentence if that cannot be meant.
pub fn check_name(path: &Path, role: Role) -> Result<()> {
    let name = path.display();
    let text = path.to_str().unwrap_or_default();
    let (prefix, rest) = prefix_of(text);
    if path.exists() && !path.is_dir() {
        return Ok(());
    }
    if !prefix.is_empty() && rest.is_empty() {
        let what = if prefix == "fat:" { "FOLDER" } else { "FILE" };
        return Err(Error::new(format!("'{prefix}' lacks a name; write {prefix}{what}")));
    }
    if role != Role::Disk {
        return if prefix == "fat:" {
            Err(Error::new(format!("{name}: a folder can be a hard disk only; use --hd {name}")))
        } else {
            Ok(())
        };
    }
    if text == EMPTY {
        return Err(Error::new(
            "none: there is no empty hard disk; leave it out, or write ./none for a file of that name",
        ));
    }
    let folder = Path::new(rest);
    if prefix != "fat:" && folder.is_dir() { Err(a_folder(folder)) } else { Ok(()) }
}

fn a_folder(path: &Path) -> Error {
    let name = path.display();
    Error::new(format!("cannot read '{name}': it is a folder; use --hd fat:{name} to have it as a disk"))
}

/// The word before an image's name that says what it is, with its colon, and the name. The word may be empty.
pub fn prefix_of(name: &str) -> (&str, &str) {
    let prefix = PREFIXES.into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or_default();
    name.split_at(prefix.len())
}

/// The file or folder that an image's name means.
pub fn file_of(path: &Path) -> PathBuf {
    match path.to_str() {
        Some(name) if !path.exists() => prefix_of(name).1.into(),
        _ => path.to_owned(),
    }
}

/// Whether two names lead to one file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    place(a).is_some_and(|place_of_a| Some(place_of_a) == place(b))
}

/// The first bytes of a file, and its length.
fn read_head(path: &Path) -> Result<(Vec<u8>, u64)> {
    let refused = |e| Error::io("read", path, &e);
    let (mut file, _) = storage::open_file(path, false)?;
    let len = file.seek(SeekFrom::End(0)).map_err(refused)?;
    file.seek(SeekFrom::Start(0)).map_err(refused)?;
    let mut head = Vec::new();
    file.take(image::HEAD as u64).read_to_end(&mut head).map_err(refused)?;
    Ok((head, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_orders() {
        let order = |text: &str| {
            text.parse().map(|boot| Drives { boot, ..Drives::default() }.boot_order()).map_err(|e: String| e)
        };
        assert_eq!(Drives::default().boot_order(), [1, 2, 3]);
        assert_eq!(order("d"), Ok([3, 1, 2]));
        assert_eq!(order("ca"), Ok([2, 1, 3]));
        assert_eq!(order("DCA"), Ok([3, 2, 1]));
        assert_eq!(order("n"), Ok([4, 1, 2]));
        assert_eq!(order("menu"), Ok([1, 2, 3]));
        assert!("menu".parse::<BootOrder>().is_ok_and(|boot| boot.menu));
        for (bad, says) in [("", "use a"), ("x", "use a"), ("aa", "twice"), ("nn", "twice")] {
            let error = order(bad).expect_err(bad);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_cd_drive_is_master_of_the_second_channel() {
        let disk = || Image::memory(vec![0; 512], false);
        let mut drives = Drives { disks: vec![disk(), disk(), disk()], ..Drives::default() };
        let places = |drives: &Drives| drives.ide_units().into_iter().map(|(place, _)| place).collect::<Vec<_>>();
        assert_eq!(places(&drives), [0, 1, 2]);
        drives.cd = Bay::Empty;
        assert_eq!(places(&drives), [0, 1, 3, 2]);
        assert_eq!(drives.floppy_types(), [0, 0]);
        drives.floppies[1] = Bay::Loaded(Image::memory(vec![0; 720 << 10], false));
        assert_eq!((drives.floppy_types(), drives.floppy_drives()), ([0, 3], 2));
    }
}
