//! What /proc shows of a running nginx: its master, its workers, and since when they run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A process. The start distinguishes it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Process {
    id: u32,
    /// In ticks since the machine has started.
    start: u64,
}

/// A process that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) process: Process,
    /// Whether it only finishes what runs.
    pub(super) leaving: bool,
}

impl Process {
    fn running(id: u32) -> Option<Self> {
        let (_, start) = stat(id)?;
        Some(Self { id, start })
    }

    pub(super) fn id(self) -> u32 {
        self.id
    }

    /// The running process that the pid file names. The file survives a crash, and the id may belong to something else by now.
    fn named(pid_file: &Path) -> Option<Self> {
        let id = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        Self::running(id)
    }

    /// The master that the pid file names, when it runs.
    pub(super) fn master(pid_file: &Path) -> Option<Self> {
        Self::named(pid_file).filter(|process| is_master(process.id))
    }

    /// Whether the pid file names a running process that is no nginx, which a signal would hit.
    pub(super) fn is_stranger(pid_file: &Path) -> bool {
        Self::named(pid_file).is_some_and(|process| !is_master(process.id))
    }

    /// Its workers.
    pub(super) fn workers(self) -> Vec<Worker> {
        let worker = |id| {
            let process = Self::running(id)?;
            let title = title(id);
            let leaving = title.contains("is shutting down");
            title
                .contains("worker process")
                .then_some(Worker { process, leaving })
        };
        children(self.id).into_iter().filter_map(worker).collect()
    }

    /// All that it has started. A new worker has the title of its master for a moment.
    pub(super) fn children(self) -> BTreeSet<Self> {
        children(self.id)
            .into_iter()
            .filter_map(Self::running)
            .collect()
    }

    pub(super) fn is_alive(self) -> bool {
        Self::running(self.id) == Some(self)
    }

    /// Whether it was certainly started after `since`.
    pub(super) fn is_newer(self, since: SystemTime) -> bool {
        self.started().is_some_and(|started| started > since)
    }

    /// When it was started; `None` when unknown.
    fn started(self) -> Option<SystemTime> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let start = Duration::from_secs(self.start) / u32::try_from(per_second).ok()?;
        SystemTime::now().checked_sub(uptime.checked_sub(start)?)
    }
}

/// The initial pid namespace, which sees the processes of all others.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whether certainly no nginx runs on this machine, not even in a container.
pub(super) fn none_anywhere() -> bool {
    let own = fs::read_link("/proc/self/ns/pid");
    own.is_ok_and(|own| own.as_os_str() == FIRST_NAMESPACE)
        // With `hidepid` a process sees only those of its own user.
        && fs::read("/proc/1/cmdline").is_ok_and(|line| !line.is_empty())
        && !all().any(is_master)
}

/// The workers that accept connections.
pub(super) fn answering(workers: &[Worker]) -> impl Iterator<Item = Process> {
    let answering = workers.iter().filter(|worker| !worker.leaving);
    answering.map(|worker| worker.process)
}

/// Whether all workers that answer were started after `since`, so that they have read the file of that time.
pub(super) fn all_started_after(workers: &[Worker], since: SystemTime) -> bool {
    answering(workers).next().is_some() && answering(workers).all(|process| process.is_newer(since))
}

/// Whether one of the former workers still accepts connections.
pub(super) fn any_stays(before: &[Worker], now: &[Worker]) -> bool {
    answering(now).any(|process| before.iter().any(|old| old.process == process))
}

/// Whether the workers were replaced. The master does so when it has accepted its configuration, and only then.
///
/// The master starts the new ones before it tells the old ones to leave. A single new one may replace one that has crashed.
pub(super) fn replaced(before: &[Worker], now: &[Worker]) -> bool {
    let is_old = |process: &Process| before.iter().any(|old| old.process == *process);
    let (staying, new): (Vec<_>, Vec<_>) = answering(now).partition(is_old);
    let enough = answering(before).count().max(1);
    !new.is_empty() && (staying.is_empty() || new.len() >= enough)
}

/// Whether it is the master of an nginx.
fn is_master(id: u32) -> bool {
    is_title_of_master(&title(id))
}

/// Forks of nginx put their own name in front.
fn is_title_of_master(title: &str) -> bool {
    title.contains("master process") && !title.starts_with("php-fpm")
}

/// The title that nginx gives itself.
fn title(id: u32) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

/// All processes that can be seen.
fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The direct children.
fn children(id: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    if let Ok(listed) = listed {
        let ids = listed.split_whitespace().map(str::parse);
        return ids.filter_map(Result::ok).collect();
    }
    // Not every kernel has the list.
    let is_child = |child: &u32| stat(*child).is_some_and(|(parent, _)| parent == id);
    all().filter(is_child).collect()
}

/// The parent of a process that is no zombie, and its start in ticks.
fn stat(id: u32) -> Option<(u32, u64)> {
    parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<(u32, u64)> {
    // The name in parentheses may hold anything, spaces and parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    let parent = fields.next()?.parse().ok()?;
    // The 22nd field of all.
    let start = fields.nth(17)?.parse().ok()?;
    Some((parent, start))
}

#[cfg(test)]
mod tests;
