//! The state of each instance that an upstream takes, for questions about an instance and not about a server.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::choose::Chosen;
use super::overrides::ServiceOverrides;
use crate::model::{Endpoint, InstanceName, State};

/// The instances that an upstream takes, by name, without those that its `versions`, `tags` or protocol leave out.
pub type Instances = BTreeMap<InstanceName, Placed>;

/// An instance's address, and whether it should take traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its address.
    pub endpoint: Endpoint,
    /// Why it should take no traffic; `None` if it should.
    pub out: Option<Out>,
}

/// Why an instance should take no traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Its record is draining or down.
    Leaving,
    /// A hold keeps it out, for this reason.
    Held(String),
    /// It has no weight, for this reason.
    Weightless(String),
    /// Its record has been gone since this revision, and another record has its address.
    Gone(i64),
}

/// The most instances that are remembered after their records are gone, newest first: a status record has no room for
/// more.
const MAX_GONE: usize = 64;

/// The state of the chosen instances.
pub(crate) fn instances(chosen: &[Chosen<'_>], overrides: &ServiceOverrides) -> Instances {
    let placed = chosen.iter().map(|(instance, record, server)| {
        let out = match (record.state, server.state) {
            (State::Draining | State::Down, _) => Some(Out::Leaving),
            (State::Up, State::Up) => None,
            (State::Up, State::Down) => Some(Out::Weightless("its weight is 0".to_owned())),
            (State::Up, State::Draining) => {
                let why = overrides.hold_on(instance, record);
                Some(Out::Held(
                    why.map(|why| why.to_string()).unwrap_or_default(),
                ))
            }
        };
        let endpoint = record.endpoint.clone();
        ((*instance).clone(), Placed { endpoint, out })
    });
    placed.collect()
}

/// Adds those of the `former` instances whose record is gone at this revision while another record has their address:
/// readers must see that requests still go there. Only the last one of each address: a backend that is restarted again
/// and again under new names would fill the list.
pub(crate) fn note_gone<'a>(
    instances: &mut Instances,
    former: &Instances,
    recorded: impl Iterator<Item = &'a InstanceName>,
    revision: i64,
) {
    let mut gone = former
        .iter()
        .filter(|(name, _)| !instances.contains_key(*name))
        .peekable();
    if gone.peek().is_none() {
        return;
    }
    let recorded: BTreeSet<_> = recorded.collect();
    let taken: BTreeSet<_> = instances.values().map(|placed| &placed.endpoint).collect();
    let mut last = BTreeMap::new();
    for (name, placed) in gone {
        if recorded.contains(name) || !taken.contains(&placed.endpoint) {
            continue;
        }
        let since = match placed.out {
            Some(Out::Gone(since)) => since,
            _ => revision,
        };
        let kept = last.entry(&placed.endpoint).or_insert((since, name));
        *kept = (*kept).max((since, name));
    }
    let mut last: Vec<_> = last.into_iter().collect();
    last.sort_by_key(|(_, (since, _))| Reverse(*since));
    let gone = last.into_iter().take(MAX_GONE);
    let gone: Vec<_> = gone
        .map(|(endpoint, (since, name))| {
            let (endpoint, out) = (endpoint.clone(), Some(Out::Gone(since)));
            (name.clone(), Placed { endpoint, out })
        })
        .collect();
    instances.extend(gone);
}

/// Adds the reason to instances that took traffic and that the split gives none: they drain.
pub(crate) fn note_split(instances: &mut Instances, chosen: &[Chosen<'_>]) {
    for (instance, record, server) in chosen {
        if server.state == State::Up {
            continue;
        }
        if let Some(placed) = instances.get_mut(*instance)
            && placed.out.is_none()
        {
            let version = record.version.as_ref();
            let version = version.map_or_else(
                || "instances without a version".to_owned(),
                |version| format!("version {version}"),
            );
            placed.out = Some(Out::Weightless(format!(
                "the split gives {version} nothing"
            )));
        }
    }
}

#[cfg(test)]
mod tests;
