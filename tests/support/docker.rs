//! A real container daemon, Docker's or Podman's, with one image and one network of its own.
//!
//! It is started by hand in a temporary folder, leaves the firewall and the forwarding of the host alone, and is driven by
//! its API. Needs root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::docker_api::{Reply, call, upload};
use super::docker_network::Network;
use super::podman_runtime;
use super::{PATIENCE, Process, Signal, procfs, send, until};

/// The image that is there; `httpd`, `sh` and `sleep` are in it.
pub(crate) const IMAGE: &str = "shop/web:1.2";

/// What runs in a container where nothing else is said. As the first process it does not heed SIGTERM.
const SERVER: [&str; 4] = ["httpd", "-f", "-p", "80"];

/// How often a container is started on another port.
const PORT_ATTEMPTS: usize = 30;

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Docker; containers end with it.
    Docker,
    /// Docker with `--live-restore`: containers outlive it.
    LiveRestore,
    /// Podman's compatible API.
    Podman,
}

/// A running daemon. Containers and everything else of it are gone at the end.
#[derive(Debug)]
pub(crate) struct Daemon {
    kind: Kind,
    process: Option<Process>,
    /// The one for its containers.
    network: Network,
    folder: TempDir,
}

impl Daemon {
    /// `None`, with a word about it, where containers cannot be run.
    pub(crate) async fn start(kind: Kind) -> Option<Self> {
        let mut daemon = Self::planned(kind)?;
        daemon.run().await;
        daemon.furnish().await;
        Some(daemon)
    }

