//! A clock that can jump, of one process: libfaketime's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{Command, PATIENCE};

/// The file that says how far it is off.
#[derive(Debug)]
pub(crate) struct Clock(PathBuf);

/// Where Debian puts it.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let libraries = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|library| library.exists())
}

impl Clock {
    /// One that is right.
    pub(crate) fn new(file: PathBuf) -> Self {
        let clock = Self(file);
        clock.shift("+0");
        clock
    }

    /// Makes it differ by so much, as in `+1h`.
    pub(crate) fn shift(&self, by: &str) {
        fs::write(&self.0, by).expect("our own folder");
    }

    /// A command whose clock this is.
    pub(crate) fn started_with(&self, command: Command) -> Command {
        let library = library().expect("libfaketime, which tests/install.sh installs");
        command
            .env("LD_PRELOAD", &library.display().to_string())
            .env("FAKETIME_TIMESTAMP_FILE", &self.0.display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            // What waits, waits by the clock that never jumps.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

/// Whether a sidekick heeds such a clock, by the time that stands in its log: a static one does not.
pub(crate) async fn clocks_jump(folder: &Path) -> bool {
    let clock = Clock::new(folder.join("clock"));
    clock.shift("+1h");
    let nowhere = [
        "website/clock",
        "127.0.0.1:1",
        "--allow-loopback",
        "--endpoints",
        "127.0.0.1:1",
    ];
    let mut command = clock
        .started_with(Command::new("announce").args(nowhere))
        .start();
    let deadline = Instant::now() + PATIENCE;
    let logged = loop {
        let lines = command.process().lines();
        let logged = lines
            .iter()
            .find_map(|line| line.split(' ').next()?.parse::<jiff::Timestamp>().ok());
        if logged.is_some() || !command.runs() || Instant::now() > deadline {
            break logged;
        }
        sleep(Duration::from_millis(5)).await; // between two looks
    };
    command.kill();
    let ahead = logged.map(|logged| logged.as_second() - jiff::Timestamp::now().as_second());
    ahead.is_some_and(|seconds| seconds > 3_000)
}
