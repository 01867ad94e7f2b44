//! `active`, on which draining relies: nothing may be missing from it, and nothing may stay in it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Backend, Load, Nginx, PATIENCE, Settings, Signal, free_port, request, send as signal, until,
};
use crate::{WEBSITE, add_address, patch, peer, peer_becomes, remove, status};

/// So many requests that do not end by themselves while the test runs.
async fn hanging(count: usize) -> (Backend, Nginx, u64, Vec<tokio::task::JoinHandle<()>>) {
    let slow = Backend::start_slow("slow", Duration::from_secs(600)).await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, slow.address()).await;
    let ask = |_| {
        let asking = request(nginx.traffic(), "GET", "/", "");
        tokio::spawn(async move {
            // It fails when the worker is killed.
            let _ = asking.await;
        })
    };
    let clients = (0..count).map(ask).collect();
    peer_becomes(&nginx, id, json!({"active": count})).await;
    (slow, nginx, id, clients)
}

/// A backend that answers nothing until [`thaw`]: what is asked of it lasts as long as the test wants.
async fn frozen(name: &str) -> Backend {
    let backend = Backend::start(name).await;
    backend.process().signal(Signal::STOP);
    backend
}

fn thaw(backend: &Backend) {
    backend.process().signal(Signal::CONT);
}

#[tokio::test]
async fn where_there_is_no_room_for_counts_no_server_reads_idle_and_changes_go_on() {
    let quick = Backend::start("quick").await;
    let nginx = Settings::default().dict("64k").workers(16).start().await;
    let body = json!({ "server": quick.address() }).to_string();
    let path = format!("{WEBSITE}/servers");
    while nginx.call("POST", &path, &body).await.status == 201 {}
    let ids: Vec<u64> = (nginx.servers("website").await.iter())
        .map(|server| server.id)
        .collect();
    // Each worker counts its requests on each server.
    let load = Load::start(nginx.traffic(), 32);
    until(PATIENCE, "the dictionary to be full", async || {
        nginx.process().output().contains("is full")
    })
    .await;
    assert_eq!(load.stop().await.failed(), 0);
    let told = nginx.process().output().matches("is full").count();
    assert!(told <= 16, "once a worker at most: {told} times");

    let frozen = frozen("frozen").await;
    patch(
        &nginx,
        ids[0],
        &json!({ "server": frozen.address() }).to_string(),
    )
    .await;
    for id in &ids[1..] {
        patch(&nginx, *id, r#"{"drain":true}"#).await;
    }
    let asking = tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    until(PATIENCE, "the request to be counted", async || {
        peer(&nginx, ids[0]).await["active"].as_u64() >= Some(1)
    })
    .await;
    thaw(&frozen);
    assert_eq!(asking.await.unwrap().unwrap().status, 200);
    peer_becomes(&nginx, ids[0], json!({"active": 0})).await;
    for id in &ids {
        remove(&nginx, *id).await;
    }
}

#[tokio::test]
async fn after_a_drained_server_reads_zero_no_request_reaches_it() {
    let (drained, other) = (
        Backend::start("drained").await,
        Backend::start("other").await,
    );
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, drained.address()).await;
    add_address(&nginx, other.address()).await;
    let load = Load::start(nginx.traffic(), 32);
    for round in 0..60 {
        patch(&nginx, id, r#"{"drain":true}"#).await;
        until(PATIENCE, "the last request to end", async || {
            peer(&nginx, id).await["active"] == 0
        })
        .await;
        let count = drained.count().await;
        let answered = load.report().answered();
        until(PATIENCE, "more requests", async || {
            load.report().answered() > answered + 100
        })
        .await;
        assert_eq!(drained.count().await, count, "round {round}");
        patch(&nginx, id, r#"{"drain":false}"#).await;
        until(PATIENCE, "requests on the server again", async || {
            drained.count().await > count
        })
        .await;
    }
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert_eq!(report.answers_of("drained"), drained.count().await);
    peer_becomes(
        &nginx,
        id,
        json!({"active": 0, "requests": report.answers_of("drained")}),
    )
    .await;
}

#[tokio::test]
async fn requests_are_counted_while_they_last() {
    let slow = frozen("slow").await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, slow.address()).await;
    let asking = join_all((0..20).map(|_| nginx.who()));
    let counted = async {
        peer_becomes(&nginx, id, json!({"active": 20})).await;
        thaw(&slow);
    };
    let (answers, ()) = tokio::join!(asking, counted);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // A client may have the last answer a moment before its worker has counted it.
    peer_becomes(&nginx, id, json!({"active": 0})).await;
}

#[tokio::test]
async fn a_removed_server_finishes_what_it_has_and_is_a_zombie_until_then() {
    let slow = frozen("slow").await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, slow.address()).await;
    let asking = async { join_all((0..8).map(|_| nginx.who())).await };
    let removing = async {
        peer_becomes(&nginx, id, json!({"active": 8})).await;
        remove(&nginx, id).await;
        let shown = status(&nginx).await;
        assert_eq!(
            (&shown["zombies"], &shown["peers"]),
            (&json!(1), &json!([]))
        );
        thaw(&slow);
    };
    let (answers, ()) = tokio::join!(asking, removing);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    until(PATIENCE, "the zombie to be gone", async || {
        status(&nginx).await["zombies"] == 0
    })
    .await;
}

