use proptest::prelude::*;

use super::*;

#[test]
fn a_host_is_an_address_a_name_an_interface_or_a_network() {
    let read = |text: &str| text.parse::<HostChoice>().unwrap();
    assert_eq!(
        read("10.0.0.5"),
        HostChoice::Address("10.0.0.5".parse().unwrap())
    );
    assert!(matches!(read("web.example"), HostChoice::Name(_)));
    // Which of the two it is depends on the interfaces that there are.
    assert!(matches!(read("eth1"), HostChoice::Name(_)));
    for name in ["eth0.100", "wlp2S0", "Eth"] {
        assert_eq!(read(name), HostChoice::Interface(name.to_owned()));
    }
    for text in ["10.0.0.0/8", "fd00::/8", "0.0.0.0/0"] {
        assert_eq!(read(text).to_string(), text);
    }
    for text in [
        "",
        "10.0.0.256",
        "10.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "eth0/8",
        "a b",
        "[::1]",
        "0x7f.1",
    ] {
        assert!(text.parse::<HostChoice>().is_err(), "{text:?}");
    }
}

#[test]
fn networks_hold_what_has_their_beginning() {
    let holds = |network: &str, address: &str| {
        let Ok(HostChoice::Network { address: of, bits }) = network.parse() else {
            panic!("{network}")
        };
        in_network(address.parse().unwrap(), of, bits)
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
    assert!(holds("10.0.0.5/32", "10.0.0.5") && !holds("10.0.0.5/32", "10.0.0.4"));
    assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "::1"));
    assert!(holds("fd00::/8", "fd31::2") && !holds("fd00::/8", "fe80::1"));
    assert!(holds("::/0", "2001:db8::1"));
}

#[test]
fn the_own_container_is_known_by_the_files_that_its_daemon_puts_into_it() {
    let id = "0123456789abcdef".repeat(4);
    let docker = format!(
        "600 599 0:55 / / rw - overlay overlay rw\n\
             610 600 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    );
    let podman = format!(
        "611 600 0:30 /containers/storage/overlay-containers/{id}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw\n"
    );
    assert_eq!(own_id(&docker), Some(&*id));
    assert_eq!(own_id(&podman), Some(&*id));
    // A host has files of its containers mounted, too.
    let host = docker.replace(" /etc/hostname", " /mnt/hostname");
    assert_eq!(own_id(&host), None);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_choices_come_back(text in any::<String>(), near in "[a-z0-9.:/]{0,20}") {
        let _ = own_id(&text);
        for text in [text, near] {
            if let Ok(choice) = text.parse::<HostChoice>() {
                prop_assert_eq!(choice.to_string().parse::<HostChoice>(), Ok(choice));
            }
        }
    }
}
