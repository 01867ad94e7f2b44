//! Ports that nobody listens on.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Lowest port handed out.
const FIRST: u32 = 10_240;

/// How many ports have been looked at by this process.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// A port of the loopback address that is free now and is not handed out twice by this process.
///
/// It lies below the range from which the kernel takes the ports of outgoing connections, so that a server which is
/// stopped and started again finds its port still free. Another process may yet be faster: see `Process::owns_port`.
pub(crate) fn free_port() -> u16 {
    let count = first_ephemeral_port() - FIRST;
    // Test processes that start at once begin far apart.
    let start = process::id().wrapping_mul(997);
    for _ in 0..count {
        let step = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % count;
        let port = u16::try_from(port).expect("the range ends below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on, {count} looked at");
}

fn first_ephemeral_port() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > FIRST + 1_000)
        .unwrap_or(32_768)
}
