use std::time::Duration;

use super::*;
use crate::announce::Ready;
use crate::announce::phase::OnFailure;
use crate::model::{Format, Record};
use crate::probe::Pace;

fn settings(runs_since: Option<&str>) -> Settings {
    Settings {
        id: "website/nginx1".parse().unwrap(),
        record: Record::new("10.0.0.1:80".parse().unwrap()),
        format: Format::Json,
        runs_since: runs_since.map(|at| at.parse().unwrap()),
        prefix: Default::default(),
        meta: Default::default(),
        probes: vec![],
        pace: Pace {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            grace: Duration::ZERO,
        },
        rise: 2,
        fall: 3,
        on_failure: OnFailure::Withdraw,
        ttl: Duration::from_secs(15),
        ready: Ready::Announced,
        drain_timeout: Duration::from_secs(10),
        linger: Duration::ZERO,
    }
}

fn entry(value: &str, lease: i64) -> Entry {
    Entry {
        key: b"/services/website/nginx1".to_vec(),
        value: value.into(),
        mod_revision: 5,
        lease,
    }
}

const LEFT: &str = r#"{"host":"10.0.0.1","port":80,"nonce":"n1","since":"2026-01-02T03:04:05Z"}"#;

fn goes_on(settings: &Settings, value: &str, lease: i64) -> bool {
    is_left_behind(settings, &entry(value, lease))
}

#[test]
fn the_record_of_the_same_backend_by_an_announcer_is_gone_on_from() {
    assert!(goes_on(&settings(None), LEFT, 7));
    assert!(goes_on(&settings(Some("2026-01-02T03:04:05Z")), LEFT, 7));
}

#[test]
fn what_is_otherwise_is_not() {
    let own = settings(None);
    assert!(!goes_on(&own, LEFT, 0), "nobody would have withdrawn it");
    for (part, other) in [
        ("10.0.0.1", "10.0.0.2"),
        (":80", ":81"),
        ("nonce", "note"),
        ("\"since\"", "\"state\":\"draining\",\"since\""),
        ("\"since\"", "\"state\":\"down\",\"since\""),
        ("\"since\"", "\"protocol\":\"udp\",\"since\""),
        ("{", ""),
    ] {
        let value = LEFT.replacen(part, other, 1);
        assert!(!goes_on(&own, &value, 7), "{value}");
    }
}

#[test]
fn a_record_of_an_earlier_run_of_the_container_is_not() {
    let later = settings(Some("2026-01-02T03:04:06Z"));
    assert!(!goes_on(&later, LEFT, 7));
    assert!(!goes_on(&later, &LEFT.replace("since", "then"), 7));
}
