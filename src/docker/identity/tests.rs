//! Against containers of real daemons, on a host at 192.168.1.102.

#[cfg(test)]
pub(crate) mod registrator;

use std::collections::BTreeMap;
use std::time::Duration;

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::docker::container::Status;
use crate::docker::fixtures::{KINDS, read};
use crate::docker::host::Elsewhere;
use crate::docker::host_address::{HostAddresses, Interface, Known};

fn host() -> Surroundings {
    Surroundings {
        name: Some("h1".to_owned()),
        addresses: HostAddresses {
            v4: Known::DefaultRoute("192.168.1.102".parse().unwrap()),
            v6: Known::DefaultRoute("2001:db8::102".parse().unwrap()),
            ..HostAddresses::default()
        },
        ..Surroundings::default()
    }
}

pub(super) fn of(wanted: &Wanted, container: &Container) -> Result<Identity, String> {
    identify(wanted, container, &host()).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })
}

fn plain(container: &Container) -> Identity {
    of(&Wanted::default(), container).unwrap()
}

fn refusal(wanted: &Wanted, container: &Container) -> String {
    of(wanted, container).unwrap_err()
}

pub(super) fn on_port(port: &str) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.address.container_port = Some(port.parse().unwrap());
    wanted
}

fn on_network(network: &str) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.address.network = Some(network.to_owned());
    wanted
}

fn because<'a>(identity: &'a Identity, part: &str) -> &'a str {
    let found = identity.reasons.iter().find(|reason| reason.part == part);
    &found
        .unwrap_or_else(|| panic!("{part}: {identity:?}"))
        .because
}

