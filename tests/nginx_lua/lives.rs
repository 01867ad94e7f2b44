//! Reloads, restarts, killed workers, many writers, and the state file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Backend, Nginx, PATIENCE, Settings, Signal, request, send as signal, until};
use crate::{
    WEBSITE, add, add_address, patch, peer_becomes, post, remove, send, status,
    with_and_without_cjson,
};

/// Where nginx keeps the state in these tests.
fn state_file(nginx: &Nginx) -> std::path::PathBuf {
    nginx.folder().join("servers.json")
}

/// nginx with a state file of this content.
async fn started_with(settings: Settings, content: &str) -> Nginx {
    let mut nginx = settings
        .state()
        .declared(r#"{ website = { servers = { "10.9.9.9" } } }"#)
        .start()
        .await;
    nginx.kill();
    fs::write(state_file(&nginx), content).unwrap();
    nginx.resume().await;
    nginx
}

/// A location that runs Lua in a worker.
fn lua(code: &str) -> String {
    format!("location /lua {{ content_by_lua_block {{ {code} }} }}")
}

#[tokio::test]
async fn servers_and_their_ids_survive_a_reload() {
    let nginx = Settings::default()
        .declared(r#"{ website = { servers = { "10.0.0.1" } } }"#)
        .start()
        .await;
    remove(&nginx, 0).await;
    add(&nginx, r#"{"server":"10.0.0.2","weight":5}"#).await;
    let before = nginx.servers("website").await;
    nginx.reload().await;
    assert_eq!(nginx.servers("website").await, before);
    assert_eq!(add_address(&nginx, "10.0.0.3").await, 2);
}

#[tokio::test]
async fn an_upstream_that_a_reload_brings_starts_with_its_servers() {
    let mut nginx = Nginx::start().await;
    add_address(&nginx, "10.0.0.1").await;
    let declared = r#"{ "website", shop = { servers = { "10.0.0.7", { server = "10.0.0.8", weight = 2 } } } }"#;
    nginx.configure(
        Settings::default()
            .upstreams(&["website", "shop"])
            .declared(declared),
    );
    nginx.reload().await;
    assert_eq!(nginx.addresses("website").await, ["10.0.0.1:80"]);
    assert_eq!(
        nginx.addresses("shop").await,
        ["10.0.0.7:80", "10.0.0.8:80"]
    );
    assert_eq!(nginx.servers("shop").await[1].weight, 2);
}

#[tokio::test]
async fn a_reload_that_setup_refuses_changes_nothing() {
    let mut nginx = Nginx::start().await;
    add_address(&nginx, "10.0.0.1").await;
    nginx.configure(Settings::default().declared(r#"{ "web site" }"#));
    nginx.process().signal(Signal::HUP);
    nginx.process().line("bad upstream name").await;
    assert_eq!(nginx.generation().await, 1);
    add_address(&nginx, "10.0.0.2").await;
    assert_eq!(
        nginx.addresses("website").await,
        ["10.0.0.1:80", "10.0.0.2:80"]
    );
}

/// Requests, each over a connection of its own, so that none meets a connection that an old worker is closing.
async fn ask_until(stop: &AtomicBool, nginx: &Nginx, asked: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = request(nginx.traffic(), "POST", "/", "order").await;
        asked.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) if answer.status == 200 => {}
            other => failures.push(format!("{other:?}")),
        }
    }
    failures
}

#[tokio::test]
async fn reloads_under_load_fail_no_request_and_lose_no_change() {
    let backends = [Backend::start("b1").await, Backend::start("b2").await];
    let nginx = Settings::default().workers(4).start().await;
    for backend in &backends {
        add_address(&nginx, backend.address()).await;
    }
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all((0..12).map(|_| ask_until(&stop, &nginx, &asked)));
    let reloads = async {
        for round in 0..6 {
            let id = add_address(&nginx, "127.0.0.1:1").await;
            patch(&nginx, id, r#"{"down":true}"#).await;
            nginx.reload().await;
            let before = asked.load(Ordering::Relaxed);
            until(PATIENCE, "requests to the new workers", async || {
                asked.load(Ordering::Relaxed) > before + 50
            })
            .await;
            assert_eq!(nginx.servers("website").await.len(), 2 + round + 1);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (failures, ()) = tokio::join!(clients, reloads);
    assert_eq!(failures.concat(), Vec::<String>::new());
    for id in [0, 1] {
        peer_becomes(&nginx, id, json!({"active": 0})).await;
    }
    let asked = asked.load(Ordering::Relaxed) as u64;
    until(
        PATIENCE,
        "statistics of all workers, old and new",
        async || {
            let shown = status(&nginx).await;
            let good = |i: usize| shown["peers"][i]["responses"]["2xx"].as_u64();
            let total = good(0).unwrap() + good(1).unwrap();
            if total == asked {
                Ok(())
            } else {
                Err((total, asked))
            }
        },
    )
    .await;
}

#[tokio::test]
async fn killed_workers_take_nothing_with_them_but_their_own_requests() {
    let backend = Backend::start("b").await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, backend.address()).await;
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all((0..8).map(|_| ask_until(&stop, &nginx, &asked)));
    let kills = async {
        for round in 0..6_u64 {
            let victim = nginx.workers()[0];
            signal(victim, Signal::KILL).unwrap();
            until(PATIENCE, "another worker", async || {
                let workers = nginx.workers();
                workers.len() == 4 && !workers.contains(&victim)
            })
            .await;
            // A call may meet the dying worker, so ask until one does not.
            let body = json!({"server": "127.0.0.1:1", "down": true}).to_string();
            let path = format!("/api/9{WEBSITE}/servers");
            until(PATIENCE, "the API to go on", async || {
                let answer = request(nginx.api_address(), "POST", &path, body.clone()).await;
                answer.is_ok_and(|answer| answer.status == 201)
            })
            .await;
            assert!(nginx.servers("website").await.len() as u64 >= 2 + round);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (failures, ()) = tokio::join!(clients, kills);
    let failed = failures.concat();
    assert!(failed.len() <= 6 * 8, "{failed:?}");
    peer_becomes(&nginx, id, json!({"active": 0, "state": "up"})).await;
}

/// One change of the servers of `website`. It is asked for again where the API says that another one does not finish: a
/// machine may stand still for longer than a worker waits.
async fn change(nginx: &Nginx, method: &str, server: &str, body: &str) -> serde_json::Value {
    let path = format!("{WEBSITE}/servers{server}");
    until(PATIENCE, format!("{method} {path}"), async || {
        let answer = nginx.call(method, &path, body).await;
        if answer.status == 503 {
            return Err(answer);
        }
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        Ok(answer.json())
    })
    .await
}

#[tokio::test]
async fn servers_posted_over_many_connections_at_once_are_all_there() {
    let nginx = Settings::default().workers(4).state().start().await;
    let write = async |writer| {
        let mut ids = Vec::new();
        for i in 0..15 {
            let server = format!(r#"{{"server":"10.0.{writer}.{i}"}}"#);
            let id = change(&nginx, "POST", "", &server).await["id"].as_u64();
            let id = id.expect("a number");
            let path = format!("/{id}");
            change(&nginx, "PATCH", &path, r#"{"weight":2}"#).await;
            if i % 3 == 0 {
                change(&nginx, "DELETE", &path, "").await;
            } else {
                ids.push(id);
            }
        }
        ids
    };
    let ids: BTreeSet<u64> = join_all((0..16).map(write))
        .await
        .concat()
        .into_iter()
        .collect();
    assert_eq!(ids.len(), 16 * 10, "no id was given twice");
    let servers = nginx.servers("website").await;
    assert_eq!(servers.iter().map(|s| s.id).collect::<BTreeSet<_>>(), ids);
    assert!(servers.iter().all(|server| server.weight == 2));
    let saved: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(state_file(&nginx)).unwrap()).unwrap();
    let saved = saved["upstreams"]["website"]["servers"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        saved.len(),
        servers.len(),
        "the file is as new as the last change"
    );
}

#[tokio::test]
async fn a_writer_that_died_holds_up_nobody() {
    let dead = "0999999999.00000000000000000001/1";
    let code = format!(r#"ngx.shared.upstreams:set("lock", "{dead}")"#);
    let nginx = Settings::default().locations(lua(&code)).start().await;
    assert_eq!(nginx.get("/lua").await.unwrap().status, 200);
    add_address(&nginx, "10.0.0.1").await;
    nginx
        .process()
        .line("died while it changed an upstream")
        .await;
    add_address(&nginx, "10.0.0.2").await;
}

#[tokio::test]
async fn a_writer_that_is_only_stopped_is_waited_for_and_never_robbed() {
    // The lock of a process that lives: the master.
    let code = r#"
        local pid = require("ngx.process").get_master_pid()
        local line = io.open("/proc/" .. pid .. "/stat"):read("*l")
        local started = line:match("^.*%) " .. ("%S+ "):rep(19) .. "(%S+)")
        ngx.shared.upstreams:set("lock", ("%010d.%020d/1"):format(pid, started))
    "#;
    let nginx = Settings::default()
        .locations(
            lua(code)
                + "location /free { content_by_lua_block { ngx.shared.upstreams:delete('lock') } }",
        )
        .start()
        .await;
    assert_eq!(nginx.get("/lua").await.unwrap().status, 200);
    let answer = post(&nginx, r#"{"server":"10.0.0.1"}"#).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    nginx.process().line("is it stopped?").await;
    assert_eq!(nginx.get("/free").await.unwrap().status, 200);
    add_address(&nginx, "10.0.0.1").await;
    assert_eq!(nginx.addresses("website").await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn a_restarted_nginx_starts_with_the_last_servers() {
    let mut nginx = Settings::default()
        .state()
        .upstreams(&["website", "shop"])
        .declared(r#"{ "website", shop = { servers = { "10.0.0.9" } } }"#)
        .start()
        .await;
    add(
        &nginx,
        r#"{"server":"10.0.0.1","weight":7,"backup":true,"fail_timeout":"5s","route":"a"}"#,
    )
    .await;
    add(&nginx, r#"{"server":"[2001:db8::1]:8080","drain":true}"#).await;
    nginx
        .call("DELETE", "/http/upstreams/shop/servers/0", "")
        .await;
    let before = nginx
        .call("GET", &format!("{WEBSITE}/servers"), "")
        .await
        .json();
    let old = nginx.call("GET", "/nginx", "").await.json();
    nginx.restart().await;
    let after = nginx
        .call("GET", &format!("{WEBSITE}/servers"), "")
        .await
        .json();
    assert_eq!(after, before);
    assert_eq!(nginx.addresses("shop").await, [""; 0], "removed is removed");
    let new = nginx.call("GET", "/nginx", "").await.json();
    assert_ne!(new["ppid"], old["ppid"]);
    assert!(!nginx.folder().join("servers.json.new").exists());
}

#[tokio::test]
async fn a_state_file_without_sense_stops_nothing_and_is_named() {
    let deep = "[".repeat(1_000_000);
    let nonsense = [
        "",
        "{",
        "\u{0}\u{0}\u{0}",
        "[]",
        r#"{"format":1}"#,
        r#"{"format":2,"upstreams":{}}"#,
        r#"{"format":1,"upstreams":[]}"#,
        r#"{"format":1,"upstreams":{"website":{"servers":[{"server":"10.0.0.1"}]}}"#,
        deep.as_str(),
    ];
    for content in nonsense {
        let nginx = started_with(Settings::default(), content).await;
        nginx.process().line("is not used").await;
        assert_eq!(
            nginx.addresses("website").await,
            ["10.9.9.9:80"],
            "{content:.40}"
        );
        add_address(&nginx, "10.0.0.2").await;
        let saved = fs::read_to_string(state_file(&nginx)).unwrap();
        assert!(saved.contains("10.0.0.2:80"), "the next change replaces it");
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_state_file_is_left_out_and_the_rest_is_used() {
    let hostile = json!({"format": 1, "upstreams": {
        "website": {"servers": [
            {"server": "10.0.0.1"},
            {"server": "10.0.0.2\n[emerg] pwned"},
            {"server": "10.0.0.3; return 200"},
            {"server": "10.0.0.4", "weight": -1},
            {"server": "10.0.0.5", "id": 77, "host": "evil", "port": 1},
            {"server": "10.0.0.6", "host": "evil"},
            "10.0.0.7", 8, null, [], {},
            {"server": "10.0.0.9", "weight": 3},
        ]},
        "stranger": {"servers": [{"server": "10.0.0.1"}]},
    }});
    for settings in with_and_without_cjson() {
        leaves_out_what_is_wrong(started_with(settings, &hostile.to_string()).await).await;
    }
}

async fn leaves_out_what_is_wrong(nginx: Nginx) {
    assert_eq!(
        nginx.addresses("website").await,
        ["10.0.0.1:80", "10.0.0.9:80"]
    );
    let ids: Vec<_> = nginx
        .servers("website")
        .await
        .iter()
        .map(|s| s.id)
        .collect();
    assert_eq!(ids, [0, 1]);
    let output = nginx.process().output();
    assert_eq!(output.matches("is left out").count(), 10, "{output}");
    assert!(
        !output.lines().any(|line| line.starts_with("[emerg]")),
        "{output}"
    );
    let all = nginx
        .call("GET", "/http/upstreams?fields=", "")
        .await
        .json();
    assert_eq!(all, json!({"website": {}}), "only what setup declares");
}

#[tokio::test]
async fn nothing_in_the_place_of_the_state_file_can_stop_nginx_from_starting() {
    let mut nginx = Settings::default().state().start().await;
    let file = state_file(&nginx);
    let pipe = |file: &std::path::Path| {
        assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    };
    let place: [&dyn Fn(&std::path::Path); 4] = [
        &|file| pipe(file),
        &|file| fs::create_dir(file).unwrap(),
        &|file| symlink("/dev/zero", file).unwrap(),
        &|file| {
            fs::write(file, "{}").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o0)).unwrap();
        },
    ];
    for put in place {
        nginx.kill();
        put(&file);
        nginx.resume().await;
        nginx.process().line("is not used").await;
        assert_eq!(nginx.addresses("website").await, [""; 0]);
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
    }
}

#[tokio::test]
async fn a_state_file_that_cannot_be_written_is_named_and_the_change_holds() {
    let nginx = Settings::default()
        .declared(r#"{ "website" }, state = "missing/servers.json""#)
        .start()
        .await;
    add_address(&nginx, "10.0.0.1").await;
    let line = nginx
        .process()
        .line("the state file cannot be written")
        .await;
    assert!(line.contains("missing/servers.json"), "{line}");
    // It is written as soon as that is possible, and not with the next change only.
    let folder = nginx.folder().join("missing");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    until(PATIENCE, "the state file", async || {
        let text = fs::read_to_string(folder.join("servers.json"));
        text.is_ok_and(|text| text.contains("10.0.0.1:80"))
    })
    .await;
    nginx.reload().await;
    assert_eq!(nginx.addresses("website").await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn a_dictionary_that_somebody_emptied_is_named_and_requests_go_on() {
    let backend = Backend::start("b").await;
    let nginx = Settings::default()
        .workers(1)
        .locations(lua("ngx.shared.upstreams:flush_all()"))
        .start()
        .await;
    add_address(&nginx, backend.address()).await;
    send(&nginx, 3).await;
    assert_eq!(nginx.get("/lua").await.unwrap().status, 200);
    send(&nginx, 3).await;
    nginx
        .process()
        .line("is gone from the shared dictionary")
        .await;
    let answer = nginx.call("GET", &format!("{WEBSITE}/servers"), "").await;
    assert_eq!(answer.status, 500, "{answer:?}");
}
