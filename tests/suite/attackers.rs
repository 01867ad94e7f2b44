//! What somebody can do who has a right in etcd, or an nginx, that he should not have. `examples/SECURITY.md` names these tests.

use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions, Txn, TxnOp};
use sidekick::target::Layer;
use tokio::time::Instant;

use super::conf_file::who;
use super::conf_file_others::push_toml;
use crate::support::{
    Backend, Command, Etcd, FileNginx, Harness, PASSWORD, PATIENCE, Settings, Sidekick, Signal,
    as_user, command, free_port, key, procfs, request, send, until,
};

/// Of one instance and one pusher.
const SCOPE: &[&str] = &["website/b1", "--id", "edge"];

const ANNOUNCE: &str = "sidekick-announce";
const PUSH: &str = "sidekick-push";
const VIEW: &str = "sidekick-view";
const OPERATE: &str = "sidekick-operate";

/// etcd's own answer that a right is missing.
fn is_denied<T: Debug>(answer: Result<T, etcd_client::Error>) -> bool {
    match answer {
        Ok(_) => false,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("permission denied"), "{text}");
            true
        }
    }
}

#[tokio::test]
async fn who_has_no_right_reads_nothing_writes_nothing_and_ends_no_lease() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SCOPE).await;
    harness.etcd.add_user_with("nobody", &[]).await;
    let backend = Backend::start("b1").await;
    let announcer = as_user(harness.announce(&backend), ANNOUNCE).start();
    announcer.ready().await;
    let record = harness.record(&backend).await.expect("it is announced");
    let mut nobody = harness.etcd.client_of("nobody").await;
    assert!(is_denied(nobody.get(key(&backend), None).await));
    let all = GetOptions::new().with_all_keys();
    assert!(is_denied(nobody.get("", Some(all)).await));
    assert!(is_denied(nobody.put(key(&backend), "x", None).await));
    assert!(is_denied(nobody.delete(key(&backend), None).await));
    assert!(is_denied(nobody.lease_revoke(record.lease).await));
    assert_eq!(harness.record(&backend).await, Some(record));
}

#[tokio::test]
async fn who_has_no_right_renews_the_leases_of_others_unless_etcd_checks_that() {
    let mut harness = Harness::start().await;
    let lease = harness.etcd.put_for("/services/website/b1", "x", 600).await;
    harness.etcd.require_users().await;
    harness.etcd.add_user_with("nobody", &[]).await;
    let mut nobody = harness.etcd.client_of("nobody").await;
    let renewed = nobody.lease_keep_alive(lease).await;
    // Debian's 3.5.16 does not yet.
    let checks = harness.etcd.version().await >= [3, 5, 30];
    assert_eq!(is_denied(renewed), checks);
}

#[tokio::test]
async fn who_ties_a_key_of_his_own_to_the_lease_of_a_record_does_not_keep_that() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SCOPE).await;
    let rights = ["readwrite /other"];
    harness.etcd.add_user_with("other", &rights).await;
    let backend = Backend::start("b1").await;
    let mut announcer = as_user(harness.announce(&backend), ANNOUNCE).start();
    announcer.ready().await;
    let record = harness.record(&backend).await.expect("it is announced");
    let mut other = harness.etcd.client_of("other").await;
    let tied = PutOptions::new().with_lease(record.lease);
    assert!(is_denied(
        other.put("/other", "x", Some(tied.clone())).await
    ));
    // Before 3.5.30 nobody looks whose lease it is, in a transaction.
    let tie = Txn::new().and_then([TxnOp::put("/other", "x", Some(tied))]);
    let checks = harness.etcd.version().await >= [3, 5, 30];
    assert_eq!(is_denied(other.txn(tie).await), checks);
    let left = announcer.leave().await;
    assert_eq!(left.code, Some(0), "{}", left.output);
    assert!(!left.output.contains("lacks the right"), "{}", left.output);
    assert_eq!(harness.record(&backend).await, None);
}

