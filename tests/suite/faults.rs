//! What happens to etcd, to announcers and to pushers, and what clients notice of it: nothing, as long as the backends live.
//!
//! Every row has the same faulty: four backends whose announcers reach etcd over one link, a pusher that reaches it over
//! another, and clients that never stop asking.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Command, Harness, Kv, Link, Load, PATIENCE, Proxy, Sidekick, announce, push, until,
};

/// Requests at a time.
const CLIENTS: usize = 8;

struct FaultHarness {
    harness: Harness,
    backends: Vec<Backend>,
    announcers: Vec<Sidekick>,
    /// Between the announcers and etcd.
    announcing: Proxy,
    pusher: Sidekick,
    /// Between the pusher and etcd.
    pushing: Proxy,
    load: Load,
    /// Of every record.
    ttl: &'static str,
}

impl FaultHarness {
    /// Records outlast whatever a busy machine does.
    async fn set() -> Self {
        Self::set_for("60s").await
    }

    /// Records whose announcers are gone, or cannot be heard, end soon.
    async fn set_briefly() -> Self {
        Self::set_for("4s").await
    }

    async fn set_for(ttl: &'static str) -> Self {
        let harness = Harness::start().await;
        let announcing = Proxy::to(harness.etcd.address()).await;
        let pushing = Proxy::to(harness.etcd.address()).await;
        let pusher = pusher(&pushing, &harness, "edge").start();
        let mut faulty = Self {
            load: Load::start(harness.nginx.traffic(), 0),
            harness,
            backends: Vec::new(),
            announcers: Vec::new(),
            announcing,
            pusher,
            pushing,
            ttl,
        };
        for number in 1..=4 {
            let backend = Backend::start(&format!("b{number}")).await;
            let announcer = faulty.announce(&backend).start();
            announcer.ready().await;
            faulty.backends.push(backend);
            faulty.announcers.push(announcer);
        }
        faulty.routed().await;
        faulty.load = Load::start(faulty.harness.nginx.traffic(), CLIENTS);
        faulty
    }

    fn announce(&self, backend: &Backend) -> Command {
        announce(&self.announcing.endpoint(), backend).args(["--ttl", self.ttl])
    }

    /// Every announcer and the pusher is another process afterwards.
    async fn deploy_all(&mut self) {
        for (announcer, backend) in self.announcers.iter_mut().zip(&self.backends) {
            announcer.kill();
            *announcer = announce(&self.announcing.endpoint(), backend)
                .args(["--ttl", self.ttl])
                .start();
            announcer.ready().await;
        }
        self.pusher.leave().await;
        self.pusher = pusher(&self.pushing, &self.harness, "edge").start();
        self.routed().await;
    }

    async fn routed(&self) {
        self.harness
            .routed(&self.backends.iter().collect::<Vec<_>>())
            .await;
    }

    async fn records(&self) -> Vec<Kv> {
        self.harness.etcd.list("/services/website/").await
    }

    /// Waits until so many records are there.
    async fn recorded(&self, count: usize) {
        until(PATIENCE, format!("{count} records"), async || {
            let records = self.records().await;
            match records.len() == count {
                true => Ok(()),
                false => Err(records),
            }
        })
        .await;
    }

    /// Waits until so many servers are protected.
    async fn kept(&self, count: u64) {
        until(
            PATIENCE,
            format!("{count} servers to be kept"),
            async || {
                let value = self.harness.status_record().await.json();
                let (_, kept) = crate::support::protected(&value);
                match kept == count {
                    true => Ok(()),
                    false => Err(value),
                }
            },
        )
        .await;
    }

