//! What a load balancer says to whoever waits for it: that it does not route, that it cannot let go, or nothing at all
//! because its pusher is silent. The pushers' keys are written here, by the format that pushers write.

use serde_json::{Value, json};

use crate::support::{
    Backend, Command, Ended, Etcd, Harness, PATIENCE, Settings, Sidekick, Signal, announce, key,
    until,
};

/// Who ends in time has not waited for this.
const NEVER: &str = "10m";

/// Much longer than a test.
const LEASE: i64 = 600;

const KEY: &str = "/services/website/a";

const SILENT: &str = "pusher edge is silent, and its load balancer may still send requests";
const UNAWARE: &str = "pusher edge is silent, and its load balancer may not know of it yet";

/// That the load balancers of pusher `id` route `website` at `target`.
async fn balancer(etcd: &Etcd, id: &str, target: &str) {
    let value = balancer_of("/services", "website", target);
    let key = format!("/sidekick/balancers/{id}");
    etcd.put_for(&key, &value, LEASE).await;
}

fn balancer_of(prefix: &str, service: &str, target: &str) -> String {
    let value = json!({
        "prefix": prefix,
        "services": [service],
        "targets": [target],
        "nonce": "n",
        "since": "2026-01-02T03:04:05Z",
    });
    value.to_string()
}

/// That pusher `id` lives and says this of `website`.
async fn status(etcd: &Etcd, id: &str, website: Value) {
    let value = json!({
        "services": {"website": website},
        "targets": {},
        "prefix": "/services",
        "nonce": "n",
        "since": "2026-01-02T03:04:05Z",
    });
    let key = format!("/sidekick/pushers/{id}");
    etcd.put_for(&key, &value.to_string(), LEASE).await;
}

/// That it has applied all that there is.
async fn applied(etcd: &Etcd, id: &str) {
    let revision = etcd.revision().await;
    status(
        etcd,
        id,
        json!({"applied": revision, "overrides": revision}),
    )
    .await;
}

fn command(etcd: &Etcd, arguments: &[&str]) -> Command {
    Command::new(arguments[0]).etcd(etcd).args(&arguments[1..])
}

async fn run(etcd: &Etcd, arguments: &[&str]) -> Ended {
    command(etcd, arguments).run().await
}

#[track_caller]
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    for part in parts {
        assert!(ended.output.contains(part), "no '{part}': {}", ended.output);
    }
}

async fn announced(etcd: &Etcd, drain_timeout: &str) -> (Backend, Sidekick) {
    let backend = Backend::start("a").await;
    let announcer = announce(&etcd.endpoint(), &backend);
    let announcer = announcer.args(["--drain-timeout", drain_timeout]).start();
    announcer.ready().await;
    (backend, announcer)
}

async fn draining(etcd: &Etcd) {
    until(PATIENCE, "the record to say that it drains", async || {
        let record = etcd.get(KEY).await.ok_or("it is gone")?.json();
        (record["state"] == "draining")
            .then_some(())
            .ok_or("it does not")
    })
    .await;
}

async fn registered(etcd: &Etcd) {
    says(
        &run(etcd, &["register", "website/a", "10.0.0.5:80"]).await,
        0,
        &[],
    );
}

#[tokio::test]
async fn whoever_leaves_waits_for_the_return_of_a_silent_pusher() {
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let (_backend, mut announcer) = announced(&etcd, NEVER).await;
    announcer.process().signal(Signal::TERM);
    announcer.process().line(SILENT).await;
    announcer
        .notified(&format!("STATUS=draining: {SILENT}"))
        .await;
    // It is back, and does not speak of the service yet.
    status(&etcd, "edge", json!({"applied": 0})).await;
    assert!(announcer.runs());
    assert!(etcd.get(KEY).await.is_some());
    applied(&etcd, "edge").await;
    says(
        &announcer.end(PATIENCE).await,
        0,
        &["is drained everywhere"],
    );
}

