//! Announcers of real containers.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use crate::support::docker::{Daemon, Kind};
use crate::support::paired_harness::{NAME, PairedHarness, up_at};
use crate::support::{Command, Etcd, PATIENCE, until};

const KEY: &str = "/services/web/h1:web1";

/// `sidekick announce --container web1`, reached at the port that it publishes on loopback.
fn announce(etcd: &Etcd, daemon: &Daemon) -> Command {
    let socket = format!("unix://{}", daemon.socket().display());
    Command::new("announce")
        .etcd(etcd)
        .args(["--container", "web1", "--docker-host", &socket])
        .args(["--host-name", "h1", "--allow-loopback"])
        .args(["--interval", "200ms", "--timeout", "190ms", "--rise", "1"])
        .args(["--ttl", "10s"])
        .notify()
}

#[tokio::test]
async fn an_announcer_ends_with_its_container_where_nothing_else_is_said() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    let mut announcer = announce(&etcd, &daemon).start();
    announcer.ready().await;
    // busybox as the first process does not heed SIGTERM: nothing but the announcer withdraws it before it is killed.
    let stopped = daemon.act("web1", "stop?t=3600");
    let withdrawn = async {
        until(PATIENCE, "it to be withdrawn", async || {
            etcd.get(KEY).await.is_none()
        })
        .await;
        assert_ne!(daemon.serves("web1").await, None, "it is not killed yet");
        daemon.crash("web1").await;
    };
    tokio::join!(stopped, withdrawn);
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn a_container_that_is_unpaused_while_its_record_drains_is_announced_again() {
    let Some(paired) = PairedHarness::start_with(Kind::Docker, &["--linger", "1h"]).await else {
        return;
    };
    paired.create().await;
    let at = paired.right("start").await;
    paired.daemon.act(NAME, "pause").await;
    until(PATIENCE, "the record to drain", async || {
        let record = paired.record().await;
        record.is_some_and(|record| up_at(&record.value).is_none())
    })
    .await;
    paired.daemon.act(NAME, "unpause").await;
    paired.follows(at, "an early unpause").await;
}

/// The address in a network goes and comes with the network, which is noticed long before the next look by chance.
async fn networks(kind: Kind) {
    let Some(daemon) = Daemon::start(kind).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    for taker in ["web2", "web3"] {
        daemon.container(taker).await;
    }
    let network = daemon.second_network().await;
    daemon.network_act(&network, "connect", "web1").await;
    let announcer = announce(&etcd, &daemon).args(["--network", &network]);
    let announcer = announcer.start();
    announcer.ready().await;
    for taker in ["web2", "web3"] {
        let address = async || {
            let networks = &daemon.inspect("web1").await["NetworkSettings"]["Networks"];
            networks[&network]["IPAddress"].clone()
        };
        let own = address().await;
        assert!(
            own.as_str().is_some_and(|own| own.starts_with("10.")),
            "{own}"
        );
        until(PATIENCE, format!("{own} to be announced"), async || {
            let record = etcd.get(KEY).await.map(|record| record.json());
            let host = record.as_ref().map(|record| &record["host"]);
            if host == Some(&own) {
                Ok(())
            } else {
                Err(record)
            }
        })
        .await;
        daemon.network_act(&network, "disconnect", "web1").await;
        until(PATIENCE, "it to be withdrawn", async || {
            etcd.get(KEY).await.is_none()
        })
        .await;
        // Somebody else takes the address meanwhile.
        daemon.network_act(&network, "connect", taker).await;
        daemon.network_act(&network, "connect", "web1").await;
    }
}

#[tokio::test]
async fn a_network_that_a_running_container_of_docker_is_connected_to_is_noticed() {
    networks(Kind::Docker).await;
}

#[tokio::test]
async fn a_network_that_a_running_container_of_podman_is_connected_to_is_noticed() {
    networks(Kind::Podman).await;
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
        async || etcd.get("/services/shop/h1:web1").await,
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
    let check_with = |probe: &[&str]| {
        let command = Command::new("check").etcd(&etcd);
        let command = command.args(["--container", "web1", "--docker-host", &socket]);
        let command = command.args(["--host-name", "h1", "--allow-loopback"]);
        command.args(probe).run()
    };
    let check = |probe: &str| check_with(&["--probe", probe]);
    let bare = check_with(&[]).await;
    assert_eq!(bare.code, Some(0), "{}", bare.output);
    let nobody = "probe    up: it runs; nothing probes its port";
    assert!(bare.output.contains(nobody), "{}", bare.output);
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

#[tokio::test]
async fn check_of_a_container_that_does_not_run_says_how_it_is_and_fails() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    let socket = format!("unix://{}", daemon.socket().display());
    let check = async |is: &str| {
        let command = Command::new("check").etcd(&etcd);
        let command = command.args(["--container", "web1", "--docker-host", &socket]);
        let command = command.args(["--host-name", "h1", "--allow-loopback"]);
        let ended = command.run().await;
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        let says = format!("probe    down: container web1 {is}");
        assert!(ended.output.contains(&says), "{}", ended.output);
        assert!(!ended.output.contains("up"), "{}", ended.output);
    };
    daemon.container("web1").await;
    daemon.act("web1", "pause").await;
    check("is paused").await;
    daemon.act("web1", "unpause").await;
    daemon.act("web1", "kill").await;
    until(PATIENCE, "it to end", async || !daemon.runs("web1").await).await;
    check("exited with 137").await;
}

/// A daemon's socket behind which nobody is told what the host is called.
async fn without_info(
    daemon: &Daemon,
) -> (std::path::PathBuf, std::sync::Arc<tokio::sync::Notify>) {
    let path = daemon.socket().with_file_name("proxy.sock");
    let listener = UnixListener::bind(&path).expect("our own folder");
    let (target, asked) = (
        daemon.socket(),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let tell = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (target, tell) = (target.clone(), tell.clone());
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = &head[..length];
                if head.windows(6).any(|part| part == b"/info ") {
                    tell.notify_one();
                    // For as long as the client likes.
                    let _ = client.read(&mut [0]).await;
                    return;
                }
                let Ok(mut server) = UnixStream::connect(target).await else {
                    return;
                };
                if server.write_all(head).await.is_ok() {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (path, asked)
}

#[tokio::test]
async fn an_announcer_hears_sigterm_while_its_daemon_keeps_silent() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    let (socket, asked) = without_info(&daemon).await;
    let socket = format!("unix://{}", socket.display());
    let announcer = Command::new("announce").etcd(&etcd);
    let announcer = announcer.args(["--container", "web1", "--docker-host", &socket]);
    let mut announcer = announcer.args(["--allow-loopback"]).start();
    asked.notified().await;
    let from = Instant::now();
    let left = announcer.leave().await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    let took = from.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}: {}", left.output);
}
