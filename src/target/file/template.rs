//! The user's own template: minijinja, rendered once for each upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State as Rendering, UndefinedBehavior};

use super::escape::{is_free_of_marks, mark, weave};
use super::render::{MARK, Member, nginx_time};
use crate::model::Endpoint;
use crate::upstream::desired::{Origin, Server};
use crate::util::sanitize::{printable, short};

/// The largest template that is read, bytes.
const MAX_TEMPLATE: u64 = 1024 * 1024;
/// The only name in the environment.
const NAME: &str = "template";
/// How many instructions a template may take for one upstream: enough for tens of thousands of servers, and done within a second.
const MAX_STEPS: u64 = 2_000_000;
/// What runs as code: there the values would not be safe, whatever their spelling.
const CODE: [&str; 2] = ["_by_lua", "perl_set"];

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("the template {file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What failed.
        reason: String,
    },
    /// It is no template.
    #[error("the template {file}, {reason}")]
    Wrong {
        /// The file.
        file: String,
        /// The line and what is wrong there.
        reason: String,
    },
}

/// Why a template gives nothing for an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    /// It does not come to an end in time, whatever servers there are.
    #[error(
        "{0}: stopped after {MAX_STEPS} steps: a loop in it runs too long; loop over `servers` alone, not within another loop"
    )]
    Endless(String),
    /// Something else, in words.
    #[error("{0}")]
    Wrong(String),
}

/// A template, read and understood.
pub struct Template {
    /// What it is called in messages.
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
    pub fn read(file: &Path) -> Result<Self, TemplateError> {
        let shown = short(file.as_os_str().as_encoded_bytes());
        let source = read(file).map_err(|reason| TemplateError::Unreadable {
            file: shown.clone(),
            reason,
        })?;
        Self::new(&shown, source).map_err(|reason| TemplateError::Wrong {
            file: shown,
            reason,
        })
    }

    fn new(file: &str, source: String) -> Result<Self, String> {
        for (number, line) in source.lines().enumerate() {
            let reason = if !is_free_of_marks(line) {
                Some("control characters have no place in it".to_owned())
            } else if line.trim_start().starts_with(MARK) {
                Some(format!(
                    "lines that begin with \"{MARK}\" are sidekick's own"
                ))
            } else {
                let code = CODE.iter().find(|code| line.contains(**code));
                code.map(|code| {
                    format!("\"{code}\": values of records would not be safe in code; put it into a file of its own")
                })
            };
            if let Some(reason) = reason {
                return Err(format!("line {}: {reason}", number + 1));
            }
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(write);
        environment.set_fuel(Some(MAX_STEPS));
        // A line with nothing but a tag leaves no line behind.
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
    /// When the template fails, or a value stands where it cannot be made safe.
    pub(super) fn render(&self, member: Member<'_>) -> Result<String, RenderError> {
        let wrong = |reason: String| RenderError::Wrong(format!("{}, {reason}", self.file));
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(context(member)));
        let rendered = rendered.map_err(|error| match (error.kind(), error.line()) {
            (ErrorKind::OutOfFuel, Some(line)) => {
                RenderError::Endless(format!("{}, line {line}", self.file))
            }
            (ErrorKind::OutOfFuel, None) => RenderError::Endless(self.file.clone()),
            _ => wrong(said(&error)),
        })?;
        let text = weave(&rendered).map_err(wrong)?;
        // A value cannot have made it: what it holds is within one word or one comment.
        let forged = text.lines().any(|line| line.trim_start().starts_with(MARK));
        if forged {
            return Err(wrong(format!(
                "a line of what it gives begins with \"{MARK}\""
            )));
        }
        Ok(text)
    }
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

/// What the template sees.
fn context(member: Member<'_>) -> Value {
    let servers: Vec<Value> = member
        .servers()
        .map(|(endpoint, server)| {
            let origin = member.desired.origins.get(endpoint);
            server_value(endpoint, *server, origin.map(|origin| &**origin))
        })
        .collect();
    map([
        ("name", Value::from(member.name.as_str())),
        ("service", Value::from(member.desired.service.as_str())),
        ("servers", Value::from(servers)),
    ])
}

fn server_value(endpoint: &Endpoint, server: Server, origin: Option<&Origin>) -> Value {
    let parameters = server.parameters;
    let meta: BTreeMap<Value, Value> = origin
        .into_iter()
        .flat_map(|origin| &origin.meta)
        .map(|(key, value)| (Value::from(key.as_str()), Value::from(value.as_str())))
        .collect();
    let tags = origin.map_or(&[][..], |origin| &origin.tags);
    let tags: Vec<Value> = tags.iter().map(|tag| Value::from(tag.as_str())).collect();
    let version = origin.and_then(|origin| origin.version.as_ref());
    map([
        ("address", Value::from(endpoint.to_string())),
        ("host", Value::from(endpoint.host.to_string())),
        ("port", Value::from(endpoint.port.get())),
        ("weight", Value::from(server.weight.get())),
        ("state", Value::from(server.state.as_str())),
        ("backup", Value::from(parameters.backup)),
        ("max_fails", Value::from(parameters.max_fails)),
        (
            "fail_timeout",
            Value::from(parameters.fail_timeout.map(nginx_time)),
        ),
        ("max_conns", Value::from(parameters.max_conns)),
        (
            "slow_start",
            Value::from(parameters.slow_start.map(nginx_time)),
        ),
        (
            "instance",
            Value::from(origin.map(|origin| origin.instance.as_str())),
        ),
        (
            "version",
            Value::from(version.map(|version| version.as_str())),
        ),
        ("tags", Value::from(tags)),
        ("meta", Value::from(meta)),
    ])
}

fn map<const N: usize>(pairs: [(&'static str, Value); N]) -> Value {
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| (Value::from(key), value))
        .collect::<BTreeMap<Value, Value>>()
        .into()
}

/// Writes a value, marked to be made safe. That it was declared safe counts for nothing.
fn write(out: &mut Output<'_>, _: &mut Rendering<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    let text = match value.kind() {
        ValueKind::Number => value.to_string(),
        ValueKind::Bool if value.is_true() => "true".to_owned(),
        ValueKind::Bool => "false".to_owned(),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            mark(text).map_err(|reason| refuse(format!("{}: {reason}", short(text))))?
        }
        ValueKind::None => {
            return Err(refuse(
                "the value is not set: ask `is not none` first".to_owned(),
            ));
        }
        kind => {
            return Err(refuse(format!(
                "a {kind} cannot be written as it is: loop over it, or join it"
            )));
        }
    };
    out.write_str(&text)
        .map_err(|_| refuse("there is no room for what the template gives".to_owned()))
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
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::syntax::statements;
    use super::*;
    use crate::model::State;
    use crate::upstream::desired::{Desired, Parameters, Servers};

    const FULL: &str = "upstream {{ name }} {
{% for server in servers %}
    # {{ server.instance }} {{ server.version }} {{ server.tags|join(' ') }}
    server {{ server.address }} weight={{ server.weight }}{% if server.backup %} backup{% endif %}{% if server.state != 'up' %} down{% endif %};
{% endfor %}
}
map $host $rack { default {{ servers[0].meta.rack }}; }
";

