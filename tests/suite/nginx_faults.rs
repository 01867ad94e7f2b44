//! What can be wrong with an nginx while records change, what the pusher says meanwhile, and that all is right afterwards.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{
    Backend, Command, Etcd, Link, Nginx, PATIENCE, Proxy, Settings, folder, free_port, until,
};

/// An nginx whose API is reached over a link and can be made to misbehave.
struct Harness {
    etcd: Etcd,
    nginx: Nginx,
    link: Proxy,
    switches: TempDir,
}

impl Harness {
    async fn start() -> Self {
        let (switches, port) = (folder(), free_port());
        // Each fault is there as long as the file of its name is.
        let path = switches.path().display();
        let front = format!(
            r#"server {{
                listen 127.0.0.1:{port};
                location /api {{
                    if (-f {path}/500) {{ return 500; }}
                    if (-f {path}/403) {{ return 403; }}
                    if (-f {path}/other) {{ return 200 "Welcome!"; }}
                    content_by_lua_block {{ require("upstream_api").serve() }}
                    header_filter_by_lua_block {{
                        local cuts = io.open("{path}/cut")
                        if cuts then
                            cuts:close()
                            -- What was asked is done by now.
                            if ngx.req.get_method() ~= "GET" then return ngx.exit(ngx.ERROR) end
                        end
                    }}
                }}
            }}"#
        );
        let (etcd, nginx) = tokio::join!(Etcd::start(), Settings::default().http(front).start());
        let link = Proxy::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
        Self {
            etcd,
            nginx,
            link,
            switches,
        }
    }

    fn push(&self) -> Command {
        let url = format!("http://{}/api", self.link.address());
        Command::new("push")
            .etcd(&self.etcd)
            .args(["--nginx", &url, "--upstream", "website", "--resync", "1s"])
            .env("SIDEKICK_ID", "edge")
    }

    async fn record(&self, backend: &Backend) {
        let key = format!("/services/website/{}", backend.name());
        self.etcd.put(&key, backend.address().to_string()).await;
    }

    fn switch(&self, name: &str) -> PathBuf {
        self.switches.path().join(name)
    }

    /// Waits until the pusher says this of its only target; `None` for nothing wrong.
    async fn told(&self, error: Option<&str>) {
        until(PATIENCE, format!("{error:?} to be told"), async || {
            let status_record = self.etcd.get("/sidekick/pushers/edge").await;
            let status_record = status_record.ok_or("no status record")?.json();
            let targets = status_record["targets"].as_object().cloned();
            let target = targets.into_iter().flatten().next().ok_or("no target")?.1;
            let told = target["errors"][0].as_str();
            let as_said = match error {
                Some(error) => told.is_some_and(|told| told.contains(error)),
                None => target["ok"] == true && told.is_none(),
            };
            if as_said {
                Ok(())
            } else {
                Err(status_record.to_string())
            }
        })
        .await;
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It is gone, with all that it was told, and comes back.
    Killed,
    /// Its configuration is read again.
    Reloaded,
    /// Another one, which was told nothing, stands in its place before anybody looks.
    ReplacedByAnEmptyOne,
    /// It does not answer at all, and closes nothing.
    Hangs,
    /// It is as this switch says.
    Switched(&'static str),
}

#[tokio::test]
async fn after_every_fault_of_nginx_its_servers_are_the_records() {
    // The fault, and what the pusher says of it meanwhile; nothing where all goes on in spite of it.
    let rows = [
        (
            Fault::Killed,
            Some("connection refused: nginx does not run"),
        ),
        (Fault::Reloaded, None),
        (Fault::ReplacedByAnEmptyOne, None),
        (Fault::Hangs, Some("no whole answer from the API within 2s")),
        (Fault::Switched("500"), Some("HTTP 500")),
        (
            Fault::Switched("403"),
            Some("HTTP 403: the API does not let us in"),
        ),
        (
            Fault::Switched("other"),
            Some("the answer is not a list of API versions"),
        ),
        (Fault::Switched("cut"), None),
    ];
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let addresses = || vec![a.address().to_string(), b.address().to_string()];
    for (fault, expected) in rows {
        eprintln!("{fault:?}");
        let mut harness = Harness::start().await;
        let _pusher = harness.push().start();
        harness.record(&a).await;
        harness
            .nginx
            .routed("website", vec![a.address().to_string()])
            .await;
        match fault {
            Fault::Killed => {
                harness.nginx.kill();
                harness.link.set(Link::Down);
            }
            Fault::Reloaded => harness.nginx.reload().await,
            Fault::ReplacedByAnEmptyOne => harness.nginx.restart().await,
            Fault::Hangs => harness.link.set(Link::Silent),
            Fault::Switched(name) => std::fs::write(harness.switch(name), "").unwrap(),
        }
        harness.record(&b).await;
        match expected {
            Some(_) => harness.told(expected).await,
            None => harness.nginx.routed("website", addresses()).await,
        }
        match fault {
            Fault::Killed => {
                harness.nginx.resume().await;
                harness.link.set(Link::Up);
            }
            Fault::Hangs => harness.link.set(Link::Up),
            Fault::Switched(name) => std::fs::remove_file(harness.switch(name)).unwrap(),
            Fault::Reloaded | Fault::ReplacedByAnEmptyOne => {}
        }
        harness.nginx.routed("website", addresses()).await;
        harness.told(None).await;
        until(PATIENCE, "both to be asked", async || {
            let mut who = [harness.nginx.who().await?, harness.nginx.who().await?];
            who.sort();
            if who == ["b1", "b2"] {
                Ok(())
            } else {
                Err(format!("{who:?}"))
            }
        })
        .await;
    }
}
