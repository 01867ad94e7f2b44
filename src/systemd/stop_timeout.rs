//! The stop timeout of the unit that this process is the main process of.
//!
//! With `NOTIFY_SOCKET` the announcer extends its timeout while it leaves (`EXTEND_TIMEOUT_USEC=`). Without it systemd
//! kills it after `TimeoutStopSec=`, so leaving must fit into that time.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::util::duration;

/// Timeout of the request to systemd.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a unit may take to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTimeout {
    unit: Unit,
    limit: Duration,
}

/// A service by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    name: String,
    /// Whether it belongs to a user's manager.
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
    /// The stop timeout of this process's unit, if the process `main` is its main process and cannot extend the timeout.
    /// `None` also if systemd does not answer in time.
    pub async fn of_main_process(main: u32) -> Option<Self> {
        let var = |name| std::env::var(name).ok();
        // A process started by hand from a service's shell does not have that service's timeout.
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

    /// Checks that leaving ends before systemd kills; `answers` is how long etcd may take to answer, on top.
    ///
    /// This is an error and not a warning: it would show much later, when a backend is stopped under load and the
    /// announcer is killed while it drains. It is also certain: without an answer from systemd, there is nothing to
    /// compare.
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
        // systemd puts a _ in front of names that the kernel reserves.
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

/// Parses `1min 30s`, as systemctl prints it; `None` for `infinity` and invalid times.
fn read_time_span(text: &str) -> Option<Duration> {
    let span = duration::read(text)?;
    // Zero turns the timeout off.
    (!span.is_zero()).then_some(span)
}

#[cfg(test)]
mod tests;