#[tokio::test]
async fn a_pusher_that_stays_silent_is_named_after_the_drain_timeout() {
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let (_backend, mut announcer) = announced(&etcd, "1s").await;
    let ended = announcer.leave().await;
    says(&ended, 0, &[&format!("is not drained after 1 s: {SILENT}")]);
    assert_eq!(etcd.get(KEY).await, None);

    registered(&etcd).await;
    let deregister = ["deregister", "website/a", "--drain-timeout", "1s"];
    says(&run(&etcd, &deregister).await, 0, &["deregistered", SILENT]);

    let gone = ["wait", "website/a", "--for", "gone", "--timeout", "1s"];
    says(&run(&etcd, &gone).await, 1, &[SILENT]);
    let live = run(&etcd, &[&gone[..], &["--live-only"]].concat()).await;
    says(&live, 0, &[]);
    let mut gone = command(&etcd, &gone[..4]).start();
    gone.process().line(SILENT).await;
    applied(&etcd, "edge").await;
    says(&gone.end(PATIENCE).await, 0, &[]);
}

#[tokio::test]
async fn who_waits_for_a_silent_pusher_waits_no_longer_when_that_is_retired() {
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let (_backend, mut announcer) = announced(&etcd, NEVER).await;
    says(
        &run(&etcd, &["register", "website/b", "10.0.0.5:80"]).await,
        0,
        &[],
    );
    let line = ["deregister", "website/b", "--drain-timeout", NEVER];
    let mut deregister = command(&etcd, &line).start();
    let line = ["wait", "website", "--for", "gone", "--timeout", NEVER];
    let mut gone = command(&etcd, &line).start();
    announcer.terminate();
    announcer.process().line(SILENT).await;
    let waits = "waiting for edge (silent)";
    deregister.process().line(waits).await;
    gone.process().line("still there: ").await;
    says(
        &run(&etcd, &["push", "--retire", "--id", "edge"]).await,
        0,
        &["edge is retired"],
    );
    let left = announcer.end(PATIENCE).await;
    says(&left, 0, &["no live pusher routes website"]);
    assert!(
        !left.output.contains("drained everywhere"),
        "{}",
        left.output
    );
    let said = "deregistered website/b; no live pusher routes website";
    says(&deregister.end(PATIENCE).await, 0, &[said]);
    says(&gone.end(PATIENCE).await, 0, &[]);
}

#[tokio::test]
async fn what_was_deleted_without_a_word_is_not_gone_before_a_pusher_that_was_frozen_has_applied_that()
 {
    for ttl in ["60s", "2s"] {
        let harness = Harness::start().await;
        let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
        for backend in [&a, &b] {
            let address = backend.address().to_string();
            harness.etcd.put(&key(backend), address).await;
        }
        let pusher = harness.push().args(["--ttl", ttl, "--hold", "0s"]).start();
        harness.routed(&[&a, &b]).await;
        harness.applied().await;
        pusher.process().signal(Signal::STOP);
        if ttl == "2s" {
            until(PATIENCE, "the end of its lease", async || {
                harness.etcd.list("/sidekick/pushers/").await.is_empty()
            })
            .await;
        }
        harness.etcd.delete(&key(&a)).await;
        let gone = ["wait", "website/a", "--for", "gone", "--timeout"];
        let ended = run(&harness.etcd, &[&gone[..], &["1s"]].concat()).await;
        let missing = match ttl {
            "60s" => "not yet applied by edge",
            _ => SILENT,
        };
        says(&ended, 1, &[missing]);
        let mut waiting = command(&harness.etcd, &[&gone[..], &[NEVER]].concat()).start();
        waiting.process().line(missing).await;
        pusher.process().signal(Signal::CONT);
        says(&waiting.end(PATIENCE).await, 0, &[]);
        harness.routed(&[&b]).await;
    }
}

#[tokio::test]
async fn what_was_deleted_long_ago_is_gone_though_etcd_has_compacted_that() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    applied(&etcd, "edge").await;
    etcd.delete(KEY).await;
    let gone = ["wait", "website/a", "--for", "gone", "--timeout", "1s"];
    says(&run(&etcd, &gone).await, 1, &["not yet applied by edge"]);
    // From 3.4.36 and 3.5.18 on, etcd tells the newest deletion also when all before it is compacted.
    etcd.put("/services/other/a", "10.0.0.6:80").await;
    etcd.compact().await;
    says(&run(&etcd, &gone).await, 0, &[]);
}

#[tokio::test]
async fn a_record_that_goes_by_itself_while_it_drains_leaves_a_silent_load_balancer_all_the_same() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let line = ["deregister", "website/a", "--drain-timeout", "3s"];
    let mut deregister = command(&etcd, &line).start();
    draining(&etcd).await;
    etcd.delete(KEY).await;
    says(&deregister.end(PATIENCE).await, 0, &[SILENT]);
}

