//! SIGHUP: new settings for an announcer that runs, taken over whole or not at all, while the record stays.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::probes;
use crate::support::docker::{Daemon, Kind};
use crate::support::{
    Backend, Command, Etcd, Harness, Kv, PATIENCE, Sidekick, Signal, folder, key, until,
};

/// A file for `--env-file`.
struct EnvFile(
    PathBuf,
    #[allow(dead_code, reason = "it is removed when dropped")] TempDir,
);

impl EnvFile {
    fn new(text: &str) -> Self {
        let folder = folder();
        let file = Self(folder.path().join("env"), folder);
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("our own folder");
    }

    /// For a command line.
    fn flag(&self) -> [&str; 2] {
        ["--env-file", self.0.to_str().expect("UTF-8")]
    }
}

/// A backend that is announced with the weight 2, which stands in the file.
async fn announced() -> (Harness, Backend, EnvFile, Sidekick) {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let file = EnvFile::new("SIDEKICK_WEIGHT=2\n");
    let announcer = harness.announce(&backend).args(file.flag()).start();
    announcer.ready().await;
    (harness, backend, file, announcer)
}

/// How often systemd was told this.
fn told(announcer: &Sidekick, message: &str) -> usize {
    let said = announcer.notifications();
    said.iter().filter(|line| *line == message).count()
}

/// Sends SIGHUP and waits until the announcer has said that it is ready again.
async fn reload(announcer: &Sidekick) {
    let before = told(announcer, "READY=1");
    announcer.process().signal(Signal::HUP);
    until(PATIENCE, "READY=1 after a reload", async || {
        told(announcer, "READY=1") > before
    })
    .await;
}

/// Waits until images have gone on with the lease so many times.
async fn goes_on(announcer: &Sidekick, times: usize) {
    until(PATIENCE, format!("{times} images to go on"), async || {
        let lines = announcer.process().lines();
        let on = lines.iter().filter(|line| line.contains("started anew"));
        let on = on.count();
        if on >= times { Ok(()) } else { Err(on) }
    })
    .await;
}

/// Waits for a record that is like this.
#[track_caller]
fn record(
    harness: &Harness,
    backend: &Backend,
    is: impl Fn(&serde_json::Value) -> bool,
) -> impl Future<Output = Kv> {
    until(PATIENCE, "the record to be rewritten", async move || {
        let record = harness.record(backend).await.ok_or("no record")?;
        if is(&record.json()) {
            Ok(record)
        } else {
            Err(record.value)
        }
    })
}

