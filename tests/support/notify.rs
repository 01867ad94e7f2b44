//! The service manager's end of `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// A socket on which a service says READY=1 and the like.
#[derive(Debug)]
pub(super) struct NotifySocket {
    path: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl NotifySocket {
    /// Binds it and collects what arrives, until dropped.
    pub(super) fn open() -> Self {
        let folder = super::folder();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in our own folder");
        let messages = Arc::<Mutex<Vec<String>>>::default();
        let sink = Arc::clone(&messages);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Dropping sends an empty message.
            while let Ok(length @ 1..) = socket.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]);
                let lines = message.lines().map(str::to_owned);
                sink.lock().expect("no reader panics").extend(lines);
            }
        });
        Self {
            path,
            messages,
            _folder: folder,
        }
    }

    /// What to put into `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All `NAME=VALUE` lines so far.
    pub(super) fn messages(&self) -> Vec<String> {
        self.messages.lock().expect("no reader panics").clone()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let ended = UnixDatagram::unbound().and_then(|sender| sender.send_to(&[], &self.path));
        if let Err(error) = ended {
            eprintln!("cannot end the reader of {}: {error}", self.path.display());
        }
    }
}