#[tokio::test]
async fn a_record_that_somebody_deletes_while_it_drains_is_let_go_by_nobody_who_has_not_applied_that()
 {
    let harness = Harness::start().await;
    let backend = Backend::start("a").await;
    let (address, name) = (backend.address().to_string(), "website/a");
    let register = ["register", name, &address, "--allow-loopback"];
    says(&run(&harness.etcd, &register).await, 0, &[]);
    let pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    harness.applied().await;
    pusher.process().signal(Signal::STOP);
    let line = ["deregister", name, "--drain-timeout", "2s"];
    let mut deregister = command(&harness.etcd, &line).start();
    draining(&harness.etcd).await;
    harness.etcd.delete(KEY).await;
    says(
        &deregister.end(PATIENCE).await,
        0,
        &["deregistered", "not yet applied by edge"],
    );
}

#[tokio::test]
async fn what_a_pusher_has_no_room_to_tell_is_unknown_and_neither_gone_nor_held() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    let full = async |revision: i64| {
        let website = json!({
            "applied": revision, "overrides": revision, "still_routed": {}, "still_routed_more": 3,
        });
        status(&etcd, "edge", website).await;
    };
    applied(&etcd, "edge").await;
    let hold = ["hold", "website/a", "--for", "1m", "--reason", "disk"];
    let mut hold = command(&etcd, &hold).start();
    let held = until(PATIENCE, "the hold", async || {
        etcd.get("/sidekick/holds/website/a").await
    })
    .await;
    full(held.mod_revision).await;
    says(&hold.end(PATIENCE).await, 1, &["edge", "more to tell"]);

    etcd.delete(KEY).await;
    full(etcd.revision().await).await;
    let gone = |what| ["wait", what, "--for", "gone", "--timeout", "1s"];
    for what in ["website/a", "website"] {
        let ended = run(&etcd, &gone(what)).await;
        says(&ended, 1, &["edge", "more to tell"]);
    }
    applied(&etcd, "edge").await;
    says(&run(&etcd, &gone("website/a")).await, 0, &[]);
}

#[tokio::test]
async fn a_live_pusher_that_does_not_speak_of_the_service_has_not_let_go() {
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let value = r#"{"services":{},"targets":{},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    etcd.put_for("/sidekick/pushers/edge", value, LEASE).await;
    let (_backend, mut announcer) = announced(&etcd, "1s").await;
    says(&announcer.leave().await, 0, &["is not drained", "edge"]);
}

#[tokio::test]
async fn load_balancers_of_others_and_those_that_live_pushers_feed_too_are_not_waited_for() {
    let etcd = Etcd::start().await;
    let target = "http://10.0.0.1/api";
    for (id, prefix, service) in [("far", "/other", "website"), ("shop", "/services", "shop")] {
        let key = format!("/sidekick/balancers/{id}");
        let value = balancer_of(prefix, service, target);
        etcd.put_for(&key, &value, LEASE).await;
    }
    // Nobody's: neither has a lease.
    let value = balancer_of("/services", "website", "http://10.0.0.9/api");
    etcd.put("/sidekick/balancers/forged", value).await;
    let value = r#"{"services":{"website":{"applied":1}},"targets":{},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    etcd.put("/sidekick/pushers/forged", value).await;
    let (_backend, mut announcer) = announced(&etcd, NEVER).await;
    says(
        &announcer.leave().await,
        0,
        &["nothing to wait for", "it has no lease"],
    );

    // Its successor has another name.
    balancer(&etcd, "old", target).await;
    balancer(&etcd, "new", target).await;
    status(&etcd, "new", json!({"applied": 1_000_000})).await;
    registered(&etcd).await;
    let deregister = ["deregister", "website/a", "--drain-timeout", NEVER];
    let mut deregister = command(&etcd, &deregister).start();
    deregister.process().line("waiting for new").await;
    applied(&etcd, "new").await;
    says(
        &deregister.end(PATIENCE).await,
        0,
        &["let go by 1 of 1 pushers"],
    );
}

