//! What a reconciler reports.

use std::sync::Arc;
use std::time::Duration;

use super::verdict::Verdict;
use crate::upstream::guard::Seen;

/// Status of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// The etcd revision whose effect the target has confirmed; 0 before any is.
    pub confirmed: i64,
    /// The same for the revision of the service's split and holds.
    pub overrides: i64,
    /// Whether the target may send requests to any server, as far as is known.
    pub routing: bool,
    /// Why the upstream is not equal to the records, as of the last look.
    pub errors: Vec<Arc<str>>,
    /// In a contest: how often somebody else has undone changes, and within which time.
    pub contested: Option<(u32, Duration)>,
    /// How many servers should take traffic.
    pub wanted: usize,
    /// How many take traffic, as last read; `None` before anything was read.
    pub has: Option<usize>,
    /// The result for each instance, as of what is confirmed.
    pub verdict: Verdict,
    /// The state of the servers in the target; `None` before anything was read.
    pub seen: Option<Seen>,
}

impl Default for UpstreamStatus {
    /// Nothing is confirmed, and the target may be routing.
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
