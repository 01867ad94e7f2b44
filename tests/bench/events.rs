//! How soon etcd and nginx tell what happened to a container: `tests/bench/run.sh` runs it with the shipped build.
//!
//! Each event is caused again and again, and timed from the call that causes it and, where the daemon tells an event of
//! it before the record changes, from that event. Right is: the record leads to where the container serves now, or takes
//! no traffic any more (gone or draining), and nginx has exactly that server, or none that takes new requests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use etcd_client::{EventType, WatchOptions};
use tokio::sync::mpsc;
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

use figures::quantile;
use support::docker::{Daemon, Kind};
use support::paired_harness::{KEY, NAME, PairedHarness, up_at};
use support::{Link, PATIENCE, Proxy, Signal, send, until};

/// What the median may take from a crash or a stop to etcd.
const LIMIT: Duration = Duration::from_millis(50);

/// Between two looks at nginx.
const PAUSE: Duration = Duration::from_millis(1);

/// Long enough for a daemon's absence to have the longest pauses between two attempts to reach it.
const ABSENCE: Duration = Duration::from_secs(12);

/// What is waited for.
#[derive(Debug, Clone, Copy)]
enum Right {
    /// Nobody sends new requests there.
    Out,
    /// It takes requests, elsewhere than at this address.
    In(Option<SocketAddr>),
}

/// What one event took each time.
#[derive(Debug, Default)]
struct Row {
    name: &'static str,
    to_etcd: Vec<Duration>,
    to_nginx: Vec<Duration>,
    event_to_etcd: Vec<Duration>,
}

/// The harness and what etcd tells of its record.
struct Bench {
    paired: PairedHarness,
    changes: mpsc::UnboundedReceiver<Change>,
}

