//! Records, holds and splits as people and programs read them.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::table::{Cell, Column, Tone, age};
use crate::admin::Place;
use crate::admin::overview::{Held, InstanceState, Line};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::service;
use crate::model::{
    Format, Hold, HoldScope, Protocol, Reason, Record, ServiceName, Split, UnknownWord,
};
use crate::util::sanitize::{printable, short};

/// Output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Columns.
    Table,
    /// One object a line.
    Json,
    /// A few words a line, for scripts.
    Plain,
}

/// The option of every command that shows something.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Output format: table, json (one object a line) or plain (a few words a line, for scripts).
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        env = "SIDEKICK_OUTPUT"
    )]
    output: String,
}

impl Args {
    pub(crate) fn parse(&self, mistakes: &mut Mistakes) -> Option<Output> {
        mistakes.parse("--output", &self.output)
    }
}

/// The arguments of commands that show records.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Which {
    /// Only this service.
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    output: Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Which {
    pub(crate) fn parse(
        &self,
        mistakes: &mut Mistakes,
    ) -> Option<(Option<ServiceName>, Output, Place)> {
        let only = service(mistakes, self.service.as_deref());
        let output = self.output.parse(mistakes);
        let place = self.etcd.place(mistakes);
        Some((only, output?, place?))
    }
}

impl FromStr for Output {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "plain" => Ok(Self::Plain),
            _ => Err(UnknownWord {
                expected: "table, json or plain",
            }),
        }
    }
}

/// The columns of records.
pub(crate) const COLUMNS: [Column; 6] = [
    ("INSTANCE", 60),
    ("ADDRESS", 70),
    ("STATE", 11),
    ("WEIGHT", 6),
    ("SINCE", 6),
    ("NOTE", 120),
];

/// A line's cells under [`COLUMNS`].
pub(crate) fn cells(line: &Line) -> Vec<Cell> {
    match line {
        Line::Record { id, record, holds } => {
            let state = line.state().unwrap_or(InstanceState::Up);
            let tone = match state {
                InstanceState::Up => Tone::Good,
                InstanceState::Draining | InstanceState::Held => Tone::Notable,
                InstanceState::Down => Tone::Bad,
            };
            let record = &record.value;
            let udp = (record.protocol != Protocol::Tcp).then(|| record.protocol.to_string());
            let reason = record.reason.as_ref().map(short);
            let notes = holds.iter().map(held_in_words).chain(reason).chain(udp);
            let notes: Vec<_> = notes.collect();
            vec![
                Cell::new(id.to_string()),
                Cell::new(record.address().to_string()),
                Cell::toned(state.as_str(), tone),
                Cell::new(record.effective_weight().to_string()),
                Cell::new(record.since.map(age).unwrap_or_default()),
                Cell::new(notes.join("; ")),
            ]
        }
        Line::Split { service, split } => vec![
            Cell::new(service.as_str()),
            Cell::default(),
            Cell::toned("split", Tone::Notable),
            Cell::default(),
            Cell::new(split.value.since.map(age).unwrap_or_default()),
            Cell::new(split_in_words(&split.value)),
        ],
        Line::Hold(held) => vec![
            Cell::new(held.value.scope.to_string()),
            Cell::default(),
            Cell::toned(InstanceState::Held.as_str(), Tone::Notable),
            Cell::default(),
            Cell::default(),
            Cell::new(match &held.value.hold {
                Ok(hold) => hold_in_words(hold),
                Err(reason) => quarantined_hold(reason),
            }),
        ],
        Line::Quarantined(quarantined) => vec![
            Cell::new(quarantined.key.as_str()),
            Cell::default(),
            Cell::toned("quarantined", Tone::Bad),
            Cell::default(),
            Cell::default(),
            Cell::toned(quarantined.why(), Tone::Bad),
        ],
    }
}

/// A hold, with its scope where that is more than the instance.
fn held_in_words(held: &Held) -> String {
    let words = match &held.hold {
        Ok(hold) => hold_in_words(hold),
        Err(reason) => quarantined_hold(reason),
    };
    match &held.scope {
        HoldScope::Instance(_) => words,
        HoldScope::Service(service) => format!("all of {service}: {words}"),
        HoldScope::Host(host) => format!("host {host}: {words}"),
    }
}

