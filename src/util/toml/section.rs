//! One table of a text: its keys and values, checked as they are read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::page::{Page, Place};
use crate::util::did_you_mean::nearest;
use crate::util::sanitize::short;

/// The longest time in a configuration: a time that far from now must not overflow.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A key that is refused, and what to do instead.
pub(crate) type Refusal = (&'static str, &'static str);

/// A table and the keys that it may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    page: &'a Page<'a>,
    /// Its name in messages, as in `[[nginx]]`.
    title: &'static str,
    table: &'a DeTable<'a>,
    at: usize,
}

impl<'a> Section<'a> {
    /// Notes every key that is not in `keys`.
    pub(crate) fn new(
        page: &'a Page<'a>,
        title: &'static str,
        (table, at): (&'a DeTable<'a>, usize),
        keys: &[&'static str],
        refusals: &[Refusal],
    ) -> Self {
        for key in table.keys() {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let refusal = refusals.iter().find(|(refused, _)| *refused == name);
            if let Some((_, instead)) = refusal {
                page.note(at, format!("`{name}`: {instead}"));
            } else if !keys.contains(&name) {
                let hint = match nearest(name, keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", keys.join(", ")),
                };
                page.note(at, format!("{title} has no key `{}`; {hint}", short(name)));
            }
        }
        Self {
            page,
            title,
            table,
            at,
        }
    }

    pub(crate) fn page(&self) -> &'a Page<'a> {
        self.page
    }

    /// The place where the table begins.
    pub(crate) fn place(&self) -> Place {
        self.page.place(self.at)
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    /// The byte where the table begins.
    pub(crate) fn start(&self) -> usize {
        self.at
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The byte where the value of `key` begins, or the table if there is none.
    pub(crate) fn at(&self, key: &str) -> usize {
        let value = self.table.get(key);
        value.map_or(self.at, |value| value.span().start)
    }

    /// The byte where `key` itself begins, or the table if there is none.
    pub(crate) fn at_key(&self, key: &str) -> usize {
        let known = self.table.get_key_value(key);
        known.map_or(self.at, |(key, _)| key.span().start)
    }

    /// Notes that the value of `key` is wrong.
    pub(crate) fn note(&self, key: &str, text: impl fmt::Display) {
        self.page.note(self.at(key), format!("`{key}`: {text}"));
    }

    /// Notes that `key` does not belong here.
    pub(crate) fn note_key(&self, key: &str, text: impl Into<String>) {
        self.page.note(self.at_key(key), text);
    }

    /// Notes a key that needs another.
    pub(crate) fn needs_both(&self, one: &str, other: &str) {
        for (one, other) in [(one, other), (other, one)] {
            if self.has(one) && !self.has(other) {
                let text = format!("`{one}` needs `{other}`");
                self.page.missing(self.at_key(one), text);
            }
        }
    }

    /// Notes a missing `key`.
    pub(crate) fn required(&self, key: &str) {
        if !self.has(key) {
            let title = self.title;
            self.page
                .missing(self.at, format!("{title}: `{key}` is missing"));
        }
    }

    /// The value of `key` as `take` reads it; otherwise notes what was `expected`.
    pub(crate) fn take<T>(
        &self,
        key: &str,
        expected: &str,
        take: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.table.get(key)?.get_ref();
        let taken = take(value);
        if taken.is_none() {
            self.note(key, format!("{expected} is expected, {}", shown(value)));
        }
        taken
    }

    /// The value of `key`, or `default` if it is missing; `None` only if it is wrong.
    pub(crate) fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Self, &str) -> Option<T>,
    ) -> Option<T> {
        match self.has(key) {
            true => read(self, key),
            false => Some(default),
        }
    }

    /// As [`Self::or`], for a key without a default.
    pub(crate) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        self.or(key, None, |section, key| read(section, key).map(Some))
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.take(key, "a text in quotes", DeValue::as_str)
    }

    /// A string, parsed.
    pub(crate) fn parse<T>(&self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(key)?;
        let parsed = text.parse();
        parsed.inspect_err(|error| self.note(key, error)).ok()
    }

