//! The status of all upstreams together: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tracing::{info, warn};

use super::route::Route;
use super::target::Target;
use crate::model::{
    self, InstanceName, MAX_LISTED, PusherId, Reasons, ServiceName, ServiceStatus, TargetStatus,
};
use crate::push::reconcile;
use crate::util::sanitize::printable;

/// The status of every upstream, by the number of its reconciler.
#[derive(Debug, Default)]
pub(super) struct Status(BTreeMap<usize, Row>);

#[derive(Debug)]
struct Row {
    target: Arc<str>,
    /// The target's identity.
    identity: Arc<str>,
    /// `stream/NAME` in `stream {}`.
    upstream: String,
    service: ServiceName,
    status: reconcile::UpstreamStatus,
}

impl Status {
    /// Adds an upstream without a status.
    pub(super) fn add(&mut self, number: usize, target: &Target, route: &Route) {
        let row = Row {
            target: target.name().clone(),
            identity: target.identity().into(),
            upstream: route.name(),
            service: route.service.clone(),
            status: reconcile::UpstreamStatus::default(),
        };
        self.0.insert(number, row);
    }

    /// Removes the upstream with this number.
    pub(super) fn remove(&mut self, number: usize) {
        self.0.remove(&number);
    }

    /// Notes the status of the upstream with this number. Logs when somebody else undoes its changes;
    /// `candidates` are the pushers that feed the same target.
    pub(super) fn update<'p>(
        &mut self,
        number: usize,
        status: reconcile::UpstreamStatus,
        candidates: impl Fn(&str) -> Vec<&'p PusherId>,
    ) {
        let Some(row) = self.0.get_mut(&number) else {
            return;
        };
        let (target, upstream) = (&row.target, &row.upstream);
        match (row.status.contested, status.contested) {
            (None, Some((times, within))) => {
                let who = whose_hand(&candidates(&row.identity));
                let within = std::time::Duration::from_secs(within.as_secs());
                let within = crate::util::duration::typed(within);
                warn!(%target, %upstream, times, %within, "{CONTESTED}: {who}");
            }
            (Some(_), None) => info!(%target, %upstream, "its changes are no longer undone"),
            _ => {}
        }
        row.status = status;
    }

    /// The revision that every target of a service has confirmed. A target that does not route is left out; a service
    /// that no target routes is idle.
    pub(super) fn services(&self) -> BTreeMap<ServiceName, ServiceStatus> {
        let mut rows = BTreeMap::<&ServiceName, Vec<&Row>>::new();
        for row in self.0.values() {
            rows.entry(&row.service).or_default().push(row);
        }
        let status =
            |(service, rows): (&ServiceName, Vec<&Row>)| (service.clone(), service_status(&rows));
        rows.into_iter().map(status).collect()
    }

    /// The status of each target: good if all its upstreams are. `candidates` are the pushers that feed the same target.
    pub(super) fn targets<'p>(
        &self,
        candidates: impl Fn(&str) -> Vec<&'p PusherId>,
    ) -> BTreeMap<String, TargetStatus> {
        let mut targets = BTreeMap::<_, TargetStatus>::new();
        for row in self.0.values() {
            let well = row.is_well();
            let health = targets
                .entry(row.target.to_string())
                .or_insert(TargetStatus {
                    ok: true,
                    ..TargetStatus::default()
                });
            health.ok &= well;
            let contest = row.status.contested.map(|_| {
                let who = whose_hand(&candidates(&row.identity));
                format!("{CONTESTED}: {who}").into()
            });
            let errors = row.status.errors.iter().cloned().chain(contest);
            let errors = errors.map(|text| format!("{}: {text}", row.upstream));
            let errors = errors.map(|text| printable(text, TargetStatus::MAX_ERROR));
            health.errors.extend(errors);
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            let upstream = model::UpstreamStatus {
                wanted: count(row.status.wanted),
                has: row.status.has.map(count),
                ..model::UpstreamStatus::default()
            };
            health.upstreams.insert(row.upstream.clone(), upstream);
        }
        for target in targets.values_mut() {
            shorten(&mut target.errors);
        }
        targets
    }
}

