//! What the targets of an upstream report about its servers: which they refuse, and which take traffic. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::Endpoint;

/// A target's report about the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The servers that it refuses.
    pub refused: Arc<BTreeSet<Endpoint>>,
    /// The servers that take traffic there; `None` if that cannot be known.
    pub serving: Option<Arc<BTreeSet<Endpoint>>>,
    /// Whether that is from the last look: a target in trouble may have changed since.
    pub current: bool,
}

/// The reports of the targets, by number. Before the first report, every server with a record counts as served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sightings {
    by_target: BTreeMap<usize, Seen>,
    /// The targets that will report.
    expected: BTreeSet<usize>,
    /// What former targets refused: counts until all new ones have reported.
    former: BTreeSet<Endpoint>,
}

impl Sightings {
    /// Notes a target's report; `true` if it changed.
    pub(super) fn update(&mut self, number: usize, seen: Seen) -> bool {
        let news = self.by_target.get(&number) != Some(&seen);
        self.by_target.insert(number, seen);
        news
    }

    /// Keeps only these targets; `true` if anything changed.
    pub(super) fn keep_only(&mut self, numbers: &BTreeSet<usize>) -> bool {
        let before = (self.by_target.len(), self.former.len());
        self.expected.clone_from(numbers);
        self.by_target.retain(|number, _| numbers.contains(number));
        if numbers
            .iter()
            .all(|number| self.by_target.contains_key(number))
        {
            self.former.clear();
        }
        before != (self.by_target.len(), self.former.len())
    }

    /// A copy for new targets.
    pub(super) fn inherit(&self) -> Self {
        let refused = self.by_target.values().flat_map(|seen| &*seen.refused);
        Self {
            by_target: BTreeMap::new(),
            expected: BTreeSet::new(),
            former: self.former.iter().chain(refused).cloned().collect(),
        }
    }

    /// The report of the target with this number.
    pub(super) fn of(&self, number: usize) -> Option<&Seen> {
        self.by_target.get(&number)
    }

    /// Whether some target refuses the server.
    pub(super) fn refuses(&self, endpoint: &Endpoint) -> bool {
        let mut by_target = self.by_target.values();
        by_target.any(|seen| seen.refused.contains(endpoint)) || self.former.contains(endpoint)
    }

    /// Whether all targets refuse the server.
    pub(super) fn refuse_all(&self, endpoint: &Endpoint) -> bool {
        let mut by_target = self.by_target.values();
        match self.by_target.is_empty() {
            true => self.former.contains(endpoint),
            false => by_target.all(|seen| seen.refused.contains(endpoint)),
        }
    }

    /// Whether the server takes traffic in every target, as far as known. A target without a report may refuse it.
    pub(super) fn confirm(&self, endpoint: &Endpoint) -> bool {
        let mut expected = self.expected.iter();
        expected.all(|number| self.by_target.contains_key(number))
            && self.by_target.values().all(|seen| seen.serves(endpoint))
    }

    /// As [`Self::confirm`], but only for targets without trouble: others could keep the server waiting for long.
    pub(super) fn confirm_now(&self, endpoint: &Endpoint) -> bool {
        let mut current = self.by_target.values().filter(|seen| seen.current);
        !self.refuses(endpoint) && current.all(|seen| seen.serves(endpoint))
    }

    /// Whether the server takes traffic in any target.
    pub(super) fn is_served(&self, endpoint: &Endpoint) -> bool {
        let mut by_target = self.by_target.values();
        by_target.any(|seen| seen.serves(endpoint)) || self.by_target.is_empty()
    }
}

impl Seen {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        let serving = self.serving.as_ref();
        serving.is_none_or(|serving| serving.contains(endpoint))
    }
}

#[cfg(test)]
mod tests;
