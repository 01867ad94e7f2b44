//! Rolling restarts under load, with draining and without.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Backend, Load, PATIENCE, Report, Scene, until};

/// nginx does not repeat a POST, and these backends die with what they are answering.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Requests at a time.
const CLIENTS: usize = 20;

/// Restarts in one run.
const RESTARTS: usize = 20;

#[tokio::test]
async fn twenty_rolling_restarts_under_load_lose_no_request() {
    let report = roll(&["--drain-timeout", "30s"]).await;
    assert_eq!(report.failed(), 0, "{report:#?}");
}

#[tokio::test]
async fn the_same_restarts_without_draining_do_lose_requests() {
    let report = roll(&["--drain-timeout", "0s"]).await;
    assert!(
        report.failed() > 0,
        "the test with draining proves nothing: {report:#?}"
    );
}

/// Restarts three backends in turn while clients never stop asking.
async fn roll(leaving: &[&str]) -> Report {
    let scene = Scene::start().await;
    let _pusher = scene.pushing().await;
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        let backend = Backend::start_slow(name, ANSWER_TIME).await;
        let announcer = announce(&scene, &backend, leaving).start();
        announcer.ready().await;
        backends.push((backend, announcer));
    }
    let load = Load::start(scene.nginx.traffic(), CLIENTS);
    until(PATIENCE, "every backend to answer", async || {
        load.report().answers.len() == 3
    })
    .await;

    let start = Instant::now();
    for turn in 0..RESTARTS {
        let before = load.report().answered();
        let (backend, announcer) = &mut backends[turn % 3];
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        backend.restart().await;
        *announcer = announce(&scene, backend, leaving).start();
        announcer.ready().await;
        // Requests must be running at the next stop, or it proves nothing.
        let name = backend.name().to_owned();
        let answers = load.report().answers_of(&name);
        until(PATIENCE, "the restarted backend to answer", async || {
            load.report().answers_of(&name) > answers
        })
        .await;
        assert!(load.report().answered() > before);
    }
    let took = start.elapsed();
    let report = load.stop().await;
    eprintln!(
        "{RESTARTS} restarts with {leaving:?} in {took:.1?}: {} answered, {} failed\n{report:#?}",
        report.answered(),
        report.failed(),
    );
    report
}

fn announce(scene: &Scene, backend: &Backend, leaving: &[&str]) -> crate::support::Command {
    scene
        .announce(backend)
        .args(["--ready", "routed"])
        .args(leaving)
}
