//! Probes that are commands inside a container: exit code 0 passes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::docker::container::ContainerName;
use crate::docker::daemon::Daemon;
use crate::docker::exec;
use crate::util::command::CommandLine;

/// Words that are operators in a shell, but not without one.
const OPERATORS: [&str; 8] = ["|", "||", "&", "&&", ";", "<", ">", ">>"];

/// A command and its container. Clones share one running command.
#[derive(Debug, Clone)]
pub struct ContainerExecProbe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    daemon: Daemon,
    container: ContainerName,
    command: CommandLine,
    /// The newest command. It cannot be killed from here, so no other is started while it may still run.
    newest: Mutex<Option<Running>>,
}

/// A command that was started.
#[derive(Debug)]
struct Running {
    since: Instant,
    /// `None` until it has ended.
    end: watch::Receiver<Option<Result<(), String>>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Display for ContainerExecProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the container: {}", self.0.command.program())
    }
}

impl ContainerExecProbe {
    /// Splits a command line into words as a shell does; no shell runs it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(daemon: Daemon, container: ContainerName, command: &str) -> Result<Self, String> {
        let command: CommandLine = command.parse()?;
        let words = command.words();
        if let Some(word) = words.iter().find(|word| OPERATORS.contains(&word.as_str())) {
            return Err(format!(
                "no shell runs it, which {word} needs: write sh -c '...'"
            ));
        }
        Ok(Self(Arc::new(Shared {
            daemon,
            container,
            command,
            newest: Mutex::default(),
        })))
    }

    /// Runs the command once; `Err` says why it fails. Dropping the future does not end it, and until it has ended
    /// all further attempts fail.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        let mut end = self.start()?;
        let end = end.wait_for(Option::is_some).await;
        let end = end.ok().and_then(|end| end.clone());
        end.unwrap_or_else(|| Err("it was abandoned".to_owned()))
    }

    fn start(&self) -> Result<watch::Receiver<Option<Result<(), String>>>, String> {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = newest.as_ref().filter(|running| running.runs()) {
            let age = Duration::from_secs(running.since.elapsed().as_secs());
            let age = crate::util::duration::show(age);
            return Err(format!(
                "as far as the daemon tells, the command started {age} ago still runs"
            ));
        }
        let (sender, end) = watch::channel(None);
        let (daemon, container) = (self.0.daemon.clone(), self.0.container.clone());
        let words = self.0.command.words();
        let task = tokio::spawn(async move {
            let ended = exec::run(daemon, &container, &words).await;
            sender.send_replace(Some(ended));
        });
        *newest = Some(Running {
            since: Instant::now(),
            end: end.clone(),
            task,
        });
        Ok(end)
    }
}

impl Running {
    fn runs(&self) -> bool {
        self.end.borrow().is_none() && !self.task.is_finished()
    }
}

#[cfg(test)]
mod tests;
