//! What the service manager is told.

use std::time::Duration;

use crate::support::{Backend, Harness, PATIENCE, Signal, TTL, until};

/// Longer than the announcers of these tests take between two signs of progress.
const WATCHDOG_USEC: &str = "20000000";

#[tokio::test]
async fn the_watchdog_is_fed_while_the_backend_is_probed_and_the_lease_renewed() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness
        .announce_briefly(&backend)
        .env("WATCHDOG_USEC", WATCHDOG_USEC)
        .start();
    announcer.ready().await;
    announcer.notified("WATCHDOG=1").await;
    // An outage of etcd is no reason to restart the announcer: it goes on trying, and that is progress.
    harness.etcd.freeze();
    let before = fed(&announcer.notifications());
    until(
        PATIENCE * 2,
        "the watchdog to be fed during an outage",
        async || fed(&announcer.notifications()) > before + 1,
    )
    .await;
    harness.etcd.thaw();
}

#[tokio::test]
async fn a_watchdog_shorter_than_the_probe_and_the_lease_allow_is_named_at_the_start() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness
        .announce(&backend)
        .env("WATCHDOG_USEC", "1000000")
        .start();
    announcer
        .process()
        .line("WatchdogSec=1s is too short")
        .await;
}

#[tokio::test]
async fn without_a_watchdog_nothing_is_fed() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness.announce_briefly(&backend).start();
    announcer.ready().await;
    // The passing of time is the thing under test: probes and renewals happen, the watchdog hears nothing.
    tokio::time::sleep(Duration::from_secs(TTL)).await;
    assert_eq!(fed(&announcer.notifications()), 0);
}

#[tokio::test]
async fn a_service_manager_that_cannot_be_told_harms_nothing() {
    let harness = Harness::start().await;
    for socket in [
        "",
        "relative",
        "/nonexistent/notify",
        "@nobody",
        "vsock:x:y",
    ] {
        let backend = Backend::start("b1").await;
        let mut announcer = harness
            .announce(&backend)
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "soon")
            .start();
        until(PATIENCE, format!("a record, with {socket:?}"), async || {
            harness.record(&backend).await
        })
        .await;
        announcer.process().signal(Signal::HUP);
        announcer.process().line("started anew").await;
        let ended = announcer.leave().await;
        assert_eq!(ended.code, Some(0), "{socket:?}: {}", ended.output);
    }
}

#[tokio::test]
async fn stopping_asks_for_the_time_that_draining_may_take() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let command = harness.announce(&backend);
    let mut announcer = command
        .args(["--drain-timeout", "30s", "--linger", "1s"])
        .start();
    announcer.ready().await;
    announcer.leave().await;
    let said = announcer.notifications();
    let asked = said
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let micros: u64 = asked.expect("it asks for time").parse().expect("a number");
    assert!(micros >= 31_000_000, "{micros}");
    assert!(said.iter().any(|line| line == "STOPPING=1"), "{said:?}");
}

#[tokio::test]
async fn the_status_tells_the_reason_of_a_failure() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    backend.set_health(503).await;
    let announcer = harness.announce(&backend).start();
    until(PATIENCE, "a status with the reason", async || {
        let said = announcer.notifications();
        let told = said
            .iter()
            .any(|line| line.starts_with("STATUS=") && line.contains("503"));
        if told { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn a_pusher_is_ready_when_it_is_at_work_and_says_when_it_stops() {
    let harness = Harness::start().await;
    let mut pusher = harness.push().notify().start();
    pusher.ready().await;
    assert_eq!(pusher.leave().await.code, Some(0));
    pusher.notified("STOPPING=1").await;
}

fn fed(notifications: &[String]) -> usize {
    notifications
        .iter()
        .filter(|line| *line == "WATCHDOG=1")
        .count()
}

/// Shorter than any of the phases below lasts.
const BRIEF_WATCHDOG_USEC: &str = "600000";

#[tokio::test]
async fn an_announcer_that_waits_for_its_container_is_neither_killed_nor_ended() {
    let etcd = crate::support::Etcd::start().await;
    let announcer = crate::support::Command::new("announce")
        .etcd(&etcd)
        .args(["--container", "web1", "--on-gone", "wait", "--probe", "/"])
        .args(["--docker-host", "unix:///nonexistent/docker.sock"])
        .env("WATCHDOG_USEC", BRIEF_WATCHDOG_USEC)
        .notify()
        .start();
    until(PATIENCE, "signs of life", async || {
        let said = announcer.notifications();
        let waits = |line: &String| line.starts_with("STATUS=waiting for container web1");
        if fed(&said) > 3 && extended(&said) > 3 && said.iter().any(waits) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}

#[tokio::test]
async fn an_announcer_that_drains_feeds_the_watchdog() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut announcer = harness
        .announce(&backend)
        .args(["--linger", "3s"])
        .env("WATCHDOG_USEC", BRIEF_WATCHDOG_USEC)
        .start();
    announcer.ready().await;
    announcer.leave().await;
    let said = announcer.notifications();
    let stopping = said.iter().position(|line| line == "STOPPING=1");
    let left = &said[stopping.expect("it says that it stops")..];
    assert!(fed(left) > 3, "{said:?}");
}

#[tokio::test]
async fn who_waits_for_etcd_asks_for_time_and_says_so() {
    let nowhere = format!("http://127.0.0.1:{}", crate::support::free_port());
    let announce = ["website/b1", "10.0.0.5:8080"];
    let push = ["--nginx", "http://127.0.0.1:1/api", "--upstream", "website"];
    for (command, args) in [("announce", &announce[..]), ("push", &push)] {
        let agent = crate::support::Command::new(command)
            .endpoints(&nowhere)
            .args(args)
            .notify()
            .start();
        until(
            PATIENCE,
            format!("signs of life of {command}"),
            async || {
                let said = agent.notifications();
                let waits = |line: &String| {
                    line.starts_with("STATUS=") && line.contains("waiting for etcd")
                };
                if extended(&said) > 0 && said.iter().any(waits) {
                    Ok(())
                } else {
                    Err(said)
                }
            },
        )
        .await;
        assert!(!agent.notifications().contains(&"READY=1".to_owned()));
    }
}

/// How often more time for the start was asked for.
fn extended(notifications: &[String]) -> usize {
    let asked = |line: &&String| line.starts_with("EXTEND_TIMEOUT_USEC=");
    notifications.iter().filter(asked).count()
}