/// A change of the record.
struct Change {
    at: Instant,
    up: Option<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(rows) = Box::pin(rows()).await else {
        return ExitCode::FAILURE;
    };
    println!(
        "                                        call → etcd right   event → etcd right   call → nginx right"
    );
    println!(
        "                                   n      p50 /    max         p50 /    max         p50 /    max"
    );
    for row in &rows {
        row.print();
    }
    println!(
        "all in milliseconds; the probe's first answer is part of what brings a container back"
    );
    let of = |name: &str| {
        rows.iter()
            .find(|row| row.name == name)
            .expect("it is timed")
    };
    let (crash, stop) = (of("crash"), of("stop"));
    let ok = [
        verdict("crash → etcd", &crash.to_etcd),
        verdict("`docker stop` called → etcd", &stop.to_etcd),
        verdict("stop's signal event → etcd", &stop.event_to_etcd),
    ];
    if ok == [true; 3] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn rows() -> Option<Vec<Row>> {
    let mut rows = Box::pin(life(Kind::Docker)).await?;
    rows.extend(restarted_daemon().await?);
    rows.extend(absent_daemon().await?);
    rows.extend(cut_off().await?);
    let podman = Box::pin(life(Kind::Podman)).await?;
    println!(
        "Podman, for comparison; it tells no signal, and of other events a quarter of a second late:"
    );
    podman.iter().for_each(Row::print);
    println!();
    Some(rows)
}

/// What one container goes through beside a daemon that works.
async fn life(kind: Kind) -> Option<Vec<Row>> {
    let mut bench = Bench::of(PairedHarness::start(kind).await?).await;
    bench.paired.create().await;
    bench.paired.right("start").await;
    let rounds = if kind == Kind::Docker { 30 } else { 5 };
    let of = |name| Row {
        name,
        ..Row::default()
    };
    let [mut crash, mut stop, mut kill, mut start] = ["crash", "stop", "kill", "start"].map(of);
    let [mut pause, mut unpause, mut restart] = ["pause", "unpause", "restart"].map(of);
    let [mut memory, mut removal, mut creation] = ["out of memory", "removal", "creation"].map(of);
    for _ in 0..rounds {
        bench.acted(&mut pause, "pause", Right::Out, "pause").await;
        bench
            .acted(&mut unpause, "unpause", Right::In(None), "unpause")
            .await;
        bench.acted(&mut stop, "stop?t=5", Right::Out, "kill").await;
        bench
            .acted(&mut start, "start", Right::In(None), "start")
            .await;
        let pid = bench.paired.daemon.pid(NAME).await;
        let killed = async |_: &PairedHarness| send(pid, Signal::KILL).expect("it runs");
        bench.timed(&mut crash, killed, Right::Out, None).await;
        bench.paired.ended().await;
        bench
            .acted(&mut start, "start", Right::In(None), "start")
            .await;
        bench.acted(&mut kill, "kill", Right::Out, "kill").await;
        bench.paired.ended().await;
        bench
            .acted(&mut start, "start", Right::In(None), "start")
            .await;
    }
    for _ in 0..rounds / 3 {
        // Podman keeps its port, so that nobody could tell the runs apart.
        let old = bench.paired.daemon.serves(NAME).await;
        if kind == Kind::Docker {
            bench
                .acted(&mut restart, "restart?t=5", Right::In(old), "start")
                .await;
        }
        bench
            .acted(&mut memory, "kill?signal=USR1", Right::Out, "oom")
            .await;
        bench.paired.ended().await;
        let removed = async |paired: &PairedHarness| paired.daemon.remove(NAME).await;
        bench.paired.started("start").await;
        bench
            .timed(&mut removal, removed, Right::Out, Some("kill"))
            .await;
        let created = async |paired: &PairedHarness| paired.create().await;
        bench
            .timed(&mut creation, created, Right::In(None), Some("start"))
            .await;
    }
    let all = [
        start, stop, kill, crash, memory, pause, unpause, restart, removal, creation,
    ];
    Some(
        all.into_iter()
            .filter(|row| !row.to_etcd.is_empty())
            .collect(),
    )
}

/// A daemon that takes its containers along.
async fn restarted_daemon() -> Option<Vec<Row>> {
    let mut bench = Bench::of(PairedHarness::start(Kind::Docker).await?).await;
    bench.paired.create().await;
    bench.paired.right("start").await;
    let of = |name| Row {
        name,
        ..Row::default()
    };
    let [mut stop, mut start] = ["daemon stopped", "start right after its start"].map(of);
    for _ in 0..5 {
        let stopped = async |paired: &PairedHarness| paired.daemon.process().signal(Signal::TERM);
        bench.timed(&mut stop, stopped, Right::Out, None).await;
        bench.paired.daemon.stop().await;
        bench.paired.daemon.run().await;
        bench
            .acted(&mut start, "start", Right::In(None), "start")
            .await;
    }
    Some(vec![stop, start])
}

/// A daemon whose containers outlive it.
async fn absent_daemon() -> Option<Vec<Row>> {
    let mut bench = Bench::of(PairedHarness::start(Kind::LiveRestore).await?).await;
    bench.paired.create().await;
    bench.paired.right("start").await;
    let of = |name| Row {
        name,
        ..Row::default()
    };
    let [mut crash, mut pause] = ["crash without a daemon", "pause right after its start"].map(of);
    for _ in 0..5 {
        let before = bench.paired.record().await;
        bench.paired.daemon.stop().await;
        bench.paired.daemon.run().await;
        assert_eq!(bench.paired.record().await, before, "live-restore");
        bench.acted(&mut pause, "pause", Right::Out, "pause").await;
        bench.paired.daemon.act(NAME, "unpause").await;
        // Nobody is asked: the port may have been taken while the daemon was away.
        let at = bench.paired.daemon.serves(NAME).await;
        bench.paired.told(at, "unpause").await;
        let pid = bench.paired.daemon.pid(NAME).await;
        bench.paired.daemon.stop().await;
        let killed = async |_: &PairedHarness| send(pid, Signal::KILL).expect("it runs");
        bench.timed(&mut crash, killed, Right::Out, None).await;
        bench.paired.daemon.run().await;
        bench.paired.started("start").await;
    }
    Some(vec![crash, pause])
}

/// A daemon that is not there for a while, as far as the announcer can see.
async fn cut_off() -> Option<Vec<Row>> {
    let daemon = Daemon::start(Kind::Docker).await?;
    let link = Proxy::to(daemon.socket()).await;
    let docker_host = format!("tcp://{}", link.endpoint());
    let paired = PairedHarness::with(daemon, &docker_host, &[]).await;
    let mut bench = Bench::of(paired).await;
    bench.paired.create().await;
    bench.paired.right("start").await;
    let of = |name| Row {
        name,
        ..Row::default()
    };
    let [mut missed, mut late] = ["event missed, stream back", "socket appears late"].map(of);
    let up = async |_: &PairedHarness| link.set(Link::Up);
    for _ in 0..5 {
        bench.cut(&link).await;
        bench.paired.daemon.act(NAME, "pause").await;
        bench.timed(&mut missed, up, Right::Out, None).await;

        bench.cut(&link).await;
        bench.paired.daemon.act(NAME, "unpause").await;
        // The passing of time is what makes it late.
        tokio::time::sleep(ABSENCE).await;
        bench.timed(&mut late, up, Right::In(None), None).await;
    }
    Some(vec![missed, late])
}

impl Bench {
    async fn of(paired: PairedHarness) -> Self {
        let mut client = paired.harness.etcd.client().await;
        let (sender, changes) = mpsc::unbounded_channel();
        let mut stream = client
            .watch(KEY, Some(WatchOptions::new()))
            .await
            .expect("a watch");
        tokio::spawn(async move {
            while let Ok(Some(answer)) = stream.message().await {
                let at = Instant::now();
                for event in answer.events() {
                    let put = event.kv().filter(|_| event.event_type() == EventType::Put);
                    let up = put.and_then(|kv| up_at(&String::from_utf8_lossy(kv.value())));
                    let _ = sender.send(Change { at, up });
                }
            }
        });
        Self { paired, changes }
    }

