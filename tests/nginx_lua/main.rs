//! `examples/nginx-lua/` in a real nginx: the API, the balancing behind it, and what survives reloads, restarts and
//! killed workers. Needs `nginx` with lua on the PATH; `tests/run.sh` installs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test says no"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, and none needs all of it"
)]
#[path = "../support/mod.rs"]
mod support;

mod active;
mod api;
mod balancing;
mod failures;
mod json;
mod library;
mod lives;
mod servers;
mod setup;
mod shipped;
mod statistics;
mod upstream_conf;

use serde_json::Value;
use support::{Answer, Nginx, PATIENCE, Settings, until};

/// Path of the upstream that most tests use.
const WEBSITE: &str = "/http/upstreams/website";

/// The defaults with lua-cjson, and where it is missing.
fn with_and_without_cjson() -> [Settings; 2] {
    [Settings::default(), Settings::default().without_cjson()]
}

/// Adds a server to `website` by a POST of `body`.
async fn post(nginx: &Nginx, body: &str) -> Answer {
    nginx
        .call("POST", &format!("{WEBSITE}/servers"), body)
        .await
}

/// Adds a server that must be accepted, and gives back its id.
async fn add(nginx: &Nginx, body: &str) -> u64 {
    let answer = post(nginx, body).await;
    assert_eq!(answer.status, 201, "{body}: {answer:?}");
    answer.json()["id"].as_u64().expect("a number")
}

/// Adds a server by its address alone.
async fn add_address(nginx: &Nginx, address: impl std::fmt::Display) -> u64 {
    add(nginx, &format!(r#"{{"server":"{address}"}}"#)).await
}

/// Changes a server of `website`, which must be accepted.
async fn patch(nginx: &Nginx, id: u64, body: &str) -> Value {
    let path = format!("{WEBSITE}/servers/{id}");
    let answer = nginx.call("PATCH", &path, body).await;
    assert_eq!(answer.status, 200, "{body}: {answer:?}");
    answer.json()
}

/// Removes a server of `website`, which must be there.
async fn remove(nginx: &Nginx, id: u64) {
    let path = format!("{WEBSITE}/servers/{id}");
    let answer = nginx.call("DELETE", &path, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The status object of `website`.
async fn status(nginx: &Nginx) -> Value {
    nginx.call("GET", WEBSITE, "").await.json()
}

/// The status of one server of `website`.
async fn peer(nginx: &Nginx, id: u64) -> Value {
    let status = status(nginx).await;
    let peers = status["peers"].as_array().expect("an array").iter();
    let mut found = peers.filter(|peer| peer["id"] == id);
    found.next().unwrap_or_else(|| panic!("no {id}")).clone()
}

/// Waits until these fields of a server's status have these values.
async fn peer_becomes(nginx: &Nginx, id: u64, expected: Value) {
    let what = format!("server {id} to show {expected}");
    until(PATIENCE, what, async || {
        let peer = peer(nginx, id).await;
        let fields = expected.as_object().expect("an object");
        let same = fields.iter().all(|(name, value)| &peer[name] == value);
        if same { Ok(()) } else { Err(peer) }
    })
    .await;
}

/// HTTP status and code of an error.
fn fault(answer: &Answer) -> (u16, String) {
    let error = answer.json();
    let code = error["error"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no error: {answer:?}"));
    assert_eq!(error["error"]["status"], answer.status, "{answer:?}");
    (answer.status, code.to_owned())
}

/// Sends this many requests, one after the other and each over a connection of its own; all must be answered well.
async fn send(nginx: &Nginx, count: usize) {
    for _ in 0..count {
        nginx.who().await.expect("an answer");
    }
}
