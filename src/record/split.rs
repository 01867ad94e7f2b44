//! Splits: how the traffic of a service is shared among its versions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::codec::{self, Object};
use super::{Reason, Version};

/// The most versions that a split names. Two are usual.
pub const MAX_VERSIONS: usize = 64;

/// The largest weight of a server, as records and nginx have it.
const MAX_WEIGHT: u128 = 65_535;

/// Shares with a finer common measure than this are rounded.
const MAX_MEASURE: u128 = 1 << 40;

/// The value under a split's key: which share of the traffic each version takes.
///
/// A version that is not named takes none, and neither does an instance that says no version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    weights: BTreeMap<Version, u16>,
    /// When it was asked for, for people.
    pub since: Option<Timestamp>,
}

/// Why weights make no split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No version is named.
    #[error("no version is named")]
    Empty,
    /// Too many are.
    #[error("{0} versions are named; at most {MAX_VERSIONS} can be")]
    TooMany(usize),
    /// Nobody would get anything.
    #[error("every weight is 0: no version would get any traffic")]
    AllZero,
}

/// One instance that takes traffic, as far as a split looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'a> {
    /// What runs there.
    pub version: Option<&'a Version>,
    /// Its weight among the instances of its version.
    pub weight: u16,
}

impl Split {
    /// Gives each version its weight; only what they are to each other counts.
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

    /// The weight of each version that is named.
    #[must_use]
    pub fn weights(&self) -> &BTreeMap<Version, u16> {
        &self.weights
    }

    /// The weight of a version: 0 where it is not named.
    #[must_use]
    pub fn weight(&self, version: Option<&Version>) -> u16 {
        let weight = version.and_then(|version| self.weights.get(version));
        weight.copied().unwrap_or(0)
    }

    /// Spreads the weights over the instances of each version: the weight that each instance is to have, in their order.
    /// Within a version the instances' own weights count.
    ///
    /// `None` when nobody would get any traffic: such a split is not to be followed. `instances` are those that take
    /// traffic; who is draining, down or held must not be among them, or its share would go nowhere.
    ///
    /// The weights are the smallest whole numbers in the right proportion, or, where these are too large for nginx,
    /// rounded; nobody who is to have a share is rounded to none.
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
        let mut weights = Object::new();
        for (version, weight) in &self.weights {
            weights.field(version.as_str(), *weight);
        }
        let mut object = Object::new();
        object.object("weights", &weights);
        if let Some(since) = self.since {
            object.field("since", since.to_string());
        }
        object.finish()
    }

    /// Reads a value. Unknown fields are ignored; a wrong version or weight makes the whole split unreadable, as
    /// half a split would send the traffic elsewhere.
    ///
    /// # Errors
    ///
    /// A [`Reason`] when it is no JSON object with weights that make a split.
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

/// The least common multiple, or, where that is too fine, a measure that is near enough.
fn common_measure(mut sums: impl Iterator<Item = u128>) -> u128 {
    let exact = sums.try_fold(1_u128, |measure, sum| {
        let multiple = measure / gcd(measure, sum) * sum;
        (multiple <= MAX_MEASURE).then_some(multiple)
    });
    exact.unwrap_or(MAX_MEASURE)
}

