//! Instances, each with a reason, as a status record lists them.

use std::collections::BTreeMap;

use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value;

use super::InstanceName;
use crate::util::sanitize::printable;

/// The most entries in each list of a status record; the rest is counted.
pub const MAX_LISTED: usize = 256;

/// The longest error or reason that is published, in bytes, without the three dots of one that was cut.
pub(super) const MAX_TEXT: usize = 240;

/// An error or a reason that another process wrote.
pub(super) fn read_text(text: &str) -> String {
    printable(text, MAX_TEXT + "...".len())
}

/// Instances, each with a reason, [`MAX_LISTED`] at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons {
    /// The reasons, by instance. Foreign text where it was read.
    pub listed: BTreeMap<InstanceName, String>,
    /// How many more there are.
    pub more: u64,
}

impl Reasons {
    /// Lists the first ones up to the limit, and counts the rest. A repeated instance keeps
    /// its first reason.
    #[must_use]
    pub fn of(reasons: impl IntoIterator<Item = (InstanceName, String)>) -> Self {
        let mut all = Self::default();
        for (instance, reason) in reasons {
            if all.listed.contains_key(&instance) {
                continue;
            }
            if all.listed.len() < MAX_LISTED {
                let reason = printable(reason, MAX_TEXT);
                all.listed.insert(instance, reason);
            } else {
                all.more = all.more.saturating_add(1);
            }
        }
        all
    }

    /// Whether there is no instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.more == 0
    }

    /// Writes both with these field names.
    pub(super) fn serialize<S: Serializer>(
        &self,
        listed: &'static str,
        more: &'static str,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(listed, &self.listed)?;
        if self.more > 0 {
            map.serialize_entry(more, &self.more)?;
        }
        map.end()
    }

    /// Instances with invalid names are only counted.
    pub(super) fn decode(listed: Option<&Value>, more: Option<&Value>) -> Self {
        let mut all = Self {
            more: more.and_then(Value::as_u64).unwrap_or(0),
            ..Self::default()
        };
        for (name, reason) in listed.and_then(Value::as_object).into_iter().flatten() {
            match (name.parse(), reason.as_str()) {
                (Ok(instance), Some(reason)) if all.listed.len() < MAX_LISTED => {
                    let reason = read_text(reason);
                    all.listed.insert(instance, reason);
                }
                _ => all.more = all.more.saturating_add(1),
            }
        }
        all
    }
}
