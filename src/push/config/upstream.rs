//! `[[upstream]]` and `[[upstream.server]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::names::Names;
use super::{TargetTable, UpstreamSettings};
use crate::model::{Protocol, ServiceName};
use crate::target::{Layer, UpstreamName};
use crate::upstream::choose::{Rule, Terms};
use crate::upstream::guard::Share;
use crate::upstream::guard::{Limits, MAX_PROTECT_FOR};
use crate::upstream::server::Parameters;
use crate::util::toml::{Refusal, Section, whole_number};

/// The keys that a table may have.
pub(super) struct Keys {
    pub(super) keys: &'static [&'static str],
    pub(super) refusals: &'static [Refusal],
}

pub(super) const UPSTREAM: Keys = Keys {
    keys: &[
        "name",
        "service",
        "nginx",
        "protocol",
        "udp",
        "versions",
        "tags",
        "min_servers",
        "max_removal",
        "hold",
        "drain_timeout",
        "max_fails",
        "fail_timeout",
        "slow_start",
        "max_conns",
        "weight",
        "backup",
        "server",
    ],
    refusals: &[(
        "vulcand",
        "name the [[vulcand]] in `nginx`, together with the others",
    )],
};

pub(super) const SERVER: Keys = Keys {
    keys: &[
        "tags",
        "max_fails",
        "fail_timeout",
        "slow_start",
        "max_conns",
        "weight",
        "backup",
    ],
    refusals: &[],
};

/// The largest number of servers in a setting.
const MANY: u64 = 1_000_000;

/// The targets of the upstream; all by default. `Err` has the known ones when others are unknown.
pub(super) fn targets(
    section: &Section<'_>,
    names: &Names,
) -> Result<Vec<Arc<str>>, Vec<Arc<str>>> {
    if !section.has("nginx") {
        return Ok(names.all());
    }
    let mut found = BTreeSet::new();
    let named: Vec<(String, usize)> = section.list("nginx");
    let mut wrong = named.is_empty();
    if wrong {
        let text = "`nginx`: at least one name is needed; leave it out for all";
        section.page().missing(section.at("nginx"), text);
    }
    for (name, at) in named {
        match names.find(&name) {
            Err(unknown) => {
                wrong = true;
                section.page().missing(at, format!("`nginx`: {unknown}"));
            }
            Ok(known) => {
                if !found.insert(known) {
                    let text = format!("`nginx`: \"{name}\" is named twice");
                    section.page().note(at, text);
                }
            }
        }
    }
    let found = found.into_iter().collect();
    if wrong { Err(found) } else { Ok(found) }
}

/// Reads an `[[upstream]]` with these `targets`.
pub(super) fn read(section: &Section<'_>, targets: Vec<Arc<str>>) -> Option<UpstreamSettings> {
    section.required("name");
    let name = section.parse::<UpstreamName>("name");
    let service = match section.has("service") {
        true => section.parse::<ServiceName>("service"),
        // A name that nginx accepts is valid in etcd too.
        false => name.as_ref().and_then(|name| name.as_str().parse().ok()),
    };
    let layer = layer(section);
    let protocol = protocol(section, layer);
    let (server, rules) = servers(section);
    let min_servers = section.number("min_servers", 0, MANY);
    let max_removal = max_removal(section);
    let (hold, drain_timeout) = (section.time("hold"), section.time("drain_timeout"));
    let as_shipped = UpstreamSettings::new(name?, service?);
    if hold.is_some_and(|hold| hold > MAX_PROTECT_FOR) {
        let max = crate::util::duration::typed(MAX_PROTECT_FOR);
        section.note("hold", format!("at most {max} is expected"));
    }
    Some(UpstreamSettings {
        layer: layer?,
        protocol,
        targets,
        versions: values(section.list("versions")),
        tags: values(section.list("tags")),
        limits: Limits {
            min_servers: min_servers.unwrap_or(as_shipped.limits.min_servers),
            max_removal: max_removal.unwrap_or(as_shipped.limits.max_removal),
            protect_for: hold.unwrap_or(as_shipped.limits.protect_for),
        },
        drain_timeout: drain_timeout.unwrap_or(as_shipped.drain_timeout),
        server,
        rules,
        place: section.place(),
        ..as_shipped
    })
}

/// The targets that have no stream upstreams, by name, with their kind.
pub(super) fn without_streams(targets: &[TargetTable]) -> BTreeMap<Arc<str>, &'static str> {
    let named = |target: &TargetTable| {
        let what = target.settings.without_streams()?;
        Some((target.name.clone(), what))
    };
    targets.iter().filter_map(named).collect()
}

