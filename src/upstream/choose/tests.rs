use super::*;
use crate::etcd::watch::{Entry, Update};
use crate::model::{MetaPrefix, Prefix};
use crate::upstream::overrides::Overrides;
use crate::upstream::pool::Pool;
use crate::upstream::records::Records;

/// A service with these records, and its overrides.
struct Stage {
    records: Records,
    overrides: Overrides,
    pool: Pool,
}

const V1: &str = r#"{"host":"10.0.0.1","port":80,"version":"v1"}"#;
const V1_TOO: &str = r#"{"host":"10.0.0.2","port":80,"version":"v1"}"#;
const V2: &str = r#"{"host":"10.0.0.3","port":80,"version":"v2"}"#;

impl Stage {
    fn new(selection: Selection) -> Self {
        let service = || "web".parse().unwrap();
        let mut stage = Self {
            records: Records::new(Prefix::default(), [service()]),
            overrides: Overrides::new(MetaPrefix::default(), [service()]),
            pool: Pool::new(service(), selection),
        };
        stage.overrides.update(&listing(&[]));
        stage
    }

    fn records(&mut self, values: &[&str]) {
        let keys = (0..values.len()).map(|place| format!("/services/web/i{place}"));
        let entries: Vec<_> = keys.zip(values.iter().copied()).collect();
        self.records.update(&listing(&entries));
    }

    fn choose(&mut self, entries: &[(&str, &str)]) {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| (format!("/sidekick/{key}"), *value))
            .collect();
        self.overrides.update(&listing(&entries));
    }

    fn split(&mut self, weights: &str) {
        let value = format!(r#"{{"weights":{weights}}}"#);
        self.choose(&[("splits/web", &value)]);
    }

    /// The servers, by the last byte of their addresses.
    fn servers(&mut self) -> Vec<String> {
        let decision = self.pool.decide(&self.records, &self.overrides).unwrap();
        let servers = decision.desired.servers.into_iter();
        let shown = servers.map(|(endpoint, server)| {
            let endpoint = endpoint.to_string();
            let host = endpoint
                .trim_start_matches("10.0.0.")
                .trim_end_matches(":80");
            format!("{host} {} {}", server.state, server.weight)
        });
        shown.collect()
    }

    fn notice(&mut self) -> Option<SplitNotice> {
        self.pool
            .decide(&self.records, &self.overrides)
            .unwrap()
            .split
    }
}

fn listing(entries: &[(String, &str)]) -> Update {
    let entry = |(key, value): &(String, &str)| Entry {
        key: key.clone().into(),
        value: (*value).into(),
        mod_revision: 1,
        lease: 0,
    };
    Update::Listed {
        revision: 1,
        entries: entries.iter().map(entry).collect(),
    }
}

#[test]
fn an_upstream_takes_the_versions_and_tags_that_it_names() {
    let mut stage = Stage::new(Selection {
        versions: vec!["v1".parse().unwrap()],
        tags: vec!["blue".to_owned()],
        ..Selection::default()
    });
    let blue = r#"{"host":"10.0.0.2","port":80,"version":"v1","tags":["a","blue"]}"#;
    let blue_v2 = r#"{"host":"10.0.0.4","port":80,"version":"v2","tags":["blue"]}"#;
    stage.records(&[V1, blue, blue_v2, "10.0.0.9:80"]);
    assert_eq!(stage.servers(), ["2 up 1"]);
}

