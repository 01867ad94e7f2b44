//! Hosts whose containers are Podman's: the Quadlet pair as it is shipped, and the units as `examples/install.sh` installs them.

use std::fs;

use crate::host_harness::{TRAFFIC, configure_nginx, install, record, servers, shipped, sidekick};
use crate::image::Context;
use crate::support::hosts::{Host, Site};
use crate::support::{Load, PATIENCE, until};

/// Where the shipped backend is published.
const PORT: u16 = 8080;

/// The pace of the sidekicks here.
const PACE: &str =
    "SIDEKICK_INTERVAL=300ms\nSIDEKICK_TIMEOUT=250ms\nSIDEKICK_RISE=1\nSIDEKICK_TTL=4s\n";

/// Stands for nginx: it answers "ok" to `/` and `/health`, and ends on SIGTERM, as nginx does.
const BACKEND: &str = r#"FROM scratch
COPY busybox /bin/busybox
COPY ok /www/index.html
COPY ok /www/health
ENTRYPOINT ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; /bin/busybox httpd -f -p 80 -h /www & wait"]
"#;

/// A host with Podman, etcd, and an image of a backend that is called as the shipped one.
pub(crate) async fn host(site: &std::sync::Arc<Site>, binds: &[String]) -> Host {
    // Since 6, Podman builds from a copy of the folder that has nothing of what is mounted in it.
    let busybox = "/bin/busybox:/srv/busybox:ro".to_owned();
    let binds = [binds, &[busybox]].concat();
    let host = Host::start_with_podman(site, "h1", 1, &binds).await;
    host.write("/srv/backend/ok", "ok\n");
    host.write("/srv/backend/Containerfile", BACKEND);
    host.exec(
        "cp /srv/busybox /srv/backend/ && podman build --tag docker.io/library/nginx:1.29 /srv/backend && \
         systemctl start etcd",
    )
    .await;
    host
}

#[tokio::test]
async fn the_quadlet_pair_is_routed_restarted_and_stopped_in_order() {
    let Some(site) = Site::start().await else {
        return;
    };
    let context = Context::new().await;
    let bind = format!("{}:/srv/context:ro", context.path().display());
    let host = host(&site, &[bind]).await;
    let build = format!(
        "podman build --tag localhost/sidekick --file examples/Containerfile --build-arg BINARY={} .",
        context.binary
    );
    host.exec(&format!("cd /srv/context && {build}")).await;

    // nginx and its pusher, which lets go of the last server too.
    install(&host);
    configure_nginx(&host);
    host.exec(
        "echo SIDEKICK_MIN_SERVERS=0 >>/etc/sidekick/push.env && \
         systemctl daemon-reload && systemctl start nginx sidekick-push",
    )
    .await;

    let at = host.at(PORT).to_string();
    // nginx's API has the same port on the loopback address.
    let published = format!("{at}:80");
    for (file, theirs, ours) in [
        ("backend.container", "8080:80", &published),
        ("backend-sidekick.container", "10.0.0.5:8080", &at),
    ] {
        let text = shipped(&format!("units/quadlet/{file}"));
        assert!(text.contains(theirs), "{text}");
        host.write(
            &format!("/etc/containers/systemd/{file}"),
            text.replace(theirs, ours),
        );
    }
    host.write("/etc/sidekick/backend.env", PACE);
    host.exec("systemctl daemon-reload && systemctl start backend")
        .await;
    host.until_active("backend-sidekick").await;
    // Started means announced.
    let first = record(&host, "backend").await.expect("it is announced");
    assert_eq!(first["port"], PORT);
    let status = host.property("backend-sidekick", "StatusText").await;
    assert!(status.contains("announced"), "{status}");
    routed(&host, &at).await;
    let said = host
        .exec(&format!("curl -fsS http://127.0.0.1:{TRAFFIC}/"))
        .await;
    assert_eq!(said, "ok\n");

    // A sidekick that is killed is back before anybody misses its record.
    host.exec("podman kill --signal KILL backend-sidekick")
        .await;
    until(PATIENCE, "a record of the next one", async || {
        let record = record(&host, "backend").await;
        let record = record.expect("the record was lost");
        record["nonce"] != first["nonce"]
    })
    .await;
    host.until_active("backend-sidekick").await;
    assert_eq!(host.property("backend-sidekick", "NRestarts").await, "1");

    // A backend that is killed takes its sidekick along, and brings it back.
    host.exec("podman kill --signal KILL backend").await;
    host.until(
        "the backend to be started again",
        "[ \"$(systemctl show --value -p NRestarts backend)\" = 1 ] && systemctl is-active backend",
    )
    .await;
    host.until_active("backend-sidekick").await;
    routed(&host, &at).await;

    host.exec("systemctl stop backend").await;
    // All of it holds at once, not soon.
    assert_eq!(record(&host, "backend").await, None);
    assert_eq!(servers(&host).await, Vec::<String>::new());
    for unit in ["backend-sidekick", "backend"] {
        assert_eq!(host.state(unit).await, "inactive", "{unit}");
        assert_eq!(host.property(unit, "Result").await, "success", "{unit}");
    }
    let left = host.exited("backend-sidekick").await;
    let stopped = host.exited("backend").await;
    assert!(left <= stopped, "{left} {stopped}");
}

