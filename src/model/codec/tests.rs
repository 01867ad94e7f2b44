use proptest::prelude::*;
use proptest::{collection, option};

use super::*;
use crate::model::{Prefix, Quarantined, claimant, decode};

fn read(value: &str) -> Record {
    decode(
        &Prefix::default(),
        b"/services/website/nginx1",
        value.as_bytes(),
    )
    .unwrap()
    .1
}

fn refused(value: impl AsRef<[u8]>) -> String {
    let read = decode(
        &Prefix::default(),
        b"/services/website/nginx1",
        value.as_ref(),
    );
    let Quarantined {
        key,
        service,
        reason,
        ..
    } = read.unwrap_err();
    assert_eq!(key, "/services/website/nginx1");
    assert_eq!(service.unwrap().as_str(), "website");
    reason.to_string()
}

#[test]
fn the_coreos_units_value_is_read() {
    let record = read(r#"{ "host": "core-01", "port": 8080, "version": "52c7248a14" }"#);
    assert_eq!(record.address().to_string(), "core-01:8080/52c7248a14");
    assert_eq!(record.state, State::Up);
    assert_eq!(record.effective_weight(), 1);
}

#[test]
fn a_full_record_is_written_in_the_tables_order_and_keeps_unknown_fields() {
    let text = concat!(
        r#"{"host":"2001:db8::5","port":8080,"version":"v1","state":"draining","weight":5,"tags":["a","b"],"#,
        r#""meta":{"zone":"b"},"protocol":"udp","nonce":"n1","since":"2026-01-02T03:04:05Z","az":{"x":[1,null]},"rack":7}"#
    );
    let record = read(text);
    assert_eq!(
        String::from_utf8(record.encode(Format::Json)).unwrap(),
        text
    );
    let drained = read(r#"{"rack":7,"port":1,"host":"a"}"#).with_state(State::Down);
    assert_eq!(
        drained.encode(Format::Json),
        br#"{"host":"a","port":1,"state":"down","rack":7}"#
    );
}

#[test]
fn the_manual_names_every_field() {
    const PAGE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/cli/commands/manual/sidekick-records.5"
    ));
    for field in FIELDS {
        assert!(PAGE.contains(&format!(".TP\n\\fB{field}\\fR")), "{field}");
    }
}

