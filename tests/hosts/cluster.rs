//! Three hosts: a member of etcd, a backend and its sidekick as units on each, and one nginx with its pusher.

use std::sync::Arc;

use crate::host_harness::{
    RESTART, TRAFFIC, configure_nginx, install, install_backend, servers, sidekick,
};
use crate::support::examples::prints_what_its_readme_shows;
use crate::support::hosts::{Host, Site};
use crate::support::{Load, PATIENCE, Report, until};

/// Of every backend.
const PORT: u16 = 8001;

/// How many requests are on their way at any time.
const CLIENTS: usize = 6;

/// The hosts h1, h2 and h3; nginx runs on h1.
struct Cluster {
    hosts: [Host; 3],
}

impl Cluster {
    async fn start() -> Option<Self> {
        let site = Site::start().await?;
        let (first, second, third) =
            tokio::join!(member(&site, 1), member(&site, 2), member(&site, 3));
        let hosts = [first, second, third];
        configure_nginx(&hosts[0]);
        // Members wait for each other.
        let (one, two, three) = (
            hosts[0].exec("systemctl enable --now etcd"),
            hosts[1].exec("systemctl enable --now etcd"),
            hosts[2].exec("systemctl enable --now etcd"),
        );
        tokio::join!(one, two, three);
        hosts[0]
            .exec("systemctl enable --now nginx sidekick-push")
            .await;
        for host in &hosts {
            let name = backend(host);
            host.exec(&format!("systemctl start {name}")).await;
        }
        let cluster = Self { hosts };
        cluster.routed(&[0, 1, 2]).await;
        Some(cluster)
    }

    /// Waits until nginx has exactly the backends of these hosts.
    #[track_caller]
    fn routed(&self, hosts: &[usize]) -> impl Future<Output = ()> {
        let wanted: Vec<_> = hosts
            .iter()
            .map(|&at| self.hosts[at].at(PORT).to_string())
            .collect();
        until(
            PATIENCE * 2,
            format!("the servers to be {wanted:?}"),
            async move || {
                let found = servers(&self.hosts[0]).await;
                if found == wanted { Ok(()) } else { Err(found) }
            },
        )
    }

    fn load(&self) -> Load {
        Load::start(self.hosts[0].at(TRAFFIC), CLIENTS)
    }
}

/// Host number N, `hN`, with all of its units in place.
async fn member(site: &Arc<Site>, number: u8) -> Host {
    let host = Host::start(site, &format!("h{number}"), number).await;
    install(&host);
    let (own, all) = (
        host.address(),
        [1, 2, 3].map(|number| (number, site.address(number))),
    );
    let members = all.map(|(number, address)| format!("h{number}=http://{address}:2380"));
    let clients = all.map(|(_, address)| format!("http://{address}:2379"));
    host.write(
        "/etc/default/etcd",
        format!(
            "ETCD_LISTEN_PEER_URLS=http://{own}:2380\nETCD_INITIAL_ADVERTISE_PEER_URLS=http://{own}:2380\n\
             ETCD_LISTEN_CLIENT_URLS=http://{own}:2379,http://127.0.0.1:2379\nETCD_ADVERTISE_CLIENT_URLS=http://{own}:2379\n\
             ETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_CLUSTER_TOKEN=hosts\n",
            members.join(",")
        ),
    );
    host.write(
        "/etc/sidekick/sidekick.env",
        // What a killed host has announced is to end while the test waits.
        format!("ETCDCTL_ENDPOINTS={}\nSIDEKICK_TTL=4s\n", clients.join(",")),
    );
    install_backend(&host, &backend(&host), PORT, RESTART).await;
    host
}

/// The backend of a host.
fn backend(host: &Host) -> String {
    format!("web-{}", host.name())
}

#[tokio::test]
async fn a_host_that_is_killed_costs_no_more_than_the_requests_it_was_answering() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let load = cluster.load();
    all_answer(&cluster, &load).await;
    cluster.hosts[2].kill().await;
    cluster.routed(&[0, 1]).await;
    let report = load.stop().await;
    // A client has one request on its way at a time, and nobody asks that host again.
    let lost = report.failed();
    assert!(lost <= CLIENTS as u64, "{report:?}");

    // Two of three members go on: what happens now is routed as ever.
    let load = cluster.load();
    let second = backend(&cluster.hosts[1]);
    cluster.hosts[1]
        .exec(&format!("systemctl restart {second}"))
        .await;
    cluster.hosts[1].until_active(&sidekick(&second)).await;
    cluster.routed(&[0, 1]).await;

    // The host comes back with all that is enabled on it.
    cluster.hosts[2].boot().await;
    cluster.routed(&[0, 1, 2]).await;
    all_answer(&cluster, &load).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
}

#[tokio::test]
async fn a_host_that_is_shut_down_and_booted_again_costs_no_request() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let load = cluster.load();
    all_answer(&cluster, &load).await;
    cluster.hosts[2].shut_down().await;
    // It has left before it went, so there is nothing to wait for.
    let left = servers(&cluster.hosts[0]).await;
    assert_eq!(left.len(), 2, "{left:?}");
    cluster.hosts[2].boot().await;
    cluster.routed(&[0, 1, 2]).await;
    all_answer(&cluster, &load).await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
}

/// Waits until every backend has answered something new.
async fn all_answer(cluster: &Cluster, load: &Load) {
    let before = load.report();
    until(PATIENCE, "answers of every backend", async || {
        let report = load.report();
        let more = |host: &Host, report: &Report| report.answers_of(&backend(host));
        let all = cluster.hosts.iter();
        let all = all.map(|host| more(host, &report) > more(host, &before));
        if all.min() == Some(true) {
            Ok(())
        } else {
            Err(report)
        }
    })
    .await;
}

#[tokio::test]
async fn the_story_of_the_cluster_prints_what_its_readme_shows() {
    // The same daemon of this machine, and the same image: where hosts cannot run, neither can the story.
    let Some(_site) = Site::start().await else {
        return;
    };
    prints_what_its_readme_shows("cluster").await;
}
