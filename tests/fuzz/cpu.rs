//! What work costs, whatever else the machine does meanwhile.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that this thread has had a core so far.
pub(crate) fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// The time on a core that some work takes.
pub(crate) fn cost(work: impl FnOnce()) -> Duration {
    let before = used();
    work();
    used().saturating_sub(before)
}