/// Keys, and the roles of one instance and one pusher that may write them.
const WRITERS: [(&str, Option<&str>); 13] = [
    ("/services/website/b1", Some(ANNOUNCE)),
    ("/services/website/b2", None),
    ("/services/other/b1", None),
    ("/sidekick/pushers/edge", Some(PUSH)),
    ("/sidekick/pushers/other", None),
    ("/sidekick/balancers/edge", Some(PUSH)),
    ("/sidekick/splits/website", Some(OPERATE)),
    ("/sidekick/splits/other", None),
    ("/sidekick/holds/website/b1", Some(OPERATE)),
    ("/sidekick/service-holds/website", Some(OPERATE)),
    ("/sidekick/host-holds/10.0.0.5", None),
    ("/sidekick/releases/website", Some(OPERATE)),
    ("/vulcand/backends/website/backend", None),
];

#[tokio::test]
async fn each_role_writes_its_own_keys_and_no_others() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SCOPE).await;
    for user in [ANNOUNCE, PUSH, VIEW, OPERATE] {
        let mut client = harness.etcd.client_of(user).await;
        for (key, writer) in WRITERS {
            let may = writer == Some(user);
            assert_eq!(
                !is_denied(client.put(key, "x", None).await),
                may,
                "{user}: {key}"
            );
            assert_eq!(
                !is_denied(client.delete(key, None).await),
                may,
                "{user}: {key}"
            );
        }
    }
}

#[tokio::test]
async fn who_announces_reads_only_its_own_record_and_the_pushers() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SCOPE).await;
    let mut client = harness.etcd.client_of(ANNOUNCE).await;
    for (key, _) in WRITERS {
        let own = [
            "/services/website/b1",
            "/sidekick/pushers/",
            "/sidekick/balancers/",
        ];
        let may = own.iter().any(|own| key.starts_with(own));
        assert_eq!(!is_denied(client.get(key, None).await), may, "{key}");
    }
}

/// What somebody writes as the pusher edge, and why those who leave then wait: it applies nothing, or it is silent.
const FORGED: [(&str, &str, &str); 2] = [
    (
        "/sidekick/pushers/edge",
        r#"{"services":{"website":{"applied":0,"overrides":0,"not_routed":{},"still_routed":{}}},"targets":{},"prefix":"/services","nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        "not yet applied by edge",
    ),
    (
        "/sidekick/balancers/edge",
        r#"{"prefix":"/services","services":["website"],"targets":["http://10.0.0.1:8080/api"],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        "pusher edge is silent",
    ),
];

/// Later than a drain timeout of three seconds, whatever else the machine does, and sooner than the default of ten.
const LATEST: Duration = Duration::from_secs(9);

#[tokio::test]
async fn who_writes_a_pushers_keys_keeps_those_who_leave_waiting_for_the_drain_timeout_at_most() {
    let mut harness = Harness::start().await;
    harness.etcd.require_roles(SCOPE).await;
    let backend = Backend::start("b1").await;
    for (key, forged, why) in FORGED {
        let mut attacker = harness.etcd.client_of(PUSH).await;
        let lease = attacker.lease_grant(600, None).await.expect("a lease").id();
        let bound = PutOptions::new().with_lease(lease);
        let written = attacker.put(key, forged, Some(bound)).await;
        written.expect("a pusher writes its own keys");
        let announcer = harness.announce(&backend).args(["--drain-timeout", "3s"]);
        let mut announcer = as_user(announcer, ANNOUNCE).start();
        announcer.ready().await;
        let start = Instant::now();
        let ended = announcer.leave().await;
        let took = start.elapsed();
        assert_eq!(ended.code, Some(0), "{key}: {}", ended.output);
        assert!(ended.output.contains(why), "{key}: {}", ended.output);
        assert!(took >= Duration::from_secs(3), "{key}: {took:?}");
        assert!(took < LATEST, "{key}: {took:?}");
        assert_eq!(harness.record(&backend).await, None);
        harness.etcd.delete(key).await;
    }
}

