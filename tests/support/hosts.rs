//! Hosts: containers with a real systemd as their first process, on a network of their own.
//!
//! All tests of a process share one daemon, which ends with the last of them. The image is made by `tests/hosts/image.sh`.
//! Needs root.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::docker::{Daemon, Kind, merge};
use super::docker_network::Network;
use super::{PATIENCE, backend, sidekick, until};

/// What the image is called.
const IMAGE: &str = "host";

/// What one mounts, all see, as on every machine: without it no unit sees its credentials. Since 258 systemd knows cgroups of
/// version 2 alone, which this machine may have mounted elsewhere.
const INIT: &str = "mount --make-rshared / && \
                    { [ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup; } && \
                    exec /sbin/init";

/// For its namespaces; and for those of users where ProtectProc= hides processes.
const CAPABILITIES: [&str; 2] = ["SYS_ADMIN", "SYS_PTRACE"];

/// Podman limits the processes of a container unless told otherwise, which takes a controller that this machine may have in
/// cgroups of version 1.
const UNLIMITED: &str = "[containers]\npids_limit = 0\n";

/// Between two looks into a host: each of them is several processes, which a machine that boots many hosts feels.
const PAUSE: Duration = Duration::from_millis(200);

/// How long it may take to boot, or to shut down, with as many other hosts as there are tests at a time.
const BOOT: Duration = Duration::from_secs(180);

/// How much of a host's journal is printed when a test fails.
const JOURNAL_LINES: &str = "150";

/// A network and what is needed to start hosts on it.
#[derive(Debug)]
pub(crate) struct Site {
    network: Network,
    daemon: Arc<Daemon>,
}

/// A running host.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    container: String,
    address: Ipv4Addr,
    /// Its first process, as this machine counts.
    pid: u32,
    site: Arc<Site>,
}

/// What a command in a host said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Site {
    /// `None`, with a word about it, where containers cannot be run.
    pub(crate) async fn start() -> Option<Arc<Self>> {
        let daemon = shared_daemon().await?;
        let network = Network::planned();
        daemon.create_network(&network).await;
        Some(Arc::new(Self { network, daemon }))
    }

    /// The daemon whose containers the hosts are.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The network's name.
    pub(crate) fn network(&self) -> &str {
        self.network.name()
    }

    /// Where a host of this number is or will be.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        self.network.address(10 + number)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.daemon.remove_network(&self.network);
    }
}

/// The daemon of this process, with the image.
async fn shared_daemon() -> Option<Arc<Daemon>> {
    static SHARED: Mutex<Weak<Daemon>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(daemon) = shared.upgrade() {
        return Some(daemon);
    }
    let mut daemon = Daemon::planned(Kind::Docker)?;
    let archive = tokio::task::spawn_blocking(archive)
        .await
        .expect("no panic");
    daemon.run().await;
    daemon.import(IMAGE, &archive).await;
    let daemon = Arc::new(daemon);
    *shared = Arc::downgrade(&daemon);
    Some(daemon)
}

/// The root file system of a host.
fn archive() -> PathBuf {
    made_by("tests/hosts/image.sh", &[]).into()
}

/// What is in it, or in the one with what tests/suite needs besides: a package and its version a line.
pub(crate) fn versions(whole: bool) -> String {
    let arguments: &[_] = match whole {
        true => &["--versions", "--whole"],
        false => &["--versions"],
    };
    made_by("tests/hosts/image.sh", arguments)
}

/// sidekick as it is shipped, without the debugging: a static program. Long before the tests `tests/run.sh` has built it.
pub(crate) async fn static_program() -> PathBuf {
    let build = || made_by("tests/static.sh", &["--bin", "sidekick"]);
    let folder = tokio::task::spawn_blocking(build).await.expect("no panic");
    PathBuf::from(folder).join("debug/sidekick")
}

/// Runs a script of this repository that makes something in cargo's folder, and gives what it prints.
fn made_by(script: &str, arguments: &[&str]) -> String {
    let program = sidekick::program();
    let target = program.ancestors().nth(2).expect("target/debug/sidekick");
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output();
    let output = output.expect("bash is installed");
    assert!(output.status.success(), "{script} has failed, see above");
    let said = String::from_utf8(output.stdout).expect("text");
    said.trim_end().to_owned()
}

