//! The time of day, rounded to what is useful: more digits only lengthen a value.

use jiff::Timestamp;
use tokio::time::Instant;

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

/// `23:08:01Z` for a time in the past, with the date if that is another day.
#[must_use]
pub fn time_of_day(instant: Instant) -> String {
    let now = Timestamp::now();
    let then =
        now.checked_sub(jiff::SignedDuration::try_from(instant.elapsed()).unwrap_or_default());
    let then = then.unwrap_or(now);
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let format = match day(then) == day(now) {
        true => "%H:%M:%SZ",
        false => "%Y-%m-%dT%H:%M:%SZ",
    };
    then.strftime(format).to_string()
}
