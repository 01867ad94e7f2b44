//! What an announcer costs while nothing happens.

use std::time::Duration;

use crate::support::docker::Kind;
use crate::support::{
    Backend, Etcd, Harness, PATIENCE, PairedHarness, Signal, procfs, send, until,
};

#[tokio::test]
async fn an_idle_announcer_writes_nothing_and_has_one_thread() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let announcer = harness.announce(&backend).args(["--ttl", "6s"]).start();
    announcer.ready().await;
    let record = harness.record(&backend).await;
    let revision = harness.etcd.revision().await;
    let proposals = harness.etcd.proposals_committed().await;

    // The passing of time is the thing under test: two leases long, or the record would be gone.
    tokio::time::sleep(Duration::from_secs(2 * 6)).await;

    assert_eq!(harness.record(&backend).await, record);
    assert_eq!(harness.etcd.revision().await, revision);
    assert_eq!(harness.etcd.proposals_committed().await, proposals);
    assert_eq!(procfs::threads(announcer.process().pid()), 1);
}

#[tokio::test]
async fn an_announcer_goes_on_when_nobody_reads_its_log_any_more() {
    let etcd = Etcd::start().await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut announcer = tokio::process::Command::new(env!("CARGO_BIN_EXE_sidekick"))
        .args(["announce", "website/b1", "10.0.0.5:80", "--endpoints"])
        .arg(etcd.endpoint())
        .stdout(writer.try_clone().expect("a pipe"))
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    until(PATIENCE, "the record", async || {
        etcd.get("/services/website/b1").await
    })
    .await;
    send(announcer.id().expect("it runs"), Signal::TERM).expect("it runs");
    let ended = until(PATIENCE, "it to leave", async || {
        announcer.try_wait().expect("it is ours")
    })
    .await;
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn an_idle_pusher_writes_nothing_and_has_one_thread() {
    let harness = Harness::start().await;
    let backend = Backend::start("b1").await;
    let pusher = harness.push().args(["--resync", "1s"]).start();
    let _announcer = harness.announced(&backend).await;
    harness.routed(&[&backend]).await;
    harness.applied().await;
    let revision = harness.etcd.revision().await;

    // The passing of time is the thing under test: ten resyncs.
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert_eq!(harness.etcd.revision().await, revision);
    assert_eq!(procfs::threads(pusher.process().pid()), 1);
}

#[tokio::test]
async fn a_container_that_comes_and_goes_leaves_no_open_file_and_no_thread_behind() {
    let Some(paired) = PairedHarness::start(Kind::Docker).await else {
        return;
    };
    paired.create().await;
    paired.right("start").await;
    let pid = paired.announcer.process().pid();
    let mut files = None;
    for run in 1..=15 {
        paired.flap(run).await;
        assert!(paired.right("a restart").await.is_some());
        if run == 3 {
            files = Some(settled(pid).await);
        }
    }
    // More of them may be open for the moment in which the container is looked at.
    until(PATIENCE, "as many open files as before", async || {
        let now = procfs::files(pid);
        if Some(now) <= files {
            Ok(())
        } else {
            Err((files, now))
        }
    })
    .await;
    assert_eq!(procfs::threads(pid), 1);
}

/// How many files a process has open when nothing is under way.
async fn settled(pid: u32) -> usize {
    let mut counts = [0; 10];
    until(PATIENCE, "its open files to stay", async || {
        counts.rotate_left(1);
        counts[9] = procfs::files(pid);
        counts.iter().all(|count| *count == counts[0])
    })
    .await;
    counts[0]
}
