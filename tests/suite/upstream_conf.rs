//! The driver for the older text API, against `examples/nginx-lua/lib/upstream_conf.lua` in a real nginx.

use std::sync::Arc;
use std::time::Duration;

use sidekick::etcd::client::Cluster;
use sidekick::model::State;
use sidekick::target::api::ApiSettings;
use sidekick::target::api::upstream_conf::{self, ConfApi};
use sidekick::target::{Driver, Error, Layer, Progress, Upstream};
use sidekick::upstream::server::Parameters;
use sidekick::upstream::state::Desired;
use tokio::sync::watch;

use crate::support::{self, Backend, Nginx, PATIENCE, Signal, desired, request, server, until};

/// Says in nginx's log when it is only asked whether it is there.
const CONF: &str = r#"
    location = /upstream_conf {
        rewrite_by_lua_block { if not ngx.var.args then ngx.log(ngx.NOTICE, "looked at") end }
        content_by_lua_block { require("upstream_conf").serve() }
    }
"#;

async fn nginx() -> Nginx {
    support::Settings::default().locations(CONF).start().await
}

fn api(nginx: &Nginx, status: bool) -> Arc<ConfApi> {
    // What the status module tells of an upstream stands in the REST API as well, one folder further down.
    let told = format!("{}/9/http", nginx.api_url());
    let url = format!("http://{}/upstream_conf", nginx.traffic());
    let settings = ApiSettings {
        timeout: PATIENCE,
        ..ApiSettings::new(url.parse().unwrap())
    };
    let api = ConfApi::new(settings, status.then(|| told.parse().unwrap()));
    Arc::new(api.unwrap())
}

fn driver(nginx: &Nginx, status: bool, drain_timeout: Duration) -> Box<dyn Upstream> {
    let website = "website".parse().unwrap();
    upstream_conf::upstream(api(nginx, status), Layer::Http, website, drain_timeout)
}

fn told(wanted: &[(&Backend, State)], parameters: Parameters) -> Desired {
    let told = |(backend, state): &(&Backend, State)| {
        let endpoint = backend.address().to_string().parse().unwrap();
        (endpoint, server(*state, parameters))
    };
    desired(wanted.iter().map(told).collect(), [].into())
}

fn up(backends: &[&Backend]) -> Desired {
    let wanted: Vec<_> = backends
        .iter()
        .map(|&backend| (backend, State::Up))
        .collect();
    told(&wanted, Parameters::default())
}

async fn converge(driver: &mut Box<dyn Upstream>, desired: &Desired) -> Result<Progress, Error> {
    loop {
        let outcome = driver.converge(desired).await?;
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        if outcome.progress != Progress::Unfinished {
            return Ok(outcome.progress);
        }
    }
}

