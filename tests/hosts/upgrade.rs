//! `systemctl reload` of a sidekick, under both types of unit that tell systemd of a reload.

use crate::host_harness::{HostHarness, sidekick};
use crate::support::{PATIENCE, until};

/// The program in a place where it can be replaced.
const PROGRAM: &str = "/opt/sidekick";

#[tokio::test]
async fn a_reload_takes_over_an_upgraded_program_as_the_same_main_process_and_without_a_gap() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    host.exec(&format!("cp /usr/local/bin/sidekick {PROGRAM}"))
        .await;
    let unit = sidekick("nginx1");
    let drop_in = |name: &str, text: &str| {
        let path = format!("/etc/systemd/system/sidekick@.service.d/{name}.conf");
        host.write(&path, format!("[Service]\n{text}\n"));
    };
    let started = format!("ExecStart=\nExecStart={PROGRAM} announce");
    drop_in("without-container", &started);
    harness.backend("nginx1", 8001).await;
    let load = harness.load(2);
    for kind in ["notify", "notify-reload"] {
        drop_in("kind", &format!("Type={kind}"));
        host.exec(&format!(
            "systemctl daemon-reload && systemctl restart {unit}"
        ))
        .await;
        harness.routed(&[8001]).await;
        let before = harness.record("nginx1").await;
        let pid = host.property(&unit, "MainPID").await;
        let upgrade = format!(
            "cp {PROGRAM} {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM} && \
             readlink /proc/{pid}/exe | grep deleted && systemctl reload {unit}"
        );
        host.exec(&upgrade).await;
        until(
            PATIENCE,
            format!("{kind}: the new program to run"),
            async || {
                let image = host.exec(&format!("readlink /proc/{pid}/exe")).await;
                if image.trim() == PROGRAM {
                    Ok(())
                } else {
                    Err(image)
                }
            },
        )
        .await;
        host.until_active(&unit).await;
        assert_eq!(host.property(&unit, "MainPID").await, pid, "{kind}");
        assert_eq!(host.property(&unit, "NRestarts").await, "0", "{kind}");
        assert_eq!(harness.record("nginx1").await, before, "{kind}");
        let status = host.property(&unit, "StatusText").await;
        assert!(status.starts_with("up; announced"), "{kind}: {status}");
    }
    // A program that cannot run is refused, and that is said where people look.
    host.exec(&format!("echo broken > {PROGRAM}.new && chmod +x {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM} && systemctl reload {unit}"))
        .await;
    until(PATIENCE, "the refusal to be told", async || {
        let status = host.property(&unit, "StatusText").await;
        if status.contains("reload refused") {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    assert_eq!(host.state(&unit).await, "active");
    let report = load.stop().await;
    // nginx gives a request that a stop cuts off to nobody else: there was none.
    assert_eq!(report.failed(), 0, "{report:?}");
}

#[tokio::test]
async fn a_stop_during_a_reload_ends_a_sidekick_in_good_order_and_a_signal_restarts_it() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    let unit = sidekick("nginx1");
    let drop_in = |name: &str, text: &str| {
        let path = format!("/etc/systemd/system/sidekick@.service.d/{name}.conf");
        host.write(&path, format!("[Service]\n{text}\n"));
    };
    drop_in(
        "without-container",
        &format!("ExecStart=\nExecStart={PROGRAM} announce"),
    );
    // What it is to be replaced with takes its time to show that it runs.
    let slow = format!(
        "printf '#!/bin/sh\\nexec sleep 60\\n' >{PROGRAM}.new && chmod +x {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}"
    );
    let whole = format!("cp /usr/local/bin/sidekick {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}");
    let reloading = format!("systemctl reload --no-block {unit}");
    // systemd ends a command of its own that it finds running, and calls that a failure: it has sent the signal.
    let begun = format!(
        "[ \"$(systemctl show --value -p ControlPID {unit})\" = 0 ] && \
         journalctl _PID=$(systemctl show --value -p MainPID {unit}) | grep SIGHUP"
    );
    host.exec(&whole).await;
    harness.backend("nginx1", 8001).await;
    for kind in ["notify", "notify-reload"] {
        drop_in("kind", &format!("Type={kind}"));
        host.exec(&format!(
            "systemctl daemon-reload && systemctl restart {unit}"
        ))
        .await;
        harness.routed(&[8001]).await;
        let before = harness.record("nginx1").await.expect("it is announced");

        host.exec(&format!("{slow} && {reloading}")).await;
        host.until(format!("{kind}: the reload to begin"), &begun)
            .await;
        // By its own decision, as systemd sees it. Only the next run needs the whole program.
        host.exec(&format!(
            "{whole} && systemctl kill --kill-whom main {unit}"
        ))
        .await;
        until(PATIENCE, format!("{kind}: the next run"), async || {
            let record = harness.record("nginx1").await;
            record.is_some_and(|record| record["nonce"] != before["nonce"])
        })
        .await;
        host.until_active(&unit).await;
        assert_eq!(host.property(&unit, "NRestarts").await, "1", "{kind}");
        harness.routed(&[8001]).await;

        host.exec(&format!("{slow} && {reloading}")).await;
        host.until(format!("{kind}: the reload to begin"), &begun)
            .await;
        if kind == "notify-reload" {
            assert_eq!(host.state(&unit).await, "reloading");
        }
        host.exec(&format!("systemctl stop {unit}")).await;
        // All of it holds at once, not soon.
        assert_eq!(harness.record("nginx1").await, None, "{kind}");
        assert_eq!(host.state(&unit).await, "inactive", "{kind}");
        assert_eq!(host.property(&unit, "Result").await, "success", "{kind}");
        host.exec(&whole).await;
    }

    // The pusher's reload is short: it is stopped somewhere in it.
    host.exec("systemctl kill --signal HUP sidekick-push; systemctl stop sidekick-push")
        .await;
    assert_eq!(host.state("sidekick-push").await, "inactive");
    assert_eq!(host.property("sidekick-push", "Result").await, "success");
}