fn quarantined_hold(reason: &Reason) -> String {
    format!("the hold is quarantined and still holds: {reason}")
}

/// A hold as an object.
fn held_object(held: &Held) -> Value {
    let mut fields: Map<String, Value> = match &held.hold {
        Ok(hold) => serde_json::from_slice(&hold.encode()).unwrap_or_default(),
        Err(reason) => Map::from_iter([("unreadable".to_owned(), reason.to_string().into())]),
    };
    fields.insert("scope".into(), held.scope.kind().into());
    Value::Object(fields)
}

/// Its reason and its end.
fn hold_in_words(hold: &Hold) -> String {
    let mut words = short(&hold.reason);
    if let Some(until) = hold.until {
        words.push_str(&format!(", until {until}"));
    }
    if let Some(by) = &hold.by {
        words.push_str(&format!(", by {}", printable(by, 60)));
    }
    words
}

/// `VERSION=WEIGHT …`
pub(crate) fn split_in_words(split: &Split) -> String {
    let weights = split.weights().iter();
    let weights = weights.map(|(version, weight)| format!("{version}={weight}"));
    weights.collect::<Vec<_>>().join(" ")
}

/// A line in a few words: `SERVICE/INSTANCE HOST:PORT[/VERSION] STATE`; `None` where there is no record.
pub(crate) fn plain(line: &Line) -> Option<String> {
    let Line::Record { id, record, .. } = line else {
        return None;
    };
    let state = line.state()?.as_str();
    Some(format!("{id} {} {state}", record.value.address()))
}

/// A line as an object. JSON escapes what is not printable.
pub(crate) fn object(line: &Line) -> Map<String, Value> {
    match line {
        Line::Record { id, record, holds } => {
            // An unknown field must not replace one of ours.
            let known = Record {
                extra: Map::new(),
                ..record.value.clone()
            };
            let value = known.encode(Format::Json);
            let mut fields: Map<_, _> = serde_json::from_slice(&value).unwrap_or_default();
            if !record.value.extra.is_empty() {
                fields.insert("extra".into(), record.value.extra.clone().into());
            }
            fields.insert("service".into(), id.service.as_str().into());
            fields.insert("instance".into(), id.instance.as_str().into());
            // etcd omits the default; print it, so that scripts need not know it.
            let state = line.state().map(InstanceState::as_str);
            fields.insert("state".into(), state.into());
            fields.insert("weight".into(), record.value.effective_weight().into());
            if let Some(held) = holds.first() {
                fields.insert("hold".into(), held_object(held));
            }
            fields.insert("revision".into(), record.revision.into());
            fields.insert("leased".into(), (record.lease != 0).into());
            fields
        }
        Line::Split { service, split } => {
            let value: Value = serde_json::from_slice(&split.value.encode()).unwrap_or_default();
            let mut fields = Map::new();
            fields.insert("service".into(), service.as_str().into());
            fields.insert("split".into(), value);
            fields.insert("revision".into(), split.revision.into());
            fields
        }
        Line::Hold(held) => {
            let mut fields = Map::new();
            let name = match &held.value.scope {
                HoldScope::Instance(id) => ("instance", id.to_string()),
                HoldScope::Service(service) => ("service", service.to_string()),
                HoldScope::Host(host) => ("host", host.to_string()),
            };
            fields.insert(name.0.into(), name.1.into());
            fields.insert("hold".into(), held_object(&held.value));
            fields.insert("revision".into(), held.revision.into());
            fields
        }
        Line::Quarantined(quarantined) => {
            let service = quarantined.service.as_ref().map(|name| name.as_str());
            let fields = json!({
                "service": service,
                "unreadable": quarantined.key,
                "reason": quarantined.why(),
            });
            match fields {
                Value::Object(fields) => fields,
                _ => Map::new(),
            }
        }
    }
}
