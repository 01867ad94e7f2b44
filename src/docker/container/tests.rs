//! Against answers of real daemons; `tests/fixtures/inspect/capture.sh` tells where they come from.

use proptest::prelude::*;

use super::*;
use tokio::time::Instant;

use crate::docker::fixtures::{self, KINDS, read};
use crate::docker::host::Surroundings;
use crate::docker::host_address::{HostAddresses, Known};
use crate::docker::identity::{Wanted, identify};
use crate::docker::state::Life;
use crate::model::{Format, Prefix, Protocol, decode};

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

/// Docker 29 leaves these out of `NetworkSettings`, from version 1.52 of its API on.
const GONE_WITH_DOCKER_29: [&str; 13] = [
    "Bridge",
    "HairpinMode",
    "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
];

#[test]
fn docker_29_tells_the_same_without_the_addresses_that_it_leaves_out() {
    for name in [
        "published",
        "ipv6",
        "two-networks",
        "host-network",
        "nothing-published",
        "shared-network",
        "exited",
    ] {
        let mut answer = fixtures::answer("docker", name);
        let before = Container::from_inspect(&answer).unwrap();
        let settings = answer["NetworkSettings"].as_object_mut().unwrap();
        assert!(settings.contains_key("IPAddress"), "{name}: {settings:?}");
        settings.retain(|field, _| !GONE_WITH_DOCKER_29.contains(&field.as_str()));
        let after = Container::from_inspect(&answer).unwrap();
        assert_eq!(after, before, "{name}");
    }
}

/// What podman 5.8.6 says between the stop signal and the end. 5.4 has said `stopping` there, which Docker knows nothing of.
const STOPPING_IN_PODMAN_5_8: &str = r#"{"Status": "running", "Running": false, "Paused": false, "Restarting": false,
    "OOMKilled": false, "Dead": false, "Pid": 56, "ExitCode": 0, "Error": "",
    "StartedAt": "2026-11-28T20:43:05.606349588Z", "FinishedAt": "0001-01-01T00:00:00Z"}"#;

#[test]
fn a_container_of_podman_that_runs_by_its_word_and_not_by_its_flag_is_stopping() {
    let mut answer = fixtures::answer("podman", "published");
    answer["State"] = serde_json::from_str(STOPPING_IN_PODMAN_5_8).unwrap();
    let stopping = Container::from_inspect(&answer).unwrap();
    assert_eq!(stopping.status, Status::Stopping);
    for flag in ["Running", "Paused", "Restarting"] {
        let mut answer = answer.clone();
        answer["State"][flag] = true.into();
        let container = Container::from_inspect(&answer).unwrap();
        assert_ne!(container.status, Status::Stopping, "{flag}");
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
    let read = |text: &str| Container::from_inspect(&serde_json::from_str(text).unwrap());
    assert!(read("{}").is_err());
    assert!(read(r#"{"State":{}}"#).is_err());
    let poor = read(r#"{"Id":"ab","State":{"Running":true}}"#).unwrap();
    assert_eq!(poor.status, Status::Running);
    assert_eq!(poor.short_id(), "ab");
    assert!(poor.image_is_an_id());
}

#[test]
fn words_that_a_daemon_adds_hide_nothing_else() {
    let of = |state: &str| {
        let text = format!(
            r#"{{"Id":"ab","State":{state},"Config":{{"Image":"web:1","StopSignal":3}},
                "HostConfig":{{"NetworkMode":"net1","RestartPolicy":{{"Name":"some-new-policy"}}}},
                "Mounts":[{{"Type":"some-new-type"}}]}}"#
        );
        let container = Container::from_inspect(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((&*container.image, container.stop_signal), ("web:1", 3));
        container
    };
    let exited = Status::Exited {
        code: 7,
        out_of_memory: false,
    };
    for (state, expected) in [
        // Podman's, between the end of the process and the cleaning up.
        (r#"{"Status":"stopped","ExitCode":7}"#, exited),
        (r#"{"Status":"stopping","Running":true}"#, Status::Stopping),
        (r#"{"Status":"configured"}"#, Status::Created),
        (r#"{"Status":"initialized"}"#, Status::Created),
        (
            r#"{"Status":"checkpointed","Running":true}"#,
            Status::Running,
        ),
        (r#"{"Status":"checkpointed","ExitCode":7}"#, exited),
        (r#"{"Status":17,"Paused":true}"#, Status::Paused),
    ] {
        assert_eq!(of(state).status, expected, "{state}");
    }
    let health = of(r#"{"Status":"running","Health":{"Status":"reset"}}"#).health;
    assert_eq!(health, None);
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

proptest! {
    #[test]
    fn answers_of_any_shape_are_read_or_refused_and_nothing_in_them_panics_or_grows(answer in fixtures::mangled()) {
        let bytes = answer.to_string();
        let Ok(container) = Container::from_inspect(&answer) else { return Ok(()) };
        prop_assert!(container.stop_timeout <= duration::LONGEST);
        prop_assert!(container.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if let Some(Health::Unhealthy { output }) = &container.health {
            prop_assert!(output.len() < 150 && output.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        }
        let _ = (container.short_id(), container.image_is_an_id(), container.status.to_string());
        let wanted = Wanted::default();
        let v4 = Known::DefaultRoute("10.0.0.5".parse().unwrap());
        let addresses = HostAddresses { v4, ..HostAddresses::default() };
        let host = Surroundings { name: Some("h1".to_owned()), addresses, ..Surroundings::default() };
        match identify(&wanted, &container, &host) {
            Ok(identity) => {
                 // What is announced for it can be read by everybody.
                let record = identity.record();
                let key = Prefix::default().key(&identity.id);
                let value = record.encode(Format::Json);
                let (id, read) = decode(&Prefix::default(), key.as_bytes(), &value).unwrap();
                prop_assert_eq!((id, read), (identity.id, record));
                let checks = identity.checks.iter().map(ToString::to_string);
                prop_assert!(checks.map(|shown| shown.len()).sum::<usize>() <= 6 * bytes.len() + 400);
                for note in identity.notes.iter().chain(identity.reasons.iter().map(|reason| &reason.value)) {
                    prop_assert!(note.len() < 600, "{}", note);
                }
            }
            Err(problems) => for problem in problems {
                let shown = problem.to_string();
                prop_assert!(shown.len() < 2000 + bytes.len() && !shown.contains('\x1b'), "{}", shown);
            },
        }
        let mut life = Life::new(Instant::now());
        life.on_answer(Some(container.into()), Instant::now());
        let _ = (life.state().to_string(), life.stopping_until());
    }

    #[test]
    fn any_json_in_place_of_an_answer_never_panics(answer in fixtures::any_json()) {
        let _ = Container::from_inspect(&answer);
    }
}