#[tokio::test]
async fn new_settings_are_written_in_place_without_a_gap() {
    let (harness, backend, file, announcer) = announced().await;
    let before = record(&harness, &backend, |it| it["weight"] == 2).await;

    file.write("SIDEKICK_WEIGHT=7\nSIDEKICK_TAG=eu,canary\nSIDEKICK_META='rack=a 1'\n");
    reload(&announcer).await;
    let after = record(&harness, &backend, |it| it["weight"] == 7).await;
    assert_eq!(after.json()["tags"], serde_json::json!(["eu", "canary"]));
    assert_eq!(after.json()["meta"]["rack"], "a 1");
    for field in ["nonce", "since", "host", "port"] {
        assert_eq!(after.json()[field], before.json()[field], "{field}");
    }
    assert_eq!(after.lease, before.lease);
    assert_eq!(
        after.create_revision, before.create_revision,
        "there was a gap"
    );
    let history = harness.etcd.history(&key(&backend)).await;
    assert_eq!(
        history.len(),
        2,
        "one write at the start and one more: {history:?}"
    );
    let said = announcer.notifications();
    assert!(said.iter().any(|line| line == "RELOADING=1"), "{said:?}");
    let reloading = said.iter().position(|line| line == "RELOADING=1");
    let ready = said.iter().rposition(|line| line == "READY=1");
    assert!(reloading < ready, "{said:?}");
    let micros = said
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        micros.is_some_and(|micros| micros.parse::<u64>().is_ok_and(|it| it > 0)),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_reload_that_changes_nothing_writes_nothing() {
    let (harness, _backend, file, announcer) = announced().await;
    let (revision, proposals) = (
        harness.etcd.revision().await,
        harness.etcd.proposals_committed().await,
    );
    file.write("# the same in other words\nSIDEKICK_WEIGHT='2'\n");
    for _ in 0..3 {
        reload(&announcer).await;
    }
    goes_on(&announcer, 3).await;
    assert_eq!(harness.etcd.revision().await, revision);
    assert_eq!(harness.etcd.proposals_committed().await, proposals);
}

#[tokio::test]
async fn wrong_settings_are_refused_whole_and_every_mistake_is_named() {
    let (harness, backend, file, announcer) = announced().await;
    let before = record(&harness, &backend, |it| it["weight"] == 2).await;
    for (wrong, named) in [
        (
            "SIDEKICK_WEIGHT=3\nSIDEKICK_LINGER=soon\nSIDEKICK_READY=never\n",
            &["--linger", "--ready"][..],
        ),
        (
            "SIDEKICK_WEIGHT=3\nnonsense\nSIDEKICK_TAG='open\n",
            &["line 2", "line 3"],
        ),
        (
            "SIDEKICK_WEIGHT=3\nSIDEKICK_ALLOW_LOOPBACK=x\nSIDEKICK_PROBE_INSECURE=y\n",
            &["line 2", "line 3"],
        ),
    ] {
        file.write(wrong);
        reload(&announcer).await;
        let line = announcer.process().line(named[0]).await;
        for name in named {
            assert!(line.contains(name), "no {name} in: {line}");
        }
        announcer.notified("STATUS=up; announced at revision").await;
    }
    let said = announcer.notifications();
    assert!(
        said.iter().any(|line| line.contains("reload refused")),
        "{said:?}"
    );
    fs::remove_file(&file.0).expect("our own file");
    reload(&announcer).await;
    announcer.process().line("No such file").await;
    assert_eq!(harness.record(&backend).await, Some(before));

    file.write("SIDEKICK_WEIGHT=4\n");
    reload(&announcer).await;
    record(&harness, &backend, |it| it["weight"] == 4).await;
}

#[tokio::test]
async fn a_changed_probe_takes_over_and_the_record_stays_until_its_verdict() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let file = EnvFile::new("SIDEKICK_PROBE=/health\n");
    let announcer = probes::announced(
        &harness.etcd,
        &backend,
        &[&file.flag()[..], &["--fall", "15"]].concat(),
    )
    .await;
    let before = harness.record(&backend).await;
    // Another probe that passes, none at all, and one again: nobody who reads the record notices.
    let tcp = format!(
        "SIDEKICK_PROBE=tcp://{}\nSIDEKICK_RISE=2\n",
        backend.address()
    );
    for text in [&tcp, "", "SIDEKICK_PROBE=/\n"] {
        file.write(text);
        reload(&announcer).await;
    }
    assert_eq!(harness.record(&backend).await, before);
    let history = harness.etcd.history(&key(&backend)).await;
    assert_eq!(history.len(), 1, "{history:?}");
    // One that fails takes it away, and says why.
    file.write("SIDEKICK_PROBE=exec:false\n");
    reload(&announcer).await;
    until(
        PATIENCE,
        "the new probe to withdraw the record",
        async || harness.record(&backend).await.is_none(),
    )
    .await;
    announcer.process().line("exec:false").await;
    file.write("SIDEKICK_PROBE=/health\n");
    reload(&announcer).await;
    record(&harness, &backend, |_| true).await;
}

