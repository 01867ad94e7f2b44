//! Nothing by accident: min_servers, the guard, and how a person overrides both.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::{
    Backend, Command, Harness, Kv, Link, PATIENCE, Proxy, protected, push, until,
};

/// What is kept, is kept for longer than the test takes.
pub(crate) const FOR_LONG: [&str; 2] = ["--hold", "1h"];

#[tokio::test]
async fn the_last_backend_stays_in_rotation_while_it_leaves_and_nobody_waits_in_vain() {
    let harness = Harness::start().await;
    let (last, next) = (Backend::start("b1").await, Backend::start("b2").await);
    let pusher = harness.pushing().await;
    let mut announcer = harness
        .announce(&last)
        .args(["--drain-timeout", "10m"])
        .start();
    announcer.ready().await;
    harness.routed(&[&last]).await;
    let start = Instant::now();
    assert_eq!(announcer.leave().await.code, Some(0));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    pusher.process().line("sidekick release website").await;
    assert_eq!(harness.nginx.who().await, Ok("b1".to_owned()));
    kept(&harness, "edge", 1, 0).await;

    let _next = harness.announced(&next).await;
    harness.routed(&[&next]).await;
    kept(&harness, "edge", 0, 0).await;
    let said = pusher.process().output();
    assert_eq!(
        said.matches("the last servers are protected").count(),
        1,
        "{said}"
    );
}

#[tokio::test]
async fn without_min_servers_the_last_backend_goes_too() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.push().args(["--min-servers", "0"]).start();
    let mut announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    assert_eq!(announcer.leave().await.code, Some(0));
    harness.routed(&[]).await;
}

#[tokio::test]
async fn of_records_that_vanish_together_only_the_dead_go_until_somebody_says_so() {
    let harness = Harness::start().await;
    let mut backends = put(&harness, 4).await;
    let pusher = harness.push().args(FOR_LONG).start();
    harness.status_record().await;
    let [a, b, c, d] = &backends[..] else {
        panic!("four backends")
    };
    harness.routed(&[a, b, c, d]).await;
    harness.etcd.delete_all("/services/website/").await;
    pusher.process().line("vanished at once").await;
    kept(&harness, "edge", 0, 4).await;
    harness.routed(&[a, b, c, d]).await;

    backends[0].kill();
    let [a, b, c, d] = &backends[..] else {
        panic!("four backends")
    };
    harness.routed(&[b, c, d]).await;
    kept(&harness, "edge", 0, 3).await;
    announce_by_hand(&harness, b).await;
    kept(&harness, "edge", 0, 2).await;
    harness.routed(&[b, c, d]).await;

    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        ended.output.contains("servers let go: 2"),
        "{}",
        ended.output
    );
    harness.routed(&[b]).await;
    kept(&harness, "edge", 0, 0).await;
    announce_by_hand(&harness, a).await;
    harness.routed(&[a, b]).await;
}

#[tokio::test]
async fn a_pusher_that_starts_with_an_empty_etcd_does_not_empty_nginx() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let mut pusher = harness.pushing().await;
    harness.routed(&all).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    harness.etcd.delete_all("/services/website/").await;
    let before = harness.nginx.servers("website").await;
    let pusher = harness.pushing().await;
    pusher.process().line("that no record names").await;
    kept(&harness, "edge", 0, 3).await;
    unchanged(&harness, &before).await;
    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&[]).await;
}

#[tokio::test]
async fn what_vanished_goes_when_its_time_is_over() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let pusher = harness
        .push()
        .args(["--hold", "2s", "--max-removal", "1"])
        .env("SIDEKICK_MIN_SERVERS", "0")
        .start();
    harness.routed(&backends.iter().collect::<Vec<_>>()).await;
    harness.etcd.delete_all("/services/website/").await;
    pusher.process().line("vanished at once").await;
    harness.routed(&[]).await;
    pusher.process().line("did not come back in time").await;
}

#[tokio::test]
async fn a_pusher_that_cannot_hear_etcd_does_not_undo_what_another_does() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let _hearing = twin(&harness, "hearing").start();
    let link = Proxy::to(harness.etcd.address()).await;
    let deaf = push(&link.endpoint(), &harness.nginx)
        .args(["--id", "deaf", "--ttl", "4s", "--resync", "1s"])
        .start();
    harness.routed(&all).await;
    applied_by_both(&harness).await;
    link.set(Link::Down);
    deaf.process().line("other pushers know better").await;
    harness.etcd.delete(&crate::support::key(all[0])).await;
    harness.routed(&all[1..]).await;
    let before = harness.nginx.servers("website").await;
    unchanged(&harness, &before).await;
    // Once it hears again it agrees.
    link.set(Link::Up);
    until(PATIENCE, "both pushers", async || {
        harness.etcd.list("/sidekick/pushers/").await.len() == 2
    })
    .await;
    unchanged(&harness, &before).await;
}

