//! Holds of whole services and of hosts, and holds that cannot be read: what every nginx and every reader makes of them.

use serde_json::json;

use crate::support::{Command, Ended, Harness, PATIENCE, Sidekick, until};

/// Records by name and address.
async fn records(harness: &Harness, records: &[(&str, &str, u16)]) {
    for (id, host, port) in records {
        let value = json!({"host": host, "port": port}).to_string();
        harness.etcd.put(&format!("/services/{id}"), value).await;
    }
}

/// A pusher that keeps no last server.
async fn pushing(harness: &Harness) -> Sidekick {
    let pusher = harness.push().args(["--min-servers", "0"]).start();
    harness.status_record().await;
    pusher
}

async fn run(harness: &Harness, arguments: &[&str]) -> Ended {
    let command = Command::new(arguments[0]).etcd(&harness.etcd);
    command.args(&arguments[1..]).run().await
}

#[track_caller]
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    for part in parts {
        assert!(ended.output.contains(part), "no '{part}': {}", ended.output);
    }
}

/// Waits until these addresses are all that nginx has.
async fn routed(harness: &Harness, expected: &[&str]) {
    let what = format!("{expected:?} to be routed");
    until(PATIENCE, what, async || {
        let mut found = harness.nginx.addresses("website").await;
        found.sort();
        if found == expected {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
}

#[tokio::test]
async fn a_held_host_takes_out_its_instances_of_every_service_also_those_that_come_later() {
    let harness = Harness::start().await;
    let all = [
        ("website/a", "10.0.0.1", 1),
        ("website/b", "10.0.0.2", 2),
        ("shop/x", "::ffff:10.0.0.1", 9),
    ];
    records(&harness, &all).await;
    let _pusher = pushing(&harness).await;
    routed(&harness, &["10.0.0.1:1", "10.0.0.2:2"]).await;
    let hold = [
        "hold",
        "--host",
        "10.0.0.1",
        "--for",
        "10m",
        "--reason",
        "new kernel",
    ];
    let whom = "host 10.0.0.1 (shop/x, website/a) is held for 10 min";
    let nobody = "shop: no live pusher routes shop, so no load balancer has been changed";
    let told = "website: applied by 1 of 1 pushers";
    says(&run(&harness, &hold).await, 0, &[whom, nobody, told]);
    // Applied, so it holds at once.
    assert_eq!(harness.nginx.addresses("website").await, ["10.0.0.2:2"]);
    let listed = run(&harness, &["list"]).await;
    says(&listed, 0, &["host 10.0.0.1: new kernel, until 2"]);
    assert_eq!(
        listed.output.matches(" held ").count(),
        3,
        "{}",
        listed.output
    );
    let listed = run(&harness, &["list", "website", "--output", "json"]).await;
    says(&listed, 0, &[r#""scope":"host""#, r#""state":"held""#]);

    let late = [("website/c", "10.0.0.1", 3), ("website/d", "10.0.0.4", 4)];
    records(&harness, &late).await;
    routed(&harness, &["10.0.0.2:2", "10.0.0.4:4"]).await;
    let wait = [
        "wait",
        "website",
        "--for",
        "routed",
        "--count",
        "3",
        "--timeout",
        "1s",
    ];
    let missing = "2 of 3 wanted instances of website can take traffic; website/a is to take none: it is held (new kernel); website/c";
    says(&run(&harness, &wait).await, 1, &[missing]);

    let release = ["hold", "--host", "::ffff:10.0.0.1", "--release"];
    says(
        &run(&harness, &release).await,
        0,
        &["the hold on host 10.0.0.1 has ended", told],
    );
    let four = ["10.0.0.1:1", "10.0.0.1:3", "10.0.0.2:2", "10.0.0.4:4"];
    routed(&harness, &four).await;
    says(&run(&harness, &release).await, 0, &["not held"]);
}

#[tokio::test]
async fn a_held_service_is_out_as_a_whole_and_what_is_held_otherwise_stays_out() {
    let harness = Harness::start().await;
    let all = [("website/a", "10.0.0.1", 1), ("website/b", "10.0.0.2", 2)];
    records(&harness, &all).await;
    let _pusher = pushing(&harness).await;
    routed(&harness, &["10.0.0.1:1", "10.0.0.2:2"]).await;
    let one = ["hold", "website/a", "--for", "10m", "--reason", "disk"];
    says(&run(&harness, &one).await, 0, &["applied by 1 of 1"]);
    let service = ["hold", "website", "--for", "10m", "--reason", "moving"];
    let whom = "website (website/a, website/b) is held for 10 min";
    says(
        &run(&harness, &service).await,
        0,
        &[whom, "applied by 1 of 1"],
    );
    assert!(harness.nginx.addresses("website").await.is_empty());
    let listed = run(&harness, &["list", "website"]).await;
    let both = ["disk, until 2", "all of website: moving"];
    says(&listed, 0, &both);
    let release = ["hold", "website", "--release"];
    let still = "still held by another hold: website/a";
    says(
        &run(&harness, &release).await,
        0,
        &["the hold on website has ended", still],
    );
    routed(&harness, &["10.0.0.2:2"]).await;
}

#[tokio::test]
async fn a_hold_that_cannot_be_read_holds_for_every_reader_alike() {
    let harness = Harness::start().await;
    let all = [
        ("website/a", "10.0.0.1", 1),
        ("website/b", "10.0.0.2", 2),
        ("website/c", "10.0.0.3", 3),
    ];
    records(&harness, &all).await;
    let pusher = pushing(&harness).await;
    harness.etcd.put("/sidekick/holds/website/a", "[]").await;
    harness
        .etcd
        .put("/sidekick/host-holds/10.0.0.2", "[]")
        .await;
    routed(&harness, &["10.0.0.3:3"]).await;
    until(PATIENCE, "the reason in the log", async || {
        pusher.process().output().contains("host-holds/10.0.0.2")
    })
    .await;
    let listed = run(&harness, &["list", "website"]).await;
    let why = [
        "the hold is quarantined and still holds",
        "the value is not a JSON object",
    ];
    says(&listed, 0, &why);
    assert_eq!(
        listed.output.matches(" held ").count(),
        2,
        "{}",
        listed.output
    );
    let wait = [
        "wait",
        "website",
        "--for",
        "routed",
        "--count",
        "2",
        "--timeout",
        "1s",
    ];
    let missing = "1 of 2 wanted instances of website can take traffic; website/a is to take none: it is held";
    says(&run(&harness, &wait).await, 1, &[missing]);
    let keys = ["/sidekick/holds/website/a", "/sidekick/host-holds/10.0.0.2"];
    says(&run(&harness, &["status"]).await, 0, &keys);
    harness
        .etcd
        .put("/sidekick/service-holds/website", "?")
        .await;
    routed(&harness, &[]).await;
    says(
        &run(&harness, &wait).await,
        1,
        &["0 of 2 wanted instances of website"],
    );
}

#[tokio::test]
async fn what_is_nowhere_cannot_be_held() {
    let harness = Harness::start().await;
    records(&harness, &[("website/a", "10.0.0.1", 1)]).await;
    let what = ["--for", "10m", "--reason", "x"];
    let hold = |whom: &[&'static str]| [&["hold"], whom, &what].concat();
    let host = run(&harness, &hold(&["--host", "10.0.0.2"])).await;
    says(&host, 1, &["no record is at the host 10.0.0.2"]);
    let service = run(&harness, &hold(&["webste"])).await;
    says(
        &service,
        1,
        &["no records of webste", "did you mean website?"],
    );
    assert!(harness.etcd.list("/sidekick/").await.is_empty());
}

#[tokio::test]
async fn a_hold_says_who_still_takes_traffic_and_why() {
    let harness = Harness::start().await;
    records(&harness, &[("website/a", "10.0.0.1", 1)]).await;
    let still = json!({"a": "min_servers protects it"});
    let status_record = json!({
        "services": {"website": {"applied": 1_000_000, "overrides": 1_000_000, "not_routed": {}, "still_routed": still}},
        "targets": {}, "nonce": "n", "since": "2026-01-02T03:04:05Z",
    });
    harness
        .etcd
        .put_for("/sidekick/pushers/edge", &status_record.to_string(), 600)
        .await;
    let hold = [
        "hold",
        "website",
        "--for",
        "10m",
        "--reason",
        "x",
        "--drain-timeout",
        "1s",
    ];
    let still = "website/a still takes traffic by edge: min_servers protects it";
    let held = run(&harness, &hold).await;
    says(&held, 1, &["website (website/a) is held for", still]);
    // What is said on standard output alone is the truth, too.
    let mut lines = held.output.lines();
    let line = lines.find(|line| line.contains("is held for"));
    let line = line.expect("it was just seen");
    assert!(
        line.ends_with(", but website/a still takes traffic"),
        "{line}"
    );
}

#[tokio::test]
async fn the_last_server_of_an_upstream_stays_although_it_is_held_and_that_is_said() {
    let harness = Harness::start().await;
    records(&harness, &[("website/a", "10.0.0.1", 1)]).await;
    let _pusher = harness.pushing().await;
    routed(&harness, &["10.0.0.1:1"]).await;
    let hold = [
        "hold", "--host", "10.0.0.1", "--for", "10m", "--reason", "x",
    ];
    let still = "website/a still takes traffic by edge: ";
    let why = ": min_servers protects it";
    says(
        &run(&harness, &hold).await,
        1,
        &["is held for 10 min", still, why],
    );
    routed(&harness, &["10.0.0.1:1"]).await;
    records(&harness, &[("website/b", "10.0.0.2", 2)]).await;
    routed(&harness, &["10.0.0.2:2"]).await;
    until(PATIENCE, "the status to tell of the hold", async || {
        let status = run(&harness, &["status"]).await.output;
        match status.contains("held: host 10.0.0.1: x") {
            true => Ok(()),
            false => Err(status),
        }
    })
    .await;
}
