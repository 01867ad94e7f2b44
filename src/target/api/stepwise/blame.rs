//! Finds the parameter that a target refuses without naming it, by leaving parameters out.

use super::group::{About, Refusal, Verdict};
use crate::upstream::plan::Setting;
use crate::upstream::server::Parameters;

impl Refusal {
    /// Takes the candidates out of `parameters`. `backup` is tried last, and alone.
    fn take(&self, parameters: &mut Parameters) -> Vec<Setting> {
        let is_candidate = |setting: &Setting| match self.about {
            About::Server => false,
            About::Parameter(name) => setting.name() == name,
            About::Unknown => true,
        };
        let mut candidates: Vec<Setting> = Setting::of(parameters).filter(is_candidate).collect();
        if candidates.len() > 1 {
            candidates.retain(|setting| *setting != Setting::Backup);
        }
        for setting in &candidates {
            setting.leave_out(parameters);
        }
        candidates
    }
}

/// The parameters left out of a request so far, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Blame(Vec<(Setting, String)>);

impl Blame {
    /// Checks the `verdict` on a request with `parameters`, and removes those that a refusal may be about: then it
    /// returns `None`, and the request is retried without them.
    pub(super) fn take(
        &mut self,
        verdict: Verdict,
        parameters: &mut Parameters,
    ) -> Option<Verdict> {
        let Verdict::Refused(refusal) = verdict else {
            return Some(verdict);
        };
        let taken = refusal.take(parameters);
        if taken.is_empty() {
            // Nothing helped, so it was none of them.
            self.0.clear();
            return Some(Verdict::Refused(refusal));
        }
        let reasons = std::iter::repeat(refusal.reason);
        self.0.extend(taken.into_iter().zip(reasons));
        None
    }

    /// The refused parameters.
    pub(super) fn into_refused(self) -> impl Iterator<Item = (Setting, String)> {
        self.0.into_iter()
    }
}
