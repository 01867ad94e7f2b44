//! What servers are told besides their addresses and weights.

use super::*;

/// What the upstream takes of `website`, with `parameters` for every server.
fn told(wanted: &[(&str, State, u16)], parameters: Parameters) -> Desired {
    let mut desired = desired(wanted);
    for server in desired.servers.values_mut() {
        server.parameters = parameters;
    }
    desired
}

fn slow_start(seconds: u64) -> Parameters {
    Parameters {
        slow_start: Some(Duration::from_secs(seconds)),
        ..Parameters::default()
    }
}

const BACKUP: Parameters = Parameters {
    max_conns: None,
    max_fails: None,
    fail_timeout: None,
    slow_start: None,
    backup: true,
};

#[tokio::test]
async fn parameters_are_sent_with_a_new_server_and_repaired_on_an_old_one() {
    let mut stage = Stage::new(&[A]).await;
    let wanted = told(
        &[A_UP, B_UP],
        Parameters {
            max_conns: Some(100),
            max_fails: Some(0),
            fail_timeout: Some(Duration::from_secs(90)),
            ..slow_start(30)
        },
    );
    let outcome = stage.finish(&wanted).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    let sent = r#""max_conns":100,"max_fails":0,"fail_timeout":"90s","slow_start":"30s"}"#;
    assert_eq!(
        stage.fake.model().changes(),
        [
            format!(r#"POST {SERVERS} {{"server":"10.0.0.2:80","weight":1,{sent}"#),
            format!("PATCH {SERVERS}0 {{{sent}"),
        ]
    );
    // The same time in other words, and a parameter that somebody has changed by hand.
    stage.fake.model().servers[0]["fail_timeout"] = json!("1m30s");
    stage.fake.model().servers[1]["max_conns"] = json!(7);
    stage.finish(&wanted).await.unwrap();
    assert_eq!(
        stage.fake.model().changes(),
        [format!(r#"PATCH {SERVERS}1 {{"max_conns":100}}"#)]
    );
    stage.converge(&[A_UP, B_UP]).await.unwrap();
    assert_eq!(
        stage.fake.model().changes(),
        [""; 0],
        "what is not managed stays as it is"
    );
}

#[tokio::test]
async fn a_server_becomes_a_backup_and_back_without_being_away() {
    let mut stage = Stage::new(&[A, B]).await;
    let mut wanted = told(&[A_UP, B_UP], Parameters::default());
    let b = B.parse().unwrap();
    wanted.servers.get_mut(&b).unwrap().parameters = BACKUP;
    stage.finish(&wanted).await.unwrap();
    assert_eq!(
        stage.fake.model().changes(),
        [
            format!(r#"POST {SERVERS} {{"server":"10.0.0.2:80","weight":1,"backup":true}}"#),
            format!("DELETE {SERVERS}1"),
        ]
    );
    assert!(converged(&stage.converge(&[A_UP, B_UP]).await));
    assert_eq!(
        stage.shown(),
        ["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=1"]
    );
}

#[tokio::test]
async fn a_backup_that_is_refused_as_twice_the_same_keeps_the_server_that_is_there() {
    let mut stage = Stage::new(&[A]).await;
    stage
        .fake
        .model()
        .always(r#""backup":true"#, 409, "EntryExists");
    let outcome = stage.finish(&told(&[A_UP], BACKUP)).await.unwrap();
    assert_eq!(stage.shown(), ["10.0.0.1:80 weight=1"]);
    let refused: Vec<_> = outcome.refused.into_keys().collect();
    assert_eq!(refused, ["add 10.0.0.1:80 weight=1 backup=true"]);
}

#[tokio::test]
async fn a_parameter_that_the_group_refuses_is_left_out_and_the_servers_serve() {
    for code in [
        "UpstreamBadSlowStart",
        "UpstreamConfFormatError",
        "SomethingNew",
    ] {
        let mut stage = Stage::new(&[C]).await;
        stage.fake.model().always("slow_start", 400, code);
        let parameters = Parameters {
            max_fails: Some(3),
            ..slow_start(30)
        };
        let wanted = told(&[A_UP, B_UP, (C, State::Up, 2)], parameters);
        let outcome = stage.finish(&wanted).await.unwrap();
        assert_eq!(outcome.progress, Progress::Converged, "{code}");
        assert_eq!(stage.shown().len(), 3, "{code}");
        assert_eq!(stage.fake.model().servers[0]["weight"], 2, "{code}");
        let reason = outcome.refused.get("set slow_start=30s").unwrap();
        assert_eq!(*reason, format!("{code}: text of {code}"));
        if code == "UpstreamBadSlowStart" {
            let model = stage.fake.model();
            assert!(
                model.servers.iter().all(|server| server["max_fails"] == 3),
                "the others are set"
            );
        }
        stage.fake.model().changes();
        for _ in 0..3 {
            let outcome = stage.finish(&wanted).await.unwrap();
            assert!(outcome.refused.contains_key("set slow_start=30s"), "{code}");
        }
        assert_eq!(
            stage.fake.model().changes(),
            [""; 0],
            "not asked again so soon"
        );
        let outcome = stage.finish(&desired(&[A_UP])).await.unwrap();
        assert_eq!(outcome.refused, BTreeMap::new(), "no longer wanted");
    }
}

#[tokio::test]
async fn a_refused_address_is_not_blamed_on_the_parameters() {
    let mut stage = Stage::new(&[]).await;
    for code in ["UpstreamBadAddress", "SomethingNew"] {
        stage.fake.model().always(A, 400, code);
        let outcome = stage.finish(&told(&[A_UP, B_UP], slow_start(5))).await;
        let refused: Vec<_> = outcome.unwrap().refused.into_keys().collect();
        assert_eq!(
            refused,
            ["add 10.0.0.1:80 weight=1 slow_start=5s"],
            "{code}"
        );
        assert_eq!(stage.fake.model().servers[0]["slow_start"], "5s", "{code}");
    }
}

#[tokio::test]
async fn where_no_backup_is_possible_it_is_down_as_long_as_another_server_is_there() {
    let mut stage = Stage::new(&[]).await;
    stage
        .fake
        .model()
        .always(r#""backup""#, 400, "UpstreamNoBackup");
    let mut wanted = told(&[A_UP, B_UP, (C, State::Up, 1)], BACKUP);
    let a = A.parse().unwrap();
    wanted.servers.get_mut(&a).unwrap().parameters = Parameters::default();
    let outcome = stage.finish(&wanted).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    let refused: Vec<_> = outcome.refused.into_iter().collect();
    assert_eq!(
        refused,
        [(
            "set backup=true".to_owned(),
            "UpstreamNoBackup: text of UpstreamNoBackup".to_owned()
        )]
    );
    assert_eq!(
        stage.shown(),
        [
            "10.0.0.1:80 weight=1",
            "10.0.0.2:80 weight=1 down",
            "10.0.0.3:80 weight=1 down"
        ]
    );
    let asked = stage.fake.model().changes();
    let backups = asked.iter().filter(|request| request.contains("backup"));
    assert_eq!(backups.count(), 1, "one refusal speaks for all: {asked:?}");
    let outcome = stage.finish(&told(&[B_UP], BACKUP)).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    assert_eq!(
        stage.shown(),
        ["10.0.0.2:80 weight=1"],
        "better than nobody"
    );
}
