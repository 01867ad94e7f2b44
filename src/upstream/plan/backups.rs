//! Backup servers for targets that have none.

use crate::model::State;
use crate::upstream::server::{Server, Servers};

/// Replaces backups for a target without them: they are down while another server takes traffic, and normal servers
/// when none does.
#[must_use]
pub fn without_backups(servers: &Servers) -> Servers {
    let mut servers = servers.clone();
    let serves = |server: &Server| server.state == State::Up && !server.parameters.backup;
    let served = servers.values().any(serves);
    for server in servers.values_mut() {
        let backup = std::mem::take(&mut server.parameters.backup);
        if backup && served && server.state == State::Up {
            server.state = State::Down;
        }
    }
    servers
}

#[cfg(test)]
mod tests;
