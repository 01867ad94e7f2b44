//! How long what is wrong may last.

use std::time::Duration;

/// Leases of announcers and pushers.
pub(crate) const TTL: Duration = Duration::from_secs(5);

/// How long pushers protect what vanished without a goodbye.
pub(crate) const HOLD: Duration = Duration::from_secs(5);

/// Within which all must be right after the last fault.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(10);

/// Within which a dead backend gets no more requests: `interval × fall + timeout`, which are 1.9 s here, and what a busy machine
/// takes to tell it.
pub(super) const DEAD_BOUND: Duration = Duration::from_secs(4);

/// How long etcd may need for another leader.
pub(super) const ELECTION: Duration = Duration::from_secs(4);

/// How late etcd may take away what a lease held that is over. It looks every 0.5 s, and where a revocation fails, because users or
/// rights changed meanwhile for instance, it tries again after 3 s (`expiredLeaseRetryInterval`). The rest is for a busy machine.
pub(super) const REVOCATION: Duration = Duration::from_millis(5_500);

/// Within which an announcer has put back its record that somebody overwrote, and the pushers have followed: it is told by its watch,
/// and tries again after at most a second or two where etcd does not answer at once. As for the dead, most of it is for a busy machine.
pub(super) const HEALED: Duration = DEAD_BOUND;

/// How long a healthy backend may be without any request, with so many for all of them meanwhile.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
pub(super) const REQUESTS: usize = 100;

/// So many requests in a moment show whom a load balancer sends them to; usually there are 70. Two workers before a reload and two after
/// it each go through up to eleven servers on their own.
pub(super) const REQUESTS_OF_A_MOMENT: usize = 45;

/// What "at that moment" means.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// For so long nginx leaves out a server that failed: the `fail_timeout` of `push.toml`.
pub(super) const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// Within which a backend that nginx had marked as failed is asked again. A connection to an address that nobody has takes seconds to
/// fail.
pub(super) const MARKED: Duration = Duration::from_secs(4);

/// The suite itself stands still where it looks at nothing for so long: five times what is between two looks. Backends that are reached
/// over its proxies stand still with it.
pub(crate) const STANDSTILL: Duration = Duration::from_millis(500);

/// A request, or an attempt of it, is remembered for so long.
pub(super) const MEMORY: Duration = Duration::from_secs(8);
