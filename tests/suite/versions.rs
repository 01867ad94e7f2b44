//! Splits and holds: what people choose, and what every nginx makes of it.

use serde_json::json;

use crate::support::{Command, Harness, Nginx, PATIENCE, push, until};

const SPLIT: &str = "/sidekick/splits/website";

/// Records of two instances of v1 and one of v2.
async fn records(harness: &Harness) {
    for (name, port, version) in [("a", 1, "v1"), ("b", 2, "v1"), ("c", 3, "v2")] {
        let record = json!({"host": "10.0.0.1", "port": port, "version": version});
        let key = format!("/services/website/{name}");
        harness.etcd.put(&key, record.to_string()).await;
    }
}

async fn split(harness: &Harness, weights: serde_json::Value) -> i64 {
    let split = json!({ "weights": weights }).to_string();
    harness.etcd.put(SPLIT, split).await
}

/// The servers that take traffic, as `PORT=WEIGHT`.
async fn weights(nginx: &Nginx) -> Vec<String> {
    let servers = nginx.servers("website").await.into_iter();
    let taking = servers.filter(|server| !server.down && !server.drain);
    let mut shown: Vec<_> = taking
        .map(|server| {
            let port = server.server.rsplit(':').next().unwrap().to_owned();
            format!("{port}={}", server.weight)
        })
        .collect();
    shown.sort();
    shown
}

async fn weighed(nginx: &Nginx, expected: &[&str]) {
    until(PATIENCE, format!("the weights {expected:?}"), async || {
        let weights = weights(nginx).await;
        if weights == expected {
            Ok(())
        } else {
            Err(weights)
        }
    })
    .await;
}

#[tokio::test]
async fn a_split_moves_every_nginx_and_survives_the_pusher() {
    let harness = Harness::start().await;
    let other = Nginx::start().await;
    records(&harness).await;
    let mut first = harness.pushing().await;
    let second = push(&harness.etcd.endpoint(), &other);
    let _second = second.env("SIDEKICK_ID", "edge-2").start();
    for nginx in [&harness.nginx, &other] {
        weighed(nginx, &["1=1", "2=1", "3=1"]).await;
    }
    let revision = split(&harness, json!({"v1": 90, "v2": 10})).await;
    for nginx in [&harness.nginx, &other] {
        weighed(nginx, &["1=9", "2=9", "3=2"]).await;
    }
    until(PATIENCE, "both pushers to say so", async || {
        let status_records = harness.etcd.list("/sidekick/pushers/").await;
        let applied =
            |kv: &crate::support::Kv| kv.json()["services"]["website"]["overrides"].as_i64();
        status_records.len() == 2
            && status_records
                .iter()
                .all(|kv| applied(kv) >= Some(revision))
    })
    .await;

    // Whoever starts anew knows the split before it does anything.
    first.kill();
    harness
        .nginx
        .call(
            "PATCH",
            "/9/http/upstreams/website/servers/0",
            r#"{"weight":7}"#,
        )
        .await;
    let again = harness.push().start();
    weighed(&harness.nginx, &["1=9", "2=9", "3=2"]).await;
    assert!(
        !again.process().output().contains("weight=1"),
        "{}",
        again.process().output()
    );

    split(&harness, json!({"v2": 100})).await;
    for nginx in [&harness.nginx, &other] {
        weighed(nginx, &["3=1"]).await;
    }
    split(&harness, json!({"v1": 100})).await;
    for nginx in [&harness.nginx, &other] {
        weighed(nginx, &["1=1", "2=1"]).await;
    }
    assert!(harness.etcd.delete(SPLIT).await);
    for nginx in [&harness.nginx, &other] {
        weighed(nginx, &["1=1", "2=1", "3=1"]).await;
    }
}

#[tokio::test]
async fn a_split_to_nothing_leaves_the_one_before_it() {
    let harness = Harness::start().await;
    records(&harness).await;
    let pusher = harness.pushing().await;
    split(&harness, json!({"v1": 1, "v2": 1})).await;
    weighed(&harness.nginx, &["1=1", "2=1", "3=2"]).await;
    split(&harness, json!({"v9": 1})).await;
    until(PATIENCE, "a warning", async || {
        pusher.process().output().contains("matches no instance")
    })
    .await;
    harness.etcd.put(SPLIT, "v1=1").await;
    until(PATIENCE, "another warning", async || {
        pusher.process().output().contains("quarantined: this")
    })
    .await;
    // A change that both pass by on its way.
    let record = json!({"host": "10.0.0.1", "port": 4, "version": "v2"});
    harness
        .etcd
        .put("/services/website/d", record.to_string())
        .await;
    weighed(&harness.nginx, &["1=1", "2=1", "3=1", "4=1"]).await;
}

