use std::collections::BTreeMap;

use serde_json::json;
use tokio::time::Instant;

use super::fake::{Fake, Trick, endless, fault};
use super::*;
use crate::model::State;
use crate::target::api::ApiSettings;
use crate::target::{Outcome, Progress};
use crate::upstream::plan::Step;
use crate::upstream::server::{Parameters, Server};
use crate::upstream::state::Desired;

mod drift;
mod parameters;
mod stream;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVERS: &str = "/api/9/http/upstreams/website/servers/";

struct Stage {
    fake: Fake,
    plus: Box<dyn Upstream>,
}

impl Stage {
    async fn new(there: &[&str]) -> Self {
        let fake = Fake::start().await;
        let servers = there.iter().map(|address| json!({"server": address}));
        fake.model().add(servers);
        let plus = driver(&format!("http://{}/api", fake.address), "website");
        Self { fake, plus }
    }

    /// Converges for as many turns as it takes.
    async fn finish(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        loop {
            let outcome = self.plus.converge(desired).await?;
            if outcome.progress != Progress::Unfinished {
                return Ok(outcome);
            }
        }
    }

    /// As [`Stage::finish`], with nothing refused.
    async fn converge(&mut self, wanted: &[(&str, State, u16)]) -> Result<Progress, Error> {
        let outcome = self.finish(&desired(wanted)).await?;
        assert_eq!(outcome.refused, BTreeMap::new());
        Ok(outcome.progress)
    }

    fn trick(&self, request: &str, trick: Trick) {
        self.fake.model().trick(request, trick);
    }

    fn shown(&self) -> Vec<String> {
        self.fake.model().shown()
    }

    fn set_active(&self, address: &str, active: u64) {
        self.fake.model().active = vec![(address.to_owned(), active)];
    }
}

fn driver(url: &str, upstream: &str) -> Box<dyn Upstream> {
    patient_for(PATIENCE, url, upstream)
}

fn patient_for(timeout: Duration, url: &str, name: &str) -> Box<dyn Upstream> {
    let api = Arc::new(api_at(url, timeout));
    upstream(api, Layer::Http, name.parse().unwrap(), PATIENCE)
}

fn api_at(url: &str, timeout: Duration) -> Api {
    let api = ApiSettings {
        timeout,
        ..ApiSettings::new(url.parse().unwrap())
    };
    Api::new(api).unwrap()
}

fn desired(wanted: &[(&str, State, u16)]) -> Desired {
    let server = |(endpoint, state, weight): &(&str, State, u16)| {
        let weight = (*weight).try_into().unwrap();
        (
            endpoint.parse().unwrap(),
            Server {
                weight,
                state: *state,
                parameters: Parameters::default(),
            },
        )
    };
    Desired::at(1, &wanted.iter().map(server).collect())
}

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const C: &str = "10.0.0.3:80";
const A_UP: (&str, State, u16) = (A, State::Up, 1);
const B_UP: (&str, State, u16) = (B, State::Up, 1);
const A_DRAINS: (&str, State, u16) = (A, State::Draining, 1);

fn converged(result: &Result<Progress, Error>) -> bool {
    *result == Ok(Progress::Converged)
}

