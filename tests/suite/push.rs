//! The pusher: what it does to nginx, and what it never does.

use std::time::Duration;

use crate::support::{
    Backend, Command, Etcd, Harness, Link, Nginx, PATIENCE, Proxy, Settings, Signal, push, until,
};

#[tokio::test]
async fn leaving_removes_no_server_and_no_word_of_it_remains() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let mut pusher = harness.pushing().await;
    let _announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    let ended = pusher.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&[&backend]).await;
    assert!(harness.etcd.list("/sidekick/pushers/").await.is_empty());
}

#[tokio::test]
async fn a_killed_pusher_leaves_the_servers_and_its_successor_goes_on() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let mut pusher = harness.pushing().await;
    let _first = harness.announced(&a).await;
    let mut second = harness.announce_briefly(&b).start();
    second.ready().await;
    harness.routed(&[&a, &b]).await;
    pusher.kill();
    second.kill();
    let gone = "the record to expire";
    until(PATIENCE, gone, async || harness.record(&b).await.is_none()).await;
    harness.routed(&[&a, &b]).await;
    // The status record of the killed one is still there: taken over, not waited for.
    let _successor = harness.push().start();
    harness.routed(&[&a]).await;
}

#[tokio::test]
async fn what_changed_and_was_compacted_meanwhile_is_found_by_listing_again() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let link = Proxy::to(harness.etcd.address()).await;
    let _pusher = push(&link.endpoint(), &harness.nginx).start();
    let mut first = harness.announced(&a).await;
    harness.routed(&[&a]).await;

    link.set(Link::Down);
    assert_eq!(first.leave().await.code, Some(0));
    let _second = harness.announced(&b).await;
    for number in 0..10 {
        harness.etcd.put("/other", format!("{number}")).await;
    }
    harness.etcd.compact().await;
    harness.routed(&[&a]).await;
    link.set(Link::Up);
    harness.routed(&[&b]).await;
}

#[tokio::test]
async fn a_cut_watch_misses_nothing() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let link = Proxy::to(harness.etcd.address()).await;
    let _pusher = push(&link.endpoint(), &harness.nginx).start();
    let _first = harness.announced(&a).await;
    harness.routed(&[&a]).await;
    link.cut().await;
    let _second = harness.announced(&b).await;
    harness.routed(&[&a, &b]).await;
}

