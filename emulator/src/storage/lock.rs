//! Locks on image files, so that no two machines write one image.
//!
//! On Linux these are open-file-description locks on the bytes that QEMU locks (its `block/file-posix.c` documents
//! them), so the two programs keep out of each other's images: a shared lock on byte 100 + n says that permission n is
//! in use, one on byte 200 + n that nobody else may use it. Elsewhere the whole file is locked.

use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

/// Locks `file`, the image at `path`, for reading or for writing too, as long as it or a duplicate of it is open.
///
/// # Errors
/// One sentence if another machine has it. A file system without locks costs a warning only.
pub fn lock(file: &File, path: &Path, write: bool) -> Result<()> {
    match host::lock(file, write) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(format!(
            "'{}' is in use by another machine; stop that one, or give this one a copy of the image",
            path.display()
        ))),
        Err(error) => {
            log::warn!("'{}' cannot be locked ({error}); see to it that no other machine uses it", path.display());
            Ok(())
        }
    }
}

#[cfg(target_os = "linux")]
mod host {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    use std::fs::File;
    use std::io;

    const CONSISTENT_READ: i64 = 0;
    const WRITE: i64 = 1;
    const RESIZE: i64 = 3;
    /// First byte of those that say what is in use.
    const USED: i64 = 100;
    /// First byte of those that say what others may not use.
    const UNSHARED: i64 = 200;

    fn byte(kind: i32, at: i64) -> libc::flock {
        libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: at, l_len: 1, l_pid: 0 }
    }

    /// Whether somebody else has a lock on the byte.
    fn is_taken(file: &File, at: i64) -> io::Result<bool> {
        let mut probe = byte(libc::F_WRLCK, at);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut probe))?;
        Ok(i32::from(probe.l_type) != libc::F_UNLCK)
    }

    /// Whether nobody else stands in the way. The locks come first and the look around after them, so of two
    /// machines that start together at least one sees the other.
    pub fn lock(file: &File, write: bool) -> io::Result<bool> {
        let used: &[i64] = if write { &[CONSISTENT_READ, WRITE, RESIZE] } else { &[CONSISTENT_READ] };
        let unshared = [WRITE, RESIZE];
        let own = used.iter().map(|n| USED + n).chain(unshared.iter().map(|n| UNSHARED + n));
        for at in own {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_RDLCK, at))) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        let others = used.iter().map(|n| UNSHARED + n).chain(unshared.iter().map(|n| USED + n));
        for at in others {
            if is_taken(file, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(not(target_os = "linux"))]
mod host {
    use std::fs::{File, TryLockError};
    use std::io;

    /// Whether nobody else stands in the way.
    pub fn lock(file: &File, write: bool) -> io::Result<bool> {
        let result = if write { file.try_lock() } else { file.try_lock_shared() };
        match result {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
