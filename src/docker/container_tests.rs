//! Against answers of real daemons; `tests/fixtures/inspect/capture.sh` tells where they come from.

use super::*;
use crate::docker::fixtures::{KINDS, read};
use crate::record::Protocol;

fn port(text: &str) -> ContainerPort {
    text.parse().unwrap()
}

#[test]
fn docker_and_podman_tell_the_same_of_a_container() {
    for kind in KINDS {
        let web = read(kind, "published");
        assert_eq!(web.name, "web1", "{kind}");
        assert_eq!(web.id.len(), 64);
        assert_eq!(web.short_id().len(), 12);
        assert!(web.image.ends_with("shop/web:1.2"), "{}", web.image);
        assert!(web.image_id.starts_with("sha256:"));
        assert_eq!(web.labels["maker"], "tests");
        assert_eq!((web.status, &web.health), (Status::Running, &None));
        assert!(web.started_at.is_some());
        assert_eq!(web.network_mode, NetworkMode::Own);
        assert_eq!(web.networks.len(), 1);
        let places = &web.published[&port("80/tcp")];
        assert!(places[0].ip().is_unspecified() && places[0].port() > 1024);
        assert_eq!(web.exposed, [port("80")].into());
        assert_eq!((web.stop_signal, web.stop_timeout), (15, STOP_TIMEOUT));
    }
}

#[test]
fn every_state_is_told_from_the_others() {
    let exited = |code, out_of_memory| Status::Exited {
        code,
        out_of_memory,
    };
    for (kind, name, expected) in [
        ("docker", "created", Status::Created),
        ("podman", "created", Status::Created),
        ("docker", "paused", Status::Paused),
        ("podman", "paused", Status::Paused),
        ("docker", "exited", exited(3, false)),
        ("podman", "exited", exited(3, false)),
        ("docker", "out-of-memory", exited(137, true)),
        // Podman 4.3 does not tell why it was killed.
        ("podman", "out-of-memory", exited(137, false)),
        ("docker", "restarting", Status::Restarting { code: 3 }),
        ("docker", "healthy", Status::Running),
    ] {
        assert_eq!(read(kind, name).status, expected, "{kind} {name}");
    }
}

#[test]
fn a_health_check_is_told_with_its_last_words() {
    for kind in KINDS {
        assert_eq!(read(kind, "healthy").health, Some(Health::Healthy));
        let unhealthy = read(kind, "unhealthy").health;
        assert!(matches!(unhealthy, Some(Health::Unhealthy { .. })));
    }
}

#[test]
fn a_container_that_never_ran_has_no_start() {
    for kind in KINDS {
        assert_eq!(read(kind, "created").started_at, None, "{kind}");
    }
}

#[test]
fn stop_signal_and_timeout_are_those_of_the_container() {
    for kind in KINDS {
        let exited = read(kind, "exited");
        let expected = (3, Duration::from_secs(25));
        assert_eq!((exited.stop_signal, exited.stop_timeout), expected);
    }
}

#[test]
fn addresses_come_from_every_network_and_family() {
    for kind in KINDS {
        let two = read(kind, "two-networks");
        let names: Vec<_> = two.networks.keys().map(String::as_str).collect();
        assert_eq!(names, [format!("net1-{kind}"), format!("net2-{kind}")]);
        let both = &two.networks[&format!("net2-{kind}")];
        assert!(both[0].is_ipv4() && both[1].is_ipv6(), "{both:?}");
        assert!(two.published.is_empty());
    }
}

#[test]
fn whose_network_is_used_is_told() {
    for kind in KINDS {
        assert_eq!(read(kind, "host-network").network_mode, NetworkMode::Host);
        assert_eq!(read(kind, "no-network").network_mode, NetworkMode::None);
        let shared = read(kind, "shared-network").network_mode;
        assert!(matches!(shared, NetworkMode::Container(id) if id.len() == 64));
    }
}

#[test]
fn one_number_may_be_published_for_both_protocols() {
    for kind in KINDS {
        let both = read(kind, "tcp-and-udp");
        let protocols: Vec<_> = both.published.keys().map(|port| port.protocol).collect();
        assert_eq!(protocols, [Protocol::Tcp, Protocol::Udp], "{kind}");
    }
}

#[test]
fn an_image_id_is_not_taken_for_a_name() {
    assert!(read("docker", "by-image-id").image_is_an_id());
    // Podman looks the name up by itself.
    assert!(!read("podman", "by-image-id").image_is_an_id());
    assert!(!read("docker", "published").image_is_an_id());
    assert!(!read("podman", "by-digest").image_is_an_id());
}

#[test]
fn another_start_is_another_run() {
    let first = read("docker", "published");
    let mut second = first.clone();
    assert!(first.same_run(&second));
    second.started_at = Some("2030-01-01T00:00:00Z".parse().unwrap());
    assert!(!first.same_run(&second));
}

#[test]
fn an_answer_of_something_else_is_refused_and_a_poor_one_is_read() {
    let read = |text: &str| Container::from_inspect(serde_json::from_str(text).unwrap());
    assert!(read("{}").is_err());
    assert!(read(r#"{"State":{}}"#).is_err());
    let poor = read(r#"{"Id":"ab","State":{"Running":true}}"#).unwrap();
    assert_eq!(poor.status, Status::Running);
    assert_eq!(poor.short_id(), "ab");
    assert!(poor.image_is_an_id());
}

#[test]
fn names_of_containers_cannot_lead_elsewhere() {
    for text in ["web1", "/web1", "a.b_c-d", "0d1078d3950e", "7"] {
        assert!(text.parse::<ContainerName>().is_ok(), "{text:?}");
    }
    for text in [
        "", "/", "a/b", "../x", "-a", "a b", "a?x=1", "a%2f", "ä", "a\n",
    ] {
        assert!(text.parse::<ContainerName>().is_err(), "{text:?}");
    }
}
