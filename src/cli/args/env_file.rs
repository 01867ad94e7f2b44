//! Files of environment variables, in the syntax of systemd's `EnvironmentFile=`, so that one file serves both.
//!
//! `NAME=VALUE` on a line; `#` and `;` begin a comment; a backslash at the end of a line joins it to the next. A value
//! may be in double quotes (in which `\"`, `\\`, `\$` and `` \` `` are escapes) or in single ones (without escapes).
//! systemd ignores lines that it cannot parse; here they are errors, because a silently ignored line is a bug found too
//! late.

pub(crate) mod fuzz;

use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::rc::Rc;

/// The largest file to read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// One `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// The file that it is in.
    pub(crate) file: Rc<str>,
}

/// The contents of all files together.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In order: the last one of a name wins.
    pub(crate) assignments: Vec<Assignment>,
    /// Files that exist but were skipped, and why.
    pub(crate) notes: Vec<String>,
}

/// Reads the files `FILE[:FILE...]`. Prefix a file with `-` to make it optional, as with `EnvironmentFile=-`.
///
/// # Errors
/// Every mistake in all of them, with file and line.
pub(crate) fn read(files: &str) -> Result<Found, Vec<String>> {
    let mut found = Found::default();
    let mut mistakes = Vec::new();
    for file in files.split(':') {
        let (path, optional) = file
            .strip_prefix('-')
            .map_or((file, false), |path| (path, true));
        match content(Path::new(path)) {
            Ok(text) => match parse(&text, path) {
                Ok(more) => found.assignments.extend(more),
                Err(more) => {
                    mistakes.extend(more.iter().map(|text| format!("{path}: {text}")));
                }
            },
            Err(error) if optional && error.kind() == ErrorKind::NotFound => {}
            // systemd read it as root, before this process changed its user.
            Err(error) if optional && error.kind() == ErrorKind::PermissionDenied => found.notes.push(format!(
                "{path}: {error}: not readable here; the values that systemd passed on at the start stay"
            )),
            Err(error) => mistakes.push(format!("--env-file {path}: {error}")),
        }
    }
    if mistakes.is_empty() {
        Ok(found)
    } else {
        Err(mistakes)
    }
}

fn content(path: &Path) -> io::Result<String> {
    // The file is read again on every reload, so it must be a regular file.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(MAX_FILE + 1);
    bounded.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        let longer = format!("longer than {} KiB", MAX_FILE >> 10);
        return Err(io::Error::other(longer));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
}

/// Parses a file into its assignments, or into every mistake with its line.
fn parse(text: &str, file: &str) -> Result<Vec<Assignment>, Vec<String>> {
    let mut parser = Parser {
        file: file.into(),
        ..Parser::default()
    };
    for character in text.chars() {
        parser.take(character);
        parser.line += usize::from(character == '\n');
    }
    parser.finish()
}

/// Where in a line the parser is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeName,
    Name,
    /// After the `=` or a closing quote.
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuoted,
    DoubleQuoted,
    DoubleQuotedEscape,
    Comment,
    CommentEscape,
}

#[derive(Debug, Default)]
struct Parser {
    file: Rc<str>,
    place: Place,
    /// Lines before this one.
    line: usize,
    /// Lines before the start of the assignment.
    began: usize,
    name: String,
    value: String,
    /// Length of the value if it ended here: trailing spaces count only when quoted or escaped.
    kept: usize,
    found: Vec<Assignment>,
    mistakes: Vec<String>,
}

