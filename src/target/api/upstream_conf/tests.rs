use std::collections::BTreeMap;

use super::fake::Fake;
use super::*;
use crate::model::State;
use crate::target::api::ApiSettings;
use crate::target::{Outcome, Progress};
use crate::upstream::server::{Parameters, Server};
use crate::upstream::state::Desired;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const A_UP: Wanted<'_> = (A, State::Up, 1);
const B_UP: Wanted<'_> = (B, State::Up, 1);
const A_DRAINS: Wanted<'_> = (A, State::Draining, 1);

type Wanted<'a> = (&'a str, State, u16);

struct Stage {
    fake: Fake,
    driver: Box<dyn Upstream>,
}

impl Stage {
    async fn new(there: &[&str]) -> Self {
        Self::of(Layer::Http, there, PATIENCE).await
    }

    async fn of(layer: Layer, there: &[&str], drain_timeout: Duration) -> Self {
        let fake = Fake::start().await;
        for address in there {
            fake.model().add(address);
        }
        fake.model().stream = layer == Layer::Stream;
        let driver = driver(&fake, "website", layer, drain_timeout);
        Self { fake, driver }
    }

    /// Converges for as many turns as it takes.
    async fn finish(&mut self, desired: &Desired) -> Result<Outcome, Error> {
        loop {
            let outcome = self.driver.converge(desired).await?;
            if outcome.progress != Progress::Unfinished {
                return Ok(outcome);
            }
        }
    }

    /// As [`Stage::finish`], with nothing refused.
    async fn converge(&mut self, desired: &Desired) -> Result<Progress, Error> {
        let outcome = self.finish(desired).await?;
        assert_eq!(outcome.refused, BTreeMap::new());
        Ok(outcome.progress)
    }

    fn shown(&self) -> Vec<String> {
        self.fake.model().shown()
    }

    fn changes(&self) -> Vec<String> {
        self.fake.model().changes()
    }
}

fn patient(url: ApiUrl) -> ApiSettings {
    ApiSettings {
        timeout: PATIENCE,
        ..ApiSettings::new(url)
    }
}

fn driver(fake: &Fake, name: &str, layer: Layer, drain_timeout: Duration) -> Box<dyn Upstream> {
    let at = |path: &str| format!("http://{}/{path}", fake.address).parse().unwrap();
    let api = ConfApi::new(patient(at("upstream_conf")), Some(at("status")));
    let name = name.parse().unwrap();
    upstream(Arc::new(api.unwrap()), layer, name, drain_timeout)
}

fn told(wanted: &[Wanted<'_>], parameters: Parameters) -> Desired {
    let server = |(endpoint, state, weight): &Wanted<'_>| {
        let server = Server {
            weight: (*weight).try_into().unwrap(),
            state: *state,
            parameters,
        };
        (endpoint.parse().unwrap(), server)
    };
    Desired::at(1, &wanted.iter().map(server).collect())
}

fn desired(wanted: &[Wanted<'_>]) -> Desired {
    told(wanted, Parameters::default())
}

fn draining(active: u64) -> Result<Progress, Error> {
    Ok(Progress::Draining {
        active,
        confirmed: 0,
    })
}

#[tokio::test]
async fn an_upstream_becomes_what_is_desired_and_arguments_are_sent_as_they_are() {
    for silent_removal in [false, true] {
        let mut stage = Stage::new(&[B, "10.0.0.9:80", B]).await;
        stage.fake.model().silent_removal = silent_removal;
        let wanted = desired(&[
            A_UP,
            (B, State::Up, 5),
            ("[2001:db8::5]:81", State::Down, 1),
        ]);
        assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
        assert_eq!(
            stage.changes(),
            [
                "/upstream_conf?upstream=website&add=&server=10.0.0.1:80&weight=1",
                "/upstream_conf?upstream=website&add=&server=[2001:db8::5]:81&weight=1&down=",
                "/upstream_conf?upstream=website&id=0&verbose=&weight=5",
                "/upstream_conf?upstream=website&remove=&id=1",
                "/upstream_conf?upstream=website&remove=&id=2",
            ]
        );
        assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
        assert_eq!(stage.changes(), [""; 0]);
    }
}

#[tokio::test]
async fn parameters_are_set_read_back_and_repaired() {
    let mut stage = Stage::new(&[A]).await;
    let wanted = told(
        &[A_UP, B_UP],
        Parameters {
            max_conns: Some(9),
            slow_start: Some(Duration::from_secs(30)),
            backup: true,
            ..Parameters::default()
        },
    );
    assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
    assert_eq!(
        stage.shown(),
        [
            "server 10.0.0.1:80 weight=1 max_conns=9 slow_start=30s backup; # id=1",
            "server 10.0.0.2:80 weight=1 max_conns=9 slow_start=30s backup; # id=2",
        ]
    );
    stage.fake.model().servers[0].set[1].1 = "8".to_owned();
    stage.changes();
    assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
    assert_eq!(
        stage.changes(),
        ["/upstream_conf?upstream=website&id=1&verbose=&max_conns=9"]
    );
}

#[tokio::test]
async fn what_the_group_refuses_is_left_out_and_told() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().refused = &["slow_start"];
    let parameters = Parameters {
        slow_start: Some(Duration::from_secs(30)),
        ..Parameters::default()
    };
    let outcome = stage.finish(&told(&[A_UP], parameters)).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    let reason = outcome.refused.get("set slow_start=30s").unwrap();
    assert_eq!(reason, "invalid slow_start parameter");
    assert_eq!(stage.shown(), ["server 10.0.0.1:80 weight=1; # id=0"]);
}

