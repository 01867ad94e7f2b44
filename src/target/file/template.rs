//! The user's own template: minijinja, rendered once for each upstream.
//!
//! A value of a record stands in the text as it is, so only [harmless](refuse) ones get there. In place of any other the template
//! sees a character that no record can hold; where that is written, the server is refused for it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{
    Environment, Error, ErrorKind, Output, State as Rendering, UndefinedBehavior, context,
};

use super::block::{Source, built_in, nginx_time};
use super::text::MARK;
use crate::model::Endpoint;
use crate::upstream::server::{Origin, Server};
use crate::util::sanitize::{printable, short};

/// The largest template that is read, bytes.
const MAX_TEMPLATE: u64 = 1024 * 1024;
/// The most that it may give for one upstream, bytes.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;
/// The only name in the environment.
const NAME: &str = "template";
/// How many instructions a template may take for one upstream: enough for tens of thousands of servers, and done within a second.
const MAX_STEPS: u64 = 2_000_000;
/// How deep loops may nest.
const MAX_DEPTH: usize = 20;
/// Directives that run code, in which no value would be safe.
const CODE: [&str; 2] = ["_by_lua", "perl_set"];
/// Besides letters and digits, what a value may hold. None of it ends a word of nginx's configuration, or a comment.
const HARMLESS: &str = "._-~:/@%+,=*[]";
/// The first of the private characters that stand for refused values.
const FIRST: u32 = 0xF_0000;

/// Why a template gives nothing for an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    /// It takes too long or gives too much, whatever servers there are.
    #[error("{0}")]
    Unbounded(String),
    /// Something else.
    #[error("{0}")]
    Wrong(String),
}

/// A template, read and understood.
pub struct Template {
    /// Its path, for messages.
    file: String,
    environment: Environment<'static>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

impl Template {
    /// Reads the template in `file`.
    ///
    /// # Errors
    ///
    /// When there is none, or it is wrong; with the line.
    pub fn read(file: &Path) -> Result<Self, String> {
        let shown = short(file.as_os_str().as_encoded_bytes());
        let source = read(file)
            .map_err(|reason| format!("the template {shown} cannot be read: {reason}"))?;
        Self::new(&shown, source).map_err(|reason| format!("the template {shown}, {reason}"))
    }

    fn new(file: &str, source: String) -> Result<Self, String> {
        for (number, line) in source.lines().enumerate() {
            if let Some(reason) = forbidden(line) {
                return Err(format!("line {}: {reason}", number + 1));
            }
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(write);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_recursion_limit(MAX_DEPTH);
        environment.add_function("namespace", no_namespace);
        // A line with a tag alone leaves no empty line.
        let syntax = environment.syntax().to_builder();
        let syntax = { syntax }.trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| said(&error))?);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| said(&error))?;
        let file = file.to_owned();
        Ok(Self { file, environment })
    }

    /// What is to stand in the file for one upstream.
    ///
    /// # Errors
    ///
    /// When the template fails, or writes a value that is not harmless.
    fn render(&self, source: Source<'_>) -> Result<String, RenderError> {
        let mut values = Values::default();
        let mut text = Limited(Vec::new());
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(values.of(source), &mut text));
        if let Err(error) = rendered {
            return Err(self.failed(&error));
        }
        let text = String::from_utf8_lossy(&text.0).into_owned();
        match text.chars().find_map(|c| values.refused(c)) {
            Some(reason) => Err(RenderError::Wrong(reason.to_owned())),
            None => Ok(text),
        }
    }

    fn failed(&self, error: &Error) -> RenderError {
        let line = error.line().map(|line| format!(", line {line}"));
        let at = format!("{}{}", self.file, line.unwrap_or_default());
        match error.kind() {
            ErrorKind::OutOfFuel => RenderError::Unbounded(format!(
                "{at}: stopped after {MAX_STEPS} steps: a loop in it runs too long; loop over `servers` alone, not within another \
                 loop"
            )),
            ErrorKind::WriteFailure => RenderError::Unbounded(format!(
                "{at}: stopped, as it gives more than {MAX_OUTPUT} bytes for one upstream"
            )),
            _ => RenderError::Wrong(format!("{}, {}", self.file, said(error))),
        }
    }
}

/// Why a line may not stand in a template.
fn forbidden(line: &str) -> Option<String> {
    if line.contains(MARK) {
        return Some(format!("lines with \"{MARK}\" are sidekick's own"));
    }
    if line.contains("${{") {
        return Some("a value right behind a $ would choose a variable".to_owned());
    }
    let code = CODE.iter().find(|code| line.contains(**code))?;
    Some(format!(
        "\"{code}\": values of records would not be safe in code; put it into a file of its own"
    ))
}