    /// An absolute path: an agent's working directory is not known.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        let path = Path::new(self.text(key)?);
        if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
            let text = "an absolute path such as \"/etc/sidekick/...\" is expected";
            self.note(key, text);
            return None;
        }
        Some(path.to_owned())
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.take(key, "true or false", DeValue::as_bool)
    }

    /// A whole number from `from` to the largest that fits.
    pub(crate) fn number<T: TryFrom<u64>>(&self, key: &str, from: u64, to: u64) -> Option<T> {
        let expected = format!("a whole number from {from} to {to}");
        self.take(key, &expected, |value| {
            let number = whole_number(value).filter(|number| (from..=to).contains(number))?;
            T::try_from(number).ok()
        })
    }

    /// A duration.
    pub(crate) fn time(&self, key: &str) -> Option<Duration> {
        let time = self.take(key, "a time such as \"500ms\", \"2s\" or \"1m\"", |value| {
            humantime::parse_duration(value.as_str()?).ok()
        })?;
        if time > MAX_TIME {
            self.note(key, "longer than a year");
            return None;
        }
        Some(time)
    }

    /// A duration that `check` accepts.
    pub(crate) fn time_that<E: fmt::Display>(
        &self,
        key: &str,
        check: impl FnOnce(Duration) -> Result<(), E>,
    ) -> Option<Duration> {
        let time = self.time(key)?;
        let checked = check(time);
        checked.inspect_err(|error| self.note(key, error)).ok()?;
        Some(time)
    }

    /// A duration above zero.
    pub(crate) fn time_above_zero(&self, key: &str) -> Option<Duration> {
        self.time_that(key, |time| match time.is_zero() {
            true => Err("it must be longer than 0s"),
            false => Ok(()),
        })
    }

    /// A list of strings, each parsed; wrong ones are noted. Empty if the key is missing.
    pub(crate) fn list<T>(&self, key: &str) -> Vec<(T, usize)>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        const EXPECTED: &str = "a list of texts such as [\"a\", \"b\"]";
        let items = self.take(key, EXPECTED, DeValue::as_array);
        let items = items.into_iter().flat_map(|items| items.iter());
        let parsed = items.filter_map(|item| {
            let at = item.span().start;
            let Some(text) = item.get_ref().as_str() else {
                let shown = shown(item.get_ref());
                self.page
                    .note(at, format!("`{key}`: {EXPECTED} is expected, {shown}"));
                return None;
            };
            let parsed = text.parse();
            let parsed =
                parsed.inspect_err(|error| self.page.note(at, format!("`{key}`: {error}")));
            Some((parsed.ok()?, at))
        });
        parsed.collect()
    }

    /// The tables of `[[key]]`.
    pub(crate) fn tables(
        &self,
        key: &'static str,
        title: &'static str,
        keys: &[&'static str],
        refusals: &[Refusal],
    ) -> Vec<Section<'a>> {
        let expected = format!("{title} with keys of its own");
        let items = self.take(key, &expected, DeValue::as_array);
        let items = items.into_iter().flat_map(|items| items.iter());
        let tables = items.filter_map(|item| {
            let at = item.span().start;
            let Some(table) = item.get_ref().as_table() else {
                self.page.note(
                    at,
                    format!("`{key}`: {expected} is expected, {}", shown(item.get_ref())),
                );
                return None;
            };
            Some(Section::new(self.page, title, (table, at), keys, refusals))
        });
        tables.collect()
    }
}

/// A number from 0.
pub(crate) fn whole_number(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(number) = value else {
        return None;
    };
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Describes the value that was found instead.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("this is \"{}\"", short(text.as_ref())),
        DeValue::Integer(number) => format!("this is {}", short(number.to_string())),
        DeValue::Float(number) => format!("this is {}", short(number.to_string())),
        DeValue::Boolean(flag) => format!("this is {flag}"),
        DeValue::Datetime(_) => "this is a date".to_owned(),
        DeValue::Array(_) => "this is a list".to_owned(),
        DeValue::Table(_) => "this is a table".to_owned(),
    }
}
