//! Waiting until instances are announced, routed or gone. Watches, and never polls.

use std::time::Duration;

use tokio::time::timeout;

use super::Place;
use super::follow::Follow;
use super::roster::{Roster, takes_traffic};
use crate::record::{InstanceName, ServiceName, State};
use crate::registry::pushers::{self, Applied, Revision};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// So many instances are announced as up.
    Announced,
    /// So many take traffic, and every live pusher that routes the service has applied that.
    Routed,
    /// There is no record.
    Gone,
}

/// Who is waited for, and for what.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Of which service.
    pub service: ServiceName,
    /// Which instance; any where none is named.
    pub instance: Option<InstanceName>,
    /// What for.
    pub goal: Goal,
    /// How many instances.
    pub count: usize,
}

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as wished.
    Reached,
    /// The time was over.
    TooLate {
        /// What was still missing, in words.
        missing: String,
    },
    /// The time was over, and etcd had not told anything.
    Unheard,
}

/// Waits until it is as wished, `within` at most. `tell` hears what is missing, at every change.
pub async fn wait(
    place: &Place,
    wish: &Wish,
    within: Duration,
    tell: &mut dyn FnMut(&str),
) -> Outcome {
    let mut follow = Follow::new(place, Some(&wish.service));
    let mut pushers = pushers::Watch::new(place.cluster.clone(), place.meta.clone());
    let mut last = None;
    let reached = async {
        loop {
            if let Some(roster) = follow.roster() {
                let applied = |revision| pushers.applied(&wish.service, revision);
                match wish.missing(roster, applied) {
                    None => return,
                    Some(missing) => {
                        if last.as_ref() != Some(&missing) {
                            tell(&missing);
                        }
                        last = Some(missing);
                    }
                }
            }
            tokio::select! {
                _ = follow.next() => {}
                () = pushers.changed(), if wish.goal == Goal::Routed => {}
            }
        }
    };
    match (timeout(within, reached).await, last) {
        (Ok(()), _) => Outcome::Reached,
        (Err(_), Some(missing)) => Outcome::TooLate { missing },
        (Err(_), None) => Outcome::Unheard,
    }
}

impl Wish {
    /// What is missing, in words; `None` when nothing is. `applied` says how far the pushers are with a revision,
    /// once that is known.
    fn missing(
        &self,
        roster: &Roster,
        applied: impl Fn(Revision) -> Option<Applied>,
    ) -> Option<String> {
        let mine = || {
            roster.instances(&self.service).filter(|(id, _, _)| {
                self.instance
                    .as_ref()
                    .is_none_or(|name| id.instance == *name)
            })
        };
        match self.goal {
            Goal::Gone => {
                let left: Vec<_> = mine().map(|(id, _, _)| id.instance.to_string()).collect();
                (!left.is_empty()).then(|| format!("still there: {}", left.join(", ")))
            }
            Goal::Announced => {
                let up = mine().filter(|(_, record, _)| record.value.state == State::Up);
                self.too_few("announced", up.count())
            }
            Goal::Routed => {
                let live = mine().filter(|(_, record, hold)| takes_traffic(&record.value, *hold));
                if let Some(missing) = self.too_few("announced and not held", live.count()) {
                    return Some(missing);
                }
                let newest = roster.newest(&self.service);
                let records = applied(Revision::Records(newest.records));
                let choices = applied(Revision::Choices(newest.choices));
                let (Some(records), Some(choices)) = (records, choices) else {
                    return Some(format!(
                        "etcd has not told yet which pushers route {}",
                        self.service
                    ));
                };
                self.unapplied(&records)
                    .or_else(|| self.unapplied(&choices))
            }
        }
    }

    fn unapplied(&self, applied: &Applied) -> Option<String> {
        match applied {
            Applied::ByAll => None,
            Applied::NoPusher => Some(format!("no live pusher routes {}", self.service)),
            Applied::NotBy(pushers) => {
                let names: Vec<_> = pushers.iter().map(ToString::to_string).collect();
                Some(format!("not yet applied by {}", names.join(", ")))
            }
        }
    }

    fn too_few(&self, what: &str, found: usize) -> Option<String> {
        if found >= self.count {
            return None;
        }
        Some(match &self.instance {
            Some(instance) => format!("{}/{instance} is not {what}", self.service),
            None => format!("{found} of {} of {} {what}", self.count, self.service),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::roster::Kind;
    use crate::record::{MetaPrefix, Prefix};
    use crate::registry::client::Cluster;
    use crate::registry::watch::{Change, Entry, Update};

    #[test]
    fn nothing_is_routed_before_etcd_has_told_which_pushers_there_are() {
        let place = Place {
            cluster: Cluster::new(Default::default()),
            prefix: Prefix::default(),
            meta: MetaPrefix::default(),
            patience: Duration::ZERO,
        };
        let mut roster = Roster::new(&place, None);
        let record = Entry {
            key: b"/services/web/a".to_vec(),
            value: b"10.0.0.5:80".to_vec(),
            mod_revision: 5,
            lease: 0,
        };
        let changes = vec![Change::Put(record)];
        let revision = 5;
        roster.update(Kind::Records, &Update::Changed { revision, changes });
        let wish = Wish {
            service: "web".parse().unwrap(),
            instance: None,
            goal: Goal::Routed,
            count: 1,
        };
        assert!(wish.missing(&roster, |_| None).is_some());
        let nobody = wish.missing(&roster, |_| Some(Applied::NoPusher));
        assert_eq!(nobody.as_deref(), Some("no live pusher routes web"));
        assert_eq!(wish.missing(&roster, |_| Some(Applied::ByAll)), None);
    }
}
