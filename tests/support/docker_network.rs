//! A network of a container daemon, apart from every other of this machine.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// Its name, which is that of its bridge too, and its addresses.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    name: String,
    subnet: u8,
}

impl Network {
    /// One that no daemon knows yet.
    pub(crate) fn planned() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("sk{}x{count}", process::id()),
            subnet: free_subnet(),
        }
    }

    /// One beside it, with a name of its own.
    pub(super) fn second(&self) -> Self {
        Self {
            name: format!("{}b", self.name),
            subnet: free_subnet(),
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An address in it; the first one is that of this machine.
    pub(crate) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.subnet, number)
    }

    /// As the API creates it.
    pub(super) fn settings(&self) -> Value {
        json!({
            "Name": self.name, "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": format!("10.231.{}.0/24", self.subnet)}]},
            "Options": {"com.docker.network.bridge.name": self.name},
        })
    }

    /// Removes what a daemon that was killed has left.
    pub(super) fn remove_bridge(&self) {
        let _ = Command::new("ip")
            .args(["link", "delete", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}

/// The third byte of a subnet `10.231.X.0/24` to which no route of this machine leads, and that this process has
/// not taken.
fn free_subnet() -> u8 {
    static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    for _ in 0..250 {
        let step = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        // Test processes that start at once begin far apart.
        let number = (process::id().wrapping_mul(37).wrapping_add(step)) % 250;
        let number = u8::try_from(number).expect("below 250");
        // The kernel writes addresses with the last byte first.
        if !routes.contains(&format!("\t00{number:02X}E70A\t")) {
            return number;
        }
    }
    panic!("no free subnet in 10.231.0.0/16");
}