#[tokio::test]
async fn what_stays_in_rotation_is_named_in_place_of_drained() {
    const WHY: &str = "record website/old names the same address";
    let still = |revision: i64| json!({"applied": revision, "still_routed": {"a": WHY}});
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    // From an earlier stay: it says nothing of this leaving.
    status(&etcd, "edge", still(1)).await;
    let (_backend, mut announcer) = announced(&etcd, NEVER).await;
    announcer.process().signal(Signal::TERM);
    draining(&etcd).await;
    assert!(announcer.runs());
    status(&etcd, "edge", still(etcd.revision().await)).await;
    let ended = announcer.end(PATIENCE).await;
    let said = format!("is not drained: still routed by edge: {WHY}");
    says(&ended, 0, &[&said]);
    assert!(
        !ended.output.contains("drained everywhere"),
        "{}",
        ended.output
    );

    registered(&etcd).await;
    let deregister = ["deregister", "website/a", "--drain-timeout", NEVER];
    let mut deregister = command(&etcd, &deregister).start();
    draining(&etcd).await;
    status(&etcd, "edge", still(etcd.revision().await)).await;
    let said = format!("but still routed by edge: {WHY}");
    says(&deregister.end(PATIENCE).await, 0, &[&said]);

    let gone = ["wait", "website/a", "--for", "gone", "--timeout", "1s"];
    let said = format!("website/a is still routed by edge: {WHY}");
    says(&run(&etcd, &gone).await, 1, &[&said]);
}

/// An announcer that is to be routed, as soon as it is announced.
async fn starting(etcd: &Etcd, drain_timeout: &str) -> (Backend, Sidekick) {
    let backend = Backend::start("a").await;
    let announcer = announce(&etcd.endpoint(), &backend)
        .args(["--ready", "routed", "--drain-timeout", drain_timeout])
        .args(["--fall", "2"])
        .start();
    until(PATIENCE, "the record", async || etcd.get(KEY).await).await;
    (backend, announcer)
}

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

fn is_ready(announcer: &Sidekick) -> bool {
    announcer.notifications().iter().any(|it| it == "READY=1")
}

#[tokio::test]
async fn a_start_goes_on_waiting_while_a_target_refuses_the_instance() {
    let etcd = Etcd::start().await;
    let (_backend, announcer) = starting(&etcd, NEVER).await;
    told(&announcer, "no live pusher routes website").await;
    let revision = etcd.revision().await;
    let refused = json!({"applied": revision, "not_routed": {"a": "nginx: no resolver"}});
    status(&etcd, "edge", refused).await;
    told(
        &announcer,
        "waiting to be routed: edge does not route it: nginx: no resolver",
    )
    .await;
    assert!(!is_ready(&announcer));
    let unlisted = json!({"applied": revision, "not_routed": {}, "not_routed_more": 1});
    status(&etcd, "edge", unlisted).await;
    told(&announcer, "more to tell than the 256 instances").await;
    assert!(!is_ready(&announcer));
    applied(&etcd, "edge").await;
    announcer.ready().await;
    until(PATIENCE, "a status without a reason", async || {
        let all = announcer.notifications();
        let last = all.iter().rev().find(|it| it.starts_with("STATUS="));
        let settled = last.is_some_and(|status| !status.contains("routed"));
        settled.then_some(()).ok_or(all)
    })
    .await;
}

#[tokio::test]
async fn a_start_is_over_when_only_a_hold_or_a_split_keeps_the_instance_out() {
    let etcd = Etcd::start().await;
    let (_backend, announcer) = starting(&etcd, NEVER).await;
    let held = json!({"applied": etcd.revision().await, "not_routed": {"a": "held: disk full"}});
    status(&etcd, "edge", held).await;
    announcer.ready().await;
    told(
        &announcer,
        "ready although edge does not route it: held: disk full",
    )
    .await;
}

#[tokio::test]
async fn a_start_waits_for_a_silent_pusher_no_longer_than_the_drain_timeout_and_names_it() {
    let etcd = Etcd::start().await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let (_backend, announcer) = starting(&etcd, "3s").await;
    applied(&etcd, "other").await;
    told(&announcer, &format!("waiting to be routed: {UNAWARE}")).await;
    announcer.ready().await;
    told(&announcer, &format!("ready although {UNAWARE}")).await;
}

