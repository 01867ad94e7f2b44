use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use super::*;

/// Something that the group of every process of this test has in its name.
fn own_group() -> String {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    groups.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn the_end_of_a_process_is_seen() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let group = own_group();
    let waiting = ended(child.id(), &group);
    tokio::pin!(waiting);
    let early = timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "it still runs");
    child.kill().unwrap();
    timeout(Duration::from_secs(10), waiting).await.unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_process_of_somebody_else_tells_nothing() {
    let mut child = Command::new("true").spawn().unwrap();
    let other = ended(child.id(), "no container of this name");
    let seen = timeout(Duration::from_millis(200), other).await;
    assert!(seen.is_err());
    child.wait().unwrap();
    assert!(watch(0, "").is_err() && watch(u32::MAX, "").is_err());
}