    /// Every backend is recorded, routed and asked, everything is applied, and no request was lost.
    async fn whole(mut self) {
        self.recorded(self.backends.len()).await;
        self.routed().await;
        self.harness.status_record().await;
        self.harness.applied().await;
        self.kept(0).await;
        let before = self.load.report();
        until(PATIENCE, "every backend to answer again", async || {
            let now = self.load.report();
            let mut names = self.backends.iter().map(Backend::name);
            names.all(|name| now.answers_of(name) > before.answers_of(name))
        })
        .await;
        assert!(self.pusher.runs());
        assert!(self.announcers.iter_mut().all(Sidekick::runs));
        let report = self.load.stop().await;
        assert_eq!(report.failed(), 0, "{report:#?}");
    }
}

fn pusher(link: &Proxy, harness: &Harness, id: &str) -> Command {
    push(&link.endpoint(), &harness.nginx)
        .args(["--id", id, "--ttl", "4s", "--resync", "1s"])
        // For longer than the test takes.
        .args(["--hold", "1h"])
}

/// What a pusher says when it hears etcd after it had lost it.
const AGAIN: &str = "etcd answers again";

#[tokio::test]
async fn etcd_restarted() {
    let mut faulty = FaultHarness::set().await;
    let heard = |faulty: &FaultHarness| faulty.pusher.process().output().matches(AGAIN).count();
    // On a machine that stands still etcd may have been lost before.
    let before = heard(&faulty);
    faulty.harness.etcd.restart().await;
    until(PATIENCE, "etcd to be heard again", async || {
        heard(&faulty) > before
    })
    .await;
    let said = faulty.pusher.process().output();
    let mut lost = 0;
    for line in said.lines() {
        lost += usize::from(line.contains("lost sight of etcd"));
        lost -= usize::from(line.contains(AGAIN));
        assert!(lost <= 1, "several watches say it once: {said}");
    }
    assert!(!said.contains("no longer knows the lease"), "{said}");
    faulty.whole().await;
}

#[tokio::test]
async fn etcd_wiped() {
    let mut faulty = FaultHarness::set().await;
    faulty.harness.etcd.wipe().await;
    faulty.whole().await;
}

#[tokio::test]
async fn etcd_compacted_while_the_pusher_could_not_hear_it() {
    let mut faulty = FaultHarness::set().await;
    faulty.pushing.set(Link::Down);
    let gone = faulty.announcers.remove(0).leave().await;
    assert_eq!(gone.code, Some(0), "{}", gone.output);
    // It lives on: the pusher does not know yet that it has left.
    let left = faulty.backends.remove(0);
    for number in 0..10 {
        faulty.harness.etcd.put("/other", format!("{number}")).await;
    }
    faulty.harness.etcd.compact().await;
    faulty.pushing.set(Link::Up);
    faulty.routed().await;
    faulty.whole().await;
    drop(left);
}

#[tokio::test]
async fn etcd_restored_from_a_snapshot() {
    let mut faulty = FaultHarness::set_briefly().await;
    faulty.harness.etcd.save().await;
    let saved = faulty.harness.etcd.revision().await;
    // Since then one has left, one has come, and all have been written anew.
    let gone = faulty.announcers.remove(0).leave().await;
    assert_eq!(gone.code, Some(0), "{}", gone.output);
    let left = faulty.backends.remove(0);
    let new = Backend::start("b5").await;
    let announcer = faulty.announce(&new).start();
    announcer.ready().await;
    faulty.backends.push(new);
    faulty.announcers.push(announcer);
    faulty.routed().await;
    for number in 0..50 {
        faulty.harness.etcd.put("/other", format!("{number}")).await;
    }
    faulty.harness.etcd.restore().await;
    assert!(
        faulty.harness.etcd.revision().await < saved + 50,
        "the revision has gone back"
    );
    // The record of the one that has left is back for as long as its lease.
    faulty.whole().await;
    drop(left);
}

#[tokio::test]
async fn etcd_restored_to_where_every_agent_was_another_process() {
    let mut faulty = FaultHarness::set_briefly().await;
    faulty.harness.etcd.save().await;
    faulty.deploy_all().await;
    faulty.harness.etcd.restore().await;
    faulty.whole().await;
}

