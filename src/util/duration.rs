//! Spans of time as people and programs write them: `500ms`, `2s`, `1min 30s`.

use std::time::Duration;

/// The longest that is accepted, a thousand years: more than anybody waits, and far from where sums of times overflow.
pub const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// The span that a text names; `None` when it names none, or one beyond [`LONGEST`].
#[must_use]
pub fn read(text: &str) -> Option<Duration> {
    let span = humantime::parse_duration(text.trim()).ok()?;
    (span <= LONGEST).then_some(span)
}

/// As people write a span, and can type it again: `500ms`, `15s`, `1m 30s`. One that nobody would type, as a third of five
/// seconds, is rounded: `1.7 s`.
#[must_use]
pub fn show(span: Duration) -> String {
    if span.subsec_nanos().is_multiple_of(1_000_000) {
        humantime::format_duration(span).to_string()
    } else {
        about(span)
    }
}

/// As people say how long something took: `35ms`, `1.7 s`, `12s`, `2m 5s`.
#[must_use]
pub fn about(span: Duration) -> String {
    let millis = (span.as_nanos() + 500_000) / 1_000_000;
    let tenths = (millis + 50) / 100;
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..9_950 if !tenths.is_multiple_of(10) => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => {
            let seconds = u64::try_from((millis + 500) / 1_000).unwrap_or(u64::MAX);
            humantime::format_duration(Duration::from_secs(seconds)).to_string()
        }
    }
}

/// A span in whole seconds, rounded up: what is told or granted in seconds never falls short.
#[must_use]
pub fn whole_seconds(span: Duration) -> u64 {
    let more = u64::from(span.subsec_nanos() > 0);
    span.as_secs().saturating_add(more)
}

#[cfg(test)]
mod tests;
