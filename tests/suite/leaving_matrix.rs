//! Every way of leaving against every state of what is left: what is waited for, how long at most, and what stays behind.
//!
//! The bounds follow from the settings and leave a busy machine much time; where a row is to prove that something is not
//! waited for, the setting that it would wait for is [`NEVER`].

use std::time::Duration;

use tokio::time::Instant;

use crate::support::docker::{Daemon, Kind};
use crate::support::{
    Backend, Command, Harness, Link, Load, PATIENCE, Proxy, Sidekick, Signal, announce, until,
};

/// Far more than any of these tests waits.
const NEVER: Duration = Duration::from_secs(3600);

/// What the announcer allows for etcd's answers: two calls of three seconds.
const ANSWERS: Duration = Duration::from_secs(6);

/// What a busy machine may take for all else.
const SLACK: Duration = PATIENCE;

/// A lease that ends while somebody waits for it.
const SHORT: Duration = Duration::from_secs(4);

/// How the pusher is when the announcer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pusher {
    None,
    Works,
    /// Frozen: its status record stays until its lease ends.
    Hangs,
    /// Killed: the same.
    Killed,
    /// It left in good order.
    Left,
}

/// What ends the waiting.
#[derive(Debug, Clone, Copy)]
enum Waits {
    /// There is nothing to wait for.
    No,
    /// Every pusher says that it has let go.
    UntilDrained,
    /// `--drain-timeout` is over.
    ForTheDrainTimeout,
}

/// What stands in etcd afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// The record as it was, on its lease.
    ToItsLease,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    pusher: Pusher,
    pusher_ttl: Duration,
    /// Between the announcer and etcd.
    link: Link,
    signal: Signal,
    /// Asked again while it waits.
    again: bool,
    drain_timeout: Duration,
    linger: Duration,
    waits: Waits,
    /// Words of the log that say so.
    says: &'static str,
    left: Left,
}

/// SIGTERM, and nothing stands in the way.
const ROW: Row = Row {
    pusher: Pusher::Works,
    pusher_ttl: NEVER,
    link: Link::Up,
    signal: Signal::TERM,
    again: false,
    drain_timeout: NEVER,
    linger: Duration::ZERO,
    waits: Waits::UntilDrained,
    says: "is drained everywhere",
    left: Left::Nothing,
};

const NO_PUSHER: Row = Row {
    pusher: Pusher::None,
    waits: Waits::No,
    says: "no live pusher routes website: nothing to wait for",
    ..ROW
};

/// The status record is gone, and nginx goes on routing.
const SILENT: Row = Row {
    pusher_ttl: SHORT,
    drain_timeout: Duration::from_secs(12),
    waits: Waits::ForTheDrainTimeout,
    says: "pusher edge is silent, and its load balancer may still send requests",
    ..ROW
};

const NO_ETCD: Row = Row {
    link: Link::Silent,
    drain_timeout: Duration::from_secs(2),
    linger: Duration::from_secs(1),
    waits: Waits::ForTheDrainTimeout,
    says: "etcd did not confirm it",
    left: Left::ToItsLease,
    ..ROW
};

impl Row {
    /// How long it takes at least and at most.
    fn bounds(&self) -> (Duration, Duration) {
        let (least, most) = match self.waits {
            Waits::No | Waits::UntilDrained => (Duration::ZERO, Duration::ZERO),
            Waits::ForTheDrainTimeout => (self.drain_timeout, self.drain_timeout),
        };
        (least + self.linger, most + self.linger + ANSWERS + SLACK)
    }

    async fn pusher(&self, harness: &Harness) -> Option<Sidekick> {
        if self.pusher == Pusher::None {
            return None;
        }
        let ttl = format!("{}s", self.pusher_ttl.as_secs());
        let pusher = harness.push().args(["--ttl", &ttl]).start();
        harness.status_record().await;
        Some(pusher)
    }

    /// Brings the pusher into the state that it is to have.
    async fn change(&self, pusher: &mut Option<Sidekick>) {
        let Some(running) = pusher else { return };
        match self.pusher {
            Pusher::None | Pusher::Works => {}
            Pusher::Hangs => running.process().signal(Signal::STOP),
            Pusher::Killed => running.kill(),
            Pusher::Left => assert_eq!(running.leave().await.code, Some(0)),
        }
    }
}

macro_rules! matrix {
    ($($name:ident: $row:expr;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                leave($row).await;
            }
        )+
    };
}

