//! A host with etcd, nginx and a pusher as units, and backends with their sidekicks beside them.

use std::path::Path;

use serde_json::Value;

use crate::support::hosts::{Host, Site};
use crate::support::{Load, PATIENCE, copy_folder, until};

/// nginx's traffic.
pub(crate) const TRAFFIC: u16 = 8000;

/// The pace of every sidekick here: quick, and patient enough that a busy machine does not look like an outage.
const PACE: &str = "\
[Service]
Environment=SIDEKICK_INTERVAL=300ms SIDEKICK_TIMEOUT=250ms SIDEKICK_RISE=1 SIDEKICK_FALL=10 SIDEKICK_TTL=30s
";

/// A backend that is not a container: the address is in the backend's file.
const WITHOUT_CONTAINER: &str = "\
[Service]
ExecStart=
ExecStart=/usr/local/bin/sidekick announce
";

/// What a backend's unit says when nobody wants it otherwise.
pub(crate) const RESTART: &str = "Restart=always";

/// One host with everything on it.
#[derive(Debug)]
pub(crate) struct HostHarness {
    pub(crate) host: Host,
}

impl HostHarness {
    /// Everything runs, and nothing is announced. `None`, with a word about it, where hosts cannot be run.
    pub(crate) async fn start() -> Option<Self> {
        let site = Site::start().await?;
        let host = Host::start(&site, "h1", 1).await;
        install(&host);
        configure_nginx(&host);
        host.exec("systemctl daemon-reload && systemctl start etcd nginx sidekick-push")
            .await;
        Some(Self { host })
    }

    /// Installs `NAME.service`, a backend that takes 20 ms for an answer, with a sidekick that is enabled for it. Neither is
    /// started.
    pub(crate) async fn install_backend(&self, name: &str, port: u16, restart: &str) {
        install_backend(&self.host, name, port, restart).await;
    }

    /// The same, started and routed.
    pub(crate) async fn backend(&self, name: &str, port: u16) {
        self.install_backend(name, port, RESTART).await;
        self.host.exec(&format!("systemctl start {name}")).await;
        self.host.until_active(&sidekick(name)).await;
        let at = self.host.at(port).to_string();
        until(PATIENCE, format!("{name} to be routed"), async || {
            self.servers().await.contains(&at)
        })
        .await;
    }

    /// Tells a backend what to answer to `/health`.
    pub(crate) async fn set_health(&self, port: u16, status: u16) {
        let url = format!("http://{}/health?status={status}", self.host.at(port));
        let line =
            format!("curl -fsS --retry 20 --retry-connrefused --retry-delay 1 -X PUT '{url}'");
        self.host.exec(&line).await;
    }

    /// The servers that nginx has, sorted.
    pub(crate) async fn servers(&self) -> Vec<String> {
        servers(&self.host).await
    }

    /// Waits until nginx has exactly the backends on these ports.
    #[track_caller]
    pub(crate) fn routed(&self, ports: &[u16]) -> impl Future<Output = ()> {
        let mut wanted: Vec<_> = ports
            .iter()
            .map(|&port| self.host.at(port).to_string())
            .collect();
        wanted.sort();
        let what = format!("the servers to be {wanted:?}");
        until(PATIENCE, what, async move || {
            let found = self.servers().await;
            if found == wanted { Ok(()) } else { Err(found) }
        })
    }

    /// A backend's record.
    pub(crate) async fn record(&self, name: &str) -> Option<Value> {
        record(&self.host, name).await
    }

    /// Clients that never stop.
    pub(crate) fn load(&self, clients: usize) -> Load {
        Load::start(self.host.at(TRAFFIC), clients)
    }
}

/// The unit of a backend's sidekick.
pub(crate) fn sidekick(name: &str) -> String {
    format!("sidekick@{name}.service")
}

/// A file of this repository.
pub(crate) fn shipped(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The shipped units, with a quicker pace.
pub(crate) fn install(host: &Host) {
    for unit in ["sidekick@.service", "sidekick-push.service"] {
        let text = shipped(&format!("units/{unit}"));
        host.write(&format!("/etc/systemd/system/{unit}"), text);
        host.write(&format!("/etc/systemd/system/{unit}.d/pace.conf"), PACE);
    }
    let without = "/etc/systemd/system/sidekick@.service.d/without-container.conf";
    host.write(without, WITHOUT_CONTAINER);
    host.write(
        "/etc/sidekick/push.env",
        "SIDEKICK_NGINX=http://127.0.0.1:8080/api\nSIDEKICK_UPSTREAM=website\n",
    );
}

/// `examples/nginx-lua/` in Debian's nginx, in the way that it describes itself.
pub(crate) fn configure_nginx(host: &Host) {
    let example = shipped("examples/nginx-lua/nginx.conf");
    let (_, http) = example.split_once("\nhttp {\n").expect("an http block");
    let (http, _) = http.rsplit_once('}').expect("its end");
    let http = http.replace("$prefix/lib/?.lua;;", "/etc/nginx/lua/?.lua;;");
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/nginx-lua/lib");
    copy_folder(Path::new(library), &host.root().join("etc/nginx/lua"));
    host.write("/etc/nginx/conf.d/upstream_api.conf", http);
}

/// See [`HostHarness::install_backend`].
pub(crate) async fn install_backend(host: &Host, name: &str, port: u16, restart: &str) {
    let address = host.at(port);
    // A test may restart it as often as it likes.
    let unit = format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\n\
         ExecStart=/usr/local/bin/backend --listen {address} --name {name} --delay 20ms\n{restart}\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    host.write(&format!("/etc/systemd/system/{name}.service"), unit);
    host.write(
        &format!("/etc/sidekick/{name}.env"),
        format!(
            "SIDEKICK_INSTANCE=website/{name}\nSIDEKICK_ADDRESS={address}\nSIDEKICK_PROBE=/health\n"
        ),
    );
    let line = format!(
        "systemctl daemon-reload && systemctl enable {name} {}",
        sidekick(name)
    );
    host.exec(&line).await;
}

/// The servers that this host's nginx has, sorted.
pub(crate) async fn servers(host: &Host) -> Vec<String> {
    let servers = upstream(host, "website/servers").await;
    let servers = servers.as_array().expect("a list");
    let mut servers: Vec<_> = servers
        .iter()
        .filter_map(|server| server["server"].as_str().map(str::to_owned))
        .collect();
    servers.sort();
    servers
}

/// What the API of this host's nginx says about an upstream.
pub(crate) async fn upstream(host: &Host, path: &str) -> Value {
    let line = format!("curl -fsS http://127.0.0.1:8080/api/9/http/upstreams/{path}");
    let said = host.exec(&line).await;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A record, as this host's etcd has it.
pub(crate) async fn record(host: &Host, name: &str) -> Option<Value> {
    let line = format!("etcdctl get --print-value-only /services/website/{name}");
    let value = host.exec(&line).await;
    serde_json::from_str(&value).ok()
}
