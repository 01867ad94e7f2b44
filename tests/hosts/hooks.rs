//! A backend without an announcer, registered by the hooks of its own unit, as shipped.

use crate::host_harness::{HostHarness, shipped};
use crate::support::{PATIENCE, until};

/// Where the shipped unit's container is published.
const PORT: u16 = 8080;

/// Stands for docker: `run` is the backend, in the foreground as docker's own, and `stop` ends it.
fn docker(harness: &HostHarness) -> String {
    let address = harness.host.at(PORT);
    format!(
        "#!/bin/sh\ncase $1 in\n\
         run) echo $$ >/run/backend; exec backend --listen {address} --name nginx1 --delay 20ms ;;\n\
         stop) kill $(cat /run/backend) ;;\nesac\n"
    )
}

#[tokio::test]
async fn hooks_register_a_backend_and_take_it_out_before_it_stops_and_after_it_crashed() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    harness.backend("nginx2", 8002).await;
    let unit = shipped("units/backend-with-hooks.service");
    assert!(unit.contains("10.0.0.5:8080"), "{unit}");
    let unit = unit.replace("10.0.0.5", &host.address().to_string());
    host.write("/etc/systemd/system/nginx1.service", unit);
    let daemon = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
    host.write("/etc/systemd/system/docker.service", daemon);
    host.write("/usr/bin/docker", docker(&harness));
    host.exec("chmod +x /usr/bin/docker && systemctl daemon-reload && systemctl start nginx1")
        .await;
    // Started means registered.
    let record = harness.record("nginx1").await.expect("it is registered");
    assert_eq!(record["version"], "1.29");
    harness.routed(&[PORT, 8002]).await;

    let load = harness.load(4);
    until(PATIENCE, "a request to it", async || {
        load.report().answers_of("nginx1") > 0
    })
    .await;
    host.exec("systemctl stop nginx1").await;
    assert_eq!(harness.record("nginx1").await, None);
    assert_eq!(harness.servers().await, [host.at(8002).to_string()]);
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");

    // A crash takes it out, and systemd's next attempt brings it back.
    host.exec("systemctl start nginx1").await;
    let before = created(&harness).await;
    host.exec("systemctl kill -s KILL nginx1").await;
    host.until(
        "the next attempt",
        "[ \"$(systemctl show --value -p NRestarts nginx1)\" = 1 ] && systemctl is-active nginx1",
    )
    .await;
    assert!(created(&harness).await > before);
}

/// The revision at which the record was made: another one after each deletion.
async fn created(harness: &HostHarness) -> u64 {
    let line = "etcdctl get --write-out fields /services/website/nginx1 | grep CreateRevision";
    let said = harness.host.exec(line).await;
    let number = said.rsplit(' ').next().unwrap_or_default();
    number.trim().parse().expect("a revision")
}
