//! Servers by name, in a file that nginx reads: what does not resolve must harm nobody else.

use std::fs;
use std::net::Ipv4Addr;

use etcd_client::{Txn, TxnOp};
use sidekick::target::Layer;

use super::conf_file::who;
use super::conf_file_others::push_toml;
use crate::support::{Backend, Command, Dns, Etcd, FileNginx, PATIENCE, Reply, Sidekick, until};

const HERE: Reply = Reply::At(Ipv4Addr::LOCALHOST);

/// Everything that a name needs: a DNS server, and an nginx and a pusher that ask it.
struct Harness {
    dns: Dns,
    etcd: Etcd,
    nginx: FileNginx,
    push: Sidekick,
}

impl Harness {
    /// With these records, as `SERVICE/INSTANCE` and address, and the upstreams `website` and `shop`.
    async fn start(dns: Dns, records: &[(&str, &str)]) -> Self {
        let etcd = Etcd::start().await;
        for (key, address) in records {
            put(&etcd, key, address).await;
        }
        let nginx = FileNginx::new(Layer::Http, &["website", "shop"]);
        let mut nginx = nginx.started_by(dns.starter());
        let blocks = ["website", "shop"]
            .map(|name| format!("upstream {name} {{ server 127.0.0.1:1 down; }}\n"));
        fs::write(
            nginx.file(),
            crate::support::OWN.to_owned() + &blocks.concat(),
        )
        .unwrap();
        nginx.run().await;
        let push = start(&dns, &etcd, &nginx);
        Self {
            dns,
            etcd,
            nginx,
            push,
        }
    }

    /// Waits until an upstream is answered for by this backend.
    async fn answers(&self, path: &str, backend: &Backend) {
        until(
            PATIENCE,
            format!("{path} to be answered by {}", backend.name()),
            async || {
                let answer = who(&self.nginx, path).await;
                (answer.as_deref() == Ok(backend.name()))
                    .then_some(())
                    .ok_or((answer, self.nginx.text()))
            },
        )
        .await;
    }

    async fn file_has(&self, text: &str, has: bool) {
        until(
            PATIENCE,
            format!("the file to have {text}: {has}"),
            async || {
                let file = self.nginx.text();
                (file.contains(text) == has).then_some(()).ok_or(file)
            },
        )
        .await;
    }

    /// A stopped nginx starts, as after a power failure.
    async fn restart_nginx(&mut self) {
        self.nginx.kill();
        self.nginx.run().await;
    }
}

fn start(dns: &Dns, etcd: &Etcd, nginx: &FileNginx) -> Sidekick {
    let config = push_toml(nginx, "");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n[[upstream]]\nname = \"shop\"\n").unwrap();
    let push = Command::new("push")
        .etcd(etcd)
        .args(["--config", &config, "--id", "edge"]);
    push.started_by(dns.starter()).start()
}

