//! What a pusher says about itself: who is routed and who is not, and which load balancers go on without it.

use std::fs;

use serde_json::{Value, json};

use super::config::Config;
use crate::support::{
    Backend, Command, Etcd, Harness, Kv, Nginx, PATIENCE, Sidekick, Signal, folder, push, until,
};

const BALANCER: &str = "/sidekick/balancers/edge";
const PUSHER: &str = "/sidekick/pushers/edge";

/// What the pusher says of the service `website`, once `enough` says that it is told.
async fn told(harness: &Harness, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    until(PATIENCE, what.to_owned(), async || {
        let status_record = harness.status_record().await.json();
        let service = status_record["services"]["website"].clone();
        match enough(&service) {
            true => Ok(service),
            false => Err(status_record),
        }
    })
    .await
}

fn up(backend: &Backend) -> String {
    let address = backend.address();
    format!(r#"{{"host":"{}","port":{}}}"#, address.ip(), address.port())
}

fn draining(backend: &Backend) -> String {
    let address = backend.address();
    let (host, port) = (address.ip(), address.port());
    format!(r#"{{"host":"{host}","port":{port},"state":"draining"}}"#)
}

#[tokio::test]
async fn who_is_refused_is_told_with_the_reason_and_holds_nothing_back() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.put("/services/website/b1", up(&backend)).await;
    let named = r#"{"host":"web.example","port":80}"#;
    let revision = harness.etcd.put("/services/website/b2", named).await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    let status = told(&harness, "the revision to be applied", |service| {
        service["applied"].as_i64() >= Some(revision)
    })
    .await;
    let reason = status["not_routed"]["b2"].as_str().unwrap_or_default();
    let named = format!("{}: ", harness.nginx.api_url());
    assert!(reason.starts_with(&named), "{status}");
    assert!(reason.contains("no resolver"), "{status}");
    assert_eq!(status["not_routed"].as_object().unwrap().len(), 1);
    let status_record = harness.status_record().await.json();
    let target = &status_record["targets"][&harness.nginx.api_url()];
    assert_eq!(target["ok"], false, "{status_record}");
    assert_eq!(target["errors"].as_array().unwrap().len(), 1);
    let upstream = &target["upstreams"]["website"];
    assert_eq!(
        (&upstream["wanted"], &upstream["has"]),
        (&2.into(), &1.into())
    );
    assert_eq!(status_record["prefix"], "/services");
    // The next record takes its place, and nothing is refused any more.
    harness.etcd.delete("/services/website/b2").await;
    told(&harness, "nobody to be refused", |service| {
        service["not_routed"] == serde_json::json!({})
    })
    .await;
}

#[tokio::test]
async fn who_is_held_or_weightless_is_told_and_takes_no_traffic() {
    let harness = Harness::start().await;
    let (b1, b2) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    harness.etcd.put("/services/website/b1", up(&b1)).await;
    harness.etcd.put("/services/website/b2", up(&b2)).await;
    let weightless = r#"{"host":"10.99.0.1","port":80,"weight":0}"#;
    harness.etcd.put("/services/website/b3", weightless).await;
    let _pusher = harness.pushing().await;
    let hold = r#"{"reason":"r","nonce":"n","since":"2026-01-02T03:04:05Z","until":"2099-01-02T03:04:05Z"}"#;
    harness.etcd.put("/sidekick/holds/website/b2", hold).await;
    let begins = |service: &Value, name: &str, with: &str| {
        let reason = service["not_routed"][name].as_str();
        reason.is_some_and(|reason| reason.starts_with(with))
    };
    told(&harness, "both to be told", |service| {
        begins(service, "b2", "held: ") && begins(service, "b3", "weightless: ")
    })
    .await;
    let answer = until(PATIENCE, "an answer", async || harness.nginx.who().await).await;
    assert_eq!(answer, "b1");
    harness.etcd.delete("/sidekick/holds/website/b2").await;
    let status = told(&harness, "the hold to end", |service| {
        service["not_routed"].get("b2").is_none()
    })
    .await;
    assert!(begins(&status, "b3", "weightless: "), "{status}");
}

#[tokio::test]
async fn who_leaves_and_stays_in_rotation_is_told_with_the_reason() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.put("/services/website/b1", up(&backend)).await;
    let _pusher = harness.pushing().await;
    harness.routed(&[&backend]).await;
    // The last server of the upstream.
    harness
        .etcd
        .put("/services/website/b1", draining(&backend))
        .await;
    let kept = told(&harness, "the last server to be told", |service| {
        service["still_routed"].get("b1").is_some()
    })
    .await;
    let reason = kept["still_routed"]["b1"].as_str().unwrap_or_default();
    assert!(reason.contains("min_servers"), "{kept}");
    // An old record of the same backend.
    harness
        .etcd
        .put("/services/website/old", backend.address().to_string())
        .await;
    told(&harness, "the other record to be told", |service| {
        let reason = service["still_routed"]["b1"].as_str();
        reason.is_some_and(|reason| reason.contains("the record of old"))
    })
    .await;
    // Its key is gone, and requests go there all the same.
    let before = harness.etcd.revision().await;
    harness.etcd.delete("/services/website/b1").await;
    let kept = told(&harness, "the deletion to be applied", |service| {
        service["applied"].as_i64() > Some(before)
    })
    .await;
    let reason = kept["still_routed"]["b1"].as_str().unwrap_or_default();
    assert!(reason.contains("the record of old"), "{kept}");
    let other = Backend::start("b2").await;
    harness.etcd.put("/services/website/b2", up(&other)).await;
    harness.etcd.delete("/services/website/old").await;
    told(&harness, "nobody to leave", |service| {
        service["still_routed"] == serde_json::json!({})
    })
    .await;
}