#[tokio::test]
async fn a_held_instance_is_out_until_the_hold_ends_by_itself() {
    let harness = Harness::start().await;
    records(&harness).await;
    let _pusher = harness.pushing().await;
    weighed(&harness.nginx, &["1=1", "2=1", "3=1"]).await;
    let hold = json!({"reason": "disk"}).to_string();
    let key = "/sidekick/holds/website/b";
    let lease = harness.etcd.put_for(key, &hold, 600).await;
    weighed(&harness.nginx, &["1=1", "3=1"]).await;
    // As etcd itself does when its time is over, but not before it was seen.
    harness.etcd.revoke(lease).await;
    weighed(&harness.nginx, &["1=1", "2=1", "3=1"]).await;
}

/// What `sidekick` says at once, and how it ends.
async fn said(harness: &Harness, line: &str) -> crate::support::Ended {
    let mut words = line.split(' ');
    let command = Command::new(words.next().unwrap());
    command.etcd(&harness.etcd).args(words).run().await
}

const STANDS: &str = "; the former one stays";

#[tokio::test]
async fn every_pusher_follows_the_split_that_was_readable_last_also_one_that_did_not_see_it() {
    let harness = Harness::start().await;
    records(&harness).await;
    split(&harness, json!({"v2": 1})).await;
    split(&harness, json!({"v1": 1})).await;
    let first = harness.pushing().await;
    weighed(&harness.nginx, &["1=1", "2=1"]).await;
    for number in 0..40 {
        harness.etcd.put(SPLIT, format!("v2={number}")).await;
    }
    first.process().line("quarantined: this").await;

    let dry = harness.push().args(["--dry-run"]).run().await;
    assert_eq!(dry.code, Some(0), "{}", dry.output);
    assert!(dry.output.contains(STANDS), "{}", dry.output);
    let second = harness.push().env("SIDEKICK_ID", "edge-2").notify().start();
    second.ready().await;
    second.process().line("quarantined: this").await;
    // A change that both pass by on its way.
    let record = json!({"host": "10.0.0.1", "port": 4, "version": "v1"});
    let revision = harness
        .etcd
        .put("/services/website/d", record.to_string())
        .await;
    until(PATIENCE, "both pushers to have applied it", async || {
        let status_records = harness.etcd.list("/sidekick/pushers/").await;
        let applied =
            |kv: &crate::support::Kv| kv.json()["services"]["website"]["applied"].as_i64();
        let mut all = status_records.iter();
        status_records.len() == 2 && all.all(|kv| applied(kv) >= Some(revision))
    })
    .await;
    weighed(&harness.nginx, &["1=1", "2=1", "4=1"]).await;
    for pusher in [&first, &second] {
        let output = pusher.process().output();
        assert!(!output.contains("10.0.0.1:3 "), "{output}");
        assert!(output.contains(STANDS), "{output}");
    }
    for line in ["list", "list website", "status", "list --output json"] {
        let shown = said(&harness, line).await;
        assert!(shown.output.contains(STANDS), "{line}: {}", shown.output);
    }
}

#[tokio::test]
async fn a_split_whose_history_is_compacted_away_counts_as_none_and_that_is_said() {
    let harness = Harness::start().await;
    records(&harness).await;
    split(&harness, json!({"v1": 1})).await;
    harness.etcd.put(SPLIT, "{").await;
    harness.etcd.compact().await;
    let once = harness.push().args(["--once"]).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    let why = "no split applies: etcd has compacted away what it said before";
    assert!(once.output.contains(why), "{}", once.output);
    let pusher = harness.pushing().await;
    pusher.process().line(why).await;
    weighed(&harness.nginx, &["1=1", "2=1", "3=1"]).await;
    for line in ["list", "status"] {
        let shown = said(&harness, line).await;
        let says = |what| shown.output.contains(what);
        assert!(
            says("not valid JSON") && !says("stands"),
            "{line}: {}",
            shown.output
        );
    }
}

#[tokio::test]
async fn a_split_that_was_cleared_stands_for_nobody_when_garbage_comes_in_its_place() {
    let harness = Harness::start().await;
    records(&harness).await;
    split(&harness, json!({"v1": 1})).await;
    harness.etcd.delete(SPLIT).await;
    harness.etcd.put(SPLIT, "{").await;
    let once = harness.push().args(["--once"]).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    assert!(!once.output.contains("stands"), "{}", once.output);
    weighed(&harness.nginx, &["1=1", "2=1", "3=1"]).await;
}
