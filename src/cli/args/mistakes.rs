//! Collects the mistakes in a command line, to report all of them at once.

use std::fmt;

use crate::util::secret;
use crate::util::secret::Secret;

/// A word that may be part of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The option whose value comes before it, without its dashes.
    pub(crate) option: &'static str,
    pub(crate) word: String,
}

/// The mistakes so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    said: Vec<String>,
    /// Words that may be part of a secret.
    hidden: Vec<Behind>,
}

/// The command line is wrong: the command did not start.
#[derive(Debug)]
pub(crate) struct Invalid(Vec<String>);

impl Mistakes {
    /// No mistakes yet. These words are hidden in every message.
    pub(crate) fn hiding(hidden: Vec<Behind>) -> Self {
        let said = Vec::new();
        Self { said, hidden }
    }

    /// The part of a wrong text that may be shown.
    fn shown(&self, text: &str) -> String {
        let is_part = |behind: &Behind| behind.word.contains(text);
        if !text.is_empty() && self.hidden.iter().any(is_part) {
            return "...".to_owned();
        }
        secret::value(text)
    }

    /// Adds a mistake.
    pub(crate) fn add(&mut self, mistake: impl Into<String>) {
        self.said.push(mistake.into());
    }

    /// The value, or a mistake with its place (`--flag`) and the error.
    pub(crate) fn check<T, E: fmt::Display>(
        &mut self,
        place: &str,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .inspect_err(|error| self.add(format!("{place}: {error}")))
            .ok()
    }

    /// The parsed text, or a mistake.
    pub(crate) fn parse<T>(&mut self, place: &str, text: &str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        let shown = self.shown(text);
        let parsed: Result<T, T::Err> = text.parse();
        parsed
            .inspect_err(|error| {
                let mut error = error.to_string();
                if shown != text {
                    // The error may repeat the text, or its hidden part.
                    error = secret::unquoted(&error.replace(text, &shown), &shown);
                }
                self.add(format!("{place} {shown:?}: {error}"));
            })
            .ok()
    }

    /// The parsed URL, or a mistake that shows neither a login nor a query in it.
    pub(crate) fn parse_url<T>(&mut self, place: &str, text: &Secret) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        let parsed = text.reveal().parse();
        parsed
            .inspect_err(|error| self.add(format!("{place}: {error}")))
            .ok()
    }

    /// A duration.
    pub(crate) fn duration(&mut self, place: &str, text: &str) -> Option<std::time::Duration> {
        let parsed = crate::util::duration::read(text);
        if parsed.is_none() {
            let shown = crate::util::sanitize::short(text);
            self.add(format!(
                "{place} {shown:?}: expected a time such as 500ms, 2s or 1m"
            ));
        }
        parsed
    }

    /// A number from 1 to 1000.
    pub(crate) fn count(&mut self, place: &str, text: &str) -> Option<u32> {
        let count = text.parse().ok();
        let count = count.filter(|count| (1..=1_000).contains(count));
        if count.is_none() {
            self.add(format!(
                "{place} {text:?}: expected a number from 1 to 1000"
            ));
        }
        count
    }

    /// A required text.
    pub(crate) fn required<'a>(&mut self, name: &str, text: Option<&'a str>) -> Option<&'a str> {
        if text.is_none() {
            self.add(format!("{name} is missing"));
        }
        text
    }

    /// `value`, unless there are mistakes.
    pub(crate) fn none_or<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value {
            Some(value) if self.said.is_empty() => Ok(value),
            _ => Err(Invalid(self.said)),
        }
    }
}

impl From<Mistakes> for Invalid {
    fn from(mistakes: Mistakes) -> Self {
        Self(mistakes.said)
    }
}

impl From<Vec<String>> for Invalid {
    fn from(said: Vec<String>) -> Self {
        Self(said)
    }
}

impl From<String> for Invalid {
    fn from(said: String) -> Self {
        Self(vec![said])
    }
}

impl Invalid {
    /// Each mistake on its own.
    pub(crate) fn into_mistakes(self) -> Vec<String> {
        self.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "{} mistakes:", several.len())?;
                several.iter().try_for_each(|text| write!(f, "\n  {text}"))
            }
        }
    }
}

impl std::error::Error for Invalid {}
