use super::*;

fn interface(name: &str, is_up: bool, is_bridge: bool, addresses: &[&str]) -> Interface {
    Interface {
        name: name.to_owned(),
        is_up,
        is_bridge,
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
    }
}

#[test]
fn bridges_of_containers_and_interfaces_that_are_down_are_no_candidates() {
    let interfaces = [
        interface("lo", true, false, &["127.0.0.1", "::1"]),
        interface("eth0", true, false, &["10.0.0.5", "fe80::1", "fd00::5"]),
        interface("eth1", false, false, &["10.9.0.5"]),
        interface("docker0", true, true, &["172.17.0.1"]),
    ];
    let only = |text: &str| Known::Candidates([text.parse().unwrap()].into());
    assert_eq!(candidates(&interfaces, true), only("10.0.0.5"));
    assert_eq!(candidates(&interfaces, false), only("fd00::5"));
    assert_eq!(candidates(&interfaces[2..], true), Known::Nothing);
}

#[test]
fn bridges_are_told_by_name_and_by_what_is_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let make = |path: &str| fs::create_dir_all(folder.path().join(path)).unwrap();
    make("br0/brif/eth0");
    make("eth0/device");
    make("br1/brif/tap7");
    make("tap7");
    make("br2/brif/bond0");
    make("bond0");
    let uevent = folder.path().join("bond0/uevent");
    fs::write(uevent, "DEVTYPE=bond\nINTERFACE=bond0\n").unwrap();
    make("br3/brif");
    make("eth1");
    for (name, expected) in [
        ("docker0", true),
        ("podman1", true),
        ("cni-podman0", true),
        ("br-0a1b2c3d4e5f", true),
        ("veth12ab", true),
        ("eth0", false),
        ("eth1", false),
        ("br-lan", false),
        // A network card or a bond is in it.
        ("br0", false),
        ("br2", false),
        // Only what containers and virtual machines hang on.
        ("br1", true),
        ("br3", true),
    ] {
        assert_eq!(is_bridge(folder.path(), name), expected, "{name}");
    }
}

#[test]
fn what_is_found_on_this_machine_could_be_reached_from_another() {
    let found = HostAddresses::find();
    for known in [&found.v4, &found.v6] {
        match known {
            Known::DefaultRoute(address) => assert!(reachable(address)),
            Known::Candidates(several) => assert!(several.iter().all(reachable)),
            Known::Nothing => {}
        }
    }
    let loopback = found.interface("lo").unwrap();
    assert!(loopback.is_up && loopback.addresses.contains(&Ipv4Addr::LOCALHOST.into()));
    assert_eq!(loopback.reachable().count(), 0);
    assert_eq!(found.trouble, None);
}
