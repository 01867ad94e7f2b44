//! The main job from end to end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Backend, Harness, Load, PATIENCE, WORKERS, key, until};

#[tokio::test]
async fn a_backend_is_announced_routed_drained_and_gone() {
    let harness = Harness::start().await;
    let (stays, goes) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    let _first = harness.announced(&stays).await;
    harness.routed(&[&stays]).await;

    let announcer = harness.announce(&goes).args(["--ready", "routed"]).start();
    announcer.ready().await;
    // Ready means that requests reach it now, not soon.
    let mut answers = Vec::new();
    for _ in 0..4 * WORKERS {
        answers.push(harness.nginx.who().await);
    }
    // Each worker takes its own turns.
    assert!(answers.contains(&Ok("b2".to_owned())), "{answers:?}");
    let record = harness.record(&goes).await.expect("it is announced");
    let value = record.json();
    assert_eq!(value["host"], "127.0.0.1");
    assert_eq!(value["port"], goes.address().port());
    assert!(
        matches!(value["state"].as_str(), None | Some("up")),
        "{value}"
    );
    assert_ne!(
        record.lease, 0,
        "a record without a lease would stay for ever"
    );

    let mut announcer = announcer;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    // It is gone from both when the announcer has left, not soon after.
    assert_eq!(harness.record(&goes).await, None);
    harness.routed(&[&stays]).await;
    assert_eq!(states(&harness, &goes).await, ["up", "draining", "gone"]);
}

#[tokio::test]
async fn leaving_waits_for_the_request_that_is_being_answered() {
    const ANSWER_TIME: Duration = Duration::from_millis(1500);
    let harness = Harness::start().await;
    let mut slow = Backend::start_slow("slow", ANSWER_TIME).await;
    let other = Backend::start("other").await;
    let _pusher = harness.pushing().await;
    let mut announcer = harness.announced(&slow).await;
    harness.routed(&[&slow]).await;

    let load = Load::start(harness.nginx.traffic(), 1);
    until(PATIENCE, "a request to be on its way", async || {
        active(&harness).await > 0
    })
    .await;
    let _replacement = harness.announced(&other).await;
    harness.routed(&[&slow, &other]).await;
    let start = Instant::now();
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    slow.kill();
    let report = load.stop().await;
    assert_eq!(
        report.failed(),
        0,
        "left after {:?}: {report:?}",
        start.elapsed()
    );
    assert!(report.answers_of("slow") > 0, "{report:?}");
}

#[tokio::test]
async fn a_failing_backend_leaves_the_rotation_and_comes_back() {
    let harness = Harness::start().await;
    let (steady, ill) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    let _first = harness.announced(&steady).await;
    let mut announcer = harness.announced(&ill).await;
    harness.routed(&[&steady, &ill]).await;

    ill.set_health(500).await;
    harness.routed(&[&steady]).await;
    until(PATIENCE, "the record to be withdrawn", async || {
        harness.record(&ill).await.is_none()
    })
    .await;
    assert!(announcer.runs());

    ill.set_health(200).await;
    harness.routed(&[&steady, &ill]).await;
    assert_eq!(states(&harness, &ill).await, ["up", "down", "gone", "up"]);
}

#[tokio::test]
async fn a_failing_backend_is_only_marked_when_that_is_asked_for() {
    let harness = Harness::start().await;
    let (steady, ill) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    let _first = harness.announced(&steady).await;
    let marking = harness
        .announce(&ill)
        .args(["--on-failure", "mark"])
        .start();
    marking.ready().await;
    harness.routed(&[&steady, &ill]).await;

    ill.set_health(500).await;
    until(PATIENCE, "the record to say down", async || {
        harness
            .record(&ill)
            .await
            .is_some_and(|record| record.json()["state"] == "down")
    })
    .await;
    until(PATIENCE, "no request to reach it", async || {
        only(&harness, "b1").await
    })
    .await;

    ill.set_health(200).await;
    until(PATIENCE, "requests to reach it again", async || {
        harness.nginx.who().await == Ok("b2".to_owned())
    })
    .await;
    assert_eq!(states(&harness, &ill).await, ["up", "down", "up"]);
}