    fn rendered(template: &str, rack: &str) -> Result<String, String> {
        let endpoint: Endpoint = "[::1]:80".parse().unwrap();
        let server = Server {
            weight: NonZeroU16::MIN,
            state: State::Draining,
            parameters: Parameters::default(),
        };
        let mut desired = Desired::at(1, &Servers::from([(endpoint.clone(), server)]));
        let origin = Origin {
            instance: "nginx1".parse().unwrap(),
            version: Some("v;1{".parse().unwrap()),
            tags: vec!["a b".to_owned(), "\n}".to_owned()],
            meta: BTreeMap::from([("rack".to_owned(), rack.to_owned())]),
        };
        desired.origins.insert(endpoint, Arc::new(origin));
        let member = Member {
            name: &"website".parse().unwrap(),
            desired: &desired,
            without: &BTreeSet::new(),
        };
        let template = Template::new("t.jinja", template.to_owned())?;
        template.render(member).map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_sees_everything_of_a_server() {
        let text = rendered(FULL, "r 1").unwrap();
        let expected = "upstream website {
    # nginx1 v;1{ a b  }
    server [::1]:80 weight=1 down;
}
map $host $rack { default \"r 1\"; }
";
        assert_eq!(text.trim_end(), expected.trim_end());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (template, reason) in [
            ("a\n{% for %}", "line 2"),
            ("a;\n\n{{ nonsense }}", "line 3: undefined value"),
            ("{{ servers[0].meta.none }}", "undefined value"),
            (
                "\n{{ servers[0].max_conns }}",
                "line 2: invalid operation: the value is not set",
            ),
            ("{{ servers }}", "cannot be written as it is"),
            ("a\\{{ name }};", "backslash"),
            ("a {{ '$x' }};", "variable"),
            ("# sidekick: end x", "line 1: lines that begin with"),
            ("a;\ncontent_by_lua_block { }", "line 2: \"_by_lua\""),
        ] {
            let error = rendered(template, "r").unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped_and_named_with_its_line() {
        let endless = "a;\n{% for x in range(100000) %}{% for y in range(100000) %}\n{% for z in range(100000) %}{{ z }}\
                       {% endfor %}{% endfor %}{% endfor %}";
        let error = rendered(endless, "r").unwrap_err();
        let (place, rest) = error.split_once(": stopped after ").unwrap();
        assert!(place.starts_with("t.jinja, line "), "{error}");
        assert!(rest.contains("loop over `servers` alone"), "{error}");
    }

    #[test]
    fn declaring_a_value_safe_changes_nothing() {
        for template in [
            "a {{ servers[0].meta.rack|safe }};",
            "a {{ servers[0].meta.rack|e }};",
        ] {
            let text = rendered(template, "x; y").unwrap();
            assert_eq!(statements(&text).unwrap().len(), 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_record_changes_what_directives_there_are(rack in "\\PC{0,20}") {
            let expected = statements(&rendered(FULL, "r").unwrap()).unwrap();
            if let Ok(text) = rendered(FULL, &rack) {
                let found = statements(&text).unwrap();
                prop_assert_eq!(found.len(), expected.len());
                prop_assert_eq!(found[..3].to_vec(), expected[..3].to_vec());
            } else {
                prop_assert!(rack.contains('$') || rack.chars().any(char::is_control));
            }
        }
    }
}
