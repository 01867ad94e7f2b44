//! What an announcer of a container needs of the host around it: a container that runs, a name, an address.

use std::time::Duration;

use serde_json::json;
use tokio::process::Command as Program;
use tokio::time::Instant;

use crate::support::docker::{Daemon, Kind};
use crate::support::{Command, Ended, Etcd, PATIENCE, archive_of, program, until};

fn announce(etcd: &Etcd, daemon: &Daemon) -> Command {
    let socket = format!("unix://{}", daemon.socket().display());
    Command::new("announce")
        .etcd(etcd)
        .args(["--container", "web1", "--docker-host", &socket])
        .args(["--interval", "200ms", "--timeout", "190ms", "--rise", "1"])
        .notify()
}

#[tokio::test]
async fn a_container_that_ended_before_it_was_seen_or_never_was_ends_the_announcer_with_69() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    let ends = async |says: &str| {
        let announcer = announce(&etcd, &daemon).args(["--start-timeout", "1s"]);
        let ended = announcer.run().await;
        assert_eq!(ended.code, Some(69), "{}", ended.output);
        let says = format!("container web1 {says}, and has not run within 1s (--start-timeout)");
        assert!(ended.output.contains(&says), "{}", ended.output);
    };
    ends("does not exist").await;
    daemon.container("web1").await;
    daemon.act("web1", "kill").await;
    until(PATIENCE, "it to end", async || !daemon.runs("web1").await).await;
    ends("exited with 137").await;
}

#[tokio::test]
async fn the_start_timeout_is_counted_only_while_the_daemon_answers() {
    let Some(mut daemon) = Daemon::planned(Kind::Docker) else {
        return;
    };
    let etcd = Etcd::start().await;
    let from = Instant::now();
    let mut announcer = announce(&etcd, &daemon)
        .args(["--start-timeout", "1s"])
        .start();
    announcer.process().line("there is no such socket").await;
    // Three times as long as it would wait for a container.
    until(PATIENCE, "three seconds to be over", async || {
        from.elapsed() > Duration::from_secs(3)
    })
    .await;
    assert!(announcer.runs(), "it did not wait for the daemon");
    daemon.run().await;
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(69), "{}", ended.output);
    assert!(ended.output.contains("does not exist"), "{}", ended.output);
}

#[tokio::test]
async fn the_same_container_on_two_hosts_is_two_instances_and_its_name_alone_stands_for_the_only_one()
 {
    let (Some(one), Some(two)) = (
        Daemon::start(Kind::Docker).await,
        Daemon::start(Kind::Docker).await,
    ) else {
        return;
    };
    let etcd = Etcd::start().await;
    let mut announcers = Vec::new();
    for (daemon, host) in [(&one, "h1"), (&two, "h2")] {
        daemon.container("web1").await;
        let announcer = announce(&etcd, daemon).args(["--host-name", host, "--allow-loopback"]);
        let announcer = announcer.start();
        announcer.ready().await;
        announcers.push(announcer);
        let goal = ["web/web1", "--for", "announced", "--timeout", "30s"];
        let waited = Command::new("wait").etcd(&etcd).args(goal).run().await;
        if host == "h1" {
            assert_eq!(waited.code, Some(0), "{}", waited.output);
            let held = hold(&etcd, "web/web1").await;
            assert!(
                held.output.contains("web/h1:web1 is held"),
                "{}",
                held.output
            );
        } else {
            several(&waited);
        }
    }
    for key in ["/services/web/h1:web1", "/services/web/h2:web1"] {
        assert!(etcd.get(key).await.is_some(), "{key}");
    }
    for announcer in &mut announcers {
        assert!(announcer.runs(), "one was deposed by the other");
    }
    several(&hold(&etcd, "web/web1").await);
    let deregister = ["web/web1", "--drain-timeout", "0s"];
    let refused = Command::new("deregister").etcd(&etcd).args(deregister);
    several(&refused.run().await);
}

