//! Which faults come, by a seed, and how long each lasts.

use std::time::Duration;

use fastrand::Rng;

use super::door::Way;
use super::fault::Fault;
use super::places::{AGENTS, FILE, INSTANCES, LINKED, LUA, PLUS, PROCESSES, PUSHERS, ROUTES};
use super::plus::Mood;
use crate::support::Link;

/// How a link can be bad.
fn bad_link(rng: &mut Rng) -> Link {
    match rng.u8(0..5) {
        0 => Link::Down,
        1 => Link::Silent,
        2 => Link::HalfOpen,
        3 => Link::Reset,
        _ => Link::Slow(Duration::from_millis(rng.u64(50..400))),
    }
}

fn bad_way(rng: &mut Rng) -> Way {
    if rng.bool() { Way::Silent } else { Way::Closed }
}

fn process(rng: &mut Rng) -> usize {
    rng.usize(0..PROCESSES)
}

fn container(rng: &mut Rng) -> usize {
    rng.usize(PROCESSES..INSTANCES)
}

/// One with processes of its own.
fn nginx(rng: &mut Rng) -> usize {
    rng.usize(0..PLUS)
}

fn api_link(rng: &mut Rng) -> Fault {
    let pusher = rng.usize(0..PUSHERS);
    let with_api = ROUTES[pusher].iter().filter(|target| **target != FILE);
    let target = rng.choice(with_api.copied().collect::<Vec<_>>());
    Fault::ApiLink(pusher, target.unwrap_or(LUA[0]), bad_link(rng))
}

/// How often something of a kind is drawn, and how.
const KINDS: [fn(&mut Rng) -> Fault; 57] = [
    |rng| Fault::MemberKilled(rng.usize(0..3)),
    |rng| Fault::MemberFrozen(rng.usize(0..3)),
    |rng| Fault::MemberRestarts(rng.usize(0..3)),
    |rng| Fault::MemberReplaced(rng.usize(0..3)),
    |rng| Fault::PeerLink(rng.usize(0..3), bad_link(rng)),
    |rng| Fault::MemberIsolated(rng.usize(0..3)),
    |rng| Fault::MembersParted(rng.usize(0..3)),
    |rng| Fault::LeaderMoves(rng.usize(0..2)),
    |rng| Fault::MajorityKilled(rng.usize(0..3)),
    |rng| Fault::MajorityFrozen(rng.usize(0..3)),
    |_| Fault::AllMembersFrozen,
    |_| Fault::Wiped,
    |_| Fault::Saved,
    |_| Fault::Restored,
    |_| Fault::Compacted,
    |_| Fault::OutOfSpace,
    |_| Fault::AuthChanges,
    |_| Fault::PasswordChanges,
    |_| Fault::RightsTaken,
    |_| Fault::CertificatesRenewed,
    |rng| Fault::EtcdLink(rng.usize(0..AGENTS), None, bad_link(rng)),
    |rng| Fault::EtcdLink(rng.usize(0..AGENTS), Some(rng.usize(0..3)), bad_link(rng)),
    |rng| Fault::EtcdLink(rng.usize(INSTANCES..AGENTS), None, bad_link(rng)),
    |rng| {
        Fault::EtcdLink(
            rng.usize(INSTANCES..AGENTS),
            Some(rng.usize(0..3)),
            bad_link(rng),
        )
    },
    api_link,
    api_link,
    |rng| Fault::ProbeLink(rng.usize(LINKED..PROCESSES), bad_link(rng)),
    |rng| Fault::BackendLink(rng.usize(0..LINKED), bad_link(rng)),
    |rng| Fault::PathLink(rng.usize(0..LINKED), bad_way(rng)),
    |rng| Fault::DockerLink(container(rng), bad_link(rng)),
    |rng| Fault::AgentKilled(rng.usize(0..AGENTS)),
    |rng| Fault::AgentRestarts(rng.usize(0..AGENTS)),
    |rng| Fault::AgentFrozen(rng.usize(0..AGENTS)),
    |rng| Fault::AgentReloads(rng.usize(0..AGENTS)),
    |rng| Fault::PusherRestarts(rng.usize(0..PUSHERS)),
    |rng| Fault::HostDies(rng.usize(0..INSTANCES)),
    |rng| Fault::HostFreezes(rng.usize(0..INSTANCES)),
    |rng| Fault::AgentFrozen(rng.usize(INSTANCES..AGENTS)),
    |rng| {
        Fault::ClockJumps(
            rng.choice([0, PROCESSES, INSTANCES, INSTANCES + 2])
                .unwrap_or(0),
        )
    },
    |rng| Fault::BalancerKilled(nginx(rng)),
    |rng| Fault::BalancerFrozen(nginx(rng)),
    |rng| Fault::BalancerReloads(nginx(rng)),
    |rng| Fault::WorkersKilled(nginx(rng)),
    |rng| Fault::PlusAnswers(mood(rng)),
    |_| Fault::PlusRestarts,
    |rng| Fault::BackendKilled(process(rng)),
    |rng| Fault::BackendFrozen(process(rng)),
    |rng| Fault::BackendSick(process(rng)),
    |rng| Fault::ContainerCrashes(container(rng)),
    |rng| Fault::ContainerStops(container(rng)),
    |rng| Fault::ContainerPauses(container(rng)),
    |rng| Fault::ContainerRestarts(container(rng)),
    |rng| {
        rng.choice([Fault::DaemonKilled, Fault::DaemonStops, Fault::DaemonFrozen])
            .unwrap_or(Fault::DaemonStops)
    },
    |_| Fault::DiskFull,
    |_| Fault::StrangersRecords,
    |rng| {
        if rng.bool() {
            Fault::StrangerDeletes(rng.usize(0..INSTANCES))
        } else {
            Fault::StrangerOverwrites(rng.usize(0..INSTANCES))
        }
    },
    deployed,
];

