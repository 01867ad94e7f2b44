use super::*;

fn named(nonce: &str, mod_revision: i64, lease: i64) -> Entry {
    Entry {
        key: b"/services/a/b".to_vec(),
        value: format!(r#"{{"host":"10.0.0.1","port":1,"nonce":"{nonce}"}}"#).into_bytes(),
        mod_revision,
        lease,
    }
}

fn plain(mod_revision: i64, lease: i64) -> Entry {
    Entry {
        value: b"10.0.0.1:1".to_vec(),
        ..named("", mod_revision, lease)
    }
}

fn us() -> (Claim, Entry) {
    let mut claim = Claim::new(
        "us".parse().unwrap(),
        Past::default(),
        BEGAN.parse().unwrap(),
    );
    claim.leased(7);
    (claim, named("us", 10, 7))
}

const BEGAN: &str = "2026-01-02T00:00:00Z";

fn since(since: &str, mod_revision: i64) -> Entry {
    let value = format!(r#"{{"host":"10.0.0.1","port":1,"nonce":"other","since":"{since}"}}"#);
    Entry {
        value: value.into_bytes(),
        ..named("", mod_revision, 3)
    }
}

fn decide(claim: &mut Claim, seen: Option<&Entry>) -> Move {
    let wanted = named("us", 0, 0).value;
    claim.decide(seen, &wanted, 7)
}

fn write(unless_changed_since: i64) -> Move {
    Move::Write {
        unless_changed_since,
    }
}

#[test]
fn an_absent_key_is_created_and_our_own_is_left_as_it_is() {
    let (mut claim, ours) = us();
    assert_eq!(decide(&mut claim, None), write(0));
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
}

#[test]
fn a_key_of_ours_with_another_value_or_lease_is_rewritten() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    let stale_lease = Entry { lease: 3, ..ours };
    assert_eq!(decide(&mut claim, Some(&stale_lease)), write(10));
    let draining = named("us", 11, 7);
    assert_eq!(claim.decide(Some(&draining), b"other", 7), write(11));
}

#[test]
fn the_first_claim_takes_over_from_a_predecessor_also_when_its_outcome_is_unknown() {
    let (mut claim, _) = us();
    let ghost = named("ghost", 5, 1);
    assert_eq!(decide(&mut claim, Some(&ghost)), write(5));
    claim.attempting(Some(&ghost));
    assert_eq!(decide(&mut claim, Some(&ghost)), write(5));
    let ghost_again = named("ghost", 6, 1);
    assert_eq!(decide(&mut claim, Some(&ghost_again)), write(6));
}

#[test]
fn who_has_taken_over_is_named_with_its_address_and_time() {
    let (mut claim, _) = us();
    claim.attempting(None);
    let named = Entry {
        value: br#"{"host":"10.0.0.9","port":80,"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#
            .to_vec(),
        ..named("", 5, 9)
    };
    assert_eq!(
        claim.successor(&named).unwrap(),
        "another announcer at 10.0.0.9:80 since 2026-01-02T03:04:05Z (nonce n2)"
    );
    let status = r#"{"services":{},"targets":{"edge":{"ok":true}},"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#;
    let balancer =
        r#"{"services":[],"targets":["edge"],"nonce":"n2","since":"2026-01-02T03:04:05Z"}"#;
    for value in [status, balancer] {
        let pusher = Entry {
            value: value.as_bytes().to_vec(),
            ..named.clone()
        };
        assert_eq!(
            claim.successor(&pusher).unwrap(),
            "another pusher of edge since 2026-01-02T03:04:05Z (nonce n2)"
        );
    }
    let looping = claim.successor(&plain(5, 0xabc)).unwrap();
    assert!(
        looping.contains("lease abc") && looping.contains("etcdctl put --lease"),
        "{looping}"
    );
}

#[test]
fn a_new_name_after_our_claim_is_a_successor() {
    for predecessor in [None, Some(named("ghost", 5, 1))] {
        let (mut claim, _) = us();
        claim.attempting(predecessor.as_ref());
        let successor = named("next", 20, 9);
        assert!(matches!(
            decide(&mut claim, Some(&successor)),
            Move::Yield { .. }
        ));
    }
}

#[test]
fn a_predecessor_that_writes_after_our_confirmed_claim_counts_as_newer() {
    let (mut claim, ours) = us();
    let ghost = named("ghost", 5, 1);
    claim.attempting(Some(&ghost));
    decide(&mut claim, Some(&ours));
    let again = named("ghost", 30, 1);
    assert!(matches!(
        decide(&mut claim, Some(&again)),
        Move::Yield { .. }
    ));
}

#[test]
fn plain_values_are_told_apart_by_their_lease() {
    let (mut claim, _) = us();
    claim.attempting(None);
    assert_eq!(
        claim.decide(Some(&plain(4, 7)), b"10.0.0.1:1", 7),
        Move::Done { revision: 4 }
    );
    assert!(matches!(
        claim.decide(Some(&plain(5, 8)), b"10.0.0.1:1", 7),
        Move::Yield { .. }
    ));
}

#[test]
fn the_next_image_of_a_process_goes_on_and_knows_its_successors() {
    let ours = named("us", 10, 7);
    let mut claim = {
        let past = Past {
            leases: vec![7],
            attempted: true,
            ..Past::default()
        };
        Claim::new("us".parse().unwrap(), past, BEGAN.parse().unwrap())
    };
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    let successor = named("next", 20, 9);
    let yields = matches!(decide(&mut claim, Some(&successor)), Move::Yield { .. });
    assert!(yields);
}

#[test]
fn a_value_written_by_hand_without_a_lease_is_healed() {
    let (mut claim, _) = us();
    claim.attempting(None);
    let scribble = Entry {
        value: b"oops".to_vec(),
        ..plain(9, 0)
    };
    assert_eq!(decide(&mut claim, Some(&scribble)), write(9));
}

#[test]
fn a_record_of_the_past_that_a_restored_etcd_brings_back_deposes_nobody() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    for past in [
        named("ghost", 5, 3),
        since("2026-01-01T00:00:00Z", 9),
        plain(5, 3),
    ] {
        assert_eq!(claim.successor(&past), None, "{past:?}");
        assert_eq!(decide(&mut claim, Some(&past)), write(past.mod_revision));
    }
    // What comes after the restored state is a successor.
    claim.attempting(Some(&named("ghost", 5, 3)));
    assert_eq!(
        decide(&mut claim, Some(&named("us", 6, 7))),
        Move::Done { revision: 6 }
    );
    let next = named("next", 7, 3);
    assert!(matches!(
        decide(&mut claim, Some(&next)),
        Move::Yield { .. }
    ));
}

