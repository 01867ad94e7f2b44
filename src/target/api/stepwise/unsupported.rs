//! Parameters that a group does not support: its servers are set without them.
//!
//! A server without them still serves, except a backup server that cannot be one: that must stay down as long as
//! another server is there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio::time::Instant;

use super::blame::Blame;
use super::refused::RETRY;
use crate::upstream::plan::{Setting, without_backups};
use crate::upstream::server::{Parameters, Servers};

/// The unsupported parameters, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Unsupported(BTreeMap<Setting, Refusal>);

#[derive(Debug)]
struct Refusal {
    reason: String,
    since: Instant,
}

impl Unsupported {
    /// Notes what was found out.
    pub(super) fn note(&mut self, blame: Blame) {
        let since = Instant::now();
        for (setting, reason) in blame.into_refused() {
            self.0.insert(setting, Refusal { reason, since });
        }
    }

    /// Forgets what was refused long ago: it is retried.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, refusal| now.duration_since(refusal.since) < RETRY);
    }

    /// Forgets what no server needs any more.
    pub(super) fn keep_only(&mut self, servers: &Servers) {
        if self.0.is_empty() {
            return;
        }
        let wanted = servers.values().map(|server| server.parameters);
        let wanted: Vec<Setting> = wanted.flat_map(|all| Setting::of(&all)).collect();
        self.0.retain(|setting, _| wanted.contains(setting));
    }

    /// Whether the group is known not to support this parameter.
    pub(super) fn holds(&self, setting: Setting) -> bool {
        self.0.contains_key(&setting)
    }

    /// Leaves out what the group does not take.
    pub(super) fn leave_out(&self, parameters: &mut Parameters) {
        for setting in self.0.keys() {
            setting.leave_out(parameters);
        }
    }

    /// What can be of what is desired.
    pub(super) fn possible<'a>(&self, servers: &'a Servers) -> Cow<'a, Servers> {
        if self.0.is_empty() {
            return Cow::Borrowed(servers);
        }
        let mut possible = match self.holds(Setting::Backup) {
            true => without_backups(servers),
            false => servers.clone(),
        };
        for server in possible.values_mut() {
            self.leave_out(&mut server.parameters);
        }
        Cow::Owned(possible)
    }

    /// What is not set, and why.
    pub(super) fn listed(&self) -> impl Iterator<Item = (String, String)> {
        let refusals = self.0.iter();
        refusals.map(|(setting, refusal)| (format!("set {setting}"), refusal.reason.clone()))
    }
}