/// Refuses settings that some targets do not support.
pub(super) fn check_targets(
    section: &Section<'_>,
    settings: &UpstreamSettings,
    without_streams: &BTreeMap<Arc<str>, &'static str>,
) {
    let mut targets = settings.targets.iter();
    let wrong = targets.find_map(|name| without_streams.get_key_value(name));
    if let (Layer::Stream, Some((name, what))) = (settings.layer, wrong) {
        let text = format!("{what} (\"{name}\") has no stream upstreams");
        section.note("protocol", text);
    }
}

fn values<T>(list: Vec<(T, usize)>) -> Vec<T> {
    list.into_iter().map(|(value, _)| value).collect()
}

fn layer(section: &Section<'_>) -> Option<Layer> {
    if !section.has("protocol") {
        return Some(Layer::default());
    }
    match section.text("protocol")? {
        "http" => Some(Layer::Http),
        "stream" => Some(Layer::Stream),
        _ => {
            section.note("protocol", "\"http\" or \"stream\" is expected");
            None
        }
    }
}

fn protocol(section: &Section<'_>, layer: Option<Layer>) -> Protocol {
    let udp = section.flag("udp").unwrap_or_default();
    if udp && layer == Some(Layer::Http) {
        section.note_key("udp", "`udp` goes with `protocol = \"stream\"`");
    }
    match udp {
        true => Protocol::Udp,
        false => Protocol::Tcp,
    }
}

/// A share such as `"50%"`, or a number of servers.
fn max_removal(section: &Section<'_>) -> Option<Share> {
    section.take(
        "max_removal",
        "a share such as \"50%\" or a number of servers",
        |value| {
            if let DeValue::String(text) = value {
                let percent = text.strip_suffix('%')?.parse().ok()?;
                return (percent <= 100).then_some(Share::Percent(percent));
            }
            let count = whole_number(value).filter(|count| *count <= MANY)?;
            Some(Share::Count(u32::try_from(count).ok()?))
        },
    )
}

/// Server parameters of one table. `None` means not given.
#[derive(Default)]
struct ServerKeys {
    weight: Option<NonZeroU16>,
    max_conns: Option<u32>,
    max_fails: Option<u32>,
    fail_timeout: Option<Duration>,
    slow_start: Option<Duration>,
    backup: Option<bool>,
}

impl ServerKeys {
    fn read(section: &Section<'_>) -> Self {
        let seconds = |key: &str| {
            let time = section.time(key)?;
            let whole = time.subsec_nanos() == 0;
            if !whole {
                section.note(key, "nginx counts it in whole seconds");
            }
            whole.then_some(time)
        };
        Self {
            weight: section
                .number::<u16>("weight", 1, u64::from(u16::MAX))
                .and_then(NonZeroU16::new),
            max_conns: section.number("max_conns", 0, u64::from(u32::MAX)),
            max_fails: section.number("max_fails", 0, u64::from(u32::MAX)),
            fail_timeout: seconds("fail_timeout"),
            slow_start: seconds("slow_start"),
            backup: section.flag("backup"),
        }
    }

    /// These, completed by `general`.
    fn or(&self, general: &Self) -> Terms {
        Terms {
            weight: self.weight.or(general.weight),
            parameters: Parameters {
                max_conns: self.max_conns.or(general.max_conns),
                max_fails: self.max_fails.or(general.max_fails),
                fail_timeout: self.fail_timeout.or(general.fail_timeout),
                slow_start: self.slow_start.or(general.slow_start),
                backup: self.backup.or(general.backup).unwrap_or_default(),
            },
        }
    }
}

fn servers(section: &Section<'_>) -> (Terms, Vec<Rule>) {
    let general = ServerKeys::read(section);
    let sections = section.tables(
        "server",
        "[[upstream.server]]",
        SERVER.keys,
        SERVER.refusals,
    );
    let rules = sections.iter().map(|section| {
        let tags: Vec<String> = values(section.list("tags"));
        if tags.is_empty() {
            let title = section.title();
            section.page().missing(
                section.at("tags"),
                format!("{title}: `tags` must name at least one"),
            );
        }
        let terms = ServerKeys::read(section).or(&general);
        Rule { tags, terms }
    });
    let rules = rules.collect();
    (general.or(&ServerKeys::default()), rules)
}
