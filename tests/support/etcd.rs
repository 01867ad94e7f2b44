//! A real etcd, alone or as a member of a cluster, that can be frozen, killed, restarted and wiped.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, ConnectOptions, GetOptions,
    KeyValue, Permission, PutOptions, RoleRevokePermissionOptions,
};
use tempfile::TempDir;

use super::{PATIENCE, Pki, Process, Signal, copy_folder, ports, request, until};

/// How often other ports are tried when somebody takes ours first.
const ATTEMPTS: usize = 5;

/// How long one call of a test may take; long enough for an election.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One etcd server.
#[derive(Debug)]
pub(crate) struct Etcd {
    member: Member,
    process: Process,
    folder: TempDir,
    /// Of `root`, once authentication is on.
    password: Option<String>,
}

/// What a server needs to know to be started again as the same one.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    /// Plain HTTP for health and metrics, whatever clients need.
    metrics: SocketAddr,
    /// `NAME=URL,…` of all members, this one too.
    cluster: String,
    /// Clients and server show each other certificates.
    pki: Option<Arc<Pki>>,
    /// What tokens are made of: `simple`, or `jwt,…`.
    tokens: String,
    /// How long a simple token lasts without use, in seconds.
    token_ttl: u64,
    /// Whether the v2 API is on.
    serves_v2: bool,
    /// Whether it waits long before it elects a leader.
    elects_slowly: bool,
}

/// The user who may do everything, once authentication is on.
const ROOT: &str = "root";

/// That user's password.
pub(crate) const PASSWORD: &str = "correct-horse";

/// How long a token lasts that a client gets for its password, in seconds.
pub(crate) const TOKEN_TTL: u64 = 2;

/// A key with everything that tells whether somebody touched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kv {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) lease: i64,
}

impl Etcd {
    /// Starts an empty one.
    pub(crate) async fn start() -> Self {
        let [etcd] = Self::start_members(None).await;
        etcd
    }

    /// Starts an empty one that shows a certificate and wants to see one.
    pub(crate) async fn start_with_tls(pki: &Arc<Pki>) -> Self {
        let [etcd] = Self::start_members(Some(pki)).await;
        etcd
    }

    /// Starts three empty members of one cluster.
    pub(crate) async fn cluster() -> [Self; 3] {
        Self::start_members(None).await
    }

    /// Starts an empty one whose simple tokens last so many seconds.
    pub(crate) async fn start_with_tokens(ttl: u64) -> Self {
        let [mut member] = plan(None);
        member.token_ttl = ttl;
        Self::start_as(member).await
    }

    /// Starts an empty one whose tokens carry the user's rights and their revision, instead of being remembered (JWT), and
    /// end after so many seconds, used or not.
    pub(crate) async fn start_with_jwt(pki: &Pki, ttl: u64) -> Self {
        let (public, private) = pki.signing_keys();
        let tokens = format!(
            "jwt,pub-key={},priv-key={},sign-method=RS256,ttl={ttl}s",
            public.display(),
            private.display()
        );
        let [mut member] = plan(None);
        member.tokens = tokens;
        Self::start_as(member).await
    }

    /// Starts an empty one that serves its old store too, of keys written by the v2 API.
    pub(crate) async fn start_with_v2() -> Self {
        let [mut member] = plan(None);
        member.serves_v2 = true;
        Self::start_as(member).await
    }

    /// Starts an empty one that grants no lease below nine seconds: one and a half times of what it waits before an election.
    pub(crate) async fn start_with_slow_elections() -> Self {
        let [mut member] = plan(None);
        member.elects_slowly = true;
        Self::start_as(member).await
    }

    async fn start_as(member: Member) -> Self {
        let mut etcd = Self::spawn(member);
        etcd.becomes_healthy().await.expect("etcd starts");
        etcd
    }

