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

use crate::util::sanitize::printable;

/// The largest file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// The permissions of a new file.
const MODE: u32 = 0o644;
/// A file beside that is older was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(10);

/// The file of one nginx.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    path: Arc<Path>,
    /// One thing at a time: what was begun goes on when nobody waits for it any more.
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
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            busy: Arc::default(),
        }
    }

    /// Puts back what was there before a process was killed while it tried something new, and removes what it left.
    ///
    /// # Errors
    ///
    /// What failed, in words; so with all that follows.
    pub(super) async fn recover(&self) -> Result<(), String> {
        self.off(|path| {
            remove(&beside(path, "new"))?;
            match fs::symlink_metadata(beside(path, "former")) {
                Ok(_) => restore(path),
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// What is there; `None` when there is no file.
    pub(super) async fn read(&self) -> Result<Option<Content>, String> {
        let read = self.off(|path| match fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_FILE => Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("it has {} bytes", metadata.len()),
            )),
            Ok(metadata) => {
                let bytes = fs::read(path)?;
                // Whatever is no text was not written here and is going to be replaced.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let since = changed(&metadata);
                Ok(Some(Content { text, since }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        read.await
            .map_err(|reason| format!("cannot be read: {reason}"))
    }

    /// Replaces the file. What was there before the first replacement stays beside until it is
    /// [kept](Disk::keep) or [put back](Disk::restore).
    pub(super) async fn write(&self, text: &str) -> Result<(), String> {
        let text = text.to_owned();
        let written = self.off(move |path| {
            let link = fs::hard_link(path, beside(path, "former"));
            match link {
                // There is one already, there is nothing to keep, or the file system has no links: then the content is
                // written anew when it is to be put back.
                Ok(()) | Err(_) => {}
            }
            replace(path, &text)
        });
        written
            .await
            .map_err(|reason| format!("cannot be written: {reason}"))
    }

    /// The new file stays.
    pub(super) async fn keep(&self) -> Result<(), String> {
        self.off(|path| remove(&beside(path, "former"))).await
    }

    /// Puts back what was there, which was `former`.
    pub(super) async fn restore(&self, former: Option<&str>) -> Result<(), String> {
        let former = former.map(str::to_owned);
        let restored = self.off(move |path| match former {
            None => {
                remove(path)?;
                remove(&beside(path, "former"))
            }
            Some(_) if beside(path, "former").exists() => restore(path),
            Some(text) if fs::read(path).is_ok_and(|there| there == text.as_bytes()) => Ok(()),
            Some(text) => replace(path, &text),
        });
        restored
            .await
            .map_err(|reason| format!("the former file cannot be put back: {reason}"))
    }

    /// Does it apart from everything else: a slow disk holds nothing up.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let (path, busy) = (self.path.clone(), self.busy.clone());
        let work = move || {
            let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            // A link is followed: its place is somebody's choice, and stays.
            let path = fs::canonicalize(&path).unwrap_or_else(|_| path.to_path_buf());
            work(&path)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(printable(error.to_string(), 300)),
            Err(_) => Err("the attempt was given up".to_owned()),
        }
    }
}

/// Where something is put beside: no `*.conf` takes it for a part of the configuration.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.sidekick-{what}"))
}

fn restore(path: &Path) -> io::Result<()> {
    let former = beside(path, "former");
    fs::rename(&former, path)?;
    // Between two names of one file a renaming does nothing.
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
            // Only root may; whoever else writes here owns the file already.
            let _ = fchown(&file, Some(former.uid()), Some(former.gid()));
        }
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if let Err(error) = written {
        if error.kind() != ErrorKind::AlreadyExists {
            // The first mistake is the one to tell.
            let _ = remove(&new);
        }
        return Err(error);
    }
    sync_folder(path);
    Ok(())
}

/// Creates a file that is not there; one that another process writes just now is left alone.
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

/// Makes a renaming outlive a power failure, where the file system can.
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
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    async fn text(disk: &Disk) -> Option<String> {
        disk.read().await.unwrap().map(|content| content.text)
    }

    #[tokio::test]
    async fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        let disk = Disk::new(&path);
        assert_eq!(text(&disk).await, None);
        disk.write("one").await.unwrap();
        disk.keep().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        disk.write("two").await.unwrap();
        disk.keep().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(text(&disk).await.as_deref(), Some("two"));
        assert_eq!(names(folder.path()), ["a.conf"]);
    }

    #[tokio::test]
    async fn what_was_there_before_the_first_attempt_is_put_back_also_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(&folder.path().join("a.conf"));
        disk.write("good").await.unwrap();
        disk.keep().await.unwrap();
        for attempt in ["bad", "worse"] {
            disk.write(attempt).await.unwrap();
        }
        disk.restore(Some("good")).await.unwrap();
        assert_eq!(text(&disk).await.as_deref(), Some("good"));
        disk.write("bad").await.unwrap();
        fs::write(folder.path().join(".a.conf.sidekick-new"), "half").unwrap();
        disk.recover().await.unwrap();
        assert_eq!(text(&disk).await.as_deref(), Some("good"));
        assert_eq!(names(folder.path()), ["a.conf"]);
        disk.recover().await.unwrap();
        assert_eq!(text(&disk).await.as_deref(), Some("good"));
    }

    #[tokio::test]
    async fn a_file_that_was_not_there_is_gone_again() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(&folder.path().join("a.conf"));
        disk.write("bad").await.unwrap();
        disk.restore(None).await.unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let disk = Disk::new(&link);
        disk.write("two").await.unwrap();
        disk.keep().await.unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
        assert_eq!(names(folder.path()), ["link", "real"]);
    }

    #[tokio::test]
    async fn what_cannot_be_written_says_why_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Disk::new(&folder.path().join("none/a.conf"));
        let error = missing.write("x").await.unwrap_err();
        assert!(error.contains("No such file"), "{error}");
        let path = folder.path().join("a.conf");
        fs::create_dir(&path).unwrap();
        let error = Disk::new(&path).write("x").await.unwrap_err();
        assert!(error.contains("it is a folder"), "{error}");
        assert_eq!(names(folder.path()), ["a.conf"]);
    }
}