impl Host {
    /// Boots host `NAME`, the one of this number on its site, and waits until it is up.
    pub(crate) async fn start(site: &Arc<Site>, name: &str, number: u8) -> Self {
        Self::start_with(site, name, number, &[]).await
    }

    /// The same, with further files of this machine in it, each as `FROM:TO`.
    pub(crate) async fn start_with(
        site: &Arc<Site>,
        name: &str,
        number: u8,
        binds: &[String],
    ) -> Self {
        Self::created(site, name, number, binds, json!({})).await
    }

    /// The same, able to run containers of its own by Podman.
    pub(crate) async fn start_with_podman(
        site: &Arc<Site>,
        name: &str,
        number: u8,
        binds: &[String],
    ) -> Self {
        let more = json!({
            // Images, and since Podman 6 what they are built of, lie on a file system of this machine: overlays cannot be
            // stacked as they like.
            "Volumes": {"/var/lib/containers": {}, "/var/tmp": {}},
            "HostConfig": {
                // For their bridge and what it publishes, and for the devices that a group of theirs may be allowed.
                "CapAdd": [CAPABILITIES[0], CAPABILITIES[1], "NET_ADMIN"],
                "DeviceCgroupRules": ["a *:* rwm"],
            },
        });
        let host = Self::created(site, name, number, binds, more).await;
        // Forwarding is switched on in the host's own network. Only now, lest systemd set what is this machine's.
        host.exec("mount -o remount,bind,rw /proc/sys").await;
        host.write("/etc/containers/containers.conf", UNLIMITED);
        host
    }

    async fn created(
        site: &Arc<Site>,
        name: &str,
        number: u8,
        binds: &[String],
        more: Value,
    ) -> Self {
        let container = format!("{}-{name}", site.network.name());
        let address = site.address(number);
        let mut settings = settings(name, site, address, binds);
        merge(&mut settings, more);
        site.daemon.create(&container, &settings).await;
        let host = Self {
            pid: site.daemon.pid(&container).await,
            name: name.to_owned(),
            container,
            address,
            site: Arc::clone(site),
        };
        host.booted().await;
        host
    }