#[tokio::test]
async fn an_upstream_becomes_what_is_desired() {
    let mut stage = Stage::new(&[B, "10.0.0.9:80"]).await;
    let wanted = [A_UP, (B, State::Up, 5), (C, State::Down, 2)];
    assert!(converged(&stage.converge(&wanted).await));
    assert_eq!(
        stage.shown(),
        [
            "10.0.0.2:80 weight=5",
            "10.0.0.1:80 weight=1",
            "10.0.0.3:80 weight=2 down"
        ]
    );
    let expected = [
        format!(r#"POST {SERVERS} {{"server":"10.0.0.1:80","weight":1}}"#),
        format!(r#"POST {SERVERS} {{"server":"10.0.0.3:80","weight":2,"down":true}}"#),
        format!(r#"PATCH {SERVERS}0 {{"weight":5}}"#),
        format!("DELETE {SERVERS}1"),
    ];
    assert_eq!(stage.fake.model().changes(), expected);
    assert!(converged(&stage.converge(&wanted).await));
    assert_eq!(
        stage.fake.model().changes(),
        [""; 0],
        "a second time there is nothing to do"
    );
}

#[tokio::test]
async fn a_change_costs_one_reading_one_request_and_one_reading_back() {
    let mut stage = Stage::new(&[A]).await;
    stage.converge(&[A_UP]).await.unwrap();
    stage.fake.model().asked.clear();
    stage.converge(&[A_UP, B_UP]).await.unwrap();
    let asked = std::mem::take(&mut stage.fake.model().asked);
    let methods: Vec<_> = asked
        .iter()
        .map(|request| request.split(' ').next().unwrap())
        .collect();
    assert_eq!(methods, ["GET", "POST", "GET"]);
}

#[tokio::test]
async fn the_newest_common_version_is_taken() {
    for (offered, taken) in [(vec![1, 2, 3], 3), ((1..=12).collect(), 9), (vec![7], 7)] {
        let mut stage = Stage::new(&[]).await;
        stage.fake.model().versions = offered;
        assert!(converged(&stage.converge(&[A_UP]).await));
        let changes = stage.fake.model().changes();
        assert!(
            changes[0].starts_with(&format!("POST /api/{taken}/")),
            "{changes:?}"
        );
    }
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().versions = vec![1, 10];
    let error = stage.converge(&[A_UP]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API offers versions 1, 10; 2 to 9 are known here"
    );
}

#[tokio::test]
async fn versions_are_negotiated_again_when_nginx_was_exchanged() {
    let mut stage = Stage::new(&[]).await;
    assert!(converged(&stage.converge(&[A_UP]).await));
    stage.fake.model().versions = vec![6];
    assert!(converged(&stage.converge(&[B_UP]).await));
    assert_eq!(stage.shown(), ["10.0.0.2:80 weight=1"]);
}

#[tokio::test]
async fn a_server_drains_until_nothing_runs_on_it_and_goes_then() {
    let mut stage = Stage::new(&[A, B]).await;
    stage.set_active(A, 2);
    let wanted = [A_DRAINS, B_UP];
    assert_eq!(
        stage.converge(&wanted).await,
        Ok(Progress::Draining {
            active: 2,
            confirmed: 0
        })
    );
    assert_eq!(
        stage.shown(),
        ["10.0.0.1:80 weight=1 drain", "10.0.0.2:80 weight=1"]
    );
    stage.set_active(A, 1);
    assert_eq!(
        stage.converge(&wanted).await,
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0
        })
    );
    stage.set_active(A, 0);
    assert!(converged(&stage.converge(&wanted).await));
    assert_eq!(stage.shown(), ["10.0.0.2:80 weight=1"]);
}

#[tokio::test]
async fn a_drain_holds_back_only_what_came_with_it_or_later() {
    let mut stage = Stage::new(&[A, B]).await;
    let at = |revision: i64, wanted: &[(&str, State, u16)]| Desired {
        revision,
        ..desired(wanted)
    };
    stage.finish(&at(5, &[A_UP, B_UP])).await.unwrap();
    stage.set_active(A, 1);
    let outcome = stage.finish(&at(8, &[A_DRAINS, B_UP])).await.unwrap();
    assert_eq!(
        outcome.progress,
        Progress::Draining {
            active: 1,
            confirmed: 5
        }
    );
    stage.set_active(B, 1);
    let outcome = stage
        .finish(&at(9, &[A_DRAINS, (B, State::Draining, 1)]))
        .await
        .unwrap();
    assert_eq!(
        outcome.progress,
        Progress::Draining {
            active: 1,
            confirmed: 8
        },
        "A has gone, B has not"
    );
}

#[tokio::test]
async fn a_server_that_comes_back_while_draining_gets_requests_again() {
    let mut stage = Stage::new(&[A]).await;
    stage.set_active(A, 1);
    stage.converge(&[A_DRAINS]).await.unwrap();
    assert!(converged(&stage.converge(&[A_UP]).await));
    assert_eq!(stage.shown(), ["10.0.0.1:80 weight=1"]);
}

#[tokio::test]
async fn after_the_drain_timeout_a_server_goes_and_its_last_requests_are_waited_for() {
    let drain_timeout = Duration::from_millis(50);
    let mut stage = Stage::new(&[A]).await;
    let api = Arc::new(api_at(
        &format!("http://{}/api", stage.fake.address),
        PATIENCE,
    ));
    stage.plus = upstream(api, Layer::Http, "website".parse().unwrap(), drain_timeout);
    stage.set_active(A, 1);
    stage.converge(&[A_DRAINS]).await.unwrap();
    tokio::time::sleep(drain_timeout).await;
    stage.fake.model().zombies = 1;
    assert_eq!(
        stage.converge(&[A_DRAINS]).await,
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0
        })
    );
    assert_eq!(stage.shown(), [""; 0]);
    stage.fake.model().zombies = 0;
    assert!(converged(&stage.converge(&[A_DRAINS]).await));
    stage.fake.model().zombies = 1;
    assert!(
        converged(&stage.converge(&[]).await),
        "nobody waits when the record is gone"
    );
}

