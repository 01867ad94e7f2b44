//! Durations as text: `500ms`, `2s`, `1min 30s`.

use std::time::Duration;

/// The longest that is accepted, a thousand years: sums of such times do not overflow.
pub const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// Parses a duration; `None` when it is invalid or longer than [`LONGEST`].
#[must_use]
pub fn read(text: &str) -> Option<Duration> {
    let span = humantime::parse_duration(text.trim()).ok()?;
    (span <= LONGEST).then_some(span)
}

/// For a sentence, as one figure: `35 ms`, `1.7 s`, `15 s`, `3 min 12 s`.
#[must_use]
pub fn show(span: Duration) -> String {
    let millis = (span.as_nanos() + 500_000) / 1_000_000;
    let tenths = (millis + 50) / 100;
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..9_950 if !tenths.is_multiple_of(10) => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => in_units((millis + 500) / 1_000),
    }
}

/// `2 d 3 h 5 min 1 s`, without the units that are zero.
fn in_units(seconds: u128) -> String {
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let units = units.into_iter().filter(|(count, _)| *count > 0);
    let units: Vec<_> = units
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    units.join(" ")
}

/// The value of a flag or setting, in a form that it accepts: `500ms`, `15s`, `1m 30s`. A value that nobody would type,
/// such as a third of five seconds, is rounded: `1.7 s`.
#[must_use]
pub fn typed(span: Duration) -> String {
    if span.subsec_nanos().is_multiple_of(1_000_000) {
        humantime::format_duration(span).to_string()
    } else {
        show(span)
    }
}

/// Whole seconds, rounded up: what is published or granted is never too short.
#[must_use]
pub fn whole_seconds(span: Duration) -> u64 {
    let more = u64::from(span.subsec_nanos() > 0);
    span.as_secs().saturating_add(more)
}

#[cfg(test)]
mod tests;
