//! What there is to break, by number.

use std::time::Duration;

/// Backends that are processes of their own come first, those in containers after them.
pub(crate) const PROCESSES: usize = 5;

/// The first of them are reached over a link that can be bad, by everybody. The other ones have such a link for their probes alone.
pub(crate) const LINKED: usize = 3;

/// All backends; the announcer of a backend has its number.
pub(crate) const INSTANCES: usize = 10;

/// The pushers are numbered behind the announcers.
pub(crate) const PUSHERS: usize = 3;

/// All agents.
pub(crate) const AGENTS: usize = INSTANCES + PUSHERS;

/// Load balancers.
pub(crate) const BALANCERS: usize = 4;

/// The two nginx with lua, the one with a file, and the stand-in of NGINX Plus.
pub(crate) const LUA: [usize; 2] = [0, 1];
pub(crate) const FILE: usize = 2;
pub(crate) const PLUS: usize = 3;

/// Names of the load balancers, as the pushers' settings have them.
pub(crate) const BALANCER_NAMES: [&str; BALANCERS] = ["lua-a", "lua-b", "file", "plus"];

/// Which load balancers each pusher keeps. The second nginx has two pushers.
pub(crate) const ROUTES: [&[usize]; PUSHERS] = [&[0, PLUS], &[1], &[FILE, 1]];

/// The pushers of a load balancer, by their numbers among the agents.
pub(crate) fn pushers_of(balancer: usize) -> impl Iterator<Item = usize> {
    (0..PUSHERS)
        .filter(move |pusher| ROUTES[*pusher].contains(&balancer))
        .map(|pusher| INSTANCES + pusher)
}

/// The instance's name: `p0` runs as a process, `c5` in a container.
pub(crate) fn instance_name(instance: usize) -> String {
    let kind = if instance < PROCESSES { 'p' } else { 'c' };
    format!("{kind}{instance}")
}

/// How long a backend takes to answer a request: some so long that it is seen whether anybody waits for what is under way.
pub(crate) fn delay(instance: usize) -> Duration {
    const MILLISECONDS: [u64; INSTANCES] = [0, 600, 0, 0, 300, 0, 1_000, 0, 400, 0];
    Duration::from_millis(MILLISECONDS[instance])
}

/// The agent's name in reports.
pub(crate) fn agent_name(agent: usize) -> String {
    match agent.checked_sub(INSTANCES) {
        None => format!("announce {}", instance_name(agent)),
        Some(pusher) => format!("push edge-{pusher}"),
    }
}

/// What a fault takes away, so that nothing is judged by it that could not be kept without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// One of three members: the others elect a leader, if need be.
    Member,
    /// What makes leaders come and go while it lasts.
    Leaders,
    /// The majority.
    Etcd,
    /// What etcd knows, or what it lets be written.
    Data,
    /// An agent, or everything between it and etcd.
    Agent(usize),
    /// What is between an agent and a load balancer, or what that one answers.
    Link(usize, usize),
    /// What is between a load balancer and a backend.
    Path(usize, usize),
    /// A load balancer itself.
    Balancer(usize),
    /// A backend, or what is between it and its announcer.
    Backend(usize),
}
