//! What must be whole again by itself: lost leases, lost keys, lost and wiped etcds, frozen and killed processes.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Etcd, Harness, Kv, Link, PATIENCE, Proxy, Sidekick, Signal, TTL, announce, key,
    procfs, push, until,
};

/// How long a record may outlive its killed announcer, and its server too.
const GONE_WITHIN: Duration = Duration::from_secs(TTL + 2);

#[tokio::test]
async fn the_record_and_the_server_of_a_killed_announcer_are_gone_within_ttl_and_2_s() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let c = Backend::start("b3").await;
    let _pusher = harness.pushing().await;
    let (_first, _second) = (harness.announced(&a).await, harness.announced(&b).await);
    // A busy machine may be late with it; once in time is proof that nothing else is waited for.
    until(
        2 * PATIENCE,
        format!("both to be gone within {GONE_WITHIN:?}"),
        async || {
            let mut killed = harness.announce_briefly(&c).start();
            killed.ready().await;
            harness.routed(&[&a, &b, &c]).await;
            killed.kill();
            let start = Instant::now();
            expired(&harness, &c).await;
            harness.routed(&[&a, &b]).await;
            let took = start.elapsed();
            if took < GONE_WITHIN {
                Ok(())
            } else {
                Err(took)
            }
        },
    )
    .await;
}

#[tokio::test]
async fn of_a_wiped_etcd_that_has_some_records_back_no_other_server_is_taken_out() {
    let mut harness = Harness::start().await;
    let link = Proxy::to(harness.etcd.address()).await;
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        backends.push(Backend::start(name).await);
    }
    let write = async |harness: &Harness, backend: &Backend| {
        let record = backend.address().to_string();
        harness.etcd.put(&key(backend), record).await;
    };
    // The new etcd's revisions begin below the old one's.
    for _ in 0..20 {
        write(&harness, &backends[2]).await;
    }
    for backend in &backends {
        write(&harness, backend).await;
    }
    let pusher = push(&link.endpoint(), &harness.nginx).start();
    let all: Vec<_> = backends.iter().collect();
    harness.routed(&all).await;
    link.set(Link::Down);
    harness.etcd.wipe().await;
    // Two of three are back before anybody looks: fewer are missing than --max-removal allows.
    for backend in &backends[..2] {
        write(&harness, backend).await;
    }
    link.set(Link::Up);
    pusher.process().line("vanished at once").await;
    harness.routed(&all).await;
    write(&harness, &backends[2]).await;
    pusher.process().line("their records are back").await;
    harness.routed(&all).await;
    let output = pusher.process().output();
    assert!(!output.contains("remove"), "{output}");
}

#[tokio::test]
async fn records_and_servers_are_back_after_etcd_was_wiped() {
    let mut harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    // The new etcd's revisions begin below the old one's.
    for number in 0..20 {
        harness.etcd.put("/other", format!("{number}")).await;
    }
    let mut first = harness
        .announce(&a)
        .args(["--drain-timeout", "10m"])
        .start();
    first.ready().await;
    harness.routed(&[&a]).await;

    harness.etcd.wipe().await;
    until(PATIENCE, "the record to be back", async || {
        harness.record(&a).await
    })
    .await;
    harness.status_record().await;
    let _second = harness.announce(&b).args(["--ready", "routed"]).start();
    harness.routed(&[&a, &b]).await;
    harness.applied().await;
    // Leaving waits for what the pusher has applied: that count must have begun anew as well.
    let ended = first.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );
    harness.routed(&[&b]).await;
}

#[tokio::test]
async fn a_deleted_record_is_back() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = harness.announced(&backend).await;
    let before = harness.record(&backend).await.expect("it is announced");
    harness.etcd.delete(&before.key).await;
    let after = back(&harness, &backend, &before).await;
    assert_eq!(after.value, before.value);
    assert!(announcer.runs());
}

#[tokio::test]
async fn a_record_whose_lease_was_revoked_is_back_under_another() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = harness.announced(&backend).await;
    let before = harness.record(&backend).await.expect("it is announced");
    harness.etcd.revoke(before.lease).await;
    let after = back(&harness, &backend, &before).await;
    assert_ne!(after.lease, before.lease);
    assert_ne!(after.lease, 0);
    assert!(announcer.runs());
}

#[tokio::test]
async fn a_frozen_announcer_announces_again_when_it_goes_on() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = harness.announce_briefly(&backend).start();
    announcer.ready().await;
    let before = harness.record(&backend).await.expect("it is announced");
    announcer.process().signal(Signal::STOP);
    expired(&harness, &backend).await;
    announcer.process().signal(Signal::CONT);
    back(&harness, &backend, &before).await;
    assert!(announcer.runs());
    assert_eq!(announcer.leave().await.code, Some(0));
}

#[tokio::test]
async fn a_frozen_announcer_whose_backend_died_meanwhile_finds_that_out() {
    let harness = Harness::start().await;
    let mut backend = Backend::start("b1").await;
    let announcer = harness.announce_briefly(&backend).args(["--fall", "2"]);
    let announcer = announcer.start();
    announcer.ready().await;
    announcer.process().signal(Signal::STOP);
    expired(&harness, &backend).await;
    backend.kill();
    announcer.process().signal(Signal::CONT);
    // It may remember the last good probe until it has found that out.
    announcer.process().line("failed 2 times in a row").await;
    expired(&harness, &backend).await;
    // There is no condition for what must not happen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn a_record_outlasts_a_restart_of_etcd() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let mut announcer = harness.announce_briefly(&backend).start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;
    harness.etcd.restart().await;
    // Two leases later it is there only if somebody still keeps it: time itself is tested here.
    tokio::time::sleep(Duration::from_secs(2 * TTL)).await;
    recorded(&harness.etcd, &backend).await;
    harness.routed(&[&backend]).await;
    assert!(announcer.runs());
}

