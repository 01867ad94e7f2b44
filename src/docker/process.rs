//! Detects the end of a container's process: at once, and even while the daemon does not answer.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the process has ended. Waits for ever if it cannot be watched: the container runs on another machine,
/// or in another pid namespace.
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
    // Checked after opening: from here on another process cannot get the number unnoticed.
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
mod tests;
