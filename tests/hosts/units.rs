//! The shipped units in the systemd that they are for.

use serde_json::{Value, json};

use crate::host_harness::{HostHarness, install_backend, shipped, sidekick};
use crate::support::docker::IMAGE;
use crate::support::hosts::{Host, Site};
use crate::support::{PATIENCE, until};

/// How exposed a unit may be at most, from 0 to 100, as `systemd-analyze security` counts.
const EXPOSURE: &str = "20";

/// Installs what is shipped as `units/FROM` as `TO`.
fn install(host: &Host, from: &str, to: &str) {
    host.write(to, shipped(&format!("units/{from}")));
}

#[tokio::test]
async fn systemd_accepts_the_shipped_units_and_finds_little_exposed() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = Host::start(&site, "h1", 1).await;
    let backend = "[Service]\nExecStart=/bin/true\n";
    for name in ["nginx1", "docker"] {
        host.write(&format!("/etc/systemd/system/{name}.service"), backend);
    }
    // Its commands are to be there; nothing of it is started here.
    host.exec("ln -s /bin/true /usr/bin/docker").await;
    for (file, unit) in [
        ("sidekick@.service", "sidekick@nginx1.service"),
        ("sidekick-fleet@.service", "sidekick-fleet@nginx1.service"),
        ("sidekick-push.service", "sidekick-push.service"),
        ("backend-with-hooks.service", "backend-with-hooks.service"),
    ] {
        install(&host, file, &format!("/etc/systemd/system/{file}"));
        let ran = host
            .run(&format!(
                "systemd-analyze verify --man=no /etc/systemd/system/{unit}"
            ))
            .await;
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{unit}: {ran:?}"
        );
        if file != "backend-with-hooks.service" {
            let line = format!(
                "systemd-analyze security --no-pager --offline=true --threshold={EXPOSURE} /etc/systemd/system/{file}"
            );
            host.exec(&line).await;
        }
    }
    // What systemd skips is what fleet reads.
    let fleet = host
        .exec("sed -n '/^\\[X-Fleet\\]/,$p' /etc/systemd/system/sidekick-fleet@.service")
        .await;
    assert!(fleet.contains("MachineOf=%i.service"), "{fleet}");
    let binds = host.property("sidekick-fleet@nginx1", "BindsTo").await;
    assert_eq!(binds, "nginx1.service");
}

#[tokio::test]
async fn quadlet_makes_of_its_pair_units_that_live_and_die_together() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = Host::start(&site, "h1", 1).await;
    for file in ["backend.container", "backend-sidekick.container"] {
        install(
            &host,
            &format!("quadlet/{file}"),
            &format!("/etc/containers/systemd/{file}"),
        );
    }
    let generator = "/usr/lib/systemd/system-generators/podman-system-generator";
    let dry = host.run(&format!("{generator} --dryrun")).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    for complaint in ["unsupported", "error", "invalid"] {
        assert!(!dry.stderr.to_lowercase().contains(complaint), "{dry:?}");
    }
    // systemd runs the generator by itself.
    host.exec("systemctl daemon-reload").await;
    let made = "/run/systemd/generator";
    let verify = format!(
        "systemd-analyze verify --man=no {made}/backend.service {made}/backend-sidekick.service"
    );
    let ran = host.run(&verify).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    for (unit, property, expected) in [
        ("backend", "Wants", "backend-sidekick.service"),
        ("backend", "WantedBy", "multi-user.target"),
        ("backend-sidekick", "BindsTo", "backend.service"),
        ("backend-sidekick", "After", "backend.service"),
        ("backend-sidekick", "Type", "notify"),
        ("backend-sidekick", "Restart", "always"),
        ("backend-sidekick", "RestartPreventExitStatus", "64 75"),
    ] {
        let found = host.property(unit, property).await;
        assert!(found.contains(expected), "{unit}: {property}={found}");
    }
    let command = host.property("backend-sidekick", "ExecStart").await;
    assert!(command.contains("--sdnotify=container"), "{command}");
    assert!(command.contains("announce website/backend"), "{command}");
}

