//! Runs a command inside a container through its daemon.
//!
//! A daemon starts such a command and reports how it ended, but cannot kill it. So watching a command ends
//! only with the command.

use std::time::Duration;

use bollard::models::ExecInspectResponse;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::client::{CALL_TIMEOUT, Client, Error};
use super::container::ContainerName;
use super::daemon::Daemon;
use crate::util::backoff;
use crate::util::backoff::Backoff;
use crate::util::command::Tail;

/// How long a command runs before the daemon is asked whether it still does. The end of its output usually comes
/// first, but a child of the command may keep that open for ever.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Runs it once, to exit code 0; `Err` says why it failed. Returns only when the daemon has refused it, or reports that
/// it has ended, or no longer knows it.
pub(crate) async fn run(
    daemon: Daemon,
    container: &ContainerName,
    words: &[String],
) -> Result<(), String> {
    let prepared = async {
        let client = Client::connect(daemon).await?;
        let id = client.create_exec(container, words).await?;
        Ok::<_, Error>((client, id))
    };
    let (client, id) = prepared.await.map_err(|error| error.to_string())?;
    let mut said = Tail::default();
    match follow(&client, &id, &mut said).await? {
        Some(0) => Ok(()),
        Some(code) => Err(said.reason(&format!("exit code {code}"))),
        None => Err(said.reason(&"the daemon does not know how it ended")),
    }
}

/// Starts it and returns its exit code, if the daemon knows it.
async fn follow(client: &Client, id: &str, said: &mut Tail) -> Result<Option<i64>, String> {
    let started = tokio::select! {
        // Read its output before checking for its end.
        biased;
        started = read(client, id, said) => started,
        code = ended(client, id, FIRST_LOOK, CALL_TIMEOUT) => return Ok(code),
    };
    match started {
        Ok(()) => Ok(ended(client, id, Duration::ZERO, CALL_TIMEOUT).await),
        // It may have started anyway.
        Err(silent @ Error::Silent { .. }) => {
            let code = ended(client, id, Duration::ZERO, CALL_TIMEOUT).await;
            code.map(Some).ok_or_else(|| silent.to_string())
        }
        Err(error) => {
            let code = ended(client, id, Duration::ZERO, Duration::ZERO).await;
            code.map(Some).ok_or_else(|| error.to_string())
        }
    }
}

/// Starts it and reads its output to the end.
async fn read(client: &Client, id: &str, said: &mut Tail) -> Result<(), Error> {
    let mut output = client.start_exec(id).await?;
    while let Some(bytes) = output.next().await {
        match bytes {
            Ok(bytes) => said.take(&bytes),
            Err(error) => {
                debug!("the output of command {id} broke off: {error}");
                said.take(format!("\n{error}").as_bytes());
                break;
            }
        }
    }
    Ok(())
}

/// Waits until it has ended, even while the daemon does not answer, and returns its exit code. `None` if the daemon no
/// longer knows it, or reports after `to_begin` that it has not started.
async fn ended(client: &Client, id: &str, first: Duration, to_begin: Duration) -> Option<i64> {
    let begins_by = Instant::now() + to_begin;
    let mut pauses = Backoff::new(first.max(backoff::MIN / 4), backoff::MAX);
    sleep(first).await;
    loop {
        match client.inspect_exec(id).await {
            Ok(None) => return None,
            Ok(Some(state)) => match state_of(&state) {
                ExecState::Ended(code) => return Some(code),
                ExecState::NotBegun if Instant::now() >= begins_by => return None,
                ExecState::NotBegun | ExecState::Runs => {}
            },
            Err(error) => debug!("command {id} cannot be asked for: {error}"),
        }
        sleep(pauses.next_delay()).await;
    }
}

/// The state of a command.
#[derive(Debug, PartialEq, Eq)]
enum ExecState {
    NotBegun,
    Runs,
    /// With this exit code.
    Ended(i64),
}

/// Before a command has started, Docker has no exit code for it, and Podman has 0; other fields show its end.
fn state_of(state: &ExecInspectResponse) -> ExecState {
    if state.running == Some(true) {
        return ExecState::Runs;
    }
    let ran = state.pid.is_some_and(|pid| pid > 0) || state.can_remove == Some(true);
    let code = state.exit_code.filter(|code| ran || *code != 0);
    code.map_or(ExecState::NotBegun, ExecState::Ended)
}

#[cfg(test)]
mod tests;
