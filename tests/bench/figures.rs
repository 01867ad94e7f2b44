//! Times as figures that people compare.

use std::time::Duration;

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

/// The time that so large a part of them keeps: a value that was measured, by nearest rank.
pub(crate) fn quantile(times: &[Duration], quantile: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let last = sorted.len() - 1;
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted[rank.saturating_sub(1).min(last)]
}
