//! SIGHUP: tries the program's own file, and replaces this image of it.
//!
//! The trial reads everything again (the flags' files, env files, the environment, the container), as the program that
//! will then start, which may be another version. It changes nothing and contacts neither etcd nor the backend. Only if
//! it succeeds does [`Reload::exec`] replace this image: in the same process, so a service manager sees only a reload.

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
use crate::util::last_state;
use crate::util::sanitize::printable;
use crate::util::shutdown;
use crate::util::shutdown::Stop;

/// The option for a trial: the program only checks whether it can continue from the handover on its standard input.
pub const TRIAL: &str = "--handover-trial";
/// What a successful trial prints on standard output; no other program prints this by accident. Part of the protocol
/// between versions.
pub const YES: &str = "sidekick goes on from here";
/// Timeout of a trial. A daemon that is asked for a container may be slow.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to restart a program whose settings became wrong after the trial, and the pause before each attempt.
const RESTARTS: Duration = Duration::from_secs(2);
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// How much of a trial's output is read, in bytes.
const MAX_SAID: u64 = 4096;
/// How long to wait for killed children, so that the next image does not inherit them as zombies.
const REAP: Duration = Duration::from_millis(200);

/// How this process was started, to start it again.
#[derive(Debug, Clone)]
pub struct Program {
    /// The path found at the start: an upgrade puts another file there.
    file: PathBuf,
    /// The arguments, with the name of the program.
    words: Vec<OsString>,
}

impl Program {
    /// This process's own file, with `words` as its arguments. Call it early in the process.
    #[must_use]
    pub fn of_process(words: Vec<OsString>) -> Self {
        let name = words.first().map(Path::new);
        let own = std::env::current_exe().unwrap_or_default();
        let file = name.and_then(|name| found(name, &own));
        // The kernel appends this if the file was replaced since.
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

    /// Restarts a program that was started by a handover and whose settings are wrong now: a file may have been half
    /// written just after the trial. The handover is still on standard input. Returns when the time for that is over, or
    /// when this is not such a process.
    pub fn start_again(&self) {
        if handed_over().is_none_or(|ago| ago > RESTARTS) {
            return;
        }
        shutdown::block_signals();
        std::thread::sleep(RESTART_PAUSE);
        let error = self.command(None).exec();
        error!("{} cannot be started: {error}", self.file.display());
    }

    /// Whether the current file can take over; `Err` says why not.
    async fn try_out(self, state: io::Result<File>) -> Result<(), String> {
        let said = async {
            let mut command = tokio::process::Command::from(self.command(Some(TRIAL)));
            // Its notifications must not reach systemd.
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
            Ok(Ok((ended, _, _))) if ended.success() => Err(format!(
                "{file} is not a sidekick that can continue from here"
            )),
            // It printed mistakes in its files, so it knows the trial option.
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
                    "{file} has not answered within {limit} s whether it can continue from here"
                ))
            }
        }
    }
}

/// The path where the shell found this name: without following a link, because the file may be replaced later.
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

/// The start of a pipe's output; the rest is read and dropped.
async fn text(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(MAX_SAID);
        // Keep what was read before an error.
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

/// Ends with the reason why the program cannot continue, if it cannot.
type Trial = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// Receives SIGHUP, and restarts the program.
pub struct Reload {
    program: Program,
    hangups: Signal,
    trial: Option<Trial>,
    /// Why the program could not be started after a successful trial, until the agent is notified.
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
    /// SIGHUP: start a trial.
    Hangup,
    /// The trial succeeded.
    Tried,
    /// The trial failed: why. The log and systemd have it already.
    Refused(String),
}

impl Reload {
    /// Handles SIGHUP, which then no longer ends the process.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn listen(program: Program) -> io::Result<Self> {
        Ok(Self {
            program,
            hangups: shutdown::hangups()?,
            trial: None,
            failed: None,
        })
    }

    /// Waits for SIGHUP, or for the end of the current trial. Cancel safe.
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

    /// Starts to try whether the current program can continue from `state`.
    pub(super) fn begin(&mut self, state: &Handover) {
        let trial = self.program.clone().try_out(state.in_memory());
        self.trial = Some(Box::pin(trial));
    }

    /// Blocks signals for the next image. `false`, without blocking them, when this one was asked to stop first.
    pub(super) async fn keep_signals(&self, stop: &Stop) -> bool {
        shutdown::block_signals();
        // Pending signals are delivered when the runtime runs, and so are the tasks that pass them on.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let may = !stop.is_asked();
        if !may {
            shutdown::unblock_signals();
        }
        may
    }

    /// Replaces this image with the program. Returns when that failed, and then nothing has changed.
    pub async fn exec(&mut self, state: &Handover) {
        // The next image knows nothing of it.
        last_state::tell_all();
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

/// Waits for killed children to end.
async fn reap() {
    let ended = async {
        // Until there is no child.
        while let Ok(child) = wait(WaitOptions::NOHANG) {
            if child.is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    // A child that cannot be killed is left to the next image.
    let _ = timeout(REAP, ended).await;
}

#[cfg(test)]
mod tests;
