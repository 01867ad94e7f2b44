//! Secrets and certificates of a target that change in their files under a running pusher.

use std::fs;
use std::path::Path;

use super::config::Config;
use crate::support::{
    Backend, Etcd, Harness, Nginx, PATIENCE, Pki, Settings, Sidekick, folder, free_port, key, until,
};

const SERVE: &str = r#"content_by_lua_block { require("upstream_api").serve() }"#;

/// An nginx that serves its API on another port as well, as `server` says.
async fn nginx(server: String) -> (Etcd, Nginx) {
    let settings = Settings::default().http(format!("server {{ {server} }}"));
    tokio::join!(Etcd::start(), settings.start())
}

/// A pusher to `url`, with these keys for its target.
fn push(etcd: &Etcd, config: &Config, url: &str, keys: &str) -> Sidekick {
    config.write(&format!(
        "resync = \"1s\"\n[[nginx]]\nname = \"edge\"\napi = \"{url}\"\n{keys}\n[[upstream]]\nname = \"website\"\n"
    ));
    config.push(etcd).start()
}

async fn put(etcd: &Etcd, backend: &Backend) {
    etcd.put(&key(backend), backend.address().to_string()).await;
}

fn replace(file: &Path, text: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}

#[tokio::test]
async fn a_password_that_is_renewed_in_its_file_is_used_without_a_word() {
    let folder = folder();
    let (users, password) = (folder.path().join("users"), folder.path().join("password"));
    let renew = |text: &str| {
        replace(&password, format!("{text}\n"));
        replace(&users, format!("edge:{{PLAIN}}{text}\n"));
    };
    renew("the-first");
    let port = free_port();
    let location = format!(
        "listen 127.0.0.1:{port}; location /api {{ auth_basic api; auth_basic_user_file {}; {SERVE} }}",
        users.display()
    );
    let (etcd, nginx) = nginx(location).await;
    let harness = Harness { etcd, nginx };
    let keys = format!(
        "user = \"edge\"\npassword_file = \"{}\"",
        password.display()
    );
    let config = Config::new();
    let url = format!("http://127.0.0.1:{port}/api");
    let pusher = push(&harness.etcd, &config, &url, &keys);
    let (a, b, c) = tokio::join!(
        Backend::start("a"),
        Backend::start("b"),
        Backend::start("c")
    );
    put(&harness.etcd, &a).await;
    harness.routed(&[&a]).await;
    renew("the-second");
    put(&harness.etcd, &b).await;
    harness.routed(&[&a, &b]).await;
    let output = pusher.process().output();
    assert!(!output.contains("401"), "{output}");
    assert!(!output.contains("the-second"), "{output}");

    // What cannot be read is told, and the former one goes on.
    fs::remove_file(&password).unwrap();
    replace(&users, "edge:{PLAIN}the-third\n");
    let told = pusher.process().line("what was read last is used").await;
    assert!(told.contains("password: No such file"), "{told}");
    replace(&users, "edge:{PLAIN}the-second\n");
    put(&harness.etcd, &c).await;
    harness.routed(&[&a, &b, &c]).await;
}

#[tokio::test]
async fn certificates_that_are_renewed_in_their_files_are_used_without_a_word() {
    let (pki, other, folder) = (Pki::new(), Pki::new(), folder());
    let (cert, key) = pki.pair("server");
    let port = free_port();
    let location = format!(
        "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {}; \
         ssl_client_certificate {}; ssl_verify_client on; location /api {{ {SERVE} }}",
        cert.display(),
        key.display(),
        pki.ca().display(),
    );
    let (etcd, nginx) = nginx(location).await;
    let harness = Harness { etcd, nginx };
    let [ca, shown, own_key] = ["ca", "cert", "key"].map(|name| folder.path().join(name));
    let copy = |from: &Path, to: &Path| replace(to, fs::read(from).unwrap());
    let show = |pki: &Pki| {
        let (cert, key) = pki.pair("client");
        copy(&key, &own_key);
        copy(&cert, &shown);
    };
    copy(&other.ca(), &ca);
    show(&other);
    let keys = format!(
        "cacert = \"{}\"\ncert = \"{}\"\nkey = \"{}\"",
        ca.display(),
        shown.display(),
        own_key.display()
    );
    let config = Config::new();
    let url = format!("https://127.0.0.1:{port}/api");
    let pusher = push(&harness.etcd, &config, &url, &keys);
    let backend = Backend::start("a").await;
    put(&harness.etcd, &backend).await;
    let unknown = "the API cannot be reached: the certificate of";
    pusher.process().line(unknown).await;
    copy(&pki.ca(), &ca);
    pusher.process().line("the right client certificate").await;
    show(&pki);
    harness.routed(&[&backend]).await;
    until(PATIENCE, "the pusher to be well", async || {
        harness.status_record().await.json()["targets"]["edge"]["ok"] == true
    })
    .await;
}