    /// Lets the daemon act on the container.
    async fn acted(&mut self, row: &mut Row, action: &str, right: Right, event: &str) {
        let act = async |paired: &PairedHarness| paired.daemon.act(NAME, action).await;
        self.timed(row, act, right, Some(event)).await;
    }

    async fn timed(
        &mut self,
        row: &mut Row,
        act: impl AsyncFn(&PairedHarness),
        right: Right,
        event: Option<&str>,
    ) {
        while self.changes.try_recv().is_ok() {}
        let (start, clock) = (Instant::now(), SystemTime::now());
        let Self { paired, changes } = self;
        let ((), etcd, nginx) = tokio::join!(
            act(paired),
            etcd_is(right, changes),
            nginx_is(right, paired)
        );
        row.to_etcd.push(etcd - start);
        row.to_nginx.push(nginx - start);
        let Some(event) = event else { return };
        let told = paired.daemon.told(NAME, event, clock).await;
        let told = told.and_then(|told| told.duration_since(clock).ok());
        row.event_to_etcd
            .extend(told.map(|told| (etcd - start).saturating_sub(told)));
    }

    /// Cuts the announcer off, and waits until it has noticed.
    async fn cut(&self, link: &Proxy) {
        let log = self.paired.announcer.process();
        let lines = log.lines().len();
        link.set(Link::Down);
        until(PATIENCE, "the cut to be noticed", async || {
            log.lines()[lines..]
                .iter()
                .any(|line| line.contains("cannot ask"))
        })
        .await;
    }
}

async fn etcd_is(right: Right, changes: &mut mpsc::UnboundedReceiver<Change>) -> Instant {
    let wanted = async {
        loop {
            let change = changes.recv().await.expect("the watch goes on");
            if right.is(change.up) {
                return change.at;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wanted)
        .await
        .expect("the record becomes right")
}

async fn nginx_is(right: Right, paired: &PairedHarness) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    let steady = paired.steady.address().to_string();
    loop {
        let servers = paired.harness.nginx.servers("website").await;
        let takes =
            |server: &&support::Server| !server.down && !server.drain && server.server != steady;
        let others: Vec<_> = servers.iter().filter(takes).collect();
        let up = others
            .first()
            .map(|server| server.server.parse().expect("an address"));
        if others.len() <= 1 && right.is(up) {
            return Instant::now();
        }
        assert!(
            Instant::now() < deadline,
            "nginx never was {right:?}: {servers:?}"
        );
        // Asking without a pause would slow down what is timed.
        tokio::time::sleep(PAUSE).await;
    }
}

impl Right {
    fn is(self, up: Option<SocketAddr>) -> bool {
        match self {
            Self::Out => up.is_none(),
            Self::In(old) => up.is_some() && up != old,
        }
    }
}

impl Row {
    fn print(&self) {
        let pair = |times: &[Duration]| {
            if times.is_empty() {
                return "      – /      –".to_owned();
            }
            let ms = |q| quantile(times, q).as_secs_f64() * 1e3;
            format!("{:7.1} / {:6.1}", ms(0.5), ms(1.0))
        };
        println!(
            "  {:<30} {:4}   {}     {}     {}",
            self.name,
            self.to_etcd.len(),
            pair(&self.to_etcd),
            pair(&self.event_to_etcd),
            pair(&self.to_nginx),
        );
    }
}

fn verdict(what: &str, times: &[Duration]) -> bool {
    figures::verdict(&format!("median of {what}"), quantile(times, 0.5), LIMIT)
}
