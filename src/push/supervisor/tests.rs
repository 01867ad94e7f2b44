use std::collections::BTreeSet;

use super::*;
use crate::etcd::client;
use crate::etcd::watch::Update;
use crate::model::{MetaPrefix, Prefix};
use crate::push::config::{FromFlags, read};

fn settings(text: &str) -> Settings {
    let (config, mistakes) = read(text, None);
    assert_eq!(mistakes, []);
    let overrides = FromFlags {
        id: "edge".parse().ok(),
        ..FromFlags::default()
    };
    overrides.settings(&config).unwrap()
}

/// What runs: the target, the upstream and the number of each reconciler.
fn running(supervisor: &Supervisor) -> BTreeSet<(String, String, usize)> {
    let targets = supervisor.targets.iter();
    let rows = targets.flat_map(|running| {
        let name = running.target.name();
        let rows = running.rows.values();
        rows.map(move |row| (name.to_string(), row.route.upstream.to_string(), row.number))
    });
    rows.collect()
}

fn rows(rows: &[(&str, &str, usize)]) -> BTreeSet<(String, String, usize)> {
    let rows = rows.iter();
    rows.map(|(target, upstream, number)| ((*target).to_owned(), (*upstream).to_owned(), *number))
        .collect()
}

/// Nobody listens at these ports.
const TWO: &str = r#"
        [[nginx]]
        name = "a"
        api = "http://127.0.0.1:1/"
        [[nginx]]
        name = "b"
        api = "http://127.0.0.1:1/"
    "#;
const X: &str = "[[upstream]]\nname = \"x\"\n";
const Y: &str = "[[upstream]]\nname = \"y\"\n";

struct Stage {
    supervisor: Supervisor,
    status: Status,
    _reports: mpsc::UnboundedReceiver<Report>,
}

impl Stage {
    fn new() -> Self {
        let (report, reports) = mpsc::unbounded_channel();
        let (find, _) = mpsc::unbounded_channel();
        Self {
            supervisor: Supervisor::new(report, find, Cluster::new(client::Settings::default())),
            status: Status::default(),
            _reports: reports,
        }
    }

    fn apply(&mut self, text: &str) -> BTreeSet<(String, String, usize)> {
        self.supervisor.apply(&settings(text), &mut self.status);
        running(&self.supervisor)
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_touched() {
    let mut stage = Stage::new();
    let first = rows(&[("a", "x", 0), ("b", "x", 1)]);
    assert_eq!(stage.apply(&format!("{TWO}{X}")), first);
    assert_eq!(stage.apply(&format!("resync = \"9s\"\n{TWO}{X}")), first);
    let more = stage.apply(&format!("{TWO}{Y}nginx = [\"b\"]\n{X}"));
    assert_eq!(more, rows(&[("a", "x", 0), ("b", "x", 1), ("b", "y", 2)]));
    let fewer = stage.apply(&format!("{TWO}{X}nginx = [\"a\"]\n{Y}nginx = [\"b\"]\n"));
    assert_eq!(fewer, rows(&[("a", "x", 0), ("b", "y", 2)]));
    assert_eq!(stage.supervisor.publishers.iter().count(), 2);
    assert_eq!(stage.status.services().len(), 2);
}

#[tokio::test]
async fn what_changed_starts_anew() {
    let mut stage = Stage::new();
    stage.apply(&format!("{TWO}{X}{Y}"));
    let changed = stage.apply(&format!("{TWO}{X}drain_timeout = \"1s\"\n{Y}"));
    let expected = [("a", "x", 4), ("b", "x", 5), ("a", "y", 1), ("b", "y", 3)];
    assert_eq!(changed, rows(&expected));
    let elsewhere = TWO.replacen(":1/", ":2/", 1);
    let moved = stage.apply(&format!("{elsewhere}{X}drain_timeout = \"1s\"\n{Y}"));
    let expected = [("a", "x", 6), ("b", "x", 5), ("a", "y", 7), ("b", "y", 3)];
    assert_eq!(moved, rows(&expected));
    assert_eq!(stage.supervisor.publishers.iter().count(), 2);
}

#[tokio::test]
async fn a_route_is_decided_once_and_told_to_whoever_takes_it_later() {
    let mut stage = Stage::new();
    stage.apply(&format!("{TWO}{X}nginx = [\"a\"]\n{Y}nginx = [\"b\"]\n"));
    let mut records = Records::new(
        Prefix::default(),
        ["x", "y"].map(|name| name.parse().unwrap()),
    );
    let entries = Vec::new();
    records.update(&Update::Listed {
        revision: 7,
        entries,
    });
    let mut overrides = Overrides::new(
        MetaPrefix::default(),
        ["x", "y"].map(|name| name.parse().unwrap()),
    );
    let nothing = Update::Listed {
        revision: 7,
        entries: Vec::new(),
    };
    let effect = overrides.update(&nothing);
    stage.supervisor.publish(&records, &overrides, &effect);
    let settings = settings(&format!("{TWO}{X}{Y}nginx = [\"b\"]\n"));
    let route = settings.targets[0].routes()[0].clone();
    let (_, late) = stage.supervisor.subscribe(&route);
    assert_eq!(stage.supervisor.publishers.iter().count(), 2, "it is known");
    assert!(
        late.has_changed().unwrap(),
        "what was decided before is news"
    );
}

#[tokio::test]
async fn what_was_stopped_is_not_what_broke() {
    let mut stage = Stage::new();
    stage.apply(&format!("{TWO}{X}{Y}"));
    stage.apply(&format!("{TWO}{X}"));
    tokio::select! {
        biased;
        () = stage.supervisor.broken() => panic!("a stopped task counts as broken"),
        () = async { for _ in 0..100 { tokio::task::yield_now().await; } } => {}
    }
}
