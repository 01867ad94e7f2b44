//! What the targets of an upstream make of its servers: which they refuse, and which take traffic there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::Endpoint;

/// What one target makes of the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The servers that it does not take.
    pub refused: Arc<BTreeSet<Endpoint>>,
    /// The servers that take traffic there; `None` where that cannot be known.
    pub serving: Option<Arc<BTreeSet<Endpoint>>>,
    /// Whether that is how it was at the last look: a target in trouble may have changed since.
    pub current: bool,
}

/// What all targets make of them, by the number of whoever tells. Before anybody has told anything, whatever a record names
/// counts as served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sightings {
    told: BTreeMap<usize, Seen>,
    /// Who will tell something.
    expected: BTreeSet<usize>,
    /// What was refused before those who tell were exchanged: counts until all of them have told something.
    former: BTreeSet<Endpoint>,
}

impl Sightings {
    /// Takes note of what a target makes of the servers; whether it is news.
    pub(super) fn tell(&mut self, number: usize, seen: Seen) -> bool {
        let news = self.told.get(&number) != Some(&seen);
        self.told.insert(number, seen);
        news
    }

    /// Only these tell anything from now on; whether that is news.
    pub(super) fn keep_only(&mut self, numbers: &BTreeSet<usize>) -> bool {
        let before = (self.told.len(), self.former.len());
        self.expected.clone_from(numbers);
        self.told.retain(|number, _| numbers.contains(number));
        if numbers.iter().all(|number| self.told.contains_key(number)) {
            self.former.clear();
        }
        before != (self.told.len(), self.former.len())
    }

    /// The same, to be told by others.
    pub(super) fn inherit(&self) -> Self {
        let refused = self.told.values().flat_map(|seen| &*seen.refused);
        Self {
            told: BTreeMap::new(),
            expected: BTreeSet::new(),
            former: self.former.iter().chain(refused).cloned().collect(),
        }
    }

    /// What the target with this number makes of them.
    pub(super) fn of(&self, number: usize) -> Option<&Seen> {
        self.told.get(&number)
    }

    /// Whether some target refuses it.
    pub(super) fn refuses(&self, endpoint: &Endpoint) -> bool {
        let mut told = self.told.values();
        told.any(|seen| seen.refused.contains(endpoint)) || self.former.contains(endpoint)
    }

    /// Whether no target takes it.
    pub(super) fn refuse_all(&self, endpoint: &Endpoint) -> bool {
        let mut told = self.told.values();
        match self.told.is_empty() {
            true => self.former.contains(endpoint),
            false => told.all(|seen| seen.refused.contains(endpoint)),
        }
    }

    /// Whether it takes traffic in every target, as far as that can be known. Who has not told anything yet may refuse it.
    pub(super) fn confirm(&self, endpoint: &Endpoint) -> bool {
        let mut expected = self.expected.iter();
        expected.all(|number| self.told.contains_key(number))
            && self.told.values().all(|seen| seen.serves(endpoint))
    }

    /// The same of those targets that are in no trouble: others may keep it waiting for long.
    pub(super) fn confirm_now(&self, endpoint: &Endpoint) -> bool {
        let mut current = self.told.values().filter(|seen| seen.current);
        !self.refuses(endpoint) && current.all(|seen| seen.serves(endpoint))
    }

    /// Whether it takes traffic anywhere.
    pub(super) fn is_served(&self, endpoint: &Endpoint) -> bool {
        let mut told = self.told.values();
        told.any(|seen| seen.serves(endpoint)) || self.told.is_empty()
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
