//! Whatever happens to a container: its record becomes right, and nginx does. How soon, tells `tests/bench/events.rs`.

use crate::support::docker::{Daemon, Kind};
use crate::support::paired_harness::{KEY, NAME, PairedHarness, up_at};
use crate::support::{Kv, Link, PATIENCE, Proxy, procfs, until};

/// What one container goes through, on either daemon.
async fn life(kind: Kind) {
    let Some(paired) = PairedHarness::start(kind).await else {
        return;
    };
    let daemon = &paired.daemon;
    // The container comes later than its announcer, as it may with units that start together.
    paired.announcer.process().line("waiting for it").await;
    paired.create().await;
    let mut port = paired.right("start").await;
    assert!(port.is_some());

    for (act, back) in [
        ("pause", "unpause"),
        ("stop?t=5", "start"),
        ("kill", "start"),
        ("kill?signal=USR1", "start"),
    ] {
        let runs_out = act == "kill?signal=USR1";
        if runs_out && !procfs::limits_memory() {
            eprintln!("not tested: no container runs out of memory here");
            continue;
        }
        let before = paired.record().await.expect("it is announced").mod_revision;
        daemon.act(NAME, act).await;
        let what = if runs_out {
            // Out of memory, in a moment.
            paired.ended().await;
            // Nobody else kills it here. Docker says so itself, but may be late with it.
            assert_eq!(daemon.inspect(NAME).await["State"]["ExitCode"], 137);
            "running out of memory"
        } else {
            act
        };
        assert_eq!(paired.right(what).await, None, "{act}");
        assert!(paired.drained_since(before).await, "{act}");
        daemon.act(NAME, back).await;
        let now = paired.right(back).await;
        moved(kind, act != "pause", port, now);
        port = now;
    }

    if kind == Kind::Docker {
        // Its port is published in the network; Podman says so even while it is in none.
        for act in ["disconnect", "connect"] {
            daemon.network_act(daemon.network(), act, NAME).await;
            let now = paired.right(act).await;
            assert_eq!(now.is_some(), act == "connect", "{now:?}");
            port = now.or(port);
        }
    }

    daemon.crash(NAME).await;
    paired.ended().await;
    assert_eq!(paired.right("a crash").await, None);
    let now = paired.started("the start after a crash").await;
    moved(kind, true, port, Some(now));

    daemon.act(NAME, "restart?t=5").await;
    let again = paired.right("restart").await;
    moved(kind, true, Some(now), again);

    // A container that is called otherwise is the same backend: nobody is to notice.
    let before = paired.record().await;
    daemon.act(NAME, "rename?name=web2").await;
    let log = paired.announcer.process();
    until(PATIENCE, "the announcer to notice", async || {
        log.lines()
            .iter()
            .any(|line| line.contains("called web2 now"))
    })
    .await;
    paired.follows(again, "rename").await;
    assert_eq!(paired.record().await, before);
    // Until there is another one of its name.
    paired.create().await;
    let new = paired
        .right("the start of another container of its name")
        .await;
    assert_ne!(new, again);
    daemon.remove("web2").await;
    paired.follows(new, "the removal of the former one").await;

    daemon.remove(NAME).await;
    assert_eq!(paired.right("removal").await, None);
    paired.create().await;
    assert!(paired.right("creation").await.is_some());
}

/// Docker publishes a random port anew in each run; Podman keeps the one that it chose first.
fn moved<T: PartialEq + std::fmt::Debug>(kind: Kind, restarted: bool, before: T, now: T) {
    if restarted && kind == Kind::Docker {
        assert_ne!(before, now);
    } else {
        assert_eq!(before, now);
    }
}

impl PairedHarness {
    /// Whether the record said that it drains before it went.
    async fn drained_since(&self, revision: i64) -> bool {
        let history = self.harness.etcd.history(KEY).await;
        let drains = |kv: &Kv| kv.mod_revision > revision && up_at(&kv.value).is_none();
        history.iter().flatten().any(drains)
    }
}

#[tokio::test]
async fn a_container_of_docker_is_announced_and_routed_exactly_while_it_runs() {
    life(Kind::Docker).await;
}

#[tokio::test]
async fn a_container_of_podman_is_announced_and_routed_exactly_while_it_runs() {
    life(Kind::Podman).await;
}

#[tokio::test]
async fn a_daemon_that_is_restarted_takes_the_records_of_its_containers_along() {
    let Some(mut paired) = PairedHarness::start(Kind::Docker).await else {
        return;
    };
    paired.create().await;
    paired.right("start").await;
    paired.daemon.stop().await;
    paired.follows(None, "the stop of the daemon").await;
    paired.daemon.run().await;
    paired.started("the start of the daemon").await;
}

#[tokio::test]
async fn a_daemon_with_live_restore_comes_and_goes_without_a_write_to_etcd() {
    let Some(mut paired) = PairedHarness::start(Kind::LiveRestore).await else {
        return;
    };
    paired.create().await;
    let at = paired.right("start").await;
    let before = paired.record().await;
    paired.daemon.stop().await;
    paired
        .announcer
        .process()
        .line("cannot ask for container")
        .await;
    // Nobody is asked: without the firewall's help it is the daemon that passes requests on to the port.
    paired.told(at, "the stop of the daemon").await;
    paired.daemon.run().await;
    paired.announcer.process().line("answers again").await;
    paired.told(at, "the start of the daemon").await;
    assert_eq!(paired.record().await, before);
    paired.daemon.act(NAME, "pause").await;
    paired.told(None, "pause").await;
    paired.daemon.act(NAME, "unpause").await;
    paired.told(at, "unpause").await;

    // While the daemon is away, the end of the process is all there is to see.
    let pid = paired.daemon.pid(NAME).await;
    paired.daemon.kill().await;
    crate::support::send(pid, crate::support::Signal::KILL).expect("it runs");
    paired.follows(None, "a crash without a daemon").await;
    paired.daemon.run().await;
    paired.started("the start after that").await;
}

#[tokio::test]
async fn what_happens_before_the_daemon_is_there_or_while_its_events_are_cut_off_is_made_good() {
    let Some(mut daemon) = Daemon::planned(Kind::Docker) else {
        return;
    };
    let link = Proxy::to(daemon.socket()).await;
    link.set(Link::Down);
    let docker_host = format!("tcp://{}", link.endpoint());
    daemon.run().await;
    daemon.furnish().await;
    let paired = PairedHarness::with(daemon, &docker_host, &[]).await;
    let log = paired.announcer.process();
    log.line("cannot ask for container").await;
    paired.create().await;
    link.set(Link::Up);
    assert!(paired.right("a daemon that is there late").await.is_some());

    for (first, second) in [("pause", "unpause"), ("restart?t=5", "stop?t=5")] {
        for act in [first, second] {
            let noticed = || {
                let lines = log.lines().into_iter();
                lines.filter(|line| line.contains("cannot ask")).count()
            };
            let before = noticed();
            link.set(Link::Down);
            until(PATIENCE, "the cut to be noticed", async || {
                noticed() > before
            })
            .await;
            paired.daemon.act(NAME, act).await;
            link.set(Link::Up);
            paired.right(&format!("a missed {act}")).await;
        }
    }
}
