//! One attempt on a file at a time, over all processes; and what the last one has left.
//!
//! The lock is a file beside, which stays. The kernel releases the lock with its process.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::process::Process;

/// Between two looks whether the lock is free.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// More than a process leaves, bytes.
const MAX: u64 = 1 << 20;
/// Who waits longer than this says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The lock of a file; released when dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

/// What a sidekick has left in the file, and what it has proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// A hash of the text.
    text: u64,
    /// When the file became what it is.
    since: SystemTime,
    /// Who runs it, as far as that is known.
    pub(super) proven: Option<Proven>,
}

/// The nginx that has a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proven {
    pub(super) master: Process,
    /// Its workers at that time.
    pub(super) workers: BTreeSet<Process>,
}

impl Left {
    pub(super) fn new(text: &str, since: SystemTime, proven: Option<Proven>) -> Self {
        Self {
            text: hash(text),
            since,
            proven,
        }
    }

    /// Whether it is this text, apart from when the file got it.
    pub(super) fn has(&self, text: &str) -> bool {
        self.text == hash(text)
    }

    /// Whether nobody has touched the file since.
    pub(super) fn is(&self, text: &str, since: SystemTime) -> bool {
        self.since == since && self.has(text)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Takes the lock at `path`; `None` when another one has it.
pub(super) fn take(path: &Path) -> io::Result<Option<Lock>> {
    let file = match open(path, true) {
        // A file of another user can be locked, though not written.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(path, false)?,
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the last process with the lock has left.
pub(super) fn read(path: &Path) -> io::Result<Left> {
    let mut text = Vec::new();
    open(path, false)?.take(MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Opens a regular file. Nothing else in its place is followed, or waited for.
fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(write).create(write).mode(0o644);
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

impl Lock {
    /// Writes down for other processes what is left. A reader that meets half of it takes it for nothing.
    pub(super) fn note(&self, left: &Left) -> io::Result<()> {
        let text = serde_json::to_vec(left)?;
        self.0.set_len(0)?;
        self.0.write_all_at(&text, 0)
    }
}

#[cfg(test)]
mod tests;
