//! What an agent outlasts under a real systemd: a host whose network is not up yet, a container that is gone, etcd's tokens.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::host_harness::{install_backend, record, shipped, sidekick};
use crate::podman::host;
use crate::support::hosts::{Host, Site};
use crate::support::{PASSWORD, Pki};

/// How often the watchdog wants to be fed, in seconds: more often than the container is away.
const WATCHDOG: u64 = 10;

/// How long the container is away.
const AWAY: Duration = Duration::from_secs(30);

/// A unit `web1.service` of a container that is published, and its sidekick, which waits for the next run of it.
fn install(host: &Host) {
    for unit in ["sidekick@.service", "podman.conf"] {
        let to = match unit {
            "podman.conf" => "sidekick@.service.d/podman.conf",
            unit => unit,
        };
        let text = shipped(&format!("units/{unit}"));
        host.write(&format!("/etc/systemd/system/{to}"), text);
    }
    let limits = format!("[Service]\nWatchdogSec={WATCHDOG}\nTimeoutStartSec=5\n");
    host.write(
        "/etc/systemd/system/sidekick@.service.d/limits.conf",
        limits,
    );
    host.write(
        "/etc/systemd/system/web1.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.write(
        "/etc/sidekick/web1.env",
        "SIDEKICK_INSTANCE=website/web1\nSIDEKICK_ON_GONE=wait\nSIDEKICK_INTERVAL=300ms\nSIDEKICK_TIMEOUT=250ms\n\
         SIDEKICK_RISE=1\nSIDEKICK_TTL=3s\n",
    );
}

/// Starts `web1.service` and its sidekick, without waiting for that.
async fn start(host: &Host) -> String {
    let unit = sidekick("web1");
    host.exec(&format!(
        "systemctl daemon-reload && systemctl start web1 podman.socket && systemctl start --no-block {unit}"
    ))
    .await;
    unit
}

const RUN: &str = "podman run --detach --name web1 --publish 8081:80 docker.io/library/nginx:1.29";

async fn untouched(host: &Host, unit: &str) {
    assert_eq!(host.property(unit, "NRestarts").await, "0");
    let journal = host.journal(unit).await.to_lowercase();
    assert!(!journal.contains("watchdog timeout"), "{journal}");
}

#[tokio::test]
async fn an_agent_waits_for_the_next_run_of_its_container_for_longer_than_its_watchdog() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = host(&site, &[]).await;
    install(&host);
    host.exec(RUN).await;
    let unit = start(&host).await;
    host.until_active(&unit).await;
    assert!(record(&host, "web1").await.is_some(), "it is announced");
    host.exec("podman kill web1").await;
    let gone = "etcdctl get --print-value-only /services/website/web1 | grep . && exit 1 || true";
    host.until("the record to be gone", gone).await;
    // The passing of time is the thing under test.
    sleep(AWAY).await;
    assert_eq!(host.state(&unit).await, "active");
    untouched(&host, &unit).await;
    host.exec("podman start web1").await;
    let back = "etcdctl get --print-value-only /services/website/web1 | grep .";
    host.until("the record to be back", back).await;
    untouched(&host, &unit).await;
    host.exec(&format!("systemctl stop {unit}")).await;
    assert_eq!(record(&host, "web1").await, None);
    assert_eq!(host.property(&unit, "Result").await, "success");
}

#[tokio::test]
async fn an_agent_that_boots_before_the_network_and_its_default_route_waits_and_takes_no_bridges_address()
 {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = host(&site, &[]).await;
    install(&host);
    host.exec(RUN).await;
    let gateway = host.network(&["ip", "route", "show", "default"]).await;
    let gateway = gateway.split(' ').nth(2).expect("via GATEWAY").to_owned();
    // With it goes its default route; Podman's bridge stays.
    host.network(&["ip", "link", "set", "eth0", "down"]).await;
    let unit = start(&host).await;
    let waits = format!("systemctl show --value --property StatusText '{unit}' | grep 'waiting: '");
    let status = host.until("the agent to wait", waits).await;
    // Longer than systemd lets anything start that does not ask for more.
    sleep(Duration::from_secs(3 * WATCHDOG)).await;
    assert_eq!(host.state(&unit).await, "activating", "{status}");
    untouched(&host, &unit).await;
    assert_eq!(record(&host, "web1").await, None);
    host.network(&["ip", "link", "set", "eth0", "up"]).await;
    host.network(&["ip", "route", "add", "default", "via", &gateway])
        .await;
    host.until_active(&unit).await;
    let record = record(&host, "web1").await.expect("it is announced");
    assert_eq!(record["host"], host.address().to_string(), "not a bridge's");
    assert_eq!(record["port"], 8081);
    untouched(&host, &unit).await;
}

#[tokio::test]
async fn an_unrelated_user_added_to_etcd_3_5_with_jwt_costs_no_record() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = Host::start(&site, "h1", 1).await;
    let version = host.exec("etcd --version").await;
    assert!(version.contains("etcd Version: 3.5."), "{version}");
    let pki = Pki::new();
    let (public, private) = pki.signing_keys();
    for (name, file) in [("public", public), ("private", private)] {
        let text = std::fs::read(&file).expect("our own file");
        host.write(&format!("/srv/jwt/{name}.pem"), text);
    }
    let tokens =
        "jwt,pub-key=/srv/jwt/public.pem,priv-key=/srv/jwt/private.pem,sign-method=RS256,ttl=5m";
    host.write("/etc/default/etcd", format!("ETCD_AUTH_TOKEN='{tokens}'\n"));
    crate::host_harness::install(&host);
    host.exec("chmod -R a+rX /srv/jwt && systemctl daemon-reload && systemctl start etcd")
        .await;
    let etcdctl = format!("etcdctl --user root:{PASSWORD}");
    host.exec(&format!(
        "etcdctl user add root:{PASSWORD} && etcdctl user grant-role root root && etcdctl auth enable"
    ))
    .await;
    host.write(
        "/etc/sidekick/sidekick.env",
        format!("ETCDCTL_USER=root\nETCDCTL_PASSWORD={PASSWORD}\nSIDEKICK_TTL=3s\n"),
    );
    install_backend(&host, "web", 8001, "Restart=always").await;
    let unit = sidekick("web");
    host.exec("systemctl start web").await;
    host.until_active(&unit).await;
    let get = format!(
        "{etcdctl} get -w fields /services/website/web | grep -E '\"(ModRevision|Lease)\"'"
    );
    let before = host.exec(&get).await;
    host.exec(&format!("{etcdctl} user add somebody:{PASSWORD}"))
        .await;
    // 3.5 took its time to take the record away: up to 20 s.
    let end = Instant::now() + AWAY;
    while Instant::now() < end {
        assert_eq!(host.exec(&get).await, before, "it was gone for a while");
        // It has to stay all the time: there is no end to wait for.
        sleep(Duration::from_millis(500)).await;
    }
    host.exec(&format!(
        "{etcdctl} user add another:{PASSWORD} && systemctl stop web"
    ))
    .await;
    let journal = host.journal(&unit).await;
    assert!(journal.contains("website/web is gone"), "{journal}");
    assert_eq!(host.run(&get).await.code, Some(1), "there is no record");
}
