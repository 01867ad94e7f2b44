//! Whether what somebody said was so at that moment, as seen from nginx (I5).

use tokio::time::Instant;

use super::bounds::{MARKED, MOMENT, REQUESTS_OF_A_MOMENT, TTL};
use super::facts::{Facts, Fate};
use crate::places::{PLUS, Part, delay, instance_name};

/// Somebody said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// All load balancers send requests to the instance.
    Routed,
    /// None does, and none is under way.
    Drained,
    /// There is no record, and none does.
    Gone,
}

/// "Routed" was said of an instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) instance: usize,
    pub(super) at: Instant,
}

/// "Routed" was said, and one load balancer sent nothing within a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    pub(super) balancer: usize,
    pub(super) said: Said,
}

/// A request to an instance that was said to be gone.
#[derive(Debug)]
pub(super) struct Gone {
    instance: usize,
    said: Instant,
    pub(super) at: Instant,
    pub(super) violation: String,
}

impl Gone {
    /// Whether etcd got another record of it about when that was said, or later.
    pub(super) fn had_come_again(&self, facts: &Facts) -> bool {
        facts.came[self.instance].is_some_and(|came| came + MOMENT > self.said)
    }
}

impl Said {
    /// When all answers of the moment after it are there.
    pub(super) fn due(self) -> Instant {
        self.at + MOMENT + delay(self.instance) + MOMENT / 2
    }
}

impl Doubt {
    /// The same where nginx had marked the instance as failed.
    pub(super) fn due(self) -> Instant {
        self.said.due() + MARKED - MOMENT
    }
}

/// Whether "routed" is to be judged by this load balancer.
pub(super) fn is_judged(facts: &Facts, balancer: usize, said: Said) -> bool {
    let Said { instance, at } = said;
    let troubles = &facts.troubles;
    let from = at - MOMENT;
    let lives = matches!(facts.fates[instance], Fate::Alive(since) if since <= at);
    let own = [Part::Agent(instance), Part::Backend(instance)];
    let Some(path) = troubles.calm(&[Part::Path(balancer, instance)]).since() else {
        return false;
    };
    let Some(way) = troubles.way(balancer).since() else {
        return false;
    };
    let was_calm = [way, path]
        .iter()
        .all(|calm| *calm == facts.began || *calm < from);
    let requests = facts.seen.requests(balancer, (at, at + MOMENT));
    let shows = balancer == PLUS || requests >= REQUESTS_OF_A_MOMENT;
    lives && was_calm && shows && !troubles.began_about(&own, at)
}

/// Whether the load balancer asked it within a moment.
pub(super) fn was_routed(facts: &Facts, balancer: usize, said: Said) -> bool {
    let moment = (said.at, said.at + MOMENT);
    facts.seen.was_asked(balancer, said.instance, moment)
}

/// What is left of a doubt when all is known that could explain it.
pub(super) fn routed_one_was_not_asked(facts: &Facts, doubt: Doubt) -> Option<String> {
    let Doubt { balancer, said } = doubt;
    let Said { instance, at } = said;
    let is_marked = facts.seen.was_marked(balancer, instance, (at, at + MOMENT));
    let soon = (at, at + MARKED);
    if is_marked
        && (facts.seen.was_asked(balancer, instance, soon) || !is_judged(facts, balancer, said))
    {
        return None;
    }
    let marked = if is_marked {
        ", which had marked it as failed"
    } else {
        ""
    };
    Some(format!(
        "I5: {} was said to be routed, and gets no request of balancer {balancer}{marked}",
        instance_name(instance)
    ))
}

/// "Drained" was said of an instance that is asked.
pub(super) fn drained_one_was_asked(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    at: Instant,
) -> Option<String> {
    let said = drained(facts, balancer, instance)?;
    (at > said + MOMENT).then(|| {
        format!(
            "I5: {} was said to be drained {:.1} s ago, and gets a request of balancer {balancer}",
            instance_name(instance),
            (at - said).as_secs_f64()
        )
    })
}

/// "Gone" was said of an instance that is asked, unless etcd has a record of it again by then.
pub(super) fn gone_one_was_asked(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    at: Instant,
) -> Option<Gone> {
    let said = holds_for(facts, balancer, facts.gone[instance]?)?;
    (at > said + MOMENT).then(|| Gone {
        instance,
        said,
        at,
        violation: format!(
            "I5: {} was said to be gone {:.1} s ago, and gets a request of balancer {balancer}",
            instance_name(instance),
            (at - said).as_secs_f64()
        ),
    })
}

/// "Drained" was said while a request was under way that its backend answered later: it takes at least its delay.
pub(super) fn drained_one_was_busy(
    facts: &Facts,
    balancer: usize,
    instance: usize,
    sent: Instant,
) -> Option<String> {
    let said = drained(facts, balancer, instance)?;
    (sent <= said && said < sent + delay(instance)).then(|| {
        format!(
            "I5: {} was said to be drained {:.3} s after balancer {balancer} got a request that takes it {:?}",
            instance_name(instance),
            (said - sent).as_secs_f64(),
            delay(instance),
        )
    })
}

/// When "drained" was said, where that holds for this load balancer.
pub(super) fn drained(facts: &Facts, balancer: usize, instance: usize) -> Option<Instant> {
    holds_for(facts, balancer, facts.drained[instance]?)
}

/// What was said then, if it was said of this load balancer too.
fn holds_for(facts: &Facts, balancer: usize, said: Instant) -> Option<Instant> {
    // A load balancer that refuses connections for 3 s counts as one that does not route.
    let links = facts.troubles.links(balancer).since()?;
    (said > facts.troubles.after(links, TTL)).then_some(said)
}
