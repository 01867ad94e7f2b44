//! Whether the member that is watched is as far as etcd was when the watch began: pure.
//!
//! A watch from a revision that an etcd has not reached is silent until then. Where etcd was wiped or restored between the listing
//! and the watch, that may take days, and nothing that happens until then is told.

/// How many answers in a row show that a member is behind, before it is left. It may be a moment late after another one has answered
/// the listing.
const PATIENCE: u32 = 2;

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The revision that etcd had for sure.
    known: i64,
    /// Answers in a row from before that.
    behind: u32,
}

/// What an answer says of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is as far.
    There,
    /// It is not, which may be over soon.
    Behind,
    /// It is not, again and again.
    Lost,
}

impl Reached {
    /// For a watch from this revision on, the one before which is known.
    pub(super) fn from(revision: i64) -> Self {
        Self {
            known: revision - 1,
            behind: 0,
        }
    }

    /// The member has answered at this revision; 0 where it does not say.
    pub(super) fn note(&mut self, at: i64) -> Reach {
        if at >= self.known || at == 0 {
            self.known = at.max(self.known);
            self.behind = 0;
            return Reach::There;
        }
        self.behind += 1;
        match self.behind {
            ..PATIENCE => Reach::Behind,
            PATIENCE.. => Reach::Lost,
        }
    }

    /// Why it is left.
    pub(super) fn in_words(&self, at: i64) -> String {
        format!(
            "it is at revision {at} while etcd was at {}: it lags behind, or etcd was wiped or restored",
            self.known
        )
    }
}

#[cfg(test)]
mod tests;
