//! Two pushers of different settings on one target that no API tells of: each is told of the other, and both calm down.

use std::fs;
use std::time::Duration;

use sidekick::target::Layer;
use tokio::time::Instant;

use super::conf_file_others::push_toml;
use super::config::Config;
use crate::support::{Backend, Command, Etcd, FileNginx, PATIENCE, Sidekick, until};

const SAID: &str = "keeps undoing the changes";

/// Two backends, each with a record that only one of the prefixes has.
async fn apart(etcd: &Etcd) -> [Backend; 2] {
    let (one, other) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    for (prefix, backend) in [("/services", &one), ("/elsewhere", &other)] {
        let key = format!("{prefix}/website/{}", backend.name());
        etcd.put(&key, backend.address().to_string()).await;
    }
    [one, other]
}

/// Pushers of both prefixes with the same configuration.
fn both(etcd: &Etcd, config: &str) -> [Sidekick; 2] {
    [("edge-1", "/services"), ("edge-2", "/elsewhere")].map(|(id, prefix)| {
        let push = Command::new("push").etcd(etcd).named(id);
        let push = push.args(["--config", config, "--id", id, "--prefix", prefix]);
        push.args(["--hold", "0s"]).start()
    })
}

/// Waits until both say whose hand it is, in the log and in their status.
async fn told(etcd: &Etcd, pushers: &[Sidekick; 2], target: &str) {
    for (pusher, named) in pushers.iter().zip(["edge-2", "edge-1"]) {
        let said = pusher.process().line(SAID).await;
        assert!(
            said.contains(&format!("probably pusher {named},")),
            "{said}"
        );
    }
    for (id, named) in [("edge-1", "edge-2"), ("edge-2", "edge-1")] {
        until(
            PATIENCE,
            format!("the status of {id} to say so"),
            async || {
                let status = etcd.get(&format!("/sidekick/pushers/{id}")).await;
                let status = status.ok_or_else(String::new)?.json();
                let target = &status["targets"][target];
                let errors = target["errors"].to_string();
                let said = errors.contains(SAID) && errors.contains(named);
                let said = said && target["ok"] == false;
                said.then_some(()).ok_or(status.to_string())
            },
        )
        .await;
    }
}

/// How long the next `count` swings take, of which `swings` counts those so far.
async fn next_swings(count: usize, swings: impl AsyncFn() -> usize) -> Duration {
    let (before, start) = (swings().await, Instant::now());
    until(PATIENCE, format!("{count} more swings"), async || {
        let more = swings().await - before;
        if more >= count { Ok(()) } else { Err(more) }
    })
    .await;
    start.elapsed()
}

#[tokio::test]
async fn two_pushers_of_different_settings_on_one_vulcand_are_told_of_each_other_and_calm_down() {
    let (etcd, config) = (Etcd::start().await, Config::new());
    let _backends = apart(&etcd).await;
    config.write("[[vulcand]]\nname = \"v\"\n[[upstream]]\nname = \"website\"\n");
    let path = config.path().display().to_string();
    let pushers = both(&etcd, &path);
    told(&etcd, &pushers, "v").await;
    let key = "/vulcand/backends/website/servers/b1";
    let swings = async || etcd.history(key).await.len();
    let so_far = swings().await;
    assert!(so_far <= 30, "{so_far} swings before anybody calms down");
    let took = next_swings(4, swings).await;
    assert!(took >= Duration::from_secs(2), "{took:?}");
    for pusher in &pushers {
        let output = pusher.process().output();
        let lines = output.lines().filter(|line| line.contains("backend="));
        let lines = lines.count();
        assert!(lines <= 12, "{lines} lines: {output}");
    }
    // The records are followed at once all the same.
    let new = Backend::start("b3").await;
    let address = new.address().to_string();
    etcd.put("/services/website/b3", address).await;
    until(Duration::from_secs(2), "the new server", async || {
        let history = etcd.history("/vulcand/backends/website/servers/b3").await;
        history.iter().any(Option::is_some)
    })
    .await;
}

#[tokio::test]
async fn who_changes_vulcands_keys_once_is_corrected_at_once_and_nobody_is_accused() {
    let (etcd, config) = (Etcd::start().await, Config::new());
    let _backends = apart(&etcd).await;
    config.write("[[vulcand]]\nname = \"v\"\n[[upstream]]\nname = \"website\"\n");
    let path = config.path().display().to_string();
    let push = Command::new("push").etcd(&etcd).args(["--config", &path]);
    let pusher = push.args(["--id", "edge"]).start();
    let key = "/vulcand/backends/website/servers/b1";
    let there = async || etcd.get(key).await.is_some();
    until(PATIENCE, "the server", there).await;
    for _ in 0..2 {
        etcd.delete(key).await;
        until(Duration::from_secs(5), "the server again", there).await;
    }
    let output = pusher.process().output();
    assert!(!output.contains(SAID), "{output}");
}

#[tokio::test]
async fn two_pushers_of_different_settings_on_one_file_are_told_of_each_other_and_calm_down() {
    let etcd = Etcd::start().await;
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let [one, other] = apart(&etcd).await;
    let pushers = both(&etcd, &push_toml(&nginx, ""));
    told(&etcd, &pushers, "file").await;
    // A reload for each.
    let took = next_swings(4, async || nginx.reloads()).await;
    assert!(took >= Duration::from_secs(3), "{took:?}");
    let text = nginx.text();
    let has = |backend: &Backend| text.contains(&backend.address().to_string());
    assert!(has(&one) != has(&other), "{text}");
}

/// Each writes back what it found of the other's upstream when it began.
#[tokio::test]
async fn two_pushers_of_different_upstreams_on_one_file_are_told_of_each_other() {
    let etcd = Etcd::start().await;
    let nginx = FileNginx::start(Layer::Http, &["website", "shop"]).await;
    let [one, other] = apart(&etcd).await;
    etcd.put("/services/shop/b2", other.address().to_string())
        .await;
    let website = push_toml(&nginx, "");
    let text = fs::read_to_string(&website).unwrap();
    let write = |name: &str, text: String| {
        let path = nginx.folder().join(name).display().to_string();
        fs::write(&path, text).unwrap();
        path
    };
    let both = write(
        "both.toml",
        text.clone() + "\n[[upstream]]\nname = \"shop\"\n",
    );
    let shop = write("shop.toml", text.replace("\"website\"", "\"shop\""));
    let once = Command::new("push").etcd(&etcd).args(["--config", &both]);
    let once = once.args(["--id", "edge", "--once"]).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    let start = |id: &str, config: &str| {
        let push = Command::new("push").etcd(&etcd).named(id);
        push.args(["--config", config, "--id", id, "--hold", "0s"])
            .start()
    };
    let pushers = [start("edge-1", &website), start("edge-2", &shop)];
    // What the other one has found is old as soon as a record changes.
    for (service, backend) in [("website", &other), ("shop", &one)] {
        let key = format!("/services/{service}/new");
        etcd.put(&key, backend.address().to_string()).await;
    }
    told(&etcd, &pushers, "file").await;
}
