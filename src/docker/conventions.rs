//! registrator's conventions: what a container says of itself by `SERVICE_*` labels and environment variables. Pure.
//!
//! `SERVICE_NAME` is about all its ports and `SERVICE_80_NAME` about port 80. What is about one port beats what is
//! about all of them; then a label beats the environment. An empty value counts as none, and a flag is not set by `0`,
//! `false` and `no`. Free pairs are taken from labels only: an image's environment holds what its program needs, passwords too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::container::Container;
use super::port::ContainerPort;
use crate::printable::short;
use crate::secret;
use crate::span;

/// What all of them begin with.
const PREFIX: &str = "SERVICE_";

/// Names that say something by themselves; all others but `check_…` are free pairs.
const KNOWN: [&str; 6] = ["name", "id", "tags", "ignore", "version", "weight"];

/// The checks that are known here, and what belongs to them.
const CHECKS: [&str; 10] = [
    "check_http",
    "check_https",
    "check_tcp",
    "check_grpc",
    "check_grpc_use_tls",
    "check_cmd",
    "check_http_method",
    "check_interval",
    "check_timeout",
    "check_tls_skip_verify",
];

/// Of what is not taken, so many names are told.
const NAMES_SHOWN: usize = 10;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The value. Foreign text.
    pub value: String,
    /// `label SERVICE_80_NAME`.
    pub source: String,
    /// Whether it is about one port.
    pub about_port: bool,
    is_label: bool,
}

/// All that a container says about one of its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conventions {
    said: BTreeMap<String, Said>,
    /// Free pairs in the environment, by their names.
    left_out: Vec<String>,
}

/// A value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_text} \"{value}\": expected {expected}")]
pub struct Meaningless {
    source_text: String,
    value: String,
    expected: &'static str,
}

/// What is to be asked of the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request to the announced address.
    Http {
        /// What is asked for; begins with a slash. Foreign text.
        path: String,
        /// By TLS.
        tls: bool,
        /// The method, where it is not GET. Foreign text.
        method: Option<String>,
        /// Whoever's certificate it is.
        skip_verify: bool,
    },
    /// A connection to the announced address.
    Tcp,
    /// The health service of gRPC at the announced address.
    Grpc {
        /// By TLS.
        tls: bool,
    },
    /// A command that ends with 0. It comes from the image or from whoever started the container: it is meant to run
    /// **inside** the container, and must never be run on the host.
    Inside {
        /// Words as a shell splits them; no shell runs it. Foreign text.
        command: String,
    },
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http {
                path, tls, method, ..
            } => {
                let scheme = if *tls { "https" } else { "http" };
                let method = method.as_deref().unwrap_or("GET");
                write!(f, "{scheme} {method} {}", secret::url(path))
            }
            Self::Tcp => f.write_str("tcp"),
            Self::Grpc { tls: false } => f.write_str("grpc"),
            Self::Grpc { tls: true } => f.write_str("grpc by tls"),
            Self::Inside { command } => write!(f, "in the container: {}", secret::command(command)),
        }
    }
}

impl Conventions {
    /// What the container says about this port, or, without one, about all of them.
    #[must_use]
    pub fn of(container: &Container, port: Option<ContainerPort>) -> Self {
        let mut conventions = Self::default();
        for (name, value) in &container.env {
            conventions.add(name, value, false, port);
        }
        for (name, value) in &container.labels {
            conventions.add(name, value, true, port);
        }
        conventions
    }

    fn add(&mut self, name: &str, value: &str, is_label: bool, port: Option<ContainerPort>) {
        let Some(key) = name.strip_prefix(PREFIX) else {
            return;
        };
        if key.is_empty() || value.is_empty() {
            return;
        }
        let (number, rest) = split_port(key);
        if number.is_some() && number != port.map(|port| port.number.get()) {
            return;
        }
        let said = Said {
            value: value.to_owned(),
            source: format!("{} {}", if is_label { "label" } else { "env" }, short(name)),
            about_port: number.is_some(),
            is_label,
        };
        let rank = |said: &Said| (said.about_port, said.is_label);
        let key = rest.to_ascii_lowercase();
        if !is_label && is_free(&key) {
            self.left_out.push(short(name));
            return;
        }
        if self
            .said
            .get(&key)
            .is_none_or(|old| rank(old) < rank(&said))
        {
            self.said.insert(key, said);
        }
    }

