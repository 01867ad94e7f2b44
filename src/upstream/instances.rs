//! What became of each instance that an upstream takes: for those who ask about an instance, not about a server.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::choose::Chosen;
use super::overrides::ServiceOverrides;
use crate::model::{Endpoint, InstanceName, State};

/// The instances that an upstream takes, by name. Those that its `versions`, `tags` or protocol leave out are not among them.
pub type Instances = BTreeMap<InstanceName, Placed>;

/// Where an instance is, and whether it is to take traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its address.
    pub endpoint: Endpoint,
    /// Why it is to take no traffic; `None` where it is to take some.
    pub out: Option<Out>,
}

/// Why an instance is to take no traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Its record says so.
    Leaving,
    /// A hold keeps it out, for this reason.
    Held(String),
    /// It has no weight, for this reason.
    Weightless(String),
    /// Its record is gone since this revision, and another one has had its address ever since.
    Gone(i64),
}

/// So many that are gone are remembered at most, the last ones: a status record has room for more, and lists nobody else then.
const MAX_GONE: usize = 64;

/// What became of the instances that were chosen.
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

/// Takes note of those among the `former` ones that have no record any more, at this revision, while another one has their address:
/// readers must see that requests still go there. Of each address the last one: a backend that is started again and
/// again under a new name would fill the list.
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

/// Takes note of those that a split gives nothing: they took traffic before, and finish what runs now.
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
