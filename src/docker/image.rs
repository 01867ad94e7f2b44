//! References of images: `registry:5000/team/web:1.2@sha256:…`. Pure.

/// How many digits of a digest are shown, as by daemons.
const SHORT: usize = 12;

/// The parts of a reference. Foreign text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The last part of the path: `web`.
    pub base: &'a str,
    /// The tag `1.2`, if there is one.
    pub tag: Option<&'a str>,
    /// The digest `sha256:…`, if there is one.
    pub digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a reference. Any text has parts, if empty ones.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a registry's port.
        let last = name.rsplit('/').next().unwrap_or(name);
        let (base, tag) = match last.split_once(':') {
            Some((base, tag)) => (base, Some(tag)),
            None => (last, None),
        };
        Self { base, tag, digest }
    }
}

/// The beginning of a digest or id, without its algorithm.
#[must_use]
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT).unwrap_or(hex)
}

#[cfg(test)]
mod tests;
