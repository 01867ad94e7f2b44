//! Announcers of real containers.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::docker::{Daemon, Kind};
use crate::support::{Command, Etcd, Kv, PATIENCE, Sidekick, request, until};

const KEY: &str = "/services/web/web1";

/// `sidekick announce --container web1`, reached at the port that it publishes on loopback.
fn announce(etcd: &Etcd, daemon: &Daemon) -> Command {
    let socket = format!("unix://{}", daemon.socket().display());
    Command::new("announce")
        .etcd(etcd)
        .args(["--container", "web1", "--docker-host", &socket])
        .args(["--allow-loopback"])
        .args(["--interval", "200ms", "--timeout", "190ms", "--rise", "1"])
        .args(["--ttl", "10s"])
        .notify()
}

async fn announced(etcd: &Etcd) -> Kv {
    until(PATIENCE, "the container to be announced", async || {
        etcd.get(KEY).await
    })
    .await
}

/// Waits until the record is gone, and prints how long that took since `from`.
async fn withdrawn(etcd: &Etcd, kind: Kind, what: &str, from: Instant) {
    until(PATIENCE, format!("{what} to be withdrawn"), async || {
        etcd.get(KEY).await.is_none()
    })
    .await;
    let after = from.elapsed().as_secs_f64() * 1000.0;
    eprintln!("{kind:?}: {what}: withdrawn from etcd after {after:.1} ms");
}

fn address(record: &Value) -> SocketAddr {
    let (host, port) = (&record["host"], &record["port"]);
    let address = format!("{}:{port}", host.as_str().unwrap_or_default());
    address
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {record}"))
}

/// A container runs before the server in it listens.
async fn leads_somewhere(record: &Value) {
    until(PATIENCE, format!("an answer of {record}"), async || {
        request(address(record), "GET", "/", "").await
    })
    .await;
}

async fn ended(mut announcer: Sidekick) {
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

async fn life(kind: Kind) {
    let Some(daemon) = Daemon::start(kind).await else {
        return;
    };
    let etcd = Etcd::start().await;
    // The container comes later than its announcer, as it may with units that start together.
    let announcer = announce(&etcd, &daemon).args(["--on-gone", "wait"]).start();
    announcer.process().line("waiting for it").await;
    daemon.container("web1").await;
    let record = announced(&etcd).await.json();
    assert_eq!(
        (&record["host"], &record["version"]),
        (&json!("127.0.0.1"), &json!("1.2"))
    );
    leads_somewhere(&record).await;

    let from = Instant::now();
    daemon.act("web1", "pause").await;
    withdrawn(&etcd, kind, "a paused container", from).await;
    daemon.act("web1", "unpause").await;
    announced(&etcd).await;

    let from = Instant::now();
    daemon.crash("web1").await;
    withdrawn(&etcd, kind, "a crashed container", from).await;
    daemon.act("web1", "start").await;
    // The next run may have another port.
    let record = announced(&etcd).await.json();
    leads_somewhere(&record).await;
    drop(announcer);

    let last = announce(&etcd, &daemon).start();
    last.ready().await;
    let from = Instant::now();
    // busybox as PID 1 does not heed SIGTERM: nothing but the announcer withdraws it before it is killed.
    let (_, ()) = tokio::join!(
        daemon.act("web1", "stop?t=3"),
        withdrawn(&etcd, kind, "a stopped container", from)
    );
    ended(last).await;
}

#[tokio::test]
async fn a_container_of_docker_is_announced_exactly_while_it_runs() {
    life(Kind::Docker).await;
}

#[tokio::test]
async fn a_container_of_podman_is_announced_exactly_while_it_runs() {
    life(Kind::Podman).await;
}

#[tokio::test]
async fn a_container_that_leaves_the_choice_open_is_refused_with_the_choices() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    let socket = format!("unix://{}", daemon.socket().display());
    let command = Command::new("announce").etcd(&etcd);
    let command = command.args(["--container", "web1", "--docker-host", &socket]);
    let ended = command.args(["--network", "nowhere"]).run().await;
    assert_eq!(ended.code, Some(64), "{}", ended.output);
    assert!(
        ended.output.contains(daemon.network()),
        "the choices are named: {}",
        ended.output
    );
}

#[tokio::test]
async fn registrators_conventions_name_and_check_the_backend() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    let labels = json!({
        "SERVICE_NAME": "shop", "SERVICE_TAGS": "eu,canary", "SERVICE_80_CHECK_TCP": "true", "SERVICE_REGION": "north",
    });
    daemon.labelled("web1", labels).await;
    let _announcer = announce(&etcd, &daemon).start();
    let record = until(
        PATIENCE,
        "the service to have its label's name",
        async || etcd.get("/services/shop/web1").await,
    )
    .await
    .json();
    assert_eq!(record["tags"], json!(["eu", "canary"]));
    assert_eq!(record["meta"]["region"], "north", "{record}");
}

#[tokio::test]
async fn check_tells_what_was_derived_and_why_and_writes_nothing() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    let before = etcd.revision().await;
    let socket = format!("unix://{}", daemon.socket().display());
    let check = |probe: &str| {
        let command = Command::new("check").etcd(&etcd);
        let command = command.args(["--container", "web1", "--docker-host", &socket]);
        command.args(["--allow-loopback", "--probe", probe]).run()
    };
    // The web server in the container has no page to show.
    let down = check("/health").await;
    assert_eq!(down.code, Some(1), "{}", down.output);
    assert!(down.output.contains("HTTP 404"), "{}", down.output);
    let ended = check("exec:true").await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for part in [
        KEY,
        "\"version\":\"1.2\"",
        "the name of its image",
        "probe    up",
    ] {
        assert!(
            ended.output.contains(part),
            "{part} is missing: {}",
            ended.output
        );
    }
    assert_eq!(etcd.revision().await, before);
}
