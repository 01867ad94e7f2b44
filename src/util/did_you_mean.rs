//! Suggestions for misspelt names.

/// How similar two names must be for a suggestion, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The one of `known` that is most similar to `name`, if any is similar enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |other: &&str| strsim::jaro_winkler(name, other);
    let best = known
        .into_iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) >= ALIKE).then_some(best)
}

/// `; did you mean NAME?`, or nothing.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let meant = nearest(name, known).map(|meant| format!("; did you mean {meant}?"));
    meant.unwrap_or_default()
}

#[cfg(test)]
mod tests;
