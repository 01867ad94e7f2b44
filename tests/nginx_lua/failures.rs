//! Servers that fail: who gets the request instead, and for how long the failed one gets none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::support::{Backend, Nginx, PATIENCE, Settings, free_port, request, until};
use crate::{add, add_address, patch, peer, peer_becomes, send};

/// A server block that answers `status` and its name, and where it listens.
fn answering(name: &str, status: u16) -> (String, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let block =
        format!("server {{ listen {address}; location / {{ return {status} \"{name}\\n\"; }} }}\n");
    (block, address)
}

/// An address where nobody listens.
fn dead() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn with(address: &str, more: &str) -> String {
    format!(r#"{{"server":"{address}",{more}}}"#)
}

/// Reads requests and hangs up, and how many it got.
async fn hangs_up() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            if stream.read(&mut buffer).await.is_ok_and(|size| size > 0) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_request_goes_on_to_the_next_server_and_the_failed_one_is_unavailable() {
    let backend = Backend::start("good").await;
    let nginx = Settings::default().workers(4).start().await;
    // Not tried again while the test runs, however long that is.
    let failing = add(&nginx, &with(&dead(), r#""fail_timeout":"600s""#)).await;
    let good = add_address(&nginx, backend.address()).await;
    send(&nginx, 40).await;
    peer_becomes(
        &nginx,
        failing,
        json!({"state": "unavail", "active": 0, "unavail": 1}),
    )
    .await;
    let shown = peer(&nginx, failing).await;
    // Workers that had chosen it at the same time may have failed, too.
    let fails = shown["fails"].as_u64().unwrap();
    assert!((1..=4).contains(&fails), "{shown}");
    assert_eq!(shown["requests"], fails, "one for each failure");
    assert_eq!(shown["responses"]["total"], 0);
    assert!(shown["downstart"].is_string());
    peer_becomes(&nginx, good, json!({"requests": 40, "fails": 0})).await;
    nginx
        .process()
        .line("is unavailable for 600s after 1 failure")
        .await;
}

#[tokio::test]
async fn an_unavailable_server_is_tried_by_one_request_at_a_time_and_comes_back() {
    let mut returning = Backend::start("returning").await;
    let other = Backend::start("other").await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add(
        &nginx,
        &with(&returning.address().to_string(), r#""fail_timeout":"1s""#),
    )
    .await;
    add_address(&nginx, other.address()).await;
    returning.kill();
    let fails = async || peer(&nginx, id).await["fails"].as_u64().unwrap();
    until(
        PATIENCE,
        "a second failure, after fail_timeout",
        async || {
            nginx.who().await.expect("the other answers");
            fails().await >= 2
        },
    )
    .await;
    let shown = peer(&nginx, id).await;
    assert_eq!(
        shown["unavail"], 1,
        "it never was available in between: {shown}"
    );

    returning.resume().await;
    until(PATIENCE, "the server to answer again", async || {
        nginx.who().await.as_deref() == Ok("returning")
    })
    .await;
    peer_becomes(&nginx, id, json!({"state": "up"})).await;
    let shown = peer(&nginx, id).await;
    assert!(shown["downtime"].as_u64() >= Some(1000), "{shown}");
    let before = returning.count().await;
    send(&nginx, 40).await;
    let share = returning.count().await - before;
    assert!(share.abs_diff(20) <= 4, "{share} of 40");
}

#[tokio::test]
async fn failures_below_max_fails_are_forgiven() {
    let backend = Backend::start("good").await;
    let nginx = Settings::default().workers(1).start().await;
    let failing = add(&nginx, &with(&dead(), r#""max_fails":3"#)).await;
    add_address(&nginx, backend.address()).await;
    for fails in 1..=3 {
        assert_eq!(peer(&nginx, failing).await["state"], "up");
        until(PATIENCE, "one more failure", async || {
            nginx.who().await.expect("the good one answers");
            peer(&nginx, failing).await["fails"] == fails
        })
        .await;
    }
    peer_becomes(&nginx, failing, json!({"state": "unavail"})).await;
}

#[tokio::test]
async fn failures_count_for_nothing_with_max_fails_zero() {
    let backend = Backend::start("good").await;
    let nginx = Settings::default().workers(1).start().await;
    let failing = add(&nginx, &with(&dead(), r#""max_fails":0"#)).await;
    add_address(&nginx, backend.address()).await;
    send(&nginx, 20).await;
    peer_becomes(
        &nginx,
        failing,
        json!({"state": "up", "fails": 10, "unavail": 0}),
    )
    .await;
}

#[tokio::test]
async fn the_only_server_of_a_group_is_never_unavailable() {
    let nginx = Settings::default().workers(1).start().await;
    let id = add_address(&nginx, dead()).await;
    for _ in 0..5 {
        assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    }
    peer_becomes(
        &nginx,
        id,
        json!({"state": "up", "requests": 5, "fails": 5, "unavail": 0, "active": 0}),
    )
    .await;
}

#[tokio::test]
async fn all_servers_unavailable_is_a_502_at_once() {
    let nginx = Settings::default().workers(1).start().await;
    let ids = [
        add_address(&nginx, dead()).await,
        add_address(&nginx, dead()).await,
    ];
    assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    for id in ids {
        peer_becomes(&nginx, id, json!({"state": "unavail", "fails": 1})).await;
    }
    assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    for id in ids {
        assert_eq!(
            peer(&nginx, id).await["requests"],
            1,
            "none of them was tried again"
        );
    }
}

#[tokio::test]
async fn the_backup_takes_over_from_failing_servers_within_the_request() {
    let backup = Backend::start("backup").await;
    let nginx = Nginx::start().await;
    add_address(&nginx, dead()).await;
    add_address(&nginx, dead()).await;
    add(
        &nginx,
        &with(&backup.address().to_string(), r#""backup":true"#),
    )
    .await;
    for _ in 0..10 {
        assert_eq!(nginx.who().await, Ok("backup".to_owned()));
    }
}

#[tokio::test]
async fn a_get_is_repeated_and_a_post_that_was_sent_is_not() {
    let (address, seen) = hangs_up().await;
    let backend = Backend::start("good").await;
    let nginx = Settings::default().workers(1).start().await;
    let failing = add(&nginx, &with(&address, r#""max_fails":0"#)).await;
    add_address(&nginx, backend.address()).await;
    send(&nginx, 10).await;
    assert_eq!(seen.load(Ordering::Relaxed), 5);

    let mut statuses = Vec::new();
    for _ in 0..10 {
        let answer = request(nginx.traffic(), "POST", "/", "order")
            .await
            .unwrap();
        statuses.push(answer.status);
    }
    let refused = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(
        (refused, seen.load(Ordering::Relaxed)),
        (5, 10),
        "{statuses:?}"
    );
    // Also a failure that ends the request is one.
    peer_becomes(&nginx, failing, json!({"fails": 10, "active": 0})).await;
}

#[tokio::test]
async fn a_post_that_was_not_sent_is_repeated() {
    let backend = Backend::start("good").await;
    let nginx = Settings::default().workers(1).start().await;
    add(&nginx, &with(&dead(), r#""max_fails":0"#)).await;
    add_address(&nginx, backend.address()).await;
    for _ in 0..10 {
        let answer = request(nginx.traffic(), "POST", "/", "order")
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn statuses_named_by_proxy_next_upstream_are_failures_but_for_404() {
    let (error, error_address) = answering("error", 503);
    let (missing, missing_address) = answering("missing", 404);
    let (good, good_address) = answering("good", 200);
    let nginx = Settings::default()
        .workers(1)
        .http(error + &missing + &good)
        .locations("proxy_next_upstream error http_503 http_404;")
        .start()
        .await;
    let error = add_address(&nginx, error_address).await;
    let missing = add_address(&nginx, missing_address).await;
    let good = add_address(&nginx, good_address).await;
    for _ in 0..9 {
        assert_eq!(nginx.who().await, Ok("good".to_owned()));
    }
    peer_becomes(
        &nginx,
        error,
        json!({"state": "unavail", "fails": 1, "requests": 1, "active": 0}),
    )
    .await;
    peer_becomes(
        &nginx,
        missing,
        json!({"state": "up", "fails": 0, "active": 0}),
    )
    .await;
    peer_becomes(&nginx, good, json!({"requests": 9})).await;
    let codes = |shown: &serde_json::Value| shown["responses"]["codes"].clone();
    assert_eq!(codes(&peer(&nginx, error).await), json!({"503": 1}));
    let shown = peer(&nginx, missing).await;
    assert_eq!(codes(&shown), json!({"404": shown["requests"]}));
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_the_servers_failure() {
    let slow = Backend::start_slow("slow", std::time::Duration::from_secs(60)).await;
    let nginx = Nginx::start().await;
    let id = add_address(&nginx, slow.address()).await;
    add_address(&nginx, "127.0.0.1:1").await;
    patch(&nginx, 1, r#"{"down":true}"#).await;
    let asking = tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    peer_becomes(&nginx, id, json!({"active": 1})).await;
    asking.abort();
    peer_becomes(
        &nginx,
        id,
        json!({"active": 0, "requests": 1, "fails": 0, "state": "up"}),
    )
    .await;
}

#[tokio::test]
async fn another_address_starts_with_a_clean_slate() {
    let backend = Backend::start("good").await;
    let nginx = Nginx::start().await;
    let id = add_address(&nginx, dead()).await;
    add_address(&nginx, backend.address()).await;
    send(&nginx, 10).await;
    peer_becomes(&nginx, id, json!({"state": "unavail"})).await;
    patch(
        &nginx,
        id,
        &format!(r#"{{"server":"{}"}}"#, backend.address()),
    )
    .await;
    peer_becomes(&nginx, id, json!({"state": "up"})).await;
}

#[tokio::test]
async fn a_recovered_server_with_slow_start_gets_little_at_first() {
    let mut returning = Backend::start("returning").await;
    let other = Backend::start("other").await;
    let nginx = Settings::default().workers(1).start().await;
    let more = r#""fail_timeout":"1s","slow_start":"10m""#;
    let id = add(&nginx, &with(&returning.address().to_string(), more)).await;
    add_address(&nginx, other.address()).await;
    returning.kill();
    send(&nginx, 4).await;
    peer_becomes(&nginx, id, json!({"state": "unavail"})).await;
    returning.resume().await;
    until(PATIENCE, "it to answer again", async || {
        nginx.who().await.as_deref() == Ok("returning")
    })
    .await;
    let before = returning.count().await;
    send(&nginx, 100).await;
    let share = returning.count().await - before;
    assert!(share < 10, "{share} of 100 within a second of ten minutes");
}
