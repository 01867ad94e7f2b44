//! What leaving does not wait for, besides what the matrix has (`leaving_matrix.rs`).

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Backend, Command, PATIENCE, Scene, Sidekick, Signal, free_port, key, until};

/// Far more than `Sidekick::leave` waits: who has left by then has not waited for this.
const NEVER: [&str; 2] = ["--drain-timeout", "10m"];

#[tokio::test]
async fn a_pusher_that_was_restarted_since_the_start_is_waited_for() {
    let scene = Scene::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b0"), Backend::start("b1"));
    let value = steady.address().to_string();
    scene.etcd.put(&key(&steady), value).await;
    let mut pusher = scene.pushing().await;
    let mut announcer = announced(scene.announce(&backend).args(["--ready", "routed"])).await;
    pusher.leave().await;
    let _next = scene.pushing().await;
    scene.applied().await;
    let ended = announcer.leave().await;
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn a_pusher_of_another_service_is_not_waited_for() {
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let pusher = Command::new("push")
        .etcd(&scene.etcd)
        .args([
            "--nginx",
            &scene.nginx.api_url(),
            "--upstream",
            "website=shop",
        ])
        .start();
    scene.status_record().await;
    let mut announcer = announced(scene.announce(&backend).args(NEVER)).await;
    pusher.process().signal(Signal::STOP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn an_nginx_that_does_not_answer_holds_back_no_longer_than_the_drain_timeout() {
    const LIMIT: Duration = Duration::from_secs(3);
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = scene.pushing().await;
    let mut announcer = announced(scene.announce(&backend).args(["--drain-timeout", "3s"])).await;
    scene.routed(&[&backend]).await;
    scene.applied().await;
    for worker in scene.nginx.workers() {
        crate::support::send(worker, Signal::STOP).expect("our own worker");
    }
    let start = Instant::now();
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        start.elapsed() >= LIMIT,
        "it did not wait: {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn an_nginx_that_is_gone_holds_nothing_back() {
    let mut scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = scene.pushing().await;
    let mut announcer = announced(scene.announce(&backend).args(NEVER)).await;
    scene.routed(&[&backend]).await;
    scene.nginx.kill();
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn who_is_drained_where_nginx_answers_is_told_of_the_target_where_nothing_listens() {
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let nowhere = format!("http://127.0.0.1:{}/api", free_port());
    let mut announcer = announced(scene.announce(&backend).args(NEVER)).await;
    // min_servers protects nobody here, so that it leaves for good.
    let push = scene
        .push()
        .args(["--nginx", &nowhere, "--min-servers", "0"]);
    let _pusher = push.start();
    scene.routed(&[&backend]).await;
    until(PATIENCE, "the target to count as not running", async || {
        scene.status_record().await.value.contains("stopped")
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
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = announced(scene.announce(&backend)).await;
    assert_eq!(announcer.leave().await.code, Some(0));
    announcer.notified("STOPPING=1").await;
}

#[tokio::test]
async fn a_plain_record_is_deleted_first_and_nginx_has_let_go_when_the_announcer_ends() {
    let scene = Scene::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b0"), Backend::start("b1"));
    let pusher = scene.pushing().await;
    let value = steady.address().to_string();
    scene.etcd.put(&key(&steady), value.clone()).await;
    let plain = [
        "--format",
        "plain",
        "--drain-timeout",
        "3s",
        "--linger",
        "10ms",
    ];
    let mut announcer = announced(scene.announce(&backend).args(plain)).await;
    scene.routed(&[&steady, &backend]).await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(scene.nginx.addresses("website").await, [value]);
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );

    let mut announcer = announced(scene.announce(&backend).args(plain)).await;
    scene.routed(&[&steady, &backend]).await;
    pusher.process().signal(Signal::STOP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let said = "is not drained after 3 s: not yet applied by edge";
    assert!(ended.output.contains(said), "{}", ended.output);
    assert_eq!(
        scene.record(&backend).await,
        None,
        "it is gone all the same"
    );
}

async fn announced(command: Command) -> Sidekick {
    let announcer = command.start();
    announcer.ready().await;
    announcer
}
