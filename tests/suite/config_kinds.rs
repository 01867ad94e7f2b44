//! Targets of other kinds than the usual API, from a `push.toml` in one process with it.

use std::time::Duration;

use sidekick::target::Layer;

use crate::support::{
    Backend, Command, Ended, Etcd, FileNginx, Kv, Load, Nginx, PATIENCE, Settings, Sidekick,
    Signal, announce, key, until,
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

/// A file of nginx and vulcand, without any word of what they protect.
struct Kinds {
    etcd: Etcd,
    nginx: FileNginx,
    backends: Vec<Backend>,
    config: Config,
}

impl Kinds {
    /// Two records of `website`, and a pusher that has told both.
    async fn start() -> (Self, Sidekick) {
        let nginx = FileNginx::start(Layer::Http, &["website", "shop"]).await;
        let (etcd, one, two) =
            tokio::join!(Etcd::start(), Backend::start("one"), Backend::start("two"));
        let config = Config::new();
        config.write(&format!(
            "[[vulcand]]\nname = \"vulcan\"\n\
             [[nginx]]\nname = \"file\"\nfile = \"{}\"\ncheck = \"{}\"\nreload = \"{}\"\npid = \"{}\"\n\
             [[upstream]]\nname = \"website\"\nhold = \"1h\"\n[[upstream]]\nname = \"shop\"\n",
            nginx.file().display(),
            nginx.command("-t"),
            nginx.command("-s reload"),
            nginx.settings(Layer::Http).pid.expect("it has one").display(),
        ));
        put(&etcd, &one, "v1").await;
        put(&etcd, &two, "v1").await;
        let pusher = config.push(&etcd).start();
        let kinds = Self {
            etcd,
            nginx,
            backends: vec![one, two],
            config,
        };
        kinds.have(&[0, 1]).await;
        (kinds, pusher)
    }

    /// Waits until both have exactly these for `website`.
    async fn have(&self, wanted: &[usize]) {
        let wanted: Vec<_> = wanted.iter().map(|&nth| &self.backends[nth]).collect();
        becomes(&self.etcd, "/vulcand", told("http", &wanted)).await;
        let mut addresses = addresses(&wanted);
        addresses.sort();
        until(PATIENCE, "the file to have the same", async || {
            let text = self.nginx.text();
            let website = text.split("upstream website").nth(1).unwrap_or_default();
            let website = website.split('}').next().unwrap_or_default();
            let lines = website.lines().filter_map(|line| {
                let line = line.trim().strip_suffix(";")?;
                let server = line.strip_prefix("server ")?;
                Some(server.split([' ', ';']).next()?.to_owned())
            });
            let mut found: Vec<_> = lines.collect();
            found.sort();
            if found == addresses {
                Ok(())
            } else {
                Err(text.clone())
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_vanished_is_kept_in_a_file_and_in_vulcand_until_another_service_has_its_address() {
    let (kinds, mut pusher) = Kinds::start().await;
    kinds.etcd.delete_all("/services/website/").await;
    pusher.process().line("too many records vanished").await;
    kinds.have(&[0, 1]).await;
    let first = kinds.backends[0].address().to_string();
    kinds.etcd.put("/services/shop/s1", first).await;
    kinds.have(&[1]).await;

    // A pusher that finds it so when it starts does the same: nobody's list of before is needed.
    let key = "/vulcand/backends/website/servers/two";
    let before = kinds.etcd.get(key).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    let pusher = kinds.config.push(&kinds.etcd).start();
    let told = "equal to the records target=vulcan upstream=website service=website servers=1";
    pusher.process().line(told).await;
    assert_eq!(kinds.etcd.get(key).await, before);
    kinds.have(&[1]).await;
    let second = kinds.backends[1].address().to_string();
    kinds.etcd.put("/services/shop/s2", second).await;
    kinds.have(&[]).await;
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

#[tokio::test]
async fn what_a_pusher_finds_in_vulcands_keys_when_it_starts_counts_as_vanished_just_now() {
    let (etcd, config) = (Etcd::start().await, Config::new());
    let (b1, b2) = tokio::join!(Backend::start("b1"), Backend::start("b2"));
    let at = "/vulcand/backends/website";
    etcd.put(&format!("{at}/backend"), r#"{"Type":"http"}"#)
        .await;
    for backend in [&b1, &b2] {
        let key = format!("{at}/servers/{}", backend.name());
        etcd.put(&key, format!(r#"{{"URL":"http://{}"}}"#, backend.address()))
            .await;
    }
    let urls = async || {
        let servers = etcd.list(&format!("{at}/servers/")).await;
        let mut urls: Vec<_> = servers.iter().map(|it| it.json()["URL"].clone()).collect();
        urls.sort_by_key(ToString::to_string);
        urls
    };
    let before = urls().await;
    config.write("[[vulcand]]\nname = \"vulcan\"\n[[upstream]]\nname = \"website\"\n");
    let start = |hold: &str| {
        let push = config.push(&etcd).args(["--hold", hold]);
        push.args(["--max-removal", "0%"]).start()
    };
    let mut pusher = start("1h");
    pusher.process().line("that no record names").await;
    let protects = async |count: usize| {
        until(PATIENCE, format!("{count} to be protected"), async || {
            let status_record = etcd.get("/sidekick/pushers/edge").await;
            let status_record = status_record.ok_or_else(String::new)?.json();
            let upstream = &status_record["targets"]["vulcan"]["upstreams"]["website"];
            let protected = upstream["protected"].as_array().map_or(0, Vec::len);
            let converged = status_record["services"]["website"]["applied"].as_i64() > Some(0);
            let told = converged && protected == count;
            told.then_some(()).ok_or(status_record.to_string())
        })
        .await;
    };
    protects(2).await;
    assert_eq!(urls().await, before);
    // A record of one of them makes it an ordinary server, and the other one is held on.
    etcd.put("/services/website/b1", b1.address().to_string())
        .await;
    protects(1).await;
    assert_eq!(urls().await, before);
    assert_eq!(pusher.leave().await.code, Some(0));
    let pusher = start("2s");
    pusher.process().line("did not come back in time").await;
    until(PATIENCE, "the other one to go", async || {
        let urls = urls().await;
        let one = [serde_json::json!(format!("http://{}", b1.address()))];
        (urls == one).then_some(()).ok_or(urls)
    })
    .await;
}
