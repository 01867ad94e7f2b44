//! Which records of its service an upstream takes, and the servers that they become.

use std::num::NonZeroU16;

use super::overrides::ServiceOverrides;
use super::records::Known;
use super::server::{Parameters, Server};
use crate::model::{InstanceName, Protocol, Record, Share, Split, State, Version};

/// Which records an upstream takes, and the parameters of their servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The protocol of the records. UDP works only in stream upstreams.
    pub protocol: Protocol,
    /// The versions of the records; empty for all.
    pub versions: Vec<Version>,
    /// Tags that the records must all have.
    pub tags: Vec<String>,
    /// The parameters of servers without a matching rule.
    pub terms: Terms,
    /// The parameters of servers with certain tags: the first matching rule wins.
    pub rules: Vec<Rule>,
}

/// A server's settings besides its address and state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// The default weight, for records without one.
    pub weight: Option<NonZeroU16>,
    /// The other parameters.
    pub parameters: Parameters,
}

/// The parameters of servers with certain tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The record must have all of them.
    pub tags: Vec<String>,
    /// The parameters of its server.
    pub terms: Terms,
}

impl Selection {
    /// Whether the upstream takes this record.
    fn takes(&self, record: &Record) -> bool {
        let version = || record.version.as_ref();
        record.protocol == self.protocol
            && (self.versions.is_empty()
                || version().is_some_and(|version| self.versions.contains(version)))
            && has_all(record, &self.tags)
    }

    fn server(&self, record: &Record) -> Server {
        let rule = self.rules.iter().find(|rule| has_all(record, &rule.tags));
        let terms = rule.map_or(self.terms, |rule| rule.terms);
        let weight = record
            .weight
            .or(terms.weight.map(NonZeroU16::get))
            .unwrap_or(1);
        Server::of(weight, record.state, terms.parameters)
    }
}

fn has_all(record: &Record, tags: &[String]) -> bool {
    tags.iter().all(|tag| record.tags.contains(tag))
}

/// A record that is taken, with its server.
pub(crate) type Chosen<'a> = (&'a InstanceName, &'a Record, Server);

/// The records that an upstream takes. Held instances drain.
pub(crate) fn choose<'a>(
    known: Known<'a>,
    selection: &Selection,
    overrides: &ServiceOverrides,
) -> Vec<Chosen<'a>> {
    let taken = known
        .records()
        .filter(|(_, record)| selection.takes(record));
    let chosen = taken.map(|(instance, record)| {
        let mut server = selection.server(record);
        if server.state == State::Up && overrides.hold_on(instance, record).is_some() {
            server.state = State::Draining;
        }
        (instance, record, server)
    });
    chosen.collect()
}

/// The split that an upstream follows.
#[derive(Debug, Default)]
pub(crate) struct Splitting {
    /// The last split that matched any instance.
    followed: Option<Split>,
    /// The split in etcd, if it matches no instance and that was reported.
    ignored: Option<Split>,
}

/// A split stopped or started matching instances that take traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitNotice {
    /// It is not followed; the former one stays, if it matches any instance.
    Ignored,
    /// It is followed now.
    Followed,
}

impl Splitting {
    /// Spreads the weights of the split in etcd over the servers. Instances without a share drain.
    ///
    /// A split that matches no instance that takes traffic would leave none; it is not followed, and the former one
    /// stays.
    pub(crate) fn apply(
        &mut self,
        asked: Option<&Split>,
        chosen: &mut [Chosen<'_>],
    ) -> Option<SplitNotice> {
        let live = chosen
            .iter_mut()
            .filter(|(_, _, server)| server.state == State::Up);
        let mut live: Vec<_> = live.collect();
        let shares = live.iter().map(|(_, record, server)| Share {
            version: record.version.as_ref(),
            weight: server.weight.get(),
        });
        let shares: Vec<_> = shares.collect();
        let (weights, notice) = self.weights(asked, &shares);
        for (place, (_, _, server)) in live.iter_mut().enumerate() {
            let Some(weight) = weights.as_ref().and_then(|weights| weights.get(place)) else {
                break;
            };
            *server = match Server::of(*weight, State::Up, server.parameters) {
                none if *weight == 0 => Server {
                    state: State::Draining,
                    ..none
                },
                share => share,
            };
        }
        notice
    }

    fn weights(
        &mut self,
        asked: Option<&Split>,
        shares: &[Share<'_>],
    ) -> (Option<Vec<u16>>, Option<SplitNotice>) {
        let Some(split) = asked else {
            *self = Self::default();
            return (None, None);
        };
        if shares.is_empty() {
            // There is no traffic to share out.
            return (None, None);
        }
        if let Some(weights) = split.spread(shares) {
            self.followed = Some(split.clone());
            let notice = self.ignored.take().map(|_| SplitNotice::Followed);
            return (Some(weights), notice);
        }
        let known = self.ignored.as_ref() == Some(split);
        self.ignored = Some(split.clone());
        let former = self.followed.as_ref();
        let weights = former.and_then(|former| former.spread(shares));
        (weights, (!known).then_some(SplitNotice::Ignored))
    }
}

#[cfg(test)]
mod tests;
