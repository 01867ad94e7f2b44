//! What may be told of all upstreams together: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tracing::{info, warn};

use super::settings::Route;
use super::target::Target;
use crate::printable::printable;
use crate::reconcile::Standing;
use crate::record::{
    InstanceName, MAX_LISTED, PusherId, Reasons, ServiceName, ServiceStatus, TargetStatus,
    UpstreamStatus,
};
use crate::upstream::Layer;

/// Where every upstream stands, by the number of its reconciler.
#[derive(Debug, Default)]
pub(super) struct Reckoning(BTreeMap<usize, Row>);

#[derive(Debug)]
struct Row {
    target: Arc<str>,
    /// What the target is, whatever it is called.
    identity: Arc<str>,
    /// `stream/NAME` in `stream {}`.
    upstream: String,
    service: ServiceName,
    standing: Standing,
}

impl Reckoning {
    /// One more upstream, of which nothing is known yet.
    pub(super) fn add(&mut self, number: usize, target: &Target, route: &Route) {
        let upstream = &route.upstream;
        let row = Row {
            target: target.name().clone(),
            identity: target.identity().into(),
            upstream: match route.layer {
                Layer::Http => upstream.to_string(),
                Layer::Stream => format!("stream/{upstream}"),
            },
            service: route.service.clone(),
            standing: Standing::default(),
        };
        self.0.insert(number, row);
    }

    /// The upstream with this number is no concern any more.
    pub(super) fn remove(&mut self, number: usize) {
        self.0.remove(&number);
    }

    /// Takes note of where the upstream with this number stands. Says so in the log where somebody else changes it back;
    /// `suspects` are the pushers that feed the same target.
    pub(super) fn update<'p>(
        &mut self,
        number: usize,
        standing: Standing,
        suspects: impl Fn(&str) -> Vec<&'p PusherId>,
    ) {
        let Some(row) = self.0.get_mut(&number) else {
            return;
        };
        let (target, upstream) = (&row.target, &row.upstream);
        match (row.standing.contested, standing.contested) {
            (None, Some((times, within))) => {
                let who = whose_hand(&suspects(&row.identity));
                let within = std::time::Duration::from_secs(within.as_secs());
                let within = crate::span::show(within);
                warn!(%target, %upstream, times, %within, "{CONTESTED}: {who}");
            }
            (Some(_), None) => info!(%target, %upstream, "nobody else changes it back any more"),
            _ => {}
        }
        row.standing = standing;
    }

    /// The revision that everybody who routes a service has confirmed. A target that does not route is left out; a service
    /// that no target routes is idle.
    pub(super) fn services(&self) -> BTreeMap<ServiceName, ServiceStatus> {
        let mut rows = BTreeMap::<&ServiceName, Vec<&Row>>::new();
        for row in self.0.values() {
            rows.entry(&row.service).or_default().push(row);
        }
        let status = |(service, rows): (&ServiceName, Vec<&Row>)| (service.clone(), status(&rows));
        rows.into_iter().map(status).collect()
    }

    /// How each target does: well when all its upstreams do. `suspects` are the pushers that feed the same target.
    pub(super) fn targets<'p>(
        &self,
        suspects: impl Fn(&str) -> Vec<&'p PusherId>,
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
            let contest = row.standing.contested.map(|_| {
                let who = whose_hand(&suspects(&row.identity));
                format!("{CONTESTED}: {who}").into()
            });
            let errors = row.standing.errors.iter().cloned().chain(contest);
            let errors = errors.map(|text| format!("{}: {text}", row.upstream));
            let errors = errors.map(|text| printable(text, TargetStatus::MAX_ERROR));
            health.errors.extend(errors);
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            let upstream = UpstreamStatus {
                wanted: count(row.standing.wanted),
                has: row.standing.has.map(count),
                ..UpstreamStatus::default()
            };
            health.upstreams.insert(row.upstream.clone(), upstream);
        }
        for target in targets.values_mut() {
            shorten(&mut target.errors);
        }
        targets
    }
}

