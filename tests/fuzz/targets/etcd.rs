//! Keys and values from etcd.

use sidekick::fuzz;
use sidekick::model::{
    self, Format, HoldScope, MAX_LISTED, MAX_REASON, MAX_TOKEN, MAX_VERSIONS, Object, Prefixes,
    Reason, Record, Share, Split, Subject,
};

use super::answer;
use crate::checks;

/// The longest message about a key or a value, in bytes.
const MESSAGE: usize = 1200;
/// The longest text in a status record that is shown, in bytes.
const LISTED: usize = 1700;
/// A lease.
const LEASE: i64 = 7;

/// A key, of a record or of sidekick's own.
pub(crate) fn key(bytes: &[u8]) -> String {
    let prefixes = Prefixes::default();
    let key = prefixes.key(bytes);
    let Some(key) = key else {
        return "nothing".to_owned();
    };
    let subject = match &key.subject {
        Ok(subject) => subject,
        Err(reason) => {
            checks::printable(&reason.to_string(), MESSAGE);
            return format!("{:?}: {reason}", key.kind);
        }
    };
    let meta = &prefixes.meta;
    let spelled = match subject {
        Subject::Record(id) => prefixes.records.key(id),
        // Several keys spell one host.
        Subject::Hold(HoldScope::Host(_)) => return "hold on a host".to_owned(),
        Subject::Hold(scope) => meta.hold_key(scope),
        Subject::Split(service) => meta.split_key(service),
        Subject::Pusher(id) => meta.pusher_key(id),
        Subject::Balancer(id) => meta.balancer_key(id),
        // Its upstream is not checked.
        Subject::Release(_) => return "release".to_owned(),
    };
    assert_eq!(spelled.as_bytes(), bytes, "a key is spelled in one way");
    checks::printable(&spelled, bytes.len());
    format!("{:?}", key.kind)
}

/// The value of a record, under a name and under one that is itself an address.
pub(crate) fn record(bytes: &[u8]) -> String {
    let prefix = Prefixes::default().records;
    let keys = ["/services/website/nginx1", "/services/website/10.0.0.5:80"];
    let answers = keys.map(|key| {
        let read = model::decode(&prefix, key.as_bytes(), bytes);
        match &read {
            Ok((_, record)) => written_again(record),
            Err(quarantined) => checks::printable(&quarantined.to_string(), MESSAGE),
        }
        answer(&read)
    });
    checks::printable(&model::author_in_words(bytes), MESSAGE);
    if let Some(nonce) = model::claimant(bytes) {
        checks::printable(nonce.as_str(), MAX_TOKEN);
    }
    answers.concat()
}

/// What is accepted is inside the limits, and the same after it was written.
fn written_again(record: &Record) {
    let address = record.address().to_string();
    assert_eq!(address.parse(), Ok(record.address()));
    checks::printable(&address, 1000);
    checks::address(&record.endpoint.to_string());
    let reason = record.reason.iter().flat_map(|reason| reason.chars());
    assert!(reason.count() <= MAX_REASON);
    let because = record
        .clone()
        .because(record.reason.as_deref().unwrap_or_default());
    checks::printable(&because.reason.unwrap_or_default(), MAX_REASON);
    let written = record.encode(Format::Json);
    assert!(!written.contains(&b'\n'), "a record is one line");
    match decoded("/services/website/nginx1", &written) {
        Ok(Object::Record(again)) => assert_eq!(*again, *record),
        // A short number may be a long one when it is written.
        Err(Reason::TooLarge(_)) => {}
        other => panic!("{other:?}"),
    }
    let plain = record.encode(Format::Plain);
    match decoded("/services/website/nginx1", &plain) {
        Ok(Object::Record(again)) => assert_eq!(again.endpoint, record.endpoint),
        other => panic!("{other:?}"),
    }
}

fn decoded(key: &str, value: &[u8]) -> Result<Object, Reason> {
    let key = Prefixes::default().key(key.as_bytes()).unwrap();
    key.subject?.decode(value, LEASE)
}

/// Reads a value; what is accepted reads the same after it was written, or the message is printable.
fn read(key: &str, bytes: &[u8], write: fn(&Object) -> Vec<u8>) -> Result<Object, Reason> {
    let read = decoded(key, bytes);
    match &read {
        Ok(object) => match decoded(key, &write(object)) {
            Ok(again) => assert_eq!(again, *object),
            Err(Reason::TooLarge(_)) => {}
            Err(reason) => panic!("{reason}"),
        },
        Err(reason) => checks::printable(&reason.to_string(), MESSAGE),
    }
    read
}

