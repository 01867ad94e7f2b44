//! The time of day, no finer than it is of use: finer times only make a value longer.

use jiff::Timestamp;

/// Now, in whole seconds.
#[must_use]
pub fn seconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// So long from now, in whole seconds; `None` when no calendar goes so far.
#[must_use]
pub fn seconds_from_now(span: std::time::Duration) -> Option<Timestamp> {
    let then = Timestamp::now().checked_add(span).ok()?;
    Timestamp::from_second(then.as_second()).ok()
}

/// Now, in whole milliseconds.
#[must_use]
pub fn milliseconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
