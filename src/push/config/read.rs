//! Reads the whole text: its own keys, its tables, and how they refer to each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::names::Names;
use super::target;
use super::upstream::{self, UPSTREAM};
use super::{Config, Mistake, TargetTable, UpstreamSettings};
use crate::etcd::ttl::check_ttl;
use crate::push::reconcile::Pacing;
use crate::util::toml::{Page, Refusal, Section};

/// The keys outside of tables.
const KEYS: &[&str] = &[
    "id",
    "prefix",
    "meta_prefix",
    "debounce",
    "resync",
    "ttl",
    "forget_after",
];
const REFUSALS: &[Refusal] = &[
    ("endpoints", ELSEWHERE),
    ("etcd", ELSEWHERE),
    ("password", ELSEWHERE),
];
const ELSEWHERE: &str = "the address and login of etcd are given by flags or ETCDCTL_... variables";

/// The keys outside of tables, with these tables.
pub(super) fn keys(tables: &[target::Table]) -> Vec<&'static str> {
    let tables = tables.iter().map(|table| table.name).chain(["upstream"]);
    KEYS.iter().copied().chain(tables).collect()
}

/// Reads a text: its valid settings, and every mistake. `credentials` is the directory of this unit's secrets,
/// if any.
#[must_use]
pub fn read(text: &str, credentials: Option<&Path>) -> (Config, Vec<Mistake>) {
    let (page, table) = Page::open(text);
    let config = read_table(&page, table.get_ref(), credentials);
    (config, page.into_mistakes())
}

fn read_table(
    page: &Page<'_>,
    table: &toml::de::DeTable<'_>,
    credentials: Option<&Path>,
) -> Config {
    let tables = target::tables();
    let top = Section::new(page, "the file", (table, 0), &keys(&tables), REFUSALS);
    let mut targets = Vec::new();
    for table in &tables {
        let sections = top.tables(table.name, table.title, &table.keys, &table.refusals);
        targets.extend(sections.into_iter().map(|section| (table, section)));
    }
    let upstreams = top.tables("upstream", "[[upstream]]", UPSTREAM.keys, UPSTREAM.refusals);
    for (key, sections) in [("nginx", targets.len()), ("upstream", upstreams.len())] {
        if sections == 0 && !top.has(key) {
            page.missing_everywhere(&format!("there is no [[{key}]]"));
        }
    }
    let names = Names::new(page, targets.iter().map(|(_, section)| section));
    let targets = targets.iter();
    let targets = targets.filter_map(|(table, section)| table.read(section, credentials));
    let targets: Vec<_> = targets.collect();
    let upstreams = read_upstreams(page, &upstreams, &names, &targets);
    let paced = |pacing: Result<Pacing, _>| pacing.map(drop);
    Config {
        id: top.parse("id"),
        prefix: top.parse("prefix"),
        meta_prefix: top.parse("meta_prefix"),
        debounce: top.time_that("debounce", |time| {
            paced(Pacing::default().with_debounce(time))
        }),
        resync: top.time_that("resync", |time| paced(Pacing::default().with_resync(time))),
        ttl: top.time_that("ttl", check_ttl),
        forget_after: top.time_that("forget_after", check_ttl),
        targets,
        upstreams,
    }
}

fn read_upstreams(
    page: &Page<'_>,
    sections: &[Section<'_>],
    names: &Names,
    targets: &[TargetTable],
) -> Vec<UpstreamSettings> {
    let mut upstreams = Vec::new();
    let without_streams = upstream::without_streams(targets);
    // Whether the targets of every upstream are known.
    let mut known = true;
    for section in sections {
        let routed = upstream::targets(section, names);
        known &= routed.is_ok();
        let routed = routed.unwrap_or_else(|found| found);
        match upstream::read(section, routed) {
            Some(settings) => {
                upstream::check_targets(section, &settings, &without_streams);
                upstreams.push((settings, section));
            }
            None => known = false,
        }
    }
    note_twice(page, &upstreams);
    let upstreams: Vec<_> = upstreams
        .into_iter()
        .map(|(settings, _)| settings)
        .collect();
    if known && !upstreams.is_empty() {
        names.note_unused(page, &upstreams);
    }
    upstreams
}

/// Refuses two upstreams of the same name in one target: they would undo each other.
fn note_twice(page: &Page<'_>, upstreams: &[(UpstreamSettings, &Section<'_>)]) {
    let mut known = BTreeMap::new();
    for (settings, section) in upstreams {
        for target in &settings.targets {
            let name = &settings.name;
            let key = (target, settings.layer, name);
            let first = *known.entry(key).or_insert(section.start());
            if first != section.start() {
                let line = page.place(first).line;
                let text = format!("\"{name}\" goes to \"{target}\" already in line {line}");
                section.note("name", text);
            }
        }
    }
}
