//! The small files that a target needs: secrets, certificates, templates.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// As much of a file as is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file cannot be read. What went wrong is not called a source, as its words are part of this error's own.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", file.display())]
pub struct Unreadable {
    file: PathBuf,
    error: io::Error,
}

/// The content of a file, at most [`MAX_FILE`] bytes of it.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let opened = File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Unreadable {
            file: file.to_owned(),
            error,
        }),
    }
}

/// A number that changes with the content of the files: secrets and certificates change under the same name.
pub(crate) fn fingerprint(files: &[&Path]) -> Result<u64, Unreadable> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
