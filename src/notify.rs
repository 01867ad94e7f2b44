//! What systemd is told (`Type=notify`). Without systemd nothing is told and nothing fails.

use sd_notify::NotifyState;

/// The service is up.
pub fn ready() {
    send(NotifyState::Ready);
}

/// The service is on its way out.
pub fn stopping() {
    send(NotifyState::Stopping);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    send(NotifyState::Status(&text.replace('\n', " ")));
}

fn send(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
