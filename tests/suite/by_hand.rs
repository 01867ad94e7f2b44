//! Records without an announcer: `register` and `deregister`.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Backend, Command, Ended, Etcd, Harness, Kv, PATIENCE, Sidekick, Signal, free_port, key, until,
};

const KEY: &str = "/services/website/nginx1";

/// `sidekick register website/nginx1 ADDRESS`, not started yet.
fn register(etcd: &Etcd, address: &str) -> Command {
    Command::new("register")
        .etcd(etcd)
        .args(["website/nginx1", address])
}

/// `sidekick deregister website/nginx1`, not started yet.
fn deregister(etcd: &Etcd) -> Command {
    Command::new("deregister")
        .etcd(etcd)
        .args(["website/nginx1"])
}

#[track_caller]
fn done(ended: &Ended, says: &str) {
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains(says), "no '{says}': {}", ended.output);
}

async fn record(etcd: &Etcd) -> Kv {
    etcd.get(KEY).await.expect("it is registered")
}

/// A pusher that routes `website` and has applied `revision`, for as long as the test wants.
async fn status_record(etcd: &Etcd, revision: i64) {
    let value = format!(
        r#"{{"services":{{"website":{{"applied":{revision}}}}},"targets":{{}},"nonce":"n","since":"2026-01-02T03:04:05Z","later":[1]}}"#
    );
    etcd.put_for("/sidekick/pushers/edge", &value, 600).await;
}

/// A registered record that is being deregistered and waits for a pusher.
async fn draining() -> (Etcd, Sidekick) {
    let etcd = Etcd::start().await;
    register(&etcd, "10.0.0.5:8080").run().await;
    status_record(&etcd, 1).await;
    let deregister = deregister(&etcd).args(["--drain-timeout", "10m"]);
    let command = deregister.start();
    command.process().line("waiting for edge").await;
    (etcd, command)
}