impl Parser {
    fn take(&mut self, character: char) {
        let ends_line = matches!(character, '\n' | '\r');
        let blank = ends_line || matches!(character, ' ' | '\t');
        self.place = match (self.place, character) {
            (Place::BeforeName, '#' | ';') => Place::Comment,
            (Place::BeforeName, _) if blank => Place::BeforeName,
            (Place::BeforeName, _) => {
                self.began = self.line;
                self.name.push(character);
                Place::Name
            }
            (Place::Name, '=') => Place::BeforeValue,
            (Place::Name, _) if ends_line => self.line_without_value(),
            (Place::Name, _) => self.and_stay(character, Self::name_goes_on),
            (Place::BeforeValue | Place::Value, _) if ends_line => self.assigned(),
            (Place::BeforeValue, '\'') => Place::SingleQuoted,
            (Place::BeforeValue, '"') => Place::DoubleQuoted,
            (Place::BeforeValue | Place::Value, '\\') => Place::ValueEscape,
            (Place::BeforeValue, _) if blank => Place::BeforeValue,
            (Place::Value, _) if blank => self.and_stay(character, |it, c| it.value.push(c)),
            (Place::BeforeValue | Place::Value, _) => {
                self.keep(character);
                Place::Value
            }
            (Place::ValueEscape, _) => {
                if !ends_line {
                    self.keep(character);
                }
                Place::Value
            }
            (Place::SingleQuoted, '\'') | (Place::DoubleQuoted, '"') => Place::BeforeValue,
            (Place::DoubleQuoted, '\\') => Place::DoubleQuotedEscape,
            (Place::SingleQuoted | Place::DoubleQuoted, _) => self.and_stay(character, Self::keep),
            (Place::DoubleQuotedEscape, _) => {
                if !matches!(character, '"' | '\\' | '`' | '$' | '\n') {
                    self.keep('\\');
                }
                if character != '\n' {
                    self.keep(character);
                }
                Place::DoubleQuoted
            }
            (Place::Comment, '\\') => Place::CommentEscape,
            (Place::Comment | Place::CommentEscape, _) if ends_line => Place::BeforeName,
            (Place::Comment | Place::CommentEscape, _) => Place::Comment,
        };
    }

    fn finish(mut self) -> Result<Vec<Assignment>, Vec<String>> {
        match self.place {
            Place::BeforeName | Place::Comment | Place::CommentEscape => {}
            Place::Name => drop(self.line_without_value()),
            Place::BeforeValue | Place::Value | Place::ValueEscape => drop(self.assigned()),
            Place::SingleQuoted | Place::DoubleQuoted | Place::DoubleQuotedEscape => {
                let name = match self.name.trim_end() {
                    name if is_name(name) => name,
                    _ => "a value",
                };
                self.mistake(format!("the quote of {name} is not closed"));
            }
        }
        if self.mistakes.is_empty() {
            Ok(self.found)
        } else {
            Err(self.mistakes)
        }
    }

    fn and_stay(&mut self, character: char, act: impl FnOnce(&mut Self, char)) -> Place {
        act(self, character);
        self.place
    }

    fn name_goes_on(&mut self, character: char) {
        self.name.push(character);
    }

    fn keep(&mut self, character: char) {
        self.value.push(character);
        self.kept = self.value.len();
    }

    fn line_without_value(&mut self) -> Place {
        // The line may be part of a secret: do not quote it.
        self.mistake("expected NAME=VALUE".to_owned());
        self.name.clear();
        Place::BeforeName
    }

    fn assigned(&mut self) -> Place {
        self.value.truncate(self.kept);
        self.kept = 0;
        let name = std::mem::take(&mut self.name);
        let value = std::mem::take(&mut self.value);
        let name = name.trim_end();
        if !is_name(name) {
            // A secret may contain a =: quote no name that is none.
            let export = match name.strip_prefix("export ") {
                Some(name) if is_name(name.trim_start()) => ": `export` does not belong there",
                _ => "",
            };
            let what = "the text before the = is not the name of an environment variable";
            self.mistake(format!("{what}{export}"));
        } else if value.contains('\0') {
            self.mistake(format!("the value of {name} has a NUL in it"));
        } else {
            self.found.push(Assignment {
                name: name.to_owned(),
                value,
                line: self.began + 1,
                file: Rc::clone(&self.file),
            });
        }
        Place::BeforeName
    }

    fn mistake(&mut self, what: String) {
        self.mistakes
            .push(format!("line {}: {what}", self.began + 1));
    }
}

fn is_name(text: &str) -> bool {
    let digit_first = text.starts_with(|first: char| first.is_ascii_digit());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && !digit_first && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