/// minijinja limits steps, not memory: with `namespace` a loop could double a text with every step.
fn no_namespace(_: Rest<Value>, _: Kwargs) -> Result<Value, Error> {
    Err(refusal(
        "`namespace` is not offered here, as what a loop adds to would have no bound",
    ))
}

/// Renders a block: by the user's template, or as built in.
///
/// # Errors
///
/// When the template fails.
pub(super) fn render(
    template: Option<&Template>,
    source: Source<'_>,
) -> Result<String, RenderError> {
    let mut text = match template {
        Some(template) => template.render(source)?,
        None => built_in(source.name, source.servers),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn read(file: &Path) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let size = std::fs::metadata(file).map_err(said)?.len();
    if size > MAX_TEMPLATE {
        return Err(format!(
            "it has {size} bytes; at most {MAX_TEMPLATE} are read"
        ));
    }
    std::fs::read_to_string(file).map_err(said)
}

/// Takes what a template gives, up to a limit.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a value of a record may not be written; `None` when it may.
fn refuse(value: &str) -> Option<String> {
    // As the only word before a file name it would read that file.
    if value == "include" {
        return Some("is \"include\"".to_owned());
    }
    let harmless = |c: &char| c.is_alphanumeric() || HARMLESS.contains(*c);
    let bad = value.chars().find(|c| !harmless(c))?;
    Some(format!(
        "holds {bad:?}; letters, digits and {HARMLESS} can be written"
    ))
}

/// The values for a template, and the reasons of those that it may not write.
#[derive(Default)]
struct Values(Vec<String>);

impl Values {
    fn of(&mut self, source: Source<'_>) -> Value {
        let servers = source.servers.iter();
        let servers = servers.map(|(at, server)| self.server(at, *server, source.origins.get(at)));
        context! {
            name => source.name.as_str(),
            service => source.service,
            servers => servers.collect::<Vec<_>>(),
        }
    }

    fn server(
        &mut self,
        endpoint: &Endpoint,
        server: Server,
        origin: Option<&Arc<Origin>>,
    ) -> Value {
        let parameters = server.parameters;
        let version = origin.and_then(|origin| origin.version.as_ref());
        let tags = origin.into_iter().flat_map(|origin| &origin.tags);
        let meta = origin.into_iter().flat_map(|origin| &origin.meta);
        context! {
            address => endpoint.to_string(),
            host => endpoint.host.to_string(),
            port => endpoint.port.get(),
            weight => server.weight.get(),
            state => server.state.as_str(),
            backup => parameters.backup,
            max_fails => parameters.max_fails,
            fail_timeout => parameters.fail_timeout.map(nginx_time),
            max_conns => parameters.max_conns,
            slow_start => parameters.slow_start.map(nginx_time),
            instance => origin.map(|origin| origin.instance.as_str()),
            version => version.map(|version| self.harmless("version", version.as_str())),
            tags => tags.map(|tag| self.harmless("a tag", tag)).collect::<Vec<_>>(),
            meta => meta.map(|(key, value)| self.pair(key, value)).collect::<BTreeMap<_, _>>(),
        }
    }

    fn pair(&mut self, key: &str, value: &str) -> (Value, Value) {
        let name = format!("meta.{}", short(key));
        (
            self.harmless("a key of meta", key),
            self.harmless(&name, value),
        )
    }

    /// The value, or a private character in its place.
    fn harmless(&mut self, what: &str, value: &str) -> Value {
        let Some(reason) = refuse(value) else {
            return Value::from(value);
        };
        // There are 65,534 such characters. All further values share the last.
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX).min(0xFFFD);
        self.0.push(format!("{what} {reason}"));
        let stand_in = char::from_u32(FIRST + number);
        Value::from(stand_in.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Why the value that this character stands for may not be written.
    fn refused(&self, c: char) -> Option<&str> {
        let number = u32::from(c).checked_sub(FIRST)?;
        self.0
            .get(usize::try_from(number).ok()?)
            .map(String::as_str)
    }
}

/// Writes a value: a number, a text, true or false.
fn write(out: &mut Output<'_>, _: &mut Rendering<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Bool | ValueKind::String => write!(out, "{value}")
            .map_err(|error| Error::new(ErrorKind::WriteFailure, error.to_string())),
        ValueKind::None => Err(refusal("the value is not set: ask `is not none` first")),
        kind => Err(refusal(format!(
            "a {kind} cannot be written as it is: loop over it, or join it"
        ))),
    }
}

fn refusal(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// What the template engine says, with the line, in one line.
fn said(error: &Error) -> String {
    let line = error
        .line()
        .map_or_else(String::new, |line| format!("line {line}: "));
    let detail = error
        .detail()
        .map_or_else(String::new, |detail| format!(": {detail}"));
    printable(format!("{line}{}{detail}", error.kind()), 400)
}

#[cfg(test)]
mod tests;