#[test]
fn once_the_lease_is_lost_who_began_earlier_is_the_past_at_any_revision() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    let (older, newer) = (
        since("2026-01-01T00:00:00Z", 99),
        since("2026-01-03T00:00:00Z", 99),
    );
    assert!(
        claim.successor(&older).is_some(),
        "no clock decides while the lease lives"
    );
    claim.lost_lease();
    assert_eq!(claim.successor(&older), None);
    assert!(claim.successor(&newer).is_some());
    assert!(claim.successor(&plain(99, 3)).is_some());
    // With a new lease of its own all begins anew.
    assert_eq!(
        decide(&mut claim, Some(&named("us", 100, 7))),
        Move::Done { revision: 100 }
    );
    assert!(
        claim
            .successor(&since("2026-01-01T00:00:00Z", 101))
            .is_some()
    );
}

#[test]
fn while_the_lease_lives_a_clock_decides_only_below_our_own_revision() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    let is_successor = |seen: &Entry| claim.successor(seen).is_some();
    let (before, same, after) = (
        "2026-01-01T23:59:59Z",
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:00:01Z",
    );
    for (began, at_9) in [(before, false), (same, false), (after, true)] {
        assert_eq!(is_successor(&since(began, 9)), at_9, "{began}");
        for revision in [10, 11] {
            let seen = since(began, revision);
            assert!(is_successor(&seen), "{began} at {revision}");
        }
    }
}

#[test]
fn a_key_that_names_no_time_is_of_the_past_below_our_own_revision_only() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    for is_lost in [false, true] {
        if is_lost {
            claim.lost_lease();
        }
        for (revision, successor) in [(9, false), (10, true), (11, true)] {
            for seen in [
                named("other", revision, 3),
                plain(revision, 3),
                since("soon", revision),
            ] {
                assert_eq!(claim.successor(&seen).is_some(), successor, "{seen:?}");
            }
        }
    }
}

#[test]
fn who_never_had_the_key_calls_nothing_past() {
    let (mut claim, _) = us();
    claim.attempting(None);
    for seen in [named("other", 1, 3), since("2020-01-01T00:00:00Z", 1)] {
        assert!(claim.successor(&seen).is_some(), "{seen:?}");
    }
}

#[test]
fn a_newer_claimant_in_a_restored_etcd_is_a_successor() {
    let (mut claim, ours) = us();
    claim.attempting(None);
    assert_eq!(decide(&mut claim, Some(&ours)), Move::Done { revision: 10 });
    let newer = since("2026-01-02T00:00:01Z", 9);
    assert!(matches!(
        decide(&mut claim, Some(&newer)),
        Move::Yield { .. }
    ));
}

#[test]
fn a_process_that_was_started_anew_while_its_lease_was_lost_is_no_newer_than_it_was() {
    let past = Past {
        leases: vec![7],
        attempted: true,
        confirmed: 10,
        lost: true,
        began: Some(BEGAN.parse().unwrap()),
    };
    let now = "2026-01-03T00:00:00Z".parse().unwrap();
    let mut claim = Claim::new("us".parse().unwrap(), past, now);
    let successor = since("2026-01-02T12:00:00Z", 20);
    let moved = decide(&mut claim, Some(&successor));
    assert!(matches!(moved, Move::Yield { .. }), "{moved:?}");
}
