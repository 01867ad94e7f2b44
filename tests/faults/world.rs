//! Everything that runs: three members of etcd, four load balancers, ten backends, thirteen agents, and the links between them.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sidekick::target::Layer;
use tempfile::TempDir;
use tokio::time::Instant;

use super::agents::Agent;
use super::clock::{Clock, clocks_jump};
use super::cluster::Cluster;
use super::disk::Disk;
use super::door::{Door, KNOCKS};
use super::load::{self, TOLD};
use super::monitor::Monitor;
use super::net::Net;
use super::places::{
    BALANCER_NAMES, FILE, INSTANCES, LINKED, LUA, PLUS, PROCESSES, PUSHERS, ROUTES, delay,
    instance_name,
};
use super::plus::Plus;
use super::records;
use super::tried::Tried;
use crate::support::docker::{Daemon, Kind};
use crate::support::{
    Backend, FileNginx, Nginx, OWN, Proxy, Settings, archive_of, backend_program, folder,
};

/// The image of the backends in containers.
const IMAGE: &str = "shop/backend:1";

/// Which agents have a clock that can jump: an announcer of each kind, and two pushers.
pub(crate) const CLOCKS: [usize; 4] = [0, PROCESSES, INSTANCES, INSTANCES + 2];

/// All of it.
///
/// The order is that of the end: the agents go first, and the small disk before the folder over which it is mounted.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) agents: Vec<Agent>,
    pub(crate) monitor: Monitor,
    pub(crate) cluster: Cluster,
    pub(crate) plus: Arc<Plus>,
    pub(crate) lua: [Nginx; 2],
    pub(crate) disk: Disk,
    pub(crate) file: FileNginx,
    pub(crate) daemon: Daemon,
    pub(crate) processes: Vec<Backend>,
    pub(crate) addresses: Arc<Vec<SocketAddr>>,
    /// By the pusher's number among the agents, and the load balancer.
    pub(crate) api_links: HashMap<(usize, usize), Proxy>,
    /// To each backend that is a process, for everybody or for its probes.
    pub(crate) links: Vec<Proxy>,
    /// Of the backends that all reach over a link; behind that.
    pub(crate) doors: Vec<Door>,
    pub(crate) docker_links: Vec<Proxy>,
    /// Whether [`CLOCKS`] can be wrong.
    pub(crate) clocks_jump: bool,
    /// How many passwords there have been.
    pub(crate) passwords: u32,
    net: Net,
    folder: TempDir,
}

impl World {
    /// Starts all but the agents and the load; `None` where containers cannot be run.
    pub(crate) async fn build(monitor: &Monitor) -> Option<Self> {
        let daemon = Daemon::start(Kind::LiveRestore).await?;
        let cluster = Cluster::start().await;
        let net = Net::start();
        let plus = net.make(Plus::start(&["website"])).await;
        let lua = [lua_nginx(KNOCKS).await, lua_nginx("").await];
        let (file, disk) = file_nginx().await;
        let folder = folder();
        let mut processes = Vec::new();
        let mut addresses = Vec::new();
        let mut links = Vec::new();
        let mut doors = Vec::new();
        for instance in 0..PROCESSES {
            let backend = Backend::start_slow(&instance_name(instance), delay(instance)).await;
            let is_linked = instance < LINKED;
            let mut inside = backend.address();
            if is_linked {
                let door = net.make(Door::to(inside)).await;
                inside = door.address();
                doors.push(door);
            }
            let link = net.make(Proxy::to(inside)).await;
            addresses.push(if is_linked { link.address() } else { inside });
            links.push(link);
            processes.push(backend);
        }
        addresses.extend(containers(&daemon, folder.path()).await);
        let mut world = Self {
            monitor: monitor.clone(),
            cluster,
            plus: Arc::new(plus),
            lua,
            file,
            disk,
            daemon,
            processes,
            addresses: Arc::new(addresses),
            agents: Vec::new(),
            api_links: HashMap::new(),
            links,
            doors,
            docker_links: Vec::new(),
            clocks_jump: false,
            passwords: 0,
            net,
            folder,
        };
        world.clocks_jump = clocks_jump(world.folder.path()).await;
        if !world.clocks_jump {
            eprintln!(
                "not tested: clocks that jump: this build of sidekick does not heed libfaketime"
            );
        }
        world.link().await;
        world.add_agents().await;
        Some(world)
    }

