//! What systemd says of the unit that this process is the main process of.
//!
//! With `NOTIFY_SOCKET` the announcer asks for the time that it needs to leave (`EXTEND_TIMEOUT_USEC=`). Without it systemd
//! kills at the end of `TimeoutStopSec=`, whatever is still under way: then the two have to fit from the start.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::util::duration;

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a unit is given to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTimeout {
    unit: Unit,
    limit: Duration,
}

/// A service by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    name: String,
    /// Of a user's own manager.
    of_user: bool,
}

/// Stopping may take longer than systemd waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TooShort {
    drain_timeout: Duration,
    linger: Duration,
    unit: String,
    limit: Duration,
    enough: Duration,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = crate::util::duration::typed;
        let leaving = self.drain_timeout.saturating_add(self.linger);
        write!(
            f,
            "--drain-timeout {} and --linger {} make stopping take up to {}, but systemd kills {} after {}: \
             set TimeoutStopSec={} there, or Type=notify, or shorter times",
            shown(self.drain_timeout),
            shown(self.linger),
            shown(leaving),
            self.unit,
            shown(self.limit),
            duration::whole_seconds(self.enough),
        )
    }
}

impl StopTimeout {
    /// Of this process's unit, when the process with the number `main` is the main process of one that cannot ask for more time. Best
    /// effort: `None` too when systemd does not tell in time.
    pub async fn of_main_process(main: u32) -> Option<Self> {
        let var = |name| std::env::var(name).ok();
        // A process started by hand from a shell of some service is not stopped with that service's timeout.
        let is_main = var("SYSTEMD_EXEC_PID") == Some(main.to_string());
        if !is_main || var("NOTIFY_SOCKET").is_some() {
            return None;
        }
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let unit = Unit::of(&groups)?;
        let answer = timeout(PATIENCE, ask(&unit)).await.ok()??;
        let limit = read_time_span(&answer)?;
        Some(Self { unit, limit })
    }

    /// Whether leaving is over before systemd kills; `answers` is how long etcd may take to answer, besides.
    ///
    /// A contradiction is a mistake like any other, and not only worth a warning: its price is paid much later, when a backend
    /// is stopped under load and the announcer is killed in the middle of draining it. And it is certain: where systemd
    /// could not be asked there is nothing to compare.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn check(
        &self,
        drain_timeout: Duration,
        linger: Duration,
        answers: Duration,
    ) -> Result<(), TooShort> {
        if drain_timeout.saturating_add(linger) < self.limit {
            return Ok(());
        }
        Err(TooShort {
            drain_timeout,
            linger,
            unit: self.unit.name.clone(),
            limit: self.limit,
            enough: drain_timeout.saturating_add(linger).saturating_add(answers),
        })
    }
}

impl Unit {
    /// The service of a process, from its `/proc/PID/cgroup`.
    fn of(groups: &str) -> Option<Self> {
        let paths = groups.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_systemds = matches!(controllers, "" | "name=systemd");
            is_systemds.then_some(path)
        });
        paths.filter_map(Self::of_path).next()
    }

    fn of_path(path: &str) -> Option<Self> {
        let parts: Vec<_> = path.split('/').collect();
        let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
        let at = parts.iter().rposition(is_unit)?;
        // systemd puts a _ in front of names that the kernel keeps for itself.
        let name = parts[at].strip_prefix('_').unwrap_or(parts[at]);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        let is_name = !name.starts_with('-') && name.len() < 256 && name.bytes().all(allowed);
        (is_name && name.ends_with(".service")).then(|| Self {
            name: name.to_owned(),
            of_user: parts[..at].iter().any(|part| part.starts_with("user@")),
        })
    }
}

async fn ask(unit: &Unit) -> Option<String> {
    let manager = if unit.of_user { "--user" } else { "--system" };
    let asked = Command::new("systemctl")
        .args([
            manager,
            "show",
            "--property=TimeoutStopUSec",
            "--value",
            "--",
            &unit.name,
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = asked.await.ok()?;
    answer.status.success().then_some(())?;
    String::from_utf8(answer.stdout).ok()
}

/// `1min 30s` as systemctl shows it; `None` for `infinity`, and for what is no time.
fn read_time_span(text: &str) -> Option<Duration> {
    let span = duration::read(text)?;
    // Zero switches the timeout off.
    (!span.is_zero()).then_some(span)
}

#[cfg(test)]
mod tests;
