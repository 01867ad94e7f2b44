//! How much of an upstream may vanish at once.

use std::fmt;
use std::str::FromStr;

/// A share of an upstream's servers, or a number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many of a hundred.
    Percent(u8),
    /// So many, however many there are.
    Count(u32),
}

/// Why a text is no share.
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
        // The parsers alone would take a sign as well.
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
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_number() {
        let share = |text: &str| text.parse::<Share>();
        assert_eq!(share("50%"), Ok(Share::Percent(50)));
        assert_eq!(share("3"), Ok(Share::Count(3)));
        for text in [
            "", "%", "101%", "-1", "+1", "+5%", "50 %", "half", "1.5", "5%%",
        ] {
            assert_eq!(share(text), Err(ShareError), "{text:?}");
        }
        assert_eq!(
            Share::Percent(50).to_string().parse(),
            Ok(Share::Percent(50))
        );
    }

    #[test]
    fn exactly_the_share_is_not_more_than_it() {
        let half = Share::Percent(50);
        assert!(!half.is_exceeded(2, 4) && half.is_exceeded(3, 4));
        assert!(half.is_exceeded(1, 1) && !half.is_exceeded(0, 0));
        assert!(!Share::Percent(100).is_exceeded(4, 4));
        assert!(!Share::Count(2).is_exceeded(2, 9) && Share::Count(2).is_exceeded(3, 9));
    }
}
