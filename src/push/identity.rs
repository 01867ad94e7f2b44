//! What a target is, whatever it is called: two pushers of one target name it alike, wherever they run.

use std::sync::LazyLock;

use crate::target::TargetSettings;

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

/// What the target is: its URL without secrets, or its file. A target that only this machine reaches is named with the machine.
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
