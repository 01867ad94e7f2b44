//! The driver for vulcand, against a real etcd.

use std::sync::Arc;

use sidekick::etcd::client;
use sidekick::etcd::client::Cluster;
use sidekick::model::{Endpoint, State};
use sidekick::target::vulcand::{Keys, Scheme, Settings, Vulcand};
use sidekick::target::{Driver, Progress, Upstream};
use sidekick::upstream::server::{Origin, Origins, Parameters, Servers};
use sidekick::upstream::state::Desired;
use tokio::sync::watch;

use crate::support::{Etcd, PATIENCE, desired, server, until};

const SERVERS: &str = "/vulcand/backends/website/servers/";
const BACKEND: &str = "/vulcand/backends/website/backend";

fn cluster(etcd: &Etcd) -> Cluster {
    Cluster::new(client::Settings {
        endpoints: vec![format!("http://{}", etcd.endpoint())],
        ..client::Settings::default()
    })
}

fn keys() -> Arc<Keys> {
    Arc::new(Keys::new(Settings {
        prefix: "/vulcand".parse().unwrap(),
        scheme: Scheme::Http,
    }))
}

fn driver(keys: &Arc<Keys>, etcd: &Etcd) -> Vulcand {
    Vulcand::new(keys.clone(), "website".parse().unwrap(), cluster(etcd))
}

/// Instances by number, at 10.0.0.NUMBER or beyond.
fn told(wanted: impl IntoIterator<Item = (u16, State)>) -> Desired {
    let (mut servers, mut origins) = (Servers::new(), Origins::new());
    for (number, state) in wanted {
        let address = format!("10.0.{}.{}:80", number / 250, number % 250);
        let endpoint: Endpoint = address.parse().unwrap();
        let origin = Origin {
            instance: format!("n{number}").parse().unwrap(),
            version: None,
            tags: vec![],
            meta: [].into(),
        };
        servers.insert(endpoint.clone(), server(state, Parameters::default()));
        origins.insert(endpoint, Arc::new(origin));
    }
    desired(servers, origins)
}