    /// One that is not started yet.
    pub(crate) fn planned(kind: Kind) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: only root can run a container daemon");
            return None;
        }
        // Docker names its sockets by the folder, and a path of a socket has 107 bytes at most.
        let folder = tempfile::Builder::new().prefix("sk").tempdir_in("/tmp");
        Some(Self {
            kind,
            process: None,
            network: Network::planned(),
            folder: folder.expect("a temporary folder"),
        })
    }

    /// Starts it, or starts it again.
    pub(crate) async fn run(&mut self) {
        let mut command = match self.kind {
            Kind::Podman => self.podman(),
            Kind::Docker | Kind::LiveRestore => self.dockerd(),
        };
        let name = format!("{:?}", self.kind);
        self.process = Some(Process::start(name, &mut command));
        let socket = self.socket();
        until(PATIENCE, "the daemon to answer", async || {
            call(&socket, "GET", "/_ping", b"").map(|reply| reply.status)
        })
        .await;
    }

    fn dockerd(&self) -> Command {
        let mut command = Command::new("dockerd");
        let folder = self.folder.path();
        command
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-masq=false", "--ip-forward=false"])
            .args(["--storage-driver", "overlay2", "--log-level", "warn"]);
        if self.kind == Kind::LiveRestore {
            command.arg("--live-restore");
        }
        command
    }

    fn podman(&self) -> Command {
        let mut command = self.podman_command();
        command
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// `podman …` as somebody at a terminal says it, beside the service.
    fn podman_command(&self) -> Command {
        podman(self.folder.path(), podman_runtime::runtime())
    }

    /// Runs `podman …` to its end.
    pub(crate) async fn podman_says(&self, args: &[&str]) -> String {
        let mut command = self.podman_command();
        command.args(args);
        let said = tokio::task::spawn_blocking(move || command.output()).await;
        let said = said.expect("no panic").expect("podman is installed");
        assert!(said.status.success(), "{said:?}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// The image and the network.
    pub(crate) async fn furnish(&self) {
        self.import_busybox().await;
        self.create_network(&self.network).await;
    }

    /// The image [`IMAGE`].
    pub(crate) async fn import_busybox(&self) {
        let image = image(self.folder.path());
        let path = format!("/images/create?fromSrc=-&repo={IMAGE}");
        let reply = self.call("POST", &path, image).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// Makes a network.
    pub(crate) async fn create_network(&self, network: &Network) {
        until(PATIENCE, "the network to be made", async || {
            let reply = self.post("/networks/create", &network.settings()).await;
            // Podman looks at all interfaces of the machine, and another test removes its own meanwhile.
            if reply.body.contains("no such network interface") {
                return Err(reply);
            }
            assert_eq!(reply.status, 201, "{reply:?}");
            Ok(())
        })
        .await;
    }

    /// Removes a network, with its bridge; for a drop, which cannot await.
    pub(crate) fn remove_network(&self, network: &Network) {
        let path = format!("/networks/{}", network.name());
        let _ = call(&self.socket(), "DELETE", &path, b"");
        // The daemon has done it, unless it was gone itself.
        network.remove_bridge();
    }

    /// Makes an image of a tar archive, which may be large.
    pub(crate) async fn import(&self, image: &str, archive: &Path) {
        let path = format!("/images/create?fromSrc=-&repo={image}");
        let reply = self.upload(path, archive).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// POSTs a file, which may be large.
    async fn upload(&self, path: String, file: &Path) -> Reply {
        let (socket, file) = (self.socket(), file.to_owned());
        let sent = move || upload(&socket, &path, &file);
        let reply = tokio::task::spawn_blocking(sent).await.expect("no panic");
        reply.unwrap_or_else(|error| panic!("the daemon: {error}"))
    }

    /// Makes an image of what is in a tar archive, by the `Containerfile` at this path in it.
    pub(crate) async fn build(
        &self,
        image: &str,
        containerfile: &str,
        archive: &Path,
        args: &Value,
    ) {
        let path = format!("/build?t={image}&dockerfile={containerfile}&buildargs={args}");
        let reply = self.upload(path, archive).await;
        // It says 200 before it knows.
        let built = reply.status == 200 && reply.body.contains("Successfully built");
        assert!(built, "{reply:?}");
    }

    /// Makes a network beside that of the containers, and gives its name.
    pub(crate) async fn second_network(&self) -> String {
        let second = self.network.second();
        self.create_network(&second).await;
        second.name().to_owned()
    }

    /// `connect`s a running container to a network, or `disconnect`s it.
    pub(crate) async fn network_act(&self, network: &str, action: &str, container: &str) {
        let path = format!("/networks/{network}/{action}");
        let reply = self.post(&path, &json!({"Container": container})).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("d.sock")
    }

    /// Creates and starts a container that serves HTTP on port 80, which is published on a random port of the loopback
    /// address, and gives its id.
    pub(crate) async fn container(&self, name: &str) -> String {
        self.container_with(name, &SERVER, json!({})).await
    }

    /// The same with another command and further settings of the host's side.
    pub(crate) async fn container_of(&self, name: &str, command: &[&str], host: Value) -> String {
        self.container_with(name, command, json!({"HostConfig": host}))
            .await
    }

    /// As [`container`](Self::container), with labels.
    pub(crate) async fn labelled(&self, name: &str, labels: Value) -> String {
        self.container_with(name, &SERVER, json!({"Labels": labels}))
            .await
    }

    /// The same with another command and further settings, in the words of the API.
    pub(crate) async fn container_with(&self, name: &str, command: &[&str], more: Value) -> String {
        let mut settings = self.settings(command);
        merge(&mut settings, more);
        self.create(name, &settings).await
    }

    /// The network that it made for its containers.
    pub(crate) fn network(&self) -> &str {
        self.network.name()
    }

    /// An address in that network.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        self.network.address(number)
    }

    fn settings(&self, command: &[&str]) -> Value {
        json!({
            "Image": IMAGE, "Cmd": command, "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {
                "NetworkMode": self.network(),
                "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            },
        })
    }

    /// Creates and starts a container of these settings, as the API has them, and gives its id.
    pub(crate) async fn create(&self, name: &str, settings: &Value) -> String {
        let reply = self
            .post(&format!("/containers/create?name={name}"), settings)
            .await;
        assert_eq!(reply.status, 201, "{reply:?}");
        self.act(name, "start").await;
        let id = reply.json()["Id"].as_str().map(str::to_owned);
        id.expect("an id")
    }

    /// `start`, `stop?t=1`, `pause`, `kill?signal=HUP`, `rename?name=X` and so on.
    pub(crate) async fn act(&self, container: &str, action: &str) {
        let path = format!("/containers/{container}/{action}");
        // A daemon picks the port that it publishes without looking at who else has it: another test, or a
        // connection of one. It picks the next one when asked again.
        for _ in 0..PORT_ATTEMPTS {
            let reply = self.call("POST", &path, Vec::new()).await;
            if action == "start" && reply.status == 304 {
                // It was killed a moment ago, and its daemon takes it for running yet.
                until(PATIENCE, "the daemon to see its end", async || {
                    !self.runs(container).await
                })
                .await;
            } else if !reply.body.contains("address already in use") {
                assert!(matches!(reply.status, 200..=299 | 304), "{path}: {reply:?}");
                return;
            }
        }
        panic!("{path}: no free port in {PORT_ATTEMPTS} attempts");
    }

    /// Removes a container, running or not.
    pub(crate) async fn remove(&self, container: &str) {
        let path = format!("/containers/{container}?force=true");
        let reply = self.call("DELETE", &path, Vec::new()).await;
        assert!(matches!(reply.status, 200..=299), "{path}: {reply:?}");
    }

    /// Removes a container if it is there; for a drop, which cannot await.
    pub(crate) fn discard(&self, container: &str) {
        let path = format!("/containers/{container}?force=true");
        let _ = call(&self.socket(), "DELETE", &path, b"");
    }

    /// When the daemon last told this event of a container, since `since`.
    pub(crate) async fn told(
        &self,
        container: &str,
        event: &str,
        since: SystemTime,
    ) -> Option<SystemTime> {
        let seconds = |time: SystemTime| {
            let time = time.duration_since(UNIX_EPOCH).expect("a clock that goes");
            format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
        };
        let filters = json!({"container": [container], "event": [event]});
        let (since, until) = (seconds(since), seconds(SystemTime::now()));
        let path = format!("/events?since={since}&until={until}&filters={filters}");
        let told = self.call("GET", &path, Vec::new()).await.body;
        let last: Value = serde_json::from_str(told.lines().last()?).expect("an event");
        Some(UNIX_EPOCH + Duration::from_nanos(last["timeNano"].as_u64()?))
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, body.to_string().into_bytes()).await
    }

    /// One call, on a thread of its own: some take seconds.
    async fn call(&self, method: &'static str, path: &str, body: Vec<u8>) -> Reply {
        let (socket, path) = (self.socket(), path.to_owned());
        let called = tokio::task::spawn_blocking(move || call(&socket, method, &path, &body)).await;
        called
            .expect("no panic")
            .unwrap_or_else(|error| panic!("the daemon: {error}"))
    }

    /// The daemon's process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("it was started")
    }

    /// Ends it as a service manager does.
    pub(crate) async fn stop(&mut self) {
        let mut process = self.process.take().expect("it was started");
        process.signal(Signal::TERM);
        process.end(PATIENCE).await;
    }

    /// `kill -9`: its containers run on. What it had started for itself ends with it, a moment later.
    pub(crate) async fn kill(&mut self) {
        self.process().signal(Signal::KILL);
        self.process = None;
        let helper = self.folder.path().join("exec/containerd/containerd.toml");
        let helper = helper.display().to_string();
        until(PATIENCE, "containerd to end", async || {
            procfs::all_with(&helper).is_empty()
        })
        .await;
        // The next daemon believes these files, whoever has the process id by then.
        for name in ["containerd.pid", "containerd.sock", "containerd-debug.sock"] {
            let _ = fs::remove_file(self.folder.path().join("exec/containerd").join(name));
        }
    }

    /// Kills a container's process, without a word to the daemon.
    pub(crate) async fn crash(&self, container: &str) {
        send(self.pid(container).await, Signal::KILL).expect("it runs");
    }

    /// The id of a container's first process.
    pub(crate) async fn pid(&self, container: &str) -> u32 {
        let pid = self.inspect(container).await["State"]["Pid"].as_u64();
        u32::try_from(pid.expect("it runs")).expect("a process id")
    }

    /// Whether the daemon takes a container for running.
    pub(crate) async fn runs(&self, container: &str) -> bool {
        self.inspect(container).await["State"]["Running"] == true
    }

    /// What the daemon says of a container; null when there is none.
    pub(crate) async fn inspect(&self, container: &str) -> Value {
        let path = format!("/containers/{container}/json");
        let reply = self.call("GET", &path, Vec::new()).await;
        if reply.status == 200 {
            reply.json()
        } else {
            Value::Null
        }
    }

    /// What a container has said.
    pub(crate) async fn logs(&self, container: &str) -> String {
        let path = format!("/containers/{container}/logs?stdout=true&stderr=true");
        self.call("GET", &path, Vec::new()).await.body
    }

    /// Where the host passes connections on to port 80 of a container, while it runs and is not paused.
    pub(crate) async fn serves(&self, container: &str) -> Option<SocketAddr> {
        let container = self.inspect(container).await;
        let state = &container["State"];
        let serves = state["Running"] == true && state["Paused"] != true;
        let place = &container["NetworkSettings"]["Ports"]["80/tcp"][0];
        let port = place["HostPort"].as_str().filter(|_| serves)?.parse();
        Some(SocketAddr::from(([127, 0, 0, 1], port.expect("a port"))))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let socket = self.socket();
        if let Some(process) = &self.process {
            // It may be frozen.
            let _ = send(process.pid(), Signal::CONT);
        }
        let all = call(&socket, "GET", "/containers/json?all=true", b"");
        let all = all.map(|reply| reply.json()).unwrap_or_default();
        for container in all.as_array().into_iter().flatten() {
            self.discard(container["Id"].as_str().unwrap_or_default());
        }
        self.remove_network(&self.network);
        self.remove_network(&self.network.second());
        if let Some(process) = &mut self.process {
            let _ = send(process.pid(), Signal::TERM);
            // A second is long for a daemon without containers; what is left is killed below.
            for _ in 0..100 {
                if process.exited().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10)); // a drop cannot await
            }
        }
        self.process = None;
        end_all_of(self.folder.path());
        unmount_all_in(self.folder.path());
    }
}