async fn put(client: &mut Client, key: &str, backend: &Backend) {
    let written = client.put(key, backend.address().to_string(), None).await;
    written.expect("etcd takes it");
}

#[tokio::test]
async fn who_writes_the_records_of_a_service_moves_its_traffic_and_no_other() {
    let settings = Settings::default().upstreams(&["website", "other"]);
    let (etcd, nginx) = tokio::join!(Etcd::start(), settings.start());
    let mut harness = Harness { etcd, nginx };
    let (good, evil) = tokio::join!(Backend::start("good"), Backend::start("evil"));
    let mut root = harness.etcd.client().await;
    put(&mut root, "/services/website/b1", &good).await;
    put(&mut root, "/services/other/b1", &good).await;
    harness.etcd.require_roles(&["website"]).await;
    harness
        .etcd
        .add_user_with(
            "edge",
            &[
                "--prefix=true read /services/",
                "--prefix=true readwrite /sidekick/",
            ],
        )
        .await;
    let pusher = harness.push().args(["--upstream", "other"]);
    let _pusher = as_user(pusher, "edge").start();
    let at = |backend: &Backend| vec![backend.address().to_string()];
    harness.nginx.routed("other", at(&good)).await;
    let mut attacker = harness.etcd.client_of(ANNOUNCE).await;
    put(&mut attacker, "/services/website/b1", &evil).await;
    harness.nginx.routed("website", at(&evil)).await;
    // As instances of the other service, as far as names can say it.
    for key in [
        "/services/website/../other/b1",
        "/services/website/other/b1",
    ] {
        put(&mut attacker, key, &evil).await;
    }
    harness.applied().await;
    assert_eq!(harness.nginx.addresses("other").await, at(&good));
    assert_eq!(harness.nginx.addresses("website").await, at(&evil));
}

#[tokio::test]
async fn who_may_hold_and_release_empties_an_upstream() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let record = backend.address().to_string();
    harness.etcd.put(&key(&backend), record).await;
    harness
        .etcd
        .require_roles(&["website", "--id", "edge"])
        .await;
    let _pusher = as_user(harness.push(), PUSH).start();
    harness.routed(&[&backend]).await;
    let operate = async |line: &str| {
        let command = command(line).etcd(&harness.etcd);
        as_user(command, OPERATE).run().await
    };
    // Alone it leaves the last server.
    let held = operate("hold website/b1 --for 10m --reason test").await;
    assert!(held.output.contains("min_servers"), "{}", held.output);
    harness.routed(&[&backend]).await;
    let released = operate("release website").await;
    assert_eq!(released.code, Some(0), "{}", released.output);
    harness.routed(&[]).await;
}

#[tokio::test]
async fn who_writes_a_pushers_keys_ends_that_pusher_and_changes_no_server() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let record = backend.address().to_string();
    harness.etcd.put(&key(&backend), record).await;
    harness.etcd.require_roles(SCOPE).await;
    let mut pusher = as_user(harness.push(), PUSH).start();
    harness.routed(&[&backend]).await;
    let status = harness.status_record().await;
    let before = harness.nginx.servers("website").await;
    let nonce = status.json()["nonce"].as_str().expect("a nonce").to_owned();
    let forged = status.value.replace(&nonce, "another");
    harness
        .etcd
        .put_for("/sidekick/pushers/edge", &forged, 600)
        .await;
    assert_eq!(pusher.end(PATIENCE).await.code, Some(75));
    assert_eq!(harness.nginx.servers("website").await, before);
}