/// Where a service stands that these upstreams take.
fn status(all: &[&Row]) -> ServiceStatus {
    let rows = || all.iter().filter(|row| row.standing.routing);
    let confirmed = rows().map(|row| row.standing.confirmed).min();
    let Some(applied) = confirmed else {
        // Named all the same: nobody is to take it for one that this pusher has not heard of yet.
        return ServiceStatus {
            idle: true,
            stopped: stopped(all),
            ..ServiceStatus::default()
        };
    };
    let overrides = rows().map(|row| row.standing.choices).min();
    let withheld = rows().flat_map(|row| &row.standing.verdict.withheld);
    // Each once, however many upstreams withhold it.
    let mut reasons = BTreeMap::new();
    for (instance, reason) in withheld {
        reasons.entry(instance).or_insert(reason);
    }
    // Where it takes traffic in another upstream, it is routed.
    let taken = |instance: &InstanceName| rows().any(|row| row.standing.verdict.takes(instance));
    let withheld = reasons.into_iter().filter(|(name, _)| !taken(name));
    let withheld = withheld.map(|(name, reason)| (name.clone(), reason.clone()));
    let refused = rows().flat_map(|row| row.tell(&row.standing.verdict.refused));
    let kept = rows().flat_map(|row| row.tell(&row.standing.verdict.kept));
    ServiceStatus {
        applied,
        overrides: overrides.unwrap_or(0),
        not_routed: Reasons::of(refused.chain(withheld)),
        still_routed: Reasons::of(kept),
        idle: false,
        stopped: stopped(all),
    }
}

/// The targets that count as routing nothing, with what is seen of them.
fn stopped(all: &[&Row]) -> BTreeMap<String, String> {
    let rows = all.iter().filter(|row| !row.standing.routing);
    let told = rows.map(|row| {
        let error = row.standing.errors.first();
        let error = error.map_or("nothing is seen of it", |error| error);
        let error = printable(error, TargetStatus::MAX_ERROR);
        (row.target.to_string(), error)
    });
    told.take(MAX_LISTED).collect()
}

/// What is said of an upstream that is changed back.
const CONTESTED: &str = "what is set here is changed back again and again by somebody else";

/// Whose hand it probably is.
fn whose_hand(suspects: &[&PusherId]) -> String {
    let names: Vec<_> = suspects.iter().take(NAMED).map(|id| id.as_str()).collect();
    match names.as_slice() {
        [] => "no other pusher feeds this target; see who else changes it".to_owned(),
        [name] => format!("probably by pusher {name}, which feeds it too with other settings"),
        names => format!(
            "probably by one of the pushers {}, which feed it too with other settings",
            names.join(", ")
        ),
    }
}

/// How many pushers are named.
const NAMED: usize = 5;

/// As many errors as a status record lists, and how many there are beyond.
fn shorten(errors: &mut Vec<String>) {
    if errors.len() > MAX_LISTED {
        let more = errors.len() - (MAX_LISTED - 1);
        errors.truncate(MAX_LISTED - 1);
        errors.push(format!("and {more} more"));
    }
}

impl Row {
    fn is_well(&self) -> bool {
        let standing = &self.standing;
        standing.confirmed > 0 && standing.errors.is_empty() && standing.contested.is_none()
    }

    /// Reasons with the target in front.
    fn tell(
        &self,
        reasons: &[(InstanceName, String)],
    ) -> impl Iterator<Item = (InstanceName, String)> {
        let tell = |(instance, reason): &(InstanceName, String)| {
            (instance.clone(), format!("{}: {reason}", self.target))
        };
        reasons.iter().map(tell)
    }
}

