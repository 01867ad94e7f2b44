//! A TOML text and its mistakes, each with its place.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::util::sanitize::short;

/// A place in a text, counted from 1 as in editors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// The place of the byte `at` of `text`.
    pub(crate) fn of(text: &str, at: usize) -> Self {
        Index::new(text).place(text, at)
    }
}

/// Bytes between two entries of the index: a lookup counts at most this many.
const BLOCK: usize = 256;

/// The starts of the lines, and the characters before each block of [`BLOCK`] bytes: a lookup does not
/// read the whole text, or a whole long line.
#[derive(Debug)]
struct Index {
    lines: Vec<usize>,
    characters: Vec<usize>,
}

impl Index {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let newlines = bytes.iter().enumerate();
        let newlines = newlines.filter(|(_, byte)| **byte == b'\n');
        let starts = newlines.map(|(at, _)| at + 1);
        let mut before = 0;
        let blocks = bytes.chunks(BLOCK).map(|block| {
            let own = before;
            before += characters(block);
            own
        });
        Self {
            characters: blocks.collect(),
            lines: [0].into_iter().chain(starts).collect(),
        }
    }

    /// How many characters begin before the byte `at`.
    fn characters_before(&self, bytes: &[u8], at: usize) -> usize {
        let Some(block) = at.checked_sub(1).map(|last| last / BLOCK) else {
            return 0;
        };
        self.characters[block] + characters(&bytes[block * BLOCK..at])
    }

    fn place(&self, text: &str, at: usize) -> Place {
        let at = at.min(text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line - 1];
        let count = |at| self.characters_before(text.as_bytes(), at);
        Place {
            line,
            column: count(at) - count(start) + 1,
        }
    }
}

/// Every character has exactly one byte that is not a continuation.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A mistake in a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where; `None` if it is about the whole text.
    pub place: Option<Place>,
    /// What is wrong.
    pub text: String,
}

/// A text and its mistakes so far.
#[derive(Debug)]
pub(crate) struct Page<'t> {
    text: &'t str,
    index: Index,
    /// Whether the text is TOML. If not, missing keys are not reported: the unread part may have them.
    whole: bool,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Page<'t> {
    /// Parses a text into its tables and values. Syntax errors are noted, and the rest is still returned.
    pub(crate) fn open(text: &'t str) -> (Self, Spanned<DeTable<'t>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let page = Self {
            text,
            index: Index::new(text),
            whole: errors.is_empty(),
            mistakes: RefCell::default(),
        };
        let known = OnceCell::new();
        let known = || known.get_or_init(|| places_of_keys(table.get_ref()));
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let first = is_duplicate(error).then(|| page.first(known(), &span));
            let again = first.flatten().map_or_else(String::new, |first| {
                format!("; the first is in line {}", first.line)
            });
            page.note(span.start, format!("{}{again}", short(error.message())));
        }
        (page, table)
    }

    /// Notes a mistake at the byte `at`.
    pub(crate) fn note(&self, at: usize, text: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake {
            place: Some(self.place(at)),
            text: text.into(),
        });
    }

    /// Notes that something is missing, unless part of the text cannot be read: it may be there.
    pub(crate) fn missing(&self, at: usize, text: impl Into<String>) {
        if self.whole {
            self.note(at, text);
        }
    }

    /// As [`Page::missing`], about the whole text.
    pub(crate) fn missing_everywhere(&self, text: &str) {
        if self.whole {
            let text = text.to_owned();
            self.mistakes
                .borrow_mut()
                .push(Mistake { place: None, text });
        }
    }

    pub(crate) fn place(&self, at: usize) -> Place {
        self.index.place(self.text, at)
    }

    /// The mistakes, in the order of the text.
    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }

    /// The first place of the key at `span`: the nearest one of that name before it.
    fn first(&self, known: &Places<'_>, span: &Range<usize>) -> Option<Place> {
        let key = self.text.get(span.clone())?.trim_matches(['"', '\'']);
        let found = known.get(key)?.range(..span.start).next_back()?;
        Some(self.place(*found))
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().contains("duplicate")
}

/// The places of all keys, by name.
type Places<'k> = HashMap<&'k str, BTreeSet<usize>>;

/// The places of all keys, at every depth.
fn places_of_keys<'k>(table: &'k DeTable<'_>) -> Places<'k> {
    let mut places = Places::new();
    let mut open = vec![table];
    while let Some(table) = open.pop() {
        for (key, value) in table {
            let known = places.entry(key.get_ref()).or_default();
            known.insert(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => open.push(inner),
                DeValue::Array(array) => {
                    open.extend(array.iter().filter_map(|item| item.get_ref().as_table()));
                }
                _ => {}
            }
        }
    }
    places
}

#[cfg(test)]
mod tests;
