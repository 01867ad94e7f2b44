//! What became of each instance that an upstream takes: for those who ask about an instance, not about a server.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Choice;
use super::choose::Chosen;
use crate::record::{Endpoint, InstanceName, State};

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
pub(super) fn instances(chosen: &[Chosen<'_>], choice: &Choice) -> Instances {
    let placed = chosen.iter().map(|(instance, record, server)| {
        let out = match (record.state, server.state) {
            (State::Draining | State::Down, _) => Some(Out::Leaving),
            (State::Up, State::Up) => None,
            (State::Up, State::Down) => Some(Out::Weightless("its weight is 0".to_owned())),
            (State::Up, State::Draining) => {
                let why = choice.hold_on(instance, record);
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
/// who asks about them is to hear that requests go there still. Of each address the last one: a backend that is started again and
/// again under a new name would fill the list.
pub(super) fn note_gone<'a>(
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
pub(super) fn note_split(instances: &mut Instances, chosen: &[Chosen<'_>]) {
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
mod tests {
    use super::*;

    const A: &str = "10.0.0.1:80";
    const B: &str = "10.0.0.2:80";

    fn instances(listed: &[(&str, &str)]) -> Instances {
        let placed = |address: &str| Placed {
            endpoint: address.parse().unwrap(),
            out: None,
        };
        let listed = listed.iter();
        listed
            .map(|(name, at)| (name.parse().unwrap(), placed(at)))
            .collect()
    }

    /// Who is gone after each of these steps.
    fn gone(steps: &[&[(&str, &str)]]) -> Vec<Vec<String>> {
        let mut former = Instances::new();
        let steps = steps.iter().zip(1..).map(|(listed, revision)| {
            let mut now = instances(listed);
            let recorded: Vec<InstanceName> = now.keys().cloned().collect();
            note_gone(&mut now, &former, recorded.iter(), revision);
            let gone = now
                .iter()
                .filter(|(_, it)| matches!(it.out, Some(Out::Gone(_))));
            let gone = gone.map(|(name, _)| name.to_string()).collect();
            former = now;
            gone
        });
        steps.collect()
    }

    #[test]
    fn who_is_gone_is_remembered_while_another_record_has_the_address() {
        let both: &[_] = &[("w1", A), ("w2", A), ("w3", B)];
        let steps = gone(&[
            both,
            &[("w2", A), ("w3", B)],
            &[("w2", A)],
            &[("w3", B)],
            both,
        ]);
        assert_eq!(
            steps,
            [
                vec![],
                vec!["w1".to_owned()],
                vec!["w1".to_owned()],
                vec![],
                vec![]
            ]
        );
        // Three names of one address, one after the other: the last one counts.
        let steps = gone(&[
            both,
            &[("w2", A)],
            &[("w4", A), ("w2", A)],
            &[("w4", A)],
            &[("w5", A), ("w4", A)],
            &[("w5", A), ("w2", B)],
        ]);
        assert_eq!(steps[3], ["w2"]);
        assert_eq!(steps[5], ["w4"]);
    }

    #[test]
    fn so_many_that_are_gone_leave_room_for_those_who_leave() {
        let names: Vec<_> = (0..MAX_GONE + 9)
            .map(|n| {
                (
                    format!("a{n}"),
                    format!("b{n}"),
                    format!("10.0.0.1:{}", 80 + n),
                )
            })
            .collect();
        let new: Vec<_> = names
            .iter()
            .map(|(_, b, at)| (b.as_str(), at.as_str()))
            .collect();
        let old = names.iter().map(|(a, _, at)| (a.as_str(), at.as_str()));
        let both: Vec<_> = old.chain(new.iter().copied()).collect();
        assert_eq!(gone(&[&both, &new])[1].len(), MAX_GONE);
    }

    #[test]
    fn a_record_that_an_upstream_no_longer_takes_is_not_gone() {
        let former = instances(&[("w1", A), ("w2", A)]);
        let mut now = instances(&[("w2", A)]);
        let recorded: Vec<InstanceName> = former.keys().cloned().collect();
        note_gone(&mut now, &former, recorded.iter(), 7);
        assert_eq!(now.len(), 1);
    }
}
