//! SIGHUP: the program's own file is tried out, and started in place of this image of it.
//!
//! The trial reads everything anew (flags' files, env files, the environment, the container) as the program will that is started
//! then, which may be another version. It changes nothing and asks neither etcd nor the backend. Only when it says yes does
//! [`Reload::exec`] replace this image: the same process, so that a service manager sees nothing but a reload.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{WaitOptions, wait};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::Signal;
use tokio::time::{sleep, timeout};
use tracing::{error, info};

use super::handover::{self, Handover, handed_over};
use crate::systemd::notify;
use crate::util::command::Group;
use crate::util::sanitize::printable;
use crate::util::shutdown;
use crate::util::shutdown::Stop;

/// The option by which a program only says whether it can go on from the handover on its standard input.
pub const TRIAL: &str = "--handover-trial";
/// What it then prints on standard output; no other program prints this by accident. Part of the protocol between versions.
pub const YES: &str = "sidekick goes on from here";
/// How long a trial may take. A daemon that is asked for a container may be slow.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a program is started again and again whose settings have become wrong since the trial, and the pause before each.
const RESTARTS: Duration = Duration::from_secs(2);
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// How much of what a trial says is read, bytes.
const MAX_SAID: u64 = 4096;
/// How long children that were killed are waited for, so that the next image does not inherit them dead.
const REAP: Duration = Duration::from_millis(200);

/// How this process was started, and is started again.
#[derive(Debug, Clone)]
pub struct Program {
    /// As it was found at the start: an upgrade puts another file there.
    file: PathBuf,
    /// With the name of the program.
    words: Vec<OsString>,
}

impl Program {
    /// This process's own, with `words` as its arguments. To be called before anything is done for long.
    #[must_use]
    pub fn of_process(words: Vec<OsString>) -> Self {
        let name = words.first().map(Path::new);
        let own = std::env::current_exe().unwrap_or_default();
        let file = name.and_then(|name| found(name, &own));
        // The kernel says so of a file that was replaced since.
        let replaced = own.to_str().and_then(|own| own.strip_suffix(" (deleted)"));
        let file = file.unwrap_or_else(|| replaced.map_or(own.clone(), PathBuf::from));
        Self { file, words }
    }

    fn command(&self, more: Option<&str>) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(&self.file);
        command.arg0(
            words
                .next()
                .map_or(self.file.as_os_str(), OsString::as_os_str),
        );
        command.args(more).args(words);
        command
    }

    /// Starts the program once more where it was started anew with settings that are wrong now: whoever writes a file in place leaves
    /// it half written for a moment, which may come after the trial. What is handed over still waits on standard input. Returns when
    /// that was tried long enough, or when this is no such process.
    pub fn start_again(&self) {
        if handed_over().is_none_or(|ago| ago > RESTARTS) {
            return;
        }
        shutdown::block_signals();
        std::thread::sleep(RESTART_PAUSE);
        let error = self.command(None).exec();
        error!("{} cannot be started: {error}", self.file.display());
    }

    /// Whether the file as it is now can take over; `Err` says why not.
    async fn try_out(self, state: io::Result<File>) -> Result<(), String> {
        let said = async {
            let mut command = tokio::process::Command::from(self.command(Some(TRIAL)));
            // What it has to say is for this process alone.
            command.env_remove("NOTIFY_SOCKET").kill_on_drop(true);
            command
                .process_group(0)
                .stdin(state?)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let _group = Group::of(&child);
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let (out, err) = tokio::join!(text(out), text(err));
            io::Result::Ok((child.wait().await?, out, err))
        };
        let file = self.file.display();
        match timeout(TRIAL_TIMEOUT, said).await {
            Ok(Ok((ended, out, _))) if ended.success() && out.trim() == YES => Ok(()),
            Ok(Ok((ended, _, _))) if ended.success() => {
                Err(format!("{file} is no sidekick that could go on from here"))
            }
            // The program reports mistakes in the files that it reads, and knows the trial option.
            Ok(Ok((ended, _, said))) if ended.code() == Some(64) && !said.contains(TRIAL) => {
                Err(in_one_line(&said))
            }
            Ok(Ok((ended, _, said))) => {
                Err(format!("{file} ends with {ended}: {}", in_one_line(&said)))
            }
            Ok(Err(error)) => Err(format!("{file} cannot be started: {error}")),
            Err(_) => {
                let limit = TRIAL_TIMEOUT.as_secs();
                Err(format!(
                    "{file} has not said within {limit} s whether it can go on from here"
                ))
            }
        }
    }
}