#[tokio::test]
async fn nothing_is_routed_whose_record_was_withdrawn_or_says_down() {
    for on_failure in ["withdraw", "mark"] {
        let etcd = Etcd::start().await;
        let backend = Backend::start("a").await;
        let announcer = announce(&etcd.endpoint(), &backend)
            .args([
                "--ready",
                "routed",
                "--fall",
                "2",
                "--on-failure",
                on_failure,
            ])
            .start();
        told(&announcer, "no live pusher").await;
        backend.set_health(503).await;
        told(&announcer, "STATUS=down").await;
        until(PATIENCE, "the record to take no traffic", async || {
            let record = etcd.get(KEY).await;
            record.is_none_or(|record| record.json()["state"] == "down")
        })
        .await;
        // It has applied all of that, and whatever was before.
        applied(&etcd, "edge").await;
        backend.set_health(200).await;
        told(&announcer, "not yet applied by edge").await;
        assert!(!is_ready(&announcer), "{on_failure}");
        applied(&etcd, "edge").await;
        announcer.ready().await;
    }
}

#[tokio::test]
async fn a_wait_for_routing_names_instance_pusher_and_reason() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    let routed = ["wait", "website/a", "--for", "routed", "--timeout", "1s"];
    let revision = etcd.revision().await;
    let refused = json!({"applied": revision, "not_routed": {"a": "nginx: zone is full"}});
    status(&etcd, "edge", refused).await;
    let said = "website/a is not routed by edge: nginx: zone is full";
    says(&run(&etcd, &routed).await, 1, &[said]);
    // Another instance is enough for one of the service.
    says(
        &run(&etcd, &["register", "website/b", "10.0.0.6:80"]).await,
        0,
        &[],
    );
    let revision = etcd.revision().await;
    let refused = json!({"applied": revision, "not_routed": {"a": "nginx: zone is full"}});
    status(&etcd, "edge", refused).await;
    let any = ["wait", "website", "--for", "routed", "--timeout", "1s"];
    says(&run(&etcd, &any).await, 0, &[]);
    let two = [&any[..], &["--count", "2"]].concat();
    says(&run(&etcd, &two).await, 1, &[said]);

    balancer(&etcd, "gone", "http://10.0.0.9/api").await;
    let ended = run(&etcd, &any).await;
    says(
        &ended,
        1,
        &[
            "pusher gone is silent, and its load balancer may not know of it yet",
            "sidekick push --retire --id gone",
        ],
    );
    let live = [&any[..], &["--live-only"]].concat();
    says(&run(&etcd, &live).await, 0, &[]);
}

#[tokio::test]
async fn a_hold_is_not_applied_by_a_load_balancer_whose_pusher_is_silent() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let hold = [
        "hold",
        "website/a",
        "--for",
        "1m",
        "--reason",
        "x",
        "--drain-timeout",
        "1s",
    ];
    says(&run(&etcd, &hold).await, 1, &[SILENT]);
    let release = ["hold", "website/a", "--release", "--drain-timeout", "1s"];
    says(&run(&etcd, &release).await, 1, &[UNAWARE]);
}

#[tokio::test]
async fn a_release_names_the_load_balancers_that_keep_their_servers_as_nobody_tells_them() {
    let etcd = Etcd::start().await;
    let release = ["release", "website", "--timeout", "1s"];
    says(&run(&etcd, &release).await, 1, &["nothing is protected"]);
    balancer(&etcd, "edge", "http://10.0.0.1/api").await;
    let ended = run(&etcd, &release).await;
    let said =
        "no live pusher: nothing was released; the load balancer of edge keeps its last servers";
    says(&ended, 1, &[said]);
    assert!(
        !ended.output.contains("nothing is protected"),
        "{}",
        ended.output
    );
    applied(&etcd, "other").await;
    let said = "edge: is silent, and its load balancer keeps its last servers";
    says(&run(&etcd, &release).await, 1, &[said]);
}

