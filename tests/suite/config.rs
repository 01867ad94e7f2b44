//! `push.toml`: what it makes of one process, and what happens to it while it changes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{
    Backend, Command, Etcd, Load, Nginx, PATIENCE, Settings, Sidekick, Signal, folder, until,
};

/// A folder with a `push.toml`.
pub(super) struct Config {
    folder: TempDir,
}

/// A target and the upstreams that go there.
type Target<'a> = (&'a str, &'a Nginx, &'a [&'a str]);

impl Config {
    pub(super) fn new() -> Self {
        Self { folder: folder() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("push.toml")
    }

    /// Replaces the file as a configuration management would.
    pub(super) fn write(&self, text: &str) {
        let new = self.folder.path().join("push.toml.new");
        fs::write(&new, text).expect("our own folder");
        fs::rename(&new, self.path()).expect("our own folder");
    }

    /// As [`Config::write`], with these targets and upstreams.
    fn routes(&self, top: &str, targets: &[Target<'_>]) {
        let mut text = top.to_owned();
        for (name, nginx, _) in targets {
            let api = nginx.api_url();
            write!(text, "\n[[nginx]]\nname = \"{name}\"\napi = \"{api}\"\n").expect("a String");
        }
        for (name, _, upstreams) in targets {
            for upstream in *upstreams {
                write!(
                    text,
                    "\n[[upstream]]\nname = \"{upstream}\"\nnginx = [\"{name}\"]\n"
                )
                .expect("a String");
            }
        }
        self.write(&text);
    }

    /// `sidekick push` with this file, not started yet.
    pub(super) fn push(&self, etcd: &Etcd) -> Command {
        Command::new("push")
            .etcd(etcd)
            .args(["--config", &shown(&self.path())])
            .env("SIDEKICK_ID", "edge")
            .notify()
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("our own name").to_owned()
}

/// Sends SIGHUP and waits until that has been answered as systemd wants it.
pub(super) async fn reload(pusher: &Sidekick) {
    let answered = || {
        let said = pusher.notifications();
        let reloading = said.iter().rposition(|line| line == "RELOADING=1")?;
        let times = said.iter().filter(|line| *line == "RELOADING=1").count();
        let rest = &said[reloading..];
        let ready = rest.iter().any(|line| line == "READY=1");
        let stamped = rest.iter().any(|line| line.starts_with("MONOTONIC_USEC="));
        (ready && stamped).then_some(times)
    };
    let before = answered().unwrap_or(0);
    pusher.process().signal(Signal::HUP);
    until(PATIENCE, "the end of the reload", async || {
        answered().filter(|times| *times > before)
    })
    .await;
}

async fn put(etcd: &Etcd, service: &str, backend: &Backend) {
    let key = format!("/services/{service}/{}", backend.name());
    etcd.put(&key, backend.address().to_string()).await;
}

pub(super) fn addresses(backends: &[&Backend]) -> Vec<String> {
    let addresses = backends.iter().map(|backend| backend.address().to_string());
    addresses.collect()
}

#[tokio::test]
async fn sighup_adds_and_removes_an_upstream_and_the_other_loses_nothing() {
    let etcd = Etcd::start().await;
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    let (a, b, c) = tokio::join!(
        Backend::start("a"),
        Backend::start("b"),
        Backend::start("c")
    );
    let config = Config::new();
    config.routes("", &[("edge", &nginx, &["website"])]);
    let pusher = config.push(&etcd).start();
    put(&etcd, "website", &a).await;
    put(&etcd, "shop", &b).await;
    nginx.routed("website", addresses(&[&a])).await;
    pusher.ready().await;
    let status_record = etcd.list("/sidekick/pushers/").await;
    assert_eq!(nginx.addresses("shop").await, [""; 0]);
    let load = Load::start(nginx.traffic(), 3);

    // A service that was not watched before, together with the one that is.
    config.routes("", &[("edge", &nginx, &["website", "shop"])]);
    reload(&pusher).await;
    nginx.routed("shop", addresses(&[&b])).await;
    put(&etcd, "website", &c).await;
    nginx.routed("website", addresses(&[&a, &c])).await;

    config.routes("", &[("edge", &nginx, &["website"])]);
    reload(&pusher).await;
    pusher.process().line("not pushed any more").await;
    etcd.delete("/services/shop/b").await;
    etcd.put(
        "/services/website/a",
        r#"{"host":"127.0.0.1","port":1,"state":"down"}"#,
    )
    .await;
    etcd.delete("/services/website/a").await;
    nginx.routed("website", addresses(&[&c])).await;
    assert_eq!(
        nginx.addresses("shop").await,
        addresses(&[&b]),
        "its servers stay"
    );

    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    assert!(report.answered() > 0, "{report:?}");
    let [before, after] = [status_record, etcd.list("/sidekick/pushers/").await].map(|mut all| {
        let kv = all.pop().expect("the status record");
        (kv.create_revision, kv.lease)
    });
    assert_eq!(before, after, "the status record has no gap");
    let services = etcd.list("/sidekick/pushers/").await[0].json()["services"].clone();
    let named: Vec<_> = services.as_object().expect("an object").keys().collect();
    assert_eq!(named, ["website"]);
    let said = pusher.process().output();
    assert_eq!(
        said.matches("pushing").count(),
        2,
        "nothing else was started anew: {said}"
    );
}

#[tokio::test]
async fn a_target_that_moves_is_filled_at_its_new_place_and_left_as_it_is_at_the_old() {
    let etcd = Etcd::start().await;
    let (old, new) = tokio::join!(Nginx::start(), Nginx::start());
    let backend = Backend::start("a").await;
    let config = Config::new();
    config.routes("", &[("edge", &old, &["website"])]);
    let pusher = config
        .push(&etcd)
        .args(["--min-servers", "0", "--hold", "0s"])
        .start();
    put(&etcd, "website", &backend).await;
    old.routed("website", addresses(&[&backend])).await;
    pusher.ready().await;
    config.routes("", &[("edge", &new, &["website"])]);
    reload(&pusher).await;
    new.routed("website", addresses(&[&backend])).await;
    etcd.delete("/services/website/a").await;
    new.routed("website", vec![]).await;
    assert_eq!(old.addresses("website").await, addresses(&[&backend]));
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_every_mistake_is_said() {
    let etcd = Etcd::start().await;
    let nginx = Nginx::start().await;
    let (a, b) = tokio::join!(Backend::start("a"), Backend::start("b"));
    let config = Config::new();
    config.routes("", &[("edge", &nginx, &["website"])]);
    let mut pusher = config.push(&etcd).start();
    put(&etcd, "website", &a).await;
    nginx.routed("website", addresses(&[&a])).await;
    pusher.ready().await;

    config.write("[[nginx]]\nname = \"edge\"\napi = \"http://127.0.0.1:1/\"\n[[upstream]]\nname = \"web site\"\nhold = 3\n");
    reload(&pusher).await;
    let path = shown(&config.path());
    pusher.process().line(&format!("{path}:5:8: `name`")).await;
    pusher.process().line(&format!("{path}:6:8: `hold`")).await;
    let status = format!("STATUS=the new configuration is wrong and not used: {path}:5:8: ");
    let said = pusher.notified(&status).await;
    assert!(said.contains("(and 1 more)"), "{said}");
    put(&etcd, "website", &b).await;
    nginx.routed("website", addresses(&[&a, &b])).await;

    fs::remove_file(config.path()).expect("our own file");
    reload(&pusher).await;
    pusher
        .process()
        .line(&format!("{path}: cannot be read: No such file"))
        .await;

    // What a running pusher cannot change is said, and the rest counts.
    config.routes(
        "id = \"other\"\nprefix = \"/elsewhere\"\nresync = \"1s\"\n",
        &[("edge", &nginx, &["website"])],
    );
    reload(&pusher).await;
    pusher
        .process()
        .line("a new prefix takes effect at the next start")
        .await;
    let id = pusher.process().output().contains("a new id");
    assert!(!id, "the flag beats the file, so nothing changed");
    etcd.delete("/services/website/a").await;
    nginx.routed("website", addresses(&[&b])).await;
    let last = pusher
        .notifications()
        .into_iter()
        .rfind(|line| line.starts_with("STATUS="));
    assert_eq!(
        last.as_deref(),
        Some("STATUS=1 of 1 upstreams equal to the records")
    );
    assert!(pusher.runs());
    assert_eq!(
        etcd.list("/sidekick/pushers/").await[0].key,
        "/sidekick/pushers/edge"
    );
}

#[tokio::test]
async fn check_config_says_what_the_example_does_and_everything_that_is_wrong_with_another() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/push.toml");
    let check = |path: &Path| {
        let path = shown(path);
        Command::new("push")
            .args(["--check-config", "--config", &path])
            .run()
    };
    let ended = check(&example).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        ended
            .output
            .contains("http upstream website takes service website"),
        "{}",
        ended.output
    );

    let config = Config::new();
    config.write("ressync = \"1s\"\n[[nginx]]\nname = \"edge\"\napi = \"http://h/\"\nbearer_file = \"/no/such\"\n[[upstream]]\n");
    let ended = check(&config.path()).await;
    assert_eq!(ended.code, Some(64), "{}", ended.output);
    let path = shown(&config.path());
    for said in [
        ":1:1: the file has no key `ressync`; did you mean `resync`?",
        ":2:1: \"edge\": /no/such: No such file",
        ":6:1: [[upstream]]: `name` is missing",
    ] {
        assert!(
            ended.output.contains(&format!("{path}{said}")),
            "{said}: {}",
            ended.output
        );
    }
    let ended = check(Path::new("/no/such.toml")).await;
    assert_eq!(ended.code, Some(64), "{}", ended.output);
    assert!(
        ended
            .output
            .contains("/no/such.toml: cannot be read: No such file"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn flags_that_contradict_a_file_are_refused() {
    let config = Config::new();
    config.write(
        "[[nginx]]\nname = \"edge\"\napi = \"http://h/\"\n[[upstream]]\nname = \"website\"\n",
    );
    let path = shown(&config.path());
    let refused = async |args: &[&str], said: &str| {
        let ended = Command::new("push").args(args).run().await;
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.output);
        assert!(ended.output.contains(said), "{args:?}: {}", ended.output);
    };
    let both = "and --config: the file has the targets and upstreams; give one of them";
    refused(
        &["--config", &path, "--nginx", "http://h/"],
        &format!("--nginx {both}"),
    )
    .await;
    refused(
        &["--config", &path, "--upstream", "x"],
        &format!("--upstream {both}"),
    )
    .await;
    refused(&["--check-config"], "--check-config needs --config FILE").await;
    let modes = ["--config", &path, "--check-config", "--once"];
    refused(&modes, "--once and --check-config: give one of them").await;
    refused(
        &["--config", &path, "--output", "xml"],
        "--output \"xml\": text or json is expected",
    )
    .await;
}

#[tokio::test]
async fn dry_run_and_once_tell_programs_what_they_tell_people() {
    let etcd = Etcd::start().await;
    let nginx = Nginx::start().await;
    let backend = Backend::start("a").await;
    let config = Config::new();
    config.routes("", &[("edge", &nginx, &["website", "nosuch"])]);
    put(&etcd, "website", &backend).await;
    let run = async |flag: &str| {
        let ended = config
            .push(&etcd)
            .args([flag, "--output", "json"])
            .run()
            .await;
        // The log goes to the other output.
        let rows = ended.output.lines().filter(|line| line.starts_with('{'));
        let rows = rows.map(|row| serde_json::from_str(row).expect(row));
        (ended.code, rows.collect::<Vec<serde_json::Value>>())
    };
    let (code, rows) = run("--dry-run").await;
    assert_eq!(code, Some(1), "nginx lacks one of them: {rows:?}");
    let address = backend.address();
    let expected = serde_json::json!({
        "target": "edge", "upstream": "website", "protocol": "http",
        "steps": [format!("add {address} weight=1")], "waiting": [], "error": null,
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["upstream"], "nosuch");
    assert_eq!(rows[1]["steps"], serde_json::json!([]));
    assert!(
        rows[1]["error"]
            .as_str()
            .is_some_and(|error| error.contains("nosuch")),
        "{rows:?}"
    );

    config.routes("", &[("edge", &nginx, &["website"])]);
    assert_eq!(run("--dry-run").await.0, Some(2));
    let (code, rows) = run("--once").await;
    let expected = serde_json::json!({
        "target": "edge", "upstream": "website", "protocol": "http",
        "equal": true, "draining": false, "refused": [], "error": null,
    });
    assert_eq!((code, rows), (Some(0), vec![expected]));
    let (code, rows) = run("--dry-run").await;
    assert_eq!((code, &rows[0]["steps"]), (Some(0), &serde_json::json!([])));
}
