//! Long lists in one line.

use std::fmt::Display;

/// The first `limit` of them, and how many more there are: `a, b and 3 more`.
pub fn few<T: Display>(all: impl IntoIterator<Item = T>, limit: usize) -> String {
    let mut all = all.into_iter();
    let shown = all.by_ref().take(limit).map(|one| one.to_string());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match all.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
