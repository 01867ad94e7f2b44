//! Single parameters of a server, and times in nginx's format.

use std::fmt;
use std::time::Duration;

use crate::upstream::server::Parameters;

/// One parameter with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Most connections at once.
    MaxConns(u32),
    /// How many failures make it unavailable.
    MaxFails(u32),
    /// The time in which they are counted.
    FailTimeout(Duration),
    /// How long it takes to get its whole share.
    SlowStart(Duration),
    /// Used only when no other is left.
    Backup,
}

impl Setting {
    /// The parameters that are set, one by one.
    pub fn of(parameters: &Parameters) -> impl Iterator<Item = Self> + use<> {
        let Parameters {
            max_conns,
            max_fails,
            fail_timeout,
            slow_start,
            backup,
        } = *parameters;
        let all = [
            max_conns.map(Self::MaxConns),
            max_fails.map(Self::MaxFails),
            fail_timeout.map(Self::FailTimeout),
            slow_start.map(Self::SlowStart),
            backup.then_some(Self::Backup),
        ];
        all.into_iter().flatten()
    }

    /// Its name in nginx.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MaxConns(_) => "max_conns",
            Self::MaxFails(_) => "max_fails",
            Self::FailTimeout(_) => "fail_timeout",
            Self::SlowStart(_) => "slow_start",
            Self::Backup => "backup",
        }
    }

    /// Removes it from `parameters`, if it has this value there.
    pub fn leave_out(&self, parameters: &mut Parameters) {
        if !Self::of(parameters).any(|setting| setting == *self) {
            return;
        }
        match self {
            Self::MaxConns(_) => parameters.max_conns = None,
            Self::MaxFails(_) => parameters.max_fails = None,
            Self::FailTimeout(_) => parameters.fail_timeout = None,
            Self::SlowStart(_) => parameters.slow_start = None,
            Self::Backup => parameters.backup = false,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::MaxConns(number) | Self::MaxFails(number) => write!(f, "{name}={number}"),
            Self::FailTimeout(time) | Self::SlowStart(time) => {
                write!(f, "{name}={}", write_time(*time))
            }
            Self::Backup => write!(f, "{name}=true"),
        }
    }
}

/// A time in nginx's format: `10s`, or `1500ms` where it is not a whole number of seconds. Rounded down to milliseconds.
#[must_use]
pub fn write_time(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

/// nginx's units from large to small, in milliseconds. A number without a unit is seconds and comes last.
const UNITS: [(&str, u64); 9] = [
    ("y", 31_536_000_000),
    ("M", 2_592_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
    ("", 1_000),
];

/// Parses a time in nginx's format, such as `10s`, `1m30s`, `1h 30m`, `500ms` or `10`.
#[must_use]
pub fn read_time(text: &str) -> Option<Duration> {
    let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let (_, millis) = units[place];
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        // Each unit once, from large to small.
        units = &units[place + 1..];
        rest = after.trim_start_matches(' ');
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests;
