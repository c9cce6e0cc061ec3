//! The "newc" cpio format, of which Linux's initial RAM disks are.

/// One archive entry: name, mode, device numbers, contents.
pub type Entry<'a> = (&'a str, u32, (u32, u32), &'a [u8]);

/// A cpio archive in the "newc" format: all numbers are eight hexadecimal digits, names and contents are padded to four
/// bytes.
#[must_use]
pub fn newc(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let trailer: Entry<'_> = ("TRAILER!!!", 0, (0, 0), &[]);
    for (inode, (name, mode, (major, minor), contents)) in (1u32..).zip(entries.iter().chain([&trailer])) {
        let (size, name_size) = (contents.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, file system's device (2), own device (2), name's size, checksum.
        out.extend(
            format!(
                "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}{0:08X}{0:08X}{major:08X}{minor:08X}{name_size:08X}{0:08X}",
                0, 1
            )
            .bytes(),
        );
        out.extend(name.bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(*contents);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_padded_and_end() {
        let archive = newc(&[("abc", 0o100_644, (0, 0), b"12345")]);
        let text = String::from_utf8_lossy(&archive).into_owned();
        assert!(text.starts_with("07070100000001000081A4"), "{text}");
        // Header 110 and name 4 make 114, padded to 116; contents 5, padded to 8.
        assert_eq!(&archive[110..116], b"abc\0\0\0");
        assert_eq!(&archive[116..130], b"12345\x00\x00\x00070701");
        assert!(text.contains("TRAILER!!!"));
        assert_eq!(archive.len() % 4, 0);
    }
}
