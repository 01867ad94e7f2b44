use super::*;

fn pusher(id: &str) -> Pusher {
    Pusher {
        id: id.to_owned(),
        status_record: Err(Reason::Missing("nonce")),
        raw: Map::new(),
        lags: BTreeMap::new(),
    }
}

fn balancer(prefix: &str, targets: &[&str]) -> Balancer {
    Balancer {
        prefix: prefix.parse().unwrap(),
        services: ["web".parse().unwrap()].into(),
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        routes: BTreeMap::new(),
        nonce: "n".parse().unwrap(),
        since: Timestamp::UNIX_EPOCH,
    }
}

fn balancers(all: &[(&str, Balancer)]) -> BTreeMap<PusherId, Balancer> {
    let one = |(id, it): &(&str, Balancer)| (id.parse().unwrap(), it.clone());
    all.iter().map(one).collect()
}

#[test]
fn a_load_balancer_without_a_live_pusher_is_silent_unless_others_feed_all_of_it() {
    let all = balancers(&[
        ("new", balancer("/services", &["t1"])),
        ("renamed", balancer("/services", &["t1"])),
        ("gone", balancer("/services", &["t1", "t2"])),
    ]);
    let silent = silent(&[pusher("new")], all);
    let fed_by = |id: &str| {
        let found = silent.iter().find(|(name, _)| name.as_str() == id);
        found.map(|(_, it)| it.fed_by.clone())
    };
    assert_eq!(fed_by("new"), None);
    assert_eq!(fed_by("renamed"), Some(vec!["new".to_owned()]));
    assert_eq!(fed_by("gone"), Some(Vec::new()));
}

#[test]
fn two_live_pushers_of_one_target_with_different_prefixes_are_a_conflict() {
    let all = balancers(&[
        ("a", balancer("/services", &["t1", "t2"])),
        ("b", balancer("/staging", &["t1"])),
        ("c", balancer("/services", &["t2"])),
    ]);
    let found = conflicts(&[pusher("a"), pusher("b"), pusher("c")], &all);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].target, "t1");
    assert_eq!(found[0].pushers[1], ("b".to_owned(), "/staging".to_owned()));
    assert_eq!(conflicts(&[pusher("a"), pusher("c")], &all), []);
}
