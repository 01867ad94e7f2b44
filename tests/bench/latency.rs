//! How soon nginx answers with what etcd says: `tests/bench/run.sh` runs it with the shipped build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

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

use figures::{print, quantile, verdict};
use support::{Backend, Harness, PATIENCE, until};

/// Additions, and as many removals.
const ROUNDS: usize = 100;

/// Starts of an announcer.
const STARTS: usize = 20;

/// As many answers of the other backend in a row prove that a server is out, which otherwise gets 100 of 101 requests.
const IN_A_ROW: usize = 8;

/// What the median of an etcd change may take until nginx answers with it.
const MEDIAN_LIMIT: Duration = Duration::from_millis(10);

/// What starting an announcer may take on top of `rise × interval`.
const START_LIMIT: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let harness = Harness::start().await;
    let _pusher = harness.pushing().await;
    let steady = Backend::start("steady").await;
    let value = steady.address().to_string();
    harness.etcd.put("/services/website/steady", value).await;
    harness.routed(&[&steady]).await;

    let changes = changes(&harness).await;
    let (rise, interval) = (2, Duration::from_millis(100));
    let starts = starts(&harness, rise, interval).await;
    println!();
    let ok = [
        verdict(
            "median of all changes",
            quantile(&changes, 0.5),
            MEDIAN_LIMIT,
        ),
        verdict(
            "median start, of which rise × interval allows 200 ms",
            quantile(&starts, 0.5),
            rise * interval + START_LIMIT,
        ),
    ];
    if ok == [true; 2] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Puts a server in and takes it out again, and tells how long nginx took each time, from the put's being sent on.
async fn changes(harness: &Harness) -> Vec<Duration> {
    let coming = Backend::start("coming").await;
    let key = "/services/website/coming";
    let record = |state: &str| {
        let port = coming.address().port();
        // Nearly every request goes to it, so that what is timed is not how long nginx takes turns.
        format!(r#"{{"host":"127.0.0.1","port":{port},"state":"{state}","weight":100}}"#)
    };
    let mut etcd = harness.etcd.client().await;
    let (mut puts, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        etcd.put(key, record("up"), None).await.expect("a put");
        puts.push(start.elapsed());
        added.push(first_answer(harness, "coming").await - start);

        let start = Instant::now();
        etcd.put(key, record("draining"), None)
            .await
            .expect("a put");
        puts.push(start.elapsed());
        removed.push(out_since(harness).await - start);
        etcd.delete(key, None).await.expect("a delete");
        harness.routed_count(1).await;
    }
    println!(
        "etcd change → nginx answers with it, {} changes, from the put's being sent:",
        2 * ROUNDS
    );
    print("server added", &added);
    print("server drained", &removed);
    let all = [added, removed].concat();
    print("all", &all);
    print(
        "of which one request through nginx",
        &requests(harness).await,
    );
    print("of which etcd's own answer to the put", &puts);
    all
}

/// How long a request through nginx takes: what a change takes at the least, seen from here.
async fn requests(harness: &Harness) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..2 * ROUNDS {
        let start = Instant::now();
        who(harness).await;
        took.push(start.elapsed());
    }
    took
}

/// Who answers now; empty when nobody does. Spelled out to the byte, because a real client that was not built for
/// release takes longer than nginx.
async fn who(harness: &Harness) -> String {
    let mut stream = TcpStream::connect(harness.nginx.traffic())
        .await
        .expect("nginx listens");
    let sent = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
    sent.expect("nginx reads");
    let mut answer = String::new();
    let received = stream.read_to_string(&mut answer).await;
    received.expect("nginx answers");
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => body.trim().to_owned(),
        _ => String::new(),
    }
}

/// When a backend first answered. Asks without a pause: waiting in between would be measured too.
async fn first_answer(harness: &Harness, name: &str) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    while who(harness).await != name {
        assert!(Instant::now() < deadline, "{name} was never asked");
    }
    Instant::now()
}

/// When the first request was answered after which `coming` never answered again.
async fn out_since(harness: &Harness) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    let mut since = None;
    let mut in_a_row = 0;
    loop {
        assert!(Instant::now() < deadline, "it was never taken out");
        if who(harness).await == "steady" {
            in_a_row += 1;
            let since = *since.get_or_insert_with(Instant::now);
            if in_a_row == IN_A_ROW {
                return since;
            }
        } else {
            (since, in_a_row) = (None, 0);
        }
    }
}

/// Starts an announcer again and again, and tells how long the first request took from there.
async fn starts(harness: &Harness, rise: u32, interval: Duration) -> Vec<Duration> {
    let backend = Backend::start("started").await;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let command = harness
            .announce(&backend)
            .args(["--interval", &format!("{}ms", interval.as_millis())])
            .args(["--timeout", &format!("{}ms", interval.as_millis() * 9 / 10)])
            .args(["--rise", &rise.to_string()]);
        let start = Instant::now();
        let mut announcer = command.start();
        took.push(first_answer(harness, "started").await - start);
        announcer.leave().await;
        harness.routed_count(1).await;
    }
    println!(
        "\nannounce started → first request answered, {STARTS} starts, --rise {rise} --interval {interval:?}:"
    );
    print("from its start", &took);
    took
}

impl Harness {
    /// Waits until the upstream has so many servers.
    async fn routed_count(&self, count: usize) {
        until(PATIENCE, format!("{count} servers"), async || {
            self.nginx.addresses("website").await.len() == count
        })
        .await;
    }
}
