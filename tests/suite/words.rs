//! What is said is so, and names what to do: read as somebody would who does not know the program.

use serde_json::json;

use crate::support::{Backend, Command, Ended, Etcd, PASSWORD, announce};

async fn run(etcd: &Etcd, line: &str) -> Ended {
    let mut words = line.split(' ');
    let name = words.next().expect("a command");
    Command::new(name).etcd(etcd).args(words).run().await
}

#[track_caller]
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    for part in parts {
        assert!(ended.output.contains(part), "no '{part}': {}", ended.output);
    }
}

/// What a live pusher says of `website`.
async fn status(etcd: &Etcd, id: &str, website: serde_json::Value) {
    let value = json!({
        "services": {"website": website}, "targets": {}, "prefix": "/services", "nonce": "n", "since": "2026-01-02T03:04:05Z",
    });
    let key = format!("/sidekick/pushers/{id}");
    etcd.put_for(&key, &value.to_string(), 600).await;
}

/// The second key of a pusher.
async fn balancer(etcd: &Etcd, id: &str) {
    let value = json!({
        "prefix": "/services", "services": ["website"], "targets": ["http://10.0.0.1/api"], "nonce": "n",
        "since": "2026-01-02T03:04:05Z",
    });
    let key = format!("/sidekick/balancers/{id}");
    etcd.put_for(&key, &value.to_string(), 600).await;
}

#[tokio::test]
async fn a_load_balancer_that_does_not_run_is_not_said_to_have_no_pusher() {
    let etcd = Etcd::start().await;
    status(&etcd, "edge", json!({"applied": 0, "idle": true})).await;
    let said = "the load balancer of website does not run (pusher edge)";
    let backend = Backend::start("b1").await;
    let mut announcer = announce(&etcd.endpoint(), &backend).start();
    announcer.ready().await;
    let wait = run(&etcd, "wait website --for routed --timeout 1s").await;
    says(&wait, 1, &[said, "not within 1s (--timeout)"]);
    assert!(!wait.output.contains("no live pusher"), "{}", wait.output);
    let hold = run(&etcd, "hold website/b1 --for 1m --reason test").await;
    says(&hold, 0, &[said]);
    let left = announcer.leave().await;
    says(&left, 0, &[&format!("{said}: nothing to wait for")]);
    says(&run(&etcd, "register website/b2 10.0.0.5:80").await, 0, &[]);
    says(&run(&etcd, "deregister website/b2").await, 0, &[said]);
}

#[tokio::test]
async fn who_leaves_is_told_that_a_target_only_seems_not_to_run() {
    let etcd = Etcd::start().await;
    let refused = "connection refused: nginx does not run, or its API listens elsewhere";
    let stopped = json!({"http://10.0.0.1:80/api": refused});
    let doubt = format!("edge counts http://10.0.0.1:80/api as not running: {refused}");
    let idle = json!({"applied": 0, "idle": true, "stopped": stopped});
    status(&etcd, "edge", idle).await;
    says(&run(&etcd, "register website/b2 10.0.0.5:80").await, 0, &[]);
    let left = run(&etcd, "deregister website/b2").await;
    says(
        &left,
        0,
        &["the load balancer of website does not run", &doubt],
    );
}

#[tokio::test]
async fn who_deregisters_what_is_not_there_is_told_of_a_load_balancer_that_may_not_know() {
    let etcd = Etcd::start().await;
    let absent = "website/b1 is not registered: nothing to do";
    let silent = "pusher edge is silent, and its load balancer may still send requests";
    let ended = run(&etcd, "deregister website/b1").await;
    says(&ended, 0, &[absent]);
    assert!(!ended.output.contains("silent"), "{}", ended.output);
    balancer(&etcd, "edge").await;
    says(
        &run(&etcd, "deregister website/b1").await,
        0,
        &[absent, silent],
    );
    status(&etcd, "edge", json!({"applied": etcd.revision().await})).await;
    let ended = run(&etcd, "deregister website/b1").await;
    assert!(!ended.output.contains("silent"), "{}", ended.output);
}

#[tokio::test]
async fn who_waits_in_vain_for_etcd_to_tell_is_told_which_right_is_missing() {
    let mut etcd = Etcd::start().await;
    etcd.require_users().await;
    etcd.add_user_with("nobody", &[]).await;
    etcd.add_user_with(
        "half",
        &[
            "--prefix=true read /services/website/",
            "--prefix=true readwrite /sidekick/splits/",
            "--prefix=true read /sidekick/holds/",
            "--prefix=true read /sidekick/service-holds/",
            "--prefix=true read /sidekick/host-holds/",
        ],
    )
    .await;
    let value = r#"{"host":"10.0.0.5","port":80,"version":"v1"}"#;
    etcd.put("/services/website/a", value).await;
    let user = |name: &str| format!(" --user {name}:{PASSWORD}");
    let wait = "wait website --for routed --timeout 1s".to_owned() + &user("nobody");
    let grant = "etcdctl role grant-permission ROLE --prefix=true read /services/website/";
    says(
        &run(&etcd, &wait).await,
        69,
        &["waited for 1s (--timeout)", grant],
    );
    let split = "split website v1=1 --drain-timeout 1s".to_owned() + &user("half");
    let grant = "etcdctl role grant-permission ROLE --prefix=true read /sidekick/pushers/";
    says(
        &run(&etcd, &split).await,
        1,
        &["did not list the pushers: ", grant],
    );
}

