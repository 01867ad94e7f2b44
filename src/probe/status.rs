//! The HTTP status codes that pass.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Status codes as `--expect-status` lists them: `200-399`, `204`, `200,301-308`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRange(Vec<RangeInclusive<u16>>);

/// Why a text is not a list of status codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected codes from 100 to 599 such as 200-399 or 200,204")]
pub struct StatusRangeError;

impl StatusRange {
    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for StatusRange {
    /// 200 to 399, as in Kubernetes.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl FromStr for StatusRange {
    type Err = StatusRangeError;

    fn from_str(text: &str) -> Result<Self, StatusRangeError> {
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self).ok_or(StatusRangeError)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = code(first)?..=code(last)?;
    (!range.is_empty()).then_some(range)
}

fn code(text: &str) -> Option<u16> {
    let text = text.trim();
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = text.parse().ok().filter(|code| (100..=599).contains(code));
    code.filter(|_| digits)
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{first}")?,
                (first, last) => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
