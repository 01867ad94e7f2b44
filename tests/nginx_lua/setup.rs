//! Mistakes in `setup{}` and its companions: each one gets a sentence that says what to do.

use crate::support::{Backend, Nginx, Settings};
use crate::{add_address, send};

#[tokio::test]
async fn every_mistake_of_setup_stops_nginx_with_a_sentence() {
    let cases = [
        (
            r#"{ "website" }, dict = "missing""#,
            "lua_shared_dict missing 1m;",
        ),
        (
            r#"{ "website" }, dict = 1"#,
            "dict must be a string, not a number",
        ),
        (r#"{ "website" }, dict = nil"#, "dict is missing"),
        (r#"{ "website" }, stat = "file""#, r#"unknown key "stat""#),
        (r#"{ "website" }, state = true"#, "state must be a string"),
        (r#"{ "website" }, state = """#, "state is empty"),
        ("nil", "upstreams is missing"),
        ("{}", "upstreams is empty"),
        (r#""website""#, "upstreams must be a table, not a string"),
        ("{ 1 }", r#"bad upstream name "1""#),
        (r#"{ "web/site" }"#, r#"bad upstream name "web/site""#),
        (r#"{ "" }"#, "bad upstream name"),
        (r#"{ "website", "website" }"#, "declared twice"),
        (r#"{ "website", website = {} }"#, "declared twice"),
        (r#"{ website = "10.0.0.1" }"#, "must be a table"),
        (
            r#"{ website = { server = {} } }"#,
            r#"unknown key "server""#,
        ),
        (
            r#"{ website = { servers = "10.0.0.1" } }"#,
            "servers must be a list",
        ),
        (
            r#"{ website = { servers = { a = "10.0.0.1" } } }"#,
            r#"has the key "a""#,
        ),
        (
            r#"{ website = { servers = { "10.0.0.1", "backend:80" } } }"#,
            "server 2: no resolver",
        ),
        (
            r#"{ website = { servers = { "10.0.0.256" } } }"#,
            "server 1: invalid host",
        ),
        (
            r#"{ website = { servers = { { server = "10.0.0.1", weight = 0 } } } }"#,
            r#"invalid "weight""#,
        ),
        (
            r#"{ website = { servers = { { "10.0.0.1", server = "10.0.0.1" } } } }"#,
            r#"unknown parameter "1""#,
        ),
        (
            r#"{ website = { servers = { { weight = 1 } } } }"#,
            r#"missing "server""#,
        ),
        (
            r#"{ website = { servers = { { server = "10.0.0.1", wait = 1 } } } }"#,
            r#"unknown parameter "wait""#,
        ),
    ];
    for (declared, expected) in cases {
        let said = Settings::default().declared(declared).refused().await;
        assert!(said.contains("upstream_api.setup: "), "{declared}: {said}");
        assert!(said.contains(expected), "{declared}: {said}");
    }
}

#[tokio::test]
async fn a_dictionary_that_is_too_small_is_refused() {
    let said = Settings::default().dict("16k").refused().await;
    assert!(said.contains("make it 64k or more"), "{said}");
    let many = "(function() local list = {} for i = 1, 2000 do list[i] = \"10.0.0.1\" end return list end)()";
    let declared = format!("{{ website = {{ servers = {many} }} }}");
    let said = Settings::default()
        .dict("64k")
        .declared(declared)
        .refused()
        .await;
    assert!(
        said.contains("is too small for the servers of \"website\""),
        "{said}"
    );
}

#[tokio::test]
async fn the_dictionary_has_the_size_that_the_comment_promises() {
    let many = "(function() local list = {} for i = 1, 200 do list[i] = \"10.0.0.\" .. i end return list end)()";
    let nginx = Settings::default()
        .dict("1m")
        .workers(4)
        .declared(format!("{{ website = {{ servers = {many} }} }}"))
        .start()
        .await;
    for _ in 0..200 {
        // Nobody listens there, which is not the point.
        let _ = nginx.get("/").await;
    }
    add_address(&nginx, "10.0.1.1").await;
    assert!(!nginx.process().output().contains("is full"));
}

#[tokio::test]
async fn a_balancer_of_an_upstream_that_setup_does_not_know_says_so() {
    let nginx = Settings::default()
        .http(
            r#"upstream typo { server 0.0.0.1;
                balancer_by_lua_block { require("upstream_api").balance("wbsite") } }"#,
        )
        .locations("location /typo { proxy_pass http://typo; }")
        .start()
        .await;
    assert_eq!(nginx.get("/typo").await.unwrap().status, 500);
    nginx
        .process()
        .line(r#""wbsite" is not among the upstreams of setup{}"#)
        .await;
}

#[tokio::test]
async fn a_mistake_in_the_options_of_serve_is_named() {
    let nginx = Settings::default()
        .locations(
            r#"location /api { content_by_lua_block { require("upstream_api").serve { wirte = false } } }"#,
        )
        .start()
        .await;
    assert_eq!(nginx.get("/api/9/nginx").await.unwrap().status, 500);
    nginx
        .process()
        .line(r#"upstream_api.serve: unknown key "wirte""#)
        .await;
}

#[tokio::test]
async fn nothing_writes_global_variables_or_complains_in_a_normal_life() {
    let backend = Backend::start("b").await;
    let nginx = Nginx::start().await;
    add_address(&nginx, backend.address()).await;
    send(&nginx, 20).await;
    nginx.reload().await;
    send(&nginx, 20).await;
    let output = nginx.process().output();
    for word in ["global", "[warn]", "[error]", "[alert]"] {
        assert!(!output.contains(word), "{output}");
    }
}
