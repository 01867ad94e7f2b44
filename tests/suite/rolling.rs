//! Rolling restarts under load, with draining and without.

use std::time::Duration;

use tokio::time::Instant;

use serde_json::json;
use sidekick::target::Layer;

use crate::support::{
    Backend, Command, FileNginx, Harness, Load, PATIENCE, Report, Sidekick, until,
};

/// nginx does not repeat a POST, and these backends die with what they are answering.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Requests at a time.
const CLIENTS: usize = 20;

/// Restarts in one run.
const RESTARTS: usize = 20;

#[tokio::test]
async fn twenty_rolling_restarts_under_load_lose_no_request() {
    let report = roll(&["--drain-timeout", "30s"]).await;
    report.tell(&format!("(a) {RESTARTS} rolling restarts"));
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

/// The shares that a canary takes one after the other: up to the whole, and back.
const SHARES: [(u16, u16); 6] = [(90, 10), (50, 50), (0, 100), (10, 90), (100, 0), (70, 30)];

#[tokio::test]
async fn two_kinds_of_nginx_lose_no_request_while_backends_restart_and_a_canary_moves() {
    let harness = Harness::start().await;
    let other = FileNginx::start(Layer::Http, &["website"]).await;
    let _pusher = push_to_both(&harness, &other);
    harness.status_record().await;
    let mut backends = Vec::new();
    for (name, version) in [("a1", "v1"), ("a2", "v1"), ("b1", "v2"), ("b2", "v2")] {
        let backend = Backend::start_slow(name, ANSWER_TIME).await;
        let announcer = announce_version(&harness, &backend, version).start();
        announcer.ready().await;
        backends.push((backend, announcer, version));
    }
    let loads = [harness.nginx.traffic(), other.traffic()].map(|traffic| Load::start(traffic, 10));
    for turn in 0..12 {
        let (one, two) = SHARES[turn % SHARES.len()];
        let split = json!({"weights": {"v1": one, "v2": two}}).to_string();
        let revision = harness.etcd.put("/sidekick/splits/website", split).await;
        // Only now and then: otherwise a restart and a share move at once.
        if turn % 3 == 0 {
            followed(&harness, revision).await;
        }
        let (backend, announcer, version) = &mut backends[turn % 4];
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        backend.restart().await;
        *announcer = announce_version(&harness, backend, version).start();
        announcer.ready().await;
        for load in &loads {
            let before = load.report().answered();
            until(PATIENCE, "requests to be answered", async || {
                load.report().answered() > before + 20
            })
            .await;
        }
    }
    for load in loads {
        let report = load.stop().await;
        eprintln!(
            "{} answered, {} failed\n{report:#?}",
            report.answered(),
            report.failed()
        );
        assert_eq!(report.failed(), 0, "{report:#?}");
        assert_eq!(
            report.answers.len(),
            4,
            "every backend had its share: {report:#?}"
        );
    }
}

/// One pusher for an API and for a file with a reload.
fn push_to_both(harness: &Harness, other: &FileNginx) -> Sidekick {
    let file = harness.nginx.folder().join("push.toml");
    let text = format!(
        r#"
            [[nginx]]
            name = "api"
            api = "{api}"
            [[nginx]]
            name = "file"
            file = "{file}"
            check = "{check}"
            reload = "{reload}"
            pid = "{pid}"
            min_reload_interval = "100ms"
            [[upstream]]
            name = "website"
            drain_timeout = "30s"
        "#,
        api = harness.nginx.api_url(),
        file = other.file().display(),
        check = other.command("-t"),
        reload = other.command("-s reload"),
        pid = other.folder().join("nginx.pid").display(),
    );
    std::fs::write(&file, text).expect("our own folder");
    Command::new("push")
        .etcd(&harness.etcd)
        .args(["--config", &file.display().to_string()])
        .env("SIDEKICK_ID", "edge")
        .start()
}

fn announce_version(harness: &Harness, backend: &Backend, version: &str) -> Command {
    Command::new("announce")
        .named(backend.name())
        .etcd(&harness.etcd)
        .args([
            &format!("website/{}", backend.name()),
            &format!("{}/{version}", backend.address()),
        ])
        .args([
            "--allow-loopback",
            "--probe",
            "/health",
            "--interval",
            "300ms",
        ])
        .args(["--timeout", "250ms", "--rise", "1", "--ready", "routed"])
        .args(["--drain-timeout", "30s"])
        .notify()
}

/// Waits until the pusher has told that it follows the split.
async fn followed(harness: &Harness, revision: i64) {
    until(PATIENCE, "the split to be followed", async || {
        let status_record = harness.status_record().await.json();
        let told = status_record["services"]["website"]["overrides"].as_i64();
        if told >= Some(revision) {
            Ok(())
        } else {
            Err(status_record)
        }
    })
    .await;
}

/// Restarts three backends in turn while clients never stop asking.
async fn roll(leaving: &[&str]) -> Report {
    let harness = Harness::start().await;
    let _pusher = harness.pushing().await;
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        let backend = Backend::start_slow(name, ANSWER_TIME).await;
        let announcer = announce(&harness, &backend, leaving).start();
        announcer.ready().await;
        backends.push((backend, announcer));
    }
    let load = Load::start(harness.nginx.traffic(), CLIENTS);
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
        *announcer = announce(&harness, backend, leaving).start();
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

fn announce(harness: &Harness, backend: &Backend, leaving: &[&str]) -> crate::support::Command {
    harness
        .announce(backend)
        .args(["--ready", "routed"])
        .args(leaving)
}
