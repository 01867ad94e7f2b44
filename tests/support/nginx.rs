//! A real nginx with `examples/nginx-lua/`, several workers, traffic on one port and the API on another.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use super::{Answer, PATIENCE, Process, Signal, ports, process, procfs, request, until};

/// How often other ports are tried when somebody takes ours first.
const ATTEMPTS: usize = 5;

/// More than one, because a state that only one worker knows is the mistake to find.
pub(crate) const WORKERS: usize = 2;

/// Ends the counts of a request.
const LOG: &str = r#"log_by_lua_block { require("upstream_api").log() }"#;

/// Makes `require "cjson"` fail.
const NO_CJSON: &str = r#"package.preload.cjson = function() error("hidden by the test") end"#;

/// A running nginx. `/` and `/NAME` on its traffic port lead to the first upstream and to the one of that name.
#[derive(Debug)]
pub(crate) struct Nginx {
    settings: Settings,
    process: Process,
    traffic: SocketAddr,
    api: SocketAddr,
    folder: TempDir,
}

/// What the configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    upstreams: Vec<String>,
    state: bool,
    workers: usize,
    dict: &'static str,
    declared: Option<String>,
    http: String,
    locations: String,
    serve: &'static str,
    log: bool,
    /// What is run before setup{}.
    before: &'static str,
    library: PathBuf,
}

/// A server of an upstream, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Server {
    pub(crate) id: u64,
    pub(crate) server: String,
    pub(crate) weight: u64,
    pub(crate) down: bool,
    pub(crate) backup: bool,
    #[serde(default)]
    pub(crate) drain: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upstreams: vec!["website".to_owned()],
            state: false,
            workers: WORKERS,
            dict: "2m",
            declared: None,
            http: String::new(),
            locations: String::new(),
            serve: "",
            log: true,
            before: "",
            library: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx-lua/lib"),
        }
    }
}

impl Settings {
    /// These upstreams in place of `website`.
    pub(crate) fn upstreams(mut self, names: &[&str]) -> Self {
        self.upstreams = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Servers survive a restart of nginx, in a file.
    pub(crate) fn state(mut self) -> Self {
        self.state = true;
        self
    }

    /// As many worker processes.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The size of the shared dictionary, as nginx writes sizes.
    pub(crate) fn dict(mut self, size: &'static str) -> Self {
        self.dict = size;
        self
    }

    /// The value of `upstreams` in `setup{}`, in Lua, when the plain names will not do.
    pub(crate) fn declared(mut self, lua: impl Into<String>) -> Self {
        self.declared = Some(lua.into());
        self
    }

    /// More directives for `http{}`.
    pub(crate) fn http(mut self, directives: impl Into<String>) -> Self {
        self.http = directives.into();
        self
    }

    /// More directives for the server that takes the traffic.
    pub(crate) fn locations(mut self, directives: impl Into<String>) -> Self {
        self.locations = directives.into();
        self
    }

    /// The argument of `serve()`, in Lua.
    pub(crate) fn serve(mut self, lua: &'static str) -> Self {
        self.serve = lua;
        self
    }

    /// As of somebody who forgot `log_by_lua_block`.
    pub(crate) fn without_log(mut self) -> Self {
        self.log = false;
        self
    }

    /// As where lua-cjson is not installed.
    pub(crate) fn without_cjson(self) -> Self {
        self.before(NO_CJSON)
    }

    /// Lua that runs before `setup{}`.
    pub(crate) fn before(mut self, lua: &'static str) -> Self {
        self.before = lua;
        self
    }

    /// Another version of the library, in this folder.
    pub(crate) fn library(mut self, folder: impl Into<PathBuf>) -> Self {
        self.library = folder.into();
        self
    }

    /// What nginx says instead of starting.
    pub(crate) async fn refused(self) -> String {
        let mut nginx = Nginx::spawn(self);
        nginx.process.end(PATIENCE).await.output
    }

    /// Starts nginx with these settings.
    pub(crate) async fn start(self) -> Nginx {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let mut nginx = Nginx::spawn(self.clone());
            match nginx.becomes_ready().await {
                Ok(()) => return nginx,
                Err(instead) => said = instead,
            }
        }
        panic!("nginx did not start in {ATTEMPTS} attempts on different ports: {said}");
    }
}

