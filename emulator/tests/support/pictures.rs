//! Screenshots of tests, kept for people to look at.

use crate::folder::Folder;

/// Checks that `file` in a test's folder is a PNG, and copies it to the folder that `RING86_PICTURES` names, if it does.
pub fn keep(folder: &Folder, file: &str, name: &str) {
    let png = folder.read(file);
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{file} is no picture");
    if let Some(kept) = std::env::var_os("RING86_PICTURES") {
        let path = std::path::Path::new(&kept).join(format!("{name}.png"));
        std::fs::write(&path, png).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