#[tokio::test]
async fn registering_the_same_again_writes_nothing_and_anything_else_does() {
    let etcd = Etcd::start().await;
    done(&register(&etcd, "10.0.0.5:8080/v1").run().await, "revision");
    let first = record(&etcd).await;
    assert_eq!(first.lease, 0, "permanent");
    let value = first.json();
    assert_eq!(
        (&value["host"], &value["port"], &value["version"]),
        (&"10.0.0.5".into(), &8080.into(), &"v1".into())
    );
    done(&register(&etcd, "10.0.0.5:8080/v1").run().await, "already");
    assert_eq!(record(&etcd).await, first);
    let more = ["--weight", "5", "--tag", "a,b", "--meta", "zone=b"];
    done(
        &register(&etcd, "10.0.0.5:8080/v2").args(more).run().await,
        "v2",
    );
    let second = record(&etcd).await.json();
    assert_eq!(second["weight"], 5);
    assert_eq!(second["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(second["meta"]["zone"], "b");
}

#[tokio::test]
async fn a_registration_with_a_time_ends_by_itself_unless_it_is_renewed() {
    let etcd = Etcd::start().await;
    let for_a_while = |etcd: &Etcd| register(etcd, "10.0.0.5:8080").args(["--ttl", "8s"]);
    done(&for_a_while(&etcd).run().await, "for 8 s");
    let first = record(&etcd).await;
    assert_ne!(first.lease, 0);
    let start = Instant::now();
    // Renewed for longer than it would have lasted, without a single write.
    while start.elapsed() < Duration::from_secs(10) {
        done(&for_a_while(&etcd).run().await, "renewed");
        // The pace of somebody's timer.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(record(&etcd).await, first);
    until(PATIENCE, "the record to end", async || {
        etcd.get(KEY).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn fields_that_are_not_known_here_stay_when_a_record_is_written_again() {
    let etcd = Etcd::start().await;
    etcd.put(KEY, r#"{"host":"10.0.0.4","port":80,"rack":7}"#)
        .await;
    done(&register(&etcd, "10.0.0.5:80").run().await, "registered");
    let record = record(&etcd).await.json();
    assert_eq!(
        (&record["host"], &record["rack"]),
        (&"10.0.0.5".into(), &7.into())
    );
}

#[tokio::test]
async fn a_running_announcer_is_deposed_by_a_registration_and_that_is_said() {
    let harness = Harness::start().await;
    let backend = Backend::start("nginx1").await;
    let mut announcer = harness.announced(&backend).await;
    let ended = register(&harness.etcd, "10.0.0.5:8080").run().await;
    done(&ended, "code 75");
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(75), "{}", ended.output);
    assert_eq!(record(&harness.etcd).await.json()["host"], "10.0.0.5");
}

#[tokio::test]
async fn a_plain_registration_that_an_announcer_would_undo_is_refused() {
    let harness = Harness::start().await;
    let backend = Backend::start("nginx1").await;
    let mut announcer = harness.announced(&backend).await;
    let before = record(&harness.etcd).await;
    let plain = register(&harness.etcd, "10.0.0.5:8080").args(["--format", "plain"]);
    let ended = plain.run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains("--format json"), "{}", ended.output);
    assert_eq!(record(&harness.etcd).await, before);
    assert!(announcer.runs());
}

#[tokio::test]
async fn deregistering_ends_the_traffic_before_it_deletes() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let other = Backend::start("b2").await;
    let _pusher = harness.pushing().await;
    for backend in [&backend, &other] {
        let id = format!("website/{}", backend.name());
        let register = Command::new("register")
            .etcd(&harness.etcd)
            .args([&id, &backend.address().to_string()])
            .args(["--allow-loopback"]);
        done(&register.run().await, "registered");
    }
    harness.routed(&[&backend, &other]).await;
    let deregister = Command::new("deregister")
        .etcd(&harness.etcd)
        .args(["website/b1"]);
    done(&deregister.run().await, "let go by 1 of 1 pushers");
    let history = harness.etcd.history(&key(&backend)).await;
    let states: Vec<_> = history
        .iter()
        .map(|state| state.as_ref().map(|kv| kv.json()["state"].clone()))
        .collect();
    assert_eq!(
        states,
        [Some(serde_json::Value::Null), Some("draining".into()), None]
    );
    harness.routed(&[&other]).await;
}

#[tokio::test]
async fn what_is_not_there_is_deregistered_already() {
    let etcd = Etcd::start().await;
    let before = etcd.proposals_committed().await;
    done(&deregister(&etcd).run().await, "not registered");
    assert_eq!(
        etcd.proposals_committed().await,
        before,
        "nothing is written"
    );
}

#[tokio::test]
async fn a_record_that_a_living_announcer_keeps_is_left_alone() {
    let harness = Harness::start().await;
    let backend = Backend::start("nginx1").await;
    // It lives as long as its renewals, one in three seconds, are less than three seconds late.
    let mut announcer = harness.announce(&backend).args(["--ttl", "9s"]).start();
    announcer.ready().await;
    let before = record(&harness.etcd).await;
    let ended = deregister(&harness.etcd).run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for said in [
        "an announcer",
        "stop it (it deregisters by itself)",
        "sidekick hold",
    ] {
        assert!(ended.output.contains(said), "{}", ended.output);
    }
    assert_eq!(record(&harness.etcd).await, before);
    assert!(announcer.runs());
}

#[tokio::test]
async fn the_record_of_a_killed_announcer_does_not_wait_for_its_lease() {
    let harness = Harness::start().await;
    let backend = Backend::start("nginx1").await;
    let mut announcer = harness.announce(&backend).args(["--ttl", "15s"]).start();
    announcer.ready().await;
    announcer.kill();
    let ended = deregister(&harness.etcd).run().await;
    done(&ended, "checking whether it is alive");
    done(&ended, "deregistered");
    let history = harness.etcd.history(KEY).await;
    // With its lease it would have gone without a word.
    let notice = history.iter().flatten().last().expect("it was announced");
    assert_eq!(notice.json()["state"], "draining");
    assert_eq!(history.last(), Some(&None));
}

#[tokio::test]
async fn a_signal_ends_the_look_at_who_keeps_a_record_and_leaves_that_alone() {
    let etcd = Etcd::start().await;
    etcd.put_for(KEY, "10.0.0.5:8080", 600).await;
    let before = record(&etcd).await;
    let mut command = deregister(&etcd).start();
    let looking = "checking whether it is alive, for 30 s at most";
    command.process().line(looking).await;
    command.process().signal(Signal::TERM);
    // Far less than the look would take.
    let ended = command.end(Duration::from_secs(10)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let said = "stopped before it was known whether a process that holds the lease";
    assert!(ended.output.contains(said), "{}", ended.output);
    assert_eq!(record(&etcd).await, before);
}

#[tokio::test]
async fn a_second_signal_ends_a_deregistration_that_waits_for_etcd() {
    let etcd = Etcd::start().await;
    register(&etcd, "10.0.0.5:8080").run().await;
    status_record(&etcd, 1).await;
    let patient = ["--drain-timeout", "10m", "--command-timeout", "10m"];
    let deregister = deregister(&etcd).args(patient);
    let mut command = deregister.args(["--log-level", "info"]).start();
    command.process().line("waiting for edge").await;
    etcd.freeze();
    command.process().signal(Signal::TERM);
    command.process().line("SIGTERM").await;
    command.process().signal(Signal::TERM);
    let ended = command.end(Duration::from_secs(10)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let said = "website/nginx1 may still be registered as draining";
    assert!(ended.output.contains(said), "{}", ended.output);
}

#[tokio::test]
async fn a_signal_ends_every_command_that_waits_for_an_etcd_that_does_not_answer() {
    let patient = ["--command-timeout", "10m"];
    let lines: [(&str, &[&str]); 8] = [
        ("deregister website/nginx1", &patient),
        ("hold website/nginx1 --for 1m --reason x", &patient),
        ("hold website/nginx1 --release", &patient),
        ("split website v1=1", &patient),
        ("split website --clear", &patient),
        ("register website/nginx1 10.0.0.5:80", &patient),
        ("wait website --for routed", &["--timeout", "10m"]),
        ("release website", &["--timeout", "10m"]),
    ];
    for (line, more) in lines {
        // It takes connections, and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let mut words = line.split(' ');
        let command = Command::new(words.next().unwrap()).endpoints(&address);
        let mut command = command.args(words).args(more.iter().copied()).start();
        let _asked = silent.accept().await.unwrap();
        command.process().signal(Signal::TERM);
        let ended = command.end(Duration::from_secs(10)).await;
        assert_ne!(ended.code, Some(0), "{line}: {}", ended.output);
    }
}

#[tokio::test]
async fn a_pusher_that_does_not_answer_is_named_and_waited_for_no_longer_than_said() {
    let etcd = Etcd::start().await;
    register(&etcd, "10.0.0.5:8080").run().await;
    status_record(&etcd, 1).await;
    let ended = deregister(&etcd)
        .args(["--drain-timeout", "1s"])
        .run()
        .await;
    done(&ended, "not yet applied by edge");
    assert_eq!(etcd.get(KEY).await, None);
}

#[tokio::test]
async fn a_signal_ends_the_waiting_but_not_the_deletion() {
    let (etcd, mut command) = draining().await;
    assert_eq!(record(&etcd).await.json()["state"], "draining");
    command.process().signal(Signal::TERM);
    let ended = command.end(PATIENCE).await;
    done(&ended, "deregistered");
    assert_eq!(etcd.get(KEY).await, None);
}

#[tokio::test]
async fn a_successor_that_comes_while_its_predecessor_drains_is_left_alone() {
    let (etcd, mut command) = draining().await;
    register(&etcd, "10.0.0.6:8080").run().await;
    let successor = record(&etcd).await;
    status_record(&etcd, successor.mod_revision).await;
    let ended = command.end(PATIENCE).await;
    assert_eq!(ended.code, Some(75), "{}", ended.output);
    assert_eq!(record(&etcd).await, successor);
}

#[tokio::test]
async fn what_cannot_say_that_it_drains_is_deleted_first_and_waited_for_then() {
    let etcd = Etcd::start().await;
    for value in ["10.0.0.5:8080", "no record at all"] {
        etcd.put(KEY, value).await;
        status_record(&etcd, 1).await;
        let mut command = deregister(&etcd).args(["--drain-timeout", "10m"]).start();
        command.process().line("waiting for edge").await;
        assert_eq!(etcd.get(KEY).await, None);
        status_record(&etcd, etcd.revision().await).await;
        done(&command.end(PATIENCE).await, "let go by 1 of 1");
    }
}

#[tokio::test]
async fn an_etcd_that_is_away_for_a_moment_is_waited_for() {
    let mut etcd = Etcd::start().await;
    etcd.kill();
    let mut command = register(&etcd, "10.0.0.5:8080")
        .args(["--command-timeout", "1m"])
        .start();
    // It has tried in vain before etcd is back.
    let verbose = register(&etcd, "10.0.0.5:8080").args(["--command-timeout", "0s"]);
    assert_eq!(verbose.run().await.code, Some(69));
    etcd.resume().await;
    done(&command.end(PATIENCE).await, "registered");
}

#[tokio::test]
async fn an_etcd_that_cannot_be_reached_is_told_by_every_command_in_bounded_time() {
    let endpoint = format!("127.0.0.1:{}", free_port());
    let commands: [&[&str]; 11] = [
        &["register", "website/nginx1", "10.0.0.5:80"],
        &["deregister", "website/nginx1"],
        &["list"],
        &["watch"],
        &["wait", "website", "--for", "gone", "--timeout", "1s"],
        &["status"],
        &["hold", "website/nginx1", "--for", "1m", "--reason", "x"],
        &["hold", "website/nginx1", "--release"],
        &["split", "website", "v1=1"],
        &["split", "website", "--clear"],
        &["release", "website", "--timeout", "1s"],
    ];
    for arguments in commands {
        let command = Command::new(arguments[0])
            .endpoints(&endpoint)
            .env("ETCDCTL_COMMAND_TIMEOUT", "300ms");
        let ended = command.args(&arguments[1..]).run().await;
        assert_eq!(ended.code, Some(69), "{arguments:?}: {}", ended.output);
        assert!(
            ended.output.contains("etcd"),
            "{arguments:?}: {}",
            ended.output
        );
    }
}