/// Podman with all that it keeps in this folder. Without systemd and without its limits; networks not where the host keeps its
/// own.
pub(super) fn podman(folder: &Path, runtime: &Path) -> Command {
    let networks = folder.join("networks").display().to_string();
    let settings = format!(
        "[containers]\npids_limit = 0\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
         [network]\nnetwork_config_dir = \"{networks}\"\n\
         [engine]\nevents_logger = \"file\"\ncgroup_manager = \"cgroupfs\"\nruntime = \"{}\"\n",
        runtime.display()
    );
    let path = folder.join("containers.conf");
    fs::write(&path, settings).expect("our own folder");
    let mut command = Command::new("podman");
    command
        // Where conmon leaves a file when a container runs out of memory.
        .current_dir(folder)
        .env("CONTAINERS_CONF", path)
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .arg("--tmpdir")
        .arg(folder.join("tmp"));
    command
}

/// Ends what a daemon that was killed has left: processes that name its folder, and their children.
fn end_all_of(folder: &Path) {
    let folder = folder.display().to_string();
    let mut pids = procfs::all_with(&folder);
    let mut at = 0;
    while let Some(pid) = pids.get(at) {
        pids.extend(procfs::children(*pid));
        at += 1;
    }
    for pid in pids {
        let _ = send(pid, Signal::KILL);
    }
}

