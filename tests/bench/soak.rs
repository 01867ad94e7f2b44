//! What a container that comes and goes leaves behind in its announcer: `tests/bench/run.sh` runs it with the shipped
//! build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::process::ExitCode;

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

use figures::{KIB, row};
use support::docker::Kind;
use support::paired_harness::PairedHarness;
use support::{PATIENCE, procfs, until};

/// Runs of the container.
const RUNS: usize = 500;

/// After so many, everything has happened that happens once.
const WARM: usize = 50;

/// How much larger memory may be in the end, in KiB: what malloc keeps for itself grows by some pages in the first few
/// hundred runs, and no longer.
const TOLERANCE: f64 = 64.0;

/// What an announcer occupies.
#[derive(Debug, Clone, Copy)]
struct Print {
    private: f64,
    resident: f64,
    files: usize,
    threads: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(paired) = PairedHarness::start(Kind::Docker).await else {
        return ExitCode::FAILURE;
    };
    paired.create().await;
    let mut before = paired.right("start").await;
    let mut warm = None;
    println!(
        "a container that is restarted {RUNS} times, each time on another port; its announcer after"
    );
    for run in 1..=RUNS {
        paired.flap(run).await;
        let now = paired.right("a restart").await;
        assert!(now.is_some() && now != before, "{before:?}, {now:?}");
        before = now;
        if run % WARM == 0 {
            let print = settled(&paired).await;
            let Print {
                private,
                resident,
                files,
                threads,
            } = print;
            println!(
                "  {run:4} runs: private {private:.0} KiB, resident {resident:.0} KiB, {files} files, {threads} threads"
            );
            warm.get_or_insert(print);
        }
    }
    let (warm, end) = (warm.expect("so many"), settled(&paired).await);
    let grown = |what: &str, before: f64, now: f64, limit, unit| {
        row(
            &format!("{what} from {WARM} to {RUNS} runs"),
            now - before,
            limit,
            unit,
        )
    };
    let ok = [
        grown(
            "private memory",
            warm.private,
            end.private,
            TOLERANCE,
            "KiB",
        ),
        grown(
            "resident memory",
            warm.resident,
            end.resident,
            TOLERANCE,
            "KiB",
        ),
        grown("open files", warm.files as f64, end.files as f64, 0.0, ""),
        grown("threads", warm.threads as f64, end.threads as f64, 0.0, ""),
    ];
    if ok == [true; 4] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The announcer when nothing is under way: its question about the container is answered.
async fn settled(paired: &PairedHarness) -> Print {
    let pid = paired.announcer.process().pid();
    let mut last = 0;
    until(PATIENCE, "open files to stay", async || {
        std::mem::replace(&mut last, procfs::files(pid)) == last
    })
    .await;
    let memory = procfs::memory(pid);
    Print {
        private: (memory["Private_Dirty"] + memory["Private_Clean"]) as f64 / KIB,
        resident: memory["Rss"] as f64 / KIB,
        files: last,
        threads: procfs::threads(pid),
    }
}
