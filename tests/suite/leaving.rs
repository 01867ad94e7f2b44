//! What leaving does not wait for, besides what the matrix has (`leaving_matrix.rs`).

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Command, Harness, PATIENCE, Sidekick, Signal, free_port, key, until,
};

/// Later than a drain timeout of three seconds, whatever else the machine does, and sooner than the default of ten.
const LATEST: Duration = Duration::from_secs(9);

/// Far more than `Sidekick::leave` waits: who has left by then has not waited for this.
const NEVER: [&str; 2] = ["--drain-timeout", "10m"];

#[tokio::test]
async fn a_pusher_that_was_restarted_since_the_start_is_waited_for() {
    let harness = Harness::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b0"), Backend::start("b1"));
    let value = steady.address().to_string();
    harness.etcd.put(&key(&steady), value).await;
    let mut pusher = harness.pushing().await;
    let mut announcer = announced(harness.announce(&backend).args(["--ready", "routed"])).await;
    pusher.leave().await;
    let _next = harness.pushing().await;
    harness.applied().await;
    let ended = announcer.leave().await;
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn a_pusher_of_another_service_is_not_waited_for() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let pusher = Command::new("push")
        .etcd(&harness.etcd)
        .args([
            "--nginx",
            &harness.nginx.api_url(),
            "--upstream",
            "website=shop",
        ])
        .start();
    harness.status_record().await;
    let mut announcer = announced(harness.announce(&backend).args(NEVER)).await;
    pusher.process().signal(Signal::STOP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn an_nginx_that_does_not_answer_holds_back_no_longer_than_the_drain_timeout() {
    const LIMIT: Duration = Duration::from_secs(3);
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let mut announcer = announced(harness.announce(&backend).args(["--drain-timeout", "3s"])).await;
    harness.routed(&[&backend]).await;
    harness.applied().await;
    for worker in harness.nginx.workers() {
        crate::support::send(worker, Signal::STOP).expect("our own worker");
    }
    let start = Instant::now();
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let took = start.elapsed();
    assert!(took >= LIMIT, "it did not wait: {took:?}");
    assert!(took < LATEST, "it waited for {took:?}");
}

#[tokio::test]
async fn an_nginx_that_is_gone_holds_nothing_back() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let mut announcer = announced(harness.announce(&backend).args(NEVER)).await;
    harness.routed(&[&backend]).await;
    harness.nginx.kill();
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn who_is_drained_where_nginx_answers_is_told_of_the_target_where_nothing_listens() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let nowhere = format!("http://127.0.0.1:{}/api", free_port());
    let mut announcer = announced(harness.announce(&backend).args(NEVER)).await;
    // min_servers protects nobody here, so that it leaves for good.
    let push = harness
        .push()
        .args(["--nginx", &nowhere, "--min-servers", "0"]);
    let _pusher = push.start();
    harness.routed(&[&backend]).await;
    until(PATIENCE, "the target to count as not running", async || {
        harness.status_record().await.value.contains("stopped")
    })
    .await;
    let ended = announcer.leave().await;
    let line = ended
        .output
        .lines()
        .find(|line| line.contains("is drained everywhere"));
    let doubt = format!("edge counts {nowhere} as not running: connection refused");
    assert!(
        line.is_some_and(|line| line.contains(&doubt)),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn the_service_manager_is_told_that_it_stops() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = announced(harness.announce(&backend)).await;
    assert_eq!(announcer.leave().await.code, Some(0));
    announcer.notified("STOPPING=1").await;
}

#[tokio::test]
async fn a_plain_record_is_deleted_first_and_nginx_has_let_go_when_the_announcer_ends() {
    let harness = Harness::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b0"), Backend::start("b1"));
    let pusher = harness.pushing().await;
    let value = steady.address().to_string();
    harness.etcd.put(&key(&steady), value.clone()).await;
    let plain = [
        "--format",
        "plain",
        "--drain-timeout",
        "3s",
        "--linger",
        "10ms",
    ];
    let mut announcer = announced(harness.announce(&backend).args(plain)).await;
    harness.routed(&[&steady, &backend]).await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.nginx.addresses("website").await, [value]);
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );

    let mut announcer = announced(harness.announce(&backend).args(plain)).await;
    harness.routed(&[&steady, &backend]).await;
    pusher.process().signal(Signal::STOP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let said = "is not drained after 3 s: not yet applied by edge";
    assert!(ended.output.contains(said), "{}", ended.output);
    assert_eq!(
        harness.record(&backend).await,
        None,
        "it is gone all the same"
    );
}

async fn announced(command: Command) -> Sidekick {
    let announcer = command.start();
    announcer.ready().await;
    announcer
}
