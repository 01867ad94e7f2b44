//! `examples/nginx-lua/nginx.conf` as it stands, but for the ports.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Backend, PATIENCE, Process, copy_folder, folder, free_port, request, until};

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// The folder as its comment says to copy it, with free ports in the place of 8000 and 8080.
fn copied(traffic: u16, api: u16) -> TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx-lua");
    let to = folder();
    copy_folder(&from.join("lib"), &to.path().join("lib"));
    let conf = fs::read_to_string(from.join("nginx.conf")).unwrap();
    assert!(
        conf.contains("listen 127.0.0.1:8080;"),
        "the API listens on loopback only"
    );
    let mut conf = conf
        .replace("listen 8000;", &format!("listen 127.0.0.1:{traffic};"))
        .replace(
            "listen 127.0.0.1:8080;",
            &format!("listen 127.0.0.1:{api};"),
        );
    if !Path::new("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists() {
        // OpenResty has the module built in.
        conf = conf.replace("load_module", "#load_module");
    }
    fs::write(to.path().join("nginx.conf"), conf).unwrap();
    to
}

async fn runs_as(user: Option<u32>) {
    let backend = Backend::start("b").await;
    let (traffic, api) = (free_port(), free_port());
    let folder = copied(traffic, api);
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).args([
        "-c",
        "nginx.conf",
        "-e",
        "stderr",
        "-g",
        "daemon off;",
    ]);
    if let Some(user) = user {
        chown(folder.path(), Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
    }
    let nginx = Process::start("nginx", &mut command);
    until(PATIENCE, "nginx to listen", async || nginx.owns_port(api)).await;

    let api = ([127, 0, 0, 1], api).into();
    let path = "/api/9/http/upstreams/website/servers";
    let body = format!(r#"{{"server":"{}"}}"#, backend.address());
    let answer = request(api, "POST", path, body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = request(([127, 0, 0, 1], traffic).into(), "GET", "/", "")
        .await
        .unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "b\n"));
    let log = fs::read_to_string(folder.path().join("error.log")).unwrap();
    assert_eq!(log, "");
    assert_eq!(nginx.output(), "");
}

#[tokio::test]
async fn the_configuration_runs_as_it_stands() {
    runs_as(None).await;
}

#[tokio::test]
async fn the_configuration_runs_as_an_ordinary_user() {
    if rustix::process::geteuid().is_root() {
        runs_as(Some(NOBODY)).await;
    }
}
