//! The whole of a text: its own keys, its tables, and what they say of each other.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::page::{Mistake, Page, nearest};
use super::section::{Refusal, Section};
use super::target::{self, NGINX, VULCAND};
use super::upstream::{self, UPSTREAM};
use super::{Config, TargetSettings, UpstreamSettings};
use crate::etcd::ttl::check_ttl;
use crate::push::reconcile::Pacing;

/// The keys of the whole.
pub(super) const KEYS: &[&str] = &[
    "id",
    "prefix",
    "meta_prefix",
    "debounce",
    "resync",
    "ttl",
    "forget_after",
    "nginx",
    "vulcand",
    "upstream",
];
const REFUSALS: &[Refusal] = &[
    ("endpoints", ELSEWHERE),
    ("etcd", ELSEWHERE),
    ("password", ELSEWHERE),
];
const ELSEWHERE: &str = "where etcd is and how to get in is said by flags or ETCDCTL_... variables";

/// Reads a text: what is right in it, and everything that is wrong. `credentials` is where the secrets of this unit
/// lie, if there are any.
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
    let top = Section::new(page, "the file", (table, 0), KEYS, REFUSALS);
    let nginx = top.tables("nginx", "[[nginx]]", NGINX.keys, NGINX.refusals);
    let vulcand = top.tables("vulcand", "[[vulcand]]", VULCAND.keys, VULCAND.refusals);
    let upstreams = top.tables("upstream", "[[upstream]]", UPSTREAM.keys, UPSTREAM.refusals);
    for (key, sections) in [
        ("nginx", nginx.len() + vulcand.len()),
        ("upstream", upstreams.len()),
    ] {
        if sections == 0 && !top.has(key) {
            page.missing_everywhere(&format!("there is no [[{key}]]"));
        }
    }
    let names = Names::new(page, nginx.iter().chain(&vulcand));
    let nginx = nginx
        .iter()
        .filter_map(|section| target::nginx(section, credentials));
    let vulcand = vulcand.iter().filter_map(target::vulcand);
    let targets: Vec<_> = nginx.chain(vulcand).collect();
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
    targets: &[TargetSettings],
) -> Vec<UpstreamSettings> {
    let mut upstreams = Vec::new();
    let vulcands = upstream::vulcands(targets);
    // Whether it is known of each where it goes.
    let mut known = true;
    for section in sections {
        let routed = upstream::targets(section, names);
        known &= routed.is_ok();
        let routed = routed.unwrap_or_else(|found| found);
        match upstream::read(section, routed) {
            Some(settings) => {
                upstream::check_targets(section, &settings, &vulcands);
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

/// How many names a name that is unknown is compared with, over a whole text: a slip is explained, a file that is wrong from
/// end to end is read in good time all the same.
const COMPARED: usize = 200_000;
/// How many names are listed for somebody who has named another.
const LISTED: usize = 10;

/// The names of all targets, also of those about which something else is wrong, and where they stand.
pub(super) struct Names {
    known: BTreeMap<Arc<str>, usize>,
    /// How many comparisons are left.
    compared: Cell<usize>,
}

impl Names {
    fn new<'a>(page: &Page<'_>, sections: impl Iterator<Item = &'a Section<'a>>) -> Self {
        let mut names = BTreeMap::<Arc<str>, usize>::new();
        for section in sections {
            let Some(name) = section.has("name").then(|| section.text("name")).flatten() else {
                section.required("name");
                continue;
            };
            if let Err(error) = crate::model::check_name("name", name) {
                section.note("name", error);
                continue;
            }
            let first = *names.entry(name.into()).or_insert(section.start());
            if first != section.start() {
                let line = page.place(first).line;
                section.note(
                    "name",
                    format!("\"{name}\" is named already in line {line}"),
                );
            }
        }
        Self {
            known: names,
            compared: Cell::new(COMPARED),
        }
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        self.known.keys().cloned().collect()
    }

    /// The name as it is kept here, or what to say of one that is not.
    pub(super) fn find(&self, name: &str) -> Result<Arc<str>, String> {
        if let Some((known, _)) = self.known.get_key_value(name) {
            return Ok(known.clone());
        }
        let known = self.known.keys().map(|known| &**known);
        let left = self.compared.get().checked_sub(self.known.len());
        let near = left.and_then(|left| {
            self.compared.set(left);
            nearest(name, known.clone())
        });
        let hint = match near {
            None if self.known.is_empty() => "there is none yet".to_owned(),
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                let listed = known.take(LISTED).collect::<Vec<_>>().join(", ");
                match self.known.len().saturating_sub(LISTED) {
                    0 => format!("there are {listed}"),
                    more => format!("there are {listed} and {more} more"),
                }
            }
        };
        let name = crate::util::sanitize::short(name);
        Err(format!("nothing is called \"{name}\"; {hint}"))
    }

    /// A target to which nothing goes is one that somebody has forgotten.
    fn note_unused(&self, page: &Page<'_>, upstreams: &[UpstreamSettings]) {
        let used = upstreams.iter().flat_map(|upstream| &upstream.targets);
        let used: BTreeSet<_> = used.collect();
        for (name, at) in &self.known {
            if !used.contains(name) {
                page.missing(*at, format!("\"{name}\": no [[upstream]] goes there"));
            }
        }
    }
}

/// An upstream takes one service: two of the same name in one target would undo each other.
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
