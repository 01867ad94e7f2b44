//! Etcd and nginx with one upstream `website`, and the sidekicks between them.

use super::{Backend, Command, Etcd, Kv, Nginx, PATIENCE, Sidekick, until};

/// A lease of announcers, in seconds, that is short enough to wait for: see [`Harness::announce_briefly`].
pub(crate) const TTL: u64 = 4;

/// What every test begins with.
#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) etcd: Etcd,
    pub(crate) nginx: Nginx,
}

impl Harness {
    /// Both running and empty.
    pub(crate) async fn start() -> Self {
        let (etcd, nginx) = tokio::join!(Etcd::start(), Nginx::start());
        Self { etcd, nginx }
    }

    /// `sidekick announce website/NAME ADDRESS` with a quick probe of `/health`, not started yet.
    pub(crate) fn announce(&self, backend: &Backend) -> Command {
        announce(&self.etcd.endpoint(), backend)
    }

    /// The same on a lease of [`TTL`], for a test that waits for its end or its renewal. A machine that stands still for a
    /// moment may lose it.
    pub(crate) fn announce_briefly(&self, backend: &Backend) -> Command {
        self.announce(backend).args(["--ttl", &format!("{TTL}s")])
    }

    /// Announces a backend and waits until it is in etcd.
    pub(crate) async fn announced(&self, backend: &Backend) -> Sidekick {
        let announcer = self.announce(backend).start();
        announcer.ready().await;
        announcer
    }

    /// `sidekick push` for `website`, not started yet.
    pub(crate) fn push(&self) -> Command {
        push(&self.etcd.endpoint(), &self.nginx)
    }

    /// Starts pushing and waits until the pusher is present in etcd.
    pub(crate) async fn pushing(&self) -> Sidekick {
        let pusher = self.push().start();
        self.status_record().await;
        pusher
    }

    /// Waits for a pusher's status record.
    pub(crate) async fn status_record(&self) -> Kv {
        until(PATIENCE, "a pusher's status record", async || {
            self.etcd.list("/sidekick/pushers/").await.pop()
        })
        .await
    }

    /// Waits until the pusher says that it has applied every change of the records so far.
    pub(crate) async fn applied(&self) {
        let records = self.etcd.list("/services/website/").await;
        let newest = records.iter().map(|record| record.mod_revision).max();
        until(
            PATIENCE,
            format!("revision {newest:?} to be applied"),
            async || {
                let status_record = self.status_record().await.json();
                let applied = status_record["services"]["website"]["applied"].as_i64();
                if applied >= newest {
                    Ok(())
                } else {
                    Err(status_record)
                }
            },
        )
        .await;
    }

    /// Waits until the upstream's servers are exactly these backends.
    #[track_caller]
    pub(crate) fn routed(&self, backends: &[&Backend]) -> impl Future<Output = ()> {
        let addresses = backends.iter().map(|backend| backend.address().to_string());
        self.nginx.routed("website", addresses.collect())
    }

    /// The record of a backend.
    pub(crate) async fn record(&self, backend: &Backend) -> Option<Kv> {
        self.etcd.get(&key(backend)).await
    }
}

/// Key of a backend's record.
pub(crate) fn key(backend: &Backend) -> String {
    format!("/services/website/{}", backend.name())
}

/// `sidekick announce website/NAME ADDRESS` with a quick probe of `/health`, under a service manager. It loses its record
/// neither by a few probes that a busy machine delays nor by a late renewal. Its pace is set by the environment, so that a
/// test can say otherwise by a flag.
pub(crate) fn announce(endpoints: &str, backend: &Backend) -> Command {
    Command::new("announce")
        .named(backend.name())
        .endpoints(endpoints)
        .args([
            &format!("website/{}", backend.name()),
            &backend.address().to_string(),
        ])
        .args(["--allow-loopback", "--probe", "/health"])
        .env("SIDEKICK_INTERVAL", "300ms")
        .env("SIDEKICK_TIMEOUT", "250ms")
        .env("SIDEKICK_RISE", "1")
        .env("SIDEKICK_FALL", "10")
        .env("SIDEKICK_TTL", "60s")
        .notify()
}

/// `sidekick push` for the upstream `website` of one nginx.
pub(crate) fn push(endpoints: &str, nginx: &Nginx) -> Command {
    Command::new("push")
        .endpoints(endpoints)
        .args(["--nginx", &nginx.api_url(), "--upstream", "website"])
        .env("SIDEKICK_ID", "edge")
}

/// How many servers of `website` a pusher's status record says that min_servers and the guard protect.
pub(crate) fn protected(status_record: &serde_json::Value) -> (u64, u64) {
    let targets = status_record["targets"].as_object();
    let mut counts = (0, 0);
    for target in targets.into_iter().flat_map(serde_json::Map::values) {
        let listed = target["upstreams"]["website"]["protected"].as_array();
        for server in listed.into_iter().flatten() {
            match server.get("until") {
                None => counts.0 += 1,
                Some(_) => counts.1 += 1,
            }
        }
    }
    counts
}
