//! Which POSTs may not be lost (I6).

use super::asked::Asked;
use super::bounds::SILENCE;
use super::facts::{Facts, Fate};
use super::statements::drained;
use crate::places::{Part, instance_name};
use crate::tried::Tried;

pub(super) fn post_was_lost(facts: &Facts, asked: &Asked, why: &str) -> Option<String> {
    let balancer = asked.balancer;
    let is_calm = |part| {
        let calm = facts.troubles.calm(&[part]).since();
        calm.is_some_and(|calm| facts.troubles.after(calm, SILENCE) <= asked.sent)
    };
    if !is_calm(Part::Balancer(balancer)) {
        return None;
    }
    let what = |whose: String| {
        Some(format!(
            "I6: balancer {balancer} lost a POST {whose}: {why}"
        ))
    };
    let Some(Tried::Ours(instance)) = asked.tried.last().copied() else {
        return what("that it sent to none of ours".to_owned());
    };
    let name = instance_name(instance);
    if drained(facts, balancer, instance).is_some() {
        return what(format!("at {name}, which left in good order"));
    }
    match facts.fates[instance] {
        Fate::Alive(since)
            if facts.troubles.after(since, SILENCE) < asked.sent
                && is_calm(Part::Path(balancer, instance))
                && !facts.stood_still_during(asked.sent, asked.over) =>
        {
            what(format!("at {name}, which works"))
        }
        _ => None,
    }
}
