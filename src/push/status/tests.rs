use super::*;
use crate::push::reconcile::Verdict;
use crate::upstream::instances::Placed;

fn overview(rows: &[(&str, &str)]) -> Status {
    let row = |(target, service): &(&str, &str)| Row {
        target: (*target).into(),
        identity: "http://10.0.0.1/api".into(),
        upstream: (*service).to_owned(),
        service: service.parse().unwrap(),
        status: reconcile::UpstreamStatus::default(),
    };
    Status(rows.iter().map(row).enumerate().collect())
}

fn confirmed(confirmed: i64) -> reconcile::UpstreamStatus {
    reconcile::UpstreamStatus {
        confirmed,
        ..reconcile::UpstreamStatus::default()
    }
}

fn refusing() -> reconcile::UpstreamStatus {
    reconcile::UpstreamStatus {
        confirmed: 0,
        overrides: 0,
        routing: false,
        errors: vec!["connection refused".into()],
        ..reconcile::UpstreamStatus::default()
    }
}

fn update(overview: &mut Status, number: usize, status: reconcile::UpstreamStatus) {
    overview.update(number, status, |_| vec![]);
}

fn services(overview: &Status) -> Vec<(String, i64)> {
    let services = overview.services().into_iter();
    services
        .map(|(name, status)| (name.to_string(), status.applied))
        .collect()
}

#[test]
fn a_service_stands_where_its_slowest_target_stands() {
    let mut overview = overview(&[("a", "website"), ("b", "website"), ("a", "shop")]);
    assert_eq!(
        services(&overview),
        [("shop".to_owned(), 0), ("website".to_owned(), 0)]
    );
    update(&mut overview, 0, confirmed(9));
    update(&mut overview, 2, confirmed(4));
    assert_eq!(
        services(&overview),
        [("shop".to_owned(), 4), ("website".to_owned(), 0)]
    );
    update(&mut overview, 1, confirmed(7));
    assert_eq!(
        services(&overview),
        [("shop".to_owned(), 4), ("website".to_owned(), 7)]
    );
}

#[test]
fn a_target_that_refuses_connections_holds_nothing_back() {
    let mut overview = overview(&[("a", "website"), ("b", "website")]);
    update(&mut overview, 0, confirmed(9));
    update(&mut overview, 1, refusing());
    assert_eq!(services(&overview), [("website".to_owned(), 9)]);
    let all = overview.services();
    let stopped = all.values().flat_map(|status| status.stopped.keys());
    assert_eq!(
        stopped.collect::<Vec<_>>(),
        ["b"],
        "it may listen elsewhere"
    );
    update(&mut overview, 0, refusing());
    let all = overview.services();
    let idle: Vec<_> = all.values().map(|status| status.idle).collect();
    assert_eq!(idle, [true], "nobody routes it, and that is told");
}

#[test]
fn a_target_that_answers_wrongly_holds_back() {
    let mut overview = overview(&[("a", "website"), ("b", "website")]);
    update(&mut overview, 0, confirmed(9));
    let errors = vec!["HTTP 500".into()];
    let status = reconcile::UpstreamStatus {
        errors,
        ..confirmed(3)
    };
    update(&mut overview, 1, status);
    assert_eq!(services(&overview), [("website".to_owned(), 3)]);
}

#[test]
fn targets_tell_how_they_do() {
    let mut overview = overview(&[("a", "website"), ("a", "shop"), ("b", "website")]);
    let health = |overview: &Status, target: &str| overview.targets(|_| vec![])[target].clone();
    assert!(!health(&overview, "a").ok);
    update(&mut overview, 0, confirmed(9));
    update(&mut overview, 1, confirmed(9));
    update(&mut overview, 2, refusing());
    let well = health(&overview, "a");
    assert!(well.ok && well.errors.is_empty());
    assert_eq!(well.upstreams.len(), 2);
    let refused = health(&overview, "b");
    assert!(!refused.ok);
    assert_eq!(refused.errors, ["website: connection refused"]);
    assert_eq!(
        overview.to_string(),
        "2 of 3 upstreams equal to the records; website at b: connection refused"
    );
}

fn with(verdict: Verdict) -> reconcile::UpstreamStatus {
    reconcile::UpstreamStatus {
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
    let mut overview = overview(&[("a", "website"), ("b", "website"), ("c", "shop")]);
    let refused = Verdict {
        refused: reasons("i1", "no resolver"),
        ..Verdict::default()
    };
    let kept = Verdict {
        still_routed: reasons("i2", "min_servers protects it"),
        ..Verdict::default()
    };
    update(&mut overview, 0, with(refused));
    update(&mut overview, 1, with(kept));
    update(&mut overview, 2, confirmed(9));
    let services = overview.services();
    let website = &services["website"];
    assert_eq!(website.applied, 9);
    assert_eq!(told(&website.not_routed), ["i1: a: no resolver"]);
    assert_eq!(
        told(&website.still_routed),
        ["i2: b: min_servers protects it"]
    );
    assert!(services["shop"].not_routed.is_empty());
    update(&mut overview, 0, refusing());
    assert!(overview.services()["website"].not_routed.is_empty());
}

#[test]
fn as_many_are_listed_as_there_is_room_for_refusals_first_and_the_rest_is_counted() {
    let mut overview = overview(&[("a", "website")]);
    let many = |kind: &str, count: usize| {
        let names = (0..count).map(|number| format!("{kind}{number:03}"));
        let reasons = names.map(|name| (name.parse().unwrap(), format!("{kind}: no")));
        reasons.collect::<Vec<_>>()
    };
    let verdict = Verdict {
        refused: many("refused", 200),
        // Their names come first.
        withheld: many("held", 100),
        still_routed: many("kept", 300),
        ..Verdict::default()
    };
    update(&mut overview, 0, with(verdict));
    let status = &overview.services()["website"];
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
    let mut overview = overview(&[("a", "website"), ("b", "website")]);
    let nothing = || Verdict {
        withheld: reasons("i1", "weightless: the split gives it nothing"),
        ..Verdict::default()
    };
    update(&mut overview, 0, with(nothing()));
    update(&mut overview, 1, with(nothing()));
    let status = &overview.services()["website"];
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
    update(&mut overview, 1, with(takes));
    assert!(overview.services()["website"].not_routed.is_empty());
}

#[test]
fn whose_hand_undoes_a_change_is_told_as_far_as_it_can_be_known() {
    let mut overview = overview(&[("a", "website")]);
    let contested = reconcile::UpstreamStatus {
        contested: Some((3, std::time::Duration::from_secs(60))),
        ..confirmed(9)
    };
    update(&mut overview, 0, contested);
    let (one, other) = ("edge-2".parse().unwrap(), "edge-3".parse().unwrap());
    let told = |ids: Vec<&PusherId>| {
        let target = overview.targets(|_| ids.clone()).remove("a").unwrap();
        assert!(!target.ok);
        target.errors.join("; ")
    };
    assert!(told(vec![]).contains("no other pusher feeds this target"));
    assert!(told(vec![&one]).contains("probably pusher edge-2,"));
    assert!(told(vec![&one, &other]).contains("one of the pushers edge-2, edge-3,"));
}
