//! How a pusher grows with the number of records: `tests/bench/run.sh` runs it with the shipped build.
//!
//! An upstream has 100 servers throughout, so that what grows from row to row is what others have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp, WatchOptions, WatchStream};
use tokio::time::{Instant, interval, timeout};

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests share it, and neither needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

#[allow(
    dead_code,
    reason = "the benchmarks share it, and none needs all of it"
)]
#[path = "figures.rs"]
mod figures;

use figures::{print, quantile};
use support::{Command, Etcd, Nginx, Settings, Sidekick, procfs};

/// Upstreams, and records in each.
const SIZES: [(usize, usize); 3] = [(1, 1), (10, 100), (100, 100)];

/// Changes that are timed one by one.
const CHANGES: usize = 100;

/// Changes of the burst, and how long it lasts.
const BURST: u32 = 1_000;
const BURST_TIME: Duration = Duration::from_secs(1);

/// The largest number of operations that etcd takes in one transaction.
const BATCH: usize = 128;

/// How long anything here may take at the most.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the median change at the largest size may take, as a multiple of what it takes among 1,000 records: what others have
/// must not matter.
const GROWTH_LIMIT: f64 = 1.5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut medians = Vec::new();
    for (upstreams, records) in SIZES {
        medians.push(measure(upstreams, records).await);
    }
    let growth = medians[2].as_secs_f64() / medians[1].as_secs_f64();
    let met = growth <= GROWTH_LIMIT;
    println!(
        "{}: the median change among 10,000 records takes {growth:.2} times what it takes among 1,000, limit {GROWTH_LIMIT}",
        if met { "met" } else { "MISSED" }
    );
    if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One row of the table; gives the median of one change.
async fn measure(upstreams: usize, records: usize) -> Duration {
    let names: Vec<_> = (0..upstreams).map(|number| format!("u{number}")).collect();
    let etcd = Etcd::start().await;
    let mut client = etcd.client().await;
    let written = write(&mut client, &names, records).await;
    let nginx = nginx(&names).await;
    println!("{} records in {upstreams} upstreams:", upstreams * records);

    let start = Instant::now();
    let mut told = Told::new(&etcd).await;
    let pusher = push(&etcd, &nginx, &names);
    for name in &names {
        told.confirmed(name, written).await;
    }
    println!(
        "  first convergence, from the start of the pusher   {:8.1} ms",
        ms(start.elapsed())
    );

    let times = changes(&mut client, &mut told).await;
    print("one change, from the put to its confirmation", &times);
    burst(&mut client, &mut told, &names, &pusher).await;
    let memory = procfs::memory(pusher.process().pid());
    let mib = |name: &str| memory[name] as f64 / (1024.0 * 1024.0);
    println!(
        "  memory: resident {:.2} MiB, private dirty {:.2} MiB\n",
        mib("Rss"),
        mib("Private_Dirty")
    );
    quantile(&times, 0.5)
}

/// An nginx with all these upstreams.
async fn nginx(names: &[String]) -> Nginx {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    Settings::default()
        .upstreams(&names)
        .dict("64m")
        .start()
        .await
}

fn push(etcd: &Etcd, nginx: &Nginx, names: &[String]) -> Sidekick {
    Command::new("push")
        .etcd(etcd)
        .args(["--nginx", &nginx.api_url(), "--upstream", &names.join(",")])
        .env("SIDEKICK_ID", "edge")
        .start()
}

/// Writes the records, and gives the newest revision.
async fn write(client: &mut Client, names: &[String], records: usize) -> i64 {
    let all = names
        .iter()
        .flat_map(|name| (0..records).map(move |number| put(name, number, "one")));
    let all: Vec<_> = all.collect();
    let mut revision = 0;
    for batch in all.chunks(BATCH) {
        let always = Compare::version("never", CompareOp::Equal, 0);
        let txn = Txn::new().when([always]).and_then(batch);
        let answer = client.txn(txn).await.expect("etcd takes the records");
        revision = answer.header().expect("a header").revision();
    }
    revision
}

fn put(service: &str, number: usize, version: &str) -> TxnOp {
    TxnOp::put(key(service, number), value(number, 1, version), None)
}

fn key(service: &str, number: usize) -> String {
    format!("/services/{service}/instance-{number:05}")
}

fn value(number: usize, weight: u32, version: &str) -> String {
    let (high, low) = (number / 250, number % 250 + 1);
    format!(r#"{{"host":"10.1.{high}.{low}","port":8080,"version":"{version}","weight":{weight}}}"#)
}

/// Changes a weight of the first upstream again and again, and tells how long each took until the pusher had confirmed it.
async fn changes(client: &mut Client, told: &mut Told) -> Vec<Duration> {
    let mut times = Vec::new();
    for round in 0..CHANGES {
        let weight = u32::try_from(round).expect("a few") % 7 + 2;
        let start = Instant::now();
        let answer = client
            .put(key("u0", 0), value(0, weight, "two"), None)
            .await;
        let revision = answer
            .expect("a put")
            .header()
            .expect("a header")
            .revision();
        told.confirmed("u0", revision).await;
        times.push(start.elapsed());
    }
    times
}

/// Changes weights all over, evenly spread over a second.
async fn burst(client: &mut Client, told: &mut Told, names: &[String], pusher: &Sidekick) {
    let mut tick = interval(BURST_TIME / BURST);
    let (start, cpu) = (Instant::now(), procfs::cpu_time(pusher.process().pid()));
    let mut newest = BTreeMap::new();
    for round in 0..BURST {
        tick.tick().await;
        let name = &names[round as usize % names.len()];
        let answer = client
            .put(key(name, 0), value(0, round % 9 + 1, "three"), None)
            .await;
        let revision = answer
            .expect("a put")
            .header()
            .expect("a header")
            .revision();
        newest.insert(name, revision);
    }
    let sent = start.elapsed();
    for (name, revision) in newest {
        told.confirmed(name, revision).await;
    }
    let behind = start.elapsed() - sent;
    let cpu = procfs::cpu_time(pusher.process().pid()) - cpu;
    println!(
        "  {BURST} changes in {:.2} s: all confirmed {:.1} ms after the last; CPU of the pusher {:.0} ms",
        sent.as_secs_f64(),
        ms(behind),
        ms(cpu)
    );
}

/// What the pusher has told in its status record.
struct Told {
    stream: WatchStream,
    services: BTreeMap<String, i64>,
}

impl Told {
    async fn new(etcd: &Etcd) -> Self {
        let options = WatchOptions::new().with_prefix();
        let stream = etcd
            .client()
            .await
            .watch("/sidekick/pushers/", Some(options))
            .await;
        Self {
            stream: stream.expect("a watch"),
            services: BTreeMap::new(),
        }
    }

    /// Waits until the pusher has confirmed this revision of a service.
    async fn confirmed(&mut self, service: &str, revision: i64) {
        let heard = timeout(PATIENCE, async {
            while self
                .services
                .get(service)
                .is_none_or(|told| *told < revision)
            {
                self.hear().await;
            }
        });
        heard.await.expect("the pusher confirms it");
    }

    async fn hear(&mut self) {
        let answer = self.stream.message().await.expect("the watch goes on");
        for event in answer.expect("the watch goes on").events() {
            let kv = event.kv().expect("a key");
            let status_record: serde_json::Value =
                serde_json::from_slice(kv.value()).expect("a status record is JSON");
            let services = status_record["services"].as_object().into_iter().flatten();
            for (name, status) in services {
                let applied = status["applied"].as_i64().unwrap_or(0);
                self.services.insert(name.clone(), applied);
            }
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
