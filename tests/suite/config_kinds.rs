//! Targets of other kinds than the usual API, from a `push.toml` in one process with it.

use std::time::Duration;

use crate::support::{
    Backend, Command, Ended, Etcd, Kv, Load, Nginx, PATIENCE, Settings, Signal, announce, key,
    until,
};

use super::config::{Config, addresses, reload};

/// A record with a version.
async fn put(etcd: &Etcd, backend: &Backend, version: &str) {
    let (host, port) = (backend.address().ip(), backend.address().port());
    let value = format!(r#"{{"host":"{host}","port":{port},"version":"{version}"}}"#);
    etcd.put(&key(backend), value).await;
}

async fn ask(etcd: &Etcd, subcommand: &str, args: &[&str]) -> Ended {
    Command::new(subcommand).etcd(etcd).args(args).run().await
}

/// What vulcand reads of `website` below a prefix: instance and URL.
async fn servers(etcd: &Etcd, prefix: &str) -> Vec<(String, String)> {
    let range = format!("{prefix}/backends/website/servers/");
    let found = etcd.list(&range).await.into_iter();
    let pair = |kv: Kv| (kv.key[range.len()..].to_owned(), kv.value);
    found.map(pair).collect()
}

fn told(scheme: &str, backends: &[&Backend]) -> Vec<(String, String)> {
    let url = |backend: &&Backend| {
        let url = format!(r#"{{"URL":"{scheme}://{}"}}"#, backend.address());
        (backend.name().to_owned(), url)
    };
    backends.iter().map(url).collect()
}

async fn becomes(etcd: &Etcd, prefix: &str, wanted: Vec<(String, String)>) {
    until(PATIENCE, format!("{wanted:?}"), async || {
        let found = servers(etcd, prefix).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn a_split_has_moved_vulcands_keys_and_nginx_when_its_command_ends() {
    let (etcd, nginx) = tokio::join!(Etcd::start(), Nginx::start());
    let (old, new) = tokio::join!(Backend::start("old"), Backend::start("new"));
    let config = Config::new();
    let rest = format!(
        "[[nginx]]\nname = \"edge\"\napi = \"{}\"\n[[upstream]]\nname = \"website\"\n",
        nginx.api_url()
    );
    config.write(&format!("[[vulcand]]\nname = \"vulcan\"\n{rest}"));
    put(&etcd, &old, "v1").await;
    put(&etcd, &new, "v2").await;
    let pusher = config.push(&etcd).start();
    pusher.ready().await;
    // In the order of the keys.
    becomes(&etcd, "/vulcand", told("http", &[&new, &old])).await;
    nginx.routed("website", addresses(&[&old, &new])).await;

    for (split, only) in [("v1=100", &old), ("v2=100", &new)] {
        let ended = ask(&etcd, "split", &["website", split]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        assert_eq!(servers(&etcd, "/vulcand").await, told("http", &[only]));
        assert_eq!(nginx.addresses("website").await, addresses(&[only]));
    }

    // vulcand has no weights: everything else is done, and it is said.
    let ended = ask(&etcd, "split", &["website", "v1=90", "v2=10"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    becomes(&etcd, "/vulcand", told("http", &[&new, &old])).await;
    until(PATIENCE, "the status to tell", async || {
        let told = ask(&etcd, "status", &[]).await.output;
        let said =
            told.contains("vulcan  failing  website: refused: set weights: vulcand has no weights");
        if said { Ok(()) } else { Err(told) }
    })
    .await;
    let ended = ask(&etcd, "split", &["website", "--clear"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    pusher.process().line("no longer refused").await;

    // What other hands do there is put right without anything else being changed.
    etcd.delete("/vulcand/backends/website/servers/old").await;
    etcd.put("/vulcand/backends/website/servers/stranger", "{}")
        .await;
    becomes(&etcd, "/vulcand", told("http", &[&new, &old])).await;

    // Another place and another scheme; what was told at the old place stays as it is.
    config.write(&format!(
        "[[vulcand]]\nname = \"vulcan\"\nprefix = \"/other\"\nscheme = \"https\"\n{rest}"
    ));
    reload(&pusher).await;
    becomes(&etcd, "/other", told("https", &[&new, &old])).await;
    etcd.put(
        &key(&old),
        r#"{"host":"127.0.0.1","port":1,"state":"down"}"#,
    )
    .await;
    becomes(&etcd, "/other", told("https", &[&new])).await;
    assert_eq!(
        servers(&etcd, "/vulcand").await,
        told("http", &[&new, &old])
    );
}

#[tokio::test]
async fn an_older_nginx_is_pushed_to_from_a_file_and_loses_no_request_of_a_backend_that_leaves() {
    const CONF: &str =
        "location = /upstream_conf { content_by_lua_block { require(\"upstream_conf\").serve() } }";
    let (etcd, nginx) = tokio::join!(Etcd::start(), Settings::default().locations(CONF).start());
    let slow = Duration::from_millis(100);
    let (mut leaving, staying) = tokio::join!(
        Backend::start_slow("leaving", slow),
        Backend::start_slow("staying", slow)
    );
    put(&etcd, &staying, "v1").await;
    let config = Config::new();
    // What the status module tells of an upstream stands in the REST API as well, one folder further down.
    config.write(&format!(
        "[[nginx]]\nname = \"old\"\nupstream_conf = \"http://{}/upstream_conf\"\nstatus = \"{}/9/http\"\n\
         [[upstream]]\nname = \"website\"\nmax_fails = 0\nmax_conns = 500\n",
        nginx.traffic(),
        nginx.api_url()
    ));
    let path = config.path().to_str().expect("our own name").to_owned();
    let dry = ask(&etcd, "push", &["--config", &path, "--dry-run"]).await;
    assert_eq!(dry.code, Some(2), "{}", dry.output);
    let add = format!("old website: add {} weight=1", staying.address());
    assert!(dry.output.contains(&add), "{}", dry.output);

    let pusher = config.push(&etcd).start();
    pusher.ready().await;
    let mut announcer = announce(&etcd.endpoint(), &leaving)
        .args(["--ready", "routed"])
        .start();
    announcer.ready().await;
    assert_eq!(nginx.addresses("website").await.len(), 2, "ready is routed");
    let servers = nginx
        .call("GET", "/http/upstreams/website/servers", "")
        .await
        .json();
    for server in servers.as_array().expect("a list") {
        assert_eq!(
            (&server["max_fails"], &server["max_conns"]),
            (&0.into(), &500.into())
        );
    }
    let load = Load::start(nginx.traffic(), 4);
    until(PATIENCE, "both to answer", async || {
        let report = load.report();
        report.answers_of("leaving") > 3 && report.answers_of("staying") > 3
    })
    .await;
    let ended = announcer.leave().await;
    assert!(
        ended.output.contains("is drained everywhere"),
        "{}",
        ended.output
    );
    leaving.process().signal(Signal::KILL);
    leaving.stop().await;
    assert_eq!(
        nginx.addresses("website").await,
        addresses(&[&staying]),
        "it has let go"
    );
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
}
