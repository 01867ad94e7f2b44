//! How often a convergence may look again.

use crate::target::Error;
use crate::upstream::plan::Step;

/// So many rounds in a row without progress end a convergence. A drain brings one (its removal follows its beginning), and a reload of nginx in
/// between another.
const PATIENCE: u32 = 4;

/// Ends a convergence that gets nowhere: with a target that accepts everything and does nothing, or breaks off every time.
///
/// As long as there is less to do each time, it may go on for ever.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    fewest: Option<usize>,
    disappointments: u32,
    failure: Option<Error>,
    /// Whether anything was done.
    changed: bool,
}

impl Rounds {
    /// Steps were taken, and something was done if `done`.
    pub(super) fn acted(&mut self, done: bool) {
        self.changed |= done;
    }

    /// Whether anything was done so far.
    pub(super) fn have_changed(&self) -> bool {
        self.changed
    }

    /// These steps are left to do.
    ///
    /// # Errors
    ///
    /// The last failure, or [`Error::NotConverged`], when it got nowhere for too long.
    pub(super) fn planned(&mut self, steps: &[Step]) -> Result<(), Error> {
        if self.fewest.is_none_or(|fewest| steps.len() < fewest) {
            self.fewest = Some(steps.len());
            self.disappointments = 0;
            self.failure = None;
            return Ok(());
        }
        self.disappointments += 1;
        if self.disappointments < PATIENCE {
            return Ok(());
        }
        let step = steps.first().map(Step::to_string).unwrap_or_default();
        Err(self.failure.take().unwrap_or(Error::NotConverged(step)))
    }

    /// A round failed, in a way that another look may mend.
    ///
    /// # Errors
    ///
    /// The error given, when it was one too many.
    pub(super) fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.disappointments += 1;
        if self.disappointments >= PATIENCE {
            return Err(error);
        }
        self.failure = Some(error);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
