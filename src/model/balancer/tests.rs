use proptest::prelude::*;

use super::*;

#[test]
fn a_balancer_is_one_line_of_json_in_the_contracts_order() {
    let balancer = Balancer {
        prefix: Prefix::default(),
        services: ["website".parse().unwrap()].into(),
        targets: ["http://10.0.0.1:8080/api".to_owned()].into(),
        routes: BTreeMap::new(),
        nonce: "n1".parse().unwrap(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let text = String::from_utf8(balancer.encode()).unwrap();
    let expected = concat!(
        r#"{"prefix":"/services","services":["website"],"targets":["http://10.0.0.1:8080/api"],"#,
        r#""nonce":"n1","since":"2026-01-02T03:04:05Z"}"#
    );
    assert_eq!(text, expected);
    assert_eq!(Balancer::decode(text.as_bytes()).unwrap(), balancer);
}

#[test]
fn what_goes_without_saying_is_not_told_and_the_rest_is_read_again() {
    let text = r#"{"prefix":"/p","services":["shop","web"],"targets":["a","b"],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    let plain = Balancer::decode(text.as_bytes()).unwrap();
    let set = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    let (shop, web): (ServiceName, ServiceName) = ("shop".parse().unwrap(), "web".parse().unwrap());
    assert_eq!(plain.feeds(&web), Some(set(&["a http/web", "b http/web"])));
    let fed = [
        (web.clone(), set(&["a http/web", "b http/web"])),
        (shop.clone(), set(&["a http/front versions=v1"])),
    ];
    let told = plain.clone().feeding(fed.into());
    assert_eq!(told.routes.keys().collect::<Vec<_>>(), [&shop]);
    let again = Balancer::decode(&told.encode()).unwrap();
    assert_eq!(again, told);
    assert_eq!(again.feeds(&shop), Some(set(&["a http/front versions=v1"])));
    let many = (0..MAX_LISTED + 9).map(|n| format!("a http/{n}")).collect();
    let told = plain.feeding([(shop.clone(), many)].into());
    assert_eq!(told.feeds(&shop), None, "not all of it is told");
}

#[test]
fn what_is_no_balancer_is_refused_with_a_reason() {
    for text in [
        "",
        "{}",
        r#"{"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        r#"{"prefix":"x","services":[],"targets":[],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        r#"{"prefix":"/x","services":[],"targets":[],"routes":[],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
        r#"{"prefix":"/x","services":{},"targets":[],"nonce":"n","since":"2026-01-02T03:04:05Z"}"#,
    ] {
        assert!(Balancer::decode(text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Balancer::decode(&bytes);
    }
}
