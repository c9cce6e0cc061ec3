//! The real guests that `tools/guests` installs.

use std::path::{Path, PathBuf};

/// The guest file `name` that `tools/guests` installs. Without it a test is skipped locally and fails in CI.
#[must_use]
pub fn guest(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests").join(name);
    if path.exists() {
        return Some(path);
    }
    let hint = format!("guests/{name} is missing: run 'tools/guests ci' ('tools/guests debian' for debian.img)");
    assert!(std::env::var_os("CI").is_none(), "{hint}");
    eprintln!("skipped: {hint}");
    None
}
