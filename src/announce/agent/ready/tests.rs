use super::*;

fn web() -> ServiceName {
    "web".parse().unwrap()
}

fn routed(by: &[&str], not_by: &[&str], unknown: &[&str]) -> Routed {
    let set = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let mut all = Routed::default();
    all.applied.by = set(by);
    all.applied.not_by = set(not_by);
    all.applied.unknown = set(unknown);
    all
}

fn obstacle(pusher: &str, reason: &str) -> Obstacle {
    Obstacle {
        pusher: pusher.parse().unwrap(),
        reason: reason.to_owned(),
    }
}

#[test]
fn a_start_is_over_when_every_pusher_routes_the_instance() {
    assert_eq!(
        judge(&web(), &routed(&["a", "b"], &[], &[]), false),
        Ok(None)
    );
    for waiting in [
        routed(&[], &[], &[]),
        routed(&["a"], &["b"], &[]),
        routed(&["a"], &[], &["b"]),
    ] {
        assert!(judge(&web(), &waiting, false).is_err(), "{waiting:?}");
    }
}

#[test]
fn a_silent_load_balancer_is_waited_for_only_so_long_and_then_named() {
    let all = judge(&web(), &routed(&["a"], &[], &["b"]), true);
    assert!(all.unwrap().unwrap().contains("pusher b is silent"));
    let nobody = judge(&web(), &routed(&[], &[], &["b"]), true).unwrap_err();
    assert!(nobody.words.contains("no live pusher"), "{nobody:?}");
    assert!(judge(&web(), &routed(&["a"], &["c"], &["b"]), true).is_err());
}

#[test]
fn a_refused_instance_is_waited_for_and_a_held_one_is_not() {
    let mut all = routed(&["a"], &[], &[]);
    all.withheld.push(obstacle("a", "held: disk full"));
    let although = judge(&web(), &all, false).unwrap().unwrap();
    assert_eq!(although, "a does not route it: held: disk full");
    all.refused.push(obstacle("a", "edge: no resolver"));
    let why = judge(&web(), &all, true).unwrap_err();
    assert!(why.is_refused);
    assert_eq!(why.words, "a does not route it: edge: no resolver");
}