impl Nginx {
    /// Starts one with an empty upstream `website`.
    pub(crate) async fn start() -> Self {
        Settings::default().start().await
    }

    fn spawn(settings: Settings) -> Self {
        let local = || SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
        let (traffic, api) = (local(), local());
        let folder = super::folder();
        let config = settings.render(folder.path(), traffic, api);
        fs::write(folder.path().join("nginx.conf"), config).expect("our own folder");
        let process = launch(folder.path());
        Self {
            settings,
            process,
            traffic,
            api,
            folder,
        }
    }

    /// What it said when it ended instead: somebody else has one of its ports, most likely.
    async fn becomes_ready(&mut self) -> Result<(), String> {
        let process = &mut self.process;
        let (traffic, api) = (self.traffic, self.api);
        let workers = self.settings.workers;
        until(PATIENCE, "nginx to be ready", async || {
            if process.exited().is_some() {
                return Ok(Err(process.output()));
            }
            if ![traffic, api].iter().all(|a| process.owns_port(a.port())) {
                return Err("it does not listen".to_owned());
            }
            // The first of them answers while others are still to be started.
            let started = procfs::children(process.pid()).len();
            if started != workers {
                return Err(format!("{started} of {workers} workers"));
            }
            let answer = request(api, "GET", "/api", "").await?;
            if answer.status == 200 {
                Ok(Ok(()))
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await
    }

    /// For `push --nginx`.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}/api", self.api)
    }

    /// Where the API listens.
    pub(crate) fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Where clients connect.
    pub(crate) fn traffic(&self) -> SocketAddr {
        self.traffic
    }

    /// The process, to freeze it for instance.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Process ids of the workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        procfs::children(self.process.pid())
    }

    /// What a client gets for `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        request(self.traffic, "GET", path, "").await
    }

    /// Who answers now; a failure is told by its status.
    pub(crate) async fn who(&self) -> Result<String, String> {
        let answer = self.get("/").await?;
        match answer.status {
            200 => Ok(answer.body.trim().to_owned()),
            status => Err(format!("status {status}")),
        }
    }

    /// A call of the API in version 9, `path` from behind the version on.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.api, method, &format!("/api/9{path}"), body.to_owned())
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// All servers of an upstream, in the order of the API.
    pub(crate) async fn servers(&self, upstream: &str) -> Vec<Server> {
        let path = format!("/http/upstreams/{upstream}/servers");
        let answer = self.call("GET", &path, "").await;
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Addresses of all servers of an upstream, sorted.
    pub(crate) async fn addresses(&self, upstream: &str) -> Vec<String> {
        let servers = self.servers(upstream).await;
        let mut addresses: Vec<_> = servers.into_iter().map(|server| server.server).collect();
        addresses.sort();
        addresses
    }

    /// Waits until the servers of an upstream are exactly these, in any order.
    #[track_caller]
    pub(crate) fn routed(
        &self,
        upstream: &str,
        mut addresses: Vec<String>,
    ) -> impl Future<Output = ()> {
        addresses.sort();
        let what = format!("the servers of {upstream} to be {addresses:?}");
        until(PATIENCE, what, async move || {
            let found = self.addresses(upstream).await;
            if found == addresses {
                Ok(())
            } else {
                Err(found)
            }
        })
    }

    /// How often the configuration has been loaded.
    pub(crate) async fn generation(&self) -> u64 {
        let answer = self.call("GET", "/nginx", "").await.json();
        answer["generation"].as_u64().expect("a number")
    }

    /// Reads the configuration again, and waits until only new workers answer.
    pub(crate) async fn reload(&self) {
        let expected = self.settings.workers;
        let (old, generation) = (self.workers(), self.generation().await);
        self.process.signal(Signal::HUP);
        until(PATIENCE, "new workers", async || {
            let workers = self.workers();
            let changed = workers.len() == expected && !workers.iter().any(|pid| old.contains(pid));
            changed && self.generation().await > generation
        })
        .await;
    }

    /// Stopped at once, with its connections, and started again on the same ports.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.resume().await;
    }

    /// `kill -9`, the workers too.
    pub(crate) fn kill(&mut self) {
        // Stopped first: a master starts a worker anew that has just ended, after its list was read.
        let _ = process::send(self.process.pid(), Signal::STOP);
        let workers = self.workers();
        self.process.kill();
        for worker in workers {
            // It may have left together with its master.
            let _ = process::send(worker, Signal::KILL);
        }
    }

