use std::collections::BTreeMap;
use std::num::NonZeroU16;

use super::*;
use crate::target::Progress;
use crate::upstream::instances::Placed;
use crate::upstream::protection::{Reason, Spare};
use crate::upstream::server::{Origin, Parameters, Server};

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

fn desired(instances: &[(&str, &str, Option<Out>)]) -> Desired {
    let mut desired = Desired::at(1, &BTreeMap::new());
    let mut placed = Instances::new();
    for (name, endpoint, out) in instances {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let server = Server {
            weight: NonZeroU16::MIN,
            state: State::Up,
            parameters: Parameters::default(),
        };
        if out.is_none() {
            desired.servers.insert(endpoint.clone(), server);
        }
        let origin = Arc::new(Origin::named(name.parse().unwrap()));
        desired.origins.entry(endpoint.clone()).or_insert(origin);
        let out = out.clone();
        placed.insert(name.parse().unwrap(), Placed { endpoint, out });
    }
    desired.instances = Arc::new(placed);
    desired
}

fn read(serving: &[&str], missing: &[(&str, &str)]) -> Outcome {
    let serving = serving.iter().map(|endpoint| endpoint.parse().unwrap());
    let missing = missing.iter();
    let missing = missing.map(|(endpoint, why)| (endpoint.parse().unwrap(), (*why).to_owned()));
    Outcome {
        serving: Some(serving.collect()),
        missing: missing.collect(),
        ..Outcome::new(Progress::Converged)
    }
}

fn told(list: &[(InstanceName, String)]) -> Vec<String> {
    let told = list.iter().map(|(name, why)| format!("{name}: {why}"));
    told.collect()
}

#[test]
fn who_is_refused_is_told_with_the_targets_reason() {
    let wanted = desired(&[("a", A, None), ("b", B, None)]);
    let verdict = Verdict::of(&wanted, &read(&[A], &[(B, "no resolver")]));
    assert_eq!(told(&verdict.refused), ["b: no resolver"]);
    assert!(verdict.still_routed.is_empty() && verdict.withheld.is_empty());
    // A weight that cannot be set keeps nobody from taking traffic.
    let verdict = Verdict::of(&wanted, &read(&[A, B], &[(B, "no such weight")]));
    assert!(verdict.refused.is_empty());
    let unread = Outcome {
        serving: None,
        ..read(&[], &[(B, "no address")])
    };
    assert_eq!(
        told(&Verdict::of(&wanted, &unread).refused),
        ["b: no address"]
    );
    assert_eq!(serving(&wanted, &unread).len(), 1);
}

#[test]
fn who_is_held_or_weightless_is_told_apart_from_who_leaves() {
    let nothing = || {
        Some(Out::Weightless(
            "the split gives version v1 nothing".to_owned(),
        ))
    };
    let wanted = desired(&[
        ("a", A, nothing()),
        ("b", B, Some(Out::Held("maintenance".to_owned()))),
        ("c", "10.0.0.3:80", Some(Out::Leaving)),
    ]);
    let verdict = Verdict::of(&wanted, &read(&[], &[]));
    assert_eq!(
        told(&verdict.withheld),
        [
            "a: weightless: the split gives version v1 nothing",
            "b: held: maintenance"
        ]
    );
    assert!(verdict.refused.is_empty() && verdict.still_routed.is_empty());
}

#[test]
fn who_leaves_and_takes_traffic_all_the_same_is_told_with_the_reason() {
    let wanted = desired(&[
        ("new", A, None),
        ("old", A, Some(Out::Leaving)),
        ("last", B, Some(Out::Leaving)),
    ]);
    let verdict = Verdict::of(&wanted, &read(&[A, B], &[]));
    assert_eq!(
        told(&verdict.still_routed),
        [
            "last: min_servers protects it: too few others take traffic",
            "old: the record of new has the same address 10.0.0.1:80"
        ]
    );
    let mut wanted = desired(&[("a", A, None)]);
    let gone = Arc::new(Origin::named("gone".parse().unwrap()));
    wanted.origins.insert(B.parse().unwrap(), gone);
    assert_eq!(Verdict::of(&wanted, &read(&[A], &[])).still_routed, []);
    assert_eq!(
        told(&Verdict::of(&wanted, &read(&[A, B], &[])).still_routed),
        ["gone: its record is gone, but 10.0.0.2:80 is protected for now"]
    );
}

#[test]
fn a_server_that_serves_is_not_refused_though_a_change_of_it_is() {
    let read = read(&[A], &[(A, "no such weight"), (B, "no resolver")]);
    let seen = seen(&desired(&[]), &read);
    assert_eq!(*seen.refused, [B.parse().unwrap()].into());
    assert_eq!(*seen.serving.unwrap(), [A.parse().unwrap()].into());
}

#[test]
fn a_protected_server_is_wanted_only_where_it_stays() {
    let mut protected = desired(&[("a", A, None), ("b", B, None)]);
    let spare = Spare {
        server: protected.servers[&B.parse().unwrap()],
        recorded: None,
        reason: Reason::Gone,
        guarded: false,
    };
    let spares = &mut protected.protection.spares;
    spares.insert(B.parse().unwrap(), spare);
    let wants = |there: &[&str]| wanted(&protected, &serving(&protected, &read(there, &[])));
    assert_eq!((wants(&[A, B]), wants(&[A]), wants(&[B])), (2, 1, 2));
}
