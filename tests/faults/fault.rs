//! What can break; what each fault takes away, and what cannot break at the same time.

use std::time::Duration;

use super::door::Way;
use super::places::{FILE, INSTANCES, LUA, PLUS, PROCESSES, Part};
use super::plus::Mood;
use crate::support::Link;

/// One fault, from its beginning to its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    MemberKilled(usize),
    MemberFrozen(usize),
    MemberRestarts(usize),
    MemberReplaced(usize),
    /// What other members send to this one.
    PeerLink(usize, Link),
    /// A member and all others do not hear each other.
    MemberIsolated(usize),
    /// A member and the next one do not hear each other; the third one hears both.
    MembersParted(usize),
    /// To one of the others, by this draw.
    LeaderMoves(usize),
    MajorityKilled(usize),
    MajorityFrozen(usize),
    AllMembersFrozen,
    Wiped,
    Saved,
    Restored,
    Compacted,
    OutOfSpace,
    AuthChanges,
    PasswordChanges,
    RightsTaken,
    CertificatesRenewed,
    /// Between an agent and one member, or all.
    EtcdLink(usize, Option<usize>, Link),
    /// Between a pusher and one of its load balancers.
    ApiLink(usize, usize, Link),
    /// Between a backend and all others.
    BackendLink(usize, Link),
    /// Between the first nginx alone and a backend.
    PathLink(usize, Way),
    ProbeLink(usize, Link),
    DockerLink(usize, Link),
    AgentKilled(usize),
    AgentRestarts(usize),
    AgentFrozen(usize),
    AgentReloads(usize),
    /// A pusher leaves in good order and comes back.
    PusherRestarts(usize),
    /// A backend and its announcer at once.
    HostDies(usize),
    HostFreezes(usize),
    ClockJumps(usize),
    BalancerKilled(usize),
    BalancerFrozen(usize),
    BalancerReloads(usize),
    WorkersKilled(usize),
    PlusAnswers(Mood),
    PlusRestarts,
    BackendKilled(usize),
    BackendFrozen(usize),
    BackendSick(usize),
    ContainerCrashes(usize),
    ContainerStops(usize),
    ContainerPauses(usize),
    ContainerRestarts(usize),
    DaemonKilled,
    DaemonStops,
    DaemonFrozen,
    DiskFull,
    /// Somebody writes what is no record, or takes one away.
    StrangersRecords,
    StrangerDeletes(usize),
    StrangerOverwrites(usize),
    /// In good order: the announcer leaves, its backend is replaced, both come back. So long the backend is left where it was
    /// when it is drained.
    Deployed(usize, Duration),
}

/// What a fault uses up: no other may use it at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Etcd,
    Member(usize),
    Users,
    Agent(usize),
    Backend(usize),
    Daemon,
    Balancer(usize),
}

impl Use {
    fn excludes(self, other: Self) -> bool {
        use Use::{Agent, Backend, Daemon, Etcd, Member, Users};
        let is_container = |instance| instance >= PROCESSES;
        match (self, other) {
            (Etcd, Etcd | Member(_) | Users) | (Member(_) | Users, Etcd) => true,
            (Daemon, Backend(instance) | Agent(instance))
            | (Backend(instance) | Agent(instance), Daemon) => {
                is_container(instance) && instance < INSTANCES
            }
            (one, other) => one == other,
        }
    }
}

/// The pusher that keeps the file, among the agents.
const KEEPS_FILE: usize = INSTANCES + 2;