    async fn start_members<const N: usize>(pki: Option<&Arc<Pki>>) -> [Self; N] {
        let mut said = String::new();
        'attempts: for _ in 0..ATTEMPTS {
            let mut members = plan(pki).map(Self::spawn);
            for member in &mut members {
                if let Err(instead) = member.becomes_healthy().await {
                    said = instead;
                    continue 'attempts;
                }
            }
            return members;
        }
        panic!("etcd did not start in {ATTEMPTS} attempts on different ports: {said}");
    }

    fn spawn(member: Member) -> Self {
        let folder = super::folder();
        let process = member.spawn(folder.path().join("data"));
        Self {
            member,
            process,
            folder,
            password: None,
        }
    }

    /// What it said when it ended instead: somebody else has one of its ports, most likely.
    async fn becomes_healthy(&mut self) -> Result<(), String> {
        let Self {
            member, process, ..
        } = self;
        until(
            PATIENCE,
            format!("{} to be healthy", member.name),
            async || {
                if process.exited().is_some() {
                    return Ok(Err(process.output()));
                }
                if !process.owns_port(member.client.port()) {
                    return Err("it does not listen".to_owned());
                }
                let answer = request(member.metrics, "GET", "/health", "").await?;
                if answer.status == 200 && answer.json()["health"] == "true" {
                    Ok(Ok(()))
                } else {
                    Err(answer.body)
                }
            },
        )
        .await
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// For `--endpoints`.
    pub(crate) fn endpoint(&self) -> String {
        match self.member.pki {
            Some(_) => format!("https://{}", self.member.client),
            None => self.member.client.to_string(),
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.member.client
    }

    /// Stops answering without closing anything, as a machine that hangs.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on as if nothing had been.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// `kill -9`; `resume` starts it again.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it stood when it was killed.
    pub(crate) async fn resume(&mut self) {
        self.process = self.member.spawn(self.data());
        self.becomes_healthy().await.expect("etcd starts again");
    }

    /// Killed and started again at once.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.resume().await;
    }

    /// Killed and started again at the same address with nothing in it: revisions begin anew.
    pub(crate) async fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).expect("our own folder");
        self.resume().await;
    }

    /// Killed, saved as it stands on the disk, and started again.
    pub(crate) async fn save(&mut self) {
        self.kill();
        copy_folder(&self.data(), &self.saved());
        self.resume().await;
    }

    /// Killed and started again as it was saved: revisions go back, and what was written since has never been.
    pub(crate) async fn restore(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).expect("our own folder");
        copy_folder(&self.saved(), &self.data());
        self.resume().await;
    }

    fn saved(&self) -> PathBuf {
        self.folder.path().join("saved")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A new connection to this server, with every right.
    pub(crate) async fn client(&self) -> Client {
        let root = self.password.as_deref().map(|password| (ROOT, password));
        self.client_with(root).await
    }

    /// The same as a user of [`add_user_with`](Self::add_user_with).
    pub(crate) async fn client_of(&self, user: &str) -> Client {
        self.client_with(Some((user, PASSWORD))).await
    }

    async fn client_with(&self, login: Option<(&str, &str)>) -> Client {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CALL_TIMEOUT)
            .with_timeout(CALL_TIMEOUT);
        if let Some((user, password)) = login {
            options = options.with_user(user, password);
        }
        if let Some(pki) = &self.member.pki {
            options = options.with_tls(pki.client_options());
        }
        Client::connect([self.endpoint()], Some(options))
            .await
            .expect("etcd accepts connections")
    }

    /// From now on clients must say who they are: `root` with [`PASSWORD`].
    pub(crate) async fn require_users(&mut self) {
        let mut client = self.client().await;
        client.user_add(ROOT, PASSWORD, None).await.expect("a user");
        let granted = client.user_grant_role(ROOT, ROOT).await;
        granted.expect("the built-in role");
        client.auth_enable().await.expect("there is a root user");
        self.password = Some(PASSWORD.to_owned());
    }

    /// Adds a user who has nothing to do with anything.
    pub(crate) async fn add_user(&self, name: &str) {
        let added = self.client().await.user_add(name, PASSWORD, None).await;
        added.expect("etcd adds a user");
    }

    /// Another password for `root`.
    pub(crate) async fn change_password(&mut self, password: &str) {
        let mut client = self.client().await;
        let changed = client.user_change_password(ROOT, password).await;
        changed.expect("etcd changes a password");
        self.password = Some(password.to_owned());
    }

    /// A user with exactly these rights, given as `etcdctl role grant-permission` takes them: `read /a` or
    /// `--prefix=true readwrite /a/`.
    pub(crate) async fn add_user_with(&self, name: &str, rights: &[&str]) {
        let mut client = self.client().await;
        client.role_add(name).await.expect("a role");
        for right in rights {
            self.grant(name, right).await;
        }
        client.user_add(name, PASSWORD, None).await.expect("a user");
        client.user_grant_role(name, name).await.expect("a role");
    }

    /// One right more for a user of [`add_user_with`](Self::add_user_with).
    pub(crate) async fn grant(&self, name: &str, right: &str) {
        let words: Vec<_> = right.split_whitespace().collect();
        let (prefix, right, key) = match words[..] {
            ["--prefix=true", right, key] => (true, right, key),
            [right, key] => (false, right, key),
            _ => panic!("not a right: {right}"),
        };
        let permission = match right {
            "read" => Permission::read(key),
            "write" => Permission::write(key),
            "readwrite" => Permission::read_write(key),
            _ => panic!("not a right: {right}"),
        };
        let permission = if prefix {
            permission.with_prefix()
        } else {
            permission
        };
        let mut client = self.client().await;
        let granted = client.role_grant_permission(name, permission).await;
        granted.expect("a right");
    }

    /// Takes back from a user a right to one key that [`add_user_with`](Self::add_user_with) gave.
    pub(crate) async fn revoke_right(&self, name: &str, key: &str) {
        let mut client = self.client().await;
        let revoked = client.role_revoke_permission(name, key, None).await;
        revoked.expect("there is such a right");
    }

    /// The same of a right to all keys that begin like this.
    pub(crate) async fn revoke_right_to_all(&self, name: &str, prefix: &str) {
        let mut client = self.client().await;
        let all = RoleRevokePermissionOptions::new().with_prefix();
        let revoked = client.role_revoke_permission(name, prefix, Some(all)).await;
        revoked.expect("there is such a right");
    }

    /// Says that its disk is full: it refuses to write from now on.
    pub(crate) async fn run_out_of_space(&self) {
        self.alarm(AlarmAction::Activate).await;
    }

    /// Takes that back.
    pub(crate) async fn has_room_again(&self) {
        self.alarm(AlarmAction::Deactivate).await;
    }

    async fn alarm(&self, action: AlarmAction) {
        let mut client = self.client().await;
        let members = client.member_list().await.expect("a list of members");
        let id = members.members()[0].id();
        let mut options = AlarmOptions::new();
        options.with_member(id);
        let answer = client
            .alarm(action, AlarmType::Nospace, Some(options))
            .await;
        answer.expect("etcd takes an alarm");
    }

    /// Writes a key and gives the revision of that.
    pub(crate) async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> i64 {
        let answer = self.client().await.put(key, value, None).await;
        let answer = answer.expect("etcd takes a put");
        answer.header().expect("a header").revision()
    }

    /// Writes a key that ends with a new lease of `ttl` seconds, and gives the lease's id.
    pub(crate) async fn put_for(&self, key: &str, value: &str, ttl: i64) -> i64 {
        let mut client = self.client().await;
        let lease = client.lease_grant(ttl, None).await.expect("a lease").id();
        let options = PutOptions::new().with_lease(lease);
        let answer = client.put(key, value, Some(options)).await;
        answer.expect("etcd takes a put");
        lease
    }

    /// One key.
    pub(crate) async fn get(&self, key: &str) -> Option<Kv> {
        self.read(key, GetOptions::new()).await.0.pop()
    }

    /// All keys that begin like this.
    pub(crate) async fn list(&self, prefix: &str) -> Vec<Kv> {
        self.read(prefix, GetOptions::new().with_prefix()).await.0
    }

    /// Its version: major, minor, patch.
    pub(crate) async fn version(&self) -> [u32; 3] {
        let status = self.client().await.status().await;
        let version = status.expect("etcd tells its status").version().to_owned();
        let parts: Vec<_> = version.split('.').map(|part| part.parse().ok()).collect();
        match parts[..] {
            [Some(major), Some(minor), Some(patch)] => [major, minor, patch],
            _ => panic!("not a version: {version}"),
        }
    }

    /// The newest revision.
    pub(crate) async fn revision(&self) -> i64 {
        self.read("none", GetOptions::new()).await.1
    }

    /// Keys and the newest revision. Repeated while the server has no leader, as a read may be.
    async fn read(&self, key: &str, options: GetOptions) -> (Vec<Kv>, i64) {
        let answer = until(PATIENCE, "etcd to answer a get", async || {
            let mut client = self.client().await;
            client.get(key, Some(options.clone())).await
        })
        .await;
        let revision = answer.header().expect("a header").revision();
        (answer.kvs().iter().map(Kv::from).collect(), revision)
    }

    /// Every state a key has had, in order; `None` where it was deleted. Only what was not compacted.
    pub(crate) async fn history(&self, key: &str) -> Vec<Option<Kv>> {
        let mut states = vec![None];
        for revision in 1..=self.revision().await {
            let options = GetOptions::new().with_revision(revision);
            let state = self.read(key, options).await.0.pop();
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
        states.remove(0);
        states
    }

    /// Deletes a key, without notice; `false` when there was none.
    pub(crate) async fn delete(&self, key: &str) -> bool {
        let answer = self.client().await.delete(key, None).await;
        answer.expect("etcd takes a delete").deleted() > 0
    }

    /// Deletes all keys that begin like this in one revision, without notice.
    pub(crate) async fn delete_all(&self, prefix: &str) {
        let options = etcd_client::DeleteOptions::new().with_prefix();
        let answer = self.client().await.delete(prefix, Some(options)).await;
        answer.expect("etcd takes a delete");
    }

    /// Ends a lease and its keys.
    pub(crate) async fn revoke(&self, lease: i64) {
        let answer = self.client().await.lease_revoke(lease).await;
        answer.expect("etcd knows the lease");
    }

    /// Forgets all history, so that older watches cannot go on.
    pub(crate) async fn compact(&self) {
        let revision = self.revision().await;
        let answer = self.client().await.compact(revision, None).await;
        answer.expect("etcd compacts");
    }

    /// Forgets all history, the newest change included, and has thrown it away when this returns.
    pub(crate) async fn compact_physically(&self) {
        let revision = self.revision().await;
        let options = CompactionOptions::new().with_physical();
        let answer = self.client().await.compact(revision, Some(options)).await;
        answer.expect("etcd compacts");
    }

    /// How often this server has looked for keys since it started.
    pub(crate) async fn ranges(&self) -> u64 {
        let answer = request(self.member.metrics, "GET", "/metrics", "").await;
        let body = answer.expect("etcd tells its metrics").body;
        let mut lines = body.lines();
        let count = lines.find_map(|line| line.strip_prefix("etcd_debugging_mvcc_range_total "));
        let count: f64 = count.expect("it counts").parse().expect("a number");
        // A counter: whole, and far below where a float leaves numbers out.
        count as u64
    }

    /// The calls that this server has refused so far for want of a right, as its metrics count them.
    pub(crate) async fn denials(&self) -> Vec<String> {
        let answer = request(self.member.metrics, "GET", "/metrics", "").await;
        let body = answer.expect("etcd tells its metrics").body;
        let denied = r#"grpc_server_handled_total{grpc_code="PermissionDenied""#;
        let lines = body.lines().filter(|line| line.starts_with(denied));
        let counted = lines.filter(|line| !line.ends_with(" 0"));
        counted.map(str::to_owned).collect()
    }

    /// How many raft proposals this server has seen committed, those that it made by itself when it started included:
    /// it answers clients only once its own name is written, and decides on the cluster's version at about that time.
    pub(crate) async fn proposals_committed(&self) -> u64 {
        self.revision().await;
        let value = until(PATIENCE, "etcd to have started", async || {
            let answer = request(self.member.metrics, "GET", "/metrics", "").await?;
            let metric = |name| answer.body.lines().find_map(|line| line.strip_prefix(name));
            metric("etcd_cluster_version{").ok_or("it has no version yet")?;
            let count = metric("etcd_server_proposals_committed_total ").ok_or("no count")?;
            Ok::<_, String>(count.to_owned())
        })
        .await;
        let value: f64 = value.parse().expect("a number");
        // A counter: whole, and far below where a float leaves numbers out.
        value as u64
    }
}

