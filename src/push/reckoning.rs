//! What may be told of all upstreams together: pure.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::Route;
use super::target::Target;
use crate::printable::printable;
use crate::reconcile::Standing;
use crate::record::{ServiceName, ServiceStatus, TargetStatus};
use crate::upstream::UpstreamName;

/// Where every upstream stands, by the number of its reconciler.
#[derive(Debug, Default)]
pub(super) struct Reckoning(BTreeMap<usize, Row>);

#[derive(Debug)]
struct Row {
    target: String,
    upstream: UpstreamName,
    service: ServiceName,
    standing: Standing,
}

impl Reckoning {
    /// One more upstream, of which nothing is known yet.
    pub(super) fn add(&mut self, number: usize, target: &Target, route: &Route) {
        let row = Row {
            target: target.name().to_string(),
            upstream: route.upstream.clone(),
            service: route.service.clone(),
            standing: Standing::default(),
        };
        self.0.insert(number, row);
    }

    /// The upstream with this number is no concern any more.
    pub(super) fn remove(&mut self, number: usize) {
        self.0.remove(&number);
    }

    /// Takes note of where the upstream with this number stands.
    pub(super) fn update(&mut self, number: usize, standing: Standing) {
        if let Some(row) = self.0.get_mut(&number) {
            row.standing = standing;
        }
    }

    /// The revision that everybody who routes a service has confirmed. A target that does not route is left out; a service
    /// that no target routes is idle.
    pub(super) fn services(&self) -> BTreeMap<ServiceName, ServiceStatus> {
        let mut services = BTreeMap::new();
        for row in self.0.values().filter(|row| row.standing.routing) {
            let (applied, overrides) = (row.standing.confirmed, row.standing.choices);
            let status = services
                .entry(row.service.clone())
                .or_insert(ServiceStatus {
                    applied,
                    overrides,
                    ..ServiceStatus::default()
                });
            status.applied = applied.min(status.applied);
            status.overrides = overrides.min(status.overrides);
        }
        // Named all the same: nobody is to take it for one that this pusher has not heard of yet.
        for row in self.0.values().filter(|row| !row.standing.routing) {
            let idle = || ServiceStatus {
                idle: true,
                ..ServiceStatus::default()
            };
            services.entry(row.service.clone()).or_insert_with(idle);
        }
        services
    }

    /// How each target does: well when all its upstreams do.
    pub(super) fn targets(&self) -> BTreeMap<String, TargetStatus> {
        let mut targets = BTreeMap::<_, TargetStatus>::new();
        for row in self.0.values() {
            let well = row.is_well();
            let health = targets.entry(row.target.clone()).or_insert(TargetStatus {
                ok: true,
                ..TargetStatus::default()
            });
            health.ok &= well;
            let trouble = row
                .standing
                .trouble
                .as_ref()
                .map(|text| format!("{}: {text}", row.upstream));
            let trouble = trouble.map(|text| printable(text, TargetStatus::MAX_ERROR));
            health.errors.extend(trouble);
        }
        targets
    }
}

impl Row {
    fn is_well(&self) -> bool {
        self.standing.confirmed > 0 && self.standing.trouble.is_none()
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
            .filter_map(|row| Some((row, row.standing.trouble.as_ref()?)));
        match troubled.next() {
            Some((row, trouble)) => write!(f, "; {} at {}: {trouble}", row.upstream, row.target),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reckoning(rows: &[(&str, &str)]) -> Reckoning {
        let row = |(target, service): &(&str, &str)| Row {
            target: (*target).to_owned(),
            upstream: service.parse().unwrap(),
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
            trouble: Some("connection refused".into()),
        }
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
        reckoning.update(0, confirmed(9));
        reckoning.update(2, confirmed(4));
        assert_eq!(
            services(&reckoning),
            [("shop".to_owned(), 4), ("website".to_owned(), 0)]
        );
        reckoning.update(1, confirmed(7));
        assert_eq!(
            services(&reckoning),
            [("shop".to_owned(), 4), ("website".to_owned(), 7)]
        );
    }

    #[test]
    fn a_target_that_refuses_connections_holds_nothing_back() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website")]);
        reckoning.update(0, confirmed(9));
        reckoning.update(1, refusing());
        assert_eq!(services(&reckoning), [("website".to_owned(), 9)]);
        reckoning.update(0, refusing());
        let all = reckoning.services();
        let idle: Vec<_> = all.values().map(|status| status.idle).collect();
        assert_eq!(idle, [true], "nobody routes it, and that is told");
    }

    #[test]
    fn a_target_that_answers_wrongly_holds_back() {
        let mut reckoning = reckoning(&[("a", "website"), ("b", "website")]);
        reckoning.update(0, confirmed(9));
        let trouble = Some("HTTP 500".into());
        reckoning.update(
            1,
            Standing {
                trouble,
                ..confirmed(3)
            },
        );
        assert_eq!(services(&reckoning), [("website".to_owned(), 3)]);
    }

    #[test]
    fn targets_tell_how_they_do() {
        let mut reckoning = reckoning(&[("a", "website"), ("a", "shop"), ("b", "website")]);
        let health = |reckoning: &Reckoning, target: &str| reckoning.targets()[target].clone();
        assert!(!health(&reckoning, "a").ok);
        reckoning.update(0, confirmed(9));
        reckoning.update(1, confirmed(9));
        reckoning.update(2, refusing());
        assert_eq!(
            health(&reckoning, "a"),
            TargetStatus {
                ok: true,
                ..TargetStatus::default()
            }
        );
        let refused = health(&reckoning, "b");
        assert!(!refused.ok);
        assert_eq!(refused.errors, ["website: connection refused"]);
        assert_eq!(
            reckoning.to_string(),
            "2 of 3 upstreams equal to the records; website at b: connection refused"
        );
    }
}