#[tokio::test]
async fn a_silent_endpoint_is_left_for_another() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let [first, second] = [
        Proxy::to(harness.etcd.address()).await,
        Proxy::to(harness.etcd.address()).await,
    ];
    let endpoints = format!("{},{}", first.endpoint(), second.endpoint());
    let pusher = push(&endpoints, &harness.nginx).start();
    let _first = harness.announced(&a).await;
    harness.routed(&[&a]).await;
    let uses = |link: &Proxy| {
        crate::support::procfs::connected(pusher.process().pid(), link.address().port())
    };
    let used = if uses(&first) { &first } else { &second };
    used.set(Link::Silent);
    let _second = harness.announced(&b).await;
    // Pings that go unanswered tell it; etcd does not allow many of them.
    until(3 * PATIENCE, "the new server", async || {
        harness.nginx.addresses("website").await.len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_killed_member_of_three_is_left_for_another() {
    let mut members = Etcd::cluster().await;
    let nginx = Nginx::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let endpoints: Vec<_> = members.iter().map(Etcd::endpoint).collect();
    let endpoints = endpoints.join(",");
    let pusher = push(&endpoints, &nginx).start();
    let _first = crate::support::announce(&endpoints, &a).start();
    nginx.routed("website", vec![a.address().to_string()]).await;
    let pid = pusher.process().pid();
    let uses = |member: &Etcd| crate::support::procfs::connected(pid, member.address().port());
    let used = members
        .iter()
        .position(uses)
        .expect("a connection to one of them");
    members[used].kill();
    let _second = crate::support::announce(&endpoints, &b).start();
    let both = vec![a.address().to_string(), b.address().to_string()];
    nginx.routed("website", both).await;
}

#[tokio::test]
async fn what_nginx_forgets_at_a_restart_is_repaired() {
    let mut harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.push().args(["--resync", "1s"]).start();
    let (_first, _second) = (harness.announced(&a).await, harness.announced(&b).await);
    harness.routed(&[&a, &b]).await;
    harness.nginx.restart().await;
    harness.routed(&[&a, &b]).await;
}

#[tokio::test]
async fn a_reload_of_nginx_keeps_or_gets_back_its_servers() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.push().args(["--resync", "1s"]).start();
    let _announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    harness.nginx.reload().await;
    harness.routed(&[&backend]).await;
    until(PATIENCE, "an answer", async || harness.nginx.who().await).await;
}

/// Later than `--resync 1s`, whatever else the machine does, and sooner than the default of thirty.
const RESYNCED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_a_strangers_hand_did_to_nginx_is_repaired() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.push().args(["--resync", "1s"]).start();
    let _announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    let servers = "/http/upstreams/website/servers";
    let own = backend.address().to_string();
    // Taking traffic with the weight of its record, and alone.
    let repaired = async || {
        until(RESYNCED, "the upstream to be repaired", async || {
            let servers = harness.nginx.servers("website").await;
            match &servers[..] {
                [one] if one.server == own && !one.down && one.weight == 1 => Ok(()),
                _ => Err(servers),
            }
        })
        .await;
    };

    // A stranger's server, a duplicate, a changed and a removed server.
    harness
        .nginx
        .call("POST", servers, r#"{"server":"127.0.0.9:9"}"#)
        .await;
    let again = format!(r#"{{"server":"{own}"}}"#);
    harness.nginx.call("POST", servers, &again).await;
    repaired().await;

    let id = harness.nginx.servers("website").await[0].id;
    let one = format!("{servers}/{id}");
    harness
        .nginx
        .call("PATCH", &one, r#"{"down":true,"weight":7}"#)
        .await;
    repaired().await;

    let id = harness.nginx.servers("website").await[0].id;
    harness
        .nginx
        .call("DELETE", &format!("{servers}/{id}"), "")
        .await;
    repaired().await;
}

#[tokio::test]
async fn nothing_is_changed_before_etcd_has_been_heard() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let own = format!(r#"{{"server":"{}"}}"#, backend.address());
    harness
        .nginx
        .call("POST", "/http/upstreams/website/servers", &own)
        .await;
    harness.etcd.kill();
    let pusher = harness.push().start();
    pusher.process().line(&harness.etcd.endpoint()).await;
    // There is no condition for what must not happen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    harness.routed(&[&backend]).await;
    assert_eq!(harness.nginx.who().await, Ok("b1".to_owned()));
}

#[tokio::test]
async fn weights_are_shares_of_the_traffic_and_change_in_place() {
    let harness = Harness::start().await;
    let (heavy, light) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = harness.pushing().await;
    let _announcer = harness.announced(&light).await;
    let put = async |weight: u16| {
        let port = heavy.address().port();
        let value = format!(r#"{{"host":"127.0.0.1","port":{port},"weight":{weight}}}"#);
        harness.etcd.put("/services/website/b1", value).await;
        until(PATIENCE, format!("the weight {weight}"), async || {
            let servers = harness.nginx.servers("website").await;
            let found = servers
                .iter()
                .find(|one| one.server == heavy.address().to_string());
            found
                .filter(|one| one.weight == u64::from(weight))
                .map(|one| one.id)
        })
        .await
    };
    let id = put(9).await;
    for _ in 0..100 {
        harness.nginx.who().await.expect("an answer");
    }
    let share = heavy.count().await;
    assert!(
        (80..100).contains(&share),
        "{share} of 100 for weight 9 of 10"
    );
    assert_eq!(put(3).await, id, "it is changed, not replaced");
}

#[tokio::test]
async fn an_upstream_can_have_another_name_than_its_service_and_there_can_be_many() {
    let etcd = Etcd::start().await;
    let nginx = Settings::default()
        .upstreams(&["front", "shop"])
        .start()
        .await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let _pusher = Command::new("push")
        .etcd(&etcd)
        .args(["--nginx", &nginx.api_url()])
        .args(["--upstream", "front=website", "--upstream", "shop"])
        .start();
    for (service, backend) in [("website", &a), ("shop", &b)] {
        let value = backend.address().to_string();
        etcd.put(&format!("/services/{service}/x"), value).await;
    }
    nginx.routed("front", vec![a.address().to_string()]).await;
    nginx.routed("shop", vec![b.address().to_string()]).await;
    let answer = nginx.get("/shop").await.expect("an answer");
    assert_eq!(answer.body.trim(), "b2");
}

#[tokio::test]
async fn an_upstream_that_does_not_exist_holds_up_no_other() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let pusher = Command::new("push")
        .etcd(&harness.etcd)
        .args(["--nginx", &harness.nginx.api_url()])
        .args(["--upstream", "nosuch", "--upstream", "website"])
        .start();
    harness.etcd.put("/services/nosuch/x", "127.0.0.1:1").await;
    let _announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    pusher.process().line("nosuch").await;
}

#[tokio::test]
async fn an_nginx_that_starts_later_is_filled() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.nginx.kill();
    let pusher = harness.push().start();
    let _announcer = harness.announced(&backend).await;
    pusher
        .process()
        .line(&harness.nginx.api_address().to_string())
        .await;
    harness.nginx.resume().await;
    harness.routed(&[&backend]).await;
}

#[tokio::test]
async fn two_pushers_may_serve_the_same_nginx() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let twin = |id: &str| {
        Command::new("push")
            .etcd(&harness.etcd)
            .args([
                "--nginx",
                &harness.nginx.api_url(),
                "--upstream",
                "website",
                "--id",
                id,
            ])
            .args(["--resync", "1s"])
            .start()
    };
    let (mut one, mut two) = (twin("one"), twin("two"));
    let _first = harness.announced(&a).await;
    let mut second = harness.announced(&b).await;
    harness.routed(&[&a, &b]).await;
    assert_eq!(second.leave().await.code, Some(0));
    harness.routed(&[&a]).await;
    assert_eq!(harness.etcd.list("/sidekick/pushers/").await.len(), 2);
    assert!(one.runs() && two.runs());
}

#[tokio::test]
async fn status_record_tells_what_is_applied_and_how_the_target_does() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _pusher = harness.push().args(["--resync", "1s"]).start();
    let _announcer = harness.announced(&backend).await;
    harness.applied().await;
    let record = harness.record(&backend).await.expect("it is announced");
    let status_record = harness.status_record().await;
    assert_eq!(status_record.key, "/sidekick/pushers/edge");
    assert_ne!(status_record.lease, 0);
    let value = status_record.json();
    assert!(
        value["services"]["website"]["applied"].as_i64() >= Some(record.mod_revision),
        "{value}"
    );
    assert!(
        targets(&value).iter().all(|target| target["ok"] == true),
        "{value}"
    );

    harness.nginx.kill();
    until(
        PATIENCE,
        "the status record to name the error",
        async || {
            let value = harness.status_record().await.json();
            let bad = targets(&value)
                .iter()
                .any(|target| target["errors"][0].is_string());
            if bad { Ok(()) } else { Err(value) }
        },
    )
    .await;
}

