//! Host errors: what stops a run before or beside the guest, as one sentence for people.

use std::path::Path;

/// One sentence that names the file or option, what is wrong with it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    /// An error with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Error(sentence.into())
    }

    /// The host refused to `what` ("read", "create") the file at `path`.
    pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
                    format!("its folder '{}' does not exist; make it, or name another", folder.display())
                }
                _ => "there is no such file".to_owned(),
            },
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
            std::io::ErrorKind::NotADirectory => "it is no folder".to_owned(),
            _ => error.to_string(),
        };
        Error(format!("cannot {what} '{}': {reason}", path.display()))
    }

    /// The same sentence, after the option whose file it is about.
    #[must_use]
    pub fn of(self, option: &str) -> Self {
        Error(format!("{option}: {}", self.0))
    }
}

/// Result of anything the host can refuse.
pub type Result<T> = std::result::Result<T, Error>;