#[tokio::test]
async fn a_hardened_sidekick_runs_commands_as_probes_and_is_nobody() {
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    install_backend(host, "nginx1", 8001, "Restart=always").await;
    let url = format!("http://{}/health", host.at(8001));
    host.write(
        "/etc/sidekick/sidekick.env",
        // A busy machine takes its time to start a program.
        format!(
            "SIDEKICK_PROBE=exec:/usr/bin/curl -fsS {url}\n\
             SIDEKICK_INTERVAL=5s\nSIDEKICK_TIMEOUT=4900ms\nSIDEKICK_FALL=1\n"
        ),
    );
    host.exec("sed -i /PROBE/d /etc/sidekick/nginx1.env && systemctl start nginx1")
        .await;
    harness.routed(&[8001]).await;
    let unit = sidekick("nginx1");
    let pid = host.property(&unit, "MainPID").await;
    let status = host.exec(&format!("cat /proc/{pid}/status")).await;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default()
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    assert_ne!(field("Uid:"), "0");
    assert_eq!(field("CapBnd:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    // It is the probe that keeps the record.
    harness.set_health(8001, 500).await;
    until(PATIENCE, "the record to be withdrawn", async || {
        harness.record("nginx1").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn the_password_of_etcd_reaches_the_units_as_a_credential_and_shows_nowhere() {
    const PASSWORD: &str = "correct-horse";
    let Some(harness) = HostHarness::start().await else {
        return;
    };
    let host = &harness.host;
    host.exec(&format!(
        "etcdctl user add root:{PASSWORD} && etcdctl user grant-role root root && etcdctl auth enable"
    ))
    .await;
    host.write("/etc/sidekick/sidekick.env", "ETCDCTL_USER=root\n");
    host.write("/etc/credstore/etcd-password", PASSWORD);
    host.exec("chmod 600 /etc/credstore/etcd-password && systemctl restart sidekick-push")
        .await;
    install_backend(host, "nginx1", 8001, "Restart=always").await;
    host.exec("systemctl start nginx1").await;
    let unit = sidekick("nginx1");
    host.until_active(&unit).await;
    harness.routed(&[8001]).await;
    for unit in [&unit, "sidekick-push.service"] {
        let pid = host.property(unit, "MainPID").await;
        let seen = host
            .exec(&format!("cat /proc/{pid}/cmdline /proc/{pid}/environ"))
            .await;
        assert!(seen.contains("ETCDCTL_USER=root"), "{seen}");
        assert!(!seen.contains(PASSWORD), "{seen}");
        let journal = host.journal(unit).await;
        assert!(!journal.contains(PASSWORD), "{journal}");
    }
}

#[tokio::test]
async fn a_hardened_sidekick_follows_a_container_through_dockers_socket() {
    let Some(site) = Site::start().await else {
        return;
    };
    let daemon = site.daemon();
    daemon.import_busybox().await;
    let socket = format!("{}:/run/docker.sock", daemon.socket().display());
    let host = Host::start_with(&site, "h1", 1, &[socket]).await;
    let container = format!("{}-web", site.network());
    let settings = json!({
        "Image": IMAGE, "Cmd": ["httpd", "-f", "-p", "80"], "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"NetworkMode": site.network()},
    });
    daemon.create(&container, &settings).await;
    install(
        &host,
        "sidekick@.service",
        "/etc/systemd/system/sidekick@.service",
    );
    // The unit of the container: it runs while the container does.
    let api = "/usr/bin/curl -fsS -X POST --unix-socket /run/docker.sock http://docker/containers";
    host.write(
        &format!("/etc/systemd/system/{container}.service"),
        format!(
            "[Service]\nExecStartPre={api}/{container}/start\nExecStart={api}/{container}/wait\n\
             ExecStop={api}/{container}/stop?t=1\n"
        ),
    );
    host.write(
        &format!("/etc/sidekick/{container}.env"),
        format!(
            "SIDEKICK_INSTANCE=website/web\nSIDEKICK_NETWORK={}\n",
            site.network()
        ),
    );
    // As docker itself does it: the socket is that of a group.
    host.exec("chgrp docker /run/docker.sock && systemctl daemon-reload && systemctl start etcd")
        .await;
    let unit = sidekick(&container);
    host.exec(&format!(
        "systemctl enable {unit} && systemctl start {container}"
    ))
    .await;
    host.until_active(&unit).await;
    let record = crate::host_harness::record(&host, "web")
        .await
        .expect("it is announced");
    assert_eq!(record["port"], 80);
    assert_eq!(record["version"], "1.2");
    assert_ne!(record["host"], Value::Null);

    host.exec(&format!("systemctl stop {container}")).await;
    assert_eq!(crate::host_harness::record(&host, "web").await, None);
    assert_eq!(host.state(&unit).await, "inactive");
    daemon.remove(&container).await;
}

/// How long these units may take to start unless they ask for more, and how often the watchdog wants to be fed, in seconds: more
/// often than any phase below ends, and less often than etcd is tried.
const START: u64 = 10;
const WATCHDOG: u64 = 12;

#[tokio::test]
async fn systemd_ends_no_agent_that_waits_for_somebody_else_or_that_drains() {
    let Some(site) = Site::start().await else {
        return;
    };
    let host = Host::start(&site, "h1", 1).await;
    crate::host_harness::install(&host);
    host.exec("systemctl stop etcd").await;
    let start = format!("[Service]\nTimeoutStartSec={START}\nTimeoutStopSec=1min\n");
    let watchdog = format!("{start}WatchdogSec={WATCHDOG}\n");
    for (unit, limits) in [
        ("sidekick@.service", watchdog),
        ("sidekick-push.service", start),
    ] {
        host.write(&format!("/etc/systemd/system/{unit}.d/limits.conf"), limits);
    }
    // An announcer without a probe, and one of a container whose daemon does not run.
    let announcers = [
        (
            "a",
            "SIDEKICK_INSTANCE=website/a\nSIDEKICK_ADDRESS=10.0.0.5:80\nSIDEKICK_LINGER=15s\nSIDEKICK_TTL=3s\n",
        ),
        (
            "b",
            "SIDEKICK_CONTAINER=b\nDOCKER_HOST=unix:///nonexistent.sock\nSIDEKICK_ON_GONE=wait\n",
        ),
    ];
    for (name, env) in announcers {
        host.write(&format!("/etc/sidekick/{name}.env"), env);
        let backend = format!("/etc/systemd/system/{name}.service");
        host.write(&backend, "[Service]\nExecStart=/bin/sleep infinity\n");
    }
    let units = [
        ("sidekick@a.service", "waiting for etcd"),
        ("sidekick@b.service", "waiting for container b"),
        ("sidekick-push.service", "waiting for etcd"),
    ];
    let names = units.map(|(unit, _)| unit).join(" ");
    host.exec(&format!(
        "systemctl daemon-reload && systemctl start a b && systemctl start --no-block {names}"
    ))
    .await;
    let untouched = async |when: &str, state: &str| {
        for (unit, _) in units {
            assert_eq!(
                host.property(unit, "NRestarts").await,
                "0",
                "{unit}, {when}"
            );
        }
        let unit = units[0].0;
        assert_eq!(host.state(unit).await, state, "{unit}, {when}");
    };
    for (unit, status) in units {
        let line =
            format!("systemctl show --value --property StatusText '{unit}' | grep '{status}'");
        host.until(format!("the status of {unit}"), line).await;
    }
    // The passing of time is the thing under test: several times the limits.
    tokio::time::sleep(std::time::Duration::from_secs(2 * WATCHDOG)).await;
    untouched("waiting", "activating").await;
    host.exec("systemctl start etcd").await;
    host.until_active("sidekick@a").await;
    host.until_active("sidekick-push").await;
    host.exec("systemctl stop sidekick@a").await;
    untouched("drained", "inactive").await;
    let journal = host.journal("sidekick@a").await.to_lowercase();
    assert!(
        journal.contains("is gone") && !journal.contains("watchdog timeout"),
        "{journal}"
    );
    assert_eq!(host.property("sidekick@a", "Result").await, "success");
}
