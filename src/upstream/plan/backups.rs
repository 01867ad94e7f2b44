//! Backup servers where there is no such thing.

use crate::model::State;
use crate::upstream::server::{Server, Servers};

/// The servers for a target that knows no backups: these are down as long as another server takes traffic, and servers like all
/// others when there is none.
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
