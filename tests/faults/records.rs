//! Follows each instance's record in etcd, for the time line and for the judge: whoever reads a violation sees whether etcd was late
//! or a pusher.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cluster::Reader;
use super::monitor::Monitor;
use super::places::{INSTANCES, instance_name};
use crate::support::Kv;

/// Between two looks.
const TICK: Duration = Duration::from_millis(100);

const SERVICE: &str = "/services/website/";

/// Goes on for ever.
pub(crate) async fn follow(reader: Reader, monitor: Monitor) {
    let mut known = BTreeMap::new();
    let mut term = None;
    let mut pace = interval(TICK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let began = Instant::now();
        let Some(listed) = reader.list(SERVICE).await else {
            continue;
        };
        if term
            .replace(listed.term)
            .is_some_and(|last| last != listed.term)
        {
            monitor.note(format!("etcd has a new leader, term {}", listed.term));
            monitor.elected();
        }
        let now: BTreeMap<_, _> = listed
            .keys
            .iter()
            .map(|record| (record.key.clone(), record.create_revision))
            .collect();
        compare(&known, &now, &monitor);
        known = now;
        monitor.listed(began);
        for record in &listed.keys {
            look_at_lease(record, &reader, &monitor).await;
        }
    }
}

/// Tells which records came and went; each is known by the revision that made it.
fn compare(before: &BTreeMap<String, i64>, now: &BTreeMap<String, i64>, monitor: &Monitor) {
    for key in before.keys().filter(|key| !now.contains_key(*key)) {
        monitor.note(format!("etcd has no {key:?}"));
        if let Some(instance) = instance_of(key) {
            monitor.record_gone(instance);
        }
    }
    for (key, _) in now
        .iter()
        .filter(|(key, made)| before.get(*key) != Some(made))
    {
        monitor.note(format!("etcd has {key:?}"));
        if let Some(instance) = instance_of(key) {
            monitor.record_came(instance);
        }
    }
}

/// Where only the end of its lease takes a record away, it is etcd that must do it.
async fn look_at_lease(record: &Kv, reader: &Reader, monitor: &Monitor) {
    let Some(instance) = instance_of(&record.key).filter(|one| monitor.is_lease_over(*one)) else {
        return;
    };
    if let Some(left) = reader.lease_left(record.lease).await {
        monitor.lease_told(instance, left);
        if left < 0 {
            let key = &record.key;
            monitor.note(format!(
                "etcd has {key:?} yet, with a lease that ended {} s ago",
                -left
            ));
        }
    }
}

fn instance_of(key: &str) -> Option<usize> {
    let name = key.strip_prefix(SERVICE)?;
    (0..INSTANCES).find(|instance| instance_name(*instance) == name)
}
