use super::*;

fn at(number: u8) -> Endpoint {
    format!("10.0.0.{number}:80").parse().unwrap()
}

fn set(numbers: &[u8]) -> Arc<BTreeSet<Endpoint>> {
    Arc::new(numbers.iter().map(|number| at(*number)).collect())
}

fn seen(refused: &[u8], serving: &[u8]) -> Seen {
    Seen {
        refused: set(refused),
        serving: Some(set(serving)),
        current: true,
    }
}

#[test]
fn what_one_target_refuses_is_refused_and_what_all_have_is_confirmed() {
    let mut all = Sightings::default();
    assert!(all.confirm(&at(1)) && !all.refuses(&at(1)) && !all.refuse_all(&at(1)));
    assert!(all.update(0, seen(&[1], &[2])));
    assert!(!all.update(0, seen(&[1], &[2])), "no news");
    assert!(all.refuses(&at(1)) && all.refuse_all(&at(1)) && !all.confirm(&at(1)));
    all.update(1, seen(&[], &[1]));
    assert!(all.refuses(&at(1)) && !all.refuse_all(&at(1)));
    assert!(!all.confirm(&at(2)) && all.is_served(&at(2)) && !all.is_served(&at(3)));
    all.update(1, seen(&[], &[1, 2]));
    assert!(all.confirm(&at(2)));
    assert!(all.keep_only(&[1].into()));
    assert!(all.confirm(&at(1)), "who refused it is gone");
}

#[test]
fn a_target_in_trouble_keeps_its_refusals_and_holds_no_other_up() {
    let mut all = Sightings::default();
    let troubled = Seen {
        current: false,
        ..seen(&[1], &[])
    };
    all.update(0, troubled);
    all.update(1, seen(&[], &[2]));
    assert!(all.refuses(&at(1)) && !all.confirm_now(&at(1)));
    assert!(all.confirm_now(&at(2)) && !all.confirm(&at(2)));
}

#[test]
fn refusals_outlive_an_exchange_of_those_who_tell_until_all_have_told() {
    let mut all = Sightings::default();
    all.update(0, seen(&[1], &[]));
    let mut all = all.inherit();
    all.keep_only(&[7, 8].into());
    assert!(all.refuses(&at(1)) && all.refuse_all(&at(1)));
    all.update(7, seen(&[], &[1]));
    assert!(!all.keep_only(&[7, 8].into()) && all.refuses(&at(1)));
    all.update(8, seen(&[], &[1]));
    assert!(all.keep_only(&[7, 8].into()) && all.confirm(&at(1)));
}