async fn hold(etcd: &Etcd, id: &str) -> Ended {
    let words = [id, "--for", "1m", "--reason", "a test"];
    let hold = Command::new("hold").etcd(etcd).args(words);
    hold.args(["--drain-timeout", "0s"]).run().await
}

fn several(ended: &Ended) {
    assert_eq!(ended.code, Some(64), "{}", ended.output);
    let choice = "web/web1 may be any of web/h1:web1, web/h2:web1";
    assert!(ended.output.contains(choice), "{}", ended.output);
}

/// An interface of this machine: one end of a cable, whose other end is here too.
struct Interface(String);

impl Interface {
    async fn make(name: String, address: &str) -> Self {
        let interface = Self(name);
        let name = &interface.0;
        for words in [
            format!("link add {name} type veth peer name {name}p"),
            format!("link set {name}p up"),
            format!("address add {address}/32 dev {name}"),
            format!("link set {name} up"),
        ] {
            let done = Program::new("ip").args(words.split(' ')).status().await;
            assert!(done.expect("ip").success(), "ip {words}");
        }
        interface
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        let mut ip = std::process::Command::new("ip");
        let _ = ip.args(["link", "delete", &self.0]).status();
    }
}

#[tokio::test]
async fn an_interface_that_is_not_there_yet_is_waited_for_and_told() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    daemon.container("web1").await;
    let name = format!("skd{}", std::process::id());
    let probe = ["--probe", "exec:true", "--host-name", "h1", "--host", &name];
    let announcer = announce(&etcd, &daemon).args(probe).start();
    let told = announcer.notified("STATUS=waiting: --host").await;
    assert!(told.contains("there is no such interface"), "{told}");
    assert_eq!(etcd.get("/services/web/h1:web1").await, None);
    let _interface = Interface::make(name, "10.232.7.1").await;
    announcer.ready().await;
    let record = etcd.get("/services/web/h1:web1").await.expect("announced");
    assert_eq!(record.json()["host"], "10.232.7.1", "{}", record.value);
}

#[tokio::test]
async fn a_sidekick_in_a_container_does_not_announce_that_containers_address_for_another() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = "shop/sidekick:1";
    let archive = archive_of(&program(), "sidekick", folder.path());
    daemon.import(image, &archive).await;
    let on_host = json!({"HostConfig": {"NetworkMode": "host", "PortBindings": {}}});
    daemon
        .container_with("web1", &["sleep", "3600"], on_host)
        .await;
    let check = ["/sidekick", "check", "--container", "web1"];
    let check = [
        &check[..],
        &[
            "--docker-host",
            "unix:///d.sock",
            "--probe",
            "exec:/sidekick --version",
        ],
    ];
    let run = async |name: &str, network: &str, more: &[&str]| {
        let socket = format!("{}:/d.sock", daemon.socket().display());
        let settings = json!({
            "Image": image,
            "HostConfig": {"Binds": [socket], "PortBindings": {}, "NetworkMode": network},
        });
        let command = [&check.concat()[..], more].concat();
        daemon.container_with(name, &command, settings).await;
        until(PATIENCE, "the check to end", async || {
            !daemon.runs(name).await
        })
        .await;
        let code = daemon.inspect(name).await["State"]["ExitCode"].as_i64();
        (code, daemon.logs(name).await)
    };
    let (code, said) = run("inside", daemon.network(), &[]).await;
    assert_eq!(code, Some(64), "{said}");
    let expected = "sidekick runs in container inside and sees that container's addresses, not the host's: give the host's address with --host";
    assert!(said.contains(expected), "{said}");
    let (code, said) = run("given", daemon.network(), &["--host", "10.0.0.5"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"host\":\"10.0.0.5\""), "{said}");
    // On the host's network its addresses are the host's.
    let (code, said) = run("outside", "host", &["--host", "lo", "--allow-loopback"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"host\":\"127.0.0.1\""), "{said}");
}
