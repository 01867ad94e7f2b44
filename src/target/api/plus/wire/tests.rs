use proptest::prelude::*;

use super::*;

#[test]
fn the_documented_server_object_is_read() {
    let text = r#"{"id":0,"server":"10.0.0.1:8088","weight":5,"max_conns":0,"max_fails":1,"fail_timeout":"10s",
            "slow_start":"0s","route":"","backup":false,"down":true}"#;
    let peer: Peer = serde_json::from_str::<ServerObject>(text).unwrap().into();
    assert_eq!(
        (peer.id, peer.server.as_str(), peer.weight),
        (0, "10.0.0.1:8088", 5)
    );
    assert!(peer.down && !peer.drain && !peer.backup && !peer.child && !peer.srv);
    for parent in ["1", "\"1\"", "0"] {
        let text = format!(r#"{{"id":2,"server":"a:80","parent":{parent},"host":"x"}}"#);
        let peer: Peer = serde_json::from_str::<ServerObject>(&text).unwrap().into();
        assert!(peer.child);
    }
}

#[test]
fn a_fault_is_read_from_json_and_from_a_page() {
    let fault = Fault::read(br#"{"error":{"status":404,"text":"upstream not found","code":"UpstreamNotFound"},"request_id":"x"}"#);
    assert_eq!(
        (fault.code.as_str(), fault.text.as_str()),
        ("UpstreamNotFound", "upstream not found")
    );
    let page = b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center>";
    let fault = Fault::read(page);
    assert_eq!(
        (fault.code.as_str(), fault.text.as_str()),
        ("", "403 Forbidden")
    );
    let fault = Fault::read(br#"{"error":{"text":"\u001b[2J","code":"A\nB"}}"#);
    assert_eq!(
        (fault.code.as_str(), fault.text.as_str()),
        ("A\\x0aB", "\\x1b[2J")
    );
    for junk in [&b""[..], b"{}", b"[]", b"\xff\xfe", b"{\"error\":1}"] {
        assert_eq!(Fault::read(junk).code, "");
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_place_of_an_answer_is_shown_short_and_printable(body: Vec<u8>, text: String) {
        let json = serde_json::json!({"error": {"text": text, "code": text}}).to_string();
        for fault in [Fault::read(&body), Fault::read(json.as_bytes()), Fault::read(text.as_bytes())] {
            let shown = fault.code + &fault.text;
            prop_assert!(shown.len() < 300 && shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        }
    }
}

#[test]
fn a_patch_says_only_what_changes() {
    let patch = Change {
        down: Some(false),
        parameters: Parameters {
            slow_start: Some(Duration::from_secs(90)),
            ..Parameters::default()
        },
        ..Change::default()
    };
    let sent = serde_json::to_string(&ServerSettings::from(&patch)).unwrap();
    assert_eq!(sent, r#"{"down":false,"slow_start":"90s"}"#);
}

#[test]
fn parameters_are_read_in_every_spelling_and_nonsense_is_no_value() {
    let tuning = |fields: &str| {
        let text = format!(r#"{{"id":1,"server":"a:80"{fields}}}"#);
        Peer::from(serde_json::from_str::<ServerObject>(&text).unwrap()).tuning
    };
    assert_eq!(tuning(""), Tuning::default());
    let normal = r#","max_conns":0,"max_fails":1,"fail_timeout":"10s","slow_start":0"#;
    assert_eq!(tuning(normal), Tuning::default());
    let odd = r#","max_conns":7,"fail_timeout":"1m30s","slow_start":30,"max_fails":0"#;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let expected = Tuning {
        max_conns: Some(7),
        max_fails: Some(0),
        fail_timeout: seconds(90),
        slow_start: seconds(30),
    };
    assert_eq!(tuning(odd), expected);
    let nonsense = r#","max_conns":-1,"max_fails":"x","fail_timeout":"soon","slow_start":{}"#;
    let unreadable = Tuning {
        max_conns: None,
        max_fails: None,
        fail_timeout: None,
        slow_start: None,
    };
    assert_eq!(tuning(nonsense), unreadable);
}

proptest! {
    #[test]
    fn arbitrary_answers_are_servers_or_an_error(body: Vec<u8>, id: u64, server: String, weight: u32, parent: Option<i64>) {
        let _ = serde_json::from_slice::<Vec<ServerObject>>(&body);
        let object = serde_json::json!([{"id": id, "server": server, "weight": weight, "parent": parent, "x": {}}]);
        if let Ok(servers) = serde_json::from_value::<Vec<ServerObject>>(object) {
            let peers: Vec<Peer> = servers.into_iter().map(Peer::from).collect();
            prop_assert_eq!((peers[0].id, &peers[0].server), (id, &server));
        }
    }
}
