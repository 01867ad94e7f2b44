//! Sees a container's process end: at once, and while the daemon cannot be asked.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the process has ended. Waits for ever when it cannot be watched: the container runs on another machine,
/// or we see other process ids than the daemon does.
pub(super) async fn ended(pid: u32, container_id: &str) {
    let watched = watch(pid, container_id);
    let ended = match &watched {
        Ok(process) => process.readable().await.map(drop),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    if let Err(error) = ended {
        tracing::debug!("process {pid} of container {container_id} is not watched: {error}");
        std::future::pending().await
    }
}

/// A descriptor that becomes readable when the process ends.
fn watch(pid: u32, container_id: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // Asked after opening: from here on the number cannot be given to another process unnoticed.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    if !groups.contains(container_id) {
        return Err(io::Error::other("the process of this number is another's"));
    }
    register(descriptor)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for descriptors that may change under it; an OwnedFd does not"
)]
fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

#[cfg(test)]
mod tests {
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
}