async fn converge(driver: &mut Vulcand, desired: &Desired) {
    loop {
        let outcome = driver.converge(desired).await.expect("etcd answers");
        assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        match outcome.progress {
            Progress::Converged => return,
            Progress::Unfinished => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn servers(etcd: &Etcd) -> Vec<(String, String)> {
    let found = etcd.list(SERVERS).await;
    let pair = |kv: crate::support::Kv| {
        let id = kv.key.strip_prefix(SERVERS).unwrap().to_owned();
        (id, kv.value)
    };
    found.into_iter().map(pair).collect()
}

fn shown(id: &str, host: &str) -> (String, String) {
    (id.to_owned(), format!(r#"{{"URL":"http://{host}:80"}}"#))
}

#[tokio::test]
async fn a_backend_becomes_what_is_desired_from_whatever_stands_there() {
    let etcd = Etcd::start().await;
    etcd.put(BACKEND, r#"{"Type":"http","Settings":{"KeepAlive":{}}}"#)
        .await;
    etcd.put(&format!("{SERVERS}n1"), "nonsense").await;
    etcd.put(
        &format!("{SERVERS}stranger"),
        r#"{"URL":"http://10.9.9.9:80"}"#,
    )
    .await;
    etcd.put("/vulcand/backends/website2/servers/x", "{}").await;
    let mut driver = driver(&keys(), &etcd);
    let wanted = told([
        (1, State::Up),
        (2, State::Up),
        (3, State::Draining),
        (4, State::Down),
    ]);

    let plan = driver.compare(&wanted).await.unwrap();
    // Two are added, the stranger goes, and nonsense is no server that could go.
    assert_eq!(plan.steps.len(), 3, "{plan:?}");
    assert_eq!(servers(&etcd).await.len(), 2, "comparing changes nothing");

    converge(&mut driver, &wanted).await;
    let both = [shown("n1", "10.0.0.1"), shown("n2", "10.0.0.2")];
    assert_eq!(servers(&etcd).await, both);
    let backend = etcd.get(BACKEND).await.unwrap();
    assert!(
        backend.value.contains("KeepAlive"),
        "one that stands is left alone"
    );
    assert!(
        etcd.get("/vulcand/backends/website2/servers/x")
            .await
            .is_some()
    );

    let revision = etcd.revision().await;
    converge(&mut driver, &wanted).await;
    assert_eq!(
        etcd.revision().await,
        revision,
        "a second time nothing is written"
    );

    converge(&mut driver, &told([(1, State::Draining), (2, State::Up)])).await;
    assert_eq!(servers(&etcd).await, [shown("n2", "10.0.0.2")]);
}

#[tokio::test]
async fn many_servers_take_as_many_transactions_as_etcd_allows() {
    let etcd = Etcd::start().await;
    let mut driver = driver(&keys(), &etcd);
    converge(
        &mut driver,
        &told((1..=450).map(|number| (number, State::Up))),
    )
    .await;
    assert_eq!(servers(&etcd).await.len(), 450);
    assert_eq!(etcd.get(BACKEND).await.unwrap().value, r#"{"Type":"http"}"#);
    converge(
        &mut driver,
        &told((300..=700).map(|number| (number, State::Up))),
    )
    .await;
    assert_eq!(servers(&etcd).await.len(), 401);
}

#[tokio::test]
async fn two_pushers_of_one_backend_agree_and_then_write_nothing_more() {
    let etcd = Etcd::start().await;
    let wanted = told((1..=120).map(|number| (number, State::Up)));
    let (mut first, mut second) = (driver(&keys(), &etcd), driver(&keys(), &etcd));
    tokio::join!(
        converge(&mut first, &wanted),
        converge(&mut second, &wanted)
    );
    assert_eq!(servers(&etcd).await.len(), 120);
    let revision = etcd.revision().await;
    tokio::join!(
        converge(&mut first, &wanted),
        converge(&mut second, &wanted)
    );
    assert_eq!(etcd.revision().await, revision);
}

#[tokio::test]
async fn what_a_strangers_hand_did_is_noticed_and_what_we_did_is_not() {
    let mut etcd = Etcd::start().await;
    let keys = keys();
    let mut driver = driver(&keys, &etcd);
    let (count, mut changes) = watch::channel(0);
    let watching = tokio::spawn(keys.clone().watch(PATIENCE, count, cluster(&etcd)));
    let wanted = told([(1, State::Up)]);
    converge(&mut driver, &wanted).await;
    let mut noticed = async |what: &str| {
        let noticed = tokio::time::timeout(PATIENCE, changes.changed()).await;
        noticed
            .unwrap_or_else(|_| panic!("{what} was not noticed"))
            .unwrap();
        *changes.borrow_and_update()
    };
    // The watch may have begun before or after this; from here on every event is one of these.
    until(PATIENCE, "a stranger's write to be noticed", async || {
        etcd.put(&format!("{SERVERS}stranger"), "{}").await;
        tokio::time::timeout(PATIENCE / 20, noticed("a stranger")).await
    })
    .await;
    converge(&mut driver, &wanted).await;
    assert_eq!(servers(&etcd).await, [shown("n1", "10.0.0.1")]);

    etcd.delete(&format!("{SERVERS}n1")).await;
    noticed("a deletion").await;
    converge(&mut driver, &wanted).await;
    let before = noticed_until_quiet(&mut changes).await;
    for number in 2..20 {
        let state = if number % 2 == 0 {
            State::Up
        } else {
            State::Draining
        };
        converge(&mut driver, &told([(1, State::Up), (2, state)])).await;
    }
    assert_eq!(
        noticed_until_quiet(&mut changes).await,
        before,
        "our own writes wake nobody"
    );

    etcd.wipe().await;
    until(PATIENCE, "the wiped etcd to be noticed", async || {
        *changes.borrow() > before
    })
    .await;
    converge(&mut driver, &wanted).await;
    assert_eq!(servers(&etcd).await, [shown("n1", "10.0.0.1")]);
    assert!(etcd.get(BACKEND).await.is_some());
    watching.abort();
}

/// The count, once nothing has been added to it for a while.
async fn noticed_until_quiet(changes: &mut watch::Receiver<u64>) -> u64 {
    while tokio::time::timeout(PATIENCE / 20, changes.changed())
        .await
        .is_ok()
    {}
    *changes.borrow_and_update()
}

#[tokio::test]
async fn an_etcd_that_is_away_is_told_and_come_back_to() {
    let mut etcd = Etcd::start().await;
    let mut driver = driver(&keys(), &etcd);
    let wanted = told([(1, State::Up)]);
    etcd.kill();
    let error = driver.converge(&wanted).await.unwrap_err();
    assert!(error.to_string().contains(&etcd.endpoint()), "{error}");
    assert!(!error.is_not_routing());
    etcd.resume().await;
    until(PATIENCE, "etcd to be written again", async || {
        driver.converge(&wanted).await.map(drop)
    })
    .await;
    assert_eq!(servers(&etcd).await, [shown("n1", "10.0.0.1")]);
}
