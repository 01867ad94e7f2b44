//! What a pusher keeps that starts, restarts or shares its nginx: only what it has seen itself.

use std::time::Duration;

use tokio::time::Instant;

use super::keeping::{FOR_LONG, announce_by_hand, kept, put, release, twin, unchanged};
use crate::support::{Backend, Etcd, Harness, Link, PATIENCE, Proxy, Settings, key, push, until};

#[tokio::test]
async fn a_pusher_that_starts_before_all_records_are_written_takes_nobody_away() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let [a, b, c] = &backends[..] else {
        panic!("three backends")
    };
    let mut pusher = harness.pushing().await;
    harness.routed(&[a, b, c]).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    // As a migration: only one record is there yet, which is all that min_servers asks.
    harness.etcd.delete(&key(b)).await;
    harness.etcd.delete(&key(c)).await;
    let before = harness.nginx.servers("website").await;

    let ended = harness.push().args(["--once"]).run().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let refused = format!("cannot remove {}: ", b.address());
    assert!(ended.output.contains(&refused), "{}", ended.output);
    assert!(ended.output.contains("--max-removal"), "{}", ended.output);

    let pusher = harness
        .push()
        .args(["--resync", "1s"])
        .args(FOR_LONG)
        .start();
    pusher.process().line("that no record names").await;
    kept(&harness, "edge", 0, 2).await;
    unchanged(&harness, &before).await;
    announce_by_hand(&harness, b).await;
    announce_by_hand(&harness, c).await;
    kept(&harness, "edge", 0, 0).await;
    unchanged(&harness, &before).await;

    let mut pusher = pusher;
    assert_eq!(pusher.leave().await.code, Some(0));
    harness.etcd.delete_all("/services/website/").await;
    announce_by_hand(&harness, a).await;
    let all = ["--once", "--max-removal", "100%"];
    let ended = harness.push().args(all).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&[a]).await;
}