fn pairs(meta: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    meta.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

#[test]
fn a_container_says_everything_by_itself() {
    for kind in KINDS {
        let container = read(kind, "published");
        let published = container.published.values().next().unwrap()[0].port();
        let identity = plain(&container);
        assert_eq!(identity.id.to_string(), "web/h1:web1", "{kind}");
        assert_eq!(
            identity.endpoint.to_string(),
            format!("192.168.1.102:{published}")
        );
        assert_eq!(identity.version, "1.2".parse().ok());
        assert_eq!(because(&identity, "service"), "the name of its image");
        assert_eq!(
            because(&identity, "instance"),
            "the host's name and the container's"
        );
        assert_eq!(because(&identity, "version"), "the image's tag");
        assert_eq!(
            because(&identity, "host"),
            "published on all addresses of the host; the host's address on its default route"
        );
        assert_eq!(
            because(&identity, "port"),
            "published for the container's port 80/tcp, the only one"
        );
        let record = identity.record();
        assert_eq!(
            record.address().to_string(),
            format!("192.168.1.102:{published}/1.2")
        );
    }
}

#[test]
fn what_was_given_is_taken() {
    let wanted = Wanted {
        service: "website".parse().ok(),
        instance: "nginx1".parse().ok(),
        endpoint: "10.0.0.5:8080".parse().ok(),
        version: "v7".parse().ok(),
        ..Wanted::default()
    };
    for name in ["published", "exited", "no-network", "nginx-defaults"] {
        let identity = of(&wanted, &read("docker", name)).unwrap();
        assert_eq!(identity.id.to_string(), "website/nginx1");
        assert_eq!(identity.record().address().to_string(), "10.0.0.5:8080/v7");
        assert!(
            identity
                .reasons
                .iter()
                .all(|reason| reason.because == "given")
        );
    }
}

#[test]
fn registrators_single_service_with_defaults() {
    for kind in KINDS {
        let identity = plain(&read(kind, "redis-defaults"));
        assert_eq!(identity.id.to_string(), "redis/h1:redis.0");
        assert_eq!(identity.endpoint.to_string(), "192.168.1.102:10000");
        assert_eq!((identity.tags.len(), identity.meta.len()), (0, 0));
    }
}

#[test]
fn registrators_single_service_with_metadata_in_env_or_labels() {
    for kind in KINDS {
        for name in ["redis-env", "redis-labels"] {
            let identity = plain(&read(kind, name));
            assert_eq!(identity.id.to_string(), "db/h1:redis.0");
            assert_eq!(identity.endpoint.to_string(), "192.168.1.102:10000");
            assert_eq!(identity.tags, ["master", "backups"]);
            // Free attributes are taken from labels only.
            let labelled = [("region", "us2")];
            let expected = if name == "redis-labels" {
                &labelled[..]
            } else {
                &[]
            };
            assert_eq!(pairs(&identity.meta), expected);
        }
    }
}

#[test]
fn registrators_multiple_services_with_defaults() {
    for kind in KINDS {
        let container = read(kind, "nginx-defaults");
        for (port, id, endpoint) in [
            ("443", "nginx/h1:nginx.0:443", "192.168.1.102:4443"),
            ("80", "nginx/h1:nginx.0:80", "192.168.1.102:8000"),
        ] {
            let identity = of(&on_port(port), &container).unwrap();
            assert_eq!(identity.id.to_string(), id);
            assert_eq!(identity.endpoint.to_string(), endpoint);
        }
        let refusal = refusal(&Wanted::default(), &container);
        assert!(
            refusal.contains("--container-port: 80/tcp (host port 8000), 443/tcp (host port 4443)"),
            "{refusal}"
        );
    }
}

#[test]
fn registrators_multiple_services_with_metadata() {
    for kind in KINDS {
        let container = read(kind, "nginx-env");
        let https = of(&on_port("443"), &container).unwrap();
        assert_eq!(https.id.to_string(), "https/https.12345");
        assert_eq!(https.endpoint.to_string(), "192.168.1.102:4443");
        assert_eq!(https.tags, ["www"]);
        assert_eq!(pairs(&https.meta), []);
        let http = of(&on_port("80"), &container).unwrap();
        assert_eq!(http.id.to_string(), "http/h1:nginx.0:80");
        assert_eq!(http.endpoint.to_string(), "192.168.1.102:8000");
        assert_eq!((http.tags, http.meta.len()), (vec!["www".to_owned()], 0));
    }
}

#[test]
fn the_instance_says_the_port_where_there_are_several_and_the_service_never_does() {
    let mut container = read("docker", "nginx-defaults");
    container
        .labels
        .insert("SERVICE_NAME".into(), "shop".into());
    let identity = of(&on_port("80"), &container).unwrap();
    assert_eq!(identity.id.to_string(), "shop/h1:nginx.0:80");
    assert_eq!(because(&identity, "service"), "label SERVICE_NAME");
    assert_eq!(
        because(&identity, "instance"),
        "the host's name and the container's, and the port, since the container serves several"
    );
    // Only one of them is meant.
    container
        .labels
        .insert("SERVICE_443_IGNORE".into(), "1".into());
    assert_eq!(plain(&container).id.to_string(), "shop/h1:nginx.0");
}

#[test]
fn the_same_container_on_two_hosts_is_two_instances() {
    let container = read("docker", "published");
    let on = |name: Option<&str>, given: Option<&str>| {
        let wanted = Wanted {
            host_name: given.map(|name| name.parse().unwrap()),
            ..Wanted::default()
        };
        let host = Surroundings {
            name: name.map(str::to_owned),
            ..host()
        };
        identify(&wanted, &container, &host).map(|identity| identity.id.instance.to_string())
    };
    assert_eq!(on(Some("h1"), None).unwrap(), "h1:web1");
    assert_eq!(on(Some("h2.example"), None).unwrap(), "h2.example:web1");
    assert_eq!(on(Some("h1"), Some("web-a")).unwrap(), "web-a:web1");
    assert_eq!(on(None, Some("web-a")).unwrap(), "web-a:web1");
    for nameless in [None, Some("localhost"), Some("localhost.localdomain")] {
        let problems = on(nameless, None).unwrap_err();
        assert!(
            problems[0].is_passing(),
            "{nameless:?}: it may get its name yet"
        );
        assert!(
            problems[0].to_string().contains("--host-name"),
            "{problems:?}"
        );
    }
    for refused in ["localhost", "LocalHost-live", "a:b", "a b", ""] {
        assert!(refused.parse::<HostName>().is_err(), "{refused:?}");
    }
}

#[test]
fn a_port_that_asks_to_be_ignored_is_no_choice() {
    let mut container = read("docker", "nginx-defaults");
    container
        .env
        .insert("SERVICE_443_IGNORE".into(), "true".into());
    assert_eq!(plain(&container).endpoint.port.get(), 8000);
    let refusal = refusal(&on_port("443"), &container);
    assert_eq!(
        refusal,
        "port 443/tcp (env SERVICE_443_IGNORE) asks not to be announced"
    );
    container.env.insert("SERVICE_IGNORE".into(), "1".into());
    let refusal = self::refusal(&on_port("80"), &container);
    assert_eq!(
        refusal,
        "the container asks not to be announced (env SERVICE_IGNORE)"
    );
}

#[test]
fn a_container_of_which_every_port_is_to_be_ignored_is_not_told_to_publish_one() {
    for (name, wanted) in [
        ("published", Wanted::default()),
        ("published", on_port("80")),
    ] {
        let mut container = read("docker", name);
        container
            .labels
            .insert("SERVICE_80_IGNORE".into(), "yes".into());
        assert_eq!(
            refusal(&wanted, &container),
            "every port asks not to be announced: 80/tcp (label SERVICE_80_IGNORE)"
        );
    }
    let mut container = read("docker", "two-networks");
    container
        .labels
        .insert("SERVICE_80_IGNORE".into(), "yes".into());
    assert_eq!(
        refusal(&on_network("net2-docker"), &container),
        "every port asks not to be announced: 80/tcp (label SERVICE_80_IGNORE)"
    );
}

#[test]
fn of_many_choices_ten_are_shown() {
    let mut container = read("docker", "published");
    for port in 1000..1100 {
        let place = SocketAddr::from(([0, 0, 0, 0], port));
        let port = port.to_string().parse().unwrap();
        container.published.insert(port, vec![place]);
    }
    let refusal = refusal(&Wanted::default(), &container);
    assert!(
        refusal.ends_with("1008/tcp (host port 1008) and 91 more"),
        "{refusal}"
    );
    assert!(refusal.len() < 400, "{refusal}");
}

#[test]
fn with_labels_only_the_environment_says_nothing() {
    let mut container = read("docker", "published");
    for (name, value) in [
        ("SERVICE_NAME", "env"),
        ("SERVICE_IGNORE", "1"),
        ("SERVICE_80_ID", "x"),
    ] {
        container.env.insert(name.into(), value.into());
    }
    container.labels.insert("SERVICE_TAGS".into(), "a".into());
    let wanted = Wanted {
        labels_only: true,
        ..Wanted::default()
    };
    let identity = of(&wanted, &container).unwrap();
    assert_eq!(identity.id.to_string(), "web/h1:web1");
    assert_eq!(identity.tags, ["a"]);
}

#[test]
fn checks_and_their_times_come_with_the_port() {
    let mut container = read("docker", "published");
    for (name, value) in [
        ("SERVICE_80_CHECK_HTTP", "/health"),
        ("SERVICE_80_CHECK_INTERVAL", "15s"),
        ("SERVICE_CHECK_TIMEOUT", "1s"),
        ("SERVICE_443_CHECK_TCP", "true"),
        ("SERVICE_CHECK_TTL", "30s"),
    ] {
        container.env.insert(name.into(), value.into());
    }
    let identity = plain(&container);
    let [
        Check::Http {
            path,
            tls: false,
            method: None,
            skip_verify: false,
        },
    ] = &identity.checks[..]
    else {
        panic!("{identity:?}")
    };
    assert_eq!(path, "/health");
    assert_eq!(because(&identity, "check"), "env SERVICE_80_CHECK_HTTP");
    assert_eq!(identity.interval, Some(Duration::from_secs(15)));
    assert_eq!(identity.timeout, Some(Duration::from_secs(1)));
    assert_eq!(
        identity.notes,
        ["env SERVICE_CHECK_TTL is not known here: give --probe instead"]
    );
}

#[test]
fn a_given_address_still_finds_its_ports_labels() {
    let wanted = Wanted {
        endpoint: "10.0.0.5:4443".parse().ok(),
        ..Wanted::default()
    };
    let identity = of(&wanted, &read("docker", "nginx-env")).unwrap();
    assert_eq!(identity.id.to_string(), "https/https.12345");
    assert_eq!(identity.endpoint.to_string(), "10.0.0.5:4443");
}

#[test]
fn udp_is_an_instance_of_its_own_where_tcp_uses_the_same_port() {
    for kind in KINDS {
        let container = read(kind, "tcp-and-udp");
        let tcp = of(&on_port("53"), &container).unwrap();
        assert_eq!(
            (tcp.id.to_string(), tcp.protocol),
            ("web/h1:web1:53".into(), Protocol::Tcp)
        );
        let udp = of(&on_port("53/udp"), &container).unwrap();
        assert_eq!(
            (udp.id.to_string(), udp.protocol),
            ("web/h1:web1:53:udp".into(), Protocol::Udp)
        );
        assert_eq!(udp.endpoint, tcp.endpoint);
    }
}

#[test]
fn versions_come_from_what_was_said_tag_label_digest_and_id_in_this_order() {
    let version = |container: &Container| {
        let identity = of(&given_id(), container).unwrap();
        let because = because(&identity, "version").to_owned();
        (identity.version.unwrap().as_str().to_owned(), because)
    };
    for kind in KINDS {
        // An image inherits that label from the one that it is made of.
        let tagged = read(kind, "published-on-loopback");
        assert!(tagged.labels.contains_key(VERSION_LABEL));
        assert_eq!(
            version(&tagged),
            ("stable".into(), "the image's tag".into())
        );
        let mut said = tagged.clone();
        said.env.insert("SERVICE_VERSION".into(), "v7".into());
        assert_eq!(version(&said), ("v7".into(), "env SERVICE_VERSION".into()));
        let mut latest = tagged.clone();
        for image in ["shop/web:latest", "shop/web"] {
            latest.image = image.into();
            let expected = ("7.4.1", "label org.opencontainers.image.version");
            assert_eq!(version(&latest), (expected.0.into(), expected.1.into()));
        }
        latest.labels.clear();
        assert_eq!(version(&latest).1, "the image's id");
    }
    let by_digest = version(&read("podman", "by-digest"));
    assert_eq!(
        (&*by_digest.0, &*by_digest.1),
        ("34bb3a3ea1ba", "the image's digest")
    );
    let by_id = version(&read("docker", "by-image-id"));
    assert_eq!((&*by_id.0, &*by_id.1), ("6cfedffff3d1", "the image's id"));

    let mut odd = read("docker", "published");
    odd.labels.insert("SERVICE_VERSION".into(), "a b".into());
    let identity = plain(&odd);
    assert_eq!(identity.version, "1.2".parse().ok());
    assert!(identity.notes[0].starts_with("label SERVICE_VERSION is not used"));
}

fn given_id() -> Wanted {
    Wanted {
        service: "s".parse().ok(),
        instance: "i".parse().ok(),
        endpoint: "10.0.0.5:1".parse().ok(),
        ..Wanted::default()
    }
}

#[test]
fn an_image_that_is_only_an_id_is_called_as_its_one_name_or_not_at_all() {
    let wanted = Wanted {
        endpoint: "10.0.0.5:80".parse().ok(),
        ..Wanted::default()
    };
    let mut container = read("docker", "by-image-id");
    assert!(refusal(&wanted, &container).contains("the image, which has no name"));
    container.image_names = vec!["shop/web:1.2".into()];
    let identity = of(&wanted, &container).unwrap();
    assert_eq!(identity.id.to_string(), "web/h1:web1");
    assert_eq!(identity.version, "1.2".parse().ok());
    container.image_names.push("progrium/redis:latest".into());
    assert!(refusal(&wanted, &container).contains("several names (redis, web)"));
    // Several tags of one name are one name, but no version.
    container.image_names = vec!["shop/web:1.2".into(), "shop/web:latest".into()];
    let identity = of(&wanted, &container).unwrap();
    assert_eq!(because(&identity, "version"), "the image's id");
}

#[test]
fn a_network_that_is_named_gives_the_containers_own_address() {
    for kind in KINDS {
        let container = read(kind, "two-networks");
        let identity = of(&on_network(&format!("net2-{kind}")), &container).unwrap();
        let own = container.networks[&format!("net2-{kind}")][0];
        assert_eq!(identity.endpoint.to_string(), format!("{own}:80"));
        assert_eq!(
            because(&identity, "host"),
            format!("its own address in network net2-{kind}")
        );
        let nowhere = refusal(&on_network("bridge"), &container);
        let [one, two] = [
            format!("net1-{kind} (10.231.21."),
            format!("net2-{kind} (10.231.22."),
        ];
        assert!(
            nowhere.contains(&one) && nowhere.contains(&two),
            "{nowhere}"
        );
        let unnamed = refusal(&Wanted::default(), &container);
        assert!(unnamed.contains("--network: net1-"), "{unnamed}");
    }
}

#[test]
fn on_a_network_the_port_is_the_containers_own() {
    let container = read("docker", "nginx-defaults");
    let mut wanted = on_network("net1-docker");
    assert!(refusal(&wanted, &container).ends_with("80/tcp, 443/tcp"));
    wanted.address.container_port = "443".parse().ok();
    let identity = of(&wanted, &container).unwrap();
    assert_eq!(identity.endpoint.to_string(), "10.231.21.2:443");
    // A port that nobody declared may be served all the same.
    wanted.address.container_port = "9000".parse().ok();
    assert_eq!(of(&wanted, &container).unwrap().endpoint.port.get(), 9000);
}

#[test]
fn ipv6_is_announced_where_it_is_all_there_is() {
    let mut container = read("docker", "ipv6");
    let name = "net2-docker";
    container.networks.get_mut(name).unwrap().remove(0);
    let identity = of(&on_network(name), &container).unwrap();
    assert_eq!(identity.endpoint.to_string(), "[fd31:22::2]:80");

    let port = "80".parse().unwrap();
    container
        .published
        .insert(port, vec!["[::]:18765".parse().unwrap()]);
    let identity = plain(&container);
    assert_eq!(identity.endpoint.to_string(), "[2001:db8::102]:18765");
}

#[test]
fn on_the_hosts_network_it_is_the_hosts_address_and_the_declared_port() {
    let identity = plain(&read("docker", "host-network"));
    assert_eq!(identity.endpoint.to_string(), "192.168.1.102:8080");
    assert!(because(&identity, "host").starts_with("the container uses the host's network"));
    // Podman does not tell what a container on the host's network exposes.
    let podman = read("podman", "host-network");
    assert!(refusal(&Wanted::default(), &podman).contains("--container-port"));
    assert_eq!(
        of(&on_port("8080"), &podman).unwrap().endpoint.port.get(),
        8080
    );
    assert!(refusal(&on_network("net1"), &podman).contains("--network can be host"));
}

#[test]
fn where_nobody_can_reach_it_that_is_said() {
    for kind in KINDS {
        let refusal = |name: &str| self::refusal(&Wanted::default(), &read(kind, name));
        assert!(refusal("no-network").contains("has no network"));
        assert!(refusal("shared-network").contains("uses the network of container"));
        let unpublished = refusal("nothing-published");
        assert!(
            unpublished.contains(&format!("--network: net1-{kind} (10.231.")),
            "{unpublished}"
        );
        let chosen = self::refusal(&on_port("80"), &read(kind, "nothing-published"));
        assert_eq!(chosen, unpublished);
        let none = self::refusal(&on_port("81"), &read(kind, "published"));
        assert!(
            none.contains("does not publish port 81") && none.contains("80/tcp"),
            "{none}"
        );
    }
    // Podman keeps the ports of a container that has ended, and they stay its own.
    let exited = refusal(&Wanted::default(), &read("docker", "exited"));
    assert!(
        exited.contains("the container is exited with 3"),
        "{exited}"
    );
    let created = refusal(&on_network("net1-docker"), &read("docker", "created"));
    assert!(created.contains("never started"), "{created}");
}

#[test]
fn a_port_published_on_one_address_is_announced_there() {
    for kind in KINDS {
        let identity = plain(&read(kind, "published-on-loopback"));
        // Whether that is allowed is decided elsewhere.
        assert_eq!(identity.endpoint.to_string(), "127.0.0.1:18765");
    }
    let at = |places: &[&str]| -> Container {
        let places: Vec<SocketAddr> = places.iter().map(|text| text.parse().unwrap()).collect();
        let mut container = read("docker", "published");
        container.published = [("80".parse().unwrap(), places)].into();
        container
    };
    let beside_loopback = at(&["127.0.0.1:80", "10.0.0.5:80"]);
    assert_eq!(plain(&beside_loopback).endpoint.to_string(), "10.0.0.5:80");
    let several = at(&["10.0.0.5:80", "10.9.0.5:8080"]);
    let refusal = refusal(&Wanted::default(), &several);
    assert!(
        refusal.ends_with("--host: 10.0.0.5:80, 10.9.0.5:8080"),
        "{refusal}"
    );
    let mut wanted = Wanted::default();
    wanted.address.host = "10.9.0.5".parse().ok();
    assert_eq!(
        of(&wanted, &several).unwrap().endpoint.to_string(),
        "10.9.0.5:8080"
    );
}

/// A host without a default route.
fn routeless(v4: &[&str], interfaces: Vec<Interface>) -> Surroundings {
    let addresses = v4.iter().map(|text| text.parse::<IpAddr>().unwrap());
    let v4 = match v4 {
        [] => Known::Nothing,
        _ => Known::Candidates(addresses.collect()),
    };
    let addresses = HostAddresses {
        v4,
        interfaces,
        ..HostAddresses::default()
    };
    Surroundings {
        addresses,
        ..host()
    }
}

/// The host in the record of a published port, or why there is none.
fn chosen(choice: Option<&str>, host: &Surroundings) -> Result<String, Problem> {
    let mut wanted = Wanted::default();
    wanted.address.host = choice.map(|text| text.parse().unwrap());
    identify(&wanted, &read("docker", "published"), host)
        .map(|identity| identity.endpoint.host.to_string())
        .map_err(|problems| problems[0].clone())
}

#[test]
fn the_hosts_address_is_a_choice_where_no_route_decides() {
    let ask = |v4: &[&str], choice| chosen(choice, &routeless(v4, Vec::new()));
    assert_eq!(ask(&["10.0.0.5"], None).unwrap(), "10.0.0.5");
    let several = ask(&["10.0.0.5", "172.17.0.1"], None).unwrap_err();
    let said = several.to_string();
    assert!(said.ends_with("--host: 10.0.0.5, 172.17.0.1"), "{said}");
    let none = ask(&[], None).unwrap_err();
    assert!(none.to_string().contains("--host"), "{none}");
    // A host that starts has its addresses and its route in a moment.
    assert!(several.is_passing() && none.is_passing());
    assert_eq!(ask(&[], Some("web.example")).unwrap(), "web.example");
}

#[test]
fn a_host_is_chosen_by_interface_or_network_too() {
    let interface = |name: &str, is_up, is_bridge, addresses: &[&str]| Interface {
        name: name.to_owned(),
        is_up,
        is_bridge,
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
    };
    let interfaces = vec![
        interface("lo", true, false, &["127.0.0.1"]),
        interface("eth0", true, false, &["fd00::5", "192.0.2.5"]),
        interface("eth1", true, false, &["10.0.0.5"]),
        interface("eth2", false, false, &["10.0.0.6"]),
        interface("podman0", true, true, &["10.88.0.1"]),
        interface("eth0.7", true, false, &["198.51.100.5", "198.51.100.6"]),
    ];
    let host = routeless(&["192.0.2.5", "10.0.0.5"], interfaces);
    for (choice, expected) in [
        ("eth1", "10.0.0.5"),
        ("eth0", "192.0.2.5"),
        ("eth0.7", "198.51.100.5"),
        ("lo", "127.0.0.1"),
        // Neither the bridge of containers nor what is down.
        ("10.0.0.0/8", "10.0.0.5"),
        ("fd00::/8", "fd00::5"),
        ("10.9.9.9", "10.9.9.9"),
    ] {
        assert_eq!(chosen(Some(choice), &host).unwrap(), expected, "{choice}");
    }
    for (choice, part) in [
        ("eth2", "the interface is down"),
        ("172.16.0.0/12", "no address in that network"),
        ("eth0.9", "there is no such interface"),
    ] {
        let problem = chosen(Some(choice), &host).unwrap_err();
        assert!(problem.is_passing(), "{choice}: it may come");
        let said = problem.to_string();
        assert!(
            said.contains(&format!("--host {choice}: ")) && said.contains(part),
            "{said}"
        );
    }
    let several = chosen(Some("198.51.100.0/24"), &host).unwrap_err();
    assert!(!several.is_passing());
    assert!(
        several.to_string().ends_with("198.51.100.5, 198.51.100.6"),
        "{several}"
    );
}

#[test]
fn a_name_that_cannot_be_resolved_is_waited_for_and_one_that_can_is_taken() {
    let host = |found: Result<Vec<IpAddr>, String>| Surroundings {
        resolved: Some((name(), found)),
        ..host()
    };
    fn name() -> crate::model::DnsName {
        match "web.example".parse() {
            Ok(Host::Dns(name)) => name,
            other => panic!("{other:?}"),
        }
    }
    let missing = chosen(Some("web.example"), &host(Err("no such name".to_owned()))).unwrap_err();
    assert!(missing.is_passing());
    assert!(
        missing
            .to_string()
            .contains("cannot be resolved (no such name)"),
        "{missing}"
    );
    let loopback: IpAddr = "127.0.1.1".parse().unwrap();
    let mut wanted = Wanted::default();
    wanted.address.host = "web.example".parse().ok();
    let container = read("docker", "published");
    let identity = identify(&wanted, &container, &host(Ok(vec![loopback]))).unwrap();
    // Whether that is allowed is decided elsewhere.
    assert_eq!(
        (identity.endpoint.host.to_string(), identity.resolved),
        ("web.example".into(), vec![loopback])
    );
}

#[test]
fn addresses_of_a_sidekick_in_a_container_or_on_another_host_are_not_announced_for_others() {
    for elsewhere in [
        Elsewhere::InContainer("sidekick".to_owned()),
        Elsewhere::OtherHost("10.0.0.9:2375".to_owned()),
    ] {
        let host = Surroundings {
            elsewhere: Some(elsewhere),
            ..host()
        };
        for name in ["published", "host-network"] {
            let problems = identify(&Wanted::default(), &read("docker", name), &host).unwrap_err();
            let said = problems[0].to_string();
            assert!(
                said.ends_with("give the host's address with --host"),
                "{said}"
            );
            assert!(!problems[0].is_passing());
        }
        assert!(chosen(Some("0.0.0.0/0"), &host).is_err());
        assert_eq!(chosen(Some("10.0.0.5"), &host).unwrap(), "10.0.0.5");
        // What is not an address of ours stays right.
        let container = read("docker", "two-networks");
        assert!(identify(&on_network("net1-docker"), &container, &host).is_ok());
        assert!(
            identify(
                &Wanted::default(),
                &read("docker", "published-on-loopback"),
                &host
            )
            .is_ok()
        );
    }
}

#[test]
fn a_host_beside_a_network_is_not_dropped_silently() {
    let mut wanted = on_network("net1-docker");
    wanted.address.host = "10.0.0.5".parse().ok();
    let refusal = refusal(&wanted, &read("docker", "two-networks"));
    assert!(
        refusal.starts_with("--host 10.0.0.5 with --network"),
        "{refusal}"
    );
}

#[test]
fn a_weight_is_taken_from_the_container() {
    let mut container = read("docker", "published");
    container.labels.insert("SERVICE_WEIGHT".into(), "5".into());
    assert_eq!(plain(&container).record().weight, Some(5));
    container
        .labels
        .insert("SERVICE_WEIGHT".into(), "much".into());
    assert!(refusal(&Wanted::default(), &container).contains("label SERVICE_WEIGHT \"much\""));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let mut container = read("docker", "no-network");
    container.labels.insert("SERVICE_NAME".into(), "a/b".into());
    container.labels.insert("SERVICE_ID".into(), "a b".into());
    container
        .labels
        .insert("SERVICE_CHECK_INTERVAL".into(), "0s".into());
    let refusal = refusal(&Wanted::default(), &container);
    for part in [
        "no network",
        "label SERVICE_NAME",
        "label SERVICE_ID",
        "SERVICE_CHECK_INTERVAL",
    ] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
}

#[test]
fn a_container_that_does_not_run_is_refused_as_such_on_every_way() {
    let mut container = read("docker", "paused");
    assert!(of(&Wanted::default(), &container).is_ok());
    container.status = Status::Dead;
    container.published.clear();
    assert!(refusal(&Wanted::default(), &container).contains("the container is dead"));
}