#[tokio::test]
async fn a_release_is_obeyed_by_every_pusher_or_says_by_whom_not() {
    let mut harness = Harness::start().await;
    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(
        ended.output.contains("no pusher is running"),
        "{}",
        ended.output
    );
    let backends = put(&harness, 2).await;
    let _pushers = [twin(&harness, "one").start(), twin(&harness, "two").start()];
    let all: Vec<_> = backends.iter().collect();
    harness.routed(&all).await;
    applied_by_both(&harness).await;
    harness.etcd.delete_all("/services/website/").await;
    kept(&harness, "one", 0, 2).await;
    kept(&harness, "two", 0, 2).await;

    let ended = release(&harness, "nosuch").run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("0 of 2 pushers"), "{}", ended.output);
    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for id in ["one", "two"] {
        let line = format!("{id}: website follows its records");
        assert!(ended.output.contains(&line), "{}", ended.output);
    }
    harness.routed(&[]).await;
    // No server was left for min_servers either, and that holds until it is reached again.
    announce_by_hand(&harness, &backends[0]).await;
    harness.routed(&all[..1]).await;
    harness.etcd.delete_all("/services/website/").await;
    kept(&harness, "one", 0, 1).await;

    let wrong = release(&harness, "web site").run().await;
    assert_eq!(wrong.code, Some(64), "{}", wrong.output);
    harness.etcd.kill();
    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(69), "{}", ended.output);
}

/// Backends with records that nobody keeps, so that they stay away when they are deleted.
pub(crate) async fn put(harness: &Harness, count: usize) -> Vec<Backend> {
    let mut backends = Vec::new();
    for number in 1..=count {
        let backend = Backend::start(&format!("b{number}")).await;
        announce_by_hand(harness, &backend).await;
        backends.push(backend);
    }
    backends
}

pub(crate) async fn announce_by_hand(harness: &Harness, backend: &Backend) {
    let value = backend.address().to_string();
    harness.etcd.put(&crate::support::key(backend), value).await;
}

pub(crate) fn twin(harness: &Harness, id: &str) -> Command {
    let resync = ["--resync", "1s"];
    let twin = harness
        .push()
        .args(["--id", id, "--ttl", "4s"])
        .args(resync);
    twin.args(FOR_LONG)
}

/// Waits until two pushers know every record.
async fn applied_by_both(harness: &Harness) {
    let records = harness.etcd.list("/services/website/").await;
    let newest = records.iter().map(|record| record.mod_revision).max();
    until(PATIENCE, "both pushers", async || {
        let pushers = harness.etcd.list("/sidekick/pushers/").await;
        let applied =
            |pusher: &Kv| pusher.json()["services"]["website"]["applied"].as_i64() >= newest;
        if pushers.len() == 2 && pushers.iter().all(applied) {
            Ok(())
        } else {
            Err(pushers)
        }
    })
    .await;
}

pub(crate) fn release(harness: &Harness, upstream: &str) -> Command {
    Command::new("release").etcd(&harness.etcd).args([upstream])
}

async fn status_record(harness: &Harness, id: &str) -> Option<Value> {
    let status_record = harness.etcd.get(&format!("/sidekick/pushers/{id}")).await?;
    Some(status_record.json())
}

/// Waits until the status record of a pusher tells that so many are kept.
pub(crate) async fn kept(harness: &Harness, id: &str, min_servers: u64, guard: u64) {
    let what = format!("{id} to protect {min_servers} for min_servers and {guard} by the guard");
    until(PATIENCE, what, async || {
        let value = status_record(harness, id).await.ok_or(Value::Null)?;
        match protected(&value) == (min_servers, guard) {
            true => Ok(()),
            false => Err(value),
        }
    })
    .await;
}

/// Looks for several resyncs whether anybody touches a server: ids are given anew when one is removed and added.
pub(crate) async fn unchanged(harness: &Harness, before: &[crate::support::Server]) {
    let ids = |servers: &[crate::support::Server]| -> Vec<(u64, bool)> {
        servers
            .iter()
            .map(|server| (server.id, server.drain))
            .collect()
    };
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let now = harness.nginx.servers("website").await;
        assert_eq!(ids(&now), ids(before));
        // There is no condition for what must not happen.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