/// The smallest whole numbers in the same proportion that are no larger than a weight can be.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn split(weights: &[(&str, u16)]) -> Split {
        let weights = weights
            .iter()
            .map(|(name, weight)| (version(name), *weight));
        Split::new(weights.collect(), None).unwrap()
    }

    fn spread(split: &Split, instances: &[(&str, u16)]) -> Option<Vec<u16>> {
        let versions: Vec<_> = instances.iter().map(|(name, _)| version(name)).collect();
        let shares = versions.iter().zip(instances);
        let shares = shares.map(|(version, (_, weight))| Share {
            version: Some(version),
            weight: *weight,
        });
        split.spread(&shares.collect::<Vec<_>>())
    }

    #[test]
    fn a_split_is_one_line_of_json_in_the_contracts_order() {
        let mut canary = split(&[("v0.2.0", 10), ("v0.1.0", 90)]);
        canary.since = Some("2026-01-02T03:04:05Z".parse().unwrap());
        let text = String::from_utf8(canary.encode()).unwrap();
        assert_eq!(
            text,
            r#"{"weights":{"v0.1.0":90,"v0.2.0":10},"since":"2026-01-02T03:04:05Z"}"#
        );
    }

    #[test]
    fn what_is_no_split_is_refused_with_a_reason() {
        for (text, named) in [
            ("", "JSON"),
            ("[]", "object"),
            ("{}", "\"weights\" is missing"),
            (r#"{"weights":[]}"#, "\"weights\""),
            (r#"{"weights":{}}"#, "at least one version"),
            (r#"{"weights":{"v1":0,"v2":0}}"#, "above 0"),
            (r#"{"weights":{"v1":65536}}"#, "65535"),
            (r#"{"weights":{"v1":-1}}"#, "65535"),
            (r#"{"weights":{"v1":"9"}}"#, "65535"),
            (r#"{"weights":{"v 1":9}}"#, "versions"),
            (r#"{"weights":{"":9}}"#, "versions"),
            (r#"{"weights":{"v1":9},"since":"now"}"#, "\"since\""),
        ] {
            let reason = Split::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(reason.contains(named), "{text}: {reason}");
        }
        let many: Vec<_> = (0..=MAX_VERSIONS).map(|n| format!("\"v{n}\":1")).collect();
        let many = format!(r#"{{"weights":{{{}}}}}"#, many.join(","));
        let reason = Split::decode(many.as_bytes()).unwrap_err().to_string();
        assert!(reason.contains(&MAX_VERSIONS.to_string()), "{reason}");
    }

    #[test]
    fn weights_are_spread_over_the_instances_of_each_version() {
        let canary = split(&[("v1", 90), ("v2", 10)]);
        let three_and_two = [("v1", 1), ("v1", 1), ("v1", 1), ("v2", 1), ("v2", 1)];
        assert_eq!(spread(&canary, &three_and_two), Some(vec![6, 6, 6, 1, 1]));
        assert_eq!(spread(&canary, &[("v1", 1), ("v2", 1)]), Some(vec![9, 1]));
        let own_weights = [("v1", 2), ("v1", 1), ("v2", 7)];
        assert_eq!(spread(&canary, &own_weights), Some(vec![6, 3, 1]));
    }

    #[test]
    fn what_is_not_named_and_what_has_no_weight_gets_nothing() {
        let switch = split(&[("v1", 0), ("v2", 100)]);
        let all = [("v1", 1), ("v2", 1), ("v3", 1), ("v2", 0)];
        assert_eq!(spread(&switch, &all), Some(vec![0, 1, 0, 0]));
        let unnamed = [Share {
            version: None,
            weight: 1,
        }];
        assert_eq!(switch.spread(&unnamed), None);
    }

    #[test]
    fn a_split_that_would_leave_nobody_is_not_to_be_followed() {
        let switch = split(&[("v1", 0), ("v2", 100)]);
        assert_eq!(spread(&switch, &[("v1", 1), ("v3", 1)]), None);
        assert_eq!(spread(&switch, &[("v2", 0)]), None);
        assert_eq!(spread(&switch, &[]), None);
    }

    #[test]
    fn a_version_that_is_gone_leaves_its_share_to_the_others() {
        let canary = split(&[("v1", 90), ("v2", 10)]);
        assert_eq!(spread(&canary, &[("v2", 1), ("v2", 1)]), Some(vec![1, 1]));
    }

    #[test]
    fn shares_too_fine_for_nginx_are_rounded_but_never_to_nothing() {
        let fine = split(&[("v1", 65_535), ("v2", 1)]);
        let weights = spread(&fine, &[("v1", 1), ("v2", 60_000), ("v2", 1)]).unwrap();
        assert_eq!(weights, [65_535, 1, 1]);
    }

    fn weights() -> impl Strategy<Value = BTreeMap<Version, u16>> {
        let versions = "[!-~]{1,12}".prop_map(|text| text.parse().unwrap());
        let some = |weights: &BTreeMap<_, u16>| weights.values().any(|weight| *weight > 0);
        proptest::collection::btree_map(versions, any::<u16>(), 1..6).prop_filter("no share", some)
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(weights in weights()) {
            let split = Split::new(weights, None).unwrap();
            let value = split.encode();
            prop_assert!(!value.contains(&b'\n'));
            prop_assert_eq!(Split::decode(&value).unwrap(), split);
        }

        #[test]
        fn every_version_gets_its_share_and_nobody_is_forgotten(
            parts in proptest::collection::vec((0_u16..=100, 1_usize..8), 1..5),
        ) {
            let names: Vec<_> = (0..parts.len()).map(|n| version(&format!("v{n}"))).collect();
            let weights = names.iter().cloned().zip(parts.iter().map(|(weight, _)| *weight));
            let Ok(split) = Split::new(weights.collect(), None) else {
                return Ok(());
            };
            let instances: Vec<_> = names
                .iter()
                .zip(&parts)
                .flat_map(|(name, (_, count))| vec![Share { version: Some(name), weight: 1 }; *count])
                .collect();
            let got = split.spread(&instances).unwrap();
            let total: u32 = got.iter().map(|weight| u32::from(*weight)).sum();
            let asked: u32 = parts.iter().map(|(weight, _)| u32::from(*weight)).sum();
            for (name, (weight, _)) in names.iter().zip(&parts) {
                let own = instances.iter().zip(&got).filter(|(share, _)| share.version == Some(name));
                let own: u32 = own.map(|(_, weight)| u32::from(*weight)).sum();
                // own / total == weight / asked
                prop_assert_eq!(own * asked, u32::from(*weight) * total);
            }
        }

        #[test]
        fn whatever_the_weights_are_who_has_a_share_gets_one_and_nobody_else(
            weights in weights(),
            shares in proptest::collection::vec((0_usize..6, any::<u16>()), 0..40),
        ) {
            let split = Split::new(weights, None).unwrap();
            let names: Vec<_> = split.weights().keys().collect();
            let instances: Vec<_> = shares
                .iter()
                .map(|(name, weight)| Share { version: names.get(*name).copied(), weight: *weight })
                .collect();
            let due = |share: &Share<'_>| split.weight(share.version) > 0 && share.weight > 0;
            match split.spread(&instances) {
                None => prop_assert!(!instances.iter().any(due)),
                Some(got) => {
                    prop_assert_eq!(got.len(), instances.len());
                    for (share, weight) in instances.iter().zip(got) {
                        prop_assert_eq!(weight > 0, due(share));
                    }
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Split::decode(&bytes);
        }
    }
}