#[tokio::test]
async fn once_converges_and_leaves_without_a_status_record() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _announcer = harness.announced(&backend).await;
    let ended = harness.push().args(["--once"]).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&[&backend]).await;
    assert!(harness.etcd.list("/sidekick/").await.is_empty());
}

#[tokio::test]
async fn dry_run_tells_the_difference_and_changes_nothing() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let _announcer = harness.announced(&backend).await;
    let ended = harness.push().args(["--dry-run"]).run().await;
    assert_eq!(ended.code, Some(2), "{}", ended.output);
    let address = backend.address().to_string();
    assert!(ended.output.contains(&address), "{}", ended.output);
    harness.routed(&[]).await;

    assert_eq!(harness.push().args(["--once"]).run().await.code, Some(0));
    let ended = harness.push().args(["--dry-run"]).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(harness.etcd.list("/sidekick/").await.is_empty());
}

#[tokio::test]
async fn one_shot_commands_say_which_service_cannot_be_reached() {
    let mut harness = Harness::start().await;
    harness.nginx.kill();
    let nginx = harness.nginx.api_address().to_string();
    for flag in ["--once", "--dry-run"] {
        let ended = harness.push().args([flag]).run().await;
        assert_eq!(ended.code, Some(69), "{flag}: {}", ended.output);
        assert!(ended.output.contains(&nginx), "{flag}: {}", ended.output);
    }
    harness.etcd.kill();
    for flag in ["--once", "--dry-run"] {
        let ended = harness.push().args([flag]).run().await;
        assert_eq!(ended.code, Some(69), "{flag}: {}", ended.output);
        assert!(
            ended.output.contains(&harness.etcd.endpoint()),
            "{flag}: {}",
            ended.output
        );
    }
}

#[tokio::test]
async fn a_frozen_pusher_catches_up() {
    let harness = Harness::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let pusher = harness.pushing().await;
    let mut first = harness.announce_briefly(&a).start();
    first.ready().await;
    harness.routed(&[&a]).await;
    pusher.process().signal(Signal::STOP);
    first.kill();
    let _second = harness.announced(&b).await;
    let gone = "the record to expire";
    until(PATIENCE, gone, async || harness.record(&a).await.is_none()).await;
    harness.routed(&[&a]).await;
    pusher.process().signal(Signal::CONT);
    harness.routed(&[&b]).await;
}

#[tokio::test]
async fn a_change_of_address_of_one_instance_moves_its_traffic() {
    let harness = Harness::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let _pusher = harness.pushing().await;
    for backend in [&old, &new] {
        harness
            .etcd
            .put("/services/website/x", backend.address().to_string())
            .await;
        harness.routed(&[backend]).await;
    }
    assert_eq!(harness.nginx.who().await, Ok("new".to_owned()));
}

fn targets(status_record: &serde_json::Value) -> Vec<serde_json::Value> {
    let targets = status_record["targets"].as_object();
    targets.expect("targets").values().cloned().collect()
}
