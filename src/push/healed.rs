//! Logs that one of the pusher's own keys is back. The lease task logs why it was gone.

use crate::etcd::lease::LeaseStatus;
use crate::util::last_state;

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Healed {
    key: String,
    known: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It was never there.
    Nothing,
    Stands,
    Lost,
}

impl Healed {
    pub(super) fn new(key: String) -> Self {
        let known = Known::Nothing;
        Self { key, known }
    }

    /// Notes a change of the key.
    pub(super) fn note(&mut self, lease: &LeaseStatus) {
        let key = &self.key;
        self.known = match (lease, self.known) {
            (LeaseStatus::Held { revision, .. }, known) => {
                if known == Known::Lost {
                    let text = format!("{key} is in etcd again (etcd revision {revision})");
                    last_state::tell("own key", key, text);
                }
                Known::Stands
            }
            (LeaseStatus::Pending { error: Some(_) }, Known::Stands | Known::Lost) => {
                last_state::forget(key);
                Known::Lost
            }
            (_, known) => known,
        };
    }
}

#[cfg(test)]
mod tests;