/// The etcd under test: `SIDEKICK_TEST_ETCD` names another than that of the machine.
fn program() -> PathBuf {
    std::env::var_os("SIDEKICK_TEST_ETCD").map_or_else(|| "etcd".into(), PathBuf::from)
}

impl Member {
    fn spawn(&self, data: PathBuf) -> Process {
        let (client, peer) = (self.client, self.peer);
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        let mut command = Command::new(program());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ETCD_")) {
                command.env_remove(name);
            }
        }
        command
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(data)
            .args(["--listen-client-urls", &format!("{scheme}://{client}")])
            .args(["--advertise-client-urls", &format!("{scheme}://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(["--initial-cluster", &self.cluster])
            .args(["--listen-metrics-urls", &format!("http://{}", self.metrics)])
            .args(["--auth-token", &self.tokens])
            .args(["--auth-token-ttl", &self.token_ttl.to_string()])
            .args(["--bcrypt-cost", "4"])
            .args(["--logger", "zap"])
            .args(["--log-outputs", "stderr"])
            .args(["--log-level", "warn"]);
        if self.elects_slowly {
            command.args(["--heartbeat-interval", "600", "--election-timeout", "6000"]);
        }
        if self.serves_v2 {
            command.arg("--enable-v2");
        }
        if let Some(pki) = &self.pki {
            let (cert, key) = pki.pair("server");
            command.args(["--client-cert-auth", "--trusted-ca-file"]);
            command.arg(pki.ca()).arg("--cert-file").arg(cert);
            command.arg("--key-file").arg(key);
        }
        Process::start(format!("etcd {}", self.name), &mut command)
    }
}

/// Names and free ports for members that know of each other.
fn plan<const N: usize>(pki: Option<&Arc<Pki>>) -> [Member; N] {
    let local = || SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let mut number = 0;
    let mut members = [(); N].map(|()| {
        number += 1;
        Member {
            name: format!("m{number}"),
            client: local(),
            peer: local(),
            metrics: local(),
            pki: pki.cloned(),
            cluster: String::new(),
            tokens: "simple".to_owned(),
            token_ttl: TOKEN_TTL,
            serves_v2: false,
            elects_slowly: false,
        }
    });
    let urls: Vec<_> = members
        .iter()
        .map(|member| format!("{}=http://{}", member.name, member.peer))
        .collect();
    for member in &mut members {
        member.cluster = urls.join(",");
    }
    members
}

impl From<&KeyValue> for Kv {
    fn from(kv: &KeyValue) -> Self {
        Self {
            key: String::from_utf8_lossy(kv.key()).into_owned(),
            value: String::from_utf8_lossy(kv.value()).into_owned(),
            create_revision: kv.create_revision(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        }
    }
}

impl Kv {
    /// The value as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.value)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}
