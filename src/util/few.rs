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

/// `1 line`, `2 lines`.
pub fn count(number: u64, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    }
}

#[cfg(test)]
mod tests;
