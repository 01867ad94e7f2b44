//! What /proc tells about a process.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// True when the process itself, not somebody else, listens on this TCP port.
pub(crate) fn listens(pid: u32, port: u16) -> bool {
    let sockets = sockets(pid);
    listening_inodes(port)
        .iter()
        .any(|inode| sockets.contains(inode))
}

/// True when the process has a connection to this TCP port of this machine.
pub(crate) fn connected(pid: u32, port: u16) -> bool {
    const ESTABLISHED: &str = "01";
    let sockets = sockets(pid);
    let to_port = tcp_sockets()
        .into_iter()
        .filter(|socket| socket.state == ESTABLISHED && socket.remote_port == port);
    to_port
        .map(|socket| socket.inode)
        .any(|inode| sockets.contains(&inode))
}

/// True when any process listens on this TCP port.
pub(crate) fn anybody_listens(port: u16) -> bool {
    !listening_inodes(port).is_empty()
}

/// Process ids of the direct children.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| parent(*child) == Some(pid))
        .collect()
}

/// Process ids of all that have this text in their command line.
pub(crate) fn all_with(text: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .collect()
}

/// Whether the memory of containers can be limited here. Where some controllers are those of cgroups of version 1, a container
/// that sees version 2 alone has none.
pub(crate) fn limits_memory() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let listed = controllers.split_whitespace().any(|name| name == "memory");
    listed || fs::exists("/sys/fs/cgroup/memory").unwrap_or_default()
}

/// How many threads it has.
pub(crate) fn threads(pid: u32) -> usize {
    tasks(pid).len()
}

/// How many files it has open.
pub(crate) fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// CPU time used so far, of all threads, to the nanosecond.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let nanoseconds = tasks(pid).into_iter().filter_map(|task| {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The sums of all memory mappings in bytes: `Rss`, `Pss`, `Private_Dirty` and so on.
pub(crate) fn memory(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some((name.to_owned(), kibibytes * 1024))
        })
        .collect()
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| task.path())
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, spaces and parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Inodes of the sockets that the process has open.
fn sockets(pid: u32) -> HashSet<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// Inodes of the sockets that listen on this port, on any address.
fn listening_inodes(port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    tcp_sockets()
        .into_iter()
        .filter(|socket| socket.state == LISTEN && socket.local_port == port)
        .map(|socket| socket.inode)
        .collect()
}

/// A line of the kernel's socket table.
struct Socket {
    local_port: u16,
    remote_port: u16,
    state: String,
    inode: u64,
}

/// All TCP sockets of this machine.
fn tcp_sockets() -> Vec<Socket> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    tables
        .flat_map(|table| table.lines().filter_map(Socket::parse).collect::<Vec<_>>())
        .collect()
}

impl Socket {
    /// `None` for the table's heading.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        Some(Self {
            local_port: port(fields.get(1)?)?,
            remote_port: port(fields.get(2)?)?,
            state: (*fields.get(3)?).to_owned(),
            inode: fields.get(9)?.parse().ok()?,
        })
    }
}
