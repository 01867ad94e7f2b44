//! Whom load balancers may send requests to, and whom they must (I1, I2).

use std::net::SocketAddr;

use tokio::time::Instant;

use super::bounds::{CONVERGENCE, HEALED, REQUESTS, SILENCE, TTL};
use super::facts::{Facts, Fate};
use crate::places::{PLUS, Part, delay, instance_name};
use crate::strangers::{is_foreign, is_overwritten};

/// I1: a dead backend was asked.
pub(super) fn dead_one_was_asked(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    at: Instant,
) -> Option<String> {
    let bound = facts.dead_bound(balancer, instance)?;
    let Fate::Dead(since) = facts.fates[instance] else {
        return None;
    };
    let late = at.checked_duration_since(bound)?;
    Some(format!(
        "I1: {} gets requests of balancer {balancer}, {:.1} s after it died and {:.1} s after its bound",
        instance_name(instance),
        (at - since).as_secs_f64(),
        late.as_secs_f64(),
    ))
}

/// I1: an address that none of ours has was asked.
pub(super) fn stranger_was_asked(
    facts: &Facts,
    balancer: usize,
    address: SocketAddr,
    at: Instant,
) -> Option<String> {
    if is_foreign(address) {
        return Some(format!(
            "I1: balancer {balancer} asks {address}, which stands in no record that can be read"
        ));
    }
    if !is_overwritten(address) {
        // I3 finds it where it stays.
        return None;
    }
    let late = at.checked_duration_since(healed(facts, balancer)?)?;
    Some(format!(
        "I1: balancer {balancer} asks {address}, which a stranger wrote over a record, {:.1} s after it should be its announcer's again",
        late.as_secs_f64()
    ))
}

/// When the announcer has its record back at the latest, and the load balancer its address; `None` while that cannot be told.
fn healed(facts: &Facts, balancer: usize) -> Option<Instant> {
    let Some((instance, at)) = facts.overwritten else {
        return Some(facts.began);
    };
    let troubles = &facts.troubles;
    let announcer = troubles.calm(&[Part::Agent(instance)]).since()?;
    let from = facts.known(balancer)?.max(at);
    Some(from.max(troubles.after(announcer, TTL)) + HEALED)
}

/// I1: etcd is too late itself.
pub(super) fn lease_is_overdue(facts: &Facts, instance: usize, now: Instant) -> Option<String> {
    let calm = |part| facts.troubles.calm(&[part]).since();
    let calm = calm(Part::Etcd)?
        .max(calm(Part::Data)?)
        .max(calm(Part::Leaders)?);
    let is_calm = facts.troubles.after(calm, CONVERGENCE) < now && facts.elected() < now;
    let late = facts.leases.too_late(instance, now).filter(|_| is_calm)?;
    Some(format!(
        "I1: etcd has the record of {}, {:.0} s after its lease was over",
        instance_name(instance),
        late.as_secs_f64()
    ))
}

/// From when on a healthy backend must get requests of a load balancer; `None` while that is not to be judged.
fn healthy_from(facts: &Facts, balancer: usize, instance: usize) -> Option<Instant> {
    let Fate::Alive(since) = facts.fates[instance] else {
        return None;
    };
    let troubles = &facts.troubles;
    let path = troubles.path(balancer, instance).since()?;
    let alive = troubles.after(since, CONVERGENCE);
    // What was under way when the suite stood still is answered a little later.
    let still = facts.stood_still.map(|until| until + delay(instance));
    let from = troubles
        .after(path, TTL)
        .max(alive)
        .max(facts.began + CONVERGENCE);
    Some(still.map_or(from, |still| still.max(from)))
}

/// I2, that is whether it could be violated by now: a backend that must get requests all the time, by a load balancer that has had
/// enough of them.
pub(super) fn healthy_one_is_judged(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    now: Instant,
) -> bool {
    let from = healthy_from(facts, balancer, instance);
    from.is_some_and(|from| from + SILENCE < now && has_enough(facts, balancer, now - SILENCE))
}

/// I2
pub(super) fn healthy_one_was_not_asked(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    now: Instant,
) -> Option<String> {
    let from = healthy_from(facts, balancer, instance)?;
    let last = facts.seen.last_asked(balancer, instance);
    let from = last.map_or(from, |last| last.max(from));
    let silent = now.checked_duration_since(from)?;
    (silent > SILENCE && has_enough(facts, balancer, from)).then(|| {
        format!(
            "I2: {} works and gets no request of balancer {balancer} for {:.1} s, while that took {}",
            instance_name(instance),
            silent.as_secs_f64(),
            facts.seen.requests_since(balancer, from),
        )
    })
}

/// Whether the load balancer has had so many requests since then that each of its servers must have got one.
fn has_enough(facts: &Facts, balancer: usize, from: Instant) -> bool {
    balancer == PLUS || facts.seen.requests_since(balancer, from) >= REQUESTS
}