    /// What is said under this name, in lower case and without the beginning: `check_http`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Said> {
        self.said.get(name)
    }

    /// What is said there, unless it says no.
    fn flag(&self, name: &str) -> Option<&Said> {
        let no = |said: &&Said| {
            let words = ["0", "false", "no"];
            let value = said.value.trim();
            words.iter().any(|word| value.eq_ignore_ascii_case(word))
        };
        self.get(name).filter(|said| !no(said))
    }

    /// Where the wish stands not to be announced.
    #[must_use]
    pub fn ignored(&self) -> Option<&Said> {
        self.flag("ignore")
    }

    /// The tags; a comma that belongs to a tag has a backslash in front.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.get("tags")
            .map_or_else(Vec::new, |said| split_tags(&said.value))
    }

    /// All that labels say under names which mean nothing here, without the passwords of addresses.
    #[must_use]
    pub fn meta(&self) -> BTreeMap<String, String> {
        let free = self.said.iter().filter(|(name, _)| is_free(name));
        free.map(|(name, said)| (name.clone(), without_userinfo(&said.value)))
            .collect()
    }

    /// What the environment says under such names and is not taken, in words; the values may be secrets.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let names = &self.left_out;
        let shown = names.iter().take(NAMES_SHOWN).map(String::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        (!names.is_empty()).then(|| {
            format!(
                "env {shown}{more} is not announced: free attributes are taken from labels only"
            )
        })
    }

    /// Its share of the traffic.
    ///
    /// # Errors
    ///
    /// [`Meaningless`] when what is said there is none.
    pub fn weight(&self) -> Result<Option<u16>, Meaningless> {
        let Some(said) = self.get("weight") else {
            return Ok(None);
        };
        let weight = said.value.trim().parse();
        weight.map(Some).map_err(|_| Meaningless {
            source_text: said.source.clone(),
            value: short(&said.value),
            expected: "a number from 0 to 65535",
        })
    }

    /// Checks that are asked for and not known here.
    pub fn unknown_checks(&self) -> impl Iterator<Item = &Said> {
        let unknown =
            |name: &String| name.starts_with("check_") && !CHECKS.contains(&name.as_str());
        self.said
            .iter()
            .filter(move |(name, _)| unknown(name))
            .map(|(_, said)| said)
    }

    /// The checks that are asked for, each with where it stands.
    #[must_use]
    pub fn checks(&self) -> Vec<(Check, &Said)> {
        let http = |name: &str, tls: bool| {
            let said = self.get(name)?;
            let slash = if said.value.starts_with('/') { "" } else { "/" };
            let path = format!("{slash}{}", said.value);
            let method = self.get("check_http_method");
            let method = method.map(|said| said.value.clone());
            let skip_verify = tls && self.flag("check_tls_skip_verify").is_some();
            let check = Check::Http {
                path,
                tls,
                method,
                skip_verify,
            };
            Some((check, said))
        };
        let grpc = |said| {
            let tls = self.flag("check_grpc_use_tls").is_some();
            (Check::Grpc { tls }, said)
        };
        let inside = |said: &'_ Said| Check::Inside {
            command: said.value.clone(),
        };
        let checks = [
            http("check_http", false),
            http("check_https", true),
            self.flag("check_tcp").map(|said| (Check::Tcp, said)),
            self.flag("check_grpc").map(grpc),
            self.get("check_cmd").map(|said| (inside(said), said)),
        ];
        checks.into_iter().flatten().collect()
    }

    /// `check_interval` or `check_timeout`.
    ///
    /// # Errors
    ///
    /// [`Meaningless`] when what is said there is no time.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Meaningless> {
        let Some(said) = self.get(name) else {
            return Ok(None);
        };
        let time = span::read(&said.value).filter(|time| !time.is_zero());
        time.map(Some).ok_or_else(|| Meaningless {
            source_text: said.source.clone(),
            value: short(&said.value),
            expected: "a time such as 500ms, 10s or 1m",
        })
    }
}

/// Whether a name means nothing here.
fn is_free(name: &str) -> bool {
    !KNOWN.contains(&name) && !name.starts_with("check_")
}

/// The text without what stands before the `@` of an address in it: `postgres://host/db` of `postgres://me:secret@host/db`,
/// and `tcp(host)/db` of `me:secret@tcp(host)/db`.
fn without_userinfo(text: &str) -> String {
    let ends = |it: char| it.is_whitespace() || ",;\"'<>".contains(it);
    let mut kept = String::with_capacity(text.len());
    for word in text.split_inclusive(ends) {
        let (scheme, rest) = match word.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, word),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        // Without a scheme, an address of mail has no password.
        let user = user.filter(|user| scheme.is_some() || user.contains(':'));
        let rest = rest.get(user.map_or(0, |user| user.len() + 1)..);
        if let Some(scheme) = scheme {
            kept.push_str(scheme);
            kept.push_str("://");
        }
        kept.push_str(rest.unwrap_or_default());
    }
    kept
}

/// `80_NAME` is about port 80; `80` alone is a name.
fn split_port(key: &str) -> (Option<u16>, &str) {
    let split = key.split_once('_');
    match split.map(|(number, rest)| (number.parse(), rest)) {
        Some((Ok(number), rest)) if !rest.is_empty() => (Some(number), rest),
        _ => (None, key),
    }
}

