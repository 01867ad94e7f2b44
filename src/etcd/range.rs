//! Ranges of keys.

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// One key.
    Key(Vec<u8>),
    /// All keys with this prefix.
    Prefix(Vec<u8>),
}

impl Range {
    pub(super) fn start(&self) -> &[u8] {
        match self {
            Self::Key(key) | Self::Prefix(key) => key,
        }
    }

    /// Whether a key is in the range.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }

    /// The end of the range in etcd's form; `None` for a single key.
    pub(super) fn end(&self) -> Option<Vec<u8>> {
        let Self::Prefix(prefix) = self else {
            return None;
        };
        let mut end = prefix.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Some(end);
            }
        }
        // There is no key after it: etcd's form of "to the end".
        Some(vec![0])
    }
}