matrix! {
    sigterm_waits_for_the_pusher: ROW;
    sigint_does_too: Row { signal: Signal::INT, ..ROW };
    lingering_comes_on_top: Row { linger: Duration::from_secs(1), ..ROW };
    without_a_pusher_nothing_is_waited_for: NO_PUSHER;
    without_a_pusher_it_lingers_all_the_same: Row { linger: Duration::from_secs(1), ..NO_PUSHER };
    a_pusher_that_has_left_is_waited_for_no_longer_than_the_drain_timeout: Row {
        pusher: Pusher::Left,
        drain_timeout: Duration::from_secs(2),
        ..SILENT
    };
    a_killed_pusher_is_waited_for_when_its_status_record_has_ended_too: Row {
        pusher: Pusher::Killed,
        ..SILENT
    };
    a_hung_pusher_is_waited_for_when_its_status_record_has_ended_too: Row {
        pusher: Pusher::Hangs,
        ..SILENT
    };
    a_hung_pusher_is_waited_for_no_longer_than_the_drain_timeout: Row {
        pusher: Pusher::Hangs,
        drain_timeout: Duration::from_secs(2),
        waits: Waits::ForTheDrainTimeout,
        says: "not yet applied by edge",
        ..ROW
    };
    no_drain_timeout_is_no_waiting: Row {
        pusher: Pusher::Hangs,
        drain_timeout: Duration::ZERO,
        waits: Waits::No,
        says: "the record of website/b1 is gone",
        ..ROW
    };
    a_second_signal_ends_the_waiting: Row {
        pusher: Pusher::Hangs,
        again: true,
        waits: Waits::No,
        says: "asked again to stop",
        ..ROW
    };
    a_second_signal_ends_the_lingering: Row {
        linger: NEVER,
        again: true,
        says: "asked again to stop",
        ..NO_PUSHER
    };
    with_etcd_silent_the_record_is_left_to_its_lease: NO_ETCD;
    with_etcd_gone_the_record_is_left_to_its_lease: Row { link: Link::Down, ..NO_ETCD };
    a_second_signal_ends_the_waiting_for_etcd: Row {
        drain_timeout: NEVER,
        again: true,
        waits: Waits::No,
        linger: Duration::ZERO,
        says: "asked again to stop",
        ..NO_ETCD
    };
}

async fn leave(row: Row) {
    let harness = Harness::start().await;
    let proxy = Proxy::to(harness.etcd.address()).await;
    let (backend, other) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    let place = other.address();
    let stays = format!(r#"{{"host":"{}","port":{}}}"#, place.ip(), place.port());
    harness.etcd.put("/services/website/b2", stays).await;
    let mut pusher = row.pusher(&harness).await;
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let mut announcer = announce(&proxy.endpoint(), &backend)
        .args(["--drain-timeout", &seconds(row.drain_timeout)])
        .args(["--linger", &seconds(row.linger)])
        // It outlasts the leaving: what is left is left, and not gone in time by chance.
        .args(["--ttl", "5m"])
        .start();
    announcer.ready().await;
    let before = harness.record(&backend).await;
    let mut load = None;
    if pusher.is_some() {
        harness.routed(&[&backend, &other]).await;
        harness.applied().await;
        load = (row.pusher == Pusher::Works).then(|| Load::start(harness.nginx.traffic(), 2));
    }
    row.change(&mut pusher).await;
    proxy.set(row.link);

    let (least, most) = row.bounds();
    let mut from = Instant::now();
    announcer.process().signal(row.signal);
    if row.again {
        let waiting = match row.link {
            Link::Up => "is draining",
            _ => "SIG",
        };
        announcer.process().line(waiting).await;
        if row.linger > Duration::ZERO {
            announcer.process().line("nothing to wait for").await;
        }
        assert!(announcer.runs(), "it does not wait");
        from = Instant::now();
        announcer.process().signal(Signal::INT);
    }
    if let (Some(load), Waits::UntilDrained) = (&load, row.waits) {
        announcer.process().line(row.says).await;
        sends_nothing_more(load, &backend).await;
    }
    let most = if row.again { ANSWERS + SLACK } else { most };
    let ended = announcer.end(most).await;
    let took = from.elapsed();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains(row.says), "{}", ended.output);
    assert!(
        row.again || took >= least,
        "{took:?} is less than {least:?}"
    );
    if let Some(load) = load {
        let report = load.stop().await;
        assert_eq!(report.failed(), 0, "{report:?}");
    }
    let after = harness.record(&backend).await;
    match row.left {
        Left::Nothing => assert_eq!(after, None),
        Left::ToItsLease => {
            assert_eq!(after, before);
            harness.etcd.revoke(after.expect("it is left").lease).await;
            assert_eq!(harness.record(&backend).await, None, "it was on no lease");
        }
    }
    // A dead pusher changes nothing; one that works has let go of it for good.
    if row.pusher == Pusher::Works {
        harness.routed(&[&other]).await;
    }
}

