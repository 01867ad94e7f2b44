//! Every example of registrator's user documentation, where it is about containers: what its users expect in etcd.

use std::time::Duration;

use super::{of, on_port};
use crate::docker::fixtures::{KINDS, read};
use crate::docker::identity::*;
use crate::model::{Format, Prefix};

/// `-p HOST:80` with these labels or this environment.
fn with(said: &[(&str, &str)], as_labels: bool) -> Container {
    let mut container = read("docker", "published");
    let all = container.published.values_mut().flatten();
    all.for_each(|place| place.set_port(49153));
    let target = if as_labels {
        &mut container.labels
    } else {
        &mut container.env
    };
    target.extend(said.iter().map(|(k, v)| ((*k).into(), (*v).into())));
    container
}

/// The same for another port of the container's.
fn with_port(port: &str, said: &[(&str, &str)]) -> Container {
    let mut container = with(said, false);
    let places = container.published.pop_first().unwrap().1;
    container.published.insert(port.parse().unwrap(), places);
    container
}

/// Key and value as registrator's etcd backend has them, but for the service, which there has a port behind it, and the
/// instance, which there always has one.
fn in_etcd(identity: &Identity) -> (String, String) {
    let key = "/services".parse::<Prefix>().unwrap().key(&identity.id);
    let value = identity.record().encode(Format::Plain);
    (key.to_string(), String::from_utf8(value).unwrap())
}

#[test]
fn the_examples_are_in_etcd_where_registrators_users_look() {
    for kind in KINDS {
        for (name, port, key, value) in [
            ("redis-defaults", "6379", "redis/h1:redis.0", "10000"),
            ("redis-env", "6379", "db/h1:redis.0", "10000"),
            ("redis-labels", "6379", "db/h1:redis.0", "10000"),
            ("nginx-defaults", "443", "nginx/h1:nginx.0:443", "4443"),
            ("nginx-defaults", "80", "nginx/h1:nginx.0:80", "8000"),
            ("nginx-env", "443", "https/https.12345", "4443"),
            ("nginx-env", "80", "http/h1:nginx.0:80", "8000"),
        ] {
            let identity = of(&on_port(port), &read(kind, name)).unwrap();
            let expected = (format!("/services/{key}"), format!("192.168.1.102:{value}"));
            assert_eq!(in_etcd(&identity), expected, "{kind} {name}");
        }
    }
}

#[test]
fn a_comma_in_a_tag_is_escaped_by_a_backslash() {
    let container = with(&[("SERVICE_TAGS", r"/(;\,:-_)/")], false);
    let identity = of(&Wanted::default(), &container).unwrap();
    assert_eq!(identity.tags, ["/(;,:-_)/"]);
}

#[test]
fn a_name_of_the_only_port_and_an_id_that_dns_accepts_are_taken() {
    for as_labels in [true, false] {
        let container = with(&[("SERVICE_80_NAME", "www")], as_labels);
        let identity = of(&Wanted::default(), &container).unwrap();
        let expected = ("/services/www/h1:web1", "192.168.1.102:49153");
        assert_eq!(in_etcd(&identity), (expected.0.into(), expected.1.into()));

        let container = with(&[("SERVICE_ID", "redis-1")], as_labels);
        let identity = of(&Wanted::default(), &container).unwrap();
        assert_eq!(identity.id.instance.as_str(), "redis-1");
    }
}

#[test]
fn ports_on_the_hosts_network_are_those_that_the_container_declares() {
    // docker run --net=host -p 8080:8080 -p 8443:8443: Docker discards the ports there and keeps what is exposed.
    let mut container = read("docker", "host-network");
    container.exposed.insert("8443".parse().unwrap());
    for port in ["8080", "8443"] {
        let identity = of(&on_port(port), &container).unwrap();
        assert_eq!(in_etcd(&identity).1, format!("192.168.1.102:{port}"));
        assert!(identity.id.instance.as_str().ends_with(&format!(":{port}")));
    }
}

#[test]
fn the_documented_checks_become_probes_with_their_times() {
    let http = |tls| Check::Http {
        path: "/health/endpoint/path".to_owned(),
        tls,
        method: None,
        skip_verify: false,
    };
    for (port, name, value, timeout, check) in [
        (
            "80",
            "CHECK_HTTP",
            "/health/endpoint/path",
            "1s",
            http(false),
        ),
        (
            "443",
            "CHECK_HTTPS",
            "/health/endpoint/path",
            "1s",
            http(true),
        ),
        ("443", "CHECK_TCP", "true", "3s", Check::Tcp),
    ] {
        let names = [name, "CHECK_INTERVAL", "CHECK_TIMEOUT"];
        let names = names.map(|name| format!("SERVICE_{port}_{name}"));
        let said: Vec<_> = names
            .iter()
            .map(String::as_str)
            .zip([value, "15s", timeout])
            .collect();
        let identity = of(&Wanted::default(), &with_port(port, &said)).unwrap();
        assert_eq!(identity.checks, [check]);
        assert_eq!(identity.interval, Some(Duration::from_secs(15)));
        assert_eq!(identity.timeout, humantime::parse_duration(timeout).ok());
    }
}

#[test]
fn checks_that_only_consul_can_do_are_told_and_hold_nothing_up() {
    for (name, value) in [
        (
            "SERVICE_CHECK_SCRIPT",
            "nc $SERVICE_IP $SERVICE_PORT | grep OK",
        ),
        ("SERVICE_CHECK_TTL", "30s"),
        ("SERVICE_CHECK_INITIAL_STATUS", "passing"),
    ] {
        let identity = of(&Wanted::default(), &with(&[(name, value)], false)).unwrap();
        assert!(identity.checks.is_empty() && identity.meta.is_empty());
        let note = format!("env {name} is not known here: give --probe instead");
        assert_eq!(identity.notes, [note]);
    }
}

#[test]
fn what_other_backends_of_registrator_read_is_kept_as_free_pairs() {
    let said = [
        ("SERVICE_REGION", "us-east"),
        ("SERVICE_EUREKA_METADATA_MYROUTES", "/route1*|/route2*"),
    ];
    let identity = of(&Wanted::default(), &with(&said, true)).unwrap();
    let meta: Vec<_> = identity.meta.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(
        meta,
        [
            ("eureka_metadata_myroutes", "/route1*|/route2*"),
            ("region", "us-east"),
        ]
    );
}
