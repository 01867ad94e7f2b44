//! Servers that no record can name, unix sockets above all, and backups: an upstream that works by them is not emptied.

use std::fs;

use tempfile::TempDir;

use super::conf_file::who;
use super::conf_file_others::push_toml;
use super::keeping::{announce_by_hand, kept};
use crate::support::{Backend, Command, Etcd, FileNginx, Harness, Nginx, OWN, Settings, folder};

use sidekick::target::Layer;

/// A folder with a socket in it at which somebody who calls himself `unix` answers, as directives for nginx.
fn socket() -> (TempDir, String, String) {
    let folder = folder();
    let path = format!("unix:{}/x.sock", folder.path().display());
    let server = format!("server {{ listen {path}; return 200 unix; }}");
    (folder, path, server)
}

/// A socket beside at which nobody answers.
fn dead(path: &str) -> String {
    path.replace("x.sock", "dead.sock")
}

/// Etcd, and an nginx whose upstream has the socket and a backup, neither with a record.
async fn harness(socket: (&str, &str), backup: &Backend) -> Harness {
    let (path, server) = socket;
    let nginx = Settings::default().http(server);
    let (etcd, nginx) = tokio::join!(Etcd::start(), nginx.start());
    // Nothing tells which of two sockets answers: both stay.
    for server in [path, &dead(path)] {
        add(&nginx, &format!(r#"{{"server":"{server}"}}"#)).await;
    }
    let backup = format!(r#"{{"server":"{}","backup":true}}"#, backup.address());
    add(&nginx, &backup).await;
    assert_eq!(nginx.who().await.as_deref(), Ok("unix"));
    Harness { etcd, nginx }
}

async fn add(nginx: &Nginx, server: &str) {
    let added = nginx
        .call("POST", "/http/upstreams/website/servers", server)
        .await;
    assert_eq!(added.status, 201, "{added:?}");
}

#[tokio::test]
async fn once_refuses_to_empty_an_upstream_of_a_socket_and_a_backup_and_dry_run_says_so() {
    let (_folder, path, server) = socket();
    let backup = Backend::start("backup").await;
    let harness = harness((&path, &server), &backup).await;
    let before = harness.nginx.servers("website").await;
    let dry = harness.push().args(["--dry-run"]).run().await;
    let once = harness.push().args(["--once"]).run().await;
    assert_eq!((dry.code, once.code), (Some(2), Some(1)), "{}", once.output);
    for server in [path.clone(), dead(&path), backup.address().to_string()] {
        let (would, cannot) = (
            format!("would not remove {server}"),
            format!("cannot remove {server}"),
        );
        assert!(dry.output.contains(&would), "{}", dry.output);
        assert!(once.output.contains(&cannot), "{}", once.output);
    }
    assert_eq!(harness.nginx.servers("website").await, before);
    let one = Backend::start("one").await;
    announce_by_hand(&harness, &one).await;
    let args = ["--max-removal", "100%"];
    let dry = harness.push().args(["--dry-run"]).args(args).run().await;
    assert!(
        dry.output.contains(&format!(": remove {path}")),
        "{}",
        dry.output
    );
    let once = harness.push().args(["--once"]).args(args).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    harness.routed(&[&one]).await;
}

#[tokio::test]
async fn a_pusher_leaves_a_socket_until_a_record_has_taken_its_place() {
    let (_folder, path, server) = socket();
    let backup = Backend::start("backup").await;
    let harness = harness((&path, &server), &backup).await;
    let pusher = harness.push().args(["--hold", "2s"]).start();
    pusher.process().line(&format!("remove {path}")).await;
    kept(&harness, "edge", 0, 1).await;
    assert_eq!(harness.nginx.who().await.as_deref(), Ok("unix"));
    let one = Backend::start("one").await;
    announce_by_hand(&harness, &one).await;
    harness.routed(&[&one]).await;
    pusher.process().line(&format!("INFO remove {path}")).await;
}

#[tokio::test]
async fn a_file_that_works_by_a_socket_is_taken_over_with_it() {
    for draining in [false, true] {
        let (_folder, path, server) = socket();
        let mut nginx = FileNginx::new(Layer::Http, &["website"]);
        let dead = dead(&path);
        let foreign = format!(
            "upstream website {{ server {dead}; server {path}; server 127.0.0.1:9 backup; }}\n"
        );
        fs::write(nginx.file(), &foreign).unwrap();
        fs::write(nginx.folder().join("conf.d/socket.conf"), server).unwrap();
        nginx.run().await;
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("unix"));
        let etcd = Etcd::start().await;
        if draining {
            let record = r#"{"host":"127.0.0.1","port":9999,"state":"draining"}"#;
            etcd.put("/services/website/gone", record).await;
        }
        let config = push_toml(&nginx, "");
        let push = || {
            let push = Command::new("push").etcd(&etcd);
            push.args(["--config", &config, "--id", "edge"])
        };
        let dry = push().args(["--dry-run", "--adopt"]).run().await;
        let would = format!("would not remove {path}");
        assert!(dry.output.contains(&would), "{}", dry.output);
        assert_eq!((dry.code, nginx.text()), (Some(2), foreign));
        let once = push().args(["--once", "--adopt"]).run().await;
        let cannot = format!("cannot remove {path}");
        assert!(once.output.contains(&cannot), "{}", once.output);
        assert_eq!(once.code, Some(1), "{}", once.output);
        assert!(nginx.text().starts_with(OWN), "{}", nginx.text());
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("unix"));
        let pusher = push().start();
        pusher.process().line(&format!("remove {path}")).await;
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("unix"));
        let one = Backend::start("one").await;
        let (host, port) = (one.address().ip(), one.address().port());
        let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
        etcd.put("/services/website/one", record).await;
        pusher
            .process()
            .line(&format!("remove {path} upstream=website"))
            .await;
        assert_eq!(who(&nginx, "/").await.as_deref(), Ok("one"));
        assert!(!nginx.text().contains(&path), "{}", nginx.text());
    }
}
