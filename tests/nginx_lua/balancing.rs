//! Which server gets a request.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Backend, Nginx, PATIENCE, Settings, Signal, folder, free_port, request, until,
};
use crate::{add, add_address, patch, peer, peer_becomes, remove, send};

/// Who answers how many of so many requests, each over a connection of its own.
async fn shares(nginx: &Nginx, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let who = nginx.who().await.unwrap_or_else(|error| error);
        *shares.entry(who).or_default() += 1;
    }
    shares
}

fn server(address: impl std::fmt::Display, more: &str) -> String {
    format!(r#"{{"server":"{address}"{more}}}"#)
}

#[tokio::test]
async fn shares_follow_the_weights_over_all_workers() {
    let backends = [
        Backend::start("b1").await,
        Backend::start("b2").await,
        Backend::start("b5").await,
    ];
    let nginx = Settings::default().workers(4).start().await;
    for (backend, weight) in backends.iter().zip([1, 2, 5]) {
        let more = format!(r#","weight":{weight}"#);
        add(&nginx, &server(backend.address(), &more)).await;
    }
    let shares = shares(&nginx, 800).await;
    for (name, expected) in [("b1", 100), ("b2", 200), ("b5", 500)] {
        // Each of the four workers is somewhere in its own round of eight.
        let share = shares[name];
        assert!(share.abs_diff(expected) <= 4 * 4, "{shares:?}");
    }
}

#[tokio::test]
async fn a_single_worker_spreads_smoothly() {
    let (heavy, light) = (Backend::start("heavy").await, Backend::start("light").await);
    let nginx = Settings::default().workers(1).start().await;
    add(&nginx, &server(heavy.address(), r#","weight":3"#)).await;
    add_address(&nginx, light.address()).await;
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(nginx.who().await.unwrap());
    }
    for round in answers.windows(4) {
        let light = round.iter().filter(|name| *name == "light").count();
        assert_eq!(light, 1, "{answers:?}");
    }
}

#[tokio::test]
async fn changes_hold_for_the_very_next_request_of_every_worker() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let nginx = Settings::default().workers(4).start().await;
    let ids = [
        add_address(&nginx, a.address()).await,
        add_address(&nginx, b.address()).await,
    ];
    for (field, other) in [("down", "b"), ("drain", "b"), ("down", "b")] {
        patch(&nginx, ids[0], &format!(r#"{{"{field}":true}}"#)).await;
        assert_eq!(
            shares(&nginx, 20).await,
            BTreeMap::from([(other.to_owned(), 20)])
        );
        patch(&nginx, ids[0], &format!(r#"{{"{field}":false}}"#)).await;
        assert_eq!(shares(&nginx, 20).await.len(), 2);
    }
    remove(&nginx, ids[1]).await;
    assert_eq!(
        shares(&nginx, 20).await,
        BTreeMap::from([("a".to_owned(), 20)])
    );
    patch(&nginx, ids[0], &server(b.address(), "")).await;
    assert_eq!(
        shares(&nginx, 20).await,
        BTreeMap::from([("b".to_owned(), 20)])
    );
}

#[tokio::test]
async fn states_are_shown_as_they_are() {
    let nginx = Nginx::start().await;
    let id = add(
        &nginx,
        &server("127.0.0.1:1", r#","weight":7,"max_conns":3,"backup":true"#),
    )
    .await;
    let shown = peer(&nginx, id).await;
    assert_eq!(
        (
            &shown["state"],
            &shown["weight"],
            &shown["max_conns"],
            &shown["backup"]
        ),
        (&json!("up"), &json!(7), &json!(3), &json!(true))
    );
    assert_eq!(
        (&shown["server"], &shown["name"]),
        (&json!("127.0.0.1:1"), &json!("127.0.0.1:1"))
    );
    for (change, state) in [
        (r#"{"drain":true}"#, "draining"),
        (r#"{"down":true}"#, "down"),
        (r#"{"drain":false}"#, "down"),
        (r#"{"down":false}"#, "up"),
    ] {
        patch(&nginx, id, change).await;
        assert_eq!(peer(&nginx, id).await["state"], state, "{change}");
    }
}

#[tokio::test]
async fn an_upstream_without_servers_to_choose_answers_502() {
    let nginx = Nginx::start().await;
    assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    let backend = Backend::start("b").await;
    let id = add_address(&nginx, backend.address()).await;
    assert_eq!(nginx.who().await, Ok("b".to_owned()));
    patch(&nginx, id, r#"{"down":true}"#).await;
    assert_eq!(nginx.who().await, Err("status 502".to_owned()));
    nginx.process().line("no live upstreams").await;
}

#[tokio::test]
async fn a_backup_server_serves_only_while_no_other_can() {
    let (primary, backup) = (
        Backend::start("primary").await,
        Backend::start("backup").await,
    );
    let nginx = Nginx::start().await;
    let id = add_address(&nginx, primary.address()).await;
    add(&nginx, &server(backup.address(), r#","backup":true"#)).await;
    assert_eq!(
        shares(&nginx, 20).await,
        BTreeMap::from([("primary".to_owned(), 20)])
    );
    patch(&nginx, id, r#"{"drain":true}"#).await;
    assert_eq!(
        shares(&nginx, 20).await,
        BTreeMap::from([("backup".to_owned(), 20)])
    );
    patch(&nginx, id, r#"{"drain":false}"#).await;
    assert_eq!(
        shares(&nginx, 20).await,
        BTreeMap::from([("primary".to_owned(), 20)])
    );
}

#[tokio::test]
async fn max_conns_is_never_exceeded_and_the_rest_goes_elsewhere() {
    let slow = Backend::start("limited").await;
    let other = Backend::start("other").await;
    let nginx = Settings::default().workers(4).start().await;
    let limited = add(&nginx, &server(slow.address(), r#","max_conns":3"#)).await;
    let id = add_address(&nginx, other.address()).await;
    // Frozen, so that none of its requests ends before all are sent.
    slow.process().signal(Signal::STOP);
    let others = async {
        until(PATIENCE, "the rest to be answered", async || {
            let count = other.count().await;
            if count == 37 { Ok(()) } else { Err(count) }
        })
        .await;
        slow.process().signal(Signal::CONT);
    };
    let (answers, ()) = tokio::join!(join_all((0..40).map(|_| nginx.who())), others);
    let to_limited = answers
        .iter()
        .filter(|who| **who == Ok("limited".to_owned()))
        .count();
    assert_eq!(
        answers.iter().filter(|who| who.is_err()).count(),
        0,
        "{answers:?}"
    );
    assert_eq!(to_limited, 3);
    peer_becomes(&nginx, limited, json!({"active": 0})).await;

    patch(&nginx, id, r#"{"down":true}"#).await;
    slow.process().signal(Signal::STOP);
    let ask = |_| tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    let asked: Vec<_> = (0..10).map(ask).collect();
    until(PATIENCE, "seven to be refused", async || {
        let over = asked.iter().filter(|asked| asked.is_finished()).count();
        if over == 7 { Ok(()) } else { Err(over) }
    })
    .await;
    slow.process().signal(Signal::CONT);
    let mut statuses = Vec::new();
    for answer in join_all(asked).await {
        statuses.push(answer.unwrap().unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 3].as_slice(), &[502; 7]].concat());
}

#[tokio::test]
async fn connections_to_backends_are_kept_and_used_again() {
    let port = free_port();
    let backend = format!(
        "server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"$connection\\n\"; }} }}"
    );
    let nginx = Settings::default().workers(1).http(backend).start().await;
    add_address(&nginx, format!("127.0.0.1:{port}")).await;
    let mut connections = BTreeSet::new();
    for _ in 0..50 {
        connections.insert(nginx.who().await.unwrap());
    }
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[tokio::test]
async fn servers_may_be_ipv6_and_unix_sockets() {
    let folder = folder();
    let socket = folder.path().join("app.sock").display().to_string();
    // A machine may have IPv6 turned off; then nginx could not listen there either.
    let v6 = TcpListener::bind("[::1]:0").is_ok().then(free_port);
    let listen = v6.map_or_else(String::new, |port| {
        format!("server {{ listen [::1]:{port}; location / {{ return 200 \"v6\\n\"; }} }}\n")
    });
    let unix =
        format!("server {{ listen unix:{socket}; location / {{ return 200 \"unix\\n\"; }} }}\n");
    let nginx = Settings::default().http(listen + &unix).start().await;
    add_address(&nginx, format!("unix:{socket}")).await;
    assert_eq!(nginx.who().await, Ok("unix".to_owned()));
    if let Some(port) = v6 {
        let id = add_address(&nginx, format!("[0:0::1]:{port}")).await;
        let all = shares(&nginx, 40).await;
        assert!(all["v6"].abs_diff(all["unix"]) <= 2, "{all:?}");
        peer_becomes(&nginx, id, json!({"requests": all["v6"], "active": 0})).await;
    }
}

#[tokio::test]
async fn upstreams_do_not_mix() {
    let (website, shop) = (
        Backend::start("website").await,
        Backend::start("shop").await,
    );
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    add_address(&nginx, website.address()).await;
    let to_shop = server(shop.address(), "");
    nginx
        .call("POST", "/http/upstreams/shop/servers", &to_shop)
        .await;
    send(&nginx, 10).await;
    for _ in 0..7 {
        let answer = nginx.get("/shop").await.unwrap();
        assert_eq!(answer.body, "shop\n");
    }
    assert_eq!((website.count().await, shop.count().await), (10, 7));
    until(PATIENCE, "statistics", async || {
        let all = nginx.call("GET", "/http/upstreams", "").await.json();
        let requests = |name: &str| all[name]["peers"][0]["requests"].clone();
        let seen = (requests("website"), requests("shop"));
        if seen == (json!(10), json!(7)) {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
}
