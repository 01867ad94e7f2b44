use std::time::Duration;

use super::*;
use crate::announce::Ready;
use crate::announce::phase::OnFailure;
use crate::model::{Format, Record};
use crate::probe::{Pace, Probe};

fn settings() -> Settings {
    let endpoint: Endpoint = "10.0.0.1:80".parse().unwrap();
    Settings {
        id: "website/nginx1".parse().unwrap(),
        record: Record {
            nonce: Some("n1".parse().unwrap()),
            since: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            ..Record::new(endpoint.clone())
        },
        format: Format::Json,
        prefix: Default::default(),
        meta: Default::default(),
        probes: vec![Probe::Tcp(endpoint)],
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

#[test]
fn equal_settings_change_nothing() {
    let mut old = settings();
    let new = Settings {
        record: Record::new(old.record.endpoint.clone()),
        ..settings()
    };
    let change = old.take_over(new);
    assert_eq!(
        change,
        Change {
            changed: vec![],
            ignored: vec![]
        }
    );
}

#[test]
fn what_may_change_is_taken_over_and_the_record_keeps_its_writer() {
    let mut old = settings();
    let mut new = settings();
    new.record = Record::new(old.record.endpoint.clone());
    new.record.version = Some("v2".parse().unwrap());
    new.record.weight = Some(5);
    new.record.tags = vec!["eu".to_owned()];
    new.record.meta = [("a".to_owned(), "b".to_owned())].into();
    new.probes = vec![Probe::Tcp("10.0.0.1:81".parse().unwrap())];
    new.pace.interval *= 2;
    new.pace.timeout *= 2;
    new.rise = 1;
    new.fall = 1;
    new.on_failure = OnFailure::Mark;
    new.drain_timeout *= 2;
    new.linger = Duration::from_secs(1);
    let written_by = (old.record.nonce.clone(), old.record.since);
    let change = old.take_over(new.clone());
    assert_eq!(change.changed.len(), 12, "{change:?}");
    assert_eq!(change.ignored, Vec::<String>::new());
    assert_eq!((old.record.nonce.clone(), old.record.since), written_by);
    assert_eq!(old.record.weight, Some(5));
    assert_eq!(old.take_over(new).changed, Vec::<&str>::new());
}

#[test]
fn what_names_the_record_stays_and_is_told() {
    let mut old = settings();
    let mut new = settings();
    new.id = "website/nginx2".parse().unwrap();
    new.record.endpoint = "10.0.0.2:80".parse().unwrap();
    new.record.protocol = crate::model::Protocol::Udp;
    new.prefix = "/x".parse().unwrap();
    new.meta = "/y".parse().unwrap();
    new.ttl = Duration::from_secs(30);
    new.ready = Ready::Routed;
    new.format = Format::Plain;
    new.record.weight = Some(7);
    let change = old.take_over(new);
    let expected = [
        "SERVICE/INSTANCE website/nginx2",
        "HOST:PORT 10.0.0.2:80",
        "--protocol udp",
        "--format plain",
        "--prefix /x",
        "--meta-prefix /y",
        "--ttl 30s",
        "--ready routed",
    ];
    assert_eq!(change.ignored, expected);
    assert_eq!(change.changed, ["weight"]);
    assert_eq!(old.id.to_string(), "website/nginx1");
    assert_eq!(old.record.address().to_string(), "10.0.0.1:80");
    assert_eq!(old.record.weight, Some(7));
    assert_eq!(old.ttl, Duration::from_secs(15));
}