    /// Starts the agents, waits until all is right, and begins to ask.
    pub(crate) async fn run(&mut self) {
        for agent in &mut self.agents {
            agent.start();
        }
        let balancers = [
            (LUA[0], self.lua[0].traffic()),
            (LUA[1], self.lua[1].traffic()),
            (FILE, self.file.traffic()),
        ];
        crate::support::until(Duration::from_secs(60), "all to be announced", async || {
            let silent = self.agents.iter().filter(|agent| !agent.is_ready());
            let silent: Vec<_> = silent
                .map(|agent| (agent.name.clone(), agent.status()))
                .collect();
            if silent.is_empty() {
                Ok(())
            } else {
                Err(silent)
            }
        })
        .await;
        let (instances, monitor) = (Arc::clone(&self.addresses), self.monitor.clone());
        self.net
            .go_on(load::ask(balancers, instances, monitor.clone()));
        self.net
            .go_on(records::follow(self.cluster.reader(), monitor));
        let (plus, instances) = (Arc::clone(&self.plus), Arc::clone(&self.addresses));
        self.net
            .go_on(self.monitor.clone().tick_all_the_time(move || {
                let routed = plus.routed("website");
                let routed = routed.iter();
                routed.map(|told| Tried::of(told, &instances)).collect()
            }));
    }

    async fn link(&mut self) {
        for (pusher, targets) in ROUTES.iter().enumerate() {
            for target in targets.iter().copied().filter(|target| *target != FILE) {
                let address = match target {
                    PLUS => self.plus.address(),
                    lua => self.lua[lua].api_address(),
                };
                let link = self.net.make(Proxy::to(address)).await;
                self.api_links.insert((INSTANCES + pusher, target), link);
            }
        }
        for _ in PROCESSES..INSTANCES {
            let link = self.net.make(Proxy::to(self.daemon.socket())).await;
            self.docker_links.push(link);
        }
    }

    async fn add_agents(&mut self) {
        for instance in 0..INSTANCES {
            let args = if instance < PROCESSES {
                self.process_args(instance)
            } else {
                self.container_args(instance)
            };
            self.add_agent("announce", args).await;
        }
        for pusher in 0..PUSHERS {
            let config = self.folder.path().join(format!("edge-{pusher}.toml"));
            fs::write(&config, self.config(pusher)).expect("our own folder");
            let args = vec!["--config".to_owned(), config.display().to_string()];
            self.add_agent("push", args).await;
        }
    }

    async fn add_agent(&mut self, subcommand: &'static str, args: Vec<String>) {
        let number = self.agents.len();
        let file = || self.folder.path().join(format!("clock-{number}"));
        let clock = CLOCKS.contains(&number).then(|| Clock::new(file()));
        let agent = Agent::new(number, (&self.cluster, &self.net), subcommand, args, clock).await;
        self.agents.push(agent);
    }

    fn process_args(&self, instance: usize) -> Vec<String> {
        let probe = format!("http://{}/health", self.links[instance].address());
        let mut args = vec![
            format!("website/{}", instance_name(instance)),
            self.addresses[instance].to_string(),
        ];
        args.extend(["--allow-loopback", "--probe", &probe].map(str::to_owned));
        args.extend(pace());
        args
    }

