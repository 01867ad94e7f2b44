//! The image of `examples/Containerfile`: the static program alone, in a real daemon.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::docker::Daemon;
use crate::support::hosts::{Host, Site, static_program};
use crate::support::{PATIENCE, Pki, folder, until};

/// What it is called here.
const IMAGE: &str = "sidekick";

const CONTAINERFILE: &str = "examples/Containerfile";

/// What is built from: the files of this repository that the Containerfile takes, and the program where it looks for it.
pub(crate) struct Context {
    folder: TempDir,
    /// The program, below the context.
    pub(crate) binary: String,
}

impl Context {
    pub(crate) async fn new() -> Self {
        let program = static_program().await;
        let host = program.ancestors().nth(2).and_then(|path| path.file_name());
        let host = host.and_then(|name| name.to_str()).expect("a target");
        let context = Self {
            folder: folder(),
            binary: format!("target/{host}/release/sidekick"),
        };
        for file in ["LICENSE", ".dockerignore", CONTAINERFILE] {
            let to = context.place(file);
            fs::create_dir_all(to.parent().expect("it is in our folder")).expect("our own folder");
            let from = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            fs::copy(&from, to).unwrap_or_else(|error| panic!("{from}: {error}"));
        }
        let to = context.place(&context.binary);
        fs::create_dir_all(to.parent().expect("it is in our folder")).expect("our own folder");
        fs::copy(program, to).expect("it was built");
        context
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// By docker.
    async fn build(&self, daemon: &Daemon) {
        let archive = folder();
        let file = archive.path().join("context.tar");
        let mut tar = Command::new("tar");
        // Nothing behind its end: the daemon reads no further, and cuts the connection where something is left.
        tar.args(["-b", "1", "-C"]).arg(self.path());
        tar.arg("-cf").arg(&file);
        let tar = tar.arg(".").status().expect("tar");
        assert!(tar.success());
        let args = json!({"BINARY": self.binary});
        daemon.build(IMAGE, CONTAINERFILE, &file, &args).await;
    }
}

/// Runs the image to its end, and gives the exit code.
async fn code(site: &Site, arguments: &[&str], binds: &[String]) -> Value {
    let daemon = site.daemon();
    let name = format!("{}-once", site.network());
    let settings = json!({"Image": IMAGE, "Cmd": arguments, "HostConfig": {"Binds": binds}});
    daemon.create(&name, &settings).await;
    let code = until(PATIENCE, "its end", async || {
        let state = daemon.inspect(&name).await["State"].clone();
        (state["Running"] == false).then(|| state["ExitCode"].clone())
    })
    .await;
    daemon.remove(&name).await;
    code
}

#[tokio::test]
async fn the_image_is_the_program_alone_and_leaves_in_good_order_when_it_is_stopped() {
    let Some(site) = Site::start().await else {
        return;
    };
    let daemon = site.daemon();
    let (context, host) = tokio::join!(Context::new(), Host::start(&site, "h1", 1));
    context.build(daemon).await;
    host.write(
        "/etc/default/etcd",
        "ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379\nETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:2379\n",
    );
    host.exec("systemctl start etcd").await;
    assert_eq!(code(&site, &["--version"], &[]).await, 0);

    let name = format!("{}-sidekick", site.network());
    let etcd = host.at(2379).to_string();
    let settings = json!({
        "Image": IMAGE, "Cmd": ["announce", "website/nginx1", &etcd, "--probe", format!("tcp://{etcd}"), "--rise", "1"],
        // By name: a static program looks it up by itself.
        "Env": [format!("ETCDCTL_ENDPOINTS=http://{}:2379", host.container())],
        "HostConfig": {"NetworkMode": site.network(), "ReadonlyRootfs": true, "CapDrop": ["ALL"]},
    });
    daemon.create(&name, &settings).await;
    until(PATIENCE, "the record", async || {
        crate::host_harness::record(&host, "nginx1").await
    })
    .await;

    let root = format!("/proc/{}/root", daemon.pid(&name).await);
    let mut files: Vec<_> = fs::read_dir(root).expect("we are root").collect();
    files.retain(|file| {
        let name = file.as_ref().expect("an entry").file_name();
        // What every container gets.
        !["dev", "etc", "proc", "sys", ".dockerenv"].contains(&name.to_str().unwrap_or_default())
    });
    let mut files: Vec<_> = files
        .into_iter()
        .flatten()
        .map(|it| it.file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["LICENSE", "sidekick"]);
    let inspected = daemon.inspect(&name).await;
    assert_eq!(inspected["Config"]["User"], "65532:65532");
    let version = &inspected["Config"]["Labels"]["org.opencontainers.image.version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));

    daemon.act(&name, "stop?t=20").await;
    // All of it holds at once, not soon.
    assert_eq!(crate::host_harness::record(&host, "nginx1").await, None);
    assert_eq!(daemon.inspect(&name).await["State"]["ExitCode"], 0);
    daemon.remove(&name).await;

    // Nobody is trusted until the host's list is shown to it, and then it says no only because nobody answers there.
    let probe = [
        "check",
        "a/b",
        "10.0.0.5:1",
        "--probe",
        "https://127.0.0.1:1/",
    ];
    assert_eq!(code(&site, &probe, &[]).await, 64);
    let pki = Pki::new();
    let list = format!(
        "{}:/etc/ssl/certs/ca-certificates.crt:ro",
        pki.ca().display()
    );
    assert_eq!(code(&site, &probe, &[list]).await, 1);
}
