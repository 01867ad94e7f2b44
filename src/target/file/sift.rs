//! Finds out which of many things nginx refuses, by trying ever smaller sets of them.

/// Things of which some may be refused.
///
/// Each [`trial`](Sift::trial) is what was accepted so far and one more set; its outcome is told by [`accept`](Sift::accept) or
/// [`refuse`](Sift::refuse). Of `n` things of which `k` are bad, about `2 k log n` sets are tried.
#[derive(Debug)]
pub(super) struct Sift<T> {
    accepted: Vec<T>,
    refused: Vec<(T, String)>,
    open: Vec<Vec<T>>,
}

impl<T: Clone> Sift<T> {
    pub(super) fn new(things: Vec<T>) -> Self {
        let open = if things.is_empty() {
            Vec::new()
        } else {
            vec![things]
        };
        Self {
            accepted: Vec::new(),
            refused: Vec::new(),
            open,
        }
    }

    /// What is to be tried next; `None` at the end.
    pub(super) fn trial(&self) -> Option<Vec<T>> {
        let set = self.open.last()?;
        Some(self.accepted.iter().chain(set).cloned().collect())
    }

    /// The trial was accepted.
    pub(super) fn accept(&mut self) {
        self.accepted.extend(self.open.pop().unwrap_or_default());
    }

    /// The trial was refused.
    pub(super) fn refuse(&mut self, reason: String) {
        let mut set = self.open.pop().unwrap_or_default();
        if set.len() > 1 {
            let second = set.split_off(set.len() / 2);
            self.open.extend([second, set]);
        } else {
            self.refused
                .extend(set.into_iter().map(|thing| (thing, reason.clone())));
        }
    }

    /// What was accepted, and what was refused for which reason.
    pub(super) fn end(self) -> (Vec<T>, Vec<(T, String)>) {
        (self.accepted, self.refused)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_bad_ones_are_refused_in_few_trials(count in 0_usize..200, bad in prop::collection::btree_set(0_usize..200, 0..5)) {
            let bad: BTreeSet<_> = bad.into_iter().filter(|thing| *thing < count).collect();
            let mut sift = Sift::new((0..count).collect());
            let mut trials = 0;
            while let Some(trial) = sift.trial() {
                trials += 1;
                if trial.iter().any(|thing| bad.contains(thing)) {
                    sift.refuse("bad".to_owned());
                } else {
                    sift.accept();
                }
            }
            let (accepted, refused) = sift.end();
            let refused: BTreeSet<_> = refused.into_iter().map(|(thing, _)| thing).collect();
            prop_assert_eq!(accepted.len() + refused.len(), count);
            prop_assert_eq!(refused, bad.clone());
            prop_assert!(trials <= 1 + bad.len() * 2 * 8);
        }
    }
}
