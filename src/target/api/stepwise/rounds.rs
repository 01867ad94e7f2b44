//! Limits the rounds of a convergence.

use crate::target::Error;
use crate::upstream::plan::Step;

/// The most rounds in a row without progress. A drain brings one (its removal follows its beginning), and a reload of
/// nginx in between another.
const PATIENCE: u32 = 4;

/// Ends a convergence without progress: with a target that accepts everything and does nothing, or breaks off every time.
///
/// While there is less to do each time, it may continue for ever.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    fewest: Option<usize>,
    disappointments: u32,
    failure: Option<Error>,
    /// Whether anything was done.
    changed: bool,
}

impl Rounds {
    /// Steps were taken, with an effect if `done`.
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
    /// The last error, or [`Error::NotConverged`], after too many rounds without progress.
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

    /// A round failed, and a retry may succeed.
    ///
    /// # Errors
    ///
    /// The given error, after too many.
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
