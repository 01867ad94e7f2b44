//! Starting, stopping and restarting in the right order.

use serde_json::Value;

use crate::host_harness::{HostHarness, RESTART, sidekick, upstream};
use crate::support::{PATIENCE, until};

#[tokio::test]
async fn what_is_ordered_after_a_sidekick_starts_when_its_backend_is_announced() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.install_backend("nginx1", 8001, RESTART).await;
    // Its sidekick is wanted by it, and finds it ill.
    host.exec("systemctl disable sidekick@nginx1 && systemctl start nginx1")
        .await;
    harness.set_health(8001, 503).await;
    follower(
        &harness,
        "etcdctl get --print-value-only /services/website/nginx1",
    );
    host.exec("systemctl daemon-reload && systemctl start --no-block follower")
        .await;
    let told = host.until(
        "the reason in its status",
        "systemctl show -p StatusText sidekick@nginx1 | grep 503",
    );
    told.await;
    assert_eq!(host.state("sidekick@nginx1").await, "activating");
    assert_eq!(host.state("follower").await, "inactive");
    assert_eq!(harness.record("nginx1").await, None);

    harness.set_health(8001, 200).await;
    host.until_active("follower").await;
    let seen: Value = serde_json::from_str(&host.exec("cat /run/seen").await).expect("the record");
    assert_eq!(seen["port"], 8001);
}

#[tokio::test]
async fn what_is_ordered_after_a_sidekick_that_waits_for_its_route_reaches_the_backend_at_once() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.install_backend("nginx1", 8001, RESTART).await;
    wait_for_route(&harness);
    follower(&harness, "curl -fsS http://127.0.0.1:8000/");
    host.exec("systemctl stop sidekick-push && systemctl daemon-reload && systemctl start --no-block follower")
        .await;
    until(PATIENCE, "the record", async || {
        harness.record("nginx1").await
    })
    .await;
    // Announced, and not ready: nobody routes it yet.
    assert_eq!(host.state("sidekick@nginx1").await, "activating");
    assert_eq!(host.state("follower").await, "inactive");

    host.exec("systemctl start sidekick-push").await;
    host.until_active("follower").await;
    assert_eq!(host.exec("cat /run/seen").await.trim(), "nginx1");
}

#[tokio::test]
async fn stopping_a_backend_returns_when_every_request_to_it_is_answered() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.backend("nginx1", 8001).await;
    harness.backend("nginx2", 8002).await;
    let load = harness.load(8);
    until(PATIENCE, "requests to both", async || {
        let report = load.report();
        report.answers_of("nginx1") > 0 && report.answers_of("nginx2") > 0
    })
    .await;

    host.exec("systemctl stop nginx1").await;
    // All of it holds at once, not soon.
    assert_eq!(harness.servers().await, [host.at(8002).to_string()]);
    assert_eq!(harness.record("nginx1").await, None);
    assert_eq!(host.state("sidekick@nginx1").await, "inactive");
    assert_eq!(host.state("nginx1").await, "inactive");
    let status = upstream(host, "website").await;
    assert_eq!(status["zombies"], 0, "{status}");
    // The backend dies at once, with what it is answering: it was answering nothing.
    let left = host.exited(&sidekick("nginx1")).await;
    let stopped = host.exited("nginx1").await;
    assert!(left <= stopped, "{left} {stopped}");
    let before = load.report().answered();
    until(PATIENCE, "more requests", async || {
        load.report().answered() > before + 20
    })
    .await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");

    // Started again, its sidekick is back with it.
    host.exec("systemctl start nginx1").await;
    harness.routed(&[8001, 8002]).await;
}

#[tokio::test]
async fn ten_restarts_of_a_backend_its_sidekick_and_the_pusher_lose_no_request() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    wait_for_route(&harness);
    harness.backend("nginx1", 8001).await;
    harness.backend("nginx2", 8002).await;
    let load = harness.load(4);
    for round in 0..10 {
        // Each in turn: one deploys a backend, or an update of sidekick itself.
        let name = ["nginx1", "nginx2"][round % 2];
        host.exec(&format!("systemctl restart {name}")).await;
        // Ready means routed here, so the next round finds all of it in use.
        host.until_active(&sidekick(name)).await;
        host.exec(&format!("systemctl restart {}", sidekick(name)))
            .await;
        host.exec("systemctl restart sidekick-push").await;
    }
    harness.routed(&[8001, 8002]).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert!(
        report.answers_of("nginx1") > 0 && report.answers_of("nginx2") > 0,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_reload_changes_the_record_in_place_and_refuses_mistakes() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    host.write(
        "/etc/systemd/system/sidekick@.service.d/reload.conf",
        "[Service]\nType=notify-reload\n",
    );
    harness.backend("nginx1", 8001).await;
    let before = harness.record("nginx1").await.expect("it is announced");
    assert_eq!(before["weight"], Value::Null);
    let pid = host.property(&sidekick("nginx1"), "MainPID").await;

    host.exec(
        "echo SIDEKICK_WEIGHT=5 >>/etc/sidekick/nginx1.env && systemctl reload sidekick@nginx1",
    )
    .await;
    until(PATIENCE, "the new weight", async || {
        let record = harness.record("nginx1").await.expect("it is announced");
        assert_eq!(record["nonce"], before["nonce"]);
        record["weight"] == 5
    })
    .await;
    assert_eq!(host.property(&sidekick("nginx1"), "MainPID").await, pid);
    assert_eq!(host.state(&sidekick("nginx1")).await, "active");
    // A mistake is refused, and what holds goes on to hold.
    host.exec("echo SIDEKICK_WEIGHT=much >>/etc/sidekick/nginx1.env")
        .await;
    host.exec("systemctl reload sidekick@nginx1").await;
    host.until(
        "the mistake to be told",
        "journalctl -u sidekick@nginx1 | grep much",
    )
    .await;
    let record = harness.record("nginx1").await.expect("it is announced");
    assert_eq!(record["weight"], 5);
    // Only root may read it: what systemd passed on at the start counts, and that is told.
    host.exec("chmod 600 /etc/sidekick/nginx1.env && systemctl reload sidekick@nginx1")
        .await;
    until(PATIENCE, "the first weight", async || {
        let record = harness.record("nginx1").await.expect("it is announced");
        record["weight"].is_null()
    })
    .await;
    let journal = host.journal(&sidekick("nginx1")).await;
    assert!(
        journal.contains("nginx1.env: Permission denied"),
        "{journal}"
    );
}

/// A unit that waits for the sidekick of nginx1 and writes down what it finds then.
fn follower(harness: &HostHarness, line: &str) {
    let unit = format!(
        "[Unit]\nRequires=sidekick@nginx1.service\nAfter=sidekick@nginx1.service\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{line} >/run/seen'\n"
    );
    harness
        .host
        .write("/etc/systemd/system/follower.service", unit);
}

/// Sidekicks are ready when they are routed.
fn wait_for_route(harness: &HostHarness) {
    harness
        .host
        .write("/etc/sidekick/sidekick.env", "SIDEKICK_READY=routed\n");
}