/// Half of the backends go as soon as they may: then every request that is still under way is lost. The other half show who still
/// asks them, for longer than a moment, within which "drained" may yet be wrong.
fn deployed(rng: &mut Rng) -> Fault {
    let stays = if rng.bool() { 1_800 } else { 0 };
    Fault::Deployed(rng.usize(0..INSTANCES), Duration::from_millis(stays))
}

fn mood(rng: &mut Rng) -> Mood {
    match rng.u8(0..6) {
        0 => Mood::Fails500,
        1 => Mood::Garbage,
        2 => Mood::Resets,
        3 => Mood::Silent,
        4 => Mood::Wrong,
        _ => Mood::Slow(Duration::from_millis(rng.u64(50..1500))),
    }
}

impl Fault {
    /// One of all.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        // A rolling deployment is the commonest of all that happens.
        if rng.u8(0..10) == 0 {
            return deployed(rng);
        }
        KINDS[rng.usize(0..KINDS.len())](rng)
    }

    /// Another one that can happen beside the first.
    pub(crate) fn draw_beside(rng: &mut Rng, first: &Self) -> Self {
        loop {
            let fault = Self::draw(rng);
            if !fault.excludes(first) {
                return fault;
            }
        }
    }
}

/// How long a fault lasts: mostly shorter than a lease, sometimes longer. A third of the dead stay dead until the bound of all is over.
pub(crate) fn duration(rng: &mut Rng, fault: &Fault) -> Duration {
    let kills = matches!(
        fault,
        Fault::HostDies(_)
            | Fault::HostFreezes(_)
            | Fault::BackendKilled(_)
            | Fault::BackendFrozen(_)
            | Fault::BackendSick(_)
            | Fault::BackendLink(..)
            | Fault::ContainerCrashes(_)
            | Fault::ContainerPauses(_)
            | Fault::ContainerStops(_)
    );
    let milliseconds = match (kills, rng.u8(0..24)) {
        (true, 0..8) => rng.u64(7_000..11_000),
        (false, 0..3) => rng.u64(100..7_000),
        _ => rng.u64(100..2_000),
    };
    Duration::from_millis(milliseconds)
}