#[tokio::test]
async fn a_vanished_server_goes_at_once_whatever_runs_on_it() {
    let mut stage = Stage::new(&[A]).await;
    stage.set_active(A, 5);
    assert!(converged(&stage.converge(&[]).await));
    assert_eq!(stage.shown(), [""; 0]);
}

#[tokio::test]
async fn an_api_without_draining_is_told_down() {
    let mut stage = Stage::new(&[A]).await;
    stage.set_active(A, 1);
    stage
        .fake
        .model()
        .always(r#"{"drain":true}"#, 400, "UpstreamConfFormatError");
    assert_eq!(
        stage.converge(&[A_DRAINS]).await,
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0
        })
    );
    assert_eq!(stage.shown(), ["10.0.0.1:80 weight=1 down"]);
    let mut stage = Stage::new(&[A]).await;
    stage
        .fake
        .model()
        .always("PATCH", 400, "UpstreamConfFormatError");
    let error = stage.converge(&[A_DRAINS]).await.unwrap_err();
    assert!(
        matches!(error, Error::Undrainable(_)),
        "what still gets requests is never said to be drained: {error}"
    );
}

#[tokio::test]
async fn surplus_duplicates_and_backups_go_and_children_stay() {
    let stage_with = [
        json!({"server": A}),
        json!({"server": "10.0.0.1"}),
        json!({"server": B, "backup": true}),
        json!({"server": "10.9.9.9:80", "parent": 1, "host": "x.example:80"}),
    ];
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().add(stage_with);
    assert!(converged(
        &stage.converge(&[("10.0.0.1:80", State::Up, 1)]).await
    ));
    assert_eq!(
        stage.shown(),
        [""; 0]
            .iter()
            .chain(&["10.0.0.1:80 weight=1", "10.9.9.9:80 weight=1"])
            .copied()
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn one_server_that_is_refused_holds_nothing_back() {
    let mut stage = Stage::new(&[]).await;
    stage
        .fake
        .model()
        .always("web.example:80", 400, "UpstreamConfNoResolver");
    let wanted = desired(&[A_UP, ("web.example:80", State::Up, 1), B_UP]);
    let outcome = stage.finish(&wanted).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    let refused: Vec<_> = outcome.refused.into_iter().collect();
    let expected = (
        "add web.example:80 weight=1".to_owned(),
        "UpstreamConfNoResolver: text of UpstreamConfNoResolver".to_owned(),
    );
    assert_eq!(refused, [expected]);
    assert_eq!(stage.shown().len(), 2);
    stage.fake.model().changes();
    stage.finish(&wanted).await.unwrap();
    assert_eq!(
        stage.fake.model().changes(),
        [""; 0],
        "not asked again so soon"
    );
    let outcome = stage.finish(&desired(&[A_UP, B_UP])).await.unwrap();
    assert_eq!(
        outcome.refused.len(),
        0,
        "what is no longer wanted is no longer refused"
    );
}

#[tokio::test]
async fn a_full_zone_keeps_what_fits_and_is_not_pestered() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().room = 2;
    let all: Vec<String> = (1..=6).map(|host| format!("10.0.0.{host}:80")).collect();
    let wanted: Vec<_> = all
        .iter()
        .map(|address| (address.as_str(), State::Up, 1))
        .collect();
    let outcome = stage.finish(&desired(&wanted)).await.unwrap();
    assert_eq!(stage.shown().len(), 2);
    assert_eq!(outcome.refused.len(), 4);
    assert_eq!(
        stage.fake.model().changes().len(),
        3,
        "one refusal speaks for the rest"
    );
    let outcome = stage.finish(&desired(&wanted[1..])).await.unwrap();
    assert_eq!(
        stage.shown(),
        ["10.0.0.2:80 weight=1", "10.0.0.3:80 weight=1"],
        "room that was freed is used"
    );
    assert_eq!(outcome.refused.len(), 3);
}

#[tokio::test]
async fn requests_with_an_unknown_outcome_are_not_repeated_blindly() {
    for trick in [Trick::BreakAfter, Trick::Break] {
        for request in ["POST", "PATCH", "DELETE"] {
            let mut stage = Stage::new(&[B, C]).await;
            let trick = match trick {
                Trick::Break => Trick::Break,
                _ => Trick::BreakAfter,
            };
            stage.trick(request, trick);
            assert!(
                converged(&stage.converge(&[A_UP, (B, State::Up, 3)]).await),
                "{request}"
            );
            assert_eq!(
                stage.shown(),
                ["10.0.0.2:80 weight=3", "10.0.0.1:80 weight=1"],
                "{request}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_in_time_and_is_read_again_the_next_time() {
    let mut stage = Stage::new(&[]).await;
    let url = format!("http://{}/api", stage.fake.address);
    stage.plus = patient_for(Duration::from_millis(250), &url, "website");
    stage.trick("POST", Trick::Hang);
    assert_eq!(
        stage.converge(&[A_UP]).await,
        Err(Error::Silent(Duration::from_millis(250)))
    );
    stage.plus = driver(&url, "website");
    assert!(converged(&stage.converge(&[A_UP]).await));
    assert_eq!(stage.shown(), ["10.0.0.1:80 weight=1"]);
}

#[tokio::test]
async fn an_api_that_breaks_off_after_every_change_is_survived() {
    let mut stage = Stage::new(&[]).await;
    for _ in 0..20 {
        stage.trick("POST", Trick::BreakAfter);
    }
    let all: Vec<String> = (1..=20).map(|host| format!("10.0.0.{host}:80")).collect();
    let wanted: Vec<_> = all
        .iter()
        .map(|address| (address.as_str(), State::Up, 1))
        .collect();
    assert!(converged(&stage.converge(&wanted).await));
    assert_eq!(stage.shown().len(), 20);
}

#[tokio::test]
async fn an_api_that_does_nothing_of_what_it_says_is_given_up() {
    let mut stage = Stage::new(&[]).await;
    for _ in 0..50 {
        stage.trick("POST", Trick::Pretend);
    }
    let error = stage.converge(&[A_UP]).await.unwrap_err();
    assert_eq!(
        error,
        Error::NotConverged("add 10.0.0.1:80 weight=1".to_owned())
    );
    assert!(stage.fake.model().asked.len() < 20);
}

#[tokio::test]
async fn much_work_is_done_in_turns_so_that_something_newer_can_be_desired() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().delay = Duration::from_millis(20);
    let all: Vec<String> = (1..=100).map(|host| format!("10.0.0.{host}:80")).collect();
    let wanted: Vec<_> = all
        .iter()
        .map(|address| (address.as_str(), State::Up, 1))
        .collect();
    let started = Instant::now();
    let outcome = stage.plus.converge(&desired(&wanted)).await.unwrap();
    assert_eq!(outcome.progress, Progress::Unfinished);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let done = stage.shown().len();
    assert!((1..100).contains(&done), "{done}");
    assert!(converged(&stage.converge(&wanted[..done + 1]).await));
    assert_eq!(stage.shown().len(), done + 1);
}

#[tokio::test]
async fn a_slow_api_that_does_nothing_of_what_it_says_is_given_up_as_well() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().delay = Duration::from_millis(200);
    for _ in 0..50 {
        stage.trick("POST", Trick::Pretend);
    }
    let error = stage.converge(&[A_UP]).await.unwrap_err();
    assert!(matches!(error, Error::NotConverged(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_is_said_to_exist_is_looked_for_once_more() {
    let mut stage = Stage::new(&[]).await;
    stage.trick("POST", Trick::Answer(409, fault(409, "EntryExists")));
    assert!(converged(&stage.converge(&[A_UP]).await));
    stage.fake.model().always("10.0.0.2:80", 409, "EntryExists");
    let outcome = stage.finish(&desired(&[A_UP, B_UP])).await.unwrap();
    assert_eq!(outcome.refused.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_gone_already_is_no_failure() {
    let mut stage = Stage::new(&[A, B]).await;
    stage.trick(
        "DELETE",
        Trick::Answer(404, fault(404, "UpstreamServerNotFound")),
    );
    assert!(converged(&stage.converge(&[B_UP]).await));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_that_help() {
    let page = "<html><head><title>403 Forbidden</title></head></html>".to_owned();
    for (request, trick, expected) in [
        (
            "POST",
            Trick::Answer(405, fault(405, "MethodDisabled")),
            "the API is read-only",
        ),
        (
            "POST",
            Trick::Answer(405, "<html>405 Not Allowed</html>".to_owned()),
            "the API is read-only",
        ),
        (
            "GET /api/9",
            Trick::Answer(403, page),
            "HTTP 403: the API does not let us in",
        ),
        (
            "GET",
            Trick::Answer(401, String::new()),
            "GET /api: HTTP 401",
        ),
        (
            "GET /api/9",
            Trick::Answer(400, fault(400, "UpstreamStatic")),
            "upstream \"website\" is static: it needs a `zone`",
        ),
        (
            "GET /api/9",
            Trick::Answer(200, endless()),
            "larger than 33554432 bytes",
        ),
        (
            "GET /api/9",
            Trick::Answer(500, "\u{1b}[2J".to_owned()),
            "HTTP 500 \\x1b[2J",
        ),
        (
            "POST",
            Trick::Answer(413, "<html>413 Request Entity Too Large</html>".to_owned()),
            "HTTP 413 Request Entity",
        ),
        (
            "POST",
            Trick::Answer(415, fault(415, "JsonError")),
            "HTTP 415 JsonError: text of JsonError",
        ),
        (
            "POST",
            Trick::Answer(502, String::new()),
            "POST /api/9/http/upstreams/website/servers/: HTTP 502",
        ),
        (
            "POST",
            Trick::Answer(400, "<html>400</html>".to_owned()),
            "HTTP 400",
        ),
    ] {
        let mut stage = Stage::new(&[]).await;
        stage.trick(request, trick);
        let error = stage.converge(&[A_UP]).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(!error.is_not_routing());
        assert!(
            converged(&stage.converge(&[A_UP]).await),
            "and once it is mended it goes on: {expected}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_given_one_more_chance() {
    let nonsense = || Trick::Answer(200, "nonsense".to_owned());
    let mut stage = Stage::new(&[]).await;
    stage.trick("GET /api/9", nonsense());
    assert!(converged(&stage.converge(&[A_UP]).await));
    stage.trick("GET /api/9", nonsense());
    stage.trick("GET /api/9", nonsense());
    let error = stage.converge(&[A_UP]).await.unwrap_err().to_string();
    assert!(error.contains("the answer cannot be read"), "{error}");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_and_an_api_that_is_none_are_told_apart() {
    let stage = Stage::new(&[]).await;
    let root = format!("http://{}", stage.fake.address);
    let wanted = desired(&[A_UP]);
    let error = driver(&format!("{root}/api"), "shop")
        .converge(&wanted)
        .await
        .unwrap_err();
    assert_eq!(error, Error::NoUpstream("shop".parse().unwrap()));
    let error = driver(&format!("{root}/wrong"), "website")
        .converge(&wanted)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotTheApi { .. }), "{error}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_not_routing() {
    let stage = Stage::new(&[]).await;
    let url = format!("http://{}/api", stage.fake.address);
    let mut plus = driver(&url, "website");
    drop(stage);
    // The task that held the port ends at its next turn.
    tokio::task::yield_now().await;
    let error = plus.converge(&desired(&[A_UP])).await.unwrap_err();
    assert!(error.is_not_routing(), "{error}");
}

#[tokio::test]
async fn ids_that_changed_their_meaning_between_two_answers_are_not_trusted() {
    let mut stage = Stage::new(&[A]).await;
    stage.set_active(A, 1);
    stage.converge(&[A_DRAINS]).await.unwrap();
    let other = json!({"peers": [{"id": 0, "server": "10.0.0.7:80", "active": 0}]}).to_string();
    stage.trick(
        "GET /api/9/http/upstreams/website/$",
        Trick::Answer(200, other),
    );
    stage.set_active(A, 7);
    let answer = stage.converge(&[A_DRAINS]).await;
    assert_eq!(
        answer,
        Ok(Progress::Draining {
            active: 1,
            confirmed: 0
        }),
        "unknown counts as one"
    );
    assert_eq!(stage.shown(), ["10.0.0.1:80 weight=1 drain"]);
}

#[tokio::test]
async fn comparing_changes_nothing() {
    let mut stage = Stage::new(&[B]).await;
    let plan = stage.plus.compare(&desired(&[A_UP])).await.unwrap();
    let steps: Vec<_> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(
        steps,
        [
            "add 10.0.0.1:80 weight=1",
            "remove 10.0.0.2:80 (no record names it)"
        ]
    );
    assert_eq!(stage.fake.model().changes(), [""; 0]);
}

#[tokio::test]
async fn a_reload_a_stop_and_a_return_of_nginx_are_noticed() {
    let fake = Fake::start().await;
    let url = format!("http://{}/api", fake.address);
    let api = Arc::new(api_at(&url, PATIENCE));
    let (count, mut changes) = tokio::sync::watch::channel(0);
    let restart_watch = tokio::spawn(api.watch(
        Duration::from_millis(10),
        count,
        Cluster::new(Default::default()),
    ));
    let mut noticed = async || {
        tokio::time::timeout(PATIENCE, changes.changed())
            .await
            .unwrap()
            .unwrap();
        *changes.borrow_and_update()
    };
    let seen = async || {
        fake.model()
            .asked
            .iter()
            .any(|request| request == "GET /api/9/nginx")
    };
    while !seen().await {
        tokio::task::yield_now().await;
    }
    fake.model().generation += 1;
    assert_eq!(noticed().await, 1);
    fake.model().always("GET", 502, "BadGateway");
    assert_eq!(noticed().await, 2);
    fake.model().mend();
    assert_eq!(noticed().await, 3);
    fake.model().versions = vec![6];
    assert_eq!(noticed().await, 4);
    restart_watch.abort();
}