#[tokio::test]
async fn etcd_wiped_and_then_restored_to_later_revisions_of_former_processes() {
    let mut faulty = FaultHarness::set_briefly().await;
    for number in 0..50 {
        faulty.harness.etcd.put("/other", format!("{number}")).await;
    }
    faulty.deploy_all().await;
    faulty.harness.etcd.save().await;
    faulty.deploy_all().await;
    faulty.harness.etcd.wipe().await;
    faulty.recorded(4).await;
    faulty.harness.applied().await;
    faulty.harness.etcd.restore().await;
    faulty.whole().await;
}

#[tokio::test]
async fn a_partition_longer_than_the_ttl_of_every_record() {
    let faulty = FaultHarness::set_briefly().await;
    for link in [&faulty.announcing, &faulty.pushing] {
        link.set(Link::Down);
    }
    faulty.recorded(0).await;
    faulty.routed().await;
    // The pusher hears first that nothing is left.
    faulty.pushing.set(Link::Up);
    faulty.kept(4).await;
    faulty.routed().await;
    faulty.announcing.set(Link::Up);
    faulty.whole().await;
}

#[tokio::test]
async fn half_of_all_announcers_gone_at_once() {
    let mut faulty = FaultHarness::set_briefly().await;
    for announcer in &mut faulty.announcers[..2] {
        announcer.kill();
    }
    let orphaned: Vec<_> = faulty.backends.drain(..2).collect();
    faulty.announcers.drain(..2);
    faulty.recorded(2).await;
    faulty.routed().await;
    faulty.whole().await;
    drop(orphaned);
}

#[tokio::test]
async fn all_announcers_gone_at_once_and_back_later() {
    let mut faulty = FaultHarness::set_briefly().await;
    for announcer in &mut faulty.announcers {
        announcer.kill();
    }
    faulty.recorded(0).await;
    let servers = faulty.harness.nginx.addresses("website").await;
    assert!(servers.len() >= 2, "half of them may vanish: {servers:?}");
    for number in 0..4 {
        faulty.announcers[number] = faulty.announce(&faulty.backends[number]).start();
    }
    faulty.whole().await;
}

/// Servers come, drain and go while pushers are restarted, killed and partitioned in turn.
#[tokio::test]
async fn two_pushers_on_one_nginx() {
    let mut faulty = FaultHarness::set().await;
    let second = Proxy::to(faulty.harness.etcd.address()).await;
    let mut other = pusher(&second, &faulty.harness, "other").start();
    until(PATIENCE, "two pushers", async || {
        faulty.harness.etcd.list("/sidekick/pushers/").await.len() == 2
    })
    .await;
    for turn in 0..12 {
        let number = turn % 4;
        match turn {
            2 => {
                assert_eq!(other.leave().await.code, Some(0));
                other = pusher(&second, &faulty.harness, "other").start();
            }
            4 => {
                faulty.pusher.kill();
                faulty.pusher = pusher(&faulty.pushing, &faulty.harness, "edge").start();
            }
            6 => second.cut().await,
            8 => {
                other.kill();
                other = pusher(&second, &faulty.harness, "other").start();
            }
            _ => {}
        }
        let gone = faulty.announcers[number].leave().await;
        assert_eq!(gone.code, Some(0), "{}", gone.output);
        faulty.backends[number].restart().await;
        let back = faulty.announce(&faulty.backends[number]);
        faulty.announcers[number] = back.args(["--ready", "routed"]).start();
        faulty.announcers[number].ready().await;
    }
    faulty.routed().await;
    // Nothing changes any more, and so nobody touches a server: for several resyncs of both.
    let ids = async || -> Vec<u64> {
        let servers = faulty.harness.nginx.servers("website").await;
        servers.iter().map(|server| server.id).collect()
    };
    let (before, end) = (ids().await, Instant::now() + Duration::from_secs(3));
    assert_eq!(before.len(), 4);
    while Instant::now() < end {
        assert_eq!(ids().await, before);
        // There is no condition for what must not happen.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(other.runs());
    faulty.whole().await;
}
