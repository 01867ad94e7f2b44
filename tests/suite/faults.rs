//! What happens to etcd, to announcers and to pushers, and what clients notice of it: nothing, as long as the backends live.
//!
//! Every row has the same stage: four backends whose announcers reach etcd over one link, a pusher that reaches it over
//! another, and clients that never stop asking.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Command, Kv, Link, Load, PATIENCE, Proxy, Scene, Sidekick, announce, push, until,
};

/// Requests at a time.
const CLIENTS: usize = 8;

struct Stage {
    scene: Scene,
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

impl Stage {
    /// Records outlast whatever a busy machine does.
    async fn set() -> Self {
        Self::set_for("60s").await
    }

    /// Records whose announcers are gone, or cannot be heard, end soon.
    async fn set_briefly() -> Self {
        Self::set_for("4s").await
    }

    async fn set_for(ttl: &'static str) -> Self {
        let scene = Scene::start().await;
        let announcing = Proxy::to(scene.etcd.address()).await;
        let pushing = Proxy::to(scene.etcd.address()).await;
        let pusher = pusher(&pushing, &scene, "edge").start();
        let mut stage = Self {
            load: Load::start(scene.nginx.traffic(), 0),
            scene,
            backends: Vec::new(),
            announcers: Vec::new(),
            announcing,
            pusher,
            pushing,
            ttl,
        };
        for number in 1..=4 {
            let backend = Backend::start(&format!("b{number}")).await;
            let announcer = stage.announce(&backend).start();
            announcer.ready().await;
            stage.backends.push(backend);
            stage.announcers.push(announcer);
        }
        stage.routed().await;
        stage.load = Load::start(stage.scene.nginx.traffic(), CLIENTS);
        stage
    }

    fn announce(&self, backend: &Backend) -> Command {
        announce(&self.announcing.endpoint(), backend).args(["--ttl", self.ttl])
    }

    async fn routed(&self) {
        self.scene
            .routed(&self.backends.iter().collect::<Vec<_>>())
            .await;
    }