/// From now on, while the load goes on, this backend is asked nothing.
async fn sends_nothing_more(load: &Load, backend: &Backend) {
    let (asked, answered) = (backend.count().await, load.report().answered());
    assert!(asked > 0, "it was never asked");
    until(PATIENCE, "further answers", async || {
        load.report().answered() > answered + 100
    })
    .await;
    assert_eq!(
        backend.count().await,
        asked,
        "it was asked after it was drained"
    );
}

/// `sidekick announce website/web1 --container web1`, with a pusher beside it.
async fn container(daemon: &Daemon, harness: &Harness, flags: &[&str]) -> (Sidekick, Sidekick) {
    // The last server is let go too, so that it shows when.
    let pusher = harness.push().args(["--ttl", "1h", "--min-servers", "0"]);
    let pusher = pusher.start();
    harness.status_record().await;
    daemon.container("web1").await;
    let socket = format!("unix://{}", daemon.socket().display());
    let announcer = Command::new("announce")
        .etcd(&harness.etcd)
        .args([
            "website/web1",
            "--container",
            "web1",
            "--docker-host",
            &socket,
        ])
        .args([
            "--allow-loopback",
            "--interval",
            "200ms",
            "--timeout",
            "190ms",
            "--rise",
            "1",
        ])
        .args(["--ready", "routed"])
        .args(flags)
        .notify()
        .start();
    announcer.ready().await;
    (announcer, pusher)
}

/// Whether nginx sends requests to any server but this one.
async fn is_routed(harness: &Harness) -> bool {
    let servers = harness.nginx.servers("website").await;
    servers.iter().any(|server| !server.drain && !server.down)
}

async fn withdrawn(harness: &Harness) {
    until(PATIENCE, "the record to be gone", async || {
        harness.etcd.get("/services/website/web1").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_container_that_is_stopped_is_drained_first_and_the_announcer_ends() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let harness = Harness::start().await;
    let (mut announcer, _pusher) = container(&daemon, &harness, &["--drain-timeout", "1h"]).await;
    // busybox as PID 1 does not heed SIGTERM: it runs on and could be sent requests.
    let stopped = async {
        announcer.process().line("is drained everywhere").await;
        assert!(
            !is_routed(&harness).await,
            "it is routed after it was drained"
        );
        daemon.crash("web1").await;
    };
    tokio::join!(daemon.act("web1", "stop?t=3600"), stopped);
    let ended = announcer.end(ANSWERS + SLACK).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    withdrawn(&harness).await;
}

#[tokio::test]
async fn a_container_that_is_killed_is_withdrawn_at_once_whoever_hangs() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let harness = Harness::start().await;
    let flags = ["--drain-timeout", "1h", "--linger", "1h"];
    let (mut announcer, pusher) = container(&daemon, &harness, &flags).await;
    pusher.process().signal(Signal::STOP);
    daemon.act("web1", "kill").await;
    let ended = announcer.end(ANSWERS + SLACK).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let says = |part: &str| ended.output.contains(part);
    // Docker tells of the signal first: whoever hears that before the end has begun to wait, and stops.
    let at_once = says(": withdrawing at once") || says(": not waiting any longer");
    assert!(says("container web1 died") && at_once, "{}", ended.output);
    assert!(!says("asked again to stop"), "{}", ended.output);
    withdrawn(&harness).await;
}

#[tokio::test]
async fn a_container_that_is_paused_is_led_away_and_waited_for() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let harness = Harness::start().await;
    let (mut announcer, _pusher) = container(&daemon, &harness, &["--drain-timeout", "1h"]).await;
    daemon.act("web1", "pause").await;
    announcer.process().line("is drained everywhere").await;
    assert!(
        !is_routed(&harness).await,
        "it is routed after it was drained"
    );
    withdrawn(&harness).await;
    let again = "waiting for container web1 to run again";
    announcer.process().line(again).await;
    let lines = announcer.process().lines();
    let told = lines.iter().filter(|line| line.contains("is paused"));
    assert_eq!(told.count(), 1, "a state is told once: {lines:?}");
    assert!(announcer.runs());
    daemon.act("web1", "unpause").await;
    until(PATIENCE, "nginx to send requests again", async || {
        is_routed(&harness).await
    })
    .await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn a_container_that_goes_on_before_it_was_led_away_is_announced_again() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let harness = Harness::start().await;
    let (announcer, pusher) = container(&daemon, &harness, &["--drain-timeout", "3s"]).await;
    pusher.process().signal(Signal::STOP);
    daemon.act("web1", "pause").await;
    announcer.process().line("is draining").await;
    daemon.act("web1", "unpause").await;
    announcer
        .process()
        .line("withdrawn: the record of website/web1")
        .await;
    until(
        PATIENCE,
        "the container to be announced again",
        async || {
            let record = harness.etcd.get("/services/website/web1").await?;
            record.json().get("state").is_none().then_some(())
        },
    )
    .await;
}
