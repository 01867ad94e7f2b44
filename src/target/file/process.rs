//! What /proc tells of a running nginx: its master, its workers, and since when they run.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A process. The start tells it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
        let stat = Stat::of(id)?;
        let start = stat.start;
        stat.alive.then_some(Self { id, start })
    }

    pub(super) fn id(self) -> u32 {
        self.id
    }

    /// The master that the pid file names, when it runs.
    pub(super) fn master(pid_file: &Path) -> Option<Self> {
        let id = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        let process = Self::running(id)?;
        // After a crash the file stays, and its number may be somebody else's.
        is_master(&title(id)).then_some(process)
    }

    /// Whether the pid file names a process that runs and is no nginx, so that a signal would reach somebody else.
    pub(super) fn is_stranger(pid_file: &Path) -> bool {
        let named = fs::read_to_string(pid_file).ok();
        let id = named.and_then(|text| text.trim().parse().ok());
        let runs = id.and_then(Self::running).is_some();
        runs && Self::master(pid_file).is_none()
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

    pub(super) fn is_alive(self) -> bool {
        Self::running(self.id) == Some(self)
    }

    /// When it was started; `None` when that cannot be told.
    fn started(self) -> Option<SystemTime> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let start = Duration::from_secs(self.start) / u32::try_from(per_second).ok()?;
        SystemTime::now().checked_sub(uptime.checked_sub(start)?)
    }
}

/// The first pid namespace of a machine, from which the processes of all others can be seen.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whether it can be seen that no nginx runs on this machine, in no container either.
pub(super) fn none_anywhere() -> bool {
    let own = fs::read_link("/proc/self/ns/pid");
    let sees_all = own.is_ok_and(|own| own.as_os_str() == FIRST_NAMESPACE)
        // With `hidepid` a process sees those of its own user alone.
        && fs::read("/proc/1/cmdline").is_ok_and(|line| !line.is_empty());
    if !sees_all {
        return false;
    }
    let Ok(all) = fs::read_dir("/proc") else {
        return false;
    };
    let ids = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    !{ ids }.any(|id: u32| is_master(&title(id)))
}

/// Whether all that answer requests were started after `since`, so that they have what stood in the file then.
pub(super) fn all_started_after(workers: &[Worker], since: SystemTime) -> bool {
    let mut answering = workers.iter().filter(|worker| !worker.leaving).peekable();
    answering.peek().is_some()
        && answering.all(|worker| {
            worker
                .process
                .started()
                .is_some_and(|started| started > since)
        })
}

/// Whether one of those before still takes new connections.
pub(super) fn any_stays(before: &[Worker], now: &[Worker]) -> bool {
    let was_there = |worker: &&Worker| before.iter().any(|old| old.process == worker.process);
    now.iter().filter(was_there).any(|worker| !worker.leaving)
}

/// Whether the workers have been replaced, as a master does that has accepted its configuration, and only then.
///
/// The master starts the new ones before it tells the old ones to leave. A single new one may replace one that has crashed.
pub(super) fn replaced(before: &[Worker], now: &[Worker]) -> bool {
    let is_old = |worker: &&Worker| before.iter().any(|old| old.process == worker.process);
    let answering = |workers: &[Worker]| workers.iter().filter(|worker| !worker.leaving).count();
    let staying = now.iter().filter(is_old).filter(|worker| !worker.leaving);
    let new = now
        .iter()
        .filter(|worker| !is_old(worker) && !worker.leaving);
    let (staying, new) = (staying.count(), new.count());
    new > 0 && (staying == 0 || new >= answering(before).max(1))
}

/// Whether a process of this title is the master of an nginx. Forks put their own name in front.
fn is_master(title: &str) -> bool {
    title.contains("master process") && !title.starts_with("php-fpm")
}

/// The title that nginx gives itself.
fn title(id: u32) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

/// The direct children.
fn children(id: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    if let Ok(listed) = listed {
        let ids = listed.split_whitespace().map(str::parse);
        return ids.filter_map(Result::ok).collect();
    }
    // Not every kernel has the list.
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| Stat::of(*child).is_some_and(|stat| stat.parent == id))
        .collect()
}

struct Stat {
    alive: bool,
    parent: u32,
    start: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, spaces and parentheses too.
        let (_, fields) = text.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let alive = !matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        // The 22nd field of all.
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self {
            alive,
            parent,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(ids: &[u32]) -> Vec<Worker> {
        let worker = |id: &u32| Worker {
            process: Process { id: *id, start: 7 },
            leaving: false,
        };
        ids.iter().map(worker).collect()
    }

    #[test]
    fn workers_are_replaced_when_new_ones_stand_in_for_all_old_ones() {
        let before = workers(&[1, 2]);
        assert!(!replaced(&before, &before));
        assert!(!replaced(&before, &[]));
        assert!(
            !replaced(&before, &workers(&[1, 2, 3])),
            "not all are started yet"
        );
        assert!(!replaced(&before, &workers(&[1, 3])), "one has crashed");
        assert!(replaced(&before, &workers(&[3])), "fewer than before");
        assert!(replaced(&before, &workers(&[1, 2, 3, 4])));
        let mut leaving = workers(&[1, 2, 3]);
        leaving[0].leaving = true;
        leaving[1].leaving = true;
        assert!(replaced(&before, &leaving));
        assert!(replaced(&[], &workers(&[1])));
    }

    #[test]
    fn the_master_of_a_fork_is_one_and_that_of_php_is_none() {
        for title in [
            "nginx: master process nginx -c /etc/nginx.conf",
            "angie: master process v1.8.0 #1 [/usr/sbin/angie]",
        ] {
            assert!(is_master(title), "{title}");
        }
        for title in [
            "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)",
            "nginx: worker process",
            "",
        ] {
            assert!(!is_master(title), "{title}");
        }
    }

    #[test]
    fn a_process_is_told_with_its_start() {
        let own = Process::running(std::process::id()).unwrap();
        assert!(own.is_alive());
        let other = Process {
            start: own.start + 1,
            ..own
        };
        assert!(!other.is_alive());
        let age = own.started().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(3_600), "{age:?}");
        let stat = Stat::parse("7 (a) b) S 3 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 0").unwrap();
        assert_eq!((stat.parent, stat.start), (3, 4711));
    }

    #[test]
    fn a_pid_file_counts_only_when_it_names_a_running_nginx() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.pid");
        assert_eq!(Process::master(&file), None);
        let own = std::process::id().to_string();
        for content in ["", "x", "0", &own] {
            fs::write(&file, content).unwrap();
            assert_eq!(Process::master(&file), None, "{content}");
            assert_eq!(Process::is_stranger(&file), content == own, "{content}");
        }
    }
}
