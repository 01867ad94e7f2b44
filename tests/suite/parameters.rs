//! Server parameters at a real nginx.

use std::sync::Arc;
use std::time::Duration;

use sidekick::model::State;
use sidekick::target::api::ApiSettings;
use sidekick::target::api::plus::{Api, upstream};
use sidekick::target::{Layer, Progress, Upstream};
use sidekick::upstream::server::Parameters;
use sidekick::upstream::state::Desired;

use crate::support::{Backend, Load, Nginx, PATIENCE, desired, server, until};

fn driver(nginx: &Nginx) -> Box<dyn Upstream> {
    let api = ApiSettings {
        timeout: PATIENCE,
        ..ApiSettings::new(nginx.api_url().parse().unwrap())
    };
    let api = Api::new(api);
    let website = "website".parse().unwrap();
    upstream(Arc::new(api.unwrap()), Layer::Http, website, PATIENCE)
}

fn told(wanted: &[(&Backend, Parameters)]) -> Desired {
    let told = |(backend, parameters): &(&Backend, Parameters)| {
        let endpoint = backend.address().to_string().parse().unwrap();
        (endpoint, server(State::Up, *parameters))
    };
    desired(wanted.iter().map(told).collect(), [].into())
}

async fn converge(plus: &mut Box<dyn Upstream>, desired: &Desired) {
    loop {
        let outcome = plus.converge(desired).await.unwrap();
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        if outcome.progress == Progress::Converged {
            return;
        }
    }
}

#[tokio::test]
async fn parameters_are_set_and_what_a_strangers_hand_did_to_them_is_repaired() {
    let nginx = Nginx::start().await;
    let backend = Backend::start("b1").await;
    let mut plus = driver(&nginx);
    converge(&mut plus, &told(&[(&backend, Parameters::default())])).await;
    let parameters = Parameters {
        max_conns: Some(50),
        max_fails: Some(0),
        fail_timeout: Some(Duration::from_secs(90)),
        slow_start: Some(Duration::from_millis(1500)),
        backup: false,
    };
    let wanted = told(&[(&backend, parameters)]);
    let path = format!(
        "/http/upstreams/website/servers/{}",
        nginx.servers("website").await[0].id
    );
    for by_hand in [
        "{}",
        r#"{"max_conns":1}"#,
        r#"{"fail_timeout":"1s","slow_start":0,"max_fails":7}"#,
    ] {
        nginx.call("PATCH", &path, by_hand).await;
        converge(&mut plus, &wanted).await;
        let told = nginx.call("GET", &path, "").await.json();
        assert_eq!(told["max_conns"], 50, "{by_hand}");
        assert_eq!(told["max_fails"], 0, "{by_hand}");
        assert_eq!(told["fail_timeout"], "90s", "{by_hand}");
        assert_eq!(told["slow_start"], "1500ms", "{by_hand}");
    }
    nginx
        .call("PATCH", &path, r#"{"fail_timeout":"1m30s"}"#)
        .await;
    assert!(
        plus.compare(&wanted).await.unwrap().steps.is_empty(),
        "the same time in other words"
    );
}

#[tokio::test]
async fn a_server_that_becomes_a_backup_and_back_costs_no_request() {
    let nginx = Nginx::start().await;
    let (a, b) = (Backend::start("b1").await, Backend::start("b2").await);
    let mut plus = driver(&nginx);
    let backup = Parameters {
        backup: true,
        ..Parameters::default()
    };
    let primary = Parameters::default();
    converge(&mut plus, &told(&[(&a, primary), (&b, primary)])).await;
    let load = Load::start(nginx.traffic(), 4);
    for _ in 0..5 {
        // By turns each of them, and in between the only one that is there.
        for [first, second] in [[backup, primary], [primary, backup], [backup, backup]] {
            converge(&mut plus, &told(&[(&a, first), (&b, second)])).await;
            converge(&mut plus, &told(&[(&a, first)])).await;
        }
    }
    converge(&mut plus, &told(&[(&a, backup), (&b, primary)])).await;
    until(PATIENCE, "some requests", async || {
        load.report().answered() > 100
    })
    .await;
    let before = load.report().answers_of("b1");
    let seen = load.report().answered();
    until(PATIENCE, "some more", async || {
        load.report().answered() > seen + 100
    })
    .await;
    let report = load.stop().await;
    assert_eq!(report.failed(), 0, "{report:?}");
    // Whatever was on its way to the backup when it became one: at most one request a client.
    assert!(report.answers_of("b1") <= before + 4, "{report:?}");
    let servers = nginx.servers("website").await;
    let kinds: Vec<_> = servers
        .iter()
        .map(|s| (s.server.clone(), s.backup))
        .collect();
    assert_eq!(servers.len(), 2, "{kinds:?}");
    assert!(
        kinds.contains(&(a.address().to_string(), true)),
        "{kinds:?}"
    );
}
