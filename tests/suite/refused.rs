//! A newcomer that nginx refuses is no server: what takes traffic meanwhile is the last one, and protected as such.

use etcd_client::{Txn, TxnOp};
use serde_json::Value;
use sidekick::target::Layer;

use super::conf_file_others::push_toml;
use super::keeping::{FOR_LONG, announce_by_hand, kept, put};
use crate::support::{
    Backend, Command, Etcd, FileNginx, Harness, Nginx, PATIENCE, Settings, Sidekick, key, until,
};

/// A newcomer by name: nginx is not told a resolver, so it refuses every name.
const NEWCOMER: &str = r#"{"host":"web.example","port":80}"#;
const NEWCOMERS_KEY: &str = "/services/website/new";

/// What the pusher says of the service `website`, once `enough` says that it is told.
async fn told(etcd: &Etcd, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    until(PATIENCE, what.to_owned(), async || {
        let status_record = etcd.get("/sidekick/pushers/edge").await;
        let status_record = status_record.ok_or(Value::Null)?.json();
        let service = status_record["services"]["website"].clone();
        match enough(&service) {
            true => Ok(service),
            false => Err(status_record),
        }
    })
    .await
}

/// Waits until the pusher says that nginx refuses this instance.
async fn refused(etcd: &Etcd, instance: &str) {
    told(etcd, "the newcomer to be refused", |service| {
        let reason = service["not_routed"][instance].as_str();
        reason.is_some_and(|reason| reason.contains("no resolver"))
    })
    .await;
}

async fn still_routed(etcd: &Etcd, instance: &str) {
    let what = format!("{instance} to be still routed");
    told(etcd, &what, |service| {
        service["still_routed"].get(instance).is_some()
    })
    .await;
}

