//! What the API counts, beside active requests.

use serde_json::{Value, json};

use crate::support::{Backend, Nginx, Settings, free_port, request};
use crate::{WEBSITE, add_address, peer, peer_becomes, send, status};

/// A server that answers every status it is asked for.
fn any_status() -> (String, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let locations: String = [200, 201, 301, 404, 500, 503]
        .iter()
        .map(|status| format!("location /{status} {{ return {status} \"text\\n\"; }}\n"))
        .collect();
    (
        format!("server {{ listen {address}; {locations} }}"),
        address,
    )
}

#[tokio::test]
async fn responses_are_counted_by_class_and_code() {
    let (block, address) = any_status();
    let nginx = Settings::default().workers(4).http(block).start().await;
    let id = add_address(&nginx, address).await;
    let asked = [
        ("200", 5),
        ("201", 1),
        ("301", 2),
        ("404", 3),
        ("500", 2),
        ("503", 1),
    ];
    for (status, times) in asked {
        for _ in 0..times {
            nginx.get(&format!("/{status}")).await.unwrap();
        }
    }
    let responses = json!({
        "1xx": 0, "2xx": 6, "3xx": 2, "4xx": 3, "5xx": 3, "total": 14,
        "codes": {"200": 5, "201": 1, "301": 2, "404": 3, "500": 2, "503": 1},
    });
    peer_becomes(
        &nginx,
        id,
        json!({"requests": 14, "responses": responses, "fails": 0}),
    )
    .await;
    let shown = peer(&nginx, id).await;
    assert!(shown["sent"].as_u64() > Some(14 * 20), "{shown}");
    assert!(shown["received"].as_u64() > Some(14 * 50), "{shown}");
    let selected: jiff::Timestamp = shown["selected"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().as_second() - selected.as_second() < 60);
}

#[tokio::test]
async fn codes_are_shown_from_version_seven_on() {
    let nginx = Nginx::start().await;
    add_address(&nginx, "127.0.0.1:1").await;
    for version in 2..=9 {
        let path = format!("/api/{version}{WEBSITE}");
        let answer = request(nginx.api_address(), "GET", &path, "")
            .await
            .unwrap();
        let responses = &answer.json()["peers"][0]["responses"];
        assert_eq!(responses.get("codes").is_some(), version >= 7, "{version}");
    }
}

#[tokio::test]
async fn a_reset_empties_the_statistics_and_keeps_the_servers() {
    let backend = Backend::start("b").await;
    let nginx = Settings::default().workers(4).start().await;
    let id = add_address(&nginx, backend.address()).await;
    send(&nginx, 20).await;
    peer_becomes(&nginx, id, json!({"requests": 20})).await;
    let answer = nginx.call("DELETE", &format!("{WEBSITE}/"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let shown = peer(&nginx, id).await;
    assert_eq!(
        (
            &shown["requests"],
            &shown["responses"]["total"],
            &shown["responses"]["codes"]
        ),
        (&json!(0), &json!(0), &json!({})),
    );
    send(&nginx, 3).await;
    let three =
        json!({"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 0, "codes": {"200": 3}, "total": 3});
    peer_becomes(&nginx, id, json!({"requests": 3, "responses": three})).await;
}

#[tokio::test]
async fn the_times_are_those_of_the_server() {
    let slow = Backend::start_slow("slow", std::time::Duration::from_millis(200)).await;
    let nginx = Nginx::start().await;
    let id = add_address(&nginx, slow.address()).await;
    assert_eq!(peer(&nginx, id).await.get("header_time"), None);
    let mut longest = 0;
    for _ in 0..3 {
        let start = tokio::time::Instant::now();
        send(&nginx, 1).await;
        longest = longest.max(start.elapsed().as_millis());
    }
    peer_becomes(&nginx, id, json!({"requests": 3})).await;
    let shown = peer(&nginx, id).await;
    for time in ["header_time", "response_time"] {
        let milliseconds = u128::from(shown[time].as_u64().unwrap());
        // nginx does not look at the clock for every request.
        assert!(
            (195..=longest + 50).contains(&milliseconds),
            "{longest}: {shown}"
        );
    }
}

/// The types that the formal description of the API gives to the fields of a peer.
#[tokio::test]
async fn the_status_object_has_the_documented_fields_and_types() {
    let backend = Backend::start("b").await;
    let nginx = Nginx::start().await;
    let id = add_address(&nginx, backend.address()).await;
    send(&nginx, 2).await;
    peer_becomes(&nginx, id, json!({"requests": 2})).await;
    let whole = status(&nginx).await;
    assert_eq!(names(&whole), ["keepalive", "peers", "zombies", "zone"]);
    assert_eq!(whole["zone"], "upstreams");

    let shown = &whole["peers"][0];
    let integers = [
        "active",
        "downtime",
        "fails",
        "header_time",
        "id",
        "received",
        "requests",
        "response_time",
        "sent",
        "unavail",
        "weight",
    ];
    let texts = ["name", "selected", "server", "state"];
    for name in integers {
        assert!(shown[name].is_u64(), "{name}: {shown}");
    }
    for name in texts {
        assert!(shown[name].is_string(), "{name}: {shown}");
    }
    assert!(shown["backup"].is_boolean());
    assert_eq!(
        shown["health_checks"],
        json!({"checks": 0, "fails": 0, "unhealthy": 0})
    );
    let responses = &shown["responses"];
    assert_eq!(
        names(responses),
        ["1xx", "2xx", "3xx", "4xx", "5xx", "codes", "total"]
    );
    let mut expected = [
        &integers[..],
        &texts[..],
        &["backup", "health_checks", "responses"],
    ]
    .concat();
    expected.sort_unstable();
    assert_eq!(names(shown), expected);
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}