impl Fault {
    /// Whether both cannot be at the same time.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let others = other.uses();
        self.uses()
            .iter()
            .any(|one| others.iter().any(|other| one.excludes(*other)))
    }

    /// Two members that fail at once are the majority.
    pub(crate) fn breaks_majority_with(&self, other: &Self) -> bool {
        let member = |fault: &Self| {
            let uses = fault.uses();
            uses.iter().any(|used| matches!(used, Use::Member(_)))
        };
        member(self) && member(other)
    }

    fn uses(&self) -> Vec<Use> {
        match *self {
            Self::MemberKilled(member)
            | Self::MemberFrozen(member)
            | Self::MemberRestarts(member)
            | Self::MemberIsolated(member)
            | Self::PeerLink(member, _) => vec![Use::Member(member)],
            Self::LeaderMoves(_)
            | Self::MembersParted(_)
            | Self::MemberReplaced(_)
            | Self::MajorityKilled(_)
            | Self::MajorityFrozen(_)
            | Self::AllMembersFrozen
            | Self::Wiped
            | Self::Saved
            | Self::Restored
            | Self::OutOfSpace
            | Self::StrangersRecords
            | Self::RightsTaken => vec![Use::Etcd],
            Self::Compacted
            | Self::AuthChanges
            | Self::PasswordChanges
            | Self::CertificatesRenewed => vec![Use::Users],
            Self::EtcdLink(agent, ..)
            | Self::AgentKilled(agent)
            | Self::AgentRestarts(agent)
            | Self::AgentFrozen(agent)
            | Self::AgentReloads(agent)
            | Self::ClockJumps(agent) => vec![Use::Agent(agent)],
            Self::PusherRestarts(pusher) => vec![Use::Agent(INSTANCES + pusher)],
            Self::ApiLink(pusher, target, _) => {
                vec![Use::Agent(INSTANCES + pusher), Use::Balancer(target)]
            }
            Self::BalancerKilled(target)
            | Self::BalancerFrozen(target)
            | Self::BalancerReloads(target)
            | Self::WorkersKilled(target) => vec![Use::Balancer(target)],
            Self::PlusAnswers(_) | Self::PlusRestarts => vec![Use::Balancer(PLUS)],
            Self::ProbeLink(instance, _)
            | Self::BackendLink(instance, _)
            | Self::PathLink(instance, _)
            | Self::DockerLink(instance, _)
            | Self::StrangerDeletes(instance)
            | Self::StrangerOverwrites(instance)
            | Self::BackendKilled(instance)
            | Self::BackendFrozen(instance)
            | Self::BackendSick(instance)
            | Self::ContainerCrashes(instance)
            | Self::ContainerStops(instance)
            | Self::ContainerPauses(instance)
            | Self::ContainerRestarts(instance)
            | Self::HostDies(instance)
            | Self::HostFreezes(instance)
            | Self::Deployed(instance, _) => vec![Use::Backend(instance), Use::Agent(instance)],
            Self::DaemonKilled | Self::DaemonStops | Self::DaemonFrozen => vec![Use::Daemon],
            Self::DiskFull => vec![Use::Balancer(FILE)],
        }
    }

    /// The agent that does not run while it lasts.
    pub(crate) fn ends_agent(&self) -> Option<usize> {
        match *self {
            Self::AgentKilled(agent) | Self::HostDies(agent) => Some(agent),
            _ => None,
        }
    }

    /// The instance that nobody asks for a while, in the course of it.
    pub(crate) fn departs(&self) -> Option<usize> {
        match *self {
            Self::Deployed(instance, _)
            | Self::HostDies(instance)
            | Self::BackendKilled(instance)
            | Self::ContainerCrashes(instance)
            | Self::ContainerStops(instance) => Some(instance),
            _ => None,
        }
    }

    /// What cannot be kept while it lasts.
    pub(crate) fn takes(&self) -> Vec<Part> {
        match *self {
            Self::MemberKilled(_)
            | Self::MemberFrozen(_)
            | Self::MemberRestarts(_)
            | Self::MemberReplaced(_)
            | Self::MemberIsolated(_)
            | Self::PeerLink(..)
            | Self::LeaderMoves(_) => vec![Part::Member],
            Self::MembersParted(_) => vec![Part::Member, Part::Leaders],
            Self::MajorityKilled(_)
            | Self::MajorityFrozen(_)
            | Self::AllMembersFrozen
            | Self::Saved => {
                vec![Part::Etcd]
            }
            Self::Wiped | Self::Restored | Self::OutOfSpace | Self::RightsTaken => {
                vec![Part::Data]
            }
            // Nothing of these may be felt anywhere.
            Self::Compacted
            | Self::AuthChanges
            | Self::PasswordChanges
            | Self::CertificatesRenewed
            | Self::EtcdLink(_, Some(_), _)
            | Self::AgentReloads(_)
            | Self::ClockJumps(_)
            | Self::DockerLink(..)
            | Self::DaemonKilled
            | Self::DaemonStops
            | Self::DaemonFrozen
            | Self::BalancerReloads(_)
            | Self::StrangersRecords => vec![],
            Self::HostDies(instance) | Self::HostFreezes(instance) => {
                vec![Part::Agent(instance), Part::Backend(instance)]
            }
            Self::PusherRestarts(pusher) => vec![Part::Agent(INSTANCES + pusher)],
            Self::EtcdLink(agent, None, _)
            | Self::AgentKilled(agent)
            | Self::AgentRestarts(agent)
            | Self::AgentFrozen(agent) => vec![Part::Agent(agent)],
            Self::ApiLink(pusher, target, _) => vec![Part::Link(INSTANCES + pusher, target)],
            Self::BalancerKilled(target)
            | Self::BalancerFrozen(target)
            | Self::WorkersKilled(target) => vec![Part::Balancer(target)],
            Self::PlusAnswers(_) | Self::PlusRestarts => vec![Part::Balancer(PLUS)],
            Self::PathLink(instance, _) => vec![Part::Path(LUA[0], instance)],
            Self::DiskFull => vec![Part::Link(KEEPS_FILE, FILE)],
            Self::ProbeLink(instance, _)
            | Self::BackendLink(instance, _)
            | Self::BackendKilled(instance)
            | Self::BackendFrozen(instance)
            | Self::BackendSick(instance)
            | Self::ContainerCrashes(instance)
            | Self::ContainerStops(instance)
            | Self::ContainerPauses(instance)
            | Self::ContainerRestarts(instance)
            | Self::StrangerDeletes(instance)
            | Self::StrangerOverwrites(instance)
            | Self::Deployed(instance, _) => vec![Part::Backend(instance)],
        }
    }
}
