//! What happens to an upstream behind our back, and what it costs to find out.

use super::*;

fn count(stage: &Stage) -> usize {
    std::mem::take(&mut stage.fake.model().asked).len()
}

/// Does something to the servers of a fake nginx.
type Hand = fn(&mut Vec<serde_json::Value>);

#[tokio::test]
async fn whatever_was_done_by_hand_is_repaired_at_the_next_look() {
    let wanted = [A_UP, B_UP];
    let hands: [(&str, Hand); 7] = [
        ("removed", |servers| drop(servers.remove(0))),
        ("all removed", |servers| servers.clear()),
        ("added", |servers| {
            servers.push(json!({"id": 90, "server": "10.6.6.6:80"}))
        }),
        ("twice", |servers| {
            servers.push(json!({"id": 90, "server": A}))
        }),
        ("down", |servers| servers[1]["down"] = json!(true)),
        ("drained", |servers| servers[0]["drain"] = json!(true)),
        ("another weight", |servers| servers[0]["weight"] = json!(9)),
    ];
    for (what, hand) in hands {
        let mut stage = Stage::new(&[]).await;
        stage.converge(&wanted).await.unwrap();
        hand(&mut stage.fake.model().servers);
        assert!(converged(&stage.converge(&wanted).await), "{what}");
        let mut shown = stage.shown();
        shown.sort();
        assert_eq!(
            shown,
            ["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=1"],
            "{what}"
        );
        count(&stage);
        stage.converge(&wanted).await.unwrap();
        assert_eq!(
            count(&stage),
            1,
            "one look finds that nothing is left to do: {what}"
        );
    }
}

#[tokio::test]
async fn ids_are_never_kept_over_a_reload() {
    let mut stage = Stage::new(&[A, B]).await;
    stage.set_active(A, 1);
    stage.converge(&[A_DRAINS, B_UP]).await.unwrap();
    {
        // As after a reload: the same servers, without what was set, under each other's ids.
        let mut model = stage.fake.model();
        model.generation += 1;
        model.servers = vec![json!({"id": 0, "server": B}), json!({"id": 1, "server": A})];
        model.active.clear();
    }
    assert!(converged(&stage.converge(&[A_DRAINS, B_UP]).await));
    assert_eq!(stage.shown(), ["10.0.0.2:80 weight=1"]);
}

#[tokio::test]
async fn children_of_a_name_are_left_alone_whatever_they_look_like() {
    let mut stage = Stage::new(&[]).await;
    let child = |id: u64, server: &str| json!({"id": id, "server": server, "parent": 7, "host": "x:80", "weight": 3, "down": true});
    stage.fake.model().servers = vec![child(1, A), child(2, "10.9.9.9:80")];
    assert!(converged(&stage.converge(&[A_UP]).await));
    assert_eq!(
        stage.fake.model().changes(),
        [format!(
            r#"POST {SERVERS} {{"server":"10.0.0.1:80","weight":1}}"#
        )],
        "a child is no server of ours"
    );
}

#[tokio::test]
async fn a_full_zone_costs_a_look_a_time_and_is_told_once() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().room = 3;
    let all: Vec<String> = (1..=50).map(|host| format!("10.0.0.{host}:80")).collect();
    let wanted: Vec<_> = all
        .iter()
        .map(|server| (server.as_str(), State::Up, 1))
        .collect();
    let wanted = desired(&wanted);
    let first = stage.finish(&wanted).await.unwrap();
    assert_eq!(
        (first.progress, first.refused.len()),
        (Progress::Converged, 47)
    );
    assert_eq!(
        stage.fake.model().changes().len(),
        4,
        "three that fit, and one that does not"
    );
    for _ in 0..10 {
        let again = stage.finish(&wanted).await.unwrap();
        assert_eq!(
            again.refused, first.refused,
            "the same words, so that nothing is logged anew"
        );
        assert_eq!(count(&stage), 1);
    }
    stage.fake.model().room = 0;
    stage.finish(&desired(&[A_UP])).await.unwrap();
    let last = stage.finish(&wanted).await.unwrap();
    assert_eq!(
        last.refused,
        BTreeMap::new(),
        "room is used when there is some"
    );
    assert_eq!(stage.shown().len(), 50);
}

#[tokio::test]
async fn an_api_that_says_no_to_everything_costs_one_request_a_look() {
    for (status, body, expected) in [
        (401, "<html>401</html>", "right login"),
        (403, "<html>403</html>", "does not let us in"),
        (404, "<html>404 Not Found</html>", "is this the location"),
        (
            400,
            "<html><title>400 The SSL certificate error</title></html>",
            "right client certificate",
        ),
        (
            400,
            "<html>400 No required SSL certificate was sent</html>",
            "right client certificate",
        ),
        (500, "<html>500</html>", "HTTP 500"),
    ] {
        let mut stage = Stage::new(&[A]).await;
        stage.converge(&[A_UP]).await.unwrap();
        count(&stage);
        for _ in 0..5 {
            stage.trick("GET", Trick::Answer(status, body.to_owned()));
        }
        let error = stage.converge(&[A_UP, B_UP]).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        // A wrong place is asked for its versions once more, with a slash and without: it may be another nginx now.
        let most = if status == 404 { 3 } else { 1 };
        assert!(count(&stage) <= most, "HTTP {status}");
    }
    let mut stage = Stage::new(&[A]).await;
    stage.fake.model().always("POST", 405, "MethodDisabled");
    let error = stage.converge(&[A_UP, B_UP, (C, State::Up, 1)]).await;
    assert_eq!(error, Err(Error::ReadOnly));
    let asked = stage.fake.model().changes();
    assert_eq!(
        asked.len(),
        1,
        "what can only be read is not asked for every server"
    );
}

#[tokio::test]
async fn a_server_that_has_another_id_since_the_list_was_read_is_not_removed_for_it() {
    let mut stage = Stage::new(&[A, B]).await;
    let stale = r#"[{"id":1,"server":"10.0.0.1:80"},{"id":0,"server":"10.0.0.2:80"}]"#;
    let list = "GET /api/9/http/upstreams/website/servers/$";
    stage.trick(list, Trick::Answer(200, stale.to_owned()));
    stage.finish(&desired(&[A_UP])).await.unwrap();
    assert_eq!(
        stage.fake.model().changes(),
        ["DELETE /api/9/http/upstreams/website/servers/1"]
    );
}