/// The status of a service with these upstreams.
fn service_status(all: &[&Row]) -> ServiceStatus {
    let rows = || all.iter().filter(|row| row.status.routing);
    let confirmed = rows().map(|row| row.status.confirmed).min();
    let Some(applied) = confirmed else {
        // Listed anyway, or readers would think that this pusher does not know it yet.
        return ServiceStatus {
            idle: true,
            stopped: stopped(all),
            ..ServiceStatus::default()
        };
    };
    let overrides = rows().map(|row| row.status.overrides).min();
    let withheld = rows().flat_map(|row| &row.status.verdict.withheld);
    // Each once, however many upstreams withhold it.
    let mut reasons = BTreeMap::new();
    for (instance, reason) in withheld {
        reasons.entry(instance).or_insert(reason);
    }
    // If it takes traffic in another upstream, it is routed.
    let taken = |instance: &InstanceName| rows().any(|row| row.status.verdict.takes(instance));
    let withheld = reasons.into_iter().filter(|(name, _)| !taken(name));
    let withheld = withheld.map(|(name, reason)| (name.clone(), reason.clone()));
    let refused = rows().flat_map(|row| row.with_target(&row.status.verdict.refused));
    let still_routed = rows().flat_map(|row| row.with_target(&row.status.verdict.still_routed));
    ServiceStatus {
        applied,
        overrides: overrides.unwrap_or(0),
        not_routed: Reasons::of(refused.chain(withheld)),
        still_routed: Reasons::of(still_routed),
        idle: false,
        stopped: stopped(all),
    }
}

/// The targets that count as not routing, with the reason.
fn stopped(all: &[&Row]) -> BTreeMap<String, String> {
    let rows = all.iter().filter(|row| !row.status.routing);
    let told = rows.map(|row| {
        let error = row.status.errors.first();
        let error = error.map_or("nothing is seen of it", |error| error);
        let error = printable(error, TargetStatus::MAX_ERROR);
        (row.target.to_string(), error)
    });
    told.take(MAX_LISTED).collect()
}

/// The message about an upstream whose changes are undone.
const CONTESTED: &str = "somebody else keeps undoing the changes made here";

/// The probable cause.
fn whose_hand(candidates: &[&PusherId]) -> String {
    let names: Vec<_> = candidates
        .iter()
        .take(NAMED)
        .map(|id| id.as_str())
        .collect();
    match names.as_slice() {
        [] => "no other pusher feeds this target; see who else changes it".to_owned(),
        [name] => format!("probably pusher {name}, which also feeds it, with other settings"),
        names => format!(
            "probably one of the pushers {}, which also feed it, with other settings",
            names.join(", ")
        ),
    }
}

/// How many pushers are named.
const NAMED: usize = 5;

/// The errors up to the limit of a status record, and the number of the rest.
fn shorten(errors: &mut Vec<String>) {
    if errors.len() > MAX_LISTED {
        let more = errors.len() - (MAX_LISTED - 1);
        errors.truncate(MAX_LISTED - 1);
        errors.push(format!("and {more} more"));
    }
}

impl Row {
    fn is_well(&self) -> bool {
        let status = &self.status;
        status.confirmed > 0 && status.errors.is_empty() && status.contested.is_none()
    }

    /// Reasons, each with its target first.
    fn with_target(
        &self,
        reasons: &[(InstanceName, String)],
    ) -> impl Iterator<Item = (InstanceName, String)> {
        let named = |(instance, reason): &(InstanceName, String)| {
            (instance.clone(), format!("{}: {reason}", self.target))
        };
        reasons.iter().map(named)
    }
}

impl fmt::Display for Status {
    /// One line for `systemctl status`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.len();
        let well = self.0.values().filter(|row| row.is_well()).count();
        write!(f, "{well} of {all} upstreams equal to the records")?;
        let mut troubled = self
            .0
            .values()
            .filter_map(|row| Some((row, row.status.errors.first()?)));
        match troubled.next() {
            Some((row, trouble)) => write!(f, "; {} at {}: {trouble}", row.upstream, row.target),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
