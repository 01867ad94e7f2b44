//! What idle agents cost: `tests/bench/run.sh` runs it with the shipped build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::process::ExitCode;
use std::time::Duration;

#[allow(
    dead_code,
    reason = "the benchmarks share it, and none needs all of it"
)]
#[path = "figures.rs"]
mod figures;
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests share it, and neither needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

use figures::{KIB, MIB, row};
use support::{Backend, Command, Harness, Sidekick, procfs};

/// Announcers side by side, so that what they share counts once.
const ANNOUNCERS: usize = 10;

/// How long they are watched.
const WINDOW: Duration = Duration::from_secs(60);

/// From the last announcement to the first look: connections settle, one-time work ends.
const SETTLE: Duration = Duration::from_secs(5);

/// The largest of each figure among the announcers.
#[derive(Debug, Default)]
struct Footprint {
    resident: f64,
    private_dirty: f64,
    proportional: f64,
    cpu: f64,
    threads: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let harness = Harness::start().await;
    let backend = Backend::start("backend").await;
    let pusher = harness.pushing().await;
    let mut announcers = Vec::new();
    for number in 0..ANNOUNCERS {
        let announcer = announce(&harness, &backend, number).start();
        announcer.ready().await;
        announcers.push(announcer);
    }
    // Time itself is part of the measurement.
    tokio::time::sleep(SETTLE).await;
    let all: Vec<_> = announcers.iter().chain([&pusher]).collect();
    let before: Vec<_> = all
        .iter()
        .map(|agent| procfs::cpu_time(pid(agent)))
        .collect();
    let written = (
        harness.etcd.revision().await,
        harness.etcd.proposals_committed().await,
    );
    // And this is the minute in question.
    tokio::time::sleep(WINDOW).await;
    let used = all
        .iter()
        .zip(&before)
        .map(|(agent, before)| procfs::cpu_time(pid(agent)) - *before);
    let prints: Vec<_> = all
        .iter()
        .zip(used)
        .map(|(agent, cpu)| Footprint::of(agent, cpu))
        .collect();

    let (pusher, announcers) = prints.split_last().expect("at least the pusher");
    let largest = announcers.iter().fold(Footprint::default(), Footprint::max);
    println!(
        "{ANNOUNCERS} idle announcers, one HTTP probe each at an interval of 2 s, watched for {WINDOW:?}; the largest of them:"
    );
    let revisions = harness.etcd.revision().await - written.0;
    let proposals = harness.etcd.proposals_committed().await - written.1;
    let ok = [
        row("resident", largest.resident / MIB, 5.5, "MiB"),
        row("private dirty", largest.private_dirty / MIB, 0.7, "MiB"),
        row(
            "proportional share of ten (PSS)",
            largest.proportional / MIB,
            1.0,
            "MiB",
        ),
        row("CPU a minute", largest.cpu, 20.0, "ms"),
        row("threads", largest.threads, 1.0, ""),
        row("etcd revisions of all together", revisions as f64, 0.0, ""),
        row("committed raft proposals", proposals as f64, 0.0, ""),
    ];
    println!("the idle pusher, for comparison:");
    println!(
        "  resident {:.2} MiB, private dirty {:.0} KiB, CPU a minute {:.1} ms, threads {}",
        pusher.resident / MIB,
        pusher.private_dirty / KIB,
        pusher.cpu,
        pusher.threads,
    );
    if ok == [true; 7] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// As in production, but for the address: default interval, timeouts and lease.
fn announce(harness: &Harness, backend: &Backend, number: usize) -> Command {
    Command::new("announce")
        .etcd(&harness.etcd)
        .args([
            &format!("website/b{number}"),
            &backend.address().to_string(),
        ])
        .args(["--allow-loopback", "--probe", "/health", "--interval", "2s"])
        .notify()
}

impl Footprint {
    fn of(agent: &Sidekick, cpu: Duration) -> Self {
        let memory = procfs::memory(pid(agent));
        let bytes = |name: &str| memory.get(name).copied().expect("the kernel tells it") as f64;
        let minutes = WINDOW.as_secs_f64() / 60.0;
        Self {
            resident: bytes("Rss"),
            private_dirty: bytes("Private_Dirty"),
            proportional: bytes("Pss"),
            cpu: cpu.as_secs_f64() * 1e3 / minutes,
            threads: procfs::threads(pid(agent)) as f64,
        }
    }

    fn max(self, other: &Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            private_dirty: self.private_dirty.max(other.private_dirty),
            proportional: self.proportional.max(other.proportional),
            cpu: self.cpu.max(other.cpu),
            threads: self.threads.max(other.threads),
        }
    }
}

fn pid(agent: &Sidekick) -> u32 {
    agent.process().pid()
}
