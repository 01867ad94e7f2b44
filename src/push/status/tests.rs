use super::*;
use crate::push::reconcile::Verdict;
use crate::upstream::desired::Placed;

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
    assert_eq!(status.routes(&unlisted), crate::model::Routes::Unknown);
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
