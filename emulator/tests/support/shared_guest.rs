//! Guests that no package ships.

use std::path::{Path, PathBuf};

/// An image that no package ships, unpacked: from the folder that `RING86_GUESTS` names, or `../shared/guests` beside
/// the repository. Without it a test is skipped.
#[must_use]
pub fn shared_guest(name: &str) -> Option<Vec<u8>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/guests");
    let folder = std::env::var_os("RING86_GUESTS").map_or(beside, PathBuf::from);
    let path = folder.join(format!("{name}.gz"));
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("skipped: there is no {name}.gz; name its folder in RING86_GUESTS");
        return None;
    };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(bytes)
}
