//! What the benchmarks make of the times that they took.

use std::time::Duration;

pub(crate) const KIB: f64 = 1024.0;
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// The time that this share of all took at most.
pub(crate) fn quantile(times: &[Duration], quantile: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let last = sorted.len() - 1;
    // Nearest rank: a value that was measured, not one in between.
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted[rank.saturating_sub(1).min(last)]
}

/// Prints how a set of times is distributed.
pub(crate) fn print(what: &str, times: &[Duration]) {
    let ms = |quantile: f64| self::quantile(times, quantile).as_secs_f64() * 1e3;
    println!(
        "  {what:<40} p50 {:6.1} ms   p90 {:6.1} ms   p99 {:6.1} ms   max {:6.1} ms",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(1.0),
    );
}

/// Prints a time with its limit, and tells whether it keeps it.
pub(crate) fn verdict(what: &str, found: Duration, limit: Duration) -> bool {
    let ok = found <= limit;
    let word = if ok { "met" } else { "MISSED" };
    println!(
        "{word}: {what} {:.1} ms, limit {limit:?}",
        found.as_secs_f64() * 1e3
    );
    ok
}

/// Prints a figure with its limit, and tells whether it keeps it.
pub(crate) fn row(what: &str, found: f64, limit: f64, unit: &str) -> bool {
    let ok = found <= limit;
    let word = if ok { "met" } else { "MISSED" };
    println!("  {what:<38} {found:7.2} {unit:<4} limit {limit:6.1} {unit:<4} {word}");
    ok
}
