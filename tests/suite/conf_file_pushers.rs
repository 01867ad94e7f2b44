//! Two pushers at one file.

use std::fs;
use std::time::Duration;

use sidekick::target::Layer;
use tokio::time::sleep;

use super::conf_file_others::push_toml;
use crate::support::{Backend, Command, Etcd, FileNginx, PATIENCE, Signal, send, until};

const RECORDS: u16 = 60;
const BAD: u16 = 4;

/// A record that the check refuses: its port is above all others.
fn bad_port(number: u16) -> u16 {
    60_000 + number
}

/// Settings for both, with a check that refuses some servers.
fn config(nginx: &FileNginx, more: &str) -> String {
    let config = push_toml(nginx, more);
    let script = nginx.folder().join("check.sh");
    let file = nginx.file().display();
    let check = nginx.command("-t");
    let text = format!(
        "if grep -q ':6000[0-9]' {file}; then echo bad port >&2; exit 1; fi\nexec {check}\n"
    );
    fs::write(&script, text).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(
        &format!("check = \"{check}\""),
        &format!("check = \"sh {}\"", script.display()),
    );
    fs::write(&config, text).unwrap();
    config
}

fn push(etcd: &Etcd, config: &str, id: &str) -> Command {
    let push = Command::new("push").etcd(etcd);
    push.args(["--config", config, "--id", id])
}

fn count(nginx: &FileNginx) -> usize {
    nginx.text().matches("    server 127.0.0.").count()
}

async fn converged(nginx: &FileNginx, wanted: usize) {
    let seen = async || match count(nginx) {
        count if count == wanted => Ok(()),
        count => Err(count),
    };
    until(PATIENCE * 2, "the good servers alone to be there", seen).await;
}

/// Each looks several times, and neither reloads because of the other.
async fn stays(nginx: &FileNginx, servers: usize) {
    // What each has begun is over by then, and nothing tells when they do nothing more.
    sleep(Duration::from_secs(3)).await;
    let reloads = nginx.reloads();
    // Three looks of each.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(nginx.reloads(), reloads);
    converged(nginx, servers).await;
}

async fn two_pushers(more: &str) {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let (etcd, one) = tokio::join!(Etcd::start(), Backend::start("one"));
    for number in 0..RECORDS {
        let (host, port) = match number < BAD {
            true => ("127.0.0.1", bad_port(number)),
            false => ("127.0.0.2", 1_000 + number),
        };
        let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
        etcd.put(&format!("/services/website/r{number}"), record)
            .await;
    }
    let config = config(&nginx, more);
    let pushers = ["a", "b"].map(|id| push(&etcd, &config, id).start());
    let good = usize::from(RECORDS - BAD);
    converged(&nginx, good).await;
    // A record that comes and goes, each time for both.
    let (host, port) = (one.address().ip(), one.address().port());
    for _ in 0..3 {
        let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
        etcd.put("/services/website/one", record).await;
        converged(&nginx, good + 1).await;
        etcd.delete("/services/website/one").await;
        converged(&nginx, good).await;
    }
    stays(&nginx, good).await;
    let once = push(&etcd, &config, "c").args(["--once"]).run().await;
    assert_eq!(once.code, Some(1), "{}", once.output);
    assert!(
        once.output.contains("cannot add server 127.0.0.1:6000"),
        "{}",
        once.output
    );
    for number in 0..BAD {
        etcd.delete(&format!("/services/website/r{number}")).await;
    }
    let once = push(&etcd, &config, "c").args(["--once"]).run().await;
    assert_eq!(once.code, Some(0), "{}", once.output);
    converged(&nginx, good).await;
    stays(&nginx, good).await;
    for mut pusher in pushers {
        let ended = pusher.leave().await;
        for wrong in ["File exists", "cannot be", "somebody changed"] {
            assert!(!ended.output.contains(wrong), "{}", ended.output);
        }
        let removed = ended.output.lines().filter(|line| line.contains("remove "));
        let living: Vec<_> = removed.filter(|line| line.contains("127.0.0.2")).collect();
        assert!(living.is_empty(), "{living:?}");
    }
}

#[tokio::test]
async fn two_pushers_at_one_file_agree_and_take_no_living_server_away() {
    two_pushers("").await;
}

#[tokio::test]
async fn two_pushers_at_one_file_with_a_proof_agree_and_take_no_living_server_away() {
    let proof = format!("proof = \"127.0.0.1:{}\"", crate::support::free_port());
    two_pushers(&proof).await;
}

/// A check that takes as long as the test likes.
fn stuck(nginx: &FileNginx) -> (std::path::PathBuf, String) {
    let begun = nginx.folder().join("begun");
    let config = push_toml(nginx, "command_timeout = \"10m\"");
    let text = fs::read_to_string(&config).unwrap();
    let check = format!("check = \"{}\"", nginx.command("-t"));
    let slow = format!("check = \"sh -c 'touch {}; sleep 600'\"", begun.display());
    fs::write(&config, text.replace(&check, &slow)).unwrap();
    (begun, config)
}

#[tokio::test]
async fn who_waits_for_another_pusher_says_so_and_ends_at_sigterm_and_what_a_killed_one_left_is_put_back()
 {
    let nginx = FileNginx::start(Layer::Http, &["website"]).await;
    let etcd = Etcd::start().await;
    let before = nginx.text();
    let record = r#"{"host":"127.0.0.1","port":9}"#;
    etcd.put("/services/website/one", record).await;
    let (begun, slow) = stuck(&nginx);
    let first = push(&etcd, &slow, "a").start();
    until(PATIENCE, "the check to begin", async || begun.exists()).await;
    assert_ne!(nginx.text(), before, "it is being tried");
    // The other one has the same settings, but for its name.
    let mut second = push(&etcd, &slow, "b").start();
    let said = "another sidekick is changing";
    second.process().line(said).await;
    let ended = second.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(ended.output.matches(said).count(), 1, "{}", ended.output);

    let config = push_toml(&nginx, "");
    let mut third = push(&etcd, &config, "c").start();
    third.process().line(said).await;
    send(first.process().pid(), Signal::KILL).unwrap();
    converged(&nginx, 1).await;
    let ended = third.leave().await;
    assert!(!ended.output.contains("cannot restore"), "{}", ended.output);
}
