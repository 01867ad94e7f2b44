//! `upstream_conf.lua`: the older text API on the same upstreams.

use crate::add;
use crate::support::{Nginx, Settings};

const CONF: &str = r#"
    location = /upstream_conf { content_by_lua_block { require("upstream_conf").serve() } }
"#;

async fn nginx() -> Nginx {
    Settings::default().locations(CONF).start().await
}

/// Status and body of a GET with this query.
async fn ask(nginx: &Nginx, query: &str) -> (u16, String) {
    let answer = nginx.get(&format!("/upstream_conf?{query}")).await.unwrap();
    (answer.status, answer.body)
}

#[tokio::test]
async fn servers_are_shown_added_changed_and_removed() {
    let nginx = nginx().await;
    let line = |text: &str| (200, format!("{text}\n"));
    assert_eq!(ask(&nginx, "upstream=website").await, (200, String::new()));
    assert_eq!(
        ask(
            &nginx,
            "upstream=website&add=&server=10.0.0.1:80&weight=3&backup="
        )
        .await,
        line("server 10.0.0.1:80 backup; # id=0")
    );
    assert_eq!(
        ask(
            &nginx,
            "upstream=website&add=&server=[2001:db8::5]:81&max_fails=0&verbose="
        )
        .await,
        line(
            "server [2001:db8::5]:81 weight=1 max_conns=0 max_fails=0 fail_timeout=10s slow_start=0s; # id=1"
        )
    );
    assert_eq!(
        ask(&nginx, "upstream=website&id=1&down=&weight=7").await,
        line("server [2001:db8::5]:81 down; # id=1")
    );
    assert_eq!(
        ask(&nginx, "upstream=website&id=1&drain=").await,
        line("server [2001:db8::5]:81 down; # id=1 draining")
    );
    assert_eq!(
        ask(&nginx, "upstream=website&id=1&up=").await,
        line("server [2001:db8::5]:81; # id=1")
    );
    let both = "server 10.0.0.1:80 backup; # id=0\nserver [2001:db8::5]:81; # id=1\n";
    assert_eq!(
        ask(&nginx, "upstream=website").await,
        (200, both.to_owned())
    );
    assert_eq!(
        ask(&nginx, "upstream=website&id=0&remove=").await,
        line("server [2001:db8::5]:81; # id=1")
    );
    let servers = nginx.servers("website").await;
    assert_eq!(
        (servers.len(), servers[0].weight),
        (1, 7),
        "one API sees what the other did"
    );
}

#[tokio::test]
async fn whatever_is_wrong_is_refused_in_words_and_changes_nothing() {
    let nginx = nginx().await;
    add(&nginx, r#"{"server":"10.0.0.1:80"}"#).await;
    for (query, status, expected) in [
        ("", 400, "missing \"upstream\" argument"),
        ("upstream=shop", 404, "upstream not found"),
        ("stream=&upstream=website", 404, "not found"),
        ("upstream=website&id=9", 404, "does not exist"),
        ("upstream=website&id=9&down=", 404, "does not exist"),
        ("upstream=website&id=x&down=", 400, "invalid \"id\""),
        ("upstream=website&id=9&remove=", 404, "does not exist"),
        ("upstream=website&remove=", 400, "missing \"id\""),
        ("upstream=website&add=", 400, "missing \"server\""),
        ("upstream=website&add=&server=10.0.0.2%3A80", 400, "host"),
        (
            "upstream=website&add=&server=10.0.0.2:80&weight=0",
            400,
            "weight",
        ),
        (
            "upstream=website&add=&server=10.0.0.2:80&weight=x",
            400,
            "weight",
        ),
        (
            "upstream=website&add=&server=10.0.0.2:80&fail_timeout=soon",
            400,
            "fail_timeout",
        ),
        ("upstream=website&id=0&backup=", 400, "backup"),
    ] {
        let (found, text) = ask(&nginx, query).await;
        assert!(
            found == status && text.contains(expected),
            "{query}: {found} {text}"
        );
        assert!(
            text.ends_with('\n') && text.lines().count() == 1,
            "{query}: {text}"
        );
    }
    assert_eq!(
        ask(&nginx, "upstream=website").await,
        (200, "server 10.0.0.1:80; # id=0\n".to_owned())
    );
}
