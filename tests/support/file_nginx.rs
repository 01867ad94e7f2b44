//! An nginx as Debian ships it, without lua: its upstreams come from a file, and a reload reads it again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sidekick::target::Layer;
use sidekick::target::file::Settings;
use sidekick::util::command::CommandLine;
use tempfile::TempDir;

use super::nginx::{launch_by, scratch, user};
use super::{PATIENCE, Process, Signal, ports, process, procfs, until};

/// Where Debian puts the modules that are not built in.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A folder with a configuration, and the nginx that runs with it. Its traffic port leads to the upstream `website`, and `/NAME` to
/// the other ones.
#[derive(Debug)]
pub(crate) struct FileNginx {
    process: Option<Process>,
    traffic: SocketAddr,
    folder: TempDir,
    /// Where the file with the upstreams is.
    file: PathBuf,
    /// What starts it, with its command behind; nothing for it alone.
    starter: Vec<String>,
}

/// Begins a file of sidekick's.
pub(crate) const OWN: &str = "# Kept by sidekick: what is changed here by hand is put back.\n";

impl FileNginx {
    /// Not running yet, for these upstreams.
    pub(crate) fn new(layer: Layer, upstreams: &[&str]) -> Self {
        let folder = super::folder();
        let traffic = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
        fs::create_dir(folder.path().join("conf.d")).expect("our own folder");
        let file = folder.path().join("conf.d/upstreams.conf");
        let nginx = Self {
            process: None,
            traffic,
            folder,
            file,
            starter: Vec::new(),
        };
        nginx.configure(layer, upstreams, "");
        nginx
    }

    /// To be started by another program, which starts what it is given.
    pub(crate) fn started_by<S: Into<String>>(
        mut self,
        starter: impl IntoIterator<Item = S>,
    ) -> Self {
        self.starter = starter.into_iter().map(Into::into).collect();
        self
    }

    /// Running, with these upstreams and nobody in them.
    pub(crate) async fn start(layer: Layer, upstreams: &[&str]) -> Self {
        let mut nginx = Self::new(layer, upstreams);
        let blocks = upstreams
            .iter()
            .map(|name| format!("upstream {name} {{ server 127.0.0.1:1 down; }}\n"));
        let text = OWN.to_owned() + &blocks.collect::<String>();
        fs::write(&nginx.file, text).expect("our own folder");
        nginx.run().await;
        nginx
    }

    /// Writes the configuration, with more directives at its outermost level.
    pub(crate) fn configure(&self, layer: Layer, upstreams: &[&str], more: &str) {
        let text = self.render(layer, upstreams, more);
        fs::write(self.folder.path().join("nginx.conf"), text).expect("our own folder");
    }

    /// Starts it.
    pub(crate) async fn run(&mut self) {
        let mut process = launch_by(&self.starter, self.folder.path());
        let port = self.traffic.port();
        until(PATIENCE, "nginx to listen", async || {
            assert!(process.exited().is_none(), "{}", process.output());
            process.owns_port(port) && self.pid_file().exists()
        })
        .await;
        self.process = Some(process);
    }

    /// `kill -9`, the workers too.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Stopped first: a master starts a worker anew that has just ended, after its list was read.
            let _ = process::send(process.pid(), Signal::STOP);
            let workers = procfs::children(process.pid());
            process.kill();
            for worker in workers {
                // It may have left together with its master.
                let _ = process::send(worker, Signal::KILL);
            }
        }
    }

    /// How to push to it: everything as it is where nothing else is said, but for where this one is.
    pub(crate) fn settings(&self, layer: Layer) -> Settings {
        let mut settings = Settings::new(&self.file, layer);
        settings.check = Some(self.command("-t"));
        settings.reload = self.command("-s reload");
        settings.pid = Some(self.pid_file());
        settings
    }

    /// `nginx WHAT` for this nginx.
    pub(crate) fn command(&self, what: &str) -> CommandLine {
        let folder = self.folder.path().display();
        let command = format!("nginx {what} -p {folder} -c {folder}/nginx.conf -e stderr");
        command.parse().expect("no quotes")
    }

    /// The file with the upstreams.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is in the file now.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// Where clients connect.
    pub(crate) fn traffic(&self) -> SocketAddr {
        self.traffic
    }

    /// The running process.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// How often it has read its configuration again since it was started, in vain or not.
    pub(crate) fn reloads(&self) -> usize {
        let lines = self.process().lines();
        lines
            .iter()
            .filter(|line| line.ends_with(", reconfiguring"))
            .count()
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("nginx.pid")
    }

    fn render(&self, layer: Layer, upstreams: &[&str], more: &str) -> String {
        let folder = self.folder.path().display();
        let traffic = self.traffic;
        let include = format!("include {folder}/conf.d/*.conf;");
        let user = user();
        let scratch = scratch(self.folder.path());
        let (module, body) = match layer {
            Layer::Http => {
                let locations = upstreams
                    .iter()
                    .map(|name| format!("location /{name} {{ proxy_pass http://{name}; }}\n"));
                let locations: String = locations.collect();
                let first = upstreams[0];
                let body = format!(
                    r#"
http {{
    access_log off;
    # A reload closes connections that are kept alive, also when a request is on its way, unless nginx
    # has keepalive_min_timeout (1.27.4).
    keepalive_timeout 0;
    {scratch}
    {include}
    server {{
        listen {traffic};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_connect_timeout 2s;
        location / {{ proxy_pass http://{first}; }}
        {locations}
    }}
}}
"#
                );
                (String::new(), body)
            }
            Layer::Stream => {
                let module = if Path::new(STREAM_MODULE).exists() {
                    format!("load_module {STREAM_MODULE};")
                } else {
                    String::new()
                };
                let first = upstreams[0];
                let body = format!(
                    "stream {{ {include}\n server {{ listen {traffic}; proxy_pass {first}; }} }}\n"
                );
                (module, body)
            }
        };
        format!(
            "{user}\n{module}\ndaemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log stderr notice;\nevents {{ worker_connections 1024; }}\n{body}\n{more}\n"
        )
    }
}

impl Drop for FileNginx {
    fn drop(&mut self) {
        self.kill();
    }
}