fn split_tags(text: &str) -> Vec<String> {
    let mut tags = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(',')) => {
                characters.next();
                push(&mut tags, ',');
            }
            (',', _) => tags.push(String::new()),
            (other, _) => push(&mut tags, other),
        }
    }
    tags.retain(|tag| !tag.is_empty());
    tags
}

fn push(tags: &mut [String], character: char) {
    if let Some(last) = tags.last_mut() {
        last.push(character);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::docker::fixtures::read;

    fn container(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Container {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        Container {
            labels: owned(labels),
            env: owned(env),
            ..read("docker", "published")
        }
    }

    fn of(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Conventions {
        Conventions::of(&container(labels, env), "80".parse().ok())
    }

    #[test]
    fn a_port_beats_all_ports_and_then_a_label_beats_the_environment() {
        let places = [
            ("SERVICE_NAME", "general"),
            ("SERVICE_80_NAME", "port"),
            ("SERVICE_443_NAME", "another port"),
        ];
        let name = |labels: &[(&str, &str)], env: &[(&str, &str)]| {
            let said = of(labels, env).get("name").unwrap().clone();
            (said.value, said.source, said.about_port)
        };
        assert_eq!(
            name(&places[..1], &places),
            ("port".into(), "env SERVICE_80_NAME".into(), true)
        );
        assert_eq!(name(&[("SERVICE_80_NAME", "label")], &places).0, "label");
        assert_eq!(
            name(&[("SERVICE_NAME", "label")], &places[..1]).1,
            "label SERVICE_NAME"
        );
        assert_eq!(name(&[("SERVICE_NAME", "")], &places[..1]).0, "general");
        assert_eq!(of(&[], &places[2..]).get("name"), None);
    }

    #[test]
    fn tags_are_split_at_commas_that_are_not_escaped() {
        for (text, tags) in [
            ("master,backups", vec!["master", "backups"]),
            (r"/(;\,:-_)/", vec!["/(;,:-_)/"]),
            (",a,,b,", vec!["a", "b"]),
            (r"a\b,c\", vec![r"a\b", r"c\"]),
            ("", vec![]),
        ] {
            assert_eq!(split_tags(text), tags, "{text:?}");
        }
    }

    #[test]
    fn documented_checks_are_understood() {
        let checks = |env: &[(&str, &str)]| {
            let of = of(&[], env);
            let checks = of.checks();
            checks
                .into_iter()
                .map(|(check, _)| check)
                .collect::<Vec<_>>()
        };
        let http = |path: &str, tls, method: Option<&str>| Check::Http {
            path: path.to_owned(),
            tls,
            method: method.map(str::to_owned),
            skip_verify: false,
        };
        assert_eq!(
            checks(&[("SERVICE_80_CHECK_HTTP", "/health/endpoint/path")]),
            [http("/health/endpoint/path", false, None)]
        );
        assert_eq!(
            checks(&[
                ("SERVICE_CHECK_HTTPS", "health"),
                ("SERVICE_CHECK_HTTP_METHOD", "HEAD")
            ]),
            [http("/health", true, Some("HEAD"))]
        );
        assert_eq!(
            checks(&[
                ("SERVICE_80_CHECK_TCP", "true"),
                ("SERVICE_CHECK_GRPC", "true"),
                ("SERVICE_443_CHECK_HTTP", "/other")
            ]),
            [Check::Tcp, Check::Grpc { tls: false }]
        );
        assert_eq!(checks(&[("SERVICE_CHECK_TCP", "false")]), []);
        let inside = checks(&[
            ("SERVICE_CHECK_CMD", "false"),
            ("SERVICE_80_CHECK_CMD", "sh -c 'true'"),
            ("SERVICE_443_CHECK_CMD", "false"),
        ]);
        let command = "sh -c 'true'".to_owned();
        assert_eq!(inside, [Check::Inside { command }]);
    }

    #[test]
    fn times_of_checks_are_read_and_others_refused() {
        let said = of(
            &[],
            &[
                ("SERVICE_80_CHECK_INTERVAL", "15s"),
                ("SERVICE_80_CHECK_TIMEOUT", "soon"),
            ],
        );
        let interval = said.duration("check_interval").unwrap();
        assert_eq!(interval, Some(Duration::from_secs(15)));
        let error = said.duration("check_timeout").unwrap_err().to_string();
        assert!(error.contains("env SERVICE_80_CHECK_TIMEOUT"), "{error}");
        assert_eq!(of(&[], &[]).duration("check_timeout"), Ok(None));
    }

    #[test]
    fn everything_else_of_labels_is_a_free_pair_and_unknown_checks_are_told() {
        let said = of(
            &[
                ("SERVICE_REGION", "us2"),
                ("SERVICE_80", "x"),
                ("OTHER", "y"),
            ],
            &[
                ("SERVICE_80_SNI", "enabled"),
                ("SERVICE_CHECK_SCRIPT", "true"),
                ("SERVICE_CHECK_HTTP", "/"),
                ("SERVICE_NAME", "db"),
                ("SERVICE_", "z"),
            ],
        );
        let meta: Vec<_> = said.meta().into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(meta, [pair("80", "x"), pair("region", "us2")]);
        let unknown: Vec<_> = said.unknown_checks().map(|said| &said.source).collect();
        assert_eq!(unknown, ["env SERVICE_CHECK_SCRIPT"]);
    }

    #[test]
    fn a_container_may_ask_not_to_be_announced() {
        assert!(of(&[("SERVICE_IGNORE", "1")], &[]).ignored().is_some());
        assert!(
            of(&[], &[("SERVICE_80_IGNORE", "true")])
                .ignored()
                .is_some()
        );
        assert!(
            of(&[], &[("SERVICE_443_IGNORE", "true")])
                .ignored()
                .is_none()
        );
        for no in ["false", "0", "no", "False", "NO", ""] {
            assert!(
                of(&[("SERVICE_IGNORE", no)], &[]).ignored().is_none(),
                "{no}"
            );
        }
        for yes in ["true", "1", "yes", "x"] {
            assert!(
                of(&[("SERVICE_IGNORE", yes)], &[]).ignored().is_some(),
                "{yes}"
            );
        }
    }

    #[test]
    fn the_environment_gives_no_free_pairs_and_what_is_left_out_is_told_by_name_only() {
        let env = [
            ("SERVICE_DB_PASSWORD", "hunter2"),
            ("SERVICE_80_REGION", "us2"),
            ("SERVICE_TAGS", "a"),
            ("SERVICE_WEIGHT", "5"),
            ("SERVICE_VERSION", "v1"),
        ];
        let said = of(&[], &env);
        assert_eq!(said.meta(), BTreeMap::new());
        assert_eq!(
            (said.tags(), said.weight()),
            (vec!["a".to_owned()], Ok(Some(5)))
        );
        let note = said.left_out().unwrap();
        assert!(
            note.starts_with("env SERVICE_80_REGION, SERVICE_DB_PASSWORD is not announced"),
            "{note}"
        );
        assert!(!note.contains("hunter2"));
        assert_eq!(of(&env[2..], &env[2..]).left_out(), None);
        let error = of(&[("SERVICE_WEIGHT", "70000")], &[])
            .weight()
            .unwrap_err();
        assert!(
            error.to_string().contains("label SERVICE_WEIGHT \"70000\""),
            "{error}"
        );
    }

    #[test]
    fn passwords_in_addresses_are_no_part_of_a_free_pair() {
        for (value, kept) in [
            ("postgres://me:pw@db:5432/shop", "postgres://db:5432/shop"),
            ("https://token@host/a@2x.png", "https://host/a@2x.png"),
            (
                "a=redis://:p@w@host/0 b=http://host/",
                "a=redis://host/0 b=http://host/",
            ),
            ("me:pw@tcp(db:3306)/shop", "tcp(db:3306)/shop"),
            ("http://a:b@one,http://c:d@two", "http://one,http://two"),
            ("ops@example.com", "ops@example.com"),
            ("https://host/path?x=1", "https://host/path?x=1"),
            ("\u{e4}:\u{e4}@h\u{e4}", "h\u{e4}"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(value), kept, "{value}");
        }
        let said = of(&[("SERVICE_DSN", "amqp://me:pw@mq/")], &[]);
        assert_eq!(said.meta()["dsn"], "amqp://mq/");
    }

    #[test]
    fn certificates_are_not_verified_where_the_container_says_so() {
        let skips = |value: &str| {
            let said = of(
                &[
                    ("SERVICE_CHECK_HTTPS", "/"),
                    ("SERVICE_CHECK_TLS_SKIP_VERIFY", value),
                ],
                &[],
            );
            let checks = said.checks();
            matches!(
                checks[0].0,
                Check::Http {
                    skip_verify: true,
                    tls: true,
                    ..
                }
            )
        };
        assert!(skips("true") && !skips("false"));
    }

    proptest! {
        #[test]
        fn no_name_or_value_panics(name in "(SERVICE_)?([0-9]{1,6}_)?[A-Z_\u{e4}]{0,12}", value: String) {
            let said = of(&[(&name, &value)], &[]);
            let _ = (said.tags(), said.meta(), said.checks(), said.duration("check_interval"));
            let tags = said.tags();
            prop_assert!(tags.iter().all(|tag| !tag.is_empty()));
        }
    }
}
