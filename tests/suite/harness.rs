//! The harness itself: what the other tests rely on without looking.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{Backend, Etcd, Link, Load, PATIENCE, Proxy, Settings, until};

#[tokio::test]
async fn etcd_keeps_its_keys_over_a_restart_and_loses_them_in_a_wipe() {
    let mut etcd = Etcd::start().await;
    etcd.put("/a", "1").await;
    etcd.restart().await;
    assert_eq!(
        etcd.get("/a").await.map(|kv| kv.value).as_deref(),
        Some("1")
    );
    let before = etcd.revision().await;
    etcd.wipe().await;
    assert_eq!(etcd.get("/a").await, None);
    assert!(etcd.revision().await < before);
}

#[tokio::test]
async fn etcd_counts_a_proposal_for_a_put_and_none_for_a_get() {
    let etcd = Etcd::start().await;
    let before = etcd.proposals_committed().await;
    etcd.get("/a").await;
    assert_eq!(etcd.proposals_committed().await, before);
    etcd.put("/a", "1").await;
    assert_eq!(etcd.proposals_committed().await, before + 1);
}

#[tokio::test]
async fn a_cluster_of_three_goes_on_without_one_member() {
    let mut members = Etcd::cluster().await;
    members[0].put("/a", "1").await;
    members[0].kill();
    let value = members[1].get("/a").await.map(|kv| kv.value);
    assert_eq!(value.as_deref(), Some("1"));
    members[2].put("/a", "2").await;
    members[0].resume().await;
    let value = members[0].get("/a").await.map(|kv| kv.value);
    assert_eq!(value.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_backend_counts_answers_and_comes_back_at_the_same_address() {
    let mut backend = Backend::start("b1").await;
    let load = Load::start(backend.address(), 3);
    until(PATIENCE, "some answers", async || {
        load.report().answered() > 10
    })
    .await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert_eq!(report.answers_of("b1"), backend.count().await);
    let address = backend.address();
    backend.restart().await;
    assert_eq!((backend.count().await, backend.address()), (0, address));
}

#[tokio::test]
async fn a_link_can_be_slow_silent_cut_and_down() {
    let backend = Backend::start("b1").await;
    let proxy = Proxy::to(backend.address()).await;
    let ask = async || crate::support::request(proxy.address(), "GET", "/", "").await;
    assert!(ask().await.is_ok());

    proxy.set(Link::Slow(Duration::from_millis(100)));
    let start = Instant::now();
    assert!(ask().await.is_ok());
    assert!(start.elapsed() >= Duration::from_millis(200));

    proxy.set(Link::Silent);
    assert!(timeout(Duration::from_millis(200), ask()).await.is_err());

    proxy.set(Link::Down);
    until(PATIENCE, "connections to be refused", async || {
        TcpStream::connect(proxy.address()).await.is_err()
    })
    .await;

    proxy.set(Link::Up);
    until(PATIENCE, "an answer", ask).await;
    proxy.cut().await;
    assert!(ask().await.is_ok());
}
#[tokio::test]
async fn nginx_answers_by_the_servers_of_its_api_and_comes_back_at_the_same_ports() {
    let backend = Backend::start("b1").await;
    let mut nginx = Settings::default().state().start().await;
    assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    let server = format!(r#"{{"server":"{}"}}"#, backend.address());
    let answer = nginx
        .call("POST", "/http/upstreams/website/servers", &server)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(nginx.who().await, Ok("b1".to_owned()));
    let before = nginx.generation().await;
    nginx.reload().await;
    assert_eq!(nginx.generation().await, before + 1);
    nginx.restart().await;
    assert_eq!(
        nginx.addresses("website").await,
        [backend.address().to_string()]
    );
    assert_eq!(nginx.who().await, Ok("b1".to_owned()));
}
