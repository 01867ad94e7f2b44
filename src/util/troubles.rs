//! Troubles that last: each is logged once. One that the limit of the log leaves out is logged as soon as that allows, if it still lasts.
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

use std::collections::BTreeSet;

use super::log_limit;
use super::log_limit::More;

/// The troubles that something has now.
#[derive(Debug, Default)]
pub struct Troubles {
    /// Those that were logged.
    told: BTreeSet<String>,
    /// Those that the limit has left out.
    late: BTreeSet<String>,
}

impl Troubles {
    /// Whether to log this trouble now, and what to append. To be asked each time that it shows; the limit is that of lines of this kind
    /// about this trouble.
    pub fn tell(&mut self, trouble: &str, kind: &'static str, per_kind: u32) -> Option<More> {
        if self.told.contains(trouble) {
            return None;
        }
        let more = match self.late.contains(trouble) {
            true => log_limit::allows_late(kind, trouble, per_kind),
            false => log_limit::allows_of(kind, trouble, per_kind),
        };
        match more {
            Some(_) => {
                self.late.remove(trouble);
                self.told.insert(trouble.to_owned());
            }
            None => {
                self.late.insert(trouble.to_owned());
            }
        }
        more
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.late.is_empty()
    }

    /// All of them are over. Whether that is to be logged: because one of them was.
    pub fn end(&mut self) -> bool {
        self.late.clear();
        !std::mem::take(&mut self.told).is_empty()
    }
}

#[cfg(test)]
mod tests;