pub(super) fn unmount_all_in(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folder = format!("{}/", folder.display());
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<_> = places.filter(|place| place.starts_with(&folder)).collect();
    for place in ours.iter().rev() {
        let _ = Command::new("umount").args(["--lazy", place]).status();
    }
}

/// Puts what `more` says into `settings`, over what stands there.
pub(super) fn merge(settings: &mut Value, more: Value) {
    match (settings, more) {
        (Value::Object(settings), Value::Object(more)) => {
            for (key, value) in more {
                merge(settings.entry(key).or_insert(Value::Null), value);
            }
        }
        (settings, more) => *settings = more,
    }
}

/// A program and the libraries that it needs, as a tar archive in this folder: the root of an image.
pub(crate) fn archive_of(program: &Path, name: &str, folder: &Path) -> PathBuf {
    let needed = Command::new("ldd").arg(program).output().expect("ldd");
    let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
    let libraries = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let root = folder.join("root");
    fs::create_dir_all(&root).expect("our own folder");
    for library in libraries {
        let inside = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().expect("a folder")).expect("our own folder");
        fs::copy(library, inside).expect("a library that ldd names");
    }
    fs::copy(program, root.join(name)).expect("our own folder");
    let archive = folder.join("root.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).arg("-cf").arg(&archive).arg(".");
    assert!(tar.status().expect("tar").success());
    archive
}

/// Busybox and its names, as a tar archive.
fn image(folder: &Path) -> Vec<u8> {
    let bin = folder.join("image/bin");
    fs::create_dir_all(&bin).expect("our own folder");
    fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
    for name in ["sh", "httpd", "sleep", "true"] {
        let link = bin.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link).expect("our own folder");
        }
    }
    let image = folder.join("image");
    let tar = Command::new("tar")
        .arg("-C")
        .arg(image)
        .args(["-c", "."])
        .output();
    tar.expect("tar").stdout
}