    fn container_args(&self, instance: usize) -> Vec<String> {
        let link = &self.docker_links[instance - PROCESSES];
        let docker_host = format!("tcp://{}", link.address());
        let network = self.daemon.network();
        let mut args: Vec<String> = [
            "--container",
            &instance_name(instance),
            "--docker-host",
            &docker_host,
            "--network",
            network,
            "--container-port",
            "80",
            "--host-name",
            "h1",
            "--on-gone",
            "wait",
            "--probe",
            "/health",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(pace());
        args
    }

    /// The pusher's `push.toml`.
    fn config(&self, pusher: usize) -> String {
        let mut config = format!("id = \"edge-{pusher}\"\nttl = \"5s\"\n");
        for target in ROUTES[pusher] {
            let name = BALANCER_NAMES[*target];
            let keys = match self.api_links.get(&(INSTANCES + pusher, *target)) {
                Some(link) => format!("api = \"http://{}/api\"", link.address()),
                None => self.file_keys(),
            };
            config += &format!("[[nginx]]\nname = \"{name}\"\n{keys}\n");
        }
        let names = ROUTES[pusher].iter().map(|target| BALANCER_NAMES[*target]);
        let names: Vec<_> = names.collect();
        config
            + &format!(
                "[[upstream]]\nname = \"website\"\nnginx = {names:?}\nhold = \"5s\"\ndrain_timeout = \"3s\"\nfail_timeout = \"1s\"\n"
            )
    }

    fn file_keys(&self) -> String {
        let (folder, file) = (self.file.folder().display(), self.file.file().display());
        let nginx = format!("-p {folder} -c {folder}/nginx.conf -e stderr");
        format!(
            "file = \"{file}\"\ncheck = \"nginx -t {nginx}\"\nreload = \"nginx -s reload {nginx}\"\npid = \"{folder}/nginx.pid\""
        )
    }

    /// Until a backend accepts connections, at most so long.
    pub(crate) async fn accepts(&self, instance: usize, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if tokio::net::TcpStream::connect(self.addresses[instance])
                .await
                .is_ok()
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // between two looks
        }
        false
    }
}

/// How all announcers probe and wait.
fn pace() -> Vec<String> {
    [
        "--interval",
        "500ms",
        "--timeout",
        "400ms",
        "--rise",
        "1",
        "--fall",
        "3",
        "--ttl",
        "5s",
        "--drain-timeout",
        "6s",
        "--ready",
        "routed",
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn lua_nginx(more: &str) -> Nginx {
    let settings = Settings::default().state().http(TOLD).locations(more);
    settings.start().await
}

async fn file_nginx() -> (FileNginx, Disk) {
    let mut nginx = FileNginx::new(Layer::Http, &["website"]);
    let folder = nginx.file().parent().expect("a folder").to_owned();
    let disk = Disk::mount(&folder);
    let empty = format!("{OWN}upstream website {{ server 127.0.0.1:1 down; }}\n");
    fs::write(nginx.file(), empty).expect("our own folder");
    fs::write(folder.join("told.conf"), TOLD).expect("our own folder");
    nginx.run().await;
    (nginx, disk)
}

/// Starts the containers; each has an address that stays.
async fn containers(daemon: &Daemon, folder: &Path) -> Vec<SocketAddr> {
    let archive = archive_of(&backend_program(), "backend", folder);
    daemon.import(IMAGE, &archive).await;
    let mut addresses = Vec::new();
    for instance in PROCESSES..INSTANCES {
        let name = instance_name(instance);
        let number = u8::try_from(instance + 10).expect("a few");
        let address = daemon.address(number);
        let delay = format!("{}ms", delay(instance).as_millis());
        let settings = json!({
            "Image": IMAGE,
            "Cmd": ["/backend", "--listen", "0.0.0.0:80", "--name", name, "--delay", delay],
            "Labels": {"SERVICE_NAME": "website", "SERVICE_ID": name},
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"NetworkMode": daemon.network()},
            "NetworkingConfig": {"EndpointsConfig": {
                daemon.network(): {"IPAMConfig": {"IPv4Address": address}},
            }},
        });
        daemon.create(&name, &settings).await;
        addresses.push(SocketAddr::from((address, 80)));
    }
    addresses
}
