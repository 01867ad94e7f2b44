//! A container with its announcer, and etcd and nginx, which are to follow it.

use std::net::SocketAddr;

use serde_json::json;

use super::docker::{Daemon, Kind};
use super::{Backend, Command, Harness, Kv, PATIENCE, Sidekick, procfs, until};

/// The container's name.
pub(crate) const NAME: &str = "web1";

/// Key of its record.
pub(crate) const KEY: &str = "/services/website/h1:web1";

/// A web server that takes its time to stop, as good ones do, and runs out of memory when it is told to by SIGUSR1.
const SERVER: &str = "trap 'sleep 0.2; exit 0' TERM; trap 'x=aaaaaaaa; while true; do x=$x$x; done' USR1; \
                      httpd -f -p 80 & while true; do wait; done";

/// The container's limit, in bytes.
const MEMORY: u64 = 16 << 20;

/// A container `web1` of a real daemon, its announcer, a pusher, and a second backend which is there all the time: the last
/// server of an upstream would be kept.
#[derive(Debug)]
pub(crate) struct PairedHarness {
    pub(crate) harness: Harness,
    pub(crate) daemon: Daemon,
    pub(crate) announcer: Sidekick,
    pub(crate) steady: Backend,
    _pusher: Sidekick,
}

impl PairedHarness {
    /// `None` where containers cannot be run. There is no container yet.
    pub(crate) async fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, &[]).await
    }

    /// With further arguments for the announcer.
    pub(crate) async fn start_with(kind: Kind, args: &[&str]) -> Option<Self> {
        let daemon = Daemon::start(kind).await?;
        let socket = format!("unix://{}", daemon.socket().display());
        Some(Self::with(daemon, &socket, args).await)
    }

    /// The announcer reaches the daemon, which need not run, by this address.
    pub(crate) async fn with(daemon: Daemon, docker_host: &str, args: &[&str]) -> Self {
        let harness = Harness::start().await;
        let steady = Backend::start("steady").await;
        let value = steady.address().to_string();
        harness.etcd.put("/services/website/steady", value).await;
        let pusher = harness.pushing().await;
        harness.routed(&[&steady]).await;
        let announcer = announce(&harness, docker_host, NAME).args(args).start();
        Self {
            harness,
            daemon,
            announcer,
            steady,
            _pusher: pusher,
        }
    }

    /// Creates and starts the container.
    pub(crate) async fn create(&self) {
        let mut settings = json!({"Labels": {"SERVICE_NAME": "website"}});
        if procfs::limits_memory() {
            settings["HostConfig"] = json!({"Memory": MEMORY, "MemorySwap": MEMORY});
        }
        self.daemon
            .container_with(NAME, &["sh", "-c", SERVER], settings)
            .await;
    }

    /// Starts the container, and waits until everybody knows.
    pub(crate) async fn started(&self, what: &str) -> SocketAddr {
        self.daemon.act(NAME, "start").await;
        self.right(what).await.expect("it was started")
    }

    /// Ends the container, in one of the ways, and starts it again.
    pub(crate) async fn flap(&self, number: usize) {
        match number % 4 {
            0 => self.daemon.act(NAME, "restart?t=5").await,
            1 => {
                self.daemon.crash(NAME).await;
                self.ended().await;
                self.daemon.act(NAME, "start").await;
            }
            _ => {
                self.daemon.act(NAME, "kill").await;
                self.ended().await;
                self.daemon.act(NAME, "start").await;
            }
        }
    }

    /// Waits until the container's process is gone.
    pub(crate) async fn ended(&self) {
        until(PATIENCE, "the container to end", async || {
            self.daemon.inspect(NAME).await["State"]["Running"] == false
        })
        .await;
    }

    /// The record.
    pub(crate) async fn record(&self) -> Option<Kv> {
        self.harness.etcd.get(KEY).await
    }

    /// Waits until etcd and nginx say of `web1` what its daemon says now, and gives back where it is reached.
    pub(crate) async fn right(&self, after: &str) -> Option<SocketAddr> {
        let truth = self.daemon.serves(NAME).await;
        self.follows(truth, after).await;
        truth
    }

    /// Waits until etcd and nginx have `web1` at this address, or not at all, and requests go where they should.
    pub(crate) async fn follows(&self, truth: Option<SocketAddr>, after: &str) {
        self.told(truth, after).await;
        self.answers(truth.is_some(), after).await;
    }

    /// Waits until etcd and nginx have `web1` at this address, or not at all.
    pub(crate) async fn told(&self, truth: Option<SocketAddr>, after: &str) {
        let what = format!("after {after}, the record to lead to {truth:?}");
        until(PATIENCE, what, async || {
            let record = self.record().await;
            let at = record.as_ref().map(|record| up_at(&record.value));
            match (at, truth) {
                (None, None) => Ok(()),
                (Some(at), Some(_)) if at == truth => Ok(()),
                _ => Err(record),
            }
        })
        .await;
        let mut servers = vec![self.steady.address().to_string()];
        servers.extend(truth.map(|address| address.to_string()));
        self.harness.nginx.routed("website", servers).await;
    }

    /// Waits until requests reach the container, or none does.
    async fn answers(&self, expected: bool, after: &str) {
        // The container's server has no page to show; the other one has.
        let container = Err("status 404".to_owned());
        if expected {
            let what = format!("after {after}, an answer of the container");
            until(PATIENCE, what, async || {
                let answer = self.harness.nginx.who().await;
                if answer == container {
                    Ok(())
                } else {
                    Err(answer)
                }
            })
            .await;
            return;
        }
        for _ in 0..4 {
            assert_eq!(self.harness.nginx.who().await, Ok("steady".to_owned()));
        }
    }
}

/// `sidekick announce --container NAME`, which waits for the next run when the container has ended.
pub(crate) fn announce(harness: &Harness, docker_host: &str, container: &str) -> Command {
    Command::new("announce")
        .named(container)
        .etcd(&harness.etcd)
        .args(["--container", container, "--docker-host", docker_host])
        .args(["--host-name", "h1", "--on-gone", "wait", "--allow-loopback"])
        .args(["--interval", "200ms", "--timeout", "190ms", "--rise", "1"])
        // A busy machine is no dead backend.
        .args(["--fall", "15", "--ttl", "60s"])
}

/// Where a record that takes traffic leads.
pub(crate) fn up_at(value: &str) -> Option<SocketAddr> {
    let record: serde_json::Value = serde_json::from_str(value).ok()?;
    let state = record["state"].as_str();
    let (host, port) = (record["host"].as_str()?, record["port"].as_u64()?);
    let up = state.is_none_or(|state| state == "up");
    format!("{host}:{port}").parse().ok().filter(|_| up)
}
