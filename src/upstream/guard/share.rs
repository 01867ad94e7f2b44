//! How much of an upstream may vanish at once.

use std::fmt;
use std::str::FromStr;

/// A share of an upstream's servers, or a number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A percentage.
    Percent(u8),
    /// A number of servers.
    Count(u32),
}

/// Why a text is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a share such as 50% (0% to 100%), or a number of servers")]
pub struct ShareError;

impl Share {
    /// Whether `lost` of `all` servers are more than this.
    #[must_use]
    pub fn is_exceeded(self, lost: usize, all: usize) -> bool {
        match self {
            Self::Percent(percent) => lost.saturating_mul(100) > all * usize::from(percent),
            Self::Count(count) => u64::try_from(lost).unwrap_or(u64::MAX) > u64::from(count),
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        // The parser would also accept a sign.
        if text.starts_with('+') {
            return Err(ShareError);
        }
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Count).map_err(|_| ShareError);
        };
        let percent = percent.parse().ok().filter(|percent| *percent <= 100);
        percent.map(Self::Percent).ok_or(ShareError)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

#[cfg(test)]
mod tests;