#[tokio::test]
async fn servers_and_their_parameters_follow_what_is_desired() {
    let nginx = nginx().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let mut driver = driver(&nginx, true, PATIENCE);
    assert_eq!(
        converge(&mut driver, &up(&[&a])).await,
        Ok(Progress::Converged)
    );
    nginx.routed("website", vec![a.address().to_string()]).await;
    assert_eq!(nginx.who().await, Ok("b1".to_owned()));

    let parameters = Parameters {
        max_conns: Some(50),
        max_fails: Some(0),
        fail_timeout: Some(Duration::from_secs(90)),
        slow_start: Some(Duration::from_millis(1500)),
        backup: false,
    };
    let wanted = told(&[(&a, State::Up), (&b, State::Up)], parameters);
    assert_eq!(
        converge(&mut driver, &wanted).await,
        Ok(Progress::Converged)
    );
    let servers = nginx
        .call("GET", "/http/upstreams/website/servers", "")
        .await
        .json();
    for server in servers.as_array().unwrap() {
        assert_eq!(server["max_conns"], 50);
        assert_eq!(server["max_fails"], 0);
        assert_eq!(server["fail_timeout"], "90s");
        assert_eq!(server["slow_start"], "1500ms");
    }

    let id = nginx.servers("website").await[0].id;
    let path = format!("/http/upstreams/website/servers/{id}");
    nginx
        .call("PATCH", &path, r#"{"down":true,"max_conns":1}"#)
        .await;
    nginx
        .call(
            "POST",
            "/http/upstreams/website/servers",
            r#"{"server":"10.9.9.9:80"}"#,
        )
        .await;
    assert_eq!(
        converge(&mut driver, &wanted).await,
        Ok(Progress::Converged)
    );
    let both = vec![a.address().to_string(), b.address().to_string()];
    nginx.routed("website", both).await;
    assert!(!nginx.servers("website").await[0].down);
}

#[tokio::test]
async fn a_server_drains_until_its_last_request_is_answered() {
    let nginx = nginx().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let mut driver = driver(&nginx, true, PATIENCE);
    converge(&mut driver, &up(&[&a])).await.unwrap();
    // Frozen, so that its request ends when the test says so.
    a.process().signal(Signal::STOP);
    let slow = tokio::spawn(request(nginx.traffic(), "GET", "/", ""));
    let leaving = told(
        &[(&a, State::Draining), (&b, State::Up)],
        Parameters::default(),
    );
    until(PATIENCE, "the slow request to be on its way", async || {
        let told = nginx.call("GET", "/http/upstreams/website", "").await;
        told.json()["peers"][0]["active"] == 1
    })
    .await;
    let progress = converge(&mut driver, &leaving).await.unwrap();
    assert!(
        matches!(progress, Progress::Draining { active: 1, .. }),
        "{progress:?}"
    );
    assert_eq!(
        nginx.who().await,
        Ok("b2".to_owned()),
        "nothing new goes there"
    );
    assert_eq!(converge(&mut driver, &leaving).await, Ok(progress));
    a.process().signal(Signal::CONT);
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.body.trim(), "b1", "it is not cut off");
    until(PATIENCE, "the drained server to go", async || {
        converge(&mut driver, &leaving).await == Ok(Progress::Converged)
    })
    .await;
    nginx.routed("website", vec![b.address().to_string()]).await;
}

#[tokio::test]
async fn a_server_comes_back_from_draining() {
    let nginx = nginx().await;
    let a = Backend::start("b1").await;
    let mut driver = driver(&nginx, false, PATIENCE);
    converge(&mut driver, &up(&[&a])).await.unwrap();
    let leaving = told(&[(&a, State::Draining)], Parameters::default());
    let progress = converge(&mut driver, &leaving).await;
    assert!(
        matches!(progress, Ok(Progress::Draining { .. })),
        "{progress:?}"
    );
    assert!(nginx.servers("website").await[0].drain);
    let back = converge(&mut driver, &up(&[&a])).await;
    assert_eq!(back, Ok(Progress::Converged));
    assert_eq!(nginx.who().await, Ok("b1".to_owned()));
}

#[tokio::test]
async fn an_nginx_that_went_away_is_noticed_and_repaired_when_it_is_back() {
    let mut nginx = nginx().await;
    let a = Backend::start("b1").await;
    let mut driver = driver(&nginx, true, PATIENCE);
    converge(&mut driver, &up(&[&a])).await.unwrap();
    let (count, mut changes) = watch::channel(0);
    let period = Duration::from_millis(10);
    let watching =
        tokio::spawn(api(&nginx, true).watch(period, count, Cluster::new(Default::default())));
    let mut noticed = async || {
        let noticed = tokio::time::timeout(PATIENCE, changes.changed()).await;
        noticed.expect("noticed in time").expect("it watches")
    };
    // With the second look the first one has been taken in.
    until(PATIENCE, "two looks at nginx", async || {
        let lines = nginx.process().lines();
        lines
            .iter()
            .filter(|line| line.contains("looked at"))
            .count()
            >= 2
    })
    .await;
    nginx.kill();
    noticed().await;
    let error = converge(&mut driver, &up(&[&a])).await.unwrap_err();
    assert!(error.is_not_routing(), "{error}");
    nginx.resume().await;
    noticed().await;
    let back = converge(&mut driver, &up(&[&a])).await;
    assert_eq!(back, Ok(Progress::Converged));
    nginx.routed("website", vec![a.address().to_string()]).await;
    watching.abort();
}