#[tokio::test]
async fn a_restart_of_etcd_within_the_lease_costs_no_write_and_no_other_lease() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    // Longer than any restart takes here.
    let announcer = harness
        .announce(&backend)
        .env("SIDEKICK_TTL", "18s")
        .start();
    announcer.ready().await;
    let before = harness.record(&backend).await.expect("it is announced");
    harness.etcd.restart().await;
    announcer.process().line("is kept in etcd again").await;
    assert_eq!(harness.record(&backend).await, Some(before));
    assert!(!announcer.process().output().contains("no longer knows"));
}

#[tokio::test]
async fn an_outage_of_etcd_longer_than_the_lease_is_survived() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let pusher = harness.push().args(["--resync", "1s"]).start();
    let mut announcer = harness.announce_briefly(&backend).start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;

    harness.etcd.kill();
    // Longer than the lease: time itself is tested here.
    tokio::time::sleep(Duration::from_secs(TTL + 1)).await;
    harness.routed(&[&backend]).await;
    // What nginx loses meanwhile comes back from what the pusher knew last.
    harness.nginx.restart().await;
    harness.routed(&[&backend]).await;

    harness.etcd.resume().await;
    let record = until(PATIENCE, "the record to be back", async || {
        harness.record(&backend).await
    })
    .await;
    assert_ne!(record.lease, 0);
    harness.status_record().await;
    harness.applied().await;
    assert!(announcer.runs());
    drop(pusher);
}

#[tokio::test]
async fn both_agents_start_before_etcd_does() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.kill();
    let announcer = harness.announce(&backend).start();
    let pusher = harness.push().start();
    announcer.notified("STATUS=").await;
    for agent in [&announcer, &pusher] {
        // Both say what is wrong and where.
        agent.process().line(&harness.etcd.endpoint()).await;
    }
    harness.etcd.resume().await;
    announcer.ready().await;
    harness.routed(&[&backend]).await;
}

#[tokio::test]
async fn a_killed_member_of_three_costs_nobody_a_record() {
    let mut members = Etcd::cluster().await;
    let backend = Backend::start("b1").await;
    let announcer = announce(&endpoints(&members), &backend).args(["--ttl", "8s"]);
    let announcer = announcer.start();
    announcer.ready().await;
    let before = members[0]
        .get(&key(&backend))
        .await
        .expect("it is announced");

    let used = used_by(&announcer, &members);
    members[used].kill();
    // Two leases later it is there only if it was kept through another member: time itself is tested here.
    tokio::time::sleep(Duration::from_secs(2 * 8)).await;
    let after = members[(used + 1) % 3].get(&key(&backend)).await;
    let after = after.expect("the record is kept through another member");
    assert_eq!(
        after.create_revision, before.create_revision,
        "it was gone for a while"
    );
}

#[tokio::test]
async fn a_hung_member_of_three_is_left_for_another() {
    let members = Etcd::cluster().await;
    let backend = Backend::start("b1").await;
    let mut announcer = announce(&endpoints(&members), &backend)
        .args(["--ttl", &format!("{TTL}s")])
        .start();
    announcer.ready().await;

    let used = used_by(&announcer, &members);
    members[used].freeze();
    let other = &members[(used + 1) % 3];
    let elsewhere = [(used + 1) % 3, (used + 2) % 3];
    until(PATIENCE, "a connection to another member", async || {
        elsewhere
            .into_iter()
            .any(|member| uses(&announcer, &members[member]))
    })
    .await;
    recorded(other, &backend).await;
    // Two leases later it is there only if it is kept: time itself is tested here.
    tokio::time::sleep(Duration::from_secs(2 * TTL)).await;
    recorded(other, &backend).await;
    assert!(announcer.runs());
    members[used].thaw();
}

/// Waits until the record is gone.
async fn expired(harness: &Harness, backend: &Backend) {
    until(PATIENCE, "the record to expire", async || {
        harness.record(backend).await.is_none()
    })
    .await;
}

/// Waits for the record: whoever keeps it may have lost it for a moment, on a machine that stood still.
async fn recorded(etcd: &Etcd, backend: &Backend) {
    until(PATIENCE, "the record", async || {
        etcd.get(&key(backend)).await
    })
    .await;
}

/// Waits until the record was written again.
async fn back(harness: &Harness, backend: &Backend, before: &Kv) -> Kv {
    until(PATIENCE, "the record to be back", async || {
        let record = harness.record(backend).await?;
        (record.create_revision > before.create_revision).then_some(record)
    })
    .await
}

fn endpoints(members: &[Etcd]) -> String {
    let endpoints: Vec<_> = members.iter().map(Etcd::endpoint).collect();
    endpoints.join(",")
}

/// Which member it talks to.
fn used_by(sidekick: &Sidekick, members: &[Etcd]) -> usize {
    let used = members.iter().position(|member| uses(sidekick, member));
    used.expect("it has a connection to one of them")
}

fn uses(sidekick: &Sidekick, member: &Etcd) -> bool {
    procfs::connected(sidekick.process().pid(), member.address().port())
}
