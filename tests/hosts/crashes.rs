//! Whatever dies or hangs, systemd and sidekick bring it back together.

use serde_json::Value;

use crate::host_harness::{HostHarness, RESTART, sidekick, upstream};
use crate::support::{PATIENCE, until};

#[tokio::test]
async fn a_backend_that_crashes_leaves_the_rotation_and_comes_back_with_its_sidekick() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.backend("nginx1", 8001).await;
    let before = harness.record("nginx1").await.expect("it is announced");
    // Slow enough to see that the record is gone in between.
    let slowly = "[Service]\nRestartSec=2s\n";
    host.write("/etc/systemd/system/nginx1.service.d/slowly.conf", slowly);
    host.exec("systemctl daemon-reload && systemctl kill -s KILL nginx1")
        .await;
    until(PATIENCE, "the record to be withdrawn", async || {
        harness.record("nginx1").await.is_none()
    })
    .await;
    host.until_active("nginx1").await;
    host.until_active(&sidekick("nginx1")).await;
    harness.routed(&[8001]).await;
    let after = harness.record("nginx1").await.expect("it is announced");
    assert_ne!(before["nonce"], after["nonce"]);
    assert_eq!(host.property("nginx1", "NRestarts").await, "1");
}

#[tokio::test]
async fn a_backend_that_stays_down_takes_its_sidekick_down_and_brings_it_back_when_started() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.install_backend("nginx1", 8001, "Restart=no").await;
    host.exec("systemctl start nginx1").await;
    harness.routed(&[8001]).await;
    host.exec("systemctl kill -s KILL nginx1").await;
    host.until(
        "the sidekick to be stopped",
        "[ \"$(systemctl is-active sidekick@nginx1)\" = inactive ]",
    )
    .await;
    assert_eq!(host.state("nginx1").await, "failed");
    assert_eq!(harness.record("nginx1").await, None);
    // Stopped in good order, not killed.
    assert_eq!(
        host.property(&sidekick("nginx1"), "Result").await,
        "success"
    );

    host.exec("systemctl start nginx1").await;
    harness.routed(&[8001]).await;
}

#[tokio::test]
async fn a_sidekick_that_is_killed_is_back_before_anybody_misses_its_record() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.backend("nginx1", 8001).await;
    let before = harness.record("nginx1").await.expect("it is announced");
    let server = server_id(&harness).await;
    let load = harness.load(2);
    host.exec("systemctl kill -s KILL sidekick@nginx1").await;
    let after = until(PATIENCE, "a record of the next one", async || {
        let record = harness.record("nginx1").await;
        let nonce = record.as_ref().map(|record| record["nonce"].clone());
        // It is never away in between: the next one takes it over.
        assert!(nonce.is_some(), "the record was lost");
        record.filter(|record| record["nonce"] != before["nonce"])
    })
    .await;
    assert_eq!(after["port"], before["port"]);
    host.until_active(&sidekick("nginx1")).await;
    assert_eq!(host.property(&sidekick("nginx1"), "NRestarts").await, "1");
    // nginx has not noticed at all.
    assert_eq!(server_id(&harness).await, server);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert!(report.answered() > 0);
}

#[tokio::test]
async fn a_sidekick_that_hangs_is_ended_by_the_watchdog_and_started_again() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    host.write(
        "/etc/systemd/system/sidekick@.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=10s\nEnvironment=SIDEKICK_TTL=4s\n",
    );
    harness.backend("nginx1", 8001).await;
    let unit = sidekick("nginx1");
    let before = host.property(&unit, "MainPID").await;
    // Fed for longer than the watchdog waits: see the restarts below.
    host.until(
        "the watchdog to have been fed for a while",
        &format!("[ $(($(cut -d. -f1 /proc/uptime) - $(systemctl show --value -p ActiveEnterTimestampMonotonic {unit}) / 1000000)) -gt 12 ]"),
    )
    .await;
    assert_eq!(host.property(&unit, "NRestarts").await, "0");
    assert_eq!(host.property(&unit, "MainPID").await, before);
    host.exec(&format!("kill -STOP {before}")).await;
    host.until(
        "another process",
        &format!("[ \"$(systemctl show --value -p NRestarts {unit})\" -ge 1 ] && systemctl is-active {unit}"),
    )
    .await;
    let journal = host.journal(&unit).await;
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    harness.routed(&[8001]).await;
    assert!(harness.record("nginx1").await.is_some());
}

#[tokio::test]
async fn a_sidekick_whose_record_was_taken_over_is_not_started_again() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.backend("nginx1", 8001).await;
    let address = host.at(8001);
    let usurper = format!(
        "systemd-run --unit usurper -p Type=notify /usr/local/bin/sidekick announce website/nginx1 {address} --probe /health"
    );
    host.exec(&usurper).await;
    let unit = sidekick("nginx1");
    host.until(
        "the older one to give in",
        &format!("systemctl is-failed {unit}"),
    )
    .await;
    assert_eq!(host.property(&unit, "ExecMainStatus").await, "75");
    assert_eq!(host.property(&unit, "NRestarts").await, "0");
    let journal = host.journal(&unit).await;
    assert!(!journal.contains("Scheduled restart job"), "{journal}");
    // The backend is none the worse for it.
    assert_eq!(host.state("nginx1").await, "active");
    harness.routed(&[8001]).await;
}

#[tokio::test]
async fn a_mistake_in_the_settings_is_told_once_and_not_tried_again() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.install_backend("nginx1", 8001, RESTART).await;
    host.write("/etc/sidekick/sidekick.env", "SIDEKICK_TTL=soon\n");
    host.exec("systemctl start nginx1").await;
    let unit = sidekick("nginx1");
    host.until(
        "the sidekick to fail",
        &format!("systemctl is-failed {unit}"),
    )
    .await;
    assert_eq!(host.property(&unit, "ExecMainStatus").await, "64");
    assert_eq!(host.property(&unit, "NRestarts").await, "0");
    let journal = host.journal(&unit).await;
    assert!(journal.contains("soon"), "{journal}");
    assert_eq!(host.state("nginx1").await, "active");
}

/// The number that nginx has given to its only server.
async fn server_id(harness: &HostHarness) -> Value {
    let servers = upstream(&harness.host, "website/servers").await;
    assert_eq!(servers.as_array().map(Vec::len), Some(1), "{servers}");
    servers[0]["id"].clone()
}
