//! What counts as working, and how soon the opposite is noticed.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Backend, Command, Etcd, PATIENCE, Sidekick, Signal, key, until};

/// `interval × fall + timeout`, as set below.
const NOTICED_WITHIN: Duration = Duration::from_millis(3 * 200 + 150);

/// For what comes after: writing it into etcd and reading it there.
const SLACK: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_backend_that_hangs_is_noticed_within_the_bound() {
    let (etcd, backend) = (Etcd::start().await, Backend::start("b1").await);
    let _announcer = announced(&etcd, &backend, &["--probe", "/health"]).await;
    let hangs = async |hangs| {
        let signal = if hangs { Signal::STOP } else { Signal::CONT };
        backend.process().signal(signal);
    };
    withdrawn_in_time(&etcd, &key(&backend), hangs).await;
    backend.process().signal(Signal::CONT);
    until(PATIENCE, "the record to be back", async || {
        etcd.get(&key(&backend)).await
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_is_gone_is_noticed_within_the_bound_by_tcp() {
    let (etcd, mut backend) = (Etcd::start().await, Backend::start("b1").await);
    let probe = format!("tcp://{}", backend.address());
    let _announcer = announced(&etcd, &backend, &["--probe", &probe]).await;
    // Its HTTP answers are of no interest to this probe.
    backend.set_health(500).await;
    let key = key(&backend);
    let gone = async |gone| {
        if gone {
            backend.kill();
        } else {
            backend.resume().await;
        }
    };
    withdrawn_in_time(&etcd, &key, gone).await;
}

#[tokio::test]
async fn all_of_several_probes_must_pass() {
    let etcd = Etcd::start().await;
    let (backend, other) = (Backend::start("b1").await, Backend::start("other").await);
    let second = format!("http://{}/health", other.address());
    let probes = ["--probe", "/health", "--probe", &second];
    let announcer = announced(&etcd, &backend, &probes).await;
    let ill = async |ill| other.set_health(if ill { 500 } else { 200 }).await;
    withdrawn_in_time(&etcd, &key(&backend), ill).await;
    // It says which one, and what it saw.
    let address = other.address().to_string();
    until(PATIENCE, "the reason", async || {
        let lines = announcer.process().lines();
        let parts = ["failed", &address, "500"];
        let told = |line: &String| parts.iter().all(|part| line.contains(part));
        if lines.iter().any(told) {
            Ok(())
        } else {
            Err(lines)
        }
    })
    .await;
}

#[tokio::test]
async fn the_status_codes_that_pass_can_be_named() {
    let (etcd, backend) = (Etcd::start().await, Backend::start("b1").await);
    backend.set_health(503).await;
    let probe = ["--probe", "/health", "--expect-status", "204,500-503"];
    let _announcer = announced(&etcd, &backend, &probe).await;
    let ill = async |ill| backend.set_health(if ill { 200 } else { 503 }).await;
    withdrawn_in_time(&etcd, &key(&backend), ill).await;
}

#[tokio::test]
async fn one_failure_less_than_fall_withdraws_nothing() {
    let (etcd, backend) = (Etcd::start().await, Backend::start("b1").await);
    let flags = ["--probe", "/health", "--fall", "1000"];
    let _announcer = announced(&etcd, &backend, &flags).await;
    let before = etcd.get(&key(&backend)).await;
    backend.set_health(500).await;
    // There is no condition for what must not happen; these are ten failures.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(etcd.get(&key(&backend)).await, before);
}

#[tokio::test]
async fn nothing_is_announced_before_rise_passes_in_a_row_nor_before_the_grace() {
    const GRACE: Duration = Duration::from_secs(1);
    let (etcd, backend) = (Etcd::start().await, Backend::start("b1").await);
    let start = Instant::now();
    let flags = ["--probe", "/health", "--grace", "1s", "--rise", "5"];
    let _announcer = announced(&etcd, &backend, &flags).await;
    // Four intervals lie between five passes; each is up to a tenth shorter.
    let rising = 4 * Duration::from_millis(200) * 9 / 10;
    assert!(start.elapsed() >= GRACE + rising, "{:?}", start.elapsed());
}

#[tokio::test]
async fn without_a_probe_the_record_is_kept_whatever_the_backend_does() {
    let (etcd, mut backend) = (Etcd::start().await, Backend::start("b1").await);
    backend.kill();
    let _announcer = announced(&etcd, &backend, &[]).await;
}

/// Announced with a quick probe, and there.
pub(crate) async fn announced(etcd: &Etcd, backend: &Backend, flags: &[&str]) -> Sidekick {
    let announcer = Command::new("announce")
        .etcd(etcd)
        .args([
            &format!("website/{}", backend.name()),
            &backend.address().to_string(),
        ])
        .args(["--allow-loopback"])
        .env("SIDEKICK_INTERVAL", "200ms")
        .env("SIDEKICK_TIMEOUT", "150ms")
        .env("SIDEKICK_RISE", "1")
        .env("SIDEKICK_FALL", "3")
        .args(flags)
        .notify()
        .start();
    announcer.ready().await;
    until(PATIENCE, "the record", async || {
        etcd.get(&key(backend)).await
    })
    .await;
    announcer
}

/// Breaks something (and mends it) until its record is withdrawn within the bound. A busy machine may be late with it; once in
/// time is proof that nothing else is waited for.
async fn withdrawn_in_time(etcd: &Etcd, key: &str, mut set_broken: impl AsyncFnMut(bool)) {
    let what = format!("{key} to be withdrawn within {NOTICED_WITHIN:?}");
    until(2 * PATIENCE, what, async || {
        let start = Instant::now();
        set_broken(true).await;
        until(PATIENCE, "the record to be withdrawn", async || {
            etcd.get(key).await.is_none()
        })
        .await;
        let took = start.elapsed();
        if took <= NOTICED_WITHIN + SLACK {
            return Ok(());
        }
        set_broken(false).await;
        until(PATIENCE, "the record to be back", async || {
            etcd.get(key).await
        })
        .await;
        Err(took)
    })
    .await;
}
