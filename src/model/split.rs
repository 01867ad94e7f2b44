//! Splits: how the traffic of a service is shared among its versions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::codec;
use super::{Reason, Version};

/// The most versions in a split. Two are usual.
pub const MAX_VERSIONS: usize = 64;

/// The largest weight of a server in records and nginx.
const MAX_WEIGHT: u128 = 65_535;

/// Shares with a larger common measure than this are rounded.
const MAX_MEASURE: u128 = 1 << 40;

/// The value under a split's key: the share of the traffic for each version.
///
/// Versions that are not named get none, and neither do instances without a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Split {
    weights: BTreeMap<Version, u16>,
    /// When it was set, for display only.
    #[serde(skip_serializing_if = "codec::is_default")]
    pub since: Option<Timestamp>,
}

/// Why weights are not a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No version is named.
    #[error("no version is named")]
    Empty,
    /// Too many versions are named.
    #[error("{0} versions are named; at most {MAX_VERSIONS} can be")]
    TooMany(usize),
    /// All weights are 0.
    #[error("every weight is 0: no version would get any traffic")]
    AllZero,
}

/// An instance that takes traffic, as a split sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'a> {
    /// Its version.
    pub version: Option<&'a Version>,
    /// Its weight among the instances of its version.
    pub weight: u16,
}

impl Split {
    /// A split with these weights; only their proportion counts.
    ///
    /// # Errors
    ///
    /// [`SplitError`] when there is no weight above 0, or when there are too many versions.
    pub fn new(
        weights: BTreeMap<Version, u16>,
        since: Option<Timestamp>,
    ) -> Result<Self, SplitError> {
        match weights.len() {
            0 => Err(SplitError::Empty),
            many if many > MAX_VERSIONS => Err(SplitError::TooMany(many)),
            _ if weights.values().all(|weight| *weight == 0) => Err(SplitError::AllZero),
            _ => Ok(Self { weights, since }),
        }
    }

    /// The weights of the named versions.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<Version, u16> {
        &self.weights
    }

    /// The weight of a version: 0 if it is not named.
    #[must_use]
    pub fn weight(&self, version: Option<&Version>) -> u16 {
        let weight = version.and_then(|version| self.weights.get(version));
        weight.copied().unwrap_or(0)
    }

    /// Spreads the weights over the instances of each version, by the instances' own weights. Returns the new weight of
    /// each instance, in order.
    ///
    /// `None` when no instance would get any traffic: such a split must not be followed. `instances` are those that take
    /// traffic; draining, down or held ones must not be among them, or their share would be lost.
    ///
    /// The weights are the smallest whole numbers in the right proportion, or, where these are too large for nginx,
    /// rounded; no share is rounded to zero.
    #[must_use]
    pub fn spread(&self, instances: &[Share<'_>]) -> Option<Vec<u16>> {
        let mut sums = BTreeMap::<&Version, u128>::new();
        for share in instances {
            if let (Some(version), true) = (share.version, self.weight(share.version) > 0) {
                *sums.entry(version).or_default() += u128::from(share.weight);
            }
        }
        sums.retain(|_, sum| *sum > 0);
        if sums.is_empty() {
            return None;
        }
        let measure = common_measure(sums.values().copied());
        let exact = instances.iter().map(|share| {
            let sum = share.version.and_then(|version| sums.get(version));
            let part = u128::from(self.weight(share.version)) * u128::from(share.weight);
            // A part is below 2^32 and the measure at most 2^40.
            sum.map_or(0, |sum| (part * measure).div_ceil(*sum))
        });
        Some(reduced(&exact.collect::<Vec<_>>()))
    }

    /// The value to write: compact JSON, one line, always the same bytes for the same content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::json(self)
    }

    /// Parses a value. Unknown fields are ignored; a wrong version or weight makes the whole split unreadable, because
    /// half a split would send the traffic elsewhere.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is not a JSON object with valid weights.
    pub fn decode(value: &[u8]) -> Result<Self, Reason> {
        const WEIGHTS: Reason = Reason::Field("weights", "an object of versions and their weights");
        let mut fields = codec::parse_bounded(value)?;
        let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
        let (weights, since) = (take("weights"), take("since"));
        let Value::Object(pairs) = weights.ok_or(Reason::Missing("weights"))? else {
            return Err(WEIGHTS);
        };
        let pair = |(version, weight): (String, Value)| {
            let version = version.parse().map_err(|_| WEIGHTS)?;
            Ok((version, codec::decode_weight("weights", &weight)?))
        };
        let weights: Result<BTreeMap<_, _>, Reason> = pairs.into_iter().map(pair).collect();
        let since = codec::optional("since", "an RFC 3339 time", since)?;
        Self::new(weights?, since).map_err(|error| {
            Reason::Field(
                "weights",
                match error {
                    SplitError::Empty => "an object with at least one version",
                    SplitError::TooMany(_) => "an object with at most 64 versions",
                    SplitError::AllZero => "an object with a weight above 0",
                },
            )
        })
    }
}

/// The least common multiple, or an approximation if that is too large.
fn common_measure(mut sums: impl Iterator<Item = u128>) -> u128 {
    let exact = sums.try_fold(1_u128, |measure, sum| {
        let multiple = measure / gcd(measure, sum) * sum;
        (multiple <= MAX_MEASURE).then_some(multiple)
    });
    exact.unwrap_or(MAX_MEASURE)
}

/// The smallest whole numbers in the same proportion that fit into a weight.
fn reduced(weights: &[u128]) -> Vec<u16> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let largest = weights.iter().copied().max().unwrap_or(0) / divisor;
    let fit = |weight: u128| {
        let whole = weight / divisor;
        let fitting = if largest > MAX_WEIGHT {
            let rounded = (whole * MAX_WEIGHT + largest / 2) / largest;
            rounded.max(u128::from(whole > 0))
        } else {
            whole
        };
        u16::try_from(fitting).unwrap_or(u16::MAX)
    };
    weights.iter().copied().map(fit).collect()
}

fn gcd(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests;
