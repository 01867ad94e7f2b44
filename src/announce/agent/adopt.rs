//! After a crash: the record that an announcer of this instance has left is gone on from.

use std::time::Duration;

use tracing::{debug, info};

use super::Agent;
use crate::announce::phase::Phase;
use crate::announce::settings::Settings;
use crate::etcd::oneshot::{get_to_write, patiently};
use crate::etcd::watch::Entry;
use crate::model::{Record, State, decode};
use crate::util::shutdown::Stop;

/// How long etcd is asked at the start. One that is away has nothing to go on from.
const PATIENCE: Duration = Duration::from_secs(1);

impl Agent {
    /// Takes the backend for up where its record says so: until the first verdict, so that there is no gap. Its former announcer, if
    /// it lives after all, is deposed as by any newer one.
    pub(super) async fn adopt(&mut self, stop: &mut Stop) {
        let key = self.settings.prefix.key(&self.settings.id);
        let looking = patiently(&self.cluster, PATIENCE, async |connection| {
            get_to_write(connection, &key).await
        });
        let found = tokio::select! {
            biased;
            () = stop.leave() => return,
            found = tokio::time::timeout(PATIENCE, looking) => found,
        };
        let entry = match found {
            Ok(Ok(Some(entry))) => entry,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => return debug!(%error, "what stands in etcd is not known"),
        };
        let Some(record) = left_behind(&self.settings, &entry) else {
            return;
        };
        info!(
            "{} goes on from the record that its announcer before has left",
            self.settings.id
        );
        self.settings.record.since = record.since;
        if self.phase == Phase::Starting {
            self.gate.presume_up();
            self.phase = Phase::Serving;
        }
    }
}

/// The record of the same backend by an announcer that can only be a former one of this instance. Pure.
fn left_behind(settings: &Settings, entry: &Entry) -> Option<Record> {
    let (_, record) = decode(&settings.prefix, &entry.key, &entry.value).ok()?;
    let own = &settings.record;
    let same_backend = record.endpoint == own.endpoint && record.protocol == own.protocol;
    let by_an_announcer = entry.lease != 0 && record.nonce.is_some();
    let of_this_run = settings
        .runs_since
        .is_none_or(|start| record.since >= Some(start));
    let takes_traffic = record.state == State::Up;
    (same_backend && by_an_announcer && of_this_run && takes_traffic).then_some(record)
}

#[cfg(test)]
mod tests;
