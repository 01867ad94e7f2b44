//! Several announcers of one instance: the newest owns the record, and the others know.

use crate::support::{Backend, Harness, Kv, PATIENCE, Sidekick, Signal, key, until};

/// What the exit code of a deposed announcer is.
const DEPOSED: Option<i32> = Some(75);

#[tokio::test]
async fn the_newer_announcer_wins_and_the_older_touches_nothing() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let mut older = harness.announced(&backend).await;
    let first = harness.record(&backend).await.expect("it is announced");
    let _newer = harness.announced(&backend).await;
    let second = harness.record(&backend).await.expect("it is announced");
    assert_ne!(nonce(&second), nonce(&first));

    let ended = older.end(PATIENCE).await;
    assert_eq!(ended.code, DEPOSED, "{}", ended.output);
    assert!(
        ended.output.contains("website/b1"),
        "it says what happened: {}",
        ended.output
    );
    assert_eq!(harness.record(&backend).await, Some(second.clone()));
    assert_eq!(
        history(&harness, &backend).await,
        [Some(nonce(&first)), Some(nonce(&second))]
    );
    harness.routed(&[&backend]).await;
}

#[tokio::test]
async fn an_announcer_that_was_frozen_finds_its_successor_and_touches_nothing() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut older = harness.announced(&backend).await;
    older.process().signal(Signal::STOP);
    let _newer = harness.announced(&backend).await;
    let record = harness.record(&backend).await;
    older.process().signal(Signal::CONT);
    let ended = older.end(PATIENCE).await;
    assert_eq!(ended.code, DEPOSED, "{}", ended.output);
    assert_eq!(harness.record(&backend).await, record);
}

#[tokio::test]
async fn an_announcer_told_to_leave_while_frozen_does_not_take_its_successors_record_along() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut older = harness.announced(&backend).await;
    older.process().signal(Signal::STOP);
    let _newer = harness.announced(&backend).await;
    let record = harness.record(&backend).await;
    older.terminate();
    older.process().signal(Signal::CONT);
    let ended = older.end(PATIENCE).await;
    assert!([Some(0), DEPOSED].contains(&ended.code), "{ended:?}");
    assert_eq!(harness.record(&backend).await, record);
}

#[tokio::test]
async fn a_restart_after_a_crash_does_not_wait_for_its_own_ghost() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut crashed = harness.announce(&backend).args(["--ttl", "10m"]).start();
    crashed.ready().await;
    crashed.kill();
    // `announced` waits for far less than the ghost's lease.
    let mut again = harness.announced(&backend).await;
    assert_eq!(again.leave().await.code, Some(0));
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn a_record_that_stood_there_before_is_taken_over() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    // As `register` or somebody's script leaves it: no nonce, no lease.
    harness
        .etcd
        .put(&key(&backend), r#"{"host":"127.0.0.1","port":1}"#)
        .await;
    let mut announcer = harness.announced(&backend).await;
    let record = harness.record(&backend).await.expect("it is announced");
    assert_eq!(record.json()["port"], backend.address().port());
    assert_ne!(record.lease, 0);
    assert_eq!(announcer.leave().await.code, Some(0));
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn of_three_that_start_at_once_one_remains() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcers: Vec<Sidekick> =
        (0..3).map(|_| harness.announce(&backend).start()).collect();
    until(PATIENCE, "one to remain", async || {
        announcers
            .iter_mut()
            .filter_map(|one| one.runs().then_some(()))
            .count()
            == 1
    })
    .await;
    let mut left = Vec::new();
    for announcer in &mut announcers {
        if announcer.runs() {
            announcer.ready().await;
        } else {
            left.push(announcer.end(PATIENCE).await.code);
        }
    }
    assert_eq!(left, [DEPOSED, DEPOSED]);
    assert!(harness.record(&backend).await.is_some());
}

fn nonce(record: &Kv) -> String {
    let nonce = &record.json()["nonce"];
    nonce
        .as_str()
        .expect("a record says who wrote it")
        .to_owned()
}

/// Who has written the record, one after the other; `None` where it was deleted.
async fn history(harness: &Harness, backend: &Backend) -> Vec<Option<String>> {
    let history = harness.etcd.history(&key(backend)).await;
    history
        .iter()
        .map(|record| record.as_ref().map(nonce))
        .collect()
}
