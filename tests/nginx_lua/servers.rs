//! Servers as the API takes and shows them.

use serde_json::{Value, json};

use crate::support::{Nginx, Settings};
use crate::{WEBSITE, add, add_address, fault, patch, post, remove, with_and_without_cjson};

#[tokio::test]
async fn a_server_starts_with_the_defaults_and_is_shown_in_full() {
    let nginx = Nginx::start().await;
    let answer = post(&nginx, r#"{"server":"10.0.0.1:8088"}"#).await;
    assert_eq!(answer.status, 201);
    let server = json!({
        "id": 0, "server": "10.0.0.1:8088", "weight": 1, "max_conns": 0, "max_fails": 1,
        "fail_timeout": "10s", "slow_start": "0s", "route": "", "backup": false, "down": false,
    });
    assert_eq!(answer.json(), server);
    let one = nginx.call("GET", &format!("{WEBSITE}/servers/0"), "").await;
    assert_eq!(one.json(), server);
    let all = nginx.call("GET", &format!("{WEBSITE}/servers/"), "").await;
    assert_eq!(all.json(), json!([server]));
}

#[tokio::test]
async fn every_parameter_can_be_given_and_comes_back() {
    let nginx = Nginx::start().await;
    let given = json!({
        "server": "10.0.0.1:8088", "weight": 5, "max_conns": 20, "max_fails": 0, "fail_timeout": "1m 30s",
        "slow_start": "500ms", "route": "a1", "backup": true, "down": true, "drain": true,
    });
    let answer = post(&nginx, &given.to_string()).await.json();
    let mut expected = given;
    expected["id"] = json!(0);
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let nginx = Nginx::start().await;
    let id = add(&nginx, r#"{"server":"10.0.0.1","weight":3,"backup":true}"#).await;
    let changed = patch(&nginx, id, r#"{"drain":true,"fail_timeout":30}"#).await;
    assert_eq!(
        (&changed["drain"], &changed["fail_timeout"]),
        (&json!(true), &json!("30s"))
    );
    assert_eq!(
        (&changed["weight"], &changed["backup"]),
        (&json!(3), &json!(true))
    );
    let changed = patch(
        &nginx,
        id,
        r#"{"drain":false,"server":"10.0.0.2:81","weight":1}"#,
    )
    .await;
    assert_eq!(changed.get("drain"), None, "left out when it is false");
    assert_eq!(changed["server"], "10.0.0.2:81");
    let same = patch(&nginx, id, "{}").await;
    assert_eq!(same, changed);
}

#[tokio::test]
async fn a_patch_may_repeat_what_cannot_be_changed() {
    // The official Go client sends all of a server but its id.
    let nginx = Nginx::start().await;
    for backup in [true, false] {
        let given = json!({"server": "10.0.0.1", "weight": 3, "backup": backup});
        let id = add(&nginx, &given.to_string()).await;
        let path = format!("{WEBSITE}/servers/{id}");
        let mut whole = nginx.call("GET", &path, "").await.json();
        whole.as_object_mut().unwrap().remove("id");
        whole["weight"] = json!(7);
        let changed = patch(&nginx, id, &whole.to_string()).await;
        assert_eq!(
            (&changed["weight"], &changed["backup"]),
            (&json!(7), &json!(backup))
        );
    }
}

#[tokio::test]
async fn every_wrong_parameter_has_its_own_error() {
    let nginx = Nginx::start().await;
    add_address(&nginx, "10.0.0.1").await;
    let format = "UpstreamConfFormatError";
    let both = [
        (json!({"weight": 0}), "UpstreamBadWeight"),
        (json!({"weight": -1}), "UpstreamBadWeight"),
        (json!({"weight": 9_999_999_999_u64}), "UpstreamBadWeight"),
        (json!({"weight": "1"}), format),
        (json!({"weight": 1.5}), format),
        (json!({"weight": null}), format),
        (json!({"weight": true}), format),
        (json!({"weight": [1]}), format),
        (json!({"weight": {"n": 1}}), format),
        (json!({"max_conns": -1}), "UpstreamBadMaxConns"),
        (json!({"max_fails": -1}), "UpstreamBadMaxFails"),
        (json!({"fail_timeout": "soon"}), "UpstreamBadFailTimeout"),
        (json!({"fail_timeout": ""}), "UpstreamBadFailTimeout"),
        (json!({"fail_timeout": "10ms"}), "UpstreamBadFailTimeout"),
        (json!({"fail_timeout": "10s 1m"}), "UpstreamBadFailTimeout"),
        (json!({"fail_timeout": -1}), "UpstreamBadFailTimeout"),
        (json!({"fail_timeout": true}), format),
        (json!({"slow_start": "1x"}), "UpstreamBadSlowStart"),
        (json!({"route": "x".repeat(33)}), "UpstreamBadRoute"),
        (json!({"route": 1}), format),
        (json!({"down": "yes"}), format),
        (json!({"drain": 1}), format),
        (json!({"id": 0}), format),
        (json!({"parent": 0}), format),
        (json!({"host": "a"}), format),
        (json!({"wieght": 1}), format),
        (json!({"server": 1}), format),
        (json!({"server": null}), format),
        (json!({"server": {}}), format),
        (json!({"server": ""}), "UpstreamBadAddress"),
    ];
    for (wrong, code) in both {
        let mut body = json!({"server": "10.0.0.2"});
        body.as_object_mut()
            .unwrap()
            .extend(wrong.as_object().unwrap().clone());
        let answer = post(&nginx, &body.to_string()).await;
        assert_eq!(fault(&answer), (400, code.to_owned()), "POST {body}");
        let path = format!("{WEBSITE}/servers/0");
        let answer = nginx.call("PATCH", &path, &wrong.to_string()).await;
        assert_eq!(fault(&answer), (400, code.to_owned()), "PATCH {wrong}");
    }
    for fixed in [
        json!({"backup": true}),
        json!({"weight": 2, "backup": true}),
        json!({"backup": "no"}),
        json!({"service": "http"}),
    ] {
        let path = format!("{WEBSITE}/servers/0");
        let answer = nginx.call("PATCH", &path, &fixed.to_string()).await;
        assert_eq!(fault(&answer), (400, format.to_owned()), "PATCH {fixed}");
    }
    assert_eq!(
        nginx.addresses("website").await,
        ["10.0.0.1:80"],
        "nothing was done"
    );
}

#[tokio::test]
async fn addresses_come_back_in_the_spelling_of_nginx() {
    let nginx = Nginx::start().await;
    let cases = [
        ("10.0.0.1", "10.0.0.1:80"),
        ("10.0.0.1:8080", "10.0.0.1:8080"),
        ("[::1]", "[::1]:80"),
        ("[2001:DB8:0:0:0:0:0:5]:65535", "[2001:db8::5]:65535"),
        (
            "[2001:0db8:0000:0001:0000:0000:0000:0001]:1",
            "[2001:db8:0:1::1]:1",
        ),
        ("[2001:db8:0:1:1:1:1:1]:80", "[2001:db8:0:1:1:1:1:1]:80"),
        ("[2001:0:0:1::1]:80", "[2001:0:0:1::1]:80"),
        ("[::]:80", "[::]:80"),
        ("[1::]:80", "[1::]:80"),
        ("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80"),
        ("[0:0:0:0:0:FFFF:0a00:0001]:80", "[::ffff:10.0.0.1]:80"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ];
    for (given, expected) in cases {
        let answer = post(&nginx, &json!({ "server": given }).to_string()).await;
        assert_eq!(answer.status, 201, "{given}: {answer:?}");
        assert_eq!(answer.json()["server"], expected, "{given}");
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_bad_and_a_name_wants_a_resolver() {
    let nginx = Nginx::start().await;
    let bad = [
        "10.0.0.256",
        "10.0.0",
        "10.0.0.1.2",
        "010.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:",
        "10.0.0.1:80:80",
        "10.0.0.1:http",
        "10.0.0.1 ",
        "10.0.0.1;",
        "::1",
        "[::1",
        "[]:80",
        "[::1]x",
        "[:::]:80",
        "[1::2::3]:80",
        "[1:2:3:4:5:6:7]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[12345::]:80",
        "[fe80::1%eth0]:80",
        "[::10.0.0.256]:80",
        ":80",
        "unix:",
        "unix:relative",
        "unix:/a\nb",
        "two words",
        "-",
        "a..b",
        "a\u{0}b",
        "http://10.0.0.1",
    ];
    for server in bad {
        let answer = post(&nginx, &json!({ "server": server }).to_string()).await;
        assert_eq!(
            fault(&answer),
            (400, "UpstreamBadAddress".to_owned()),
            "{server:?}"
        );
    }
    for name in ["backend", "app.example.org:8080", "localhost:80"] {
        let answer = post(&nginx, &json!({ "server": name }).to_string()).await;
        assert_eq!(
            fault(&answer),
            (400, "UpstreamConfNoResolver".to_owned()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_service_is_refused_for_the_reason_that_applies() {
    let nginx = Nginx::start().await;
    let cases = [
        (
            json!({"server": "example.org", "service": ""}),
            "UpstreamBadService",
        ),
        (
            json!({"server": "example.org", "service": 1}),
            "UpstreamConfFormatError",
        ),
        (
            json!({"server": "example.org:80", "service": "http"}),
            "UpstreamBadAddress",
        ),
        (
            json!({"server": "10.0.0.1", "service": "http"}),
            "UpstreamBadAddress",
        ),
        (
            json!({"server": "example.org", "service": "http"}),
            "UpstreamConfNoResolver",
        ),
    ];
    for (body, code) in cases {
        let answer = post(&nginx, &body.to_string()).await;
        assert_eq!(fault(&answer), (400, code.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_removed_server_leaves_the_others_and_its_id_is_never_used_again() {
    let nginx = Nginx::start().await;
    for id in 0..3 {
        assert_eq!(
            add_address(&nginx, "10.0.0.1").await,
            id,
            "duplicates are entries of their own"
        );
    }
    let path = format!("{WEBSITE}/servers/2/");
    let answer = nginx.call("DELETE", &path, "").await;
    let ids = |value: Value| -> Vec<u64> {
        let servers = value.as_array().unwrap().clone();
        servers.iter().map(|s| s["id"].as_u64().unwrap()).collect()
    };
    assert_eq!((answer.status, ids(answer.json())), (200, vec![0, 1]));
    assert_eq!(add_address(&nginx, "10.0.0.1").await, 3);
    nginx.reload().await;
    assert_eq!(add_address(&nginx, "10.0.0.1").await, 4);
    let gone = nginx.call("DELETE", &path, "").await;
    assert_eq!(fault(&gone), (404, "UpstreamServerNotFound".to_owned()));
    for id in [0, 1, 3, 4] {
        remove(&nginx, id).await;
    }
    assert_eq!(nginx.addresses("website").await, [""; 0]);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_json_error_and_a_value_that_is_no_object_is_not() {
    for settings in with_and_without_cjson() {
        judges_bodies(settings.start().await).await;
    }
}

async fn judges_bodies(nginx: Nginx) {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    let no_json = [
        "",
        "server=10.0.0.1",
        "{",
        r#"{"server":"10.0.0.1""#,
        r#"{"server":"10.0.0.1",}"#,
        r#"{"server":"10.0.0.1"} x"#,
        r#"{"server":'10.0.0.1'}"#,
        r#"{server:"10.0.0.1"}"#,
        r#"{"server":"\x"}"#,
        r#"{"server":"\ud800"}"#,
        "{\"server\":\"a\nb\"}",
        r#"{"weight":01}"#,
        r#"{"weight":1.}"#,
        r#"{"weight":+1}"#,
        r#"{"weight":NaN}"#,
        "[1,]",
        "\u{feff}{}",
        deep.as_str(),
    ];
    for body in no_json {
        let answer = post(&nginx, body).await;
        assert_eq!(fault(&answer), (415, "JsonError".to_owned()), "{body:.40}");
    }
    for body in ["[]", "1", "true", "null", r#""10.0.0.1""#, "{}", " {} "] {
        let answer = post(&nginx, body).await;
        assert_eq!(
            fault(&answer),
            (400, "UpstreamConfFormatError".to_owned()),
            "{body}"
        );
    }
    let escaped = r#" { "\u0073erver" : "10\u002e0.0.1:\u0038\u0030" , "weight" : 2e0 } "#;
    let answer = post(&nginx, escaped).await.json();
    assert_eq!(
        (&answer["server"], &answer["weight"]),
        (&json!("10.0.0.1:80"), &json!(2))
    );
}

#[tokio::test]
async fn a_body_may_be_spooled_to_a_file_but_not_be_larger_than_the_usual_buffer() {
    let nginx = Settings::default()
        .http("client_body_buffer_size 64;")
        .start()
        .await;
    let padded = |size: usize| format!(r#"{{"server":"10.0.0.1"}}{}"#, " ".repeat(size));
    let answer = post(&nginx, &padded(15_000)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = post(&nginx, &padded(17_000)).await;
    assert_eq!(answer.status, 413);
    assert!(
        answer.body.contains("<html>"),
        "nginx's own page: {answer:?}"
    );
}

#[tokio::test]
async fn a_full_dictionary_refuses_servers_and_loses_none() {
    let nginx = Settings::default().dict("64k").start().await;
    let mut added = Vec::new();
    let refused = loop {
        let server = format!("10.0.{}.{}:80", added.len() / 250, added.len() % 250);
        let answer = post(&nginx, &json!({ "server": server }).to_string()).await;
        if answer.status != 201 {
            break answer;
        }
        added.push(server);
        assert!(added.len() < 2_000, "64k cannot hold that many");
    };
    assert_eq!(fault(&refused), (400, "UpstreamOutOfMemory".to_owned()));
    let text = refused.json()["error"]["text"].to_string();
    assert!(text.contains("website"), "{text}");
    assert!(added.len() > 20, "only {} fit", added.len());
    added.sort();
    assert_eq!(nginx.addresses("website").await, added);

    // What needs no room goes on, and makes some.
    let ids: Vec<u64> = nginx
        .servers("website")
        .await
        .iter()
        .map(|s| s.id)
        .collect();
    patch(&nginx, ids[0], r#"{"down":true,"weight":100,"drain":true}"#).await;
    for id in &ids {
        remove(&nginx, *id).await;
    }
    add_address(&nginx, "10.0.0.1").await;
}