    /// Where it is on its network.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port of it.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address, port))
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it is called on its network.
    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path.trim_start_matches('/'));
        let folder = path.parent().expect("a path from the root on");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Its files, from outside.
    pub(crate) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid))
    }

    /// Runs a command line (of the shell) and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub(crate) fn exec(&self, line: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        let line = line.to_owned();
        async move {
            let ran = self.run(&line).await;
            assert_eq!(
                ran.code,
                Some(0),
                "{caller}: {}: {line}: {ran:?}",
                self.name
            );
            ran.stdout
        }
    }

    /// Runs a command line (of the shell), whatever comes of it.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        let output = tokio::process::Command::from(self.inside(&["sh", "-c", line]))
            .kill_on_drop(true)
            .output()
            .await;
        Ran::from(output.expect("nsenter is installed"))
    }

    /// Runs a program of this machine in its network, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) async fn network(&self, words: &[&str]) -> String {
        let output = tokio::process::Command::new("nsenter")
            .args(["--net", "--target", &self.pid.to_string(), "--"])
            .args(words)
            .kill_on_drop(true)
            .output()
            .await;
        let ran = Ran::from(output.expect("nsenter is installed"));
        assert_eq!(ran.code, Some(0), "{}: {words:?}: {ran:?}", self.name);
        ran.stdout
    }

    /// A command in it.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--all", "--target", &self.pid.to_string(), "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Looks again and again until the command line succeeds, and gives what it printed.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: impl Into<String>,
        line: impl Into<String>,
    ) -> impl Future<Output = String> {
        self.within(PATIENCE, what, line)
    }

    #[track_caller]
    fn within(
        &self,
        limit: Duration,
        what: impl Into<String>,
        line: impl Into<String>,
    ) -> impl Future<Output = String> {
        let what = format!("{} on {}", what.into(), self.name);
        let line = line.into();
        until(limit, what, async move || {
            let ran = self.run(&line).await;
            if ran.code == Some(0) {
                return Ok(ran.stdout);
            }
            // Between two looks at the condition.
            tokio::time::sleep(PAUSE).await;
            Err(ran)
        })
    }

    /// Waits until a unit is started, which for a sidekick means READY=1.
    #[track_caller]
    pub(crate) fn until_active(&self, unit: &str) -> impl Future<Output = String> {
        self.until(
            format!("{unit} to be active"),
            format!("systemctl is-active '{unit}'"),
        )
    }

    /// `active`, `activating`, `failed` and so on.
    pub(crate) async fn state(&self, unit: &str) -> String {
        let ran = self.run(&format!("systemctl is-active '{unit}'")).await;
        ran.stdout.trim().to_owned()
    }

    /// One property of a unit.
    pub(crate) async fn property(&self, unit: &str, name: &str) -> String {
        let line = format!("systemctl show --value --property {name} '{unit}'");
        self.exec(&line).await.trim().to_owned()
    }

    /// When the main process of a unit ended last, in microseconds.
    pub(crate) async fn exited(&self, unit: &str) -> u64 {
        let time = self.property(unit, "ExecMainExitTimestampMonotonic").await;
        time.parse().expect("a number")
    }

    /// What a unit and systemd about it have said.
    pub(crate) async fn journal(&self, unit: &str) -> String {
        let line = format!("journalctl --no-pager --output cat --unit '{unit}'");
        self.exec(&line).await
    }

    /// As when somebody pulls the plug: nobody in there gets to say a word.
    pub(crate) async fn kill(&self) {
        self.site.daemon.act(&self.container, "kill").await;
    }

    /// Shut down as by `poweroff`: every unit is stopped in its order.
    pub(crate) async fn shut_down(&self) {
        let daemon = &self.site.daemon;
        daemon
            .act(&self.container, "kill?signal=SIGRTMIN%2B3")
            .await;
        until(BOOT, "the host to be off", async || {
            !daemon.runs(&self.container).await
        })
        .await;
    }

    /// Switched on again after `kill` or `shut_down`, with the files that it had.
    pub(crate) async fn boot(&mut self) {
        self.site.daemon.act(&self.container, "start").await;
        self.pid = self.site.daemon.pid(&self.container).await;
        self.booted().await;
    }

    /// Some unit may have failed: what matters is asked by who needs it.
    #[track_caller]
    fn booted(&self) -> impl Future<Output = ()> {
        let line = "systemctl is-system-running --wait | grep -E 'running|degraded'";
        let up = self.within(BOOT, "systemd to be up", line);
        async move {
            up.await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = ["--no-pager", "--lines", JOURNAL_LINES, "--output", "short"];
            let mut command = self.inside(&["journalctl", "--quiet"]);
            if let Ok(output) = command.args(lines).output() {
                eprintln!("---- journal of {}:", self.name);
                eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        self.site.daemon.discard(&self.container);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// What systemd needs as the first process of a container, and the programs under test.
fn settings(name: &str, site: &Site, address: Ipv4Addr, binds: &[String]) -> Value {
    let program = |path: &Path, name: &str| format!("{}:/usr/local/bin/{name}:ro", path.display());
    let mut all = vec![
        "/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned(),
        program(&sidekick::program(), "sidekick"),
        program(&backend::program(), "backend"),
    ];
    all.extend_from_slice(binds);
    let network = site.network();
    json!({
        "Image": IMAGE, "Hostname": name, "Cmd": ["sh", "-c", INIT], "Env": ["container=docker"],
        "HostConfig": {
            "NetworkMode": network,
            // systemd makes its groups below its own, wherever that is.
            "CgroupnsMode": "host",
            "CapAdd": CAPABILITIES,
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": ""},
            "Binds": all,
        },
        "NetworkingConfig": {
            "EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address.to_string()}}},
        },
    })
}
