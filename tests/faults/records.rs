//! Puts into the time line when each instance's record comes and goes: whoever reads a violation sees whether etcd was late or a pusher.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::cluster::Reader;
use super::monitor::Monitor;

/// Between two looks.
const TICK: Duration = Duration::from_millis(100);

const SERVICE: &str = "/services/website/";

/// Goes on for ever.
pub(crate) async fn follow(reader: Reader, monitor: Monitor) {
    let mut known = BTreeSet::new();
    let mut pace = interval(TICK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let Some(records) = reader.list(SERVICE).await else {
            continue;
        };
        let records: BTreeSet<_> = records.into_iter().map(|record| record.key).collect();
        for key in known.difference(&records) {
            monitor.note(format!("etcd has no {key:?}"));
        }
        for key in records.difference(&known) {
            monitor.note(format!("etcd has {key:?}"));
        }
        known = records;
    }
}
