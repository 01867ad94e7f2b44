//! Notices that a target was restarted, reloaded, stopped or replaced.
//!
//! Changes made over an API may be lost then, so everything is read again at once, before the next resync.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::error::Error;

/// The source of an answer.
#[derive(Debug, PartialEq)]
enum Seen<I> {
    /// This process, with this configuration.
    Named(I),
    /// The answer has no identity.
    Unnamed,
    /// No answer.
    Nobody,
}

impl<I> From<Result<I, Error>> for Seen<I> {
    fn from(answer: Result<I, Error>) -> Self {
        match answer {
            Ok(identity) => Self::Named(identity),
            Err(Error::NotTheApi { .. }) => Self::Unnamed,
            Err(_) => Self::Nobody,
        }
    }
}

/// Increments whenever another process, or none, answers at the target `name`; `look` identifies it, once in each
/// `period`. Never ends.
pub(super) async fn watch<I, F>(
    name: impl fmt::Display,
    look: impl Fn() -> F,
    period: Duration,
    changes: watch::Sender<u64>,
) where
    I: fmt::Debug + PartialEq,
    F: Future<Output = Result<I, Error>>,
{
    let mut last = None;
    loop {
        let seen = Seen::from(look().await);
        if last.as_ref().is_some_and(|last| *last != seen) {
            debug!(nginx = %name, ?seen, "another nginx than before");
            changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        last = Some(seen);
        sleep(period).await;
    }
}
