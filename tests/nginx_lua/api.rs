//! The tree of the API, and how it refuses.

use serde_json::json;

use crate::support::{Answer, Nginx, Settings, request};
use crate::{WEBSITE, add_address, fault};

/// A GET of the API, `path` from behind the host on.
async fn get(nginx: &Nginx, path: &str) -> Answer {
    call(nginx, "GET", path).await
}

async fn call(nginx: &Nginx, method: &str, path: &str) -> Answer {
    request(nginx.api_address(), method, path, "")
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[tokio::test]
async fn versions_two_to_nine_are_listed_and_served() {
    let nginx = Nginx::start().await;
    for path in ["/api", "/api/"] {
        let answer = get(&nginx, path).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.json(), json!([2, 3, 4, 5, 6, 7, 8, 9]));
    }
    for version in 2..=9 {
        let root = get(&nginx, &format!("/api/{version}/")).await;
        assert_eq!(
            (root.status, root.json()),
            (200, json!(["nginx", "http"])),
            "{version}"
        );
    }
}

#[tokio::test]
async fn every_level_of_the_tree_answers_with_and_without_a_trailing_slash() {
    let nginx = Nginx::start().await;
    add_address(&nginx, "127.0.0.1:1").await;
    let levels = [
        "/api/9",
        "/api/9/nginx",
        "/api/9/http",
        "/api/9/http/upstreams",
        "/api/9/http/upstreams/website",
        "/api/9/http/upstreams/website/servers",
        "/api/9/http/upstreams/website/servers/0",
    ];
    for level in levels {
        for path in [level.to_owned(), format!("{level}/")] {
            let answer = get(&nginx, &path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
    let http = get(&nginx, "/api/9/http/").await;
    assert_eq!(http.json(), json!(["upstreams"]));
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let nginx = Nginx::start().await;
    let cases = [
        ("/api/1/", 404, "UnknownVersion"),
        ("/api/10/http", 404, "UnknownVersion"),
        ("/api/0", 404, "UnknownVersion"),
        ("/api/nine/", 404, "UnknownVersion"),
        ("/api/9/stream/upstreams", 404, "PathNotFound"),
        ("/api/9/http/server_zones", 404, "PathNotFound"),
        ("/api/9/nginx/pid", 404, "PathNotFound"),
        ("/api/9/http/upstreams/website/peers", 404, "PathNotFound"),
        (
            "/api/9/http/upstreams/website/servers/0/weight",
            404,
            "PathNotFound",
        ),
        ("/api/9/http/upstreams/nobody", 404, "UpstreamNotFound"),
        (
            "/api/9/http/upstreams/nobody/servers",
            404,
            "UpstreamNotFound",
        ),
        (
            "/api/9/http/upstreams/website/servers/0",
            404,
            "UpstreamServerNotFound",
        ),
        (
            "/api/9/http/upstreams/website/servers/-1",
            400,
            "UpstreamBadServerId",
        ),
        (
            "/api/9/http/upstreams/website/servers/1x",
            400,
            "UpstreamBadServerId",
        ),
        (
            "/api/9/http/upstreams/website/servers/99999999999999999999",
            400,
            "UpstreamBadServerId",
        ),
    ];
    for (path, status, code) in cases {
        let answer = get(&nginx, path).await;
        assert_eq!(fault(&answer), (status, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn errors_carry_path_and_method_up_to_version_three() {
    let nginx = Nginx::start().await;
    for version in 2..=9 {
        let path = format!("/api/{version}/http/upstreams/nobody");
        let error = get(&nginx, &path).await.json();
        let id = error["request_id"].as_str().expect("a text");
        assert!(
            id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()),
            "{id}"
        );
        assert!(error["error"]["text"].is_string());
        assert!(error["href"].as_str().unwrap().starts_with("https://"));
        let expected = (version <= 3).then(|| json!(""));
        assert_eq!(error.get("path"), expected.as_ref(), "{version}");
        assert_eq!(error.get("method"), expected.as_ref(), "{version}");
    }
}

#[tokio::test]
async fn fields_limit_the_output_and_empty_ones_leave_the_names() {
    let nginx = Settings::default()
        .upstreams(&["website", "shop"])
        .start()
        .await;
    let all = get(&nginx, "/api/9/http/upstreams/?fields=").await;
    assert_eq!(all.json(), json!({"website": {}, "shop": {}}));
    let all = get(&nginx, "/api/9/http/upstreams?fields=zombies,keepalive").await;
    let limited = json!({"keepalive": 0, "zombies": 0});
    assert_eq!(all.json(), json!({"website": limited, "shop": limited}));
    let all = get(
        &nginx,
        "/api/9/http/upstreams?fields=zombies&fields=keepalive&fields",
    )
    .await;
    assert_eq!(all.json()["shop"], limited);
    let one = get(&nginx, "/api/9/http/upstreams/shop?fields=zone").await;
    assert_eq!(one.json(), json!({"zone": "upstreams"}));
    let nginx_fields = get(&nginx, "/api/9/nginx?fields=version,nonsense").await;
    assert_eq!(nginx_fields.json().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn nginx_tells_its_processes_and_counts_reloads() {
    let nginx = Nginx::start().await;
    let before = get(&nginx, "/api/9/nginx").await.json();
    assert_eq!(before["generation"], 1);
    assert_eq!(before["ppid"], nginx.process().pid());
    let pid = u32::try_from(before["pid"].as_u64().unwrap()).unwrap();
    assert!(nginx.workers().contains(&pid));
    assert_eq!(before["address"], "127.0.0.1");
    let version = before["version"].as_str().unwrap();
    assert_eq!(version.split('.').count(), 3, "{version}");
    for time in ["load_timestamp", "timestamp"] {
        let text = before[time].as_str().unwrap();
        let parsed: jiff::Timestamp = text.parse().expect("ISO 8601");
        assert_eq!(format!("{parsed:.3}"), text);
    }

    nginx.reload().await;
    let after = get(&nginx, "/api/9/nginx").await.json();
    assert_eq!(after["generation"], 2);
    assert_eq!(after["ppid"], before["ppid"]);
    assert!(after["load_timestamp"].as_str() > before["load_timestamp"].as_str());
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_disabled() {
    let nginx = Nginx::start().await;
    add_address(&nginx, "127.0.0.1:1").await;
    let cases = [
        ("POST", "/nginx".to_owned()),
        ("DELETE", "/http/upstreams".to_owned()),
        ("POST", WEBSITE.to_owned()),
        ("PUT", format!("{WEBSITE}/servers")),
        ("DELETE", format!("{WEBSITE}/servers")),
        ("POST", format!("{WEBSITE}/servers/0")),
    ];
    for (method, path) in cases {
        let answer = nginx.call(method, &path, r#"{"server":"10.0.0.1"}"#).await;
        assert_eq!(
            fault(&answer),
            (405, "MethodDisabled".to_owned()),
            "{method} {path}"
        );
    }
    let head = nginx.call("HEAD", "/nginx", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_read_only_api_shows_everything_and_changes_nothing() {
    let nginx = Settings::default()
        .declared(r#"{ website = { servers = { "10.0.0.1" } } }"#)
        .serve("{ write = false }")
        .start()
        .await;
    let cases = [
        ("POST", format!("{WEBSITE}/servers")),
        ("PATCH", format!("{WEBSITE}/servers/0")),
        ("DELETE", format!("{WEBSITE}/servers/0")),
        ("DELETE", WEBSITE.to_owned()),
    ];
    for (method, path) in cases {
        let answer = nginx.call(method, &path, r#"{"server":"10.0.0.2"}"#).await;
        assert_eq!(
            fault(&answer),
            (405, "MethodDisabled".to_owned()),
            "{method} {path}"
        );
    }
    assert_eq!(nginx.addresses("website").await, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn the_api_can_be_mounted_anywhere() {
    let serve = |path: &str, options: &str| {
        format!(
            r#"location {path} {{ content_by_lua_block {{ require("upstream_api").serve({options}) }} }}
            "#
        )
    };
    let locations = [
        serve("/internal/plus-api", ""),
        serve("/slash/", ""),
        serve("/v/1/api", r#"{ mount = "/v/1/api" }"#),
        serve("/api/plus/", r#"{ mount = "/api/plus/" }"#),
        serve("/wrong", r#"{ mount = "/right" }"#),
    ];
    let nginx = Settings::default()
        .locations(locations.concat())
        .start()
        .await;
    for mount in ["/internal/plus-api", "/slash", "/v/1/api", "/api/plus"] {
        if mount != "/slash" && mount != "/api/plus" {
            let versions = nginx.get(mount).await.unwrap();
            assert_eq!(versions.json()[0], 2, "{mount}");
        }
        let versions = nginx.get(&format!("{mount}/")).await.unwrap();
        assert_eq!(versions.json()[7], 9, "{mount}");
        let servers = nginx
            .get(&format!("{mount}/9{WEBSITE}/servers"))
            .await
            .unwrap();
        assert_eq!((servers.status, servers.json()), (200, json!([])));
        let unknown = nginx.get(&format!("{mount}/10/")).await.unwrap();
        assert_eq!(fault(&unknown), (404, "UnknownVersion".to_owned()));
    }
    let wrong = nginx.get("/wrong/9/nginx").await.unwrap();
    assert_eq!(fault(&wrong), (404, "PathNotFound".to_owned()));
}