#[test]
fn the_first_rule_whose_tags_a_record_has_says_what_its_server_is_told() {
    let rule = |tag: &str, weight: u16, max_fails| Rule {
        tags: vec![tag.to_owned()],
        terms: Terms {
            weight: NonZeroU16::new(weight),
            parameters: Parameters {
                max_fails,
                ..Parameters::default()
            },
        },
    };
    let mut stage = Stage::new(Selection {
        terms: Terms {
            weight: NonZeroU16::new(2),
            ..Terms::default()
        },
        rules: vec![rule("big", 8, Some(7)), rule("blue", 3, None)],
        ..Selection::default()
    });
    stage.records(&[
        V1,
        r#"{"host":"10.0.0.2","port":80,"tags":["blue","big"]}"#,
        r#"{"host":"10.0.0.3","port":80,"tags":["blue"],"weight":5}"#,
    ]);
    assert_eq!(stage.servers(), ["1 up 2", "2 up 8", "3 up 5"]);
    let decision = stage.pool.decide(&stage.records, &stage.overrides).unwrap();
    let fails = |host: &str| {
        let server = &decision.desired.servers[&format!("10.0.0.{host}:80").parse().unwrap()];
        server.parameters.max_fails
    };
    assert_eq!((fails("1"), fails("2"), fails("3")), (None, Some(7), None));
}

#[test]
fn a_held_instance_finishes_what_runs_until_the_hold_ends() {
    let mut stage = Stage::new(Selection::default());
    stage.records(&[V1, r#"{"host":"10.0.0.2","port":80,"state":"down"}"#]);
    stage.choose(&[
        ("holds/web/i0", r#"{"reason":"disk"}"#),
        ("holds/web/i1", r#"{"reason":"disk"}"#),
    ]);
    assert_eq!(stage.servers(), ["1 draining 1", "2 down 1"]);
    stage.choose(&[]);
    assert_eq!(stage.servers(), ["1 up 1", "2 down 1"]);
}

#[test]
fn a_split_shares_the_traffic_among_versions_whatever_their_instances() {
    let mut stage = Stage::new(Selection::default());
    stage.records(&[V1, V1_TOO, V2]);
    stage.split(r#"{"v1":90,"v2":10}"#);
    assert_eq!(stage.servers(), ["1 up 9", "2 up 9", "3 up 2"]);
    stage.split(r#"{"v2":100}"#);
    assert_eq!(stage.servers(), ["1 draining 1", "2 draining 1", "3 up 1"]);
    stage.choose(&[]);
    assert_eq!(stage.servers(), ["1 up 1", "2 up 1", "3 up 1"]);
}

#[test]
fn who_is_held_leaves_its_share_to_the_others_of_its_version() {
    let mut stage = Stage::new(Selection::default());
    stage.records(&[V1, V1_TOO, V2]);
    stage.choose(&[
        ("splits/web", r#"{"weights":{"v1":1,"v2":1}}"#),
        ("holds/web/i0", ""),
    ]);
    assert_eq!(stage.servers(), ["1 draining 1", "2 up 1", "3 up 1"]);
}

#[test]
fn a_split_that_matches_nobody_leaves_the_one_before_it() {
    let mut stage = Stage::new(Selection::default());
    stage.records(&[V1, V2]);
    stage.split(r#"{"v1":3,"v2":1}"#);
    let split = ["1 up 3", "3 up 1"];
    assert_eq!(stage.servers(), split);
    stage.split(r#"{"v3":1}"#);
    assert_eq!(stage.notice(), Some(SplitNotice::Ignored));
    assert_eq!(stage.notice(), None, "it is told once");
    assert_eq!(stage.servers(), split);
    let v3 = r#"{"host":"10.0.0.5","port":80,"version":"v3"}"#;
    stage.records(&[V1, V2, v3]);
    assert_eq!(stage.notice(), Some(SplitNotice::Followed));
    assert_eq!(stage.servers(), ["1 draining 1", "3 draining 1", "5 up 1"]);
}

#[test]
fn without_a_split_that_matches_anybody_all_take_traffic() {
    let mut stage = Stage::new(Selection::default());
    stage.records(&[V1, V2]);
    stage.split(r#"{"v3":1}"#);
    assert_eq!(stage.servers(), ["1 up 1", "3 up 1"]);
    stage.records(&[]);
    assert_eq!(stage.notice(), None);
}
