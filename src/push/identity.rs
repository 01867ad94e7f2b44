//! What a target is, whatever it is called: two pushers of one target name it alike, wherever they run.

use std::net::IpAddr;
use std::sync::LazyLock;

use super::config::{How, shown};
use crate::target::ApiUrl;

/// The name of this machine, as no other one has it: its id, else its host name.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let text = text.trim();
        // What systemd writes before the first boot has ended.
        let some = !text.is_empty() && text != "uninitialized";
        some.then(|| crate::util::sanitize::short(text))
    };
    read("/etc/machine-id")
        .or_else(|| read("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|| "this machine".to_owned())
});

/// What the target is: its URL without secrets, or its file. What can only be reached on this machine is told with the machine.
pub(super) fn identity(how: &How) -> String {
    of(how, &MACHINE)
}

fn of(how: &How, machine: &str) -> String {
    match how {
        How::Plus(api) | How::UpstreamConf { api, .. } if is_local(&api.url) => {
            format!("{how} on {machine}")
        }
        How::ConfFile(file) => format!("{} on {machine}", shown(&file.file)),
        How::Plus(_) | How::UpstreamConf { .. } | How::Vulcand { .. } => how.to_string(),
    }
}

/// Whether the URL leads to another place on every machine.
fn is_local(url: &ApiUrl) -> bool {
    let host = url.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => {
            let name = host.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests;