#[tokio::test]
async fn what_install_sh_installs_announces_a_container_of_podman_where_there_is_no_docker() {
    let Some(site) = Site::start().await else {
        return;
    };
    let program = env!("CARGO_BIN_EXE_sidekick");
    let binds = [
        format!("{}:/src:ro", env!("CARGO_MANIFEST_DIR")),
        format!("{program}:/srv/sidekick:ro"),
    ];
    let host = host(&site, &binds).await;
    let unit = sidekick("web1");
    // The program comes by the script alone.
    host.exec("umount /usr/local/bin/sidekick && rm /usr/local/bin/sidekick && groupdel docker")
        .await;
    let said = host.exec("/src/examples/install.sh /srv/sidekick").await;
    assert!(said.contains("no group docker here, but Podman"), "{said}");
    host.write(
        "/etc/systemd/system/web1.service",
        "[Service]\n\
         ExecStart=/usr/bin/podman run --rm --replace --name web1 --publish 8081:80 docker.io/library/nginx:1.29\n\
         ExecStop=/usr/bin/podman stop web1\nRestart=always\n",
    );
    host.exec("systemctl daemon-reload").await;
    let verify = format!("systemd-analyze verify --man=no {unit} sidekick-push.service");
    let verified = host.run(&verify).await;
    assert_eq!(
        (verified.code, verified.stderr.as_str()),
        (Some(0), ""),
        "{verified:?}"
    );

    let installed = fs::read_to_string(host.root().join("etc/sidekick/sidekick.env"));
    let settings = installed.expect("there is an example").replace('#', "# ");
    host.write("/etc/sidekick/sidekick.env", settings + PACE);
    host.write("/etc/sidekick/web1.env", "SIDEKICK_PROBE=/health\n");
    host.exec(&format!("systemctl enable {unit} && systemctl start web1"))
        .await;
    host.until_active(&unit).await;
    let first = record(&host, "web1").await;
    assert_eq!(first, None, "the service is called as the image: nginx");
    // The instance is called as the host and the container.
    let key = "etcdctl get --print-value-only /services/nginx/$(hostname):web1";
    let first = host.exec(key).await;
    assert!(first.contains("\"version\":\"1.29\""), "{first}");

    // What an administrator expects of a reload: the file counts as it is now, in place.
    host.exec(&format!(
        "echo SIDEKICK_WEIGHT=5 >>/etc/sidekick/web1.env && systemctl reload {unit}"
    ))
    .await;
    host.until("the new weight", format!("{key} | grep '\"weight\":5'"))
        .await;
    // A file that is gone says nothing.
    host.exec(&format!(
        "mv /etc/sidekick/web1.env /srv/ && systemctl reload {unit}"
    ))
    .await;
    host.until("the weight to be gone", format!("{key} | grep -v weight"))
        .await;
    assert_eq!(host.state(&unit).await, "active");

    host.exec("systemctl stop web1").await;
    assert_eq!(host.exec(key).await, "");
    host.exec("/src/examples/install.sh --uninstall").await;
    let left = host
        .exec("find /usr/local /etc/sidekick -name '*sidekick*' -type f")
        .await;
    assert_eq!(left, "/etc/sidekick/sidekick.env\n");

    // By hand, without the drop-in: told once, and not tried again and again.
    host.write(
        "/etc/systemd/system/sidekick@.service",
        shipped("units/sidekick@.service"),
    );
    host.exec("systemctl daemon-reload && systemctl start web1")
        .await;
    let refused = host.run(&format!("systemctl start {unit}")).await;
    assert_ne!(refused.code, Some(0));
    assert_eq!(host.property(&unit, "ExecMainStatus").await, "216");
    assert_eq!(host.property(&unit, "NRestarts").await, "0");
}

#[tokio::test]
async fn podman_stop_by_hand_under_load_loses_no_request() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = host(&site, &[]).await;
    install(&host);
    configure_nginx(&host);
    let steady = host.at(8002);
    let web1 = host.at(8081);
    for line in [
        "systemctl daemon-reload && systemctl start nginx sidekick-push podman.socket".to_owned(),
        format!("systemd-run --quiet --unit steady backend --listen {steady} --name steady"),
        format!("etcdctl put /services/website/steady {steady}"),
        // As the first process it does not heed SIGTERM: it serves until Podman kills it.
        "podman create --name web1 --publish 8081:80 --label SERVICE_NAME=website --entrypoint /usr/local/bin/backend \
         --volume /usr/local/bin:/usr/local/bin:ro --volume /usr/lib:/lib:ro --volume /usr/lib64:/lib64:ro \
         docker.io/library/nginx:1.29 --listen 0.0.0.0:80 --name web1"
            .to_owned(),
        format!(
            "systemd-run --quiet --unit web1-sidekick {} sidekick announce --container web1 --probe /health \
             --on-gone wait",
            PACE.lines().map(|line| format!("--setenv {line} ")).collect::<String>()
        ),
    ] {
        host.exec(&line).await;
    }
    let started = async || {
        host.exec("podman start web1").await;
        all_routed(&host, &[web1.to_string(), steady.to_string()]).await;
    };
    started().await;
    let load = Load::start(host.at(TRAFFIC), 4);
    for _ in 0..3 {
        let mine = || load.report().answers_of("web1");
        let before = mine();
        until(PATIENCE, "it to be asked", async || mine() > before + 20).await;
        host.exec("podman stop --time 4 web1").await;
        all_routed(&host, &[steady.to_string()]).await;
        started().await;
    }
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
}

async fn routed(host: &Host, wanted: &str) {
    all_routed(host, &[wanted.to_owned()]).await;
}

/// Waits until nginx has exactly these.
async fn all_routed(host: &Host, wanted: &[String]) {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    until(PATIENCE, format!("{wanted:?} to be routed"), async || {
        let found = servers(host).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}