#[tokio::test]
async fn the_status_shows_silent_load_balancers_conflicts_and_keys_without_a_lease() {
    let etcd = Etcd::start().await;
    registered(&etcd).await;
    let live = json!({
        "services": {"website": {
            "applied": 1,
            "not_routed": {"a": "nginx: no resolver"},
            "still_routed": {"z": "the last that takes traffic"},
        }},
        "targets": {"nginx": {
            "ok": false,
            "errors": ["website: no resolver", "shop: zone is full"],
            "upstreams": {"website": {"wanted": 3, "has": 2, "protected": [
                {"server": "10.0.0.7:80", "why": "its record vanished", "until": "2026-01-02T03:04:05Z"},
            ]}},
        }},
        "prefix": "/services",
        "nonce": "n",
        "since": "2026-01-02T03:04:05Z",
    });
    for id in ["one", "two"] {
        let key = format!("/sidekick/pushers/{id}");
        etcd.put_for(&key, &live.to_string(), LEASE).await;
    }
    let target = "http://10.0.0.1/api";
    balancer(&etcd, "one", target).await;
    let staging = balancer_of("/staging", "website", target);
    etcd.put_for("/sidekick/balancers/two", &staging, LEASE)
        .await;
    balancer(&etcd, "gone", "http://10.0.0.9/api").await;
    balancer(&etcd, "renamed", target).await;
    etcd.put("/sidekick/pushers/forged", live.to_string()).await;
    etcd.put_for("/sidekick/pushers/a b", &live.to_string(), LEASE)
        .await;
    let text = run(&etcd, &["status"]).await.output;
    let has = |parts: &[&str]| {
        let found = text
            .lines()
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?}: {text}");
    };
    has(&[
        "one",
        "/services",
        "nginx",
        "failing",
        "website: no resolver",
    ]);
    has(&["shop: zone is full"]);
    has(&["one", "nginx", "website", "3", "2"]);
    has(&["one", "website/a", "not routed", "nginx: no resolver"]);
    has(&[
        "one",
        "website/z",
        "still routed",
        "the last that takes traffic",
    ]);
    has(&[
        "one",
        "website",
        "10.0.0.7:80",
        "its record vanished",
        "2026-01-02T03:04:05Z",
    ]);
    has(&[
        "gone",
        "website",
        "http://10.0.0.9/api",
        "may still send requests",
    ]);
    has(&["renamed", "one feeds the same upstreams"]);
    has(&["push --retire --id"]);
    has(&[target, "one follows /services", "two follows /staging"]);
    has(&["/sidekick/pushers/forged", "has no lease"]);
    has(&["/sidekick/pushers/a b", "no pusher's"]);
    let json = run(&etcd, &["status", "-o", "json"]).await.output;
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let pushers = lines.iter().filter(|line| line["pusher"].is_string());
    assert_eq!(pushers.count(), 2, "{json}");
    let find = |field: &str, value: &str| {
        let found = lines.iter().find(|line| line[field] == value);
        found.unwrap_or_else(|| panic!("no {field} {value}: {json}"))
    };
    assert_eq!(find("silent", "gone")["fed_by"], json!([]));
    assert_eq!(find("silent", "renamed")["fed_by"], json!(["one"]));
    assert_eq!(find("conflict", target)["prefixes"]["two"], "/staging");
    find("ignored", "/sidekick/pushers/forged");
    assert_eq!(
        find("pusher", "one")["targets"]["nginx"]["errors"][1],
        "shop: zone is full"
    );
}

#[tokio::test]
async fn a_silent_pusher_is_waited_for_though_another_feeds_its_target_but_another_upstream() {
    let (etcd, nginx) = tokio::join!(
        Etcd::start(),
        Settings::default().upstreams(&["website", "front"]).start()
    );
    let harness = Harness { etcd, nginx };
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    for (name, backend) in [("a", &a), ("b", &b)] {
        let address = backend.address().to_string();
        let register = ["register", &format!("website/{name}"), &address];
        let register = [&register[..], &["--allow-loopback"]].concat();
        says(&run(&harness.etcd, &register).await, 0, &[]);
    }
    let both = || vec![a.address().to_string(), b.address().to_string()];
    let mut pusher = harness.pushing().await;
    let front = Command::new("push").etcd(&harness.etcd).args([
        "--nginx",
        &harness.nginx.api_url(),
        "--upstream",
        "front=website",
        "--id",
        "front",
    ]);
    let _front = front.start();
    harness.nginx.routed("website", both()).await;
    harness.nginx.routed("front", both()).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    let line = ["deregister", "website/a", "--drain-timeout", "1s"];
    says(&run(&harness.etcd, &line).await, 0, &[SILENT]);
    let text = run(&harness.etcd, &["status"]).await.output;
    assert!(text.contains("may still send requests"), "{text}");

    // One that feeds the same upstream knows better.
    let same = harness.push().env("SIDEKICK_ID", "same").start();
    let name = "/sidekick/balancers/same";
    until(PATIENCE, "its key", async || harness.etcd.get(name).await).await;
    let line = ["deregister", "website/b", "--drain-timeout", NEVER];
    let ended = run(&harness.etcd, &line).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!ended.output.contains("silent"), "{}", ended.output);
    let text = run(&harness.etcd, &["status"]).await.output;
    assert!(
        text.contains("nothing: same feeds the same upstreams"),
        "{text}"
    );
    drop(same);
}
