//! What an announcer says of its record is so: who owns it, whose hand changed it, whether it stands.

use crate::support::{
    Backend, Harness, Link, PATIENCE, Proxy, Sidekick, Signal, announce, as_user, key, until,
};

/// Waits until the last line for systemd has this in it.
async fn status(announcer: &Sidekick, part: &str) -> String {
    until(PATIENCE, format!("STATUS with {part:?}"), async || {
        let said = announcer.notifications();
        let last = said.iter().rev().find(|said| said.starts_with("STATUS="));
        let last = last.cloned().unwrap_or_default();
        match last.contains(part) {
            true => Ok(last),
            false => Err(last),
        }
    })
    .await
}

/// An announcer whose way to etcd is a link.
async fn linked(harness: &Harness, backend: &Backend, args: &[&str]) -> (Proxy, Sidekick) {
    let link = Proxy::to(harness.etcd.address()).await;
    let announcer = announce(&link.endpoint(), backend).args(args).start();
    announcer.ready().await;
    (link, announcer)
}

#[tokio::test]
async fn a_reload_while_etcd_is_away_is_no_newer_claim() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let (link, mut older) = linked(&harness, &backend, &["--ttl", "3s"]).await;
    link.set(Link::Down);
    older.process().line("counts as gone").await;
    let mut newer = harness.announced(&backend).await;
    let record = harness.record(&backend).await;
    older.process().signal(Signal::HUP);
    older.notified("RELOADING=1").await;
    status(&older, "waiting for etcd").await;
    link.set(Link::Up);
    let ended = older.end(PATIENCE).await;
    assert_eq!(ended.code, Some(75), "{}", ended.output);
    assert_eq!(harness.record(&backend).await, record);
    assert!(newer.runs());
}

#[tokio::test]
async fn an_own_withdrawal_that_arrives_late_is_nobody_elses_hand() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness.announce(&backend).args(["--fall", "1"]).start();
    announcer.ready().await;
    harness.etcd.freeze();
    backend.set_health(500).await;
    status(&announcer, "down").await;
    backend.set_health(200).await;
    status(&announcer, "up;").await;
    harness.etcd.thaw();
    until(PATIENCE, "it to be announced as it is", async || {
        let record = harness.record(&backend).await?;
        (!record.value.contains("\"state\"")).then_some(())
    })
    .await;
    status(&announcer, "up; announced").await;
    let output = announcer.process().output();
    assert!(!output.contains("somebody else"), "{output}");
}

#[tokio::test]
async fn a_lease_that_ended_while_it_was_frozen_is_nobodys_deletion() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness.announce_briefly(&backend).start();
    announcer.ready().await;
    announcer.process().signal(Signal::STOP);
    let gone = async || harness.record(&backend).await.is_none();
    until(2 * PATIENCE, "its lease to end", gone).await;
    announcer.process().signal(Signal::CONT);
    let back = async || harness.record(&backend).await.is_some();
    until(PATIENCE, "it to be announced again", back).await;
    let output = announcer.process().output();
    assert!(!output.contains("somebody else"), "{output}");
    assert!(output.contains("counts as gone"), "{output}");
}

#[tokio::test]
async fn the_end_of_an_outage_is_told_though_nothing_is_to_be_announced() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let args = ["--ttl", "10s", "--fall", "1"];
    let (link, announcer) = linked(&harness, &backend, &args).await;
    link.set(Link::Down);
    announcer.process().line("cannot keep").await;
    backend.set_health(500).await;
    let said = status(&announcer, "down").await;
    assert!(
        said.contains("withdrawing the record of revision"),
        "{said}"
    );
    assert!(!said.contains("announced"), "{said}");
    link.set(Link::Up);
    announcer.process().line("etcd answers again").await;
    status(&announcer, "not announced").await;
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn who_takes_a_record_over_names_whose_it_was() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let record = r#"{"host":"127.0.0.1","port":1}"#;
    harness.etcd.put(&key(&backend), record).await;
    let announcer = harness.announced(&backend).await;
    let line = announcer.process().line("taking").await;
    assert!(
        line.contains("over from somebody without a lease"),
        "{line}"
    );
}

#[tokio::test]
async fn who_may_not_read_the_pushers_does_not_blame_the_confirmation() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.require_users().await;
    let own = "--prefix=true readwrite /services/website/";
    harness.etcd.add_user_with("blind", &[own]).await;
    let args = ["--drain-timeout", "1s"];
    let mut announcer = as_user(harness.announce(&backend).args(args), "blind").start();
    announcer.ready().await;
    let left = announcer.leave().await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    let said = "etcd does not tell which pushers there are";
    assert!(left.output.contains(said), "{}", left.output);
    assert!(
        left.output.contains("lacks the right to read"),
        "{}",
        left.output
    );
}

#[tokio::test]
async fn who_leaves_before_etcd_has_answered_again_drains_what_may_still_be_there() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let args = ["--ttl", "3s", "--drain-timeout", "20s"];
    let (link, mut announcer) = linked(&harness, &backend, &args).await;
    // One that stays: the last server of an upstream leaves no earlier than others come.
    let other = Backend::start("b2").await;
    let _other = harness.announced(&other).await;
    harness.routed(&[&backend, &other]).await;
    link.set(Link::Down);
    announcer.process().line("counts as gone").await;
    announcer.terminate();
    announcer.process().line("SIGTERM: stopping").await;
    link.set(Link::Up);
    let left = announcer.end(PATIENCE).await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    assert!(
        left.output.contains("is drained everywhere"),
        "{}",
        left.output
    );
}
