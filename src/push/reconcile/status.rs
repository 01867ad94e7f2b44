//! What a reconciler reports.

use std::sync::Arc;
use std::time::Duration;

use super::verdict::Verdict;
use crate::upstream::guard::Seen;

/// Where an upstream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// The etcd revision whose effect the target has confirmed; 0 before any is.
    pub confirmed: i64,
    /// The same for the revision of the service's split and holds.
    pub overrides: i64,
    /// Whether the target sends requests anywhere, as far as is known.
    pub routing: bool,
    /// What keeps the upstream from being equal to the records, as it was at the last look.
    pub errors: Vec<Arc<str>>,
    /// How often somebody else has undone what was made equal, and within which time, where that happens again and again.
    pub contested: Option<(u32, Duration)>,
    /// How many servers should take traffic.
    pub wanted: usize,
    /// How many do, as last read; `None` before anything was read.
    pub has: Option<usize>,
    /// What became of the instances, as of what is confirmed.
    pub verdict: Verdict,
    /// What the target makes of the servers; `None` before anything was read.
    pub seen: Option<Seen>,
}

impl Default for UpstreamStatus {
    /// Nothing is confirmed yet, of a target that may well be routing.
    fn default() -> Self {
        Self {
            confirmed: 0,
            overrides: 0,
            routing: true,
            errors: Vec::new(),
            contested: None,
            wanted: 0,
            has: None,
            verdict: Verdict::default(),
            seen: None,
        }
    }
}
