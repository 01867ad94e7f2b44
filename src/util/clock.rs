//! The time of day, rounded to what is useful: more digits only lengthen a value.

use jiff::Timestamp;

/// Now, in whole seconds.
#[must_use]
pub fn seconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The time after `length`, in whole seconds; `None` beyond the end of the calendar.
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