#[tokio::test]
async fn a_full_zone_keeps_what_fits() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().room = 1;
    let outcome = stage.finish(&desired(&[A_UP, B_UP])).await.unwrap();
    assert_eq!(
        (outcome.progress, outcome.refused.len()),
        (Progress::Converged, 1)
    );
    assert_eq!(stage.shown().len(), 1);
}

#[tokio::test]
async fn a_server_drains_until_the_status_module_counts_nothing() {
    for layer in [Layer::Http, Layer::Stream] {
        let mut stage = Stage::of(layer, &[A, B], PATIENCE).await;
        stage.fake.model().active = Some(vec![(A.to_owned(), 2)]);
        let wanted = desired(&[A_DRAINS, B_UP]);
        assert_eq!(stage.converge(&wanted).await, draining(2));
        let expected = match layer {
            Layer::Http => "/upstream_conf?upstream=website&id=0&verbose=&drain=",
            Layer::Stream => "/upstream_conf?stream=&upstream=website&id=0&verbose=&down=",
        };
        assert_eq!(stage.changes(), [expected]);
        stage.fake.model().active = Some(vec![]);
        assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
        assert_eq!(stage.shown(), ["server 10.0.0.2:80; # id=1"]);
    }
}

#[tokio::test]
async fn without_the_status_module_a_server_drains_for_its_whole_time_and_holds_up_nothing_else() {
    let drain_timeout = Duration::from_millis(300);
    let mut stage = Stage::of(Layer::Http, &[A], drain_timeout).await;
    assert_eq!(stage.converge(&desired(&[A_DRAINS])).await, draining(1));
    assert_eq!(
        stage.converge(&desired(&[A_DRAINS, B_UP])).await,
        draining(1)
    );
    assert_eq!(stage.shown().len(), 2);
    // The drain timeout itself is what is waited for here.
    tokio::time::sleep(drain_timeout).await;
    let wanted = desired(&[A_DRAINS, B_UP]);
    assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
    assert_eq!(stage.shown(), ["server 10.0.0.2:80 weight=1; # id=1"]);
}

#[tokio::test]
async fn a_server_comes_back_from_draining_whether_or_not_up_ends_it() {
    for up_ends_draining in [true, false] {
        let mut stage = Stage::new(&[A]).await;
        stage.fake.model().up_ends_draining = up_ends_draining;
        stage.fake.model().active = Some(vec![(A.to_owned(), 1)]);
        stage.converge(&desired(&[A_DRAINS])).await.unwrap();
        assert_eq!(stage.shown(), ["server 10.0.0.1:80; # id=0 draining"]);
        let back = stage.converge(&desired(&[A_UP])).await;
        assert_eq!(back, Ok(Progress::Converged), "{up_ends_draining}");
        let shown = stage.shown();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(!shown[0].contains("draining"), "{shown:?}");
    }
}

#[tokio::test]
async fn a_change_with_an_unknown_outcome_is_not_repeated_blindly() {
    let mut stage = Stage::new(&[]).await;
    stage.fake.model().breaks_after_change = true;
    let wanted = desired(&[A_UP]);
    assert_eq!(stage.converge(&wanted).await, Ok(Progress::Converged));
    assert_eq!(stage.shown().len(), 1);
    assert_eq!(stage.changes().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_that_help() {
    let stage = Stage::new(&[]).await;
    let wanted = desired(&[A_UP]);
    let mut shop = driver(&stage.fake, "shop", Layer::Http, PATIENCE);
    let error = shop.converge(&wanted).await.unwrap_err();
    assert_eq!(error, Error::NoUpstream("shop".parse().unwrap()));
    let mut stream = driver(&stage.fake, "website", Layer::Stream, PATIENCE);
    let error = stream.converge(&wanted).await.unwrap_err();
    assert_eq!(error, Error::NoUpstream("website".parse().unwrap()));
    for (status, text, expected) in [
        (400, "upstream \"website\" is static", "needs a `zone`"),
        (
            400,
            "missing \"upstream\" argument",
            "no upstream \"website\"",
        ),
        (
            404,
            "missing \"upstream\" argument",
            "no upstream \"website\"",
        ),
        (404, "<html>404 Not Found</html>", "HTTP 404 404 Not Found"),
        (403, "<html>403 Forbidden</html>", "does not let us in"),
        (401, "<html>401</html>", "right login"),
        (500, "<html>500</html>", "HTTP 500"),
        (
            200,
            "<html>Welcome to nginx!</html>",
            "not a line as in `server ADDRESS; # id=N`",
        ),
    ] {
        let answer = (status, text.to_owned());
        let other = crate::target::api::fake_http::FakeHttp::start(move |_| {
            std::future::ready(Some(answer.clone()))
        })
        .await;
        let url = format!("http://{}/upstream_conf", other.address);
        let api = ConfApi::new(patient(url.parse().unwrap()), None);
        let api = Arc::new(api.unwrap());
        let website = "website".parse().unwrap();
        let mut driver = upstream(api, Layer::Http, website, PATIENCE);
        let error = driver.converge(&wanted).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