impl fmt::Display for Reckoning {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.len();
        let well = self.0.values().filter(|row| row.is_well()).count();
        write!(f, "{well} of {all} upstreams equal to the records")?;
        let mut troubled = self
            .0
            .values()
            .filter_map(|row| Some((row, row.standing.errors.first()?)));
        match troubled.next() {
            Some((row, trouble)) => write!(f, "; {} at {}: {trouble}", row.upstream, row.target),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Placed;
    use crate::reconcile::Verdict;

    fn reckoning(rows: &[(&str, &str)]) -> Reckoning {
        let row = |(target, service): &(&str, &str)| Row {
            target: (*target).into(),
            identity: "http://10.0.0.1/api".into(),
            upstream: (*service).to_owned(),
            service: service.parse().unwrap(),
            standing: Standing::default(),
        };
        Reckoning(rows.iter().map(row).enumerate().collect())
    }

    fn confirmed(confirmed: i64) -> Standing {
        Standing {
            confirmed,
            ..Standing::default()
        }
    }

    fn refusing() -> Standing {
        Standing {
            confirmed: 0,
            choices: 0,
            routing: false,
            errors: vec!["connection refused".into()],
            ..Standing::default()
        }
    }

    fn update(reckoning: &mut Reckoning, number: usize, standing: Standing) {
        reckoning.update(number, standing, |_| vec![]);
    }

    fn services(reckoning: &Reckoning) -> Vec<(String, i64)> {
        let services = reckoning.services().into_iter();
        services
            .map(|(name, status)| (name.to_string(), status.applied))
            .collect()
    }

    #[test]
    fn a_service_stands_where_its_slowest_target_stands() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website"), ("a", "shop")]);
        assert_eq!(
            services(&reckoning),
            [("shop".to_owned(), 0), ("website".to_owned(), 0)]
        );
        update(&mut reckoning, 0, confirmed(9));
        update(&mut reckoning, 2, confirmed(4));
        assert_eq!(
            services(&reckoning),
            [("shop".to_owned(), 4), ("website".to_owned(), 0)]
        );
        update(&mut reckoning, 1, confirmed(7));
        assert_eq!(
            services(&reckoning),
            [("shop".to_owned(), 4), ("website".to_owned(), 7)]
        );
    }

