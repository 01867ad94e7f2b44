//! What is desired, with the names that resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::member::Refused;
use super::names::Names;
use super::render::{self, Member, named};
use super::template::{RenderError, Template};
use super::unrecorded;
use crate::model::{DnsName, Endpoint, Host, State};
use crate::target::UpstreamName;
use crate::upstream::desired::{Desired, Server};

/// What is desired, without the servers whose names do not resolve: nginx would not start with them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) desired: Desired,
    /// The servers that are left out, with the reasons.
    pub(super) left_out: Refused,
    /// Those of them whose former addresses stay.
    pub(super) stand_ins: BTreeSet<Endpoint>,
    /// The lines that say what the names resolve to, so that the file changes when that does.
    names: String,
    /// The directives of servers in the file that no record can name.
    unrecorded: Vec<String>,
}

impl Resolved {
    /// Where no server would be left to take traffic, those whose names do not resolve any more keep the addresses they had.
    pub(super) fn of(desired: &Desired, names: &Names, unrecorded: Vec<String>) -> Self {
        let mut resolved = desired.clone();
        let mut left_out = Refused::new();
        let mut lines = BTreeMap::new();
        for endpoint in desired.servers.keys() {
            let Host::Dns(name) = &endpoint.host else {
                continue;
            };
            lines.insert(name, named(name, names.last(name)));
            if let Some(reason) = names.left_out(name) {
                resolved.servers.remove(endpoint);
                left_out.insert(
                    endpoint.clone(),
                    format!("its name does not resolve: {reason}"),
                );
            }
        }
        let lines = lines
            .into_iter()
            .filter(|(name, _)| names.last(name).next().is_some());
        let mut resolved = Self {
            desired: resolved,
            left_out,
            stand_ins: BTreeSet::new(),
            names: lines.map(|(_, line)| line).collect(),
            unrecorded,
        };
        if resolved.is_empty_for(desired) {
            resolved.keep_addresses(desired, names);
        }
        resolved
    }

    fn keep_addresses(&mut self, desired: &Desired, names: &Names) {
        for (endpoint, reason) in &mut self.left_out {
            let (Host::Dns(name), Some(server)) = (&endpoint.host, desired.servers.get(endpoint))
            else {
                continue;
            };
            let kept = addresses(name, endpoint, names);
            if kept.is_empty() {
                continue;
            }
            self.stand_ins.insert(endpoint.clone());
            reason.push_str("; the addresses that it had stay, as no other server is left");
            for address in kept {
                let origin = desired.origins.get(endpoint);
                let origin = origin.map(|origin| (address.clone(), origin.clone()));
                self.desired.origins.extend(origin);
                self.desired.servers.entry(address).or_insert(*server);
            }
        }
    }

    /// Whether no server is left to take traffic, though some should.
    pub(super) fn is_empty_for(&self, desired: &Desired) -> bool {
        let takes = |desired: &Desired| {
            let up = |server: &Server| server.state == State::Up;
            desired.servers.values().any(up)
        };
        takes(desired) && !takes(&self.desired)
    }

    /// Why servers are left out, in words.
    pub(super) fn reason(&self) -> String {
        let mut reasons = self.left_out.iter();
        let first = reasons
            .next()
            .map(|(endpoint, reason)| format!("{endpoint}: {reason}"));
        match reasons.len() {
            0 => first.unwrap_or_default(),
            more => format!("{}; and {more} more", first.unwrap_or_default()),
        }
    }

    /// The block, but for the servers `without`.
    pub(super) fn block(
        &self,
        template: Option<&Arc<Template>>,
        name: &UpstreamName,
        without: &BTreeSet<Endpoint>,
    ) -> Result<String, RenderError> {
        let member = Member {
            name,
            desired: &self.desired,
            without,
        };
        let block = render::block(template, member)?;
        let protection = &self.desired.protection;
        let block = unrecorded::keep(block, name, &self.unrecorded, protection);
        Ok(format!("{}{block}", self.names))
    }
}

/// The addresses that the server of this name had.
fn addresses(name: &DnsName, endpoint: &Endpoint, names: &Names) -> Vec<Endpoint> {
    let addresses = names.last(name).map(|address| Endpoint {
        host: Host::Ip(*address),
        port: endpoint.port,
    });
    addresses.collect()
}