#[tokio::test]
async fn who_writes_a_pushers_keys_is_believed_by_those_who_wait() {
    let mut harness = Harness::start().await;
    let written = harness
        .etcd
        .put("/services/website/b1", "10.0.0.5:80")
        .await;
    harness.etcd.require_roles(SCOPE).await;
    let wait = async || {
        let wait = command("wait website/b1 --for routed --timeout 2s").etcd(&harness.etcd);
        as_user(wait, VIEW).run().await
    };
    let ended = wait().await;
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let forged = format!(
        r#"{{"services":{{"website":{{"applied":{written},"overrides":0,"not_routed":{{}},"still_routed":{{}}}}}},"targets":{{}},"prefix":"/services","nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
    );
    harness
        .etcd
        .put_for("/sidekick/pushers/edge", &forged, 600)
        .await;
    let ended = wait().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.nginx.addresses("website").await, [""; 0]);
}

#[tokio::test]
async fn no_secret_stands_in_etcd_or_in_a_log() {
    let port = free_port();
    let serve = r#"content_by_lua_block { require("upstream_api").serve() }"#;
    let http = format!("server {{ listen 127.0.0.1:{port}; location /api {{ {serve} }} }}");
    let (etcd, nginx) = tokio::join!(Etcd::start(), Settings::default().http(http).start());
    let mut harness = Harness { etcd, nginx };
    harness.etcd.require_roles(SCOPE).await;
    let backend = Backend::start("b1").await;
    let address = backend.address();
    let url = format!("http://edge:hunter2@127.0.0.1:{port}/api");
    let pusher = command("push --upstream website -vv").env("SIDEKICK_ID", "edge");
    let pusher = pusher.args(["--nginx", &url]).etcd(&harness.etcd);
    let pusher = as_user(pusher, PUSH).start();
    let probe = format!("http://probe:hunter2@{address}/health?token=hunter2");
    let announcer = harness.announce(&backend).args(["--probe", &probe, "-vv"]);
    let announcer = announcer.args(["--probe-header", "Authorization: hunter2"]);
    let announcer = announcer.args(["--ready", "routed"]);
    let announcer = as_user(announcer, ANNOUNCE).start();
    announcer.ready().await;
    let mut stored = harness.etcd.list("/").await;
    assert_eq!(
        stored.len(),
        3,
        "record, status and load balancer: {stored:?}"
    );
    stored.retain(|kv| [PASSWORD, "hunter2"].iter().any(|it| kv.value.contains(it)));
    assert!(stored.is_empty(), "{stored:?}");
    for agent in [&pusher, &announcer] {
        let said = agent.process().output();
        for secret in [PASSWORD, "hunter2"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

/// The API of an nginx that takes the server, and sends no request there.
#[tokio::test]
async fn what_an_api_lists_counts_as_routed_although_no_request_gets_there() {
    let elsewhere = Settings::default().locations("location = / { return 503; }");
    let (etcd, nginx) = tokio::join!(Etcd::start(), elsewhere.start());
    let harness = Harness { etcd, nginx };
    let backend = Backend::start("b1").await;
    let record = backend.address().to_string();
    harness.etcd.put(&key(&backend), record).await;
    let _pusher = harness.pushing().await;
    let wait = command("wait website/b1 --for routed --timeout 1m").etcd(&harness.etcd);
    let ended = wait.run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.nginx.who().await, Err("status 503".to_owned()));
    assert_eq!(backend.count().await, 0);
}

/// Freezes the pusher, so that there is time to look, and has nginx load a file that sends requests elsewhere and opens a port.
async fn load(nginx: &FileNginx, pusher: &Sidekick, text: &str) {
    pusher.process().signal(Signal::STOP);
    fs::write(nginx.file(), text).expect("our own folder");
    send(nginx.process().pid(), Signal::HUP).expect("our own nginx");
    until(PATIENCE, "nginx to load it", async || {
        who(nginx, "/").await.as_deref() == Ok("evil")
    })
    .await;
    pusher.process().signal(Signal::CONT);
}

#[tokio::test]
async fn nginx_does_what_somebody_writes_into_the_file_until_it_is_put_back() {
    let (etcd, nginx) = tokio::join!(Etcd::start(), FileNginx::start(Layer::Http, &["website"]));
    let (good, evil) = tokio::join!(Backend::start("good"), Backend::start("evil"));
    let (at_good, at_evil) = (good.address().to_string(), evil.address().to_string());
    etcd.put(&key(&good), at_good.clone()).await;
    let config = push_toml(&nginx, "");
    let pusher = Command::new("push").etcd(&etcd);
    let pusher = pusher.args(["--config", &config, "--id", "edge"]).start();
    // `resync` is one second there; the default of thirty would be too late.
    let is_put_back = async || {
        until(Duration::from_secs(10), "the good one alone", async || {
            (who(&nginx, "/").await.as_deref() == Ok("good")).then_some(())
        })
        .await;
    };
    is_put_back().await;
    let own = nginx.text();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let more = format!("server {{ listen {address}; return 200 more; }}\n");
    load(&nginx, &pusher, &(own.replace(&at_good, &at_evil) + &more)).await;
    let answer = request(address, "GET", "/", "").await.expect("an answer");
    assert_eq!(answer.body, "more");
    is_put_back().await;
    until(PATIENCE, "the port to be closed", async || {
        request(address, "GET", "/", "").await.is_err()
    })
    .await;
    assert_eq!(nginx.text(), own);

    // Without a mark it is somebody else's file, which stays.
    let foreign = format!("upstream website {{ server {at_evil}; }}\n{more}");
    load(&nginx, &pusher, &foreign).await;
    pusher.process().line("has no mark of sidekick's").await;
    assert_eq!(who(&nginx, "/").await.as_deref(), Ok("evil"));
    assert_eq!(nginx.text(), foreign);
}

/// An API that never ends its answer.
const ENDLESS: &str = r#"content_by_lua_block {
    local page = string.rep("[", 65536)
    while ngx.print(page) and ngx.flush(true) do end
}"#;

#[tokio::test]
async fn who_answers_for_one_nginx_without_an_end_harms_no_other() {
    let port = free_port();
    let endless = format!("server {{ listen 127.0.0.1:{port}; location /api {{ {ENDLESS} }} }}");
    let (etcd, nginx) = tokio::join!(Etcd::start(), Settings::default().http(endless).start());
    let harness = Harness { etcd, nginx };
    let backend = Backend::start("b1").await;
    let record = backend.address().to_string();
    harness.etcd.put(&key(&backend), record).await;
    let evil = format!("http://127.0.0.1:{port}/api");
    let pusher = harness.push().args(["--nginx", &evil]).start();
    harness.routed(&[&backend]).await;
    until(PATIENCE, "the endless answer to be told", async || {
        let status = harness.status_record().await.json();
        let errors = status["targets"][&evil]["errors"].to_string();
        errors.contains("larger than").then_some(()).ok_or(status)
    })
    .await;
    let memory = procfs::memory(pusher.process().pid());
    let resident = memory.get("Rss").copied();
    assert!(
        resident.is_some_and(|bytes| bytes < 200 << 20),
        "{memory:?}"
    );
}

#[tokio::test]
async fn who_answers_for_nginx_is_not_followed_elsewhere_with_the_login() {
    let (port, elsewhere) = (free_port(), Backend::start("elsewhere").await);
    let to = elsewhere.address();
    let http = format!(
        "server {{ listen 127.0.0.1:{port}; location /api {{ return 307 http://{to}$request_uri; }} }}"
    );
    let (etcd, nginx) = tokio::join!(Etcd::start(), Settings::default().http(http).start());
    let before = elsewhere.count().await;
    let url = format!("http://edge:hunter2@127.0.0.1:{port}/api");
    let push = command("push --upstream website --id edge --once").etcd(&etcd);
    let ended = push.args(["--nginx", &url]).run().await;
    assert_ne!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("307"), "{}", ended.output);
    assert_eq!(elsewhere.count().await, before);
    drop(nginx);
}
