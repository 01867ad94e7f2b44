//! Differences of Podman from Docker.
//!
//! Docker has an event when a container gets its stop signal. Podman has no event before the end: only inspect shows that
//! the container is `stopping`, since 5.8 in other words (`container::status`). Podman cannot wait for that either: 4.3 refuses
//! `wait?condition=stopping`, and 5.4, which does not have that condition either, answers at once as if it were met.

use std::time::Duration;

use bollard::errors::Error as Cause;
use hyper::Method;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::client::{CALL_TIMEOUT, Client};
use super::raw;

/// How often Podman is asked: each call takes three milliseconds of its time.
const ASKED: Duration = Duration::from_millis(250);
/// The pause after a failure. The follower notices by itself when the daemon is gone.
const AGAIN: Duration = Duration::from_secs(1);

impl Client {
    /// Waits until Podman reports that the container is stopping; for ever with Docker, which has an event for that. Cancel safe.
    pub(super) async fn stopping(&self, id: &str) {
        loop {
            // Pause at first, too: an inspection without a result asks again at once.
            sleep(ASKED).await;
            match self.is_stopping(id).await {
                Ok(Some(true)) => return,
                Ok(Some(false)) => {}
                Ok(None) => return std::future::pending().await,
                Err(cause) => {
                    tracing::debug!("asking whether container {id} is stopping: {cause}");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// `None` when it is not Podman.
    async fn is_stopping(&self, id: &str) -> Result<Option<bool>, Cause> {
        let Some(version) = self.libpod().await? else {
            return Ok(None);
        };
        // Podman's cheapest call that returns the state.
        let path = format!(
            "/v{version}/libpod/containers/json?all=true&filters=%7B%22id%22:%5B%22{id}%22%5D%7D"
        );
        let asked = raw::call(self.daemon(), Method::GET, &path);
        let Ok(answer) = timeout(CALL_TIMEOUT, asked).await else {
            return Err(Cause::RequestTimeoutError);
        };
        let listed: Value = serde_json::from_slice(&answer?.body)?;
        Ok(Some(listed[0]["State"] == "stopping"))
    }

    /// The version of Podman's own API; `None` when it is not Podman.
    async fn libpod(&self) -> Result<Option<String>, Cause> {
        if let Some(known) = self.libpod_version.get() {
            return Ok(known.clone());
        }
        let asked = raw::call(self.daemon(), Method::GET, "/_ping");
        let Ok(answer) = timeout(CALL_TIMEOUT, asked).await else {
            return Err(Cause::RequestTimeoutError);
        };
        let version = answer?.headers.get("Libpod-Api-Version").cloned();
        let version = version.and_then(|version| version.to_str().ok().map(str::to_owned));
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let version = version.filter(|version| version.bytes().all(safe));
        Ok(self.libpod_version.get_or_init(|| version).clone())
    }
}

#[cfg(test)]
mod tests;
