//! What the environment says.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// A number in the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text}: a number is expected")))
}

/// How long each target is fed.
pub(crate) fn time() -> Duration {
    Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(10))
}

/// Where the random numbers begin.
pub(crate) fn seed() -> u64 {
    number("FUZZ_SEED").unwrap_or(11)
}

/// How many targets are fed at the same time.
pub(crate) fn threads() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // More than there are cores: what waits for its peer uses none.
    number("FUZZ_THREADS").unwrap_or(cores as u64 + 2)
}

/// The only input, when one is to be looked at.
pub(crate) fn input() -> Option<PathBuf> {
    env::var_os("FUZZ_INPUT").map(PathBuf::from)
}
