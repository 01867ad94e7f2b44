//! Who takes traffic, and how much of it: `hold` and `split`.

use crate::support::{Command, Ended, Etcd, Kv, PATIENCE, until};

const HOLD: &str = "/sidekick/holds/website/a";
const SPLIT: &str = "/sidekick/splits/website";

/// Two instances of v1, one of v2.
async fn three(etcd: &Etcd) {
    for (name, host, version) in [("a", 5, "v1"), ("b", 6, "v1"), ("c", 7, "v2")] {
        let value = format!(r#"{{"host":"10.0.0.{host}","port":80,"version":"{version}"}}"#);
        etcd.put(&format!("/services/website/{name}"), value).await;
    }
}

/// A pusher that routes `website` and has applied `revision`.
async fn status_record(etcd: &Etcd, name: &str, revision: i64) {
    let value = format!(
        r#"{{"services":{{"website":{{"applied":1,"overrides":{revision}}}}},"targets":{{}},"nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
    );
    let key = format!("/sidekick/pushers/{name}");
    etcd.put_for(&key, &value, 600).await;
}

async fn run(etcd: &Etcd, arguments: &[&str]) -> Ended {
    let command = Command::new(arguments[0]).etcd(etcd);
    command.args(&arguments[1..]).run().await
}

async fn written(etcd: &Etcd, key: &str) -> Kv {
    until(PATIENCE, format!("{key} to be written"), async || {
        etcd.get(key).await
    })
    .await
}

#[track_caller]
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    for part in parts {
        assert!(ended.output.contains(part), "no '{part}': {}", ended.output);
    }
}

#[tokio::test]
async fn a_hold_says_why_and_until_when_and_ends_by_itself() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    let hold = ["hold", "website/a", "--for", "8s", "--reason", "disk full"];
    says(
        &run(&etcd, &hold).await,
        0,
        &["held for 8 s", "until 20", "no live pusher"],
    );
    let kv = written(&etcd, HOLD).await;
    assert_ne!(kv.lease, 0);
    let value = kv.json();
    assert_eq!(value["reason"], "disk full");
    assert!(
        value["until"]
            .as_str()
            .is_some_and(|until| until.ends_with('Z')),
        "{value}"
    );
    assert!(value["by"].is_string(), "{value}");
    until(PATIENCE, "the hold to end", async || {
        etcd.get(HOLD).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_hold_ends_early_and_a_second_time_is_no_mistake() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    let hold = ["hold", "website/a", "--for", "10m", "--reason", "x"];
    says(&run(&etcd, &hold).await, 0, &[]);
    let again = ["hold", "website/a", "--for", "20m", "--reason", "y"];
    says(&run(&etcd, &again).await, 0, &["20 min"]);
    assert_eq!(written(&etcd, HOLD).await.json()["reason"], "y");
    let release = ["hold", "website/a", "--release"];
    says(&run(&etcd, &release).await, 0, &["has ended"]);
    assert_eq!(etcd.get(HOLD).await, None);
    says(&run(&etcd, &release).await, 0, &["not held"]);
}

#[tokio::test]
async fn a_hold_waits_until_every_pusher_has_applied_it_and_says_who_has_not() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    status_record(&etcd, "one", 1).await;
    status_record(&etcd, "two", 1).await;
    let hold = ["website/a", "--for", "10m", "--reason", "x"];
    let mut command = Command::new("hold").etcd(&etcd).args(hold).start();
    command
        .process()
        .line("applied by 0 of 2 pushers, waiting for one, two")
        .await;
    let revision = written(&etcd, HOLD).await.mod_revision;
    status_record(&etcd, "one", revision).await;
    command
        .process()
        .line("applied by 1 of 2 pushers, waiting for two")
        .await;
    status_record(&etcd, "two", revision).await;
    says(
        &command.end(PATIENCE).await,
        0,
        &["applied by 2 of 2 pushers"],
    );
    status_record(&etcd, "two", 1).await;
    let release = ["hold", "website/a", "--release", "--drain-timeout", "1s"];
    says(
        &run(&etcd, &release).await,
        1,
        &["not yet applied by one, two"],
    );
}

#[tokio::test]
async fn an_instance_that_is_not_there_cannot_be_held() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    let hold = ["hold", "webste/a", "--for", "10m", "--reason", "x"];
    says(
        &run(&etcd, &hold).await,
        1,
        &["no instance webste/a", "did you mean website/a?"],
    );
    assert!(etcd.list("/sidekick/").await.is_empty());
}

