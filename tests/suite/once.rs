//! `push --once` and `--dry-run` obey min_servers and guard as a running pusher does, as far as one look can tell.

use super::conf_file_others::push_toml;
use super::keeping::{announce_by_hand, put};
use crate::support::{Backend, Command, Ended, Etcd, FileNginx, Harness, key};

use sidekick::target::Layer;

async fn push(harness: &Harness, args: &[&str]) -> Ended {
    harness.push().args(args).run().await
}

/// So many backends that a pusher has put into nginx before it ended.
async fn pushed(harness: &Harness, count: usize) -> Vec<Backend> {
    let backends = put(harness, count).await;
    let mut pusher = harness.pushing().await;
    harness.routed(&backends.iter().collect::<Vec<_>>()).await;
    assert_eq!(pusher.leave().await.code, Some(0));
    backends
}

fn says(ended: &Ended, text: &str) {
    assert!(ended.output.contains(text), "{text}: {}", ended.output);
}

#[tokio::test]
async fn once_and_dry_run_leave_the_last_server_and_say_why() {
    let harness = Harness::start().await;
    let backends = pushed(&harness, 1).await;
    let last = &backends[0];
    harness.etcd.delete_all("/services/website/").await;
    let address = last.address();
    // Nothing may be removed at all, and then as much as anybody likes.
    for share in ["0", "100%"] {
        let args = ["--min-servers", "1", "--max-removal", share];
        let dry = push(&harness, &[&["--dry-run"], &args[..]].concat()).await;
        assert_eq!(dry.code, Some(2), "{}", dry.output);
        says(&dry, &format!("would not remove {address}: "));
        assert!(!dry.output.contains(&format!(": remove {address}")));
        let once = push(&harness, &[&["--once"], &args[..]].concat()).await;
        assert_eq!(once.code, Some(1), "{}", once.output);
        says(&once, &format!("cannot remove {address}: "));
        assert!(!once.output.contains("100%"), "{}", once.output);
        harness.routed(&[last]).await;
    }
    says(&push(&harness, &["--once"]).await, "--max-removal (50%)");
    let lenient = ["--once", "--max-removal", "100%"];
    says(&push(&harness, &lenient).await, "--min-servers (1)");
    let all = [&lenient[..], &["--min-servers", "0"]].concat();
    let dry = push(&harness, &[&["--dry-run"], &all[1..]].concat()).await;
    says(&dry, &format!(": remove {address}"));
    let once = push(&harness, &all).await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    harness.routed(&[]).await;
}

#[tokio::test]
async fn once_and_dry_run_leave_the_last_server_that_drains() {
    let harness = Harness::start().await;
    let backends = pushed(&harness, 2).await;
    for backend in &backends {
        let (host, port) = (backend.address().ip(), backend.address().port());
        let draining = format!(r#"{{"host":"{host}","port":{port},"state":"draining"}}"#);
        harness.etcd.put(&key(backend), draining).await;
    }
    let dry = push(&harness, &["--dry-run"]).await;
    assert_eq!(dry.code, Some(2), "{}", dry.output);
    let once = push(&harness, &["--once"]).await;
    assert_eq!(once.code, Some(1), "{}", once.output);
    let (first, other) = (backends[0].address(), backends[1].address());
    says(&dry, &format!("would not drain {first}: "));
    says(&dry, &format!(": drain {other}"));
    says(&once, &format!("cannot drain {first}: "));
    harness.routed(&[&backends[0]]).await;
}

#[tokio::test]
async fn dry_run_tells_of_a_mass_removal_what_once_would_refuse() {
    let harness = Harness::start().await;
    let backends = pushed(&harness, 3).await;
    let [a, b, c] = &backends[..] else {
        panic!("three backends")
    };
    harness.etcd.delete(&key(b)).await;
    harness.etcd.delete(&key(c)).await;
    let dry = push(&harness, &["--dry-run"]).await;
    assert_eq!(dry.code, Some(2), "{}", dry.output);
    let once = push(&harness, &["--once"]).await;
    assert_eq!(once.code, Some(1), "{}", once.output);
    for gone in [b, c] {
        let address = gone.address();
        says(&dry, &format!("would not remove {address}: "));
        says(&once, &format!("cannot remove {address}: "));
    }
    assert!(!dry.output.contains(": remove "), "{}", dry.output);
    harness.routed(&[a, b, c]).await;
    let json = push(&harness, &["--dry-run", "--output", "json"]).await;
    let row = json.output.lines().find(|line| line.starts_with('{'));
    let row: serde_json::Value = serde_json::from_str(row.unwrap()).unwrap();
    assert_eq!(row["steps"], serde_json::json!([]), "{row}");
    assert_eq!(row["withheld"].as_array().map(Vec::len), Some(2), "{row}");
}

#[tokio::test]
async fn a_swap_is_done_at_once_and_told_before() {
    let harness = Harness::start().await;
    let backends = pushed(&harness, 1).await;
    let old = &backends[0];
    let new = Backend::start("new").await;
    harness.etcd.delete_all("/services/website/").await;
    announce_by_hand(&harness, &new).await;
    let dry = push(&harness, &["--dry-run"]).await;
    says(&dry, &format!(": add {} ", new.address()));
    says(&dry, &format!(": remove {} ", old.address()));
    assert!(!dry.output.contains("would not"), "{}", dry.output);
    let once = push(&harness, &["--once"]).await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    harness.routed(&[&new]).await;
}

#[tokio::test]
async fn once_takes_nobody_away_in_favour_of_a_newcomer_that_nginx_refuses() {
    let harness = Harness::start().await;
    let backends = pushed(&harness, 2).await;
    harness.etcd.delete_all("/services/website/").await;
    for new in ["new1", "new2"] {
        let record = format!(r#"{{"host":"{new}.example","port":80}}"#);
        harness
            .etcd
            .put(&format!("/services/website/{new}"), record)
            .await;
    }
    let once = push(&harness, &["--once"]).await;
    assert_eq!(once.code, Some(1), "{}", once.output);
    for backend in &backends {
        says(&once, &format!("cannot remove {}: ", backend.address()));
    }
    says(&once, "cannot add new1.example:80");
    harness.routed(&[&backends[0], &backends[1]]).await;
}

#[tokio::test]
async fn once_leaves_the_last_server_of_a_file() {
    let (etcd, backend) = tokio::join!(Etcd::start(), Backend::start("b1"));
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let config = push_toml(&nginx, "");
    let push = async |args: &[&str]| {
        let push = Command::new("push").etcd(&etcd).args(["--config", &config]);
        push.args(["--id", "edge"]).args(args).run().await
    };
    let address = backend.address().to_string();
    etcd.put("/services/website/b1", address.clone()).await;
    assert_eq!(push(&["--once"]).await.code, Some(0));
    assert!(nginx.text().contains(&address));
    etcd.delete("/services/website/b1").await;
    let dry = push(&["--dry-run"]).await;
    assert_eq!(dry.code, Some(2), "{}", dry.output);
    says(&dry, &format!("would not remove {address}: "));
    let once = push(&["--once"]).await;
    assert_eq!(once.code, Some(1), "{}", once.output);
    says(&once, &format!("cannot remove {address}: "));
    assert!(nginx.text().contains(&address));
}
