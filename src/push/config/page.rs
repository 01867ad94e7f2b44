//! A TOML text, read with every mistake noted at its place.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::printable::short;

/// How much alike two names are when one is taken for a slip of the other.
const ALIKE: f64 = 0.75;

/// A place in a text, counted from 1 as editors do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// Where the byte `at` of `text` stands.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
        let line_start = before.iter().rposition(|byte| *byte == b'\n');
        let start = line_start.map_or(0, |newline| newline + 1);
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        // Every character has exactly one byte that continues none.
        let is_first = |byte: &&u8| **byte & 0xc0 != 0x80;
        Self {
            line: lines + 1,
            column: before[start..].iter().filter(is_first).count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something that is wrong in a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where; `None` when it is about the whole.
    pub place: Option<Place>,
    /// What, in words.
    pub text: String,
}

/// A text, and what is wrong with it so far.
#[derive(Debug)]
pub(super) struct Page<'t> {
    text: &'t str,
    /// Whether the text is TOML. If not, nobody knows what else was meant to be there.
    whole: bool,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Page<'t> {
    /// Splits a text into its tables and values. What is no TOML is noted, and the rest is given all the same.
    pub(super) fn open(text: &'t str) -> (Self, Spanned<DeTable<'t>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let page = Self {
            text,
            whole: errors.is_empty(),
            mistakes: RefCell::default(),
        };
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let first = is_duplicate(error).then(|| page.first(&table, &span));
            let again = first.flatten().map_or_else(String::new, |first| {
                format!("; the first is in line {}", first.line)
            });
            page.note(span.start, format!("{}{again}", short(error.message())));
        }
        (page, table)
    }

    /// Notes a mistake at the byte `at`.
    pub(super) fn note(&self, at: usize, text: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake {
            place: Some(self.place(at)),
            text: text.into(),
        });
    }

    /// Notes that something is not there, which means nothing while a part of the text cannot be read.
    pub(super) fn missing(&self, at: usize, text: impl Into<String>) {
        if self.whole {
            self.note(at, text);
        }
    }

    /// As [`Page::missing`], of the whole text.
    pub(super) fn missing_everywhere(&self, text: &str) {
        if self.whole {
            let text = text.to_owned();
            self.mistakes
                .borrow_mut()
                .push(Mistake { place: None, text });
        }
    }

    pub(super) fn place(&self, at: usize) -> Place {
        Place::of(self.text, at)
    }

    /// The mistakes, in the order of the text.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }

    /// Where the key at `span` stands for the first time: the nearest of that name before it.
    fn first(&self, table: &Spanned<DeTable<'t>>, span: &Range<usize>) -> Option<Place> {
        let key = self.text.get(span.clone())?.trim_matches(['"', '\'']);
        let mut found = None;
        find_keys(table.get_ref(), key, &mut |at| {
            if at < span.start {
                found = found.max(Some(at));
            }
        });
        Some(self.place(found?))
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().contains("duplicate")
}

/// Calls `found` with the place of every key of this name, however deep.
fn find_keys(table: &DeTable<'_>, name: &str, found: &mut impl FnMut(usize)) {
    for (key, value) in table {
        if key.get_ref() == name {
            found(key.span().start);
        }
        match value.get_ref() {
            DeValue::Table(inner) => find_keys(inner, name, found),
            DeValue::Array(array) => {
                for table in array.iter().filter_map(|item| item.get_ref().as_table()) {
                    find_keys(table, name, found);
                }
            }
            _ => {}
        }
    }
}

/// A name of `known` that `text` may be a slip of.
pub(super) fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let alike = |name: &'k str| (strsim::jaro_winkler(text, name), name);
    let best = known.map(alike).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= ALIKE)
        .map(|(_, name)| name)
}
