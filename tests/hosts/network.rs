//! A load balancer whose own network fails, beside an etcd that it still reaches.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::host_harness::{configure_nginx, install, servers};
use crate::support::hosts::{Host, Site};
use crate::support::{PATIENCE, until};

const PORTS: [u16; 4] = [8001, 8002, 8003, 8004];

/// Where nobody listens, on the load balancer itself.
const DEAD: &str = "127.0.0.1:9";

/// Longer than what is silent is asked until it counts as dead.
const LONG: Duration = Duration::from_secs(8);

/// A host with etcd, nginx and a pusher, and one with the backends.
struct NetworkHarness {
    balancer: Host,
    backends: Host,
}

impl NetworkHarness {
    async fn start() -> Option<Self> {
        let site = Site::start().await?;
        let (balancer, backends) =
            tokio::join!(Host::start(&site, "h1", 1), Host::start(&site, "h2", 2));
        install(&balancer);
        configure_nginx(&balancer);
        for port in PORTS {
            let listen = backends.at(port);
            let line = format!(
                "systemd-run --quiet --unit b{port} /usr/local/bin/backend --listen {listen} --name b{port}"
            );
            backends.exec(&line).await;
        }
        let start = "systemctl daemon-reload && systemctl start etcd nginx sidekick-push";
        balancer.exec(start).await;
        let harness = Self { balancer, backends };
        harness.record().await;
        harness.routed().await;
        Some(harness)
    }

    fn addresses(&self) -> Vec<String> {
        let all = PORTS.map(|port| self.backends.at(port).to_string());
        all.to_vec()
    }

    /// One record for each backend, and one that leads nowhere.
    async fn record(&self) {
        for (nth, address) in self.addresses().iter().enumerate() {
            self.etcdctl(&format!("put /services/website/b{nth} {address}"))
                .await;
        }
        self.etcdctl(&format!("put /services/website/dead {DEAD}"))
            .await;
    }

    async fn etcdctl(&self, line: &str) {
        self.balancer.exec(&format!("etcdctl {line}")).await;
    }

    /// Waits until nginx has all of it.
    async fn routed(&self) {
        let mut wanted = self.addresses();
        wanted.push(DEAD.to_owned());
        wanted.sort();
        until(PATIENCE, "all to be routed", async || {
            let found = servers(&self.balancer).await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Every record vanishes, and only what is known to be dead leaves nginx.
    async fn outlasts_its_records(&self) {
        self.etcdctl("del --prefix /services/website/").await;
        let wanted = self.addresses();
        until(PATIENCE, "the dead one to be let go", async || {
            let found = servers(&self.balancer).await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
        let end = Instant::now() + LONG;
        while Instant::now() < end {
            assert_eq!(servers(&self.balancer).await, wanted);
            // It has to stay all the time: there is no end to wait for.
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Takes the host's only interface down, or up again.
async fn set_link(host: &Host, state: &str) {
    let line = format!("ip link set $(basename $(ls -d /sys/class/net/e*)) {state}");
    host.exec(&line).await;
}

#[tokio::test]
async fn a_load_balancer_that_has_lost_its_interface_lets_go_of_no_server_that_vanished() {
    let Some(harness) = NetworkHarness::start().await else {
        return;
    };
    set_link(&harness.balancer, "down").await;
    harness.outlasts_its_records().await;
    set_link(&harness.balancer, "up").await;
    harness.record().await;
    harness.routed().await;
}

#[tokio::test]
async fn a_load_balancer_whose_backends_are_all_silent_lets_go_of_none_that_vanished() {
    let Some(harness) = NetworkHarness::start().await else {
        return;
    };
    set_link(&harness.backends, "down").await;
    harness.outlasts_its_records().await;
}