#[tokio::test]
async fn an_etcd_without_room_and_one_without_users_are_told_with_the_way_out() {
    let etcd = Etcd::start().await;
    etcd.put("/services/website/a", "10.0.0.5:80").await;
    let login = format!("list --user root:{PASSWORD}");
    says(
        &run(&etcd, &login).await,
        69,
        &["this etcd knows no users: leave --user away"],
    );
    etcd.run_out_of_space().await;
    for line in [
        "register website/b 10.0.0.6:80",
        "hold website/a --for 1m --reason test",
    ] {
        says(
            &run(&etcd, line).await,
            69,
            &["make room: etcdctl compact, defrag, then alarm disarm"],
        );
    }
}

#[tokio::test]
async fn a_split_that_nobody_would_follow_says_who_is_held() {
    let etcd = Etcd::start().await;
    for (name, version) in [("a", "v1"), ("b", "v1")] {
        let value = format!(r#"{{"host":"10.0.0.5","port":80,"version":"{version}"}}"#);
        etcd.put(&format!("/services/website/{name}"), value).await;
    }
    etcd.put("/services/website/c", "10.0.0.7:80").await;
    etcd.put("/sidekick/service-holds/website", r#"{"reason":"x"}"#)
        .await;
    let refused = run(&etcd, "split website v1=1").await;
    let held = "there is an instance without a version (0 live, 1 held), v1 (0 live, 2 held)";
    says(&refused, 1, &[held]);
}

#[tokio::test]
async fn status_shows_prefixes_and_no_revision_beyond_the_newest_and_a_bounded_list() {
    let etcd = Etcd::start().await;
    etcd.put("/services/website/a", "10.0.0.5:80").await;
    etcd.put("/services/website/b", "10.0.0.6:80").await;
    etcd.delete("/services/website/b").await;
    let applied = etcd.revision().await;
    status(
        &etcd,
        "edge",
        json!({"applied": applied, "overrides": applied}),
    )
    .await;
    balancer(&etcd, "gone").await;
    for number in 0..30 {
        etcd.put(&format!("/sidekick/pushers/forged-{number:02}"), "x")
            .await;
        etcd.put(&format!("/services/website/bad-{number:02}"), "x")
            .await;
    }
    let ended = run(&etcd, "status").await;
    says(&ended, 0, &["and 10 more: --output json has all of them"]);
    let row = |beginning: &str| {
        let line = ended
            .output
            .lines()
            .find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no {beginning}: {}", ended.output));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row("SILENT")[1], "PREFIX");
    assert_eq!(row("gone")[1], "/services");
    for what in ["/sidekick/pushers/forged-", "/services/website/bad-"] {
        let named = ended.output.lines().filter(|line| line.starts_with(what));
        assert_eq!(named.count(), 20, "{what}: {}", ended.output);
    }
    let json = run(&etcd, "status --output json").await;
    assert_eq!(
        json.output.matches("forged-").count(),
        30,
        "{}",
        json.output
    );

    etcd.delete_all("/services/website/bad-").await;
    let applied = etcd.revision().await;
    status(
        &etcd,
        "edge",
        json!({"applied": applied, "overrides": applied}),
    )
    .await;
    let ended = run(&etcd, "status").await;
    let service = ended
        .output
        .lines()
        .find(|line| line.starts_with("edge") && line.contains(" website "));
    let service = service.expect("a row of the service");
    let words: Vec<_> = service.split_whitespace().collect();
    let applied = applied.to_string();
    assert_eq!(words[2..4], [&*applied, &*applied], "{service}");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_why_an_instance_takes_no_traffic() {
    let etcd = Etcd::start().await;
    for (instance, more) in [
        ("draining", r#","state":"draining""#),
        ("held", ""),
        ("weightless", r#","weight":0"#),
    ] {
        let value = format!(r#"{{"host":"10.0.0.5","port":80{more}}}"#);
        etcd.put(&format!("/services/shop/{instance}"), value).await;
    }
    let hold = r#"{"reason":"disk full"}"#;
    etcd.put("/sidekick/holds/shop/held", hold).await;
    let draining = "shop/draining is to take no traffic: it is draining";
    for (instance, goal, said) in [
        ("/draining", "routed", draining),
        (
            "/draining",
            "announced",
            "shop/draining is announced, but it is draining",
        ),
        (
            "/held",
            "routed",
            "shop/held is to take no traffic: it is held (disk full)",
        ),
        (
            "/weightless",
            "routed",
            "shop/weightless is to take no traffic: its weight is 0",
        ),
        (
            "/s3",
            "routed",
            "not within 0s (--timeout): shop/s3 is not announced",
        ),
        (
            "/s3",
            "announced",
            "not within 0s (--timeout): shop/s3 is not announced",
        ),
        (
            " --count 4",
            "routed",
            "0 of 4 wanted instances of shop can take traffic; shop/draining is to take none: it is draining; \
             shop/held is to take none: it is held (disk full); shop/weightless is to take none: its weight is 0",
        ),
        (
            " --count 4",
            "announced",
            "2 of 4 wanted instances of shop are announced; shop/draining is announced, but it is draining",
        ),
    ] {
        let line = format!("wait shop{instance} --for {goal} --timeout 0s");
        let ended = run(&etcd, &line).await;
        says(&ended, 1, &[said]);
    }
}
