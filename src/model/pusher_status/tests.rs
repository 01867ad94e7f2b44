use proptest::prelude::*;

use super::*;

fn status_record() -> PusherStatus {
    let target = |errors: &[&str]| TargetStatus {
        ok: errors.is_empty(),
        errors: errors.iter().map(|text| (*text).to_owned()).collect(),
        upstreams: BTreeMap::new(),
    };
    let mut edge = target(&[]);
    let protected = Protected {
        server: "10.0.0.1:80".parse().unwrap(),
        why: "the last that takes traffic".to_owned(),
        until: None,
    };
    let upstream = UpstreamStatus {
        wanted: 3,
        has: Some(2),
        protected: vec![protected],
        protected_more: 0,
    };
    edge.upstreams.insert("website".to_owned(), upstream);
    let refused = ("nginx3".parse().unwrap(), "edge: no resolver".to_owned());
    let status = ServiceStatus {
        applied: 42,
        overrides: 7,
        not_routed: Reasons::of([refused]),
        still_routed: Reasons::default(),
        ..ServiceStatus::default()
    };
    PusherStatus {
        services: [("website".parse().unwrap(), status)].into(),
        targets: [
            ("edge".to_owned(), edge),
            ("other".to_owned(), target(&["website: no answer"])),
        ]
        .into(),
        releases: BTreeMap::new(),
        prefix: Some(Prefix::default()),
        nonce: "n1".parse().unwrap(),
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

#[test]
fn a_status_record_is_one_line_of_json_in_the_contracts_order() {
    let text = String::from_utf8(status_record().encode()).unwrap();
    let expected = concat!(
        r#"{"services":{"website":{"applied":42,"overrides":7,"#,
        r#""not_routed":{"nginx3":"edge: no resolver"},"still_routed":{}}},"#,
        r#""targets":{"edge":{"ok":true,"errors":[],"upstreams":{"website":{"wanted":3,"has":2,"#,
        r#""protected":[{"server":"10.0.0.1:80","why":"the last that takes traffic"}]}}},"#,
        r#""other":{"ok":false,"errors":["website: no answer"],"upstreams":{}}},"#,
        r#""prefix":"/services","nonce":"n1","since":"2026-01-02T03:04:05Z"}"#
    );
    assert_eq!(text, expected);
    assert_eq!(
        PusherStatus::decode(text.as_bytes()).unwrap(),
        status_record()
    );
}

#[test]
fn what_is_released_is_told_where_there_is_any() {
    let released = Released {
        nonce: "r1".parse().unwrap(),
        servers: Some(2),
    };
    let status_record = PusherStatus {
        releases: [("shop".to_owned(), released)].into(),
        ..status_record()
    };
    let text = String::from_utf8(status_record.encode()).unwrap();
    let expected = r#""releases":{"shop":{"nonce":"r1","servers":2}},"prefix""#;
    assert!(text.contains(expected), "{text}");
    assert_eq!(
        PusherStatus::decode(text.as_bytes()).unwrap(),
        status_record
    );
}

#[test]
fn releases_are_bounded_and_those_of_own_upstreams_come_first() {
    let released = |servers| Released {
        nonce: "r".parse().unwrap(),
        servers,
    };
    let foreign = (0..300).map(|number| (format!("a{number}"), released(None)));
    let own = [("website".to_owned(), released(Some(0)))];
    let status_record = PusherStatus {
        releases: foreign.chain(own).collect(),
        ..status_record()
    };
    let text = status_record.encode();
    let read: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(read["releases_more"], 45);
    let read = PusherStatus::decode(&text).unwrap();
    assert_eq!(read.releases.len(), MAX_LISTED);
    assert_eq!(read.releases["website"], released(Some(0)));
}

#[test]
fn what_is_wrong_about_the_protected_and_released_is_left_out_and_harms_nothing_else() {
    for wrong in [
        "1",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":{"protected":[1,{},{"server":"; }","why":"w"}]}}"#,
    ] {
        let text = format!(
            r#"{{"targets":{{"t":{{"upstreams":{wrong}}}}},"releases":{wrong},"nonce":"n","since":"2026-01-02T03:04:05Z"}}"#
        );
        let read = PusherStatus::decode(text.as_bytes()).unwrap();
        let mut upstreams = read.targets["t"].upstreams.values();
        assert!(upstreams.all(|upstream| upstream.protected.is_empty()));
        assert!(read.releases.is_empty());
    }
}

#[test]
fn unknown_fields_and_impossible_names_are_ignored() {
    let text =
        br#"{"x":1,"services":{"a":{"applied":1},"b/c":{}},"nonce":"n","since":"2026-01-02T03:04:05Z"}"#;
    let read = PusherStatus::decode(text).unwrap();
    assert_eq!(read.services.len(), 1);
    assert!(read.targets.is_empty());
}

#[test]
fn what_is_no_status_record_is_refused_with_a_reason() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"nonce":"n"}"#,
        r#"{"nonce":"n","since":"now"}"#,
        r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":{"a":{"applied":-1}}}"#,
        r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":{"a":1}}"#,
        r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","prefix":"services"}"#,
        r#"{"nonce":"n","since":"2026-01-02T03:04:05Z","services":[]}"#,
    ] {
        assert!(PusherStatus::decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn lists_are_bounded_and_what_is_not_listed_is_unknown() {
    let instance = |number: usize| (format!("i{number:03}").parse().unwrap(), "no".to_owned());
    let all = Reasons::of((0..MAX_LISTED + 2).map(instance));
    assert_eq!((all.listed.len(), all.more), (MAX_LISTED, 2));
    let status = ServiceStatus {
        not_routed: all,
        stopped: [("edge".to_owned(), "connection refused".to_owned())].into(),
        ..ServiceStatus::default()
    };
    assert_eq!(status.routes(&"i000".parse().unwrap()), Routes::No("no"));
    assert_eq!(status.routes(&"other".parse().unwrap()), Routes::Unknown);
    let read = serde_json::to_value(&status).unwrap();
    assert_eq!(ServiceStatus::decode(&read).unwrap(), status);
    let none = ServiceStatus::default();
    assert_eq!(none.routes(&"other".parse().unwrap()), Routes::Yes);
}

#[test]
fn who_is_held_or_weightless_is_told_from_who_is_refused() {
    let reason = |name: &str, why: &str| (name.parse().unwrap(), why.to_owned());
    let status = ServiceStatus {
        not_routed: Reasons::of([
            reason("held", "held: maintenance"),
            reason("split", "weightless: the split gives v1 nothing"),
            reason("refused", "edge: no resolver"),
        ]),
        ..ServiceStatus::default()
    };
    let routes = |name: &str| status.routes(&name.parse().unwrap());
    assert_eq!(routes("held"), Routes::Withheld("held: maintenance"));
    assert!(matches!(routes("split"), Routes::Withheld(_)));
    assert_eq!(routes("refused"), Routes::No("edge: no resolver"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = PusherStatus::decode(&bytes);
    }
}
