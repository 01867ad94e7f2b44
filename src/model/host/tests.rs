use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

#[test]
fn what_looks_like_a_login_is_not_repeated() {
    for text in [
        "http://u:hunter2@10.0.0.1:80",
        "u:hunter2@h",
        "u:hunter2@10.0.0.1:1",
        "[u:hunter2@h",
    ] {
        for error in [
            text.parse::<Endpoint>().unwrap_err().to_string(),
            text.parse::<Address>().unwrap_err().to_string(),
        ] {
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}

#[test]
fn hosts_are_addresses_or_dns_names_in_lower_case() {
    for (text, shown) in [
        ("10.0.0.5", "10.0.0.5"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("::1", "::1"),
        ("Web-1.Example.COM", "web-1.example.com"),
        ("my_app", "my_app"),
        ("example.com.", "example.com"),
        ("1a.2b", "1a.2b"),
    ] {
        assert_eq!(text.parse::<Host>().unwrap().to_string(), shown);
    }
}

#[test]
fn what_is_neither_an_address_nor_a_name_is_refused() {
    for text in [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "a b",
        "10.0.0.256",
        "10.0.0.05",
        "10.1",
        "1",
        "0x7f.0x1",
        "[::1]",
        "fe80::1%eth0",
        "a;b",
        "a\n",
        "ex\u{e4}mple",
        "${x}",
        "a/b",
        "unix:/run/x",
        &format!("{}.com", "a".repeat(64)),
        &"a.".repeat(127).repeat(2),
    ] {
        assert!(text.parse::<Host>().is_err(), "{text:?}");
    }
}

#[test]
fn endpoints_read_and_show_the_same_text() {
    for text in [
        "10.0.0.5:8080",
        "[2001:db8::5]:80",
        "web.example:65535",
        "[::ffff:10.0.0.1]:1",
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
}

#[test]
fn endpoints_are_strict() {
    for text in [
        "10.0.0.5",
        "10.0.0.5:",
        "10.0.0.5:0",
        "10.0.0.5:65536",
        "10.0.0.5:+80",
        "10.0.0.5:080",
        "::1:80",
        "2001:db8::5",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[10.0.0.1]:80",
        "[web]:80",
        ":80",
        " 10.0.0.5:80",
        "10.0.0.5:80 ",
        "10.0.0.5:80/v1",
        "",
    ] {
        assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
    }
}

#[test]
fn the_compact_notation_carries_a_version_behind_the_first_slash() {
    let address: Address = "10.0.0.5:8080/52c7248a14".parse().unwrap();
    assert_eq!(address.version.as_ref().unwrap().as_str(), "52c7248a14");
    for text in [
        "10.0.0.5:8080/52c7248a14",
        "[2001:db8::5]:80/v2",
        "a:1",
        "a:1/feature/x",
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    for text in ["a:1/", "a:1/ v", "a/1", "a:1/\u{202e}"] {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_an_address_or_a_short_printable_error(
        text in any::<String>(), near in r"\[?[0-9a-f.:x_-]{0,40}\]?(:[0-9]{0,6})?(/[!-~]{0,9})?"
    ) {
        for text in [text, near] {
            match text.parse::<Address>() {
                Ok(address) => {
                    // What is shown is what is read, and nothing in it can break a line, a URL or a file of nginx.
                    let shown = address.to_string();
                    prop_assert_eq!(shown.parse::<Address>().unwrap(), address.clone());
                    let endpoint = address.endpoint.to_string();
                    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
                    prop_assert!(endpoint.bytes().all(safe), "{}", endpoint);
                    prop_assert!(endpoint.len() <= 253 + 8);
                }
                Err(error) => {
                    let shown = error.to_string();
                    prop_assert!(shown.len() < 300 && shown.is_ascii() && !shown.contains('\n'), "{}", shown);
                }
            }
            let _ = text.parse::<Host>().map_err(|error| error.to_string());
        }
    }

    #[test]
    fn every_ip_address_comes_back(v4: [u8; 4], v6: [u16; 8], port in 1u16..) {
        for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
            let text = SocketAddr::new(ip, port).to_string();
            let endpoint: Endpoint = text.parse().unwrap();
            prop_assert_eq!((&endpoint.host, endpoint.port.get()), (&Host::Ip(ip), port));
            prop_assert_eq!(endpoint.to_string(), text);
        }
    }
}