#[tokio::test]
async fn a_new_drain_timeout_counts_for_the_leaving_that_follows() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let file = EnvFile::new("SIDEKICK_DRAIN_TIMEOUT=10m\n");
    // Its status record outlasts the test.
    let pusher = harness.push().args(["--ttl", "10m"]).start();
    harness.status_record().await;
    let mut announcer = harness.announce(&backend).args(file.flag()).start();
    announcer.ready().await;
    harness.routed(&[&backend]).await;
    harness.applied().await;
    file.write("SIDEKICK_DRAIN_TIMEOUT=0s\n");
    reload(&announcer).await;
    // It hangs, and the announcer would wait ten minutes for it.
    pusher.process().signal(Signal::STOP);
    let ended = announcer.leave().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[tokio::test]
async fn no_sighup_ends_an_announcer_whatever_it_does() {
    let mut harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    backend.set_health(503).await;
    let mut announcer = harness
        .announce(&backend)
        .args(["--linger", "1s", "--drain-timeout", "1s"])
        .start();
    // Starting: nothing is announced yet, so systemd is told nothing of a reload.
    announcer.process().line("announcing website/b1").await;
    announcer.process().signal(Signal::HUP);
    until(PATIENCE, "the next image to start", async || {
        let lines = announcer.process().lines();
        let starts = lines
            .iter()
            .filter(|line| line.contains("announcing website/b1"));
        (starts.count() == 2).then_some(())
    })
    .await;
    assert_eq!(
        told(&announcer, "READY=1") + told(&announcer, "RELOADING=1"),
        0
    );
    backend.set_health(200).await;
    announcer.ready().await;
    // etcd away.
    harness.etcd.kill();
    reload(&announcer).await;
    assert!(announcer.runs());
    harness.etcd.resume().await;
    announcer.process().line("is kept in etcd again").await;
    // Leaving.
    announcer.terminate();
    announcer.process().line("SIGTERM").await;
    announcer.process().signal(Signal::HUP);
    let ended = announcer.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(harness.record(&backend).await, None);
}

#[tokio::test]
async fn the_container_is_looked_at_again() {
    let Some(daemon) = Daemon::start(Kind::Docker).await else {
        return;
    };
    let etcd = Etcd::start().await;
    let file = EnvFile::new("SIDEKICK_WEIGHT=2\n");
    let socket = format!("unix://{}", daemon.socket().display());
    let announcer = Command::new("announce")
        .etcd(&etcd)
        .args(["--container", "web1", "--docker-host", &socket])
        .args(["--host-name", "h1"])
        .args(["--allow-loopback", "--on-gone", "wait", "--rise", "1"])
        .args(file.flag())
        .notify()
        .start();
    announcer.process().line("waiting for it").await;
    // No container yet: what is read is for its first run.
    file.write("SIDEKICK_WEIGHT=3\n");
    announcer.process().signal(Signal::HUP);
    announcer.process().line("SIGHUP").await;
    daemon.container("web1").await;
    announcer.ready().await;
    let record = async |weight: u64| {
        until(PATIENCE, format!("weight {weight}"), async || {
            let record = etcd.get("/services/web/h1:web1").await?;
            (record.json()["weight"] == weight).then_some(record)
        })
        .await
    };
    let before = record(3).await;

    // What is not found as it was named is refused, and the rest of it with it.
    daemon.act("web1", "rename?name=web2").await;
    file.write("SIDEKICK_WEIGHT=4\n");
    reload(&announcer).await;
    announcer.process().line("web1").await;
    announcer.notified("STATUS=up; announced").await;
    assert_eq!(record(3).await, before);

    daemon.act("web2", "rename?name=web1").await;
    reload(&announcer).await;
    let after = record(4).await;
    assert_eq!(after.create_revision, before.create_revision);
    assert_eq!(
        (&after.json()["nonce"], &after.json()["since"]),
        (&before.json()["nonce"], &before.json()["since"])
    );
    assert_eq!(after.json()["version"], "1.2", "{}", after.value);

    // It ends, and the next run is announced after another reload.
    daemon.act("web1", "stop?t=1").await;
    until(PATIENCE, "the record to be gone", async || {
        etcd.get("/services/web/h1:web1").await.is_none()
    })
    .await;
    reload(&announcer).await;
    daemon.act("web1", "start").await;
    record(4).await;
}
