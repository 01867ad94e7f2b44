//! The identity of a target: two pushers of one target use the same name for it, wherever they run.

use std::sync::LazyLock;

use crate::target::TargetSettings;

/// A unique name of this machine: its id, else its host name.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let text = text.trim();
        // systemd's text before the end of the first boot.
        let some = !text.is_empty() && text != "uninitialized";
        some.then(|| crate::util::sanitize::short(text))
    };
    read("/etc/machine-id")
        .or_else(|| read("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|| "this machine".to_owned())
});

/// The target's URL without secrets, or its file. A target that only this machine reaches has the machine's name in it.
pub(super) fn identity(settings: &TargetSettings) -> String {
    of(settings, &MACHINE)
}

fn of(settings: &TargetSettings, machine: &str) -> String {
    let place = settings.place();
    match settings.is_local() {
        true => format!("{place} on {machine}"),
        false => place,
    }
}

#[cfg(test)]
mod tests;