#[tokio::test]
async fn whom_nginx_has_as_down_or_draining_no_starting_pusher_revives() {
    let harness = Harness::start().await;
    let backends = put(&harness, 4).await;
    let [up, vanished, down, draining] = &backends[..] else {
        panic!("four backends")
    };
    let mut pusher = harness.pushing().await;
    harness.routed(&[up, vanished, down, draining]).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    for server in harness.nginx.servers("website").await {
        let change = match server.server {
            it if it == down.address().to_string() => r#"{"down":true}"#,
            it if it == draining.address().to_string() => r#"{"drain":true}"#,
            _ => continue,
        };
        let path = format!("/http/upstreams/website/servers/{}", server.id);
        let answer = harness.nginx.call("PATCH", &path, change).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for backend in [vanished, down, draining] {
        harness.etcd.delete(&key(backend)).await;
    }
    let push = harness.push().args(FOR_LONG).args(["--max-removal", "0"]);
    let _pusher = push.start();
    // Only what took traffic counts as vanished just now.
    kept(&harness, "edge", 0, 1).await;
    harness.routed(&[up, vanished]).await;
}

#[tokio::test]
async fn a_crash_looping_pusher_removes_nobody_and_one_that_lives_does_when_its_hold_is_over() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let start = || {
        harness
            .push()
            .args(["--resync", "1s", "--hold", "3s"])
            .start()
    };
    let mut pusher = start();
    harness.status_record().await;
    harness.routed(&all).await;
    let before = harness.nginx.servers("website").await;
    harness.etcd.delete_all("/services/website/").await;
    pusher.process().line("vanished at once").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        pusher.kill();
        pusher = start();
        pusher.process().line("that no record names").await;
        assert_eq!(harness.nginx.servers("website").await, before);
    }
    pusher.process().line("did not come back in time").await;
    until(PATIENCE, "the last server", async || {
        let servers = harness.nginx.servers("website").await;
        (servers.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forged_status_record_adds_no_server_and_holds_nobody_back() {
    let harness = Harness::start().await;
    let backends = put(&harness, 2).await;
    let all: Vec<_> = backends.iter().collect();
    let evil = Backend::start("evil").await;
    let address = evil.address();
    let forged = format!(
        r#"{{"services":{{"website":{{"applied":1}}}},"targets":{{"edge":{{"ok":true,"upstreams":{{"website":{{"wanted":9,"protected":[{{"server":"{address}","why":"x"}}]}}}}}}}},"kept":{{"website":{{"floor":1,"guard":0,"servers":[{{"server":"{address}","weight":65535,"instance":"evil","rules":1}}]}}}},"prefix":"/services","nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
    );
    harness
        .etcd
        .put("/sidekick/pushers/evil", forged.clone())
        .await;
    let _pusher = harness.push().args(["--resync", "1s"]).start();
    harness.routed(&all).await;
    let before = harness.nginx.servers("website").await;
    unchanged(&harness, &before).await;
}

#[tokio::test]
async fn a_forged_status_record_that_is_kept_adds_no_server_either() {
    let mut harness = Harness::start().await;
    let backends = put(&harness, 2).await;
    let all: Vec<_> = backends.iter().collect();
    let pusher = harness
        .push()
        .args(["--resync", "1s"])
        .args(FOR_LONG)
        .start();
    harness.routed(&all).await;
    let evil = Backend::start("evil").await;
    let address = evil.address();
    let list = format!(
        r#"[{{"server":"{address}","why":"x","weight":65535,"instance":"evil","rules":1}}]"#
    );
    // As pushers write it, as the first edition did, and with a load balancer of its own.
    let forged = format!(
        r#"{{"services":{{"website":{{"applied":1,"overrides":1,"still_routed":{{"evil":"x"}}}}}},"targets":{{"{api}":{{"ok":true,"errors":[],"upstreams":{{"website":{{"wanted":9,"has":9,"protected":{list}}}}}}}}},"kept":{{"website":{{"floor":1,"guard":1,"servers":{list}}}}},"prefix":"/services","nonce":"n","since":"2026-01-02T03:04:05Z"}}"#,
        api = harness.nginx.api_url(),
    );
    let own = harness.etcd.get("/sidekick/balancers/edge").await.unwrap();
    for (key, value) in [("pushers", &forged), ("balancers", &own.value)] {
        let key = format!("/sidekick/{key}/evil");
        harness.etcd.put_for(&key, value, 600).await;
    }
    let before = harness.nginx.servers("website").await;
    unchanged(&harness, &before).await;
    // Neither where servers are protected, nor where nginx has lost them, nor after a start.
    harness.etcd.delete_all("/services/website/").await;
    pusher.process().line("vanished at once").await;
    unchanged(&harness, &before).await;
    harness.nginx.restart().await;
    harness.routed(&all).await;
    let mut pusher = pusher;
    assert_eq!(pusher.leave().await.code, Some(0));
    let pusher = harness
        .push()
        .args(["--resync", "1s"])
        .args(FOR_LONG)
        .start();
    pusher.process().line("that no record names").await;
    harness.routed(&all).await;
    assert!(harness.etcd.get("/sidekick/pushers/evil").await.is_some());
}

#[tokio::test]
async fn a_release_is_not_for_pushers_that_start_after_it() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let first = twin(&harness, "first").start();
    harness.routed(&all).await;
    let ended = release(&harness, "website").run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    harness.routed(&all).await;
    let mut first = first;
    assert_eq!(first.leave().await.code, Some(0));
    assert!(
        !harness.etcd.list("/sidekick/releases/").await.is_empty(),
        "it stands"
    );
    // Set up wrongly: it finds no record, and must not empty nginx.
    let wrong = twin(&harness, "wrong").args(["--prefix", "/wrong"]).start();
    wrong.process().line("check --prefix").await;
    kept(&harness, "wrong", 0, 3).await;
    harness.routed(&all).await;
}

#[tokio::test]
async fn an_address_that_another_service_takes_over_goes_at_once() {
    let etcd = Etcd::start().await;
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    let harness = Harness { etcd, nginx };
    let backends = put(&harness, 2).await;
    let (a, b) = (&backends[0], &backends[1]);
    let start = || {
        let push = harness
            .push()
            .args(["--upstream", "shop", "--resync", "1s"]);
        push.args(FOR_LONG).start()
    };
    let pusher = start();
    harness.routed(&[a, b]).await;
    harness.etcd.delete_all("/services/website/").await;
    kept(&harness, "edge", 0, 2).await;
    // The port of the first is somebody else's now; it is spelled as a resolver might hand it out.
    let value = format!("[::ffff:127.0.0.1]:{}", a.address().port());
    harness.etcd.put("/services/shop/s1", value).await;
    harness.routed(&[b]).await;
    pusher
        .process()
        .line("another service has the address")
        .await;
    harness
        .etcd
        .put("/services/shop/s2", b.address().to_string())
        .await;
    harness.routed(&[]).await;
    kept(&harness, "edge", 0, 0).await;

    // A pusher that finds it so when it starts does the same.
    announce_by_hand(&harness, a).await;
    harness.routed(&[a]).await;
    let mut pusher = pusher;
    assert_eq!(pusher.leave().await.code, Some(0));
    harness.etcd.delete_all("/services/website/").await;
    let _pusher = start();
    harness.routed(&[]).await;
}

#[tokio::test]
async fn a_backend_of_two_services_is_kept_for_each() {
    let etcd = Etcd::start().await;
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    let harness = Harness { etcd, nginx };
    let backends = put(&harness, 1).await;
    let a = &backends[0];
    harness
        .etcd
        .put("/services/shop/s1", a.address().to_string())
        .await;
    let pusher = harness
        .push()
        .args(["--upstream", "shop", "--resync", "1s", "--hold", "1s"])
        .start();
    harness.routed(&[a]).await;
    let all = vec![a.address().to_string()];
    harness.nginx.routed("shop", all.clone()).await;
    // Longer than the hold.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = harness.nginx.servers("website").await;
    harness.etcd.delete_all("/services/website/").await;
    pusher
        .process()
        .line("the last servers are protected")
        .await;
    unchanged(&harness, &before).await;
    harness.nginx.routed("shop", all).await;
}

/// Looks at the upstream all the time while somebody else makes trouble.
struct Watch(
    tokio::task::JoinHandle<()>,
    std::sync::Arc<std::sync::Mutex<Vec<Vec<String>>>>,
);

impl Watch {
    /// Every other set of servers that take traffic is noted.
    fn start(nginx: std::net::SocketAddr) -> Self {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let notes = seen.clone();
        let looking = async move {
            loop {
                let path = "/api/9/http/upstreams/website/servers";
                let answer = crate::support::request(nginx, "GET", path, "").await;
                if let Ok(answer) = answer
                    && let Ok(servers) =
                        serde_json::from_str::<Vec<crate::support::Server>>(&answer.body)
                {
                    let up = servers.iter().filter(|one| !one.down && !one.drain);
                    let mut now: Vec<_> = up.map(|one| one.server.clone()).collect();
                    now.sort();
                    let mut seen: std::sync::MutexGuard<'_, Vec<Vec<String>>> =
                        notes.lock().unwrap();
                    if seen.last() != Some(&now) {
                        seen.push(now);
                    }
                }
                // Every so often: nothing tells when a set of servers changes.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Self(tokio::spawn(looking), seen)
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.1.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn two_pushers_never_take_turns_though_one_is_cut_off_and_the_other_restarted_within_a_hold()
{
    let mut harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let link = Proxy::to(harness.etcd.address()).await;
    let settings = ["--resync", "1s", "--ttl", "4s", "--hold", "6s"];
    let start = |id: &str, endpoint: &str| {
        let push = push(endpoint, &harness.nginx).args(["--id", id]);
        push.args(settings).start()
    };
    let pushers = async |number: usize| {
        until(PATIENCE, "the pushers", async || {
            (harness.etcd.list("/sidekick/pushers/").await.len() == number).then_some(())
        })
        .await;
    };
    let mut heard = start("heard", &harness.etcd.endpoint());
    pushers(1).await;
    // Whoever comes later has heard of the other before it tells anything itself.
    let cut = start("cut", &link.endpoint());
    pushers(2).await;
    harness.routed(&all).await;
    let watch = Watch::start(harness.nginx.api_address());

    link.set(Link::Down);
    cut.process().line("other pushers know better").await;
    harness.etcd.delete_all("/services/website/").await;
    heard.process().line("vanished at once").await;
    // Restarted within its hold, in good order and not: it counts anew.
    assert_eq!(heard.leave().await.code, Some(0));
    let mut heard = start("heard", &harness.etcd.endpoint());
    heard.process().line("that no record names").await;
    heard.kill();
    let heard = start("heard", &harness.etcd.endpoint());
    heard.process().line("did not come back in time").await;
    one_left(&harness).await;
    // The other one hears of it late, has a hold of its own, and leaves to nginx what is not there any more.
    link.set(Link::Up);
    cut.process().line("vanished at once").await;
    cut.process().line("did not come back in time").await;
    // There is no condition for what must not happen: several resyncs pass.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let last = one_left(&harness).await;
    let seen = watch.seen();
    drop(watch);
    assert!(seen.iter().all(|servers| !servers.is_empty()), "{seen:?}");
    for two in seen.windows(2) {
        let kept = two[1].iter().all(|server| two[0].contains(server));
        assert!(kept, "somebody has added a server again: {seen:?}");
    }
    assert_eq!(seen.last(), Some(&vec![last.clone()]));

    // What nginx itself loses comes back, and is the same for both.
    harness.nginx.restart().await;
    assert_eq!(one_left(&harness).await, last);
    let before = harness.nginx.servers("website").await;
    unchanged(&harness, &before).await;
}

/// Waits until one server is left, and says which.
async fn one_left(harness: &Harness) -> String {
    until(PATIENCE, "one server", async || {
        let servers = harness.nginx.servers("website").await;
        match &servers[..] {
            [one] => Ok(one.server.clone()),
            _ => Err(servers),
        }
    })
    .await
}

#[tokio::test]
async fn what_nginx_lost_comes_back_and_what_somebody_took_out_does_not() {
    let mut harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let all: Vec<_> = backends.iter().collect();
    let pusher = harness
        .push()
        .args(["--resync", "1s"])
        .args(FOR_LONG)
        .start();
    harness.routed(&all).await;
    harness.etcd.delete_all("/services/website/").await;
    pusher.process().line("vanished at once").await;
    let servers = harness.nginx.servers("website").await;
    let first = servers
        .iter()
        .find(|one| one.server == all[0].address().to_string());
    let path = format!("/http/upstreams/website/servers/{}", first.unwrap().id);
    harness.nginx.call("DELETE", &path, "").await;
    let before = harness.nginx.servers("website").await;
    assert_eq!(before.len(), 2);
    unchanged(&harness, &before).await;
    // Longer ago than a restart could have been: what comes back is what was there.
    tokio::time::sleep(Duration::from_secs(2)).await;
    harness.nginx.restart().await;
    harness.routed(&all[1..]).await;
    // Too few are left: min_servers adds one. What is taken out while the restart is being noticed counts as lost in it, and comes
    // back once more.
    until(
        PATIENCE,
        "one server after all were taken out",
        async || {
            let servers = harness.nginx.servers("website").await;
            if servers.len() == 1 {
                return Ok(());
            }
            for server in &servers {
                let path = format!("/http/upstreams/website/servers/{}", server.id);
                harness.nginx.call("DELETE", &path, "").await;
            }
            Err(servers)
        },
    )
    .await;
}