/// Where the shell found this name: the file may be replaced later, so a link to it is not followed.
fn found(name: &Path, own: &Path) -> Option<PathBuf> {
    let same = |file: &PathBuf| {
        let ids = |path: &Path| path.metadata().map(|it| (it.dev(), it.ino())).ok();
        ids(file).is_some() && ids(file) == ids(own)
    };
    if name.components().count() > 1 {
        return std::path::absolute(name).ok().filter(same);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(same)
}

/// The beginning of what comes out of a pipe; the rest is read and dropped.
async fn text(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(MAX_SAID);
        // What was read until an error counts.
        let _ = pipe.read_to_end(&mut said).await;
        let _ = tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn in_one_line(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.collect();
    printable(lines.join("; "), 2000)
}

/// Ends with the reason why the program cannot go on, if it cannot.
type Trial = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// Hears SIGHUP, and starts the program anew.
pub struct Reload {
    program: Program,
    hangups: Signal,
    trial: Option<Trial>,
    /// Why the program could not be started although its trial went well, until the agent knows.
    failed: Option<String>,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let program = &self.program;
        f.debug_struct("Reload")
            .field("program", program)
            .finish_non_exhaustive()
    }
}

/// The events of a reload.
#[derive(Debug)]
pub(super) enum ReloadEvent {
    /// SIGHUP: a trial is to begin.
    Hangup,
    /// The program can go on from what it was given.
    Tried,
    /// It cannot, or its settings are wrong: why, in words, which the log and systemd were told.
    Refused(String),
}

impl Reload {
    /// From now on SIGHUP does not end the process.
    ///
    /// # Errors
    /// When the signal cannot be taken over from the system.
    pub fn listen(program: Program) -> io::Result<Self> {
        Ok(Self {
            program,
            hangups: shutdown::hangups()?,
            trial: None,
            failed: None,
        })
    }

    /// Waits for SIGHUP, or for the end of the trial that has begun. Cancel safe.
    pub(super) async fn next(&mut self) -> ReloadEvent {
        if let Some(why) = self.failed.take() {
            return ReloadEvent::Refused(why);
        }
        if let Some(trial) = &mut self.trial {
            let tried = trial.await;
            self.trial = None;
            let Err(why) = tried else {
                return ReloadEvent::Tried;
            };
            error!("reload refused, nothing changed: {why}");
            notify::reloaded();
            return ReloadEvent::Refused(why);
        }
        if self.hangups.recv().await.is_none() {
            std::future::pending().await
        }
        info!("SIGHUP: reading the settings again");
        notify::reloading();
        ReloadEvent::Hangup
    }

    /// Begins to try whether the program as it is now can go on from `state`.
    pub(super) fn begin(&mut self, state: &Handover) {
        let trial = self.program.clone().try_out(state.in_memory());
        self.trial = Some(Box::pin(trial));
    }

    /// Keeps signals waiting for the next image. `false`, and nothing is kept waiting, when this one was asked to stop before.
    pub(super) async fn keep_signals(&self, stop: &Stop) -> bool {
        shutdown::block_signals();
        // Signals that already came are delivered when the runtime turns, and so do the tasks that pass them on.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let may = !stop.is_asked();
        if !may {
            shutdown::unblock_signals();
        }
        may
    }

    /// Starts the program in place of this image of it. Returns when that failed, and then nothing has changed.
    pub async fn exec(&mut self, state: &Handover) {
        reap().await;
        let mut command = self.program.command(None);
        let error = match state.in_memory() {
            Ok(state) => command.stdin(state).exec(),
            Err(error) => error,
        };
        handover::forget();
        shutdown::unblock_signals();
        let file = self.program.file.display();
        let why = format!(
            "{file} cannot be started any more: {error}; put a program that works there and reload again"
        );
        error!("reload refused, nothing changed: {why}");
        self.failed = Some(why);
    }
}

/// Waits for the ends of children that were killed.
async fn reap() {
    let ended = async {
        // Until there is no child at all.
        while let Ok(child) = wait(WaitOptions::NOHANG) {
            if child.is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // One that cannot be killed is left to the next image.
    let _ = timeout(REAP, ended).await;
}

#[cfg(test)]
mod tests;