    #[test]
    fn a_target_that_refuses_connections_holds_nothing_back() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website")]);
        update(&mut reckoning, 0, confirmed(9));
        update(&mut reckoning, 1, refusing());
        assert_eq!(services(&reckoning), [("website".to_owned(), 9)]);
        let all = reckoning.services();
        let stopped = all.values().flat_map(|status| status.stopped.keys());
        assert_eq!(
            stopped.collect::<Vec<_>>(),
            ["b"],
            "it may listen elsewhere"
        );
        update(&mut reckoning, 0, refusing());
        let all = reckoning.services();
        let idle: Vec<_> = all.values().map(|status| status.idle).collect();
        assert_eq!(idle, [true], "nobody routes it, and that is told");
    }

    #[test]
    fn a_target_that_answers_wrongly_holds_back() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website")]);
        update(&mut reckoning, 0, confirmed(9));
        let errors = vec!["HTTP 500".into()];
        let standing = Standing {
            errors,
            ..confirmed(3)
        };
        update(&mut reckoning, 1, standing);
        assert_eq!(services(&reckoning), [("website".to_owned(), 3)]);
    }

    #[test]
    fn targets_tell_how_they_do() {
        let mut reckoning = reckoning(&[("a", "website"), ("a", "shop"), ("b", "website")]);
        let health =
            |reckoning: &Reckoning, target: &str| reckoning.targets(|_| vec![])[target].clone();
        assert!(!health(&reckoning, "a").ok);
        update(&mut reckoning, 0, confirmed(9));
        update(&mut reckoning, 1, confirmed(9));
        update(&mut reckoning, 2, refusing());
        let well = health(&reckoning, "a");
        assert!(well.ok && well.errors.is_empty());
        assert_eq!(well.upstreams.len(), 2);
        let refused = health(&reckoning, "b");
        assert!(!refused.ok);
        assert_eq!(refused.errors, ["website: connection refused"]);
        assert_eq!(
            reckoning.to_string(),
            "2 of 3 upstreams equal to the records; website at b: connection refused"
        );
    }

    fn with(verdict: Verdict) -> Standing {
        Standing {
            verdict,
            ..confirmed(9)
        }
    }

    fn reasons(instance: &str, reason: &str) -> Vec<(InstanceName, String)> {
        vec![(instance.parse().unwrap(), reason.to_owned())]
    }

    fn told(reasons: &Reasons) -> Vec<String> {
        let told = reasons.listed.iter();
        told.map(|(name, why)| format!("{name}: {why}")).collect()
    }

    #[test]
    fn who_is_refused_anywhere_is_not_routed_and_holds_nothing_back() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website"), ("c", "shop")]);
        let refused = Verdict {
            refused: reasons("i1", "no resolver"),
            ..Verdict::default()
        };
        let kept = Verdict {
            kept: reasons("i2", "min_servers keeps it"),
            ..Verdict::default()
        };
        update(&mut reckoning, 0, with(refused));
        update(&mut reckoning, 1, with(kept));
        update(&mut reckoning, 2, confirmed(9));
        let services = reckoning.services();
        let website = &services["website"];
        assert_eq!(website.applied, 9);
        assert_eq!(told(&website.not_routed), ["i1: a: no resolver"]);
        assert_eq!(told(&website.still_routed), ["i2: b: min_servers keeps it"]);
        assert!(services["shop"].not_routed.is_empty());
        update(&mut reckoning, 0, refusing());
        assert!(reckoning.services()["website"].not_routed.is_empty());
    }

    #[test]
    fn as_many_are_listed_as_there_is_room_for_refusals_first_and_the_rest_is_counted() {
        let mut reckoning = reckoning(&[("a", "website")]);
        let many = |kind: &str, count: usize| {
            let names = (0..count).map(|number| format!("{kind}{number:03}"));
            let reasons = names.map(|name| (name.parse().unwrap(), format!("{kind}: no")));
            reasons.collect::<Vec<_>>()
        };
        let verdict = Verdict {
            refused: many("refused", 200),
            // Their names come first.
            withheld: many("held", 100),
            kept: many("kept", 300),
            ..Verdict::default()
        };
        update(&mut reckoning, 0, with(verdict));
        let status = &reckoning.services()["website"];
        let listed = |reasons: &Reasons, kind: &str| {
            let names = reasons.listed.keys();
            names.filter(|name| name.as_str().starts_with(kind)).count()
        };
        assert_eq!(listed(&status.not_routed, "refused"), 200);
        assert_eq!(listed(&status.not_routed, "held"), MAX_LISTED - 200);
        assert_eq!(status.not_routed.more, 44);
        assert_eq!(listed(&status.still_routed, "kept"), MAX_LISTED);
        assert_eq!(status.still_routed.more, 44);
        let unlisted = "held099".parse().unwrap();
        assert_eq!(status.routes(&unlisted), crate::record::Routes::Unknown);
    }

    #[test]
    fn who_has_no_weight_in_one_upstream_and_takes_traffic_in_another_is_routed() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website")]);
        let nothing = || Verdict {
            withheld: reasons("i1", "weightless: the split gives it nothing"),
            ..Verdict::default()
        };
        update(&mut reckoning, 0, with(nothing()));
        update(&mut reckoning, 1, with(nothing()));
        let status = &reckoning.services()["website"];
        let expected = ["i1: weightless: the split gives it nothing"];
        assert_eq!(told(&status.not_routed), expected);
        let placed = Placed {
            endpoint: "10.0.0.1:80".parse().unwrap(),
            out: None,
        };
        let takes = Verdict {
            instances: Arc::new([("i1".parse().unwrap(), placed)].into()),
            ..Verdict::default()
        };
        update(&mut reckoning, 1, with(takes));
        assert!(reckoning.services()["website"].not_routed.is_empty());
    }

    #[test]
    fn whose_hand_undoes_a_change_is_told_as_far_as_it_can_be_known() {
        let mut reckoning = reckoning(&[("a", "website")]);
        let contested = Standing {
            contested: Some((3, std::time::Duration::from_secs(60))),
            ..confirmed(9)
        };
        update(&mut reckoning, 0, contested);
        let (one, other) = ("edge-2".parse().unwrap(), "edge-3".parse().unwrap());
        let told = |ids: Vec<&PusherId>| {
            let target = reckoning.targets(|_| ids.clone()).remove("a").unwrap();
            assert!(!target.ok);
            target.errors.join("; ")
        };
        assert!(told(vec![]).contains("no other pusher feeds this target"));
        assert!(told(vec![&one]).contains("probably by pusher edge-2,"));
        assert!(told(vec![&one, &other]).contains("one of the pushers edge-2, edge-3,"));
    }
}
