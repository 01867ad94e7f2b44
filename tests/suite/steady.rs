//! What an announcer costs while nothing happens.

use std::time::Duration;

use crate::support::{Backend, Scene, TTL, proc};

#[tokio::test]
async fn an_idle_announcer_writes_nothing_and_has_one_thread() {
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let announcer = scene.announced(&backend).await;
    let record = scene.record(&backend).await;
    let revision = scene.etcd.revision().await;
    let proposals = scene.etcd.proposals_committed().await;

    // The passing of time is the thing under test: three leases long, or the record would be gone.
    tokio::time::sleep(Duration::from_secs(3 * TTL)).await;

    assert_eq!(scene.record(&backend).await, record);
    assert_eq!(scene.etcd.revision().await, revision);
    assert_eq!(scene.etcd.proposals_committed().await, proposals);
    assert_eq!(proc::threads(announcer.process().pid()), 1);
}

#[tokio::test]
async fn an_idle_pusher_writes_nothing_and_has_one_thread() {
    let scene = Scene::start().await;
    let backend = Backend::start("b1").await;
    let pusher = scene.push().args(["--resync", "1s"]).start();
    let _announcer = scene.announced(&backend).await;
    scene.routed(&[&backend]).await;
    scene.applied().await;
    let revision = scene.etcd.revision().await;

    // The passing of time is the thing under test: ten resyncs.
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert_eq!(scene.etcd.revision().await, revision);
    assert_eq!(proc::threads(pusher.process().pid()), 1);
}