#[tokio::test]
async fn the_requests_of_a_killed_worker_are_not_active_any_more() {
    let (_slow, nginx, id, clients) = hanging(12).await;
    let before = nginx.workers();
    for worker in &before {
        signal(*worker, Signal::KILL).unwrap();
        until(PATIENCE, "another worker in its place", async || {
            let now = nginx.workers();
            now.len() == before.len() && !now.contains(worker)
        })
        .await;
    }
    peer_becomes(&nginx, id, json!({"active": 0})).await;
    join_all(clients).await;
    // And the new workers count from there.
    let asking = tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    peer_becomes(&nginx, id, json!({"active": 1})).await;
    asking.abort();
    peer_becomes(&nginx, id, json!({"active": 0})).await;
}

#[tokio::test]
async fn a_worker_that_cannot_open_files_still_counts_those_of_the_others() {
    let slow = Backend::start_slow("slow", Duration::from_secs(600)).await;
    let hook = r#"init_worker_by_lua_block {
        local open = io.open
        io.open = function(path, ...)
            if ngx.shared.upstreams:get("no files") then
                return nil, path .. ": Too many open files", 24
            end
            return open(path, ...)
        end
    }"#;
    let exhaust = r#"location /exhaust { content_by_lua_block { ngx.shared.upstreams:set("no files", true) } }"#;
    let nginx = Settings::default()
        .workers(4)
        .http(hook)
        .locations(exhaust)
        .start()
        .await;
    let id = add_address(&nginx, slow.address()).await;
    let ask = |_| tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    let clients: Vec<_> = (0..8).map(ask).collect();
    peer_becomes(&nginx, id, json!({"active": 8})).await;
    assert_eq!(nginx.get("/exhaust").await.unwrap().status, 200);
    for _ in 0..20 {
        assert_eq!(peer(&nginx, id).await["active"], 8);
    }
    patch(&nginx, id, r#"{"drain":true}"#).await;
    for client in clients {
        client.abort();
    }
    peer_becomes(&nginx, id, json!({"active": 0})).await;
}

#[tokio::test]
async fn requests_of_workers_that_are_on_their_way_out_are_still_active() {
    let slow = frozen("slow").await;
    let nginx = Settings::default().workers(2).start().await;
    let id = add_address(&nginx, slow.address()).await;
    let asking = async { join_all((0..6).map(|_| nginx.who())).await };
    let reloading = async {
        peer_becomes(&nginx, id, json!({"active": 6})).await;
        nginx.process().signal(Signal::HUP);
        until(PATIENCE, "the new configuration", async || {
            nginx.generation().await == 2
        })
        .await;
        assert_eq!(peer(&nginx, id).await["active"], 6);
        thaw(&slow);
    };
    let (answers, ()) = tokio::join!(asking, reloading);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 6})).await;
}

#[tokio::test]
async fn a_forgotten_log_hook_is_named_and_the_counts_heal() {
    let backend = Backend::start("b").await;
    let nginx = Settings::default().workers(2).without_log().start().await;
    let id = add_address(&nginx, backend.address()).await;
    let answers = join_all((0..50).map(|_| nginx.who())).await;
    assert!(answers.iter().all(Result::is_ok));
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 50})).await;
    nginx
        .process()
        .line("requests end without log(): add")
        .await;
    let answers = join_all((0..50).map(|_| nginx.who())).await;
    assert!(answers.iter().all(Result::is_ok));
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 100})).await;
    let output = nginx.process().output();
    assert_eq!(output.matches("end without log()").count(), 1, "said once");
}

#[tokio::test]
async fn without_the_log_hook_a_request_is_still_counted_while_it_lasts() {
    let slow = frozen("slow").await;
    let nginx = Settings::default().workers(1).without_log().start().await;
    let id = add_address(&nginx, slow.address()).await;
    let asking = async { nginx.who().await };
    let watching = async {
        peer_becomes(&nginx, id, json!({"active": 1})).await;
        // Longer than the sweep that takes back what has no request any more.
        let start = tokio::time::Instant::now();
        until(PATIENCE, "four seconds to pass", async || {
            assert_eq!(peer(&nginx, id).await["active"], 1);
            start.elapsed() > Duration::from_secs(4)
        })
        .await;
        thaw(&slow);
    };
    let (answer, ()) = tokio::join!(asking, watching);
    assert!(answer.is_ok(), "{answer:?}");
    peer_becomes(&nginx, id, json!({"active": 0})).await;
}