/// The key that names the load balancer.
async fn balancer(harness: &Harness) -> Kv {
    until(PATIENCE, "the key of the load balancer", async || {
        harness.etcd.get(BALANCER).await
    })
    .await
}

async fn no_status_record(harness: &Harness) {
    until(PATIENCE, "the status record to end", async || {
        harness.etcd.get(PUSHER).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_load_balancer_is_named_before_the_first_change_and_for_longer_than_its_pusher_lives() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    harness.etcd.put("/services/website/b1", up(&backend)).await;
    let once = harness.push().args(["--once"]).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    assert_eq!(
        harness.etcd.get(BALANCER).await,
        None,
        "--once writes nothing"
    );
    let mut pusher = harness.push().notify().start();
    pusher.ready().await;
    let key = balancer(&harness).await;
    let value = key.json();
    assert_eq!(value["prefix"], "/services");
    assert_eq!(value["services"], serde_json::json!(["website"]));
    // The loopback address of another machine is another place.
    let target = value["targets"][0].as_str().unwrap_or_default();
    let url = harness.nginx.api_url();
    let machine = target.strip_prefix(url.trim_end_matches('/'));
    assert!(machine.is_some_and(|on| on.starts_with(" on ")), "{value}");
    let mut leases = harness.etcd.client().await.lease_client();
    let lease = leases.time_to_live(key.lease, None).await.unwrap();
    assert_eq!(lease.granted_ttl(), 600);
    assert_eq!(pusher.leave().await.code, Some(0));
    no_status_record(&harness).await;
    assert_eq!(balancer(&harness).await, key, "nginx goes on routing");
    // The next one of this name takes it over.
    let mut next = harness
        .push()
        .args(["--forget-after", "20m"])
        .notify()
        .start();
    next.ready().await;
    let taken = balancer(&harness).await;
    assert_ne!(taken.json()["nonce"], key.json()["nonce"]);
    let lease = leases.time_to_live(taken.lease, None).await.unwrap();
    assert_eq!(lease.granted_ttl(), 1200);
    next.kill();
    assert_eq!(balancer(&harness).await, taken);
}

#[tokio::test]
async fn retiring_takes_both_keys_away_unless_the_pusher_runs() {
    let harness = Harness::start().await;
    let retire = |id: &str| {
        let retire = Command::new("push").etcd(&harness.etcd);
        retire.args(["--retire", "--id", id]).run()
    };
    let mut pusher = harness.push().notify().start();
    pusher.ready().await;
    let refused = retire("edge").await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(refused.output.contains("is running"), "{}", refused.output);
    balancer(&harness).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    no_status_record(&harness).await;
    let retired = retire("edge").await;
    assert_eq!(retired.code, Some(0), "{}", retired.output);
    assert_eq!(harness.etcd.get(BALANCER).await, None);
    let again = retire("edge").await;
    assert_eq!(again.code, Some(0), "{}", again.output);
    assert!(
        again.output.contains("there is no pusher edge"),
        "{}",
        again.output
    );
}

async fn retired(harness: &Harness) {
    let retire = Command::new("push").etcd(&harness.etcd);
    let ended = retire.args(["--retire", "--id", "edge"]).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

const LIVES: &str = "another pusher is running under the id edge";
const SILENT: &str = "the id edge last fed other targets";

#[tokio::test]
async fn a_pusher_of_the_same_id_with_other_targets_is_waited_for_and_never_deposed() {
    let harness = Harness::start().await;
    let (backend, elsewhere) = tokio::join!(Backend::start("b1"), Nginx::start());
    harness.etcd.put("/services/website/b1", up(&backend)).await;
    let mut first = harness.push().notify().start();
    first.ready().await;
    harness.routed(&[&backend]).await;
    let second = push(&harness.etcd.endpoint(), &elsewhere).notify().start();
    let waits = second.process().line(LIVES).await;
    assert!(waits.contains(&harness.nginx.api_url()), "{waits}");
    second.notified(&format!("STATUS=waiting: {LIVES}")).await;
    assert!(first.runs(), "it is deposed");
    assert_eq!(elsewhere.addresses("website").await, Vec::<String>::new());
    assert_eq!(first.leave().await.code, Some(0));
    // Its nginx goes on routing, and announcers are to know that.
    second.notified(&format!("STATUS=waiting: {SILENT}")).await;
    let said = second.process().line(SILENT).await;
    assert!(said.contains("sidekick push --retire --id edge"), "{said}");
    assert_eq!(elsewhere.addresses("website").await, Vec::<String>::new());
    retired(&harness).await;
    second.ready().await;
    elsewhere
        .routed("website", vec![backend.address().to_string()])
        .await;
}

#[tokio::test]
async fn a_pusher_of_the_same_id_with_other_targets_takes_nothing_over_while_the_first_restarts() {
    let harness = Harness::start().await;
    let (a, b, elsewhere) = tokio::join!(Backend::start("a"), Backend::start("b"), Nginx::start());
    let mut first = harness.push().notify().start();
    first.ready().await;
    let patient = |backend: &Backend| {
        let announcer = harness.announce(backend);
        announcer.args(["--drain-timeout", "10m"]).start()
    };
    let (mut leaving, staying) = (patient(&a), patient(&b));
    tokio::join!(leaving.ready(), staying.ready());
    harness.routed(&[&a, &b]).await;
    let second = push(&harness.etcd.endpoint(), &elsewhere).notify().start();
    second.process().line(LIVES).await;
    assert_eq!(first.leave().await.code, Some(0));
    second.process().line(SILENT).await;
    leaving.terminate();
    leaving.process().line("pusher edge is silent").await;
    let first = harness.push().notify().start();
    first.ready().await;
    let ended = leaving.end(PATIENCE).await;
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );
    harness.routed(&[&b]).await;
    assert_eq!(elsewhere.addresses("website").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_live_pusher_of_the_same_id_that_has_not_said_what_it_feeds_is_waited_for() {
    let harness = Harness::start().await;
    // Between the first of its keys and the second.
    let value = r#"{"services":{},"targets":{},"nonce":"other","since":"2026-01-02T03:04:05Z"}"#;
    harness.etcd.put_for(PUSHER, value, 600).await;
    let pusher = harness.push().notify().start();
    pusher
        .process()
        .line("has not yet published what it feeds")
        .await;
    let value = r#"{"prefix":"/services","services":[],"targets":["there"],"nonce":"other","since":"2026-01-02T03:04:05Z"}"#;
    harness.etcd.put_for(BALANCER, value, 600).await;
    pusher.process().line("feeds other targets (there)").await;
    assert_eq!(harness.status_record().await.json()["nonce"], "other");
    harness.etcd.delete(PUSHER).await;
    harness.etcd.delete(BALANCER).await;
    pusher.ready().await;
}

#[tokio::test]
async fn a_pusher_that_is_restarted_with_other_targets_goes_on_and_says_which_it_leaves_behind() {
    let (harness, more) = tokio::join!(Harness::start(), Nginx::start());
    let config = Config::new();
    let feeds = |all: &[&Nginx]| {
        let target = |nginx: &&Nginx| {
            let (name, api) = (nginx.api_address(), nginx.api_url());
            format!("[[nginx]]\nname = \"{name}\"\napi = \"{api}\"\n")
        };
        let targets: String = all.iter().map(target).collect();
        config.write(&format!("{targets}[[upstream]]\nname = \"website\"\n"));
    };
    feeds(&[&harness.nginx]);
    let mut pusher = config.push(&harness.etcd).start();
    pusher.ready().await;
    assert_eq!(pusher.leave().await.code, Some(0));
    feeds(&[&harness.nginx, &more]);
    let mut pusher = config.push(&harness.etcd).start();
    pusher.ready().await;
    assert_eq!(pusher.leave().await.code, Some(0));
    feeds(&[&more]);
    let pusher = config.push(&harness.etcd).start();
    let said = pusher.process().line(SILENT).await;
    assert!(said.contains(&harness.nginx.api_url()), "{said}");
    assert!(!said.contains(&more.api_url()), "{said}");
    assert!(
        said.contains("announcers no longer wait for them"),
        "{said}"
    );
    pusher.ready().await;
}

/// Each pusher's lag with `website`, as `status` shows it.
async fn lags(harness: &Harness) -> Vec<Value> {
    let status = Command::new("status").etcd(&harness.etcd);
    let ended = status.args(["--output", "json"]).run().await;
    let objects = ended.output.lines().filter(|line| line.starts_with('{'));
    let objects = objects.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lags = objects.map(|object| object["lag"]["website"].clone());
    lags.filter(|lag| !lag.is_null()).collect()
}

#[tokio::test]
async fn a_pusher_that_lacks_a_deletion_is_behind_and_the_newest_revision_is_one_for_all() {
    let harness = Harness::start().await;
    let mut last = 0;
    for (port, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let record = json!({"host": "10.0.0.1", "port": port, "version": "v1"});
        let key = format!("/services/website/{name}");
        last = harness.etcd.put(&key, record.to_string()).await;
    }
    let overrides = [
        ("/sidekick/holds/website/a", r#"{"reason":"disk"}"#),
        ("/sidekick/host-holds/10.0.0.9", r#"{"reason":"disk"}"#),
        ("/sidekick/splits/website", r#"{"weights":{"v1":1}}"#),
    ];
    for (key, value) in overrides {
        harness.etcd.put(key, value).await;
    }
    let frozen = harness.pushing().await;
    let other = harness.push().env("SIDEKICK_ID", "edge-2").start();
    let up_to_date =
        |lag: &Value| lag["applied"].as_i64() >= lag["newest"].as_i64() && lag["changes"] == 0;
    let all_up_to_date = async || {
        let lags = lags(&harness).await;
        let all = lags.len() == 2 && lags.iter().all(up_to_date);
        if all { Ok(()) } else { Err(lags) }
    };
    until(PATIENCE, "both to be up to date", all_up_to_date).await;
    let before = lags(&harness).await;
    assert!(before[0]["newest"].as_i64() >= Some(last), "{before:?}");

    frozen.process().signal(Signal::STOP);
    assert!(harness.etcd.delete("/services/website/c").await);
    let deleted = harness.etcd.revision().await;
    for (number, deletes) in ["", overrides[0].0, overrides[1].0, overrides[2].0]
        .into_iter()
        .enumerate()
    {
        if !deletes.is_empty() {
            assert!(harness.etcd.delete(deletes).await);
        }
        until(PATIENCE, "only the frozen one to be behind", async || {
            let lags = lags(&harness).await;
            let [first, second] = &lags[..] else {
                return Err(lags);
            };
            let newest = [first, second].map(|lag| lag["newest"].as_i64());
            assert_eq!(newest, [Some(deleted); 2], "{lags:?}");
            assert_eq!(first["changes"], number + 1, "{lags:?}");
            assert!(first["applied"].as_i64() < Some(deleted), "{lags:?}");
            if up_to_date(second) {
                Ok(())
            } else {
                Err(lags)
            }
        })
        .await;
    }
    // What came and went was a change too.
    harness.etcd.put("/services/website/d", "10.0.0.1:4").await;
    assert!(harness.etcd.delete("/services/website/d").await);
    assert_eq!(lags(&harness).await[0]["changes"], 5);
    // What is compacted away is told by nobody.
    harness.etcd.compact().await;
    assert_eq!(lags(&harness).await[0]["changes"], 0);
    frozen.process().signal(Signal::CONT);
    until(PATIENCE, "both to be up to date", all_up_to_date).await;
    drop(other);
}

#[tokio::test]
async fn a_deposed_pusher_says_which_pusher_has_its_id_now() {
    let harness = Harness::start().await;
    let mut first = harness.push().notify().start();
    first.ready().await;
    let second = harness.push().notify().start();
    second.ready().await;
    let ended = first.end(PATIENCE).await;
    assert_eq!(ended.code, Some(75), "{}", ended.output);
    let who = format!("another pusher of {} since ", harness.nginx.api_url());
    assert!(ended.output.contains(&who), "{}", ended.output);
}

#[tokio::test]
async fn two_pushers_of_different_settings_on_one_nginx_are_told_of_each_other() {
    let harness = Harness::start().await;
    let (b1, b2) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    harness.etcd.put("/services/website/b1", up(&b1)).await;
    harness.etcd.put("/elsewhere/website/b2", up(&b2)).await;
    let start = |id: &str, prefix: &str| -> Sidekick {
        let push = harness.push().env("SIDEKICK_ID", id);
        let push = push.args(["--prefix", prefix, "--resync", "1s", "--hold", "0s"]);
        push.named(id).start()
    };
    let (one, other) = (start("edge-1", "/services"), start("edge-2", "/elsewhere"));
    for (pusher, named) in [(&one, "edge-2"), (&other, "edge-1")] {
        let said = pusher.process().line("keeps undoing the changes").await;
        assert!(
            said.contains(&format!("probably pusher {named},")),
            "{said}"
        );
    }
    until(PATIENCE, "the status to say so", async || {
        let status = harness
            .etcd
            .get("/sidekick/pushers/edge-1")
            .await
            .unwrap()
            .json();
        let errors = status["targets"][&harness.nginx.api_url()]["errors"].to_string();
        let told = errors.contains("keeps undoing the changes") && errors.contains("edge-2");
        if told { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn a_slow_check_that_fails_again_and_again_is_one_trouble_and_no_recovery() {
    let (etcd, config, folder) = (Etcd::start().await, Config::new(), folder());
    let place = folder.path().to_str().expect("our own name");
    // Slower than a look waits for it.
    let check = folder.path().join("check");
    let script = format!("echo x >> {place}/checks; sleep 0.4; echo it is wrong >&2; exit 1\n");
    fs::write(&check, script).expect("our own folder");
    config.write(&format!(
        "[[nginx]]\nname = \"edge\"\nfile = \"{place}/website.conf\"\ncheck = \"sh {place}/check\"\n\
         reload = \"true\"\npid = \"{place}/pid\"\n[[upstream]]\nname = \"website\"\n"
    ));
    let backend = Backend::start("b1").await;
    etcd.put("/services/website/b1", up(&backend)).await;
    let pusher = config.push(&etcd).start();
    pusher.process().line("cannot apply the records").await;
    let errors = async || {
        let status_record = etcd.get(PUSHER).await?.json();
        let errors = status_record["targets"]["edge"]["errors"].to_string();
        errors.contains("it is wrong").then_some(())
    };
    until(PATIENCE, "the trouble to be told", &errors).await;
    let checks = || fs::read_to_string(folder.path().join("checks")).unwrap_or_default();
    let before = checks().len();
    until(PATIENCE, "several more attempts", async || {
        assert_eq!(errors().await, Some(()), "it is no trouble any more");
        let more = checks().len() - before;
        if more >= 16 { Ok(()) } else { Err(more) }
    })
    .await;
    let output = pusher.process().output();
    assert!(!output.contains("works again"), "{output}");
}
