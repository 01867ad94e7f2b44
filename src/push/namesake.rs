//! Another pusher with this pusher's id, and what is logged about it.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::model::PusherId;
use crate::util::few::few;
use crate::util::last_state;
use crate::util::log_limit;

/// How many targets are named.
const NAMED: usize = 5;

/// Why the id is not free. A pusher that takes it over makes etcd forget the old targets: announcers would no longer know
/// which load balancers may still send them requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Namesake {
    /// Another live pusher has it and feeds these targets.
    Lives(BTreeSet<String>),
    /// No pusher runs under it. These targets are not this pusher's, and keep routing to their last servers.
    Silent(BTreeSet<String>),
    /// Another live pusher has it and has not said yet what it feeds.
    Unknown,
}

impl Namesake {
    /// What happens to a silent pusher's targets when this pusher takes its id over.
    pub(super) fn left_behind(&self, id: &PusherId) -> Option<String> {
        let Self::Silent(targets) = self else {
            return None;
        };
        Some(format!(
            "the id {id} last fed other targets ({}): their nginx keeps the last servers, and announcers no longer wait for them; \
            if they are still in use, give each pusher an --id of its own",
            few(targets, NAMED)
        ))
    }

    /// What it is, what this pusher waits for, and what to do.
    pub(super) fn in_words(&self, id: &PusherId) -> String {
        match self {
            Self::Lives(targets) => format!(
                "another pusher is running under the id {id} and feeds other targets ({}): this one waits until it ends; give \
                this one an --id of its own",
                few(targets, NAMED)
            ),
            Self::Silent(targets) => format!(
                "the id {id} last fed other targets ({}), which may still send requests: this pusher waits until etcd forgets \
                them, --forget-after their pusher has ended; give this one an --id of its own, or, if they are gone \
                for good or this one's targets take their place: sidekick push --retire --id {id}",
                few(targets, NAMED)
            ),
            Self::Unknown => format!(
                "another pusher is running under the id {id} and has not yet published what it feeds: this one waits until it \
                does or ends"
            ),
        }
    }
}

/// Whether the id is free, as last logged.
#[derive(Debug)]
pub(super) struct IdWatch {
    id: PusherId,
    namesake: Option<Namesake>,
}

impl IdWatch {
    /// No other pusher is known.
    pub(super) fn new(id: PusherId) -> Self {
        Self { id, namesake: None }
    }

    /// Whether to wait for this namesake, if there is one: it is not a former self.
    pub(super) fn is_taken(&mut self, namesake: Option<Namesake>) -> bool {
        let namesake = namesake.filter(|it| self.namesake.is_some() || !self.succeeds(it));
        if namesake != self.namesake {
            let (id, subject) = (self.id.clone(), format!("id {}", self.id));
            match &namesake {
                Some(namesake) => {
                    last_state::warn("namesake", &subject, namesake.in_words(&id));
                }
                None => last_state::tell_by("no namesake", &subject, move |more| {
                    info!(%id, "the id is free now{more}");
                }),
            }
            self.namesake = namesake;
        }
        self.namesake.is_some()
    }

    /// Whether this pusher takes the id over: it was restarted with other targets. A pusher that has waited for another
    /// one does not, however long that is away.
    fn succeeds(&self, namesake: &Namesake) -> bool {
        let Some(left) = namesake.left_behind(&self.id) else {
            return false;
        };
        if let Some(more) = log_limit::allows("left behind", self.id.as_str()) {
            warn!("{left}{more}");
        }
        true
    }

    /// Who has the id, what this pusher waits for, and what to do.
    pub(super) fn in_words(&self) -> Option<String> {
        let namesake = self.namesake.as_ref()?;
        Some(namesake.in_words(&self.id))
    }
}

#[cfg(test)]
mod tests;
