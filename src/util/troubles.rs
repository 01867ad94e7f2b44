//! Troubles that last: each is logged once. One that the limit of the log leaves out is logged as soon as that allows, if it still lasts,
//! with the time of its beginning.
//!
//! ```text
//! if let Some(more) = troubles.tell(&error.kind(), "cannot follow", PER_KIND) {
//!     warn!(%error, "lost sight of etcd; trying again until it answers{more}");
//! }
//! ...
//! if troubles.end() {
//!     info!("etcd answers again");
//! }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::log_limit;
use super::log_limit::{Late, More};

/// The troubles that something has now.
#[derive(Debug, Default)]
pub struct Troubles {
    /// When the first of them began, if none was logged yet.
    untold_since: Option<Instant>,
    /// Those that were logged.
    told: BTreeSet<String>,
    /// Those that the limit has left out.
    late: BTreeMap<String, Late>,
}

impl Troubles {
    /// Whether to log this trouble now, and what to append. To be asked each time that it shows; the limit is that of lines of this kind
    /// about this trouble.
    pub fn tell(&mut self, trouble: &str, kind: &'static str, per_kind: u32) -> Option<More> {
        if self.told.contains(trouble) {
            return None;
        }
        let more = match self.late.get_mut(trouble) {
            Some(late) => late.allows()?,
            None => match log_limit::ask(kind, trouble, per_kind) {
                Ok(more) => more,
                Err(late) => {
                    if self.told.is_empty() && self.untold_since.is_none() {
                        self.untold_since = Some(late.since());
                    }
                    self.late.insert(trouble.to_owned(), late);
                    return None;
                }
            },
        };
        self.late.remove(trouble);
        self.told.insert(trouble.to_owned());
        // The first line tells the beginning of all.
        let since = self.untold_since.take().or(more.since);
        Some(More { since, ..more })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.late.is_empty()
    }

    /// All of them are over. Whether that is to be logged: because one of them was.
    pub fn end(&mut self) -> bool {
        self.late.clear();
        self.untold_since = None;
        !std::mem::take(&mut self.told).is_empty()
    }
}

#[cfg(test)]
mod tests;
