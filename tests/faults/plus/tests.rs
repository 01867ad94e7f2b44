use std::time::Duration;

use serde_json::json;

use super::{Mood, Plus};
use crate::support::{Answer, Command, Ended, Etcd, PATIENCE, request, until};

const SERVERS: &str = "/api/9/http/upstreams/website/servers";

async fn get(plus: &Plus, path: &str) -> Answer {
    request(plus.address(), "GET", path, "").await.unwrap()
}

async fn change(plus: &Plus, method: &str, path: &str, body: &str) -> Answer {
    let body = body.to_owned();
    request(plus.address(), method, path, body).await.unwrap()
}

async fn push_once(etcd: &Etcd, plus: &Plus) -> Ended {
    let push = Command::new("push")
        .etcd(etcd)
        .args(["--nginx", &plus.api_url()]);
    push.args(["--upstream", "website", "--once"]).run().await
}

impl Plus {
    /// Waits until another request has met the mood.
    async fn spoils_one(&self) {
        let before = self.asked();
        let asked = async || self.asked() > before;
        until(PATIENCE, "a request", asked).await;
    }
}

fn sorted(mut addresses: Vec<String>) -> Vec<String> {
    addresses.sort();
    addresses
}

async fn two_records(etcd: &Etcd) -> Vec<String> {
    let mut addresses = Vec::new();
    for number in 1..=2 {
        let record = json!({"host": "10.0.0.5", "port": 8080 + number}).to_string();
        etcd.put(&format!("/services/website/{number}"), record)
            .await;
        addresses.push(format!("10.0.0.5:{}", 8080 + number));
    }
    addresses
}

#[tokio::test]
async fn sidekick_puts_servers_there_and_repairs_them_after_a_restart() {
    let etcd = Etcd::start().await;
    let plus = Plus::start(&["website", "other"]).await;
    let addresses = two_records(&etcd).await;
    let ended = push_once(&etcd, &plus).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(sorted(plus.routed("website")), addresses);
    assert!(plus.routed("other").is_empty());
    plus.reload();
    assert_eq!(sorted(plus.routed("website")), addresses);
    plus.restart();
    assert!(plus.routed("website").is_empty());
    let ended = push_once(&etcd, &plus).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(sorted(plus.routed("website")), addresses);
}

#[tokio::test]
async fn a_running_pusher_outlives_every_mood_and_a_restart_in_each() {
    let etcd = Etcd::start().await;
    let plus = Plus::start(&["website"]).await;
    let addresses = two_records(&etcd).await;
    let push = Command::new("push")
        .etcd(&etcd)
        .args(["--nginx", &plus.api_url()]);
    let push = push.args([
        "--upstream",
        "website",
        "--resync",
        "1s",
        "--request-timeout",
        "200ms",
    ]);
    let _pusher = push.start();
    let routed = async || {
        until(PATIENCE, "both servers", async || {
            let routed = sorted(plus.routed("website"));
            if routed == addresses {
                Ok(())
            } else {
                Err(routed)
            }
        })
        .await;
    };
    routed().await;
    let slow = Mood::Slow(Duration::from_millis(300));
    let moods = [
        Mood::Fails500,
        Mood::Garbage,
        Mood::Resets,
        Mood::Silent,
        Mood::Wrong,
        slow,
    ];
    for mood in moods {
        plus.set(mood);
        plus.restart();
        // As the pusher asks again every second, it meets the mood.
        plus.spoils_one().await;
        assert!(plus.routed("website").len() < 2 || mood == slow, "{mood:?}");
        plus.set(Mood::Well);
        routed().await;
    }
}

