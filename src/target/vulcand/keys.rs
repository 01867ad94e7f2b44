//! The keys of one backend: their wanted values, and the moves that lead there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use serde_json::{Value, json};

use super::Scheme;
use crate::etcd::watch::Entry;
use crate::model::{Endpoint, Prefix, State};
use crate::target::UpstreamName;
use crate::upstream::plan::{Cause, Id, Plan, Serving, Setting, Step, without_backups};
use crate::upstream::server::Parameters;
use crate::upstream::state::Desired;
use crate::util::sanitize::short;

/// The description of a backend that nobody else has described.
const BACKEND: &str = r#"{"Type":"http"}"#;

/// Where the keys of one backend lie.
#[derive(Debug)]
pub(super) struct Place {
    /// What all of them begin with.
    pub(super) range: String,
    backend: String,
    servers: String,
}

impl Place {
    pub(super) fn new(prefix: &Prefix, backend: &UpstreamName) -> Self {
        let range = format!("{prefix}/backends/{backend}/");
        Self {
            backend: format!("{range}backend"),
            servers: format!("{range}servers/"),
            range,
        }
    }
}

/// One key to be written or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) key: Vec<u8>,
    /// The revision of the key's last change that was seen, 0 for none: it is not touched when it was changed since.
    pub(super) unless_changed_since: i64,
    /// The wanted value; `None` to delete the key.
    pub(super) value: Option<String>,
    /// What that means, for people; nothing for the backend itself.
    pub(super) steps: Vec<Step>,
}

/// The servers that should be there by id.
type Wanted = BTreeMap<String, (Endpoint, String)>;

/// The moves from what was `found` to what is `desired`: the backend first, then additions and changes, then removals.
/// A server without traffic has no key.
pub(super) fn moves(
    place: &Place,
    scheme: Scheme,
    desired: &Desired,
    found: &[Entry],
) -> Vec<Move> {
    let wanted = wanted(scheme, desired, &existing(place, found));
    let mut servers: BTreeMap<&[u8], &Entry> = BTreeMap::new();
    let mut has_backend = false;
    for entry in found {
        has_backend |= entry.key == place.backend.as_bytes();
        if let Some(id) = entry.key.strip_prefix(place.servers.as_bytes()) {
            servers.insert(id, entry);
        }
    }
    let mut moves = Vec::new();
    if !has_backend && !wanted.is_empty() {
        moves.push(Move {
            key: place.backend.clone().into_bytes(),
            unless_changed_since: 0,
            value: Some(BACKEND.to_owned()),
            steps: Vec::new(),
        });
    }
    for (id, (endpoint, url)) in &wanted {
        let found = servers.remove(id.as_bytes());
        // vulcand forgets a backend's servers with the backend: write them again.
        if !has_backend || found.is_none_or(|entry| !is_kept(entry, url)) {
            moves.push(put(place, id, endpoint, url, found));
        }
    }
    let strangers = servers.into_values();
    moves.extend(strangers.map(|entry| delete(entry, desired)));
    moves
}

/// Whether the server is there for good.
fn is_kept(entry: &Entry, url: &str) -> bool {
    entry.lease == 0 && self::url(entry).as_deref() == Some(url)
}

fn url(entry: &Entry) -> Option<String> {
    let value: Value = serde_json::from_slice(&entry.value).ok()?;
    value["URL"].as_str().map(str::to_owned)
}

fn put(place: &Place, id: &str, endpoint: &Endpoint, url: &str, found: Option<&Entry>) -> Move {
    let mut steps = vec![Step::Add {
        endpoint: endpoint.clone(),
        weight: NonZeroU16::MIN,
        down: false,
        parameters: Parameters::default(),
    }];
    // What is no server is only written over.
    let is_other = |entry: &&Entry| self::url(entry).is_some_and(|other| other != url);
    let other = found.filter(is_other);
    steps.extend(other.map(|entry| removal(entry, Cause::Replaced)));
    Move {
        key: format!("{}{id}", place.servers).into_bytes(),
        unless_changed_since: found.map_or(0, |entry| entry.mod_revision),
        value: Some(json!({ "URL": url }).to_string()),
        steps,
    }
}

/// Where the server of an entry is; `None` where that cannot be one of ours.
fn endpoint(entry: &Entry) -> Option<Endpoint> {
    let url = url(entry)?;
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let with_port = |_| format!("{authority}:{port}").parse();
    authority.parse().or_else(with_port).ok()
}

/// The servers that vulcand sends requests to.
pub(super) fn serving(place: &Place, found: &[Entry]) -> BTreeSet<Endpoint> {
    let is_server = |entry: &&Entry| entry.key.starts_with(place.servers.as_bytes());
    found
        .iter()
        .filter(is_server)
        .filter_map(endpoint)
        .collect()
}

/// Whether vulcand knows the backend at all: it forgets the servers with it.
pub(super) fn has_backend(place: &Place, found: &[Entry]) -> bool {
    found
        .iter()
        .any(|entry| entry.key == place.backend.as_bytes())
}