/// The record gives notice, and is gone.
async fn leave(etcd: &Etcd, backend: &Backend) {
    let address = backend.address();
    let (host, port) = (address.ip(), address.port());
    let draining = format!(r#"{{"host":"{host}","port":{port},"state":"draining"}}"#);
    etcd.put(&key(backend), draining).await;
    etcd.delete(&key(backend)).await;
}

/// These records go and these come, all at one revision.
async fn exchange(etcd: &Etcd, gone: &[&Backend], new: &[&str]) {
    let gone = gone.iter().map(|backend| TxnOp::delete(key(backend), None));
    let new = new.iter().map(|name| {
        let record = format!(r#"{{"host":"{name}.example","port":80}}"#);
        TxnOp::put(format!("/services/website/{name}"), record, None)
    });
    let txn = Txn::new().and_then(gone.chain(new).collect::<Vec<_>>());
    let mut client = etcd.client().await;
    client.txn(txn).await.expect("etcd answers");
}

async fn wait_for_gone(etcd: &Etcd, instance: &str) -> crate::support::Ended {
    let wait = ["--for", "gone", "--timeout", "1s"];
    let wait = Command::new("wait").etcd(etcd).args([instance]).args(wait);
    wait.run().await
}

fn pusher(harness: &Harness) -> Sidekick {
    harness
        .push()
        .args(["--resync", "1s"])
        .args(FOR_LONG)
        .start()
}

#[tokio::test]
async fn the_last_real_server_outlives_its_record_and_a_restart_while_the_newcomer_is_refused() {
    let mut harness = Harness::start().await;
    let backends = put(&harness, 1).await;
    let last = &backends[0];
    let pusher = pusher(&harness);
    harness.routed(&[last]).await;
    harness.etcd.put(NEWCOMERS_KEY, NEWCOMER).await;
    refused(&harness.etcd, "new").await;
    leave(&harness.etcd, last).await;
    pusher
        .process()
        .line("the last servers are protected")
        .await;
    kept(&harness, "edge", 1, 0).await;
    still_routed(&harness.etcd, "b1").await;
    let ended = wait_for_gone(&harness.etcd, "website/b1").await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let said = "website/b1 is still routed by edge";
    assert!(ended.output.contains(said), "{}", ended.output);

    harness.nginx.restart().await;
    harness.routed(&[last]).await;
    assert_eq!(harness.nginx.who().await, Ok("b1".to_owned()));

    // Once somebody serves in its place, it goes.
    let next = Backend::start("new").await;
    announce_by_hand(&harness, &next).await;
    harness.routed(&[&next]).await;
    kept(&harness, "edge", 0, 0).await;
    let ended = wait_for_gone(&harness.etcd, "website/b1").await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn the_last_real_server_stays_when_its_record_goes_in_the_moment_the_newcomer_comes() {
    let mut harness = Harness::start().await;
    let backends = put(&harness, 1).await;
    let last = &backends[0];
    let _pusher = pusher(&harness);
    harness.routed(&[last]).await;
    harness.applied().await;
    exchange(&harness.etcd, &[last], &["new"]).await;
    refused(&harness.etcd, "new").await;
    kept(&harness, "edge", 0, 1).await;
    still_routed(&harness.etcd, "b1").await;
    harness.nginx.restart().await;
    harness.routed(&[last]).await;
}

#[tokio::test]
async fn the_address_of_the_last_real_server_is_another_services_at_once_though_the_newcomer_is_refused()
 {
    let etcd = Etcd::start().await;
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    let harness = Harness { etcd, nginx };
    let backends = put(&harness, 1).await;
    let last = &backends[0];
    let push = harness
        .push()
        .args(["--upstream", "shop", "--resync", "1s"]);
    let _pusher = push.args(FOR_LONG).start();
    harness.routed(&[last]).await;
    harness.etcd.put(NEWCOMERS_KEY, NEWCOMER).await;
    refused(&harness.etcd, "new").await;
    leave(&harness.etcd, last).await;
    still_routed(&harness.etcd, "b1").await;
    let address = last.address().to_string();
    harness.etcd.put("/services/shop/s1", address.clone()).await;
    harness.routed(&[]).await;
    harness.nginx.routed("shop", vec![address]).await;
}

#[tokio::test]
async fn newcomers_that_are_refused_do_not_take_the_place_of_what_vanished() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let [a, b, c] = &backends[..] else {
        panic!("three backends")
    };
    let pusher = pusher(&harness);
    harness.routed(&[a, b, c]).await;
    harness.applied().await;
    exchange(&harness.etcd, &[a, b, c], &["new1", "new2", "new3"]).await;
    pusher.process().line("vanished at once").await;
    refused(&harness.etcd, "new3").await;
    harness.applied().await;
    harness.routed(&[a, b, c]).await;
    kept(&harness, "edge", 0, 3).await;
}

#[tokio::test]
async fn newcomers_that_are_taken_do_and_that_is_no_news() {
    let harness = Harness::start().await;
    let backends = put(&harness, 3).await;
    let [a, b, c] = &backends[..] else {
        panic!("three backends")
    };
    let pusher = pusher(&harness);
    harness.routed(&[a, b, c]).await;
    harness.applied().await;
    let new = Backend::start("new").await;
    let record = TxnOp::put(key(&new), new.address().to_string(), None);
    let gone = TxnOp::delete(key(a), None);
    let goes = TxnOp::delete(key(b), None);
    let txn = Txn::new().and_then(vec![gone, goes, record]);
    harness
        .etcd
        .client()
        .await
        .txn(txn)
        .await
        .expect("etcd answers");
    harness.routed(&[c, &new]).await;
    harness.applied().await;
    let output = pusher.process().output();
    assert!(!output.contains("vanished at once"), "{output}");
}

#[tokio::test]
async fn a_newcomer_that_never_served_is_not_protected_when_its_record_goes() {
    let harness = Harness::start().await;
    let pusher = pusher(&harness);
    harness.etcd.put(NEWCOMERS_KEY, NEWCOMER).await;
    refused(&harness.etcd, "new").await;
    let before = harness.etcd.revision().await;
    assert!(harness.etcd.delete(NEWCOMERS_KEY).await, "it was there");
    told(&harness.etcd, "its end to be applied", |service| {
        service["applied"].as_i64() > Some(before)
    })
    .await;
    kept(&harness, "edge", 0, 0).await;
    let output = pusher.process().output();
    assert!(!output.contains("kept"), "{output}");
}

/// One upstream of two targets: a name is refused by one nginx, which has no resolver, and taken by the other, which asks the
/// machine.
#[tokio::test]
async fn each_target_keeps_the_last_server_only_where_the_newcomer_is_refused() {
    let (etcd, api) = tokio::join!(Etcd::start(), Nginx::start());
    let file = FileNginx::start(Layer::Http, &["website"]).await;
    let config = push_toml(&file, "");
    let text = std::fs::read_to_string(&config).expect("our own file");
    let more = format!("\n[[nginx]]\nname = \"api\"\napi = \"{}\"\n", api.api_url());
    std::fs::write(&config, text + &more).expect("our own file");
    let (last, next) = tokio::join!(Backend::start("b1"), Backend::start("new"));
    etcd.put(&key(&last), last.address().to_string()).await;
    let push = Command::new("push")
        .etcd(&etcd)
        .args(["--config", &config, "--id", "edge"]);
    let _pusher = push.start();
    let address = last.address().to_string();
    api.routed("website", vec![address.clone()]).await;
    let record = format!(r#"{{"host":"localhost","port":{}}}"#, next.address().port());
    etcd.put("/services/website/new", record).await;
    refused(&etcd, "new").await;
    let has = async |text: &str, has: bool| {
        let what = format!("the file to have {text}: {has}");
        until(PATIENCE, what, async || {
            let file = file.text();
            (file.contains(text) == has).then_some(()).ok_or(file)
        })
        .await;
    };
    has("localhost", true).await;
    has(&address, true).await;
    leave(&etcd, &last).await;
    has(&address, false).await;
    api.routed("website", vec![address]).await;
    still_routed(&etcd, "b1").await;
    until(PATIENCE, "one target to protect it", async || {
        let status_record = etcd.get("/sidekick/pushers/edge").await;
        let status_record = status_record.ok_or(Value::Null)?.json();
        let protected = |target: &str| {
            let upstream = &status_record["targets"][target]["upstreams"]["website"];
            let protected = upstream["protected"].as_array().map_or(0, Vec::len);
            (
                protected,
                upstream["wanted"].clone(),
                upstream["has"].clone(),
            )
        };
        let told = (protected("api"), protected("file"));
        // The newcomer is wanted there too.
        match told == ((1, 2.into(), 1.into()), (0, 1.into(), 1.into())) {
            true => Ok(()),
            false => Err(status_record),
        }
    })
    .await;
}
