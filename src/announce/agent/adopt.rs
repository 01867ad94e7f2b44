//! Continues the record of an announcer of this instance that crashed.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, info};

use super::Agent;
use crate::announce::phase::{Phase, Wish};
use crate::announce::settings::Settings;
use crate::etcd::oneshot::{get_to_write, patiently};
use crate::etcd::watch::Entry;
use crate::model::{Format, State, decode};

/// Timeout of the first read of etcd. An unreachable etcd has no record to continue.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an earlier announcer left in etcd, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftBehind {
    /// Nothing, or it was overwritten.
    Nothing,
    /// A record that takes traffic.
    Record,
    /// etcd has not answered.
    Unknown,
}

impl Agent {
    /// Treats the backend as up until the first verdict if its record does, so that there is no gap. Deposes its former
    /// announcer if that still runs.
    pub(super) async fn adopt(&mut self) {
        let key = self.settings.prefix.key(&self.settings.id);
        let looking = patiently(&self.cluster, PATIENCE, async |connection| {
            get_to_write(connection, &key).await
        });
        let entry = match timeout(PATIENCE, looking).await {
            Ok(Ok(Some(entry))) => entry,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                debug!(%error, "the record in etcd is not known");
                self.left_behind = LeftBehind::Unknown;
                return;
            }
            Err(_) => {
                self.left_behind = LeftBehind::Unknown;
                return;
            }
        };
        if !is_left_behind(&self.settings, &entry) {
            return;
        }
        info!(
            "{}: continuing the record of the previous announcer",
            self.settings.id
        );
        self.left_behind = LeftBehind::Record;
        if self.phase == Phase::Starting {
            self.gate.presume_up();
            self.is_presumed = true;
            self.phase = Phase::Serving;
        }
    }

    /// From now on the record is this agent's own, and may be deleted.
    pub(super) fn took_over(&mut self) {
        let former = std::mem::replace(&mut self.left_behind, LeftBehind::Nothing);
        let wish = self.phase.wish(self.settings.on_failure);
        if former == LeftBehind::Record && matches!(wish, Wish::Nothing(_)) {
            self.enter(self.phase);
        }
    }
}

/// Whether it is the record of the same backend by a former announcer of this instance. Pure.
fn is_left_behind(settings: &Settings, entry: &Entry) -> bool {
    let Ok((_, record)) = decode(&settings.prefix, &entry.key, &entry.value) else {
        return false;
    };
    let own = &settings.record;
    let same_backend = record.endpoint == own.endpoint && record.protocol == own.protocol;
    let by_an_announcer = entry.lease != 0 && record.nonce.is_some();
    let of_this_run = settings
        .runs_since
        .is_none_or(|start| record.since >= Some(start));
    let takes_traffic = record.state == State::Up;
    // A plain record has no state.
    let can_say = settings.format == Format::Json;
    same_backend && by_an_announcer && of_this_run && takes_traffic && can_say
}

#[cfg(test)]
mod tests;