#[test]
fn the_reason_of_a_state_is_written_after_it_and_goes_with_it() {
    let up = read(r#"{"host":"a","port":1,"nonce":"n1"}"#);
    let down = up.with_state(State::Down).because("GET /health: 503");
    assert_eq!(
        down.encode(Format::Json),
        br#"{"host":"a","port":1,"state":"down","nonce":"n1","reason":"GET /health: 503"}"#
    );
    assert_eq!(down.with_state(State::Up), up);
}

#[test]
fn a_reason_is_cut_to_200_characters_when_it_is_written_and_when_it_is_read() {
    let long = "x".repeat(900);
    let written = read(r#"{"host":"a","port":1}"#).because(&long);
    let seen = read(&format!(r#"{{"host":"a","port":1,"reason":"{long}"}}"#));
    for record in [written, seen] {
        assert_eq!(record.reason.unwrap().chars().count(), 200);
    }
    let escaped = read(r#"{"host":"a","port":1}"#).because("a\nb\u{1b}");
    assert_eq!(escaped.reason.as_deref(), Some("a\\x0ab\\x1b"));
}

#[test]
fn defaults_are_left_out() {
    let text =
        r#"{"host":"a","port":1,"state":"up","protocol":"tcp","tags":[],"meta":{},"version":null}"#;
    assert_eq!(read(text).encode(Format::Json), br#"{"host":"a","port":1}"#);
}

#[test]
fn a_port_may_be_a_string_of_digits() {
    for port in ["\"8080\"", "8080", "\"08080\"", "\" 8080 \""] {
        let record = read(&format!(r#"{{"host":"a","port":{port}}}"#));
        assert_eq!(record.endpoint.port.get(), 8080);
    }
    for port in [
        "0",
        "65536",
        "-1",
        "80.0",
        "1e3",
        "\"\"",
        "\"+80\"",
        "\"8 0\"",
        "true",
        "[80]",
        "99999999999999999999",
    ] {
        let reason = refused(format!(r#"{{"host":"a","port":{port}}}"#));
        assert!(reason.contains("\"port\""), "{port}: {reason}");
    }
}

#[test]
fn weights_go_from_0_to_65535() {
    for weight in [0, 1, 65535] {
        let record = read(&format!(r#"{{"host":"a","port":1,"weight":{weight}}}"#));
        assert_eq!(record.effective_weight(), weight);
    }
    for weight in ["65536", "-1", "1.5", "\"5\""] {
        assert!(
            refused(format!(r#"{{"host":"a","port":1,"weight":{weight}}}"#)).contains("\"weight\"")
        );
    }
}

#[test]
fn every_wrong_field_is_named_in_the_reason() {
    for (field, value) in [
        ("host", "5"),
        ("version", "\"a b\""),
        ("version", "7"),
        ("state", "\"sleeping\""),
        ("tags", "\"a\""),
        ("tags", "[1]"),
        ("meta", "{\"a\":1}"),
        ("protocol", "\"sctp\""),
        ("nonce", "\"\""),
        ("since", "\"now\""),
    ] {
        let text = format!(r#"{{"host":"a","port":1,"{field}":{value}}}"#);
        let reason = refused(&text);
        assert!(reason.contains(&format!("\"{field}\"")), "{text}: {reason}");
    }
    assert_eq!(refused(r#"{"port":1}"#), "the field \"host\" is missing");
    assert_eq!(
        refused(r#"{"host":"a","port":null}"#),
        "the field \"port\" is missing"
    );
}

#[test]
fn the_last_of_two_equal_fields_counts() {
    assert_eq!(
        read(r#"{"host":"a","host":"b","port":1}"#)
            .endpoint
            .to_string(),
        "b:1"
    );
}

#[test]
fn a_plain_value_is_read_with_space_around_it() {
    assert_eq!(
        read("10.0.0.5:8080\n").endpoint.to_string(),
        "10.0.0.5:8080"
    );
    assert_eq!(
        read("[2001:db8::5]:80"),
        Record::new("[2001:db8::5]:80".parse().unwrap())
    );
}

#[test]
fn a_key_that_is_an_endpoint_needs_no_value() {
    let prefix: Prefix = "/domains".parse().unwrap();
    let read = |key: &str, value: &[u8]| {
        decode(&prefix, key.as_bytes(), value).map(|read| read.1.endpoint.to_string())
    };
    let key = "/domains/example.com/10.10.10.123:8081";
    for value in [&b"running"[..], b"", b"{\"status\":\"running\"}", b"\xff"] {
        assert_eq!(read(key, value).unwrap(), "10.10.10.123:8081");
    }
    assert_eq!(
        read("/domains/example.com/[::1]:80", b"running").unwrap(),
        "[::1]:80"
    );
    assert_eq!(
        read(key, b"{\"host\":\"a\",\"port\":1}").unwrap(),
        "a:1",
        "a record in the value says more than the key"
    );
    assert!(
        read(key, b"{\"host\":\"a\"").is_err(),
        "half a record may have said anything"
    );
    assert!(read(key, b"{\"host\":\"a\"}").is_err());
}

#[test]
fn hostile_values_are_set_aside_with_a_reason_that_can_be_read() {
    assert_eq!(refused(""), "the value is empty");
    assert_eq!(refused(b"\xff\xfe"), "the value is not text");
    assert!(refused("running").starts_with("the value is neither a JSON object nor HOST:PORT"));
    assert!(refused("{").starts_with("the value is not valid JSON"));
    assert!(refused(b"{\"host\":\"\xff\",\"port\":1}").starts_with("the value is not valid JSON"));
    assert!(refused("[".repeat(10_000)).len() < 300);
    assert!(
        refused(format!("{{\"a\":{}", "[".repeat(10_000)))
            .starts_with("the value is not valid JSON")
    );
    assert_eq!(
        refused(vec![b'a'; 70_000]),
        "the value has 70000 bytes; at most 65536 are read"
    );
    let reason = refused(r#"{"host":"a;\u001b[2J } server evil","port":1}"#);
    assert_eq!(
        reason,
        r#"the field "host": "a;\x1b[2J } server evil" is neither an IP address nor a DNS name"#
    );
}

#[test]
fn a_hostile_key_is_shown_escaped_and_cut() {
    let key = [b"/services/\x1b[2J/", &[b'a'; 4000][..]].concat();
    let Quarantined { key, service, .. } = decode(&Prefix::default(), &key, b"a:1").unwrap_err();
    assert!(key.starts_with("/services/\\x1b[2J/") && key.len() < 310);
    assert!(service.is_none());
}

#[test]
fn the_claimant_is_the_nonce_of_any_object() {
    assert_eq!(
        claimant(br#"{"services":{},"nonce":"n1"}"#)
            .unwrap()
            .as_str(),
        "n1"
    );
    for value in [
        &b""[..],
        b"a:1",
        b"{}",
        b"{\"nonce\":1}",
        b"[\"nonce\"]",
        b"{\"nonce\":\"\"}",
    ] {
        assert_eq!(claimant(value), None);
    }
}

/// The fields of the table, in its order. Whatever else an object holds is kept in [`Record::extra`].
const FIELDS: [&str; 11] = [
    "host", "port", "version", "state", "weight", "tags", "meta", "protocol", "nonce", "since",
    "reason",
];

fn endpoints() -> impl Strategy<Value = Endpoint> {
    let host = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| Host::Ip(ip.into())),
        any::<std::net::Ipv6Addr>().prop_map(|ip| Host::Ip(ip.into())),
        "[a-z][a-z0-9-]{0,8}[a-z0-9](\\.[a-z]{1,5}){0,3}\\.?"
            .prop_map(|name| name.parse().unwrap()),
    ];
    (host, 1..=u16::MAX).prop_map(|(host, port)| Endpoint {
        host,
        port: port.try_into().unwrap(),
    })
}

fn records() -> impl Strategy<Value = Record> {
    let words = || "\\PC{0,12}";
    let said = (
        option::of("[!-~]{1,40}"),
        prop_oneof![Just(State::Up), Just(State::Draining), Just(State::Down)],
        option::of(any::<u16>()),
        collection::vec(any::<String>(), 0..4),
        collection::btree_map(any::<String>(), any::<String>(), 0..4),
    );
    let written = (
        prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
        option::of("[!-~]{1,40}"),
        option::of(0_i64..4_000_000_000),
        option::of("\\PC{1,200}"),
        collection::btree_map(words(), any::<i64>(), 0..4),
    );
    (endpoints(), said, written).prop_map(|(endpoint, said, written)| {
        let (version, state, weight, tags, meta) = said;
        let (protocol, nonce, since, reason, extra) = written;
        let extra = extra
            .into_iter()
            .filter(|(name, _)| !FIELDS.contains(&name.as_str()));
        Record {
            endpoint,
            version: version.map(|text| text.parse().unwrap()),
            state,
            weight,
            tags,
            meta,
            protocol,
            nonce: nonce.map(|text| text.parse().unwrap()),
            since: since.map(|seconds| jiff::Timestamp::from_second(seconds).unwrap()),
            reason,
            extra: extra.map(|(name, value)| (name, value.into())).collect(),
        }
    })
}

proptest! {
    #[test]
    fn every_record_comes_back_from_json_as_it_was(record in records()) {
        let value = record.encode(Format::Json);
        prop_assert!(!value.contains(&b'\n'));
        let (id, read) = decode(&Prefix::default(), b"/services/website/nginx1", &value).unwrap();
        prop_assert_eq!(id.to_string(), "website/nginx1");
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(claimant(&value), record.nonce);
    }

    #[test]
    fn every_endpoint_comes_back_from_plain_and_from_the_key(endpoint in endpoints()) {
        let record = Record::new(endpoint.clone());
        let value = record.encode(Format::Plain);
        let read = decode(&Prefix::default(), b"/services/website/nginx1", &value).unwrap().1;
        prop_assert_eq!(&read, &record);
        let key = format!("/services/website/{endpoint}");
        let read = decode(&Prefix::default(), key.as_bytes(), b"running").unwrap().1;
        prop_assert_eq!(&read, &record);
    }

    #[test]
    fn arbitrary_keys_and_values_never_panic_and_show_nothing_unprintable(key: Vec<u8>, value: Vec<u8>) {
        let _ = claimant(&value);
        for key in [key.clone(), [b"/services/", &key[..]].concat(), b"/services/a/b".to_vec()] {
            if let Err(error) = decode(&Prefix::default(), &key, &value) {
                let text = error.to_string();
                prop_assert!(text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{}", text);
                prop_assert!(text.len() < 1000);
            }
        }
    }

    #[test]
    fn json_of_any_content_never_panics(host: String, port: i64, state: String, junk: String) {
        let value = serde_json::json!({"host": host, "port": port, "state": state, "since": junk}).to_string();
        if let Err(error) = decode(&Prefix::default(), b"/services/a/b", value.as_bytes()) {
            prop_assert!(error.to_string().bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        }
    }
}
