//! The built-in block of an upstream.

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::State;
use crate::target::UpstreamName;
use crate::upstream::server::{Origins, Server, Servers};
use crate::util::duration::whole_seconds;

/// Stands for no server, as nginx accepts no upstream without one. nginx answers 502 then.
pub(super) const NOBODY: &str = "127.0.0.1:1";

/// One upstream, to be rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a UpstreamName,
    pub(super) service: &'a str,
    pub(super) servers: &'a Servers,
    pub(super) origins: &'a Origins,
}

/// The block.
pub(super) fn built_in(name: &UpstreamName, servers: &Servers) -> String {
    let mut text = format!("upstream {name} {{\n");
    for (endpoint, server) in servers {
        let _ = writeln!(text, "    server {endpoint}{};", parameters(*server));
    }
    // nginx refuses an upstream of backups alone, too.
    if servers.values().all(|server| server.parameters.backup) {
        let _ = writeln!(text, "    server {NOBODY} down; # no server");
    }
    text + "}\n"
}

/// What open-source nginx knows. It refuses `slow_start`, `drain` and `route`.
fn parameters(server: Server) -> String {
    let parameters = server.parameters;
    let number = |name, value: Option<u32>| value.map(|value| format!(" {name}={value}"));
    let fail_timeout = parameters.fail_timeout.map(nginx_time);
    [
        Some(format!(" weight={}", server.weight)),
        number("max_conns", parameters.max_conns),
        number("max_fails", parameters.max_fails),
        fail_timeout.map(|time| format!(" fail_timeout={time}")),
        parameters.backup.then(|| " backup".to_owned()),
        (server.state != State::Up).then(|| " down".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A time in whole seconds, rounded up.
pub(super) fn nginx_time(time: Duration) -> String {
    format!("{}s", whole_seconds(time))
}

#[cfg(test)]
mod tests;
