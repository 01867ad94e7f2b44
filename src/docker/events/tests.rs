use proptest::prelude::*;

use super::*;

fn of(text: &str) -> Option<Event> {
    read(serde_json::from_str(text).unwrap())
}

#[test]
fn dockers_and_podmans_words_are_read_alike() {
    let docker = r#"{"status":"die","id":"ab","Type":"container","Action":"die","Actor":{"ID":"ab",
            "Attributes":{"exitCode":"137","name":"web1"}},"scope":"local","time":17,"timeNano":17000000005}"#;
    let podman = r#"{"Type":"container","Action":"died","Actor":{"ID":"ab","Attributes":{"containerExitCode":"137","name":"web1"}},
            "scope":"local","time":17,"timeNano":17000000005}"#;
    let expected = Event {
        action: Action::Died { code: 137 },
        id: "ab".to_owned(),
        name: Some("web1".to_owned()),
        at: 17_000_000_005,
    };
    assert_eq!(of(docker).unwrap(), expected);
    assert_eq!(of(podman).unwrap(), expected);
    assert_eq!(since(expected.at), "17.000000005");
}

#[test]
fn a_signal_is_told_where_the_daemon_tells_it() {
    let event = |attributes: &str| {
        let text = format!(
            r#"{{"Action":"kill","Actor":{{"ID":"ab","Attributes":{attributes}}},"time":1}}"#
        );
        of(&text).unwrap()
    };
    let signalled = |number| Action::Signalled { number };
    assert_eq!(event(r#"{"signal":"15"}"#).action, signalled(Some(15)));
    assert_eq!(event(r#"{"signal":"SIGHUP"}"#).action, signalled(Some(1)));
    assert_eq!(event("{}").action, signalled(None));
    assert_eq!(event("{}").at, 1_000_000_000);
}

#[test]
fn an_event_of_a_network_is_about_the_container_that_it_names() {
    let docker = r#"{"Type":"network","Action":"connect","Actor":{"ID":"net","Attributes":{"container":"ab",
            "name":"bridge","type":"bridge"}},"timeNano":5}"#;
    let event = of(docker).unwrap();
    assert_eq!((&*event.id, event.action), ("ab", Action::Other));
    let podman =
        r#"{"Type":"network","Action":"connect","Actor":{"ID":"ab","Attributes":{"name":"web1"}}}"#;
    assert_eq!(of(podman).unwrap().id, "ab");
}

#[test]
fn events_of_other_containers_concern_nobody() {
    let event = |id: &str, name: Option<&str>| Event {
        action: Action::Other,
        id: id.to_owned(),
        name: name.map(str::to_owned),
        at: 1,
    };
    let concerns = |event: Event| event.concerns(Some("abc"), "web1");
    assert!(concerns(event("abc", Some("renamed"))));
    assert!(concerns(event("def", Some("web1"))));
    assert!(concerns(event("def", None)));
    assert!(!concerns(event("def", Some("web10"))));
    assert!(!concerns(event("abcd", Some("bridge"))));
    assert!(event("abc", Some("web1")).concerns(None, "ab"));
}

#[test]
fn what_is_not_about_a_container_or_tells_nothing_more_is_only_a_reason_to_look() {
    assert_eq!(of("{}"), None);
    assert_eq!(of(r#"{"Action":"die"}"#), None);
    let nameless = of(r#"{"Action":"die","Actor":{"ID":"ab"},"time":9223372036854775807}"#);
    let nameless = nameless.unwrap();
    assert_eq!((nameless.action, nameless.at), (Action::Other, 0));
    let renamed = of(r#"{"Action":"rename","Actor":{"ID":"ab"}}"#).unwrap();
    assert_eq!(renamed.action, Action::Other);
}

proptest! {
    #[test]
    fn arbitrary_lines_are_events_or_nothing(
        line: Vec<u8>, json in crate::docker::fixtures::any_json(), action in "[a-z_]{0,6}|die|died|kill", id: String,
        attribute in "exitCode|containerExitCode|signal", value: String, time: Option<i64>, nano: Option<i64>
    ) {
        for text in [line, json.to_string().into_bytes()] {
            let _ = serde_json::from_slice(&text).map(read);
        }
        let message = serde_json::json!({
            "Action": action, "Actor": {"ID": id, "Attributes": {attribute: value}}, "time": time, "timeNano": nano,
        });
        let event = read(serde_json::from_value(message).unwrap()).unwrap();
        prop_assert_eq!(event.id, id);
        // It can be asked for what came behind it.
        let since = since(event.at.saturating_add(1));
        prop_assert!(since.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{}", since);
    }
}