#[tokio::test]
async fn a_backend_that_never_answers_is_never_announced() {
    let harness = Harness::start().await;
    let mut backend = Backend::start("b1").await;
    backend.kill();
    let mut announcer = harness.announce(&backend).start();
    announcer.notified("STATUS=").await;
    let said = announcer.process().line("failed 10 probes in a row").await;
    assert!(said.contains("refused"), "{said}");
    assert!(harness.etcd.history(&key(&backend)).await.is_empty());
    assert!(!announcer.notifications().contains(&"READY=1".to_owned()));
    assert_eq!(announcer.leave().await.code, Some(0));
}

#[tokio::test]
async fn ready_routed_waits_for_a_pusher() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness
        .announce(&backend)
        .args(["--ready", "routed"])
        .start();
    until(PATIENCE, "the record", async || {
        harness.record(&backend).await
    })
    .await;
    // There is no condition for what must not happen.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!announcer.notifications().contains(&"READY=1".to_owned()));
    let _pusher = harness.push().start();
    announcer.ready().await;
    assert_eq!(harness.nginx.who().await, Ok("b1".to_owned()));
}

#[tokio::test]
async fn all_that_a_record_says_can_be_given() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness
        .announce(&backend)
        .args(["--prefix", "/elsewhere"])
        .env("SIDEKICK_PREFIX", "/not-this")
        .start();
    announcer.ready().await;
    let record = harness.etcd.get("/elsewhere/website/b1").await;
    let value = record.expect("the prefix is taken").json();
    assert_eq!(value["host"], "127.0.0.1");
    assert_ne!(value["nonce"], Value::Null);
    assert!(
        value["since"]
            .as_str()
            .is_some_and(|since| since.ends_with('Z')),
        "{value}"
    );
}

#[tokio::test]
async fn etcdctls_environment_is_enough() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = crate::support::Command::new("announce")
        .args([
            "website/b1",
            &format!("{}/v1.2", backend.address()),
            "--allow-loopback",
        ])
        .env(
            "ETCDCTL_ENDPOINTS",
            &format!("http://{}", harness.etcd.endpoint()),
        )
        .notify()
        .start();
    announcer.ready().await;
    let value = harness
        .record(&backend)
        .await
        .expect("it is announced")
        .json();
    assert_eq!(value["version"], json!("v1.2"));
}

#[tokio::test]
async fn plain_records_are_written_and_routed() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let announcer = harness
        .announce(&backend)
        .args(["--format", "plain"])
        .start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;
    let record = harness.record(&backend).await.expect("it is announced");
    assert_eq!(record.value, backend.address().to_string());
}

/// What its record has said over time.
async fn states(harness: &Harness, backend: &Backend) -> Vec<String> {
    let history = harness.etcd.history(&key(backend)).await;
    let state = |value: Value| value["state"].as_str().unwrap_or("up").to_owned();
    history
        .into_iter()
        .map(|kv| kv.map_or("gone".to_owned(), |kv| state(kv.json())))
        .collect()
}

/// True when a round of requests is answered by this backend alone.
async fn only(harness: &Harness, name: &str) -> bool {
    for _ in 0..10 {
        if harness.nginx.who().await.as_deref() != Ok(name) {
            return false;
        }
    }
    true
}

/// Requests that nginx has given to backends of `website` and that are not answered yet.
async fn active(harness: &Harness) -> u64 {
    let status = harness
        .nginx
        .call("GET", "/http/upstreams/website", "")
        .await;
    let status = status.json();
    let peers = status["peers"].as_array().expect("peers");
    peers
        .iter()
        .filter_map(|peer| peer["active"].as_u64())
        .sum()
}
