//! The least rights in etcd for each role, as etcdctl commands that grant them. Pure.

use std::fmt;

use crate::etcd::Right;
use crate::model::{InstanceId, InstanceName, MetaPrefix, Prefix, PusherId, ServiceName};
use crate::target::vulcand;

/// The prefixes, and the limits of the roles.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The prefix of the records.
    pub prefix: Prefix,
    /// The prefix of sidekick's own keys.
    pub meta: MetaPrefix,
    /// Only for this service.
    pub service: Option<ServiceName>,
    /// Only for this instance of it.
    pub instance: Option<InstanceName>,
    /// Only for the pusher of this name.
    pub pusher: Option<PusherId>,
    /// The prefixes of the vulcands that pushers write to.
    pub vulcands: Vec<Prefix>,
}

impl Scope {
    /// The rights on the backends of a vulcand, whose keys lie in `range`. All of it is watched.
    fn of_vulcand(&self, range: String) -> Vec<Grant> {
        match &self.service {
            Some(service) => {
                let own = format!("{range}{service}/");
                vec![
                    Grant::all(Right::Read, range),
                    Grant::all(Right::Write, own),
                ]
            }
            None => vec![Grant::all(Right::Write, range)],
        }
    }
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `announce`, `register`, `deregister`.
    Announce,
    /// `push`.
    Push,
    /// `list`, `watch`, `wait`, `status`.
    View,
    /// Operators: `split`, `hold`, `release`, and everything of `View`.
    Operate,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Announce, Self::Push, Self::View, Self::Operate];

    /// What it is for.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Announce => "sidekick-announce",
            Self::Push => "sidekick-push",
            Self::View => "sidekick-view",
            Self::Operate => "sidekick-operate",
        }
    }

    /// Its name in the commands. One for a service, a pusher or other prefixes is named after them: rights of two scopes in one role
    /// would give both to its users.
    #[must_use]
    pub fn name(self, scope: &Scope) -> String {
        let mut name = self.purpose().to_owned();
        let service = scope.service.as_ref().map(|service| format!("-{service}"));
        let instance = scope
            .instance
            .as_ref()
            .map(|instance| format!("/{instance}"));
        let instance = instance.filter(|_| matches!(self, Self::Announce | Self::Operate));
        let pusher = scope.pusher.as_ref().map(|pusher| format!("@{pusher}"));
        let pusher = pusher.filter(|_| self == Self::Push);
        let prefix = (scope.prefix != Prefix::default()).then(|| format!(":{}", scope.prefix));
        let meta = (scope.meta != MetaPrefix::default()).then(|| format!("+{}", scope.meta));
        name.extend(
            [service, instance, pusher, prefix, meta]
                .into_iter()
                .flatten(),
        );
        name
    }

    /// The commands that it is for.
    #[must_use]
    pub fn commands(self, scope: &Scope) -> String {
        let view = Self::View.name(scope);
        let for_all = match self {
            Self::Announce => "announce, register and deregister".to_owned(),
            Self::Push => "push".to_owned(),
            Self::View => "list, watch, wait and status".to_owned(),
            Self::Operate => format!("people: split, hold and release, and all that {view} may"),
        };
        match (self, &scope.service) {
            (Self::View, Some(service)) => {
                format!(
                    "list, watch and wait of {service}; status shows all services and needs the role of all"
                )
            }
            (Self::Operate, Some(service)) => format!(
                "people: split, hold and release of {service}, and all that {view} may; hold --host needs the role of all; \
                release names the upstream: where that is not called {service}, grant readwrite {}/releases/UPSTREAM, too",
                scope.meta
            ),
            (Self::Push, Some(service)) if !scope.vulcands.is_empty() => format!(
                "push; where vulcand's backend is not called {service}, grant readwrite on that one's keys in place of its"
            ),
            _ => for_all,
        }
    }

    /// The least rights that it needs.
    #[must_use]
    pub fn rights(self, scope: &Scope) -> Vec<Grant> {
        let Scope { prefix, meta, .. } = scope;
        let own = |folder: &str| format!("{meta}/{folder}/");
        match self {
            Self::Announce => vec![
                match (&scope.service, &scope.instance) {
                    (Some(service), Some(instance)) => {
                        let id = InstanceId {
                            service: service.clone(),
                            instance: instance.clone(),
                        };
                        Grant::key(Right::Write, prefix.key(&id))
                    }
                    (service, _) => {
                        Grant::all(Right::Write, prefix.service_range(service.as_ref()))
                    }
                },
                Grant::all(Right::Read, own("pushers")),
                Grant::all(Right::Read, own("balancers")),
            ],
            Self::Push => {
                let pusher = |folder: &str| match &scope.pusher {
                    Some(id) => Grant::key(Right::Write, format!("{meta}/{folder}/{id}")),
                    None => Grant::all(Right::Write, own(folder)),
                };
                let mut rights = vec![
                    Grant::all(Right::Read, prefix.service_range(scope.service.as_ref())),
                    Grant::all(Right::Read, meta.range()),
                    pusher("pushers"),
                    pusher("balancers"),
                ];
                let vulcands = scope.vulcands.iter().map(vulcand::backends);
                rights.extend(vulcands.flat_map(|range| scope.of_vulcand(range)));
                rights
            }
            // Keys of pushers and operators are shared by all services, and contain no secrets.
            Self::View => vec![
                Grant::all(Right::Read, prefix.service_range(scope.service.as_ref())),
                Grant::all(Right::Read, meta.range()),
            ],
            Self::Operate => {
                let mut rights = Self::View.rights(scope);
                rights.extend(match &scope.service {
                    // A hold on a host also affects other services there.
                    Some(service) => vec![
                        Grant::key(Right::Write, meta.split_key(service)),
                        match &scope.instance {
                            Some(instance) => Grant::key(
                                Right::Write,
                                own("holds") + &format!("{service}/{instance}"),
                            ),
                            None => Grant::all(Right::Write, own("holds") + &format!("{service}/")),
                        },
                        Grant::key(Right::Write, own("service-holds") + service.as_str()),
                        Grant::key(Right::Write, meta.release_key(service.as_str())),
                    ],
                    None => ["splits", "holds", "service-holds", "host-holds", "releases"]
                        .map(|folder| Grant::all(Right::Write, own(folder)))
                        .into(),
                });
                rights
            }
        }
    }
}

/// A right on a key, or on all keys with this prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    right: Right,
    key: String,
    prefix: bool,
}

impl Grant {
    fn key(right: Right, key: String) -> Self {
        let prefix = false;
        Self { right, key, prefix }
    }

    fn all(right: Right, key: String) -> Self {
        let prefix = true;
        Self { right, key, prefix }
    }
}

/// For `etcdctl role grant-permission ROLE`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix {
            f.write_str("--prefix=true ")?;
        }
        write!(f, "{} {}", self.right.grant(), self.key)
    }
}

#[cfg(test)]
mod tests;