#[tokio::test]
async fn it_answers_as_the_document_says() {
    let plus = Plus::start(&["website"]).await;
    let versions = json!([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(get(&plus, "/api").await.json(), versions);
    assert_eq!(get(&plus, "/api/").await.json(), versions);
    let address = r#"{"server":"10.0.0.1:80"}"#;
    let added = change(&plus, "POST", SERVERS, address).await;
    let expected = json!({
        "id": 0, "server": "10.0.0.1:80", "weight": 1, "max_conns": 0, "max_fails": 1, "fail_timeout": "10s",
        "slow_start": "0s", "route": "", "backup": false, "down": false,
    });
    assert_eq!((added.status, added.json()), (201, expected.clone()));
    let server = format!("{SERVERS}/0/");
    assert_eq!(get(&plus, &server).await.json(), expected);
    let drained = change(&plus, "PATCH", &server, r#"{"drain":true}"#).await;
    assert_eq!(
        (drained.status, &drained.json()["drain"]),
        (200, &json!(true))
    );
    assert!(plus.routed("website").is_empty());
    let status = get(&plus, "/api/9/http/upstreams/website").await.json();
    assert_eq!(status["peers"][0]["state"], "draining");
    let back = change(&plus, "PATCH", &server, r#"{"drain":false}"#).await;
    assert_eq!(back.json(), expected);
    let left = change(&plus, "DELETE", &server, "").await;
    assert_eq!((left.status, left.json()), (200, json!([])));
    let again = change(&plus, "POST", SERVERS, address).await;
    assert_eq!(again.json()["id"], 1);
    let before = get(&plus, "/api/9/nginx").await.json();
    plus.restart();
    let after = get(&plus, "/api/9/nginx").await.json();
    assert_ne!(before["ppid"], after["ppid"]);
    plus.reload();
    let reloaded = get(&plus, "/api/9/nginx").await.json();
    assert_ne!(after["generation"], reloaded["generation"]);
    assert_eq!(after["ppid"], reloaded["ppid"]);
}

#[tokio::test]
async fn it_refuses_as_the_document_says() {
    let plus = Plus::start(&["website"]).await;
    let other = "/api/9/http/upstreams/other";
    let zero = &format!("{SERVERS}/0");
    let refusals = [
        ("GET", "/api/10/nginx", "", 404, "UnknownVersion"),
        (
            "GET",
            "/api/9/stream/upstreams/website",
            "",
            404,
            "PathNotFound",
        ),
        ("GET", other, "", 404, "UpstreamNotFound"),
        ("GET", zero, "", 404, "UpstreamServerNotFound"),
        ("DELETE", zero, "", 404, "UpstreamServerNotFound"),
        (
            "PATCH",
            &format!("{SERVERS}/a"),
            "{}",
            400,
            "UpstreamBadServerId",
        ),
        ("POST", SERVERS, "{", 415, "JsonError"),
        ("POST", SERVERS, "{}", 400, "UpstreamConfFormatError"),
        (
            "POST",
            SERVERS,
            r#"{"id":1}"#,
            400,
            "UpstreamConfFormatError",
        ),
        (
            "POST",
            SERVERS,
            r#"{"server":"10.0.0.1:80","weight":0}"#,
            400,
            "UpstreamBadWeight",
        ),
        (
            "POST",
            SERVERS,
            r#"{"server":"name:80"}"#,
            400,
            "UpstreamConfNoResolver",
        ),
    ];
    for (method, path, body, status, code) in refusals {
        let answer = change(&plus, method, path, body).await;
        let said = answer.json();
        assert_eq!(
            (answer.status, &said["error"]["code"]),
            (status, &json!(code)),
            "{method} {path} {body}"
        );
    }
}

#[tokio::test]
async fn moods_do_to_requests_what_their_names_say() {
    let plus = Plus::start(&["website"]).await;
    let post = async |number: u16| {
        let body = json!({"server": format!("10.0.0.1:{number}")}).to_string();
        request(plus.address(), "POST", SERVERS, body).await
    };
    plus.set(Mood::Fails500);
    assert_eq!(
        [post(1).await.unwrap().status, post(1).await.unwrap().status],
        [500, 500]
    );
    plus.set(Mood::Wrong);
    assert_eq!(post(1).await.unwrap().status, 200);
    assert!(plus.routed("website").is_empty());
    plus.set(Mood::Garbage);
    for number in [1, 2] {
        let answer = post(number).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());
    }
    plus.set(Mood::Resets);
    assert!(post(3).await.is_err() && post(4).await.is_err());
    assert_eq!(plus.routed("website"), ["10.0.0.1:2", "10.0.0.1:3"]);
    plus.set(Mood::Silent);
    let silent = post(5);
    let well = async { plus.set(Mood::Well) };
    let (answer, ()) = tokio::join!(silent, well);
    assert_eq!(answer.unwrap().status, 201);
}
