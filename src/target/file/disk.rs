//! The file: written beside and renamed, and put back when nginx does not take it.
//!
//! While something new is tried, the former file stays beside under another name, so that putting it back needs no room on the
//! disk, and so that the next start can do it when this process is killed meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::lock::{self, Left, Lock};
use super::settings::Settings;
use crate::target::Error;
use crate::util::log_limit;
use crate::util::sanitize::printable;

/// The largest file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// The permissions of a new file.
const MODE: u32 = 0o644;
/// As many symbolic links as Linux follows.
const MAX_LINKS: usize = 40;
/// A file beside that is older was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(10);

/// The file of one nginx.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    settings: Arc<Settings>,
    /// One operation at a time: an operation goes on after its future is dropped.
    busy: Arc<Mutex<()>>,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) text: String,
    /// When it became what it is.
    pub(super) since: SystemTime,
}

impl Disk {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let busy = Arc::default();
        Self { settings, busy }
    }

    /// After a process was killed in the middle of a change: puts the former file back and removes what is left beside.
    ///
    /// # Errors
    ///
    /// [`Error::File`], as for all operations.
    pub(super) async fn recover(&self) -> Result<(), Error> {
        self.off("what was left beside cannot be put back", |path| {
            remove(&beside(path, "new"))?;
            match fs::symlink_metadata(beside(path, "former")) {
                Ok(_) => restore(path),
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Waits until no other process works on the file; `None` when there can be no lock here.
    pub(super) async fn lock(&self) -> Option<Lock> {
        let started = Instant::now();
        let mut is_said = false;
        loop {
            let taken = self.off("cannot be locked", |path| lock::take(&beside(path, "lock")));
            match taken.await {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => {}
                Err(error) => {
                    if let Some(more) = log_limit::allows("no lock", self.settings.shown()) {
                        warn!(
                            "{error}: going on without the lock; another sidekick at this file may undo this{more}"
                        );
                    }
                    return None;
                }
            }
            if !is_said && started.elapsed() >= lock::PATIENCE {
                is_said = true;
                let file = self.settings.shown();
                if let Some(more) = log_limit::allows("locked", file.clone()) {
                    info!("another sidekick is changing {file}; waiting{more}");
                }
            }
            sleep(lock::PAUSE).await;
        }
    }

    /// What the last process with the lock has left; `None` when that is not known.
    pub(super) async fn left(&self) -> Option<Left> {
        let what = "the lock cannot be read";
        let read = self.off(what, |path| lock::read(&beside(path, "lock")));
        read.await.ok()
    }

    /// What is there when no attempt is under way; else what was there before it.
    pub(super) async fn settled(&self) -> Result<Option<Content>, Error> {
        let what = "cannot be read";
        let former = self
            .off(what, |path| content(&beside(path, "former")))
            .await;
        match former {
            Ok(Some(former)) => Ok(Some(former)),
            _ => self.read().await,
        }
    }

    /// What is there; `None` when there is no file.
    pub(super) async fn read(&self) -> Result<Option<Content>, Error> {
        self.off("cannot be read", content).await
    }

    /// Replaces the file. What was there before the first replacement stays beside until it is
    /// [kept](Disk::keep) or [put back](Disk::restore).
    pub(super) async fn write(&self, text: &str) -> Result<(), Error> {
        let text = text.to_owned();
        let written = self.off("cannot be written", move |path| {
            // Fails where there is one already, or nothing to keep, or the file system has no links: then the content is written
            // anew when it is to be put back.
            let _ = fs::hard_link(path, beside(path, "former"));
            replace(path, &text)
        });
        written.await
    }

    /// The new file stays.
    pub(super) async fn keep(&self) -> Result<(), Error> {
        let what = "the former file beside cannot be removed";
        self.off(what, |path| remove(&beside(path, "former"))).await
    }

    /// Puts back what was there, which was `former`.
    pub(super) async fn restore(&self, former: Option<&str>) -> Result<(), Error> {
        let former = former.map(str::to_owned);
        let what = "the former content cannot be put back";
        let restored = self.off(what, move |path| match former {
            None => {
                remove(path)?;
                remove(&beside(path, "former"))
            }
            Some(_) if beside(path, "former").exists() => restore(path),
            Some(text) if fs::read(path).is_ok_and(|there| there == text.as_bytes()) => Ok(()),
            Some(text) => replace(path, &text),
        });
        restored.await
    }

    /// Runs it on another thread, as disks may be slow; `failed` begins the message of an error.
    async fn off<T: Send + 'static>(
        &self,
        failed: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (path, busy) = (self.settings.file.clone(), self.busy.clone());
        let work = move || {
            let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            work(&followed(&path)?)
        };
        let reason = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => printable(error.to_string(), 300),
            Err(_) => "the attempt was given up".to_owned(),
        };
        Err(self.settings.file_error(format!("{failed}: {reason}")))
    }
}

fn content(path: &Path) -> io::Result<Option<Content>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE => Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has {} bytes", metadata.len()),
        )),
        Ok(metadata) => {
            let bytes = fs::read(path)?;
            // What is no text was not written here and will be replaced.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let since = changed(&metadata);
            Ok(Some(Content { text, since }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a path leads by symbolic links, which are kept. The file at the end need not be there yet, but its folder.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&end) {
            Ok(target) => end = end.parent().unwrap_or(&end).join(target),
            Err(_) if end == path => return Ok(end),
            Err(_) => {
                let folder = fs::canonicalize(end.parent().unwrap_or(&end));
                let folder = folder.map_err(|error| {
                    let to = end.display();
                    io::Error::other(format!("it is a symbolic link to {to}: {error}"))
                })?;
                return Ok(folder.join(end.file_name().unwrap_or_default()));
            }
        }
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

/// The name of a file beside. No `include *.conf` matches it.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.sidekick-{what}"))
}

fn restore(path: &Path) -> io::Result<()> {
    let former = beside(path, "former");
    fs::rename(&former, path)?;
    // rename(2) does nothing when both names are the same file.
    remove(&former)?;
    sync_folder(path);
    Ok(())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let former = fs::metadata(path).ok();
    if former.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    let new = beside(path, "new");
    let written = create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        let mode = former
            .as_ref()
            .map_or(MODE, |former| former.mode() & 0o7777);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if let Some(former) = &former {
            // Only root may do this; others own the file already.
            let _ = fchown(&file, Some(former.uid()), Some(former.gid()));
        }
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if let Err(error) = written {
        if error.kind() != ErrorKind::AlreadyExists {
            // Report the first error only.
            let _ = remove(&new);
        }
        return Err(error);
    }
    sync_folder(path);
    Ok(())
}

/// Creates a new file. Fails when another process writes it right now.
fn create(path: &Path) -> io::Result<File> {
    if let Ok(metadata) = fs::symlink_metadata(path)
        && metadata
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > ABANDONED)
    {
        remove(path)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a renaming survive a power failure, if the file system can.
fn sync_folder(path: &Path) {
    let folder = path.parent().map(File::open);
    if let Some(Ok(folder)) = folder {
        let _ = folder.sync_all();
    }
}

/// When a file got this content or this name.
fn changed(metadata: &fs::Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests;