async fn put(etcd: &Etcd, key: &str, address: &str) {
    let (host, port) = address.split_once(':').unwrap();
    let record = format!(r#"{{"host":"{host}","port":{port}}}"#);
    etcd.put(&format!("/services/{key}"), record).await;
}

async fn a_name_that_stops_resolving(how: Reply) {
    let dns = Dns::start();
    dns.set("web.test", HERE);
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let (first, second) = (one.address().to_string(), two.address().to_string());
    let named = format!("web.test:{}", one.address().port());
    let records = [
        ("website/named", named.as_str()),
        ("website/two", &second),
        ("shop/one", &first),
    ];
    let mut harness = Harness::start(dns, &records).await;
    harness.file_has(&named, true).await;
    harness.answers("/shop", &one).await;
    harness.dns.set("web.test", how);
    put(&harness.etcd, "shop/one", &second).await;
    harness.answers("/shop", &two).await;
    harness.file_has(&format!("server {named}"), false).await;
    assert!(harness.nginx.text().contains(&second));
    let line = harness
        .push
        .process()
        .line("its name does not resolve")
        .await;
    assert!(
        line.contains(&named) && line.contains("upstream=website"),
        "{line}"
    );
    harness.restart_nginx().await;
    harness.answers("/", &two).await;
    harness.dns.set("web.test", HERE);
    harness.file_has(&format!("server {named}"), true).await;
    harness.answers("/", &one).await;
}

#[tokio::test]
async fn a_name_that_is_gone_holds_no_other_upstream_up() {
    a_name_that_stops_resolving(Reply::NxDomain).await;
}

#[tokio::test]
async fn a_name_of_a_broken_dns_holds_no_other_upstream_up() {
    a_name_that_stops_resolving(Reply::ServFail).await;
}

#[tokio::test]
async fn a_name_of_a_silent_dns_holds_no_other_upstream_up() {
    a_name_that_stops_resolving(Reply::Silence).await;
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let dns = Dns::start();
    dns.set("web.test", Reply::At(Ipv4Addr::new(127, 0, 0, 9)));
    let one = Backend::start("one").await;
    let named = format!("web.test:{}", one.address().port());
    let harness = Harness::start(dns, &[("website/named", &named)]).await;
    harness
        .file_has("# sidekick: name web.test 127.0.0.9\n", true)
        .await;
    // Told once nginx has been reloaded, and not only the file written.
    let told = "equal to the records target=file upstream=website service=website servers=1";
    harness.push.process().line(told).await;
    let reloads = harness.nginx.reloads();
    harness.dns.set("web.test", HERE);
    harness.answers("/", &one).await;
    // New workers may answer before nginx has written down why.
    until(PATIENCE, "one more reload", async || {
        let now = harness.nginx.reloads();
        (now > reloads).then_some(()).ok_or(now)
    })
    .await;
    assert_eq!(harness.nginx.reloads(), reloads + 1);
}

#[tokio::test]
async fn an_upstream_of_names_alone_keeps_its_addresses_when_dns_fails() {
    let dns = Dns::start();
    dns.set("web.test", HERE);
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let named = format!("web.test:{}", one.address().port());
    let mut harness = Harness::start(dns, &[("website/named", &named)]).await;
    harness.answers("/", &one).await;
    harness.dns.set("web.test", Reply::ServFail);
    harness
        .file_has(&format!("server {}", one.address()), true)
        .await;
    put(&harness.etcd, "shop/two", &two.address().to_string()).await;
    harness.answers("/shop", &two).await;
    // What it was resolved to is known to the next pusher too, and nginx can start.
    harness.push.leave().await;
    harness.push = start(&harness.dns, &harness.etcd, &harness.nginx);
    put(&harness.etcd, "shop/two", &one.address().to_string()).await;
    harness.answers("/shop", &one).await;
    harness.restart_nginx().await;
    harness.answers("/", &one).await;
    assert!(
        harness
            .nginx
            .text()
            .contains(&format!("server {}", one.address()))
    );
    harness.dns.set("web.test", HERE);
    harness.file_has(&format!("server {named}"), true).await;
}

#[tokio::test]
async fn the_last_server_stays_and_is_told_when_it_goes_in_favour_of_a_name_that_does_not_resolve()
{
    let dns = Dns::start();
    dns.set("web.test", Reply::NxDomain);
    let two = Backend::start("two").await;
    let second = two.address().to_string();
    let harness = Harness::start(dns, &[("website/two", &second)]).await;
    harness.answers("/", &two).await;
    let record = r#"{"host":"web.test","port":80}"#;
    let txn = Txn::new().and_then(vec![
        TxnOp::put("/services/website/new", record, None),
        TxnOp::delete("/services/website/two", None),
    ]);
    let mut client = harness.etcd.client().await;
    client.txn(txn).await.unwrap();
    until(PATIENCE, "both to be told", async || {
        let status_record = harness.etcd.get("/sidekick/pushers/edge").await;
        let status_record = status_record.ok_or_else(String::new)?.json();
        let service = &status_record["services"]["website"];
        let refused = service["not_routed"]["new"].as_str();
        let told = refused.is_some_and(|reason| reason.contains("does not resolve"))
            && service["still_routed"].get("two").is_some();
        told.then_some(()).ok_or(status_record.to_string())
    })
    .await;
    harness.file_has(&format!("server {second}"), true).await;
    harness.answers("/", &two).await;
    // Another service has the address now.
    put(&harness.etcd, "shop/two", &second).await;
    until(PATIENCE, "it to serve nobody else", async || {
        let file = harness.nginx.text();
        let servers = file.matches(&format!("server {second}")).count();
        (servers == 1).then_some(()).ok_or(file)
    })
    .await;
    harness.answers("/shop", &two).await;
}