/// The value of a hold.
pub(crate) fn hold(bytes: &[u8]) -> String {
    let write = |object: &Object| match object {
        Object::Hold(hold) => hold.encode(),
        other => panic!("{other:?}"),
    };
    answer(&read("/sidekick/holds/website/nginx1", bytes, write))
}

/// The value of a split, and what it makes of some instances.
pub(crate) fn split(bytes: &[u8]) -> String {
    let write = |object: &Object| match object {
        Object::Split(split) => split.encode(),
        other => panic!("{other:?}"),
    };
    let read = read("/sidekick/splits/website", bytes, write);
    if let Ok(Object::Split(split)) = &read {
        assert!(split.weights().len() <= MAX_VERSIONS);
        spread(split);
    }
    answer(&read)
}

/// Every version that has a share gets one, and no other.
fn spread(split: &Split) {
    let of = |weight: u16| split.weights().keys().map(move |version| (version, weight));
    let instances = of(1).chain(of(65_535)).chain(of(3));
    let shares = instances.map(|(version, weight)| Share {
        version: Some(version),
        weight,
    });
    let shares: Vec<_> = shares.collect();
    let weights = split.spread(&shares).expect("some version has a share");
    assert_eq!(weights.len(), shares.len());
    for (share, weight) in shares.iter().zip(weights) {
        assert_eq!(weight > 0, split.weight(share.version) > 0, "{share:?}");
    }
}

/// The value of a release.
pub(crate) fn release(bytes: &[u8]) -> String {
    let write = |object: &Object| match object {
        Object::Release(release) => release.encode(),
        other => panic!("{other:?}"),
    };
    answer(&read("/sidekick/releases/website", bytes, write))
}

/// The value of a pusher's status record.
pub(crate) fn status_record(bytes: &[u8]) -> String {
    let read = decoded("/sidekick/pushers/edge-1", bytes);
    let Ok(Object::Pusher(status)) = &read else {
        let error = read.expect_err("a status record");
        checks::printable(&error.to_string(), MESSAGE);
        return error.to_string();
    };
    let mut texts: Vec<&String> = Vec::new();
    for service in status.services.values() {
        for reasons in [&service.not_routed, &service.still_routed] {
            assert!(reasons.listed.len() <= MAX_LISTED);
            texts.extend(reasons.listed.values());
        }
        texts.extend(service.stopped.iter().flat_map(|(name, why)| [name, why]));
    }
    for (name, target) in &status.targets {
        assert!(target.errors.len() <= MAX_LISTED);
        texts.extend(target.errors.iter().chain([name]));
        for (name, upstream) in &target.upstreams {
            assert!(upstream.protected.len() <= MAX_LISTED);
            texts.push(name);
            texts.extend(upstream.protected.iter().map(|server| &server.why));
        }
    }
    assert!(status.releases.len() <= MAX_LISTED);
    texts.extend(status.releases.keys());
    for text in texts {
        checks::printable(text, LISTED);
    }
    let again = decoded("/sidekick/pushers/edge-1", &status.encode());
    assert!(matches!(again, Ok(Object::Pusher(_))), "{again:?}");
    answer(&read)
}

/// The value of a balancer's key.
pub(crate) fn balancer(bytes: &[u8]) -> String {
    let read = decoded("/sidekick/balancers/edge-1", bytes);
    match &read {
        Ok(Object::Balancer(balancer)) => {
            assert!(balancer.targets.len() <= MAX_LISTED);
            let routes = balancer.routes.values().flatten();
            for text in balancer.targets.iter().chain(routes) {
                checks::printable(text, LISTED);
            }
            for service in &balancer.services {
                assert!(balancer.feeds(service).is_none_or(|fed| !fed.is_empty()));
            }
            let again = decoded("/sidekick/balancers/edge-1", &balancer.encode());
            assert!(matches!(again, Ok(Object::Balancer(_))), "{again:?}");
        }
        Ok(other) => panic!("{other:?}"),
        Err(reason) => checks::printable(&reason.to_string(), MESSAGE),
    }
    answer(&read)
}

/// The servers in vulcand's keys, one a line.
pub(crate) fn vulcand(bytes: &[u8]) -> String {
    let (prefix, backend) = ("/vulcand".parse().unwrap(), "website".parse().unwrap());
    let service = "website".parse().unwrap();
    let [serving, steps] = fuzz::vulcand_servers(&prefix, &backend, &service, bytes);
    serving.iter().for_each(|server| checks::address(server));
    steps
        .iter()
        .for_each(|step| checks::printable(step, MESSAGE));
    format!("{} {}", serving.join(" "), steps.join(" "))
}
