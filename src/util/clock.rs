//! The time of day, no finer than it is of use: finer times only make a value longer.

use jiff::Timestamp;

/// Now, in whole seconds.
#[must_use]
pub fn seconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Now, in whole milliseconds.
#[must_use]
pub fn milliseconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