#[tokio::test]
async fn a_split_shows_the_share_of_each_instance_and_is_ended_by_clear() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    let split = ["split", "website", "v1=90", "v2=10"];
    let ended = run(&etcd, &split).await;
    says(&ended, 0, &["website is split v1=90 v2=10"]);
    for (instance, share) in [
        ("website/a", "45.0 %"),
        ("website/b", "45.0 %"),
        ("website/c", "10.0 %"),
    ] {
        let line = ended.output.lines().find(|line| line.starts_with(instance));
        assert!(
            line.is_some_and(|line| line.ends_with(share)),
            "{}",
            ended.output
        );
    }
    let value = written(&etcd, SPLIT).await.json();
    assert_eq!(value["weights"], serde_json::json!({"v1": 90, "v2": 10}));
    assert!(value["since"].is_string(), "{value}");
    says(
        &run(&etcd, &["split", "website", "v1=0", "v2=100"]).await,
        0,
        &["100.0 %"],
    );
    says(
        &run(&etcd, &["split", "website", "--clear"]).await,
        0,
        &["no longer split"],
    );
    assert_eq!(etcd.get(SPLIT).await, None);
    says(
        &run(&etcd, &["split", "website", "--clear"]).await,
        0,
        &["not split"],
    );
}

#[tokio::test]
async fn a_split_that_leaves_nobody_is_refused_and_the_old_one_stands() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    says(&run(&etcd, &["split", "website", "v1=1"]).await, 0, &[]);
    let before = written(&etcd, SPLIT).await;
    let wrong = run(&etcd, &["split", "website", "v3=100"]).await;
    says(&wrong, 1, &["version v3", "v1 (2 live), v2 (1 live)"]);
    says(
        &run(&etcd, &["split", "webste", "v1=1"]).await,
        1,
        &["did you mean website?"],
    );
    // Whoever is held or leaves does not count as live.
    etcd.put("/sidekick/holds/website/c", r#"{"reason":"x"}"#)
        .await;
    says(
        &run(&etcd, &["split", "website", "v2=1"]).await,
        1,
        &["v2 (0 live, 1 held)"],
    );
    assert_eq!(etcd.get(SPLIT).await, Some(before));
    let ahead = run(&etcd, &["split", "website", "v1=90", "v3=10"]).await;
    says(&ahead, 0, &["version v3", "until one has"]);
}

#[tokio::test]
async fn a_split_waits_for_the_pushers_as_a_hold_does() {
    let etcd = Etcd::start().await;
    three(&etcd).await;
    status_record(&etcd, "one", 1).await;
    let mut command = Command::new("split")
        .etcd(&etcd)
        .args(["website", "v1=1"])
        .start();
    command.process().line("applied by 0 of 1 pushers").await;
    let revision = written(&etcd, SPLIT).await.mod_revision;
    status_record(&etcd, "one", revision).await;
    says(
        &command.end(PATIENCE).await,
        0,
        &["applied by 1 of 1 pushers"],
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_hold_or_a_split_is_told_all_at_once() {
    let wrong: [(&[&str], &[&str]); 11] = [
        (
            &["hold"],
            &["SERVICE[/INSTANCE]", "--host", "--for", "--reason"],
        ),
        (
            &["hold", "a/", "--for", "0s", "--reason", " "],
            &["SERVICE[/INSTANCE]", "--for", "--reason"],
        ),
        (
            &["hold", "a", "--host", "10.0.0.5", "--release"],
            &["--host"],
        ),
        (&["hold", "--host", "10.0.0.5:80", "--release"], &["--host"]),
        (
            &["hold", "a/b", "--for", "1m", "--reason", "a\nb"],
            &["--reason"],
        ),
        (&["hold", "a/b", "--release", "--for", "1m"], &["--for"]),
        (&["split"], &["SERVICE", "VERSION=WEIGHT"]),
        (
            &["split", "a", "v1", "v2=x", "v 3=1"],
            &["v1", "v2=x", "v 3"],
        ),
        (&["split", "a", "v1=1", "v1=2"], &["twice"]),
        (&["split", "a", "v1=0", "v2=0"], &["every weight is 0"]),
        (&["split", "a", "v1=1", "--clear"], &["--clear"]),
    ];
    for (arguments, named) in wrong {
        let ended = Command::new(arguments[0]).args(&arguments[1..]).run().await;
        says(&ended, 64, named);
    }
}