    /// Started again on the same ports after `kill`.
    pub(crate) async fn resume(&mut self) {
        let ports = [self.traffic.port(), self.api.port()];
        until(
            PATIENCE,
            "the killed nginx to leave its ports",
            async || ports.iter().all(|port| !procfs::anybody_listens(*port)),
        )
        .await;
        self.process = launch(self.folder.path());
        self.becomes_ready().await.expect("nginx starts again");
    }

    /// What the configuration says.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Other settings, in use from the next reload or start on.
    pub(crate) fn configure(&mut self, settings: Settings) {
        let config = settings.render(self.folder.path(), self.traffic, self.api);
        fs::write(self.folder.path().join("nginx.conf"), config).expect("our own folder");
        self.settings = settings;
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Settings {
    fn render(&self, folder: &Path, traffic: SocketAddr, api: SocketAddr) -> String {
        let names = self.upstreams.iter().map(|name| format!("\"{name}\", "));
        let names: String = names.collect();
        let declared = self
            .declared
            .clone()
            .unwrap_or_else(|| format!("{{ {names} }}"));
        let state = if self.state {
            format!("state = \"{}/servers.json\",", folder.display())
        } else {
            String::new()
        };
        let upstreams: String = self.upstreams.iter().map(|name| upstream(name)).collect();
        let locations: String = self.upstreams.iter().map(|name| location(name)).collect();
        format!(
            r#"
{user}
{load_modules}
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    {scratch}

    lua_package_path "{library}/?.lua;;";
    lua_shared_dict upstreams {dict};
    init_by_lua_block {{
        {before}
        require("upstream_api").setup {{ dict = "upstreams", {state} upstreams = {declared} }}
    }}
    {log}
{http}
{upstreams}
    server {{
        listen {traffic};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 2s;
        location / {{ proxy_pass http://{first}; }}
{locations}
{more_locations}
    }}
    server {{
        listen {api};
        location /api {{ content_by_lua_block {{ require("upstream_api").serve({serve}) }} }}
    }}
}}
"#,
            user = user(),
            scratch = scratch(folder),
            load_modules = load_modules(),
            folder = folder.display(),
            first = self.upstreams[0],
            workers = self.workers,
            dict = self.dict,
            http = self.http,
            more_locations = self.locations,
            serve = self.serve,
            log = if self.log { LOG } else { "" },
            before = self.before,
            library = self.library.display(),
        )
    }
}

fn upstream(name: &str) -> String {
    format!(
        r#"
    upstream {name} {{
        server 0.0.0.1;
        balancer_by_lua_block {{ require("upstream_api").balance("{name}") }}
        keepalive 32;
    }}
"#
    )
}

fn location(name: &str) -> String {
    format!("        location /{name} {{ proxy_pass http://{name}; }}\n")
}

/// Workers must be able to write into our folder; nginx started by root would give them to `nobody`.
pub(super) fn user() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    }
}

/// Where nginx puts what it cannot keep in memory.
pub(super) fn scratch(folder: &Path) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folder = folder.display();
    let lines = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};"));
    lines.join("\n    ")
}

/// Debian builds lua as modules, OpenResty builds it in.
fn load_modules() -> String {
    let output = Command::new("nginx").arg("-V").output();
    let output = output.unwrap_or_else(|error| panic!("cannot start nginx: {error}"));
    let built = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder = built
        .split_whitespace()
        .find_map(|option| option.strip_prefix("--modules-path="))
        .unwrap_or("/usr/lib/nginx/modules");
    ["ndk_http_module.so", "ngx_http_lua_module.so"]
        .into_iter()
        .map(|module| Path::new(folder).join(module))
        .filter(|module| module.exists())
        .map(|module| format!("load_module {};\n", module.display()))
        .collect()
}

pub(super) fn launch(folder: &Path) -> Process {
    launch_by(&[], folder)
}

/// Starts it by another program that starts what it is given.
pub(super) fn launch_by(starter: &[String], folder: &Path) -> Process {
    let mut words = starter.iter().map(String::as_str).chain(["nginx"]);
    let mut command = Command::new(words.next().expect("nginx at least"));
    command
        .args(words)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        // Problems before the configuration is read.
        .args(["-e", "stderr"]);
    Process::start("nginx", &mut command)
}
