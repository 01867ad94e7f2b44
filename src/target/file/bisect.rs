//! Finds which of many things are refused, by trying ever smaller sets of them.

/// Things of which some may be refused.
///
/// Each [`trial`](Bisect::trial) is what was accepted so far and one more set; call [`accept`](Bisect::accept) or
/// [`refuse`](Bisect::refuse) with its outcome. `k` bad ones among `n` take about `2 k log n` trials.
#[derive(Debug)]
pub(super) struct Bisect<T, E> {
    pub(super) accepted: Vec<T>,
    pub(super) refused: Vec<(T, E)>,
    open: Vec<Vec<T>>,
}

impl<T: Clone, E: Clone> Bisect<T, E> {
    pub(super) fn new(things: impl IntoIterator<Item = T>) -> Self {
        Self {
            accepted: Vec::new(),
            refused: Vec::new(),
            open: vec![things.into_iter().collect()],
        }
    }

    /// What to try next; `None` at the end.
    pub(super) fn trial(&self) -> Option<Vec<T>> {
        let set = self.open.last().filter(|set| !set.is_empty())?;
        Some(self.accepted.iter().chain(set).cloned().collect())
    }

    /// The trial was accepted.
    pub(super) fn accept(&mut self) {
        self.accepted.extend(self.open.pop().unwrap_or_default());
    }

    /// The trial was refused.
    pub(super) fn refuse(&mut self, reason: E) {
        let mut set = self.open.pop().unwrap_or_default();
        if set.len() > 1 {
            let second = set.split_off(set.len() / 2);
            self.open.extend([second, set]);
        } else {
            let refused = set.into_iter().map(|thing| (thing, reason.clone()));
            self.refused.extend(refused);
        }
    }
}

#[cfg(test)]
mod tests;
