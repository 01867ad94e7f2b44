//! The command that a container asks to be run inside it, `SERVICE_CHECK_CMD`, by real daemons.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::docker::{Daemon, Kind};
use crate::support::{Command, Etcd, PATIENCE, until};

const KEY: &str = "/services/web/h1:web1";

/// A container whose check is a script that the test can exchange.
struct Checked {
    daemon: Daemon,
    etcd: Etcd,
    /// Its file system.
    root: PathBuf,
}

impl Checked {
    async fn start(kind: Kind) -> Option<Self> {
        let daemon = Daemon::start(kind).await?;
        let labels = json!({
            "SERVICE_CHECK_CMD": "sh /check 'one word'",
            // A daemon may take many seconds for it on a busy machine.
            "SERVICE_CHECK_INTERVAL": "30s",
            "SERVICE_CHECK_TIMEOUT": "29s",
        });
        daemon.labelled("web1", labels).await;
        let root = format!("/proc/{}/root", daemon.pid("web1").await);
        Some(Self {
            daemon,
            etcd: Etcd::start().await,
            root: root.into(),
        })
    }

    /// What the check is from here on. A shell never reads half of it.
    fn script(&self, script: &str) {
        let next = self.root.join("next");
        fs::write(&next, script).unwrap();
        fs::rename(next, self.root.join("check")).unwrap();
    }

    fn sidekick(&self, subcommand: &str) -> Command {
        let socket = format!("unix://{}", self.daemon.socket().display());
        Command::new(subcommand)
            .etcd(&self.etcd)
            .args(["--container", "web1", "--docker-host", &socket])
            .args(["--host-name", "h1", "--allow-loopback"])
    }

    /// Checks until that ends so and says this. A busy daemon may take longer for an answer than a sidekick waits.
    async fn check_ends(&self, code: i32, says: &[&str]) {
        let what = format!("a check to end with {code} and to say {says:?}");
        until(2 * PATIENCE, what, async || {
            let ended = self.sidekick("check").run().await;
            let said = says.iter().all(|part| ended.output.contains(part));
            if said && ended.code == Some(code) {
                Ok(())
            } else {
                Err(ended)
            }
        })
        .await;
    }

    async fn until_announced(&self, announced: bool) {
        until(PATIENCE, format!("announced: {announced}"), async || {
            (self.etcd.get(KEY).await.is_some() == announced).then_some(())
        })
        .await;
    }
}

/// How often a text is in others.
fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

async fn decides(kind: Kind) {
    let Some(checked) = Checked::start(kind).await else {
        return;
    };
    checked.script("test \"$1\" = 'one word' || exit 9; echo no database >&2; exit 3");
    let says = [
        "check    in the container: sh ... (label SERVICE_CHECK_CMD)",
        "probe    down: in the container: sh ...: exit code 3: no database",
    ];
    checked.check_ends(1, &says).await;
    // More than any buffer on the way takes.
    checked.script("i=0; while [ $i -lt 30000 ]; do echo working $i; i=$((i+1)); done; exit 0");
    checked.check_ends(0, &["probe    up"]).await;

    checked.script("exit 0");
    let announcer = checked.sidekick("announce");
    let announcer = announcer
        .args(["--interval", "10s", "--timeout", "9900ms"])
        .args(["--rise", "1", "--fall", "1", "--ttl", "1m"]);
    let announcer = announcer.start();
    checked.until_announced(true).await;
    checked.script("echo lost it; exit 4");
    announcer.process().line("exit code 4: lost it").await;
    checked.until_announced(false).await;
    checked.script("exit 0");
    checked.until_announced(true).await;
}

async fn hangs(kind: Kind) {
    let Some(checked) = Checked::start(kind).await else {
        return;
    };
    checked.script("echo begun >> /begun; until [ -e /end ]; do sleep 1; done");
    let checks = checked.sidekick("check");
    let checks = checks.args(["--interval", "1s", "--timeout", "900ms", "--count", "1000"]);
    let check = checks.start();
    let begun = || fs::read_to_string(checked.root.join("begun"));
    // A busy daemon may take longer to begin it than several attempts wait.
    until(2 * PATIENCE, "the command to begin", async || begun()).await;
    let refused = || count(&check.process().lines(), "still runs");
    let before = refused();
    until(PATIENCE, "further attempts", async || {
        refused() > before + 4
    })
    .await;
    let lines = check.process().lines();
    assert_eq!(count(&lines, "probe    up"), 0, "{lines:?}");
    assert_eq!(
        count(&lines, "no whole answer within 900ms"),
        1,
        "{lines:?}"
    );
    assert_eq!(begun().unwrap(), "begun\n", "none beside one that runs");
}

async fn paused(kind: Kind) {
    let Some(checked) = Checked::start(kind).await else {
        return;
    };
    checked.script("exit 0");
    checked.daemon.act("web1", "pause").await;
    checked.check_ends(1, &["is paused"]).await;
    checked.daemon.act("web1", "unpause").await;
}

#[tokio::test]
async fn the_exit_code_of_a_command_in_a_container_of_docker_decides() {
    decides(Kind::Docker).await;
}

#[tokio::test]
async fn the_exit_code_of_a_command_in_a_container_of_podman_decides() {
    decides(Kind::Podman).await;
}

#[tokio::test]
async fn a_command_that_hangs_in_a_container_of_docker_fails_in_time_and_stays_alone() {
    hangs(Kind::Docker).await;
}

#[tokio::test]
async fn a_command_that_hangs_in_a_container_of_podman_fails_in_time_and_stays_alone() {
    hangs(Kind::Podman).await;
}

#[tokio::test]
async fn a_daemon_that_runs_no_command_in_a_paused_container_is_quoted() {
    paused(Kind::Docker).await;
    paused(Kind::Podman).await;
}