#[tokio::test]
async fn a_location_with_a_log_hook_of_its_own_is_found_out() {
    let backend = Backend::start("b").await;
    let nginx = Settings::default()
        .locations(
            "location /hidden { proxy_pass http://website; log_by_lua_block { local _ = 1 } }",
        )
        .start()
        .await;
    let id = add_address(&nginx, backend.address()).await;
    for path in ["/", "/hidden"].iter().cycle().take(40) {
        assert_eq!(nginx.get(path).await.unwrap().status, 200);
    }
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 40})).await;
    nginx.process().line("has its own log_by_lua*").await;
}

#[tokio::test]
async fn subrequests_are_counted_and_end() {
    let slow = frozen("b").await;
    let capture = r#"location /capture { content_by_lua_block {
        local answer = ngx.location.capture("/website")
        ngx.print(answer.body)
    } }"#;
    let nginx = Settings::default().locations(capture).start().await;
    let id = add_address(&nginx, slow.address()).await;
    let asking = async { join_all((0..8).map(|_| nginx.get("/capture"))).await };
    let counted = async {
        peer_becomes(&nginx, id, json!({"active": 8})).await;
        thaw(&slow);
    };
    let (answers, ()) = tokio::join!(asking, counted);
    for answer in answers {
        assert_eq!(answer.unwrap().body, "b\n");
    }
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 8})).await;
    assert!(!nginx.process().output().contains("without log()"));
}

#[tokio::test]
async fn internal_redirects_lose_no_count() {
    let dead = format!("127.0.0.1:{}", free_port());
    let shop = Backend::start("shop").await;
    let locations = "
        location /sorry { proxy_pass http://website; error_page 502 = @sorry; }
        location @sorry { return 200 \"sorry\\n\"; }
        location /other { proxy_pass http://website; error_page 502 = /shop; }
    ";
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .locations(locations)
        .start()
        .await;
    let id = add_address(&nginx, dead).await;
    let body = format!(r#"{{"server":"{}"}}"#, shop.address());
    nginx
        .call("POST", "/http/upstreams/shop/servers", &body)
        .await;
    for _ in 0..10 {
        assert_eq!(nginx.get("/sorry").await.unwrap().body, "sorry\n");
        assert_eq!(nginx.get("/other").await.unwrap().body, "shop\n");
    }
    peer_becomes(
        &nginx,
        id,
        json!({"active": 0, "requests": 20, "fails": 20}),
    )
    .await;
    let all = nginx.call("GET", "/http/upstreams", "").await.json();
    let shown = &all["shop"]["peers"][0];
    assert_eq!(
        (&shown["active"], &shown["fails"]),
        (&json!(0), &json!(0)),
        "{shown}"
    );
    until(PATIENCE, "the shop's statistics", async || {
        let shop = nginx.call("GET", "/http/upstreams/shop", "").await.json();
        shop["peers"][0]["responses"]["2xx"] == 10
    })
    .await;
    assert!(!nginx.process().output().contains("without log()"));
}

#[tokio::test]
async fn an_accelerated_redirect_ends_the_count_of_the_first_answer() {
    let port = free_port();
    let backend = format!(
        "server {{ listen 127.0.0.1:{port}; location / {{
            add_header X-Accel-Redirect /inside; return 200 redirect; }} }}"
    );
    let nginx = Settings::default()
        .http(backend)
        .locations("location /inside { internal; return 200 \"inside\\n\"; }")
        .start()
        .await;
    let id = add_address(&nginx, format!("127.0.0.1:{port}")).await;
    for _ in 0..10 {
        assert_eq!(nginx.who().await, Ok("inside".to_owned()));
    }
    peer_becomes(&nginx, id, json!({"active": 0, "requests": 10, "fails": 0})).await;
}

#[tokio::test]
async fn counts_are_right_after_servers_came_and_went_under_load() {
    let (steady, passing) = (
        Backend::start("steady").await,
        Backend::start("passing").await,
    );
    let nginx = Settings::default().workers(4).start().await;
    let steady_id = add_address(&nginx, steady.address()).await;
    let load = Load::start(nginx.traffic(), 24);
    for _ in 0..40 {
        let id = add_address(&nginx, passing.address()).await;
        let count = passing.count().await;
        until(PATIENCE, "requests on the new server", async || {
            passing.count().await > count
        })
        .await;
        remove(&nginx, id).await;
    }
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    peer_becomes(
        &nginx,
        steady_id,
        json!({"active": 0, "requests": report.answers_of("steady"), "fails": 0}),
    )
    .await;
    until(PATIENCE, "the zombies to be gone", async || {
        status(&nginx).await["zombies"] == 0
    })
    .await;
    let servers = nginx
        .call("GET", &format!("{WEBSITE}/servers"), "")
        .await
        .json();
    assert_eq!(servers.as_array().map(Vec::len), Some(1));
}
