use proptest::prelude::*;

use super::*;

#[test]
fn a_port_without_a_protocol_is_tcp_and_a_choice_without_one_is_either() {
    let port: ContainerPort = "80".parse().unwrap();
    assert_eq!(port.to_string(), "80/tcp");
    let udp: ContainerPort = "53/udp".parse().unwrap();
    assert!("53".parse::<PortChoice>().unwrap().matches(udp));
    assert!(!"53/tcp".parse::<PortChoice>().unwrap().matches(udp));
    assert_eq!("53/udp".parse::<PortChoice>().unwrap().port(), udp);
}

#[test]
fn what_is_no_port_is_refused() {
    for text in ["", "0", "65536", "80/sctp", "80/", "http", "/tcp", "80-90"] {
        assert!(text.parse::<ContainerPort>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_ports_come_back(text in any::<String>(), near in "[0-9+]{0,6}(/[a-z]{0,4})?") {
        for text in [text, near] {
            if let Ok(port) = text.parse::<ContainerPort>() {
                prop_assert_eq!(port.to_string().parse::<ContainerPort>(), Ok(port));
                let choice: PortChoice = text.parse().unwrap();
                prop_assert!(choice.matches(port) && choice.port() == port);
            } else {
                prop_assert!(text.parse::<PortChoice>().is_err());
            }
        }
    }
}
