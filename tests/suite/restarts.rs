//! Departures under load while the pusher is away: no request is lost, whatever the pusher does meanwhile.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{Backend, Harness, Load, PATIENCE, Report, Sidekick, Signal, announce, until};

/// nginx does not repeat a POST, and these backends die with what they are answering.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// Requests at a time.
const CLIENTS: usize = 20;

/// Departures in one run.
const DEPARTURES: usize = 12;

/// What becomes of the pusher while a backend leaves.
#[derive(Debug, Clone, Copy)]
enum Away {
    /// It is stopped in good order and started again after this time.
    Restarted(Duration),
    /// It is frozen until its status record is gone.
    Frozen,
}

#[tokio::test]
async fn twelve_departures_while_the_pusher_is_restarted_lose_no_request() {
    let report = depart(Away::Restarted(Duration::ZERO)).await;
    assert_eq!(report.failed(), 0, "{report:#?}");
}

#[tokio::test]
async fn twelve_departures_while_the_pusher_is_down_for_half_a_second_lose_no_request() {
    let report = depart(Away::Restarted(Duration::from_millis(500))).await;
    assert_eq!(report.failed(), 0, "{report:#?}");
}

#[tokio::test]
async fn twelve_departures_while_the_pusher_is_frozen_past_its_ttl_lose_no_request() {
    let report = depart(Away::Frozen).await;
    assert_eq!(report.failed(), 0, "{report:#?}");
}

fn push(harness: &Harness) -> Sidekick {
    harness.push().args(["--ttl", "2s"]).start()
}

async fn depart(away: Away) -> Report {
    let harness = Harness::start().await;
    let mut pusher = push(&harness);
    harness.status_record().await;
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        let backend = Backend::start_slow(name, ANSWER_TIME).await;
        let announcer = start(&harness, &backend).await;
        backends.push((backend, announcer));
    }
    let load = Load::start(harness.nginx.traffic(), CLIENTS);
    until(PATIENCE, "every backend to answer", async || {
        load.report().answers.len() == 3
    })
    .await;
    for turn in 0..DEPARTURES {
        let (backend, announcer) = &mut backends[turn % 3];
        match away {
            Away::Restarted(pause) => {
                let ended = pusher.leave().await;
                assert_eq!(ended.code, Some(0), "{}", ended.output);
                announcer.process().signal(Signal::TERM);
                // How long the service manager takes.
                sleep(pause).await;
                pusher = push(&harness);
            }
            Away::Frozen => {
                pusher.process().signal(Signal::STOP);
                until(PATIENCE, "its status record to end", async || {
                    harness.etcd.list("/sidekick/pushers/").await.is_empty()
                })
                .await;
                announcer.process().signal(Signal::TERM);
                announcer.process().line("is silent").await;
                pusher.process().signal(Signal::CONT);
            }
        }
        let ended = announcer.end(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        assert!(
            ended.output.contains("is drained everywhere"),
            "{}",
            ended.output
        );
        backend.restart().await;
        *announcer = start(&harness, backend).await;
        // Requests must be running at the next stop, or it proves nothing.
        let name = backend.name().to_owned();
        let answers = load.report().answers_of(&name);
        until(PATIENCE, "the restarted backend to answer", async || {
            load.report().answers_of(&name) > answers
        })
        .await;
    }
    let report = load.stop().await;
    report.tell(&format!("(b) {DEPARTURES} departures, pusher {away:?}"));
    report
}

async fn start(harness: &Harness, backend: &Backend) -> Sidekick {
    let announcer = announce(&harness.etcd.endpoint(), backend)
        .args(["--ready", "routed", "--drain-timeout", "60s"])
        .start();
    announcer.ready().await;
    announcer
}

#[tokio::test]
async fn a_migration_from_plain_records_loses_no_request_and_says_who_is_still_routed() {
    let harness = Harness::start().await;
    let _pusher = harness.pushing().await;
    let mut backends = Vec::new();
    for name in ["b1", "b2", "b3"] {
        let backend = Backend::start_slow(name, ANSWER_TIME).await;
        // As the old writer has it, which goes on writing.
        let old = format!("/services/website/old-{name}");
        harness.etcd.put(&old, backend.address().to_string()).await;
        backends.push((backend, old));
    }
    let all: Vec<_> = backends.iter().map(|(backend, _)| backend).collect();
    harness.routed(&all).await;
    let load = Load::start(harness.nginx.traffic(), CLIENTS);
    let mut announcers = Vec::new();
    for (backend, old) in &mut backends {
        // The announcer beside the old writer, tried out and taken back.
        let mut announcer = start(&harness, backend).await;
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let said = format!("old-{}", backend.name());
        assert!(
            ended.output.contains("still routed by edge"),
            "{}",
            ended.output
        );
        assert!(ended.output.contains(&said), "{}", ended.output);
        assert!(
            !ended.output.contains("drained everywhere"),
            "{}",
            ended.output
        );
        // Then for good: the old record goes, and the first departure is a drained one.
        let mut announcer = start(&harness, backend).await;
        harness.etcd.delete(old).await;
        harness.applied().await;
        let ended = announcer.leave().await;
        assert!(
            ended.output.contains("is drained everywhere"),
            "{}",
            ended.output
        );
        backend.restart().await;
        announcers.push(start(&harness, backend).await);
        let name = backend.name().to_owned();
        let answers = load.report().answers_of(&name);
        until(PATIENCE, "the restarted backend to answer", async || {
            load.report().answers_of(&name) > answers
        })
        .await;
    }
    let report = load.stop().await;
    report.tell("(d) migration from plain records, beside the old writer");
    assert_eq!(report.failed(), 0, "{report:#?}");
}
