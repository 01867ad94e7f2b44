//! That an instance is routed, or is not, or still is: said of the instance, with a real nginx and its pusher.

use crate::support::{Backend, Command, Harness, PATIENCE, Sidekick, key, until};

/// What it told the service manager of itself, once that contains `part`.
async fn told(announcer: &Sidekick, part: &str) -> String {
    until(PATIENCE, format!("a status with '{part}'"), async || {
        let all = announcer.notifications();
        let found = all.iter().rev().find(|it| it.starts_with("STATUS="));
        let found = found.filter(|status| status.contains(part));
        found.cloned().ok_or(all)
    })
    .await
}

#[tokio::test]
async fn an_instance_that_nginx_refuses_is_neither_ready_nor_routed() {
    let harness = Harness::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    let _pusher = harness.pushing().await;
    let _first = harness.announced(&steady).await;
    // nginx is not told a resolver.
    let place = format!("localhost:{}", backend.address().port());
    let announcer = Command::new("announce")
        .etcd(&harness.etcd)
        .args(["website/b2", &place, "--allow-loopback"])
        .args(["--probe", "/health", "--rise", "1", "--ready", "routed"])
        .notify()
        .start();
    let status = told(&announcer, "waiting to be routed: edge does not route it").await;
    assert!(status.contains("no resolver"), "{status}");
    let wait = ["website/b2", "--for", "routed", "--timeout", "1s"];
    let ended = Command::new("wait")
        .etcd(&harness.etcd)
        .args(wait)
        .run()
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    for said in ["website/b2 is not routed by edge", "no resolver"] {
        assert!(ended.output.contains(said), "{}", ended.output);
    }
    let ready = announcer.notifications().iter().any(|it| it == "READY=1");
    assert!(!ready, "{:?}", announcer.notifications());
    harness.routed(&[&steady]).await;
}

#[tokio::test]
async fn an_instance_that_is_held_starts_and_says_that_it_is() {
    let harness = Harness::start().await;
    let (steady, backend) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    let _pusher = harness.pushing().await;
    let _first = harness.announced(&steady).await;
    let hold = r#"{"reason":"disk full"}"#;
    harness.etcd.put("/sidekick/holds/website/b2", hold).await;
    let announcer = harness
        .announce(&backend)
        .args(["--ready", "routed"])
        .start();
    announcer.ready().await;
    told(&announcer, "ready although edge does not route it: held: ").await;
}

#[tokio::test]
async fn the_last_of_an_upstream_leaves_and_says_that_it_is_still_routed() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.pushing().await;
    let mut announcer = harness
        .announce(&backend)
        .args(["--drain-timeout", "10m"])
        .start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;
    harness.applied().await;
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let said = "is not drained: still routed by edge: ";
    assert!(ended.output.contains(said), "{}", ended.output);
    assert!(
        !ended.output.contains("drained everywhere"),
        "{}",
        ended.output
    );
    assert_eq!(harness.etcd.get(&key(&backend)).await, None);
    harness.routed(&[&backend]).await;
}

/// Two records of one address, as in a migration: one is gone when nothing is sent there, not when its key is.
#[tokio::test]
async fn what_is_gone_is_still_routed_while_another_record_has_its_address() {
    let harness = Harness::start().await;
    let (shared, other) = tokio::join!(Backend::start("w2"), Backend::start("w3"));
    let address = shared.address().to_string();
    for name in ["w1", "w2", "plain"] {
        let key = format!("/services/website/{name}");
        let (host, port) = address.split_once(':').unwrap();
        let value = match name {
            "plain" => address.clone(),
            _ => format!(r#"{{"host":"{host}","port":{port}}}"#),
        };
        harness.etcd.put(&key, value).await;
    }
    harness
        .etcd
        .put(&key(&other), other.address().to_string())
        .await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&shared, &other]).await;
    let run = async |command: &str, arguments: &[&str]| {
        let command = Command::new(command).etcd(&harness.etcd).args(arguments);
        command.run().await
    };
    let why = format!("has the same address {address}");
    for name in ["website/plain", "website/w1"] {
        let ended = run("deregister", &[name]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        assert!(
            ended.output.contains("still routed by edge"),
            "{}",
            ended.output
        );
        harness.applied().await;
        let ended = run("wait", &[name, "--for", "gone", "--timeout", "1s"]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        assert!(ended.output.contains(&why), "{}", ended.output);
    }
    let ended = run("deregister", &["website/w2"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&[&other]).await;
    for name in ["website/plain", "website/w1", "website/w2"] {
        let ended = run("wait", &[name, "--for", "gone"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
    }
}