    async fn records(&self) -> Vec<Kv> {
        self.scene.etcd.list("/services/website/").await
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
                let value = self.scene.status_record().await.json();
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
        self.scene.status_record().await;
        self.scene.applied().await;
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

fn pusher(link: &Proxy, scene: &Scene, id: &str) -> Command {
    push(&link.endpoint(), &scene.nginx)
        .args(["--id", id, "--ttl", "4s", "--resync", "1s"])
        // For longer than the test takes.
        .args(["--hold", "1h"])
}

/// What a pusher says when it hears etcd after it had lost it.
const AGAIN: &str = "etcd answers again";

#[tokio::test]
async fn etcd_restarted() {
    let mut stage = Stage::set().await;
    let heard = |stage: &Stage| stage.pusher.process().output().matches(AGAIN).count();
    // On a machine that stands still etcd may have been lost before.
    let before = heard(&stage);
    stage.scene.etcd.restart().await;
    until(PATIENCE, "etcd to be heard again", async || {
        heard(&stage) > before
    })
    .await;
    let said = stage.pusher.process().output();
    let mut lost = 0;
    for line in said.lines() {
        lost += usize::from(line.contains("lost sight of etcd"));
        lost -= usize::from(line.contains(AGAIN));
        assert!(lost <= 1, "several watches say it once: {said}");
    }
    assert!(!said.contains("no longer knows the lease"), "{said}");
    stage.whole().await;
}

#[tokio::test]
async fn etcd_wiped() {
    let mut stage = Stage::set().await;
    stage.scene.etcd.wipe().await;
    stage.whole().await;
}

#[tokio::test]
async fn etcd_compacted_while_the_pusher_could_not_hear_it() {
    let mut stage = Stage::set().await;
    stage.pushing.set(Link::Down);
    let gone = stage.announcers.remove(0).leave().await;
    assert_eq!(gone.code, Some(0), "{}", gone.output);
    // It lives on: the pusher does not know yet that it has left.
    let left = stage.backends.remove(0);
    for number in 0..10 {
        stage.scene.etcd.put("/other", format!("{number}")).await;
    }
    stage.scene.etcd.compact().await;
    stage.pushing.set(Link::Up);
    stage.routed().await;
    stage.whole().await;
    drop(left);
}

#[tokio::test]
async fn etcd_restored_from_a_snapshot() {
    let mut stage = Stage::set_briefly().await;
    stage.scene.etcd.save().await;
    let saved = stage.scene.etcd.revision().await;
    // Since then one has left, one has come, and all have been written anew.
    let gone = stage.announcers.remove(0).leave().await;
    assert_eq!(gone.code, Some(0), "{}", gone.output);
    let left = stage.backends.remove(0);
    let new = Backend::start("b5").await;
    let announcer = stage.announce(&new).start();
    announcer.ready().await;
    stage.backends.push(new);
    stage.announcers.push(announcer);
    stage.routed().await;
    for number in 0..50 {
        stage.scene.etcd.put("/other", format!("{number}")).await;
    }
    stage.scene.etcd.restore().await;
    assert!(
        stage.scene.etcd.revision().await < saved + 50,
        "the revision has gone back"
    );
    // The record of the one that has left is back for as long as its lease.
    stage.whole().await;
    drop(left);
}

#[tokio::test]
async fn a_partition_longer_than_the_ttl_of_every_record() {
    let stage = Stage::set_briefly().await;
    for link in [&stage.announcing, &stage.pushing] {
        link.set(Link::Down);
    }
    stage.recorded(0).await;
    stage.routed().await;
    // The pusher hears first that nothing is left.
    stage.pushing.set(Link::Up);
    stage.kept(4).await;
    stage.routed().await;
    stage.announcing.set(Link::Up);
    stage.whole().await;
}

#[tokio::test]
async fn half_of_all_announcers_gone_at_once() {
    let mut stage = Stage::set_briefly().await;
    for announcer in &mut stage.announcers[..2] {
        announcer.kill();
    }
    let orphaned: Vec<_> = stage.backends.drain(..2).collect();
    stage.announcers.drain(..2);
    stage.recorded(2).await;
    stage.routed().await;
    stage.whole().await;
    drop(orphaned);
}

#[tokio::test]
async fn all_announcers_gone_at_once_and_back_later() {
    let mut stage = Stage::set_briefly().await;
    for announcer in &mut stage.announcers {
        announcer.kill();
    }
    stage.recorded(0).await;
    let servers = stage.scene.nginx.addresses("website").await;
    assert!(servers.len() >= 2, "half of them may vanish: {servers:?}");
    for number in 0..4 {
        stage.announcers[number] = stage.announce(&stage.backends[number]).start();
    }
    stage.whole().await;
}

/// Servers come, drain and go while pushers are restarted, killed and partitioned in turn.
#[tokio::test]
async fn two_pushers_on_one_nginx() {
    let mut stage = Stage::set().await;
    let second = Proxy::to(stage.scene.etcd.address()).await;
    let mut other = pusher(&second, &stage.scene, "other").start();
    until(PATIENCE, "two pushers", async || {
        stage.scene.etcd.list("/sidekick/pushers/").await.len() == 2
    })
    .await;
    for turn in 0..12 {
        let number = turn % 4;
        match turn {
            2 => {
                assert_eq!(other.leave().await.code, Some(0));
                other = pusher(&second, &stage.scene, "other").start();
            }
            4 => {
                stage.pusher.kill();
                stage.pusher = pusher(&stage.pushing, &stage.scene, "edge").start();
            }
            6 => second.cut().await,
            8 => {
                other.kill();
                other = pusher(&second, &stage.scene, "other").start();
            }
            _ => {}
        }
        let gone = stage.announcers[number].leave().await;
        assert_eq!(gone.code, Some(0), "{}", gone.output);
        stage.backends[number].restart().await;
        let back = stage.announce(&stage.backends[number]);
        stage.announcers[number] = back.args(["--ready", "routed"]).start();
        stage.announcers[number].ready().await;
    }
    stage.routed().await;
    // Nothing changes any more, and so nobody touches a server: for several resyncs of both.
    let ids = async || -> Vec<u64> {
        let servers = stage.scene.nginx.servers("website").await;
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
    stage.whole().await;
}
