use proptest::prelude::*;

use super::*;

#[test]
fn names_of_the_field_are_accepted() {
    for name in [
        "website",
        "nginx1",
        "example.com",
        "10.10.10.123:8081",
        "[2001:db8::5]:80",
        "web@1",
        "host:app:8080",
        "...",
        &"a".repeat(MAX_NAME),
    ] {
        assert_eq!(name.parse::<InstanceName>().unwrap().as_str(), name);
    }
}

#[test]
fn names_that_would_break_a_key_or_a_line_are_refused() {
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a\n",
        "ä",
        "a\0",
        "a\"",
        &"a".repeat(254),
    ] {
        assert!(name.parse::<ServiceName>().is_err(), "{name:?}");
    }
}

#[test]
fn an_instance_id_is_exactly_two_names() {
    let id: InstanceId = "website/nginx1".parse().unwrap();
    assert_eq!(id.service.as_str(), "website");
    assert_eq!(id.instance.as_str(), "nginx1");
    assert_eq!(id.to_string(), "website/nginx1");
    for text in ["", "website", "website/", "/nginx1", "a/b/c", "a//b", "/"] {
        assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
    }
}

#[test]
fn a_containers_name_means_its_instances_on_every_host() {
    let means = |name: &str, other: &str| {
        let [name, other] = [name, other].map(|it| it.parse::<InstanceName>().unwrap());
        name.means(&other)
    };
    for other in ["web1", "h1:web1", "h1:web1:80", "h1:web1:53:udp"] {
        assert!(means("web1", other), "{other}");
    }
    for other in [
        "web2",
        "web1:web2",
        "h1:web12",
        "h1:x:web1",
        ":",
        "[::1]:80",
    ] {
        assert!(!means("web1", other), "{other}");
    }
    assert!(!means("80", "web1:80") && !means("h1:web1", "h1:web1:80"));
}

#[test]
fn an_error_shows_foreign_text_escaped_and_short() {
    let error = format!("\x1b[2J{}", "x".repeat(200))
        .parse::<ServiceName>()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\\x1b[2J"), "{text}");
    assert!(text.len() < 260, "{text}");
}

proptest! {
    #[test]
    fn arbitrary_text_is_a_name_or_a_short_printable_error(text in any::<String>(), near in "[a-z._:@%+~/ -]{0,300}") {
        for text in [text, near] {
            match text.parse::<ServiceName>() {
                Ok(name) => {
                    prop_assert_eq!(name.as_str(), &text);
                    prop_assert!(text.len() <= MAX_NAME && !text.contains('/'));
                    let id: InstanceId = format!("{text}/{text}").parse().unwrap();
                    prop_assert_eq!(id.to_string().parse::<InstanceId>().unwrap(), id);
                }
                Err(error) => {
                    let shown = error.to_string();
                    prop_assert!(shown.len() < 300 && shown.is_ascii() && !shown.contains('\n'), "{}", shown);
                }
            }
            let _ = text.parse::<InstanceId>().map_err(|error| error.to_string());
        }
    }
}
