//! The wanted text for one upstream: the block, and the servers that are left out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bisect::Bisect;
use super::block::Source;
use super::names::Names;
use super::template::{self, RenderError, Template};
use super::text::named;
use super::unrecorded;
use crate::model::{Endpoint, Host, State};
use crate::target::{Error, UpstreamName};
use crate::upstream::server::Servers;
use crate::upstream::state::Desired;

/// The servers that are left out, with the reasons.
pub(super) type Refused = BTreeMap<Endpoint, String>;

/// A block, and what it is made of.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) block: String,
    pub(super) refused: Refused,
    /// Those of them whose former addresses stay.
    pub(super) stand_ins: BTreeSet<Endpoint>,
    pub(super) maker: Maker,
}

/// Makes blocks of some of the servers.
#[derive(Debug)]
pub(super) struct Maker {
    template: Option<Arc<Template>>,
    name: UpstreamName,
    desired: Desired,
    /// Comments with the addresses of names, so that the file changes when these do.
    names: String,
    /// The directives of servers in the file that no record can name.
    unrecorded: Vec<String>,
}

impl Wanted {
    /// Leaves out the servers whose names do not resolve and those for which the template fails. `good` is nginx's current block;
    /// `has_servers` says that it must not be replaced by one without servers.
    ///
    /// # Errors
    ///
    /// When the template fails for all servers, or no name resolves.
    pub(super) fn new(
        template: Option<&Arc<Template>>,
        name: &UpstreamName,
        desired: &Desired,
        names: &Names,
        good: Option<&str>,
        has_servers: bool,
    ) -> Result<Self, Error> {
        let mut maker = Maker {
            template: template.cloned(),
            name: name.clone(),
            desired: desired.clone(),
            names: lines(desired, names),
            unrecorded: good.map(unrecorded::of).unwrap_or_default(),
        };
        let mut refused = unresolved(desired, names);
        maker
            .desired
            .servers
            .retain(|at, _| !refused.contains_key(at));
        let mut stand_ins = BTreeSet::new();
        if any_up(&desired.servers) && !any_up(&maker.desired.servers) {
            stand_ins = maker.keep_addresses(desired, names, &mut refused);
            if has_servers && !any_up(&maker.desired.servers) {
                return Err(Error::Unresolved(reason(&refused)));
            }
        }
        let (block, more) = maker.render()?;
        refused.extend(more);
        Ok(Self {
            block,
            refused,
            stand_ins,
            maker,
        })
    }

    /// The servers of the block.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let servers = self.maker.desired.servers.keys();
        let taken = servers.filter(|endpoint| !self.refused.contains_key(*endpoint));
        taken.cloned().collect()
    }
}

impl Maker {
    /// The block with these servers.
    pub(super) fn block(&self, servers: &[Endpoint]) -> Result<String, RenderError> {
        let Desired {
            service,
            origins,
            protection,
            ..
        } = &self.desired;
        let known = |at: &Endpoint| Some((at.clone(), *self.desired.servers.get(at)?));
        let servers: Servers = servers.iter().filter_map(known).collect();
        let source = Source {
            name: &self.name,
            service: service.as_str(),
            servers: &servers,
            origins,
        };
        let block = template::render(self.template.as_deref(), source)?;
        let block = unrecorded::keep(block, &self.name, &self.unrecorded, protection);
        Ok(format!("{}{block}", self.names))
    }

    /// The block of all servers for which the template works, and the others.
    fn render(&self) -> Result<(String, Refused), Error> {
        let failed = |error: RenderError| Error::Template(error.to_string());
        let all: Vec<_> = self.desired.servers.keys().cloned().collect();
        let error = match self.block(&all) {
            Ok(block) => return Ok((block, Refused::new())),
            // No server is to blame, and bisecting would take very long.
            Err(error @ RenderError::Unbounded(_)) => return Err(failed(error)),
            Err(error) => failed(error),
        };
        self.block(&[]).map_err(failed)?;
        let mut bisect = Bisect::new(all);
        while let Some(trial) = bisect.trial() {
            match self.block(&trial) {
                Ok(_) => bisect.accept(),
                Err(error) => bisect.refuse(error.to_string()),
            }
        }
        if bisect.accepted.is_empty() {
            return Err(error);
        }
        let block = self.block(&bisect.accepted).map_err(failed)?;
        Ok((block, bisect.refused.into_iter().collect()))
    }

    /// Puts the last known addresses in place of names that do not resolve any more. Returns the servers that have such addresses.
    fn keep_addresses(
        &mut self,
        desired: &Desired,
        names: &Names,
        refused: &mut Refused,
    ) -> BTreeSet<Endpoint> {
        let mut kept = BTreeSet::new();
        for (endpoint, reason) in refused {
            let (Host::Dns(name), Some(server)) = (&endpoint.host, desired.servers.get(endpoint))
            else {
                continue;
            };
            for address in names.last(name).into_iter().flatten() {
                let at = Endpoint {
                    host: Host::Ip(*address),
                    port: endpoint.port,
                };
                let origin = desired.origins.get(endpoint);
                let origins = origin.map(|origin| (at.clone(), origin.clone()));
                self.desired.origins.extend(origins);
                self.desired.servers.entry(at).or_insert(*server);
                if kept.insert(endpoint.clone()) {
                    reason.push_str("; the addresses that it had stay, as no other server is left");
                }
            }
        }
        kept
    }
}

fn any_up(servers: &Servers) -> bool {
    let mut servers = servers.values();
    servers.any(|server| server.state == State::Up)
}

/// The servers whose names do not resolve.
fn unresolved(desired: &Desired, names: &Names) -> Refused {
    let endpoints = desired.servers.keys();
    let unresolved = endpoints.filter_map(|endpoint| {
        let Host::Dns(name) = &endpoint.host else {
            return None;
        };
        let reason = format!("its name does not resolve: {}", names.left_out(name)?);
        Some((endpoint.clone(), reason))
    });
    unresolved.collect()
}

/// A comment line for each name of a server with its addresses.
fn lines(desired: &Desired, names: &Names) -> String {
    let endpoints = desired.servers.keys();
    let lines = endpoints.filter_map(|endpoint| match &endpoint.host {
        Host::Dns(name) => Some((name, named(name, names.last(name)?))),
        Host::Ip(_) => None,
    });
    let lines: BTreeMap<_, _> = lines.collect();
    lines.into_values().collect()
}

/// Why servers are left out, in one line.
fn reason(refused: &Refused) -> String {
    let mut reasons = refused.iter();
    let first = reasons.next();
    let first = first.map(|(endpoint, reason)| format!("{endpoint}: {reason}"));
    let first = first.unwrap_or_default();
    match reasons.len() {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