fn delete(entry: &Entry, desired: &Desired) -> Move {
    let server = endpoint(entry).and_then(|endpoint| desired.servers.get(&endpoint));
    let cause = match server.map(|server| server.state) {
        Some(State::Draining) => Cause::Drained,
        // Under another key.
        Some(State::Up) => Cause::Replaced,
        _ => Cause::NoRecord,
    };
    Move {
        key: entry.key.clone(),
        unless_changed_since: entry.mod_revision,
        value: None,
        steps: vec![removal(entry, cause)],
    }
}

fn removal(entry: &Entry, cause: Cause) -> Step {
    Step::Remove {
        id: Id::try_from(entry.mod_revision).unwrap_or_default(),
        server: short(url(entry).map_or_else(|| entry.key.clone(), String::into_bytes)),
        endpoint: endpoint(entry),
        cause,
    }
}

/// The steps of all moves that lead to what is `desired`.
pub(super) fn plan(moves: Vec<Move>, desired: &Desired) -> Plan {
    let steps: Vec<_> = moves.into_iter().flat_map(|step| step.steps).collect();
    let stays = |endpoint: &Endpoint| {
        let server = desired.servers.get(endpoint);
        server.is_some_and(|server| server.state == State::Up)
    };
    let leaving = steps.iter().filter_map(|step| match step {
        Step::Remove { endpoint, .. } => endpoint.clone().filter(|endpoint| !stays(endpoint)),
        _ => None,
    });
    let leaving: BTreeSet<Endpoint> = leaving.collect();
    let serving = |endpoint| Serving {
        endpoint,
        weight: NonZeroU16::MIN,
        backup: false,
    };
    Plan {
        leaving: leaving.into_iter().map(serving).collect(),
        steps,
        waiting: Vec::new(),
        withheld: Vec::new(),
    }
}

/// The id of each URL in etcd.
fn existing(place: &Place, found: &[Entry]) -> BTreeMap<String, String> {
    let ids = found.iter().filter_map(|entry| {
        let id = entry.key.strip_prefix(place.servers.as_bytes())?;
        let id = str::from_utf8(id).ok().filter(|id| safe(id) == **id)?;
        Some((url(entry)?, id.to_owned()))
    });
    ids.collect()
}

/// `existing` names what no record does any more: who starts finds only its address.
fn wanted(scheme: Scheme, desired: &Desired, existing: &BTreeMap<String, String>) -> Wanted {
    let servers = without_backups(&desired.servers);
    let up = servers
        .iter()
        .filter(|(_, server)| server.state == State::Up);
    let up: Vec<_> = up.map(|(endpoint, _)| endpoint).collect();
    let recorded = |endpoint: &Endpoint| {
        let origin = desired.origins.get(endpoint)?;
        let name = origin.instance.to_string();
        (name != endpoint.to_string()).then(|| safe(&name))
    };
    let taken: BTreeSet<_> = up
        .iter()
        .filter_map(|endpoint| recorded(endpoint))
        .collect();
    let named: Vec<_> = up
        .iter()
        .map(|endpoint| {
            let url = format!("{}://{endpoint}", scheme.as_str());
            let found = || {
                existing
                    .get(&url)
                    .filter(|id| !taken.contains(*id))
                    .cloned()
            };
            let name = recorded(endpoint).or_else(found);
            (
                name.unwrap_or_else(|| safe(&endpoint.to_string())),
                *endpoint,
            )
        })
        .collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &named {
        *times.entry(name.as_str()).or_default() += 1;
    }
    let mut wanted = Wanted::new();
    for (name, endpoint) in &named {
        let mut id = match times.get(name.as_str()) {
            Some(1) => name.clone(),
            // All of one name get an addition, so that the ids do not depend on the order.
            _ => format!("{name}-{}", safe(&endpoint.to_string())),
        };
        while wanted.contains_key(&id) {
            id.push('_');
        }
        let url = format!("{}://{endpoint}", scheme.as_str());
        wanted.insert(id, ((*endpoint).clone(), url));
    }
    wanted
}

/// The name with nothing in it that vulcand, a shell or a URL takes amiss.
fn safe(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain = |c: char| if is_plain(c) { c } else { '_' };
    name.chars().map(plain).collect()
}

/// What vulcand has no setting for, and why.
pub(super) fn untold(desired: &Desired) -> BTreeMap<String, String> {
    let mut untold = BTreeMap::new();
    let mut weights = desired.servers.values().map(|server| server.weight);
    let first = weights.next();
    if weights.any(|weight| Some(weight) != first) {
        let reason = "vulcand has no weights: every server gets the same share";
        untold.insert("set weights".to_owned(), reason.to_owned());
    }
    let parameters = desired.servers.values().map(|server| server.parameters);
    for setting in parameters.flat_map(|parameters| Setting::of(&parameters)) {
        let reason = match setting {
            Setting::Backup => {
                "vulcand has no backup servers: they are left out as long as another one is there"
            }
            _ => "vulcand has no such thing for a server",
        };
        untold.insert(format!("set {setting}"), reason.to_owned());
    }
    untold
}

#[cfg(test)]
mod tests;
