//! What a hundred announcers cost beside a hundred real containers: `tests/bench/run.sh` runs it with the shipped build.
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
use support::docker::{Daemon, Kind};
use support::{Command, Etcd, procfs};

/// Containers, and as many announcers.
const COUNT: usize = 100;

/// How long they are watched; every announcer looks at its container twice meanwhile.
const WINDOW: Duration = Duration::from_secs(60);

/// From the last announcement to the first look: connections settle, one-time work ends.
const SETTLE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return ExitCode::FAILURE;
    };
    let etcd = Etcd::start().await;
    for number in 0..COUNT {
        daemon.container(&format!("web{number:03}")).await;
    }
    let mut announcers = Vec::new();
    for number in 0..COUNT {
        let announcer = announce(&etcd, &daemon, number).start();
        announcer.ready().await;
        announcers.push(announcer);
    }
    let pids: Vec<_> = announcers.iter().map(|one| one.process().pid()).collect();
    // Time itself is part of the measurement.
    tokio::time::sleep(SETTLE).await;
    let all_cpu = || {
        pids.iter()
            .map(|pid| procfs::cpu_time(*pid))
            .sum::<Duration>()
    };
    let others = [("dockerd", daemon.process().pid()), ("etcd", etcd.pid())];
    let cpu_of_others = || others.map(|(_, pid)| procfs::cpu_time(pid));
    let (cpu, cpu_others) = (all_cpu(), cpu_of_others());
    let (revision, proposals) = (etcd.revision().await, etcd.proposals_committed().await);
    // And this is the minute in question.
    tokio::time::sleep(WINDOW).await;
    let (cpu, now_others) = (all_cpu() - cpu, cpu_of_others());
    let revisions = etcd.revision().await - revision;
    let proposals = etcd.proposals_committed().await - proposals;

    let memory: Vec<_> = pids.iter().map(|pid| procfs::memory(*pid)).collect();
    let sum = |names: &[&str]| {
        let bytes = memory
            .iter()
            .flat_map(|one| names.iter().map(|name| one[*name]));
        bytes.sum::<u64>() as f64
    };
    let (private, count) = (sum(&["Private_Dirty", "Private_Clean"]), COUNT as f64);
    println!(
        "{COUNT} announcers beside {COUNT} containers, the default probe (that it runs) every 2 s, watched for {WINDOW:?}:"
    );
    let threads = pids.iter().map(|pid| procfs::threads(*pid)).max();
    let files = pids.iter().map(|pid| procfs::files(*pid)).max();
    let cpu = cpu.as_secs_f64() * 1e3;
    let ok = [
        row("private memory of all", private / MIB, 60.0, "MiB"),
        row(
            "private memory of one, mean",
            private / count / KIB,
            600.0,
            "KiB",
        ),
        row(
            "proportional share of all (PSS)",
            sum(&["Pss"]) / MIB,
            65.0,
            "MiB",
        ),
        row("CPU a minute of all", cpu, 2000.0, "ms"),
        row("CPU a minute of one, mean", cpu / count, 20.0, "ms"),
        row("threads, most", threads.unwrap_or(0) as f64, 1.0, ""),
        row("open files, most", files.unwrap_or(0) as f64, 20.0, ""),
        row("etcd revisions", revisions as f64, 0.0, ""),
        row("committed raft proposals", proposals as f64, 0.0, ""),
    ];
    println!("and what they talk to, with all its other work:");
    for (at, (name, pid)) in others.into_iter().enumerate() {
        println!(
            "  {name}: CPU in this minute {:.0} ms, resident {:.0} MiB",
            (now_others[at] - cpu_others[at]).as_secs_f64() * 1e3,
            procfs::memory(pid)["Rss"] as f64 / MIB,
        );
    }
    if ok == [true; 9] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// As in production, but for the address.
fn announce(etcd: &Etcd, daemon: &Daemon, number: usize) -> Command {
    let socket = format!("unix://{}", daemon.socket().display());
    Command::new("announce")
        .etcd(etcd)
        .args(["--container", &format!("web{number:03}")])
        .args(["--docker-host", &socket, "--allow-loopback"])
        .notify()
}
