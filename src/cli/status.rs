//! `sidekick status`.

use std::io::Write;

use serde_json::{Value, json};

use super::output::{self, Output};
use super::table::{Cell, Column, Tone, age, table};
use super::{Exit, Mistakes, etcd};
use crate::hand::roster::Line;
use crate::hand::status::{Lag, Pusher, Status, status};
use crate::printable::short;
use crate::record::{Kept, Quarantined};

const TARGETS: [Column; 5] = [
    ("PUSHER", 40),
    ("UP", 6),
    ("TARGET", 70),
    ("STATE", 10),
    ("LAST ERROR", 240),
];

const KEPT: [Column; 5] = [
    ("PUSHER", 40),
    ("UPSTREAM", 60),
    ("KEPT", 10),
    ("WHY", 80),
    ("UNTIL IT ENDS BY ITSELF", 60),
];

const RELEASE: &str = "`sidekick release UPSTREAM` lets them go at once.\n";

const QUARANTINED: [Column; 2] = [("SET ASIDE", 100), ("REASON", 120)];

const SERVICES: [Column; 5] = [
    ("PUSHER", 40),
    ("SERVICE", 60),
    ("APPLIED", 20),
    ("NEWEST", 20),
    ("BEHIND", 30),
];

/// Shows every live pusher: its targets, what it has applied, how far it is behind, its last error, and what cannot be read.
///
/// Revisions are etcd's. A pusher that is behind is said to be so since the oldest change whose time is known.
///
/// Example: sidekick status --output json
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    output: output::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Args {
    pub(super) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let output = self.output.parse(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let (output, place) = mistakes.none_or(output.zip(place))?;
        let status = status(&place).await?;
        let (pushers, quarantined) = (&status.pushers, &status.quarantined);
        if pushers.is_empty() {
            super::exit::say("sidekick: there is no live pusher");
        }
        let text = match output {
            Output::Table => tables(&status),
            Output::Json => {
                let pushers_own =
                    |it: &&Quarantined| pushers.iter().any(|pusher| pusher.sets_aside(it));
                let nobodys = quarantined.iter().filter(|it| !pushers_own(it));
                let nobodys = nobodys.map(|it| output::object(&Line::Unreadable(it.clone())));
                let pushers = pushers.iter().map(|pusher| object(pusher, quarantined));
                lines(
                    pushers
                        .chain(nobodys.map(Value::Object))
                        .map(|it| it.to_string()),
                )
            }
            Output::Plain => {
                for quarantined in quarantined {
                    super::exit::say(&format!("sidekick: left out: {quarantined}"));
                }
                lines(pushers.iter().flat_map(plain))
            }
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(Exit::Done)
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn tables(status: &Status) -> String {
    let pushers = || status.pushers.iter();
    let parts = [
        (&TARGETS[..], pushers().flat_map(target_rows).collect(), ""),
        (&SERVICES, pushers().flat_map(service_rows).collect(), ""),
        (&KEPT, pushers().flat_map(kept_rows).collect(), RELEASE),
        (
            &QUARANTINED,
            status.quarantined.iter().map(quarantined_row).collect(),
            "",
        ),
    ];
    let shown = parts
        .into_iter()
        .filter(|(_, rows, _): &(_, Vec<_>, _)| !rows.is_empty());
    let shown = shown.map(|(columns, rows, note)| table(columns, &rows) + note);
    shown.collect::<Vec<_>>().join("\n")
}

fn quarantined_row(quarantined: &Quarantined) -> Vec<Cell> {
    vec![
        Cell::new(quarantined.key.as_str()),
        Cell::toned(quarantined.reason.to_string(), Tone::Bad),
    ]
}

fn target_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let name = || Cell::new(pusher.id.as_str());
    let presence = match &pusher.presence {
        Ok(presence) => presence,
        Err(reason) => {
            let state = Cell::toned("unreadable", Tone::Bad);
            let reason = Cell::toned(reason.to_string(), Tone::Bad);
            return vec![vec![
                name(),
                Cell::default(),
                Cell::default(),
                state,
                reason,
            ]];
        }
    };
    let up = || Cell::new(age(presence.since));
    let row = |(target, health): (&String, &crate::record::TargetStatus)| {
        let (state, tone) = match (health.ok, health.errors.is_empty()) {
            (true, _) => ("ok", Tone::Good),
            (false, true) => ("starting", Tone::Notable),
            (false, false) => ("failing", Tone::Bad),
        };
        let error = health.errors.join("; ");
        vec![
            name(),
            up(),
            Cell::new(target.as_str()),
            Cell::toned(state, tone),
            Cell::new(error),
        ]
    };
    if presence.targets.is_empty() {
        return vec![vec![name(), up(), Cell::new("none yet")]];
    }
    presence.targets.iter().map(row).collect()
}

fn service_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let row = |(service, lag): (&crate::record::ServiceName, &Lag)| {
        let tone = if lag.is_none() {
            Tone::Good
        } else {
            Tone::Notable
        };
        vec![
            Cell::new(pusher.id.as_str()),
            Cell::new(service.as_str()),
            Cell::new(lag.applied.to_string()),
            Cell::new(lag.newest.to_string()),
            Cell::toned(behind(lag), tone),
        ]
    };
    pusher.lags.iter().map(row).collect()
}

/// The servers that are kept although their records are gone.
fn kept_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let kept = pusher.presence.iter().flat_map(|presence| &presence.kept);
    let row = |(upstream, kept): (&String, &Kept)| {
        let reasons = [
            (kept.floor, "the last that take traffic"),
            (kept.guard, "too many vanished at once"),
        ];
        let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> = reasons
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        let until = match kept.until {
            Some(until) => format!("{until}, or when others take traffic"),
            None => "when others take traffic".to_owned(),
        };
        vec![
            Cell::new(pusher.id.as_str()),
            Cell::new(upstream.as_str()),
            Cell::toned((kept.floor + kept.guard).to_string(), Tone::Notable),
            Cell::new(reasons.join(", ")),
            Cell::new(until),
        ]
    };
    kept.map(row).collect()
}

fn behind(lag: &Lag) -> String {
    if lag.is_none() {
        return "no".to_owned();
    }
    let changes = match lag.changes {
        0 => "nothing applied yet".to_owned(),
        1 => "1 change".to_owned(),
        several => format!("{several} changes"),
    };
    let since = lag.since.map(|since| format!(", {}", age(since)));
    changes + &since.unwrap_or_default()
}

/// `PUSHER SERVICE APPLIED NEWEST`
fn plain(pusher: &Pusher) -> Vec<String> {
    let line = |(service, lag): (&crate::record::ServiceName, &Lag)| {
        format!("{} {service} {} {}", pusher.id, lag.applied, lag.newest)
    };
    if let Err(reason) = &pusher.presence {
        super::exit::say(&format!(
            "sidekick: left out: {}: {reason}",
            short(&pusher.id)
        ));
    }
    pusher.lags.iter().map(line).collect()
}

/// All that stands in etcd, also what is not known here, with the lag added, and what it sets aside.
fn object(pusher: &Pusher, quarantined: &[Quarantined]) -> Value {
    let mut fields = pusher.raw.clone();
    fields.insert("pusher".into(), pusher.id.as_str().into());
    if let Err(reason) = &pusher.presence {
        fields.insert("unreadable".into(), reason.to_string().into());
    }
    let lag = |(service, lag): (&crate::record::ServiceName, &Lag)| {
        let since = lag.since.map(|since| since.to_string());
        let lag = json!({
            "applied": lag.applied,
            "newest": lag.newest,
            "changes": lag.changes,
            "since": since,
        });
        (service.to_string(), lag)
    };
    let lags = pusher.lags.iter().map(lag);
    fields.insert("lag".into(), Value::Object(lags.collect()));
    let aside = quarantined
        .iter()
        .filter(|quarantined| pusher.sets_aside(quarantined));
    let aside = aside.map(|quarantined| {
        let service = quarantined.service.as_ref().map(|name| name.as_str());
        let reason = quarantined.reason.to_string();
        json!({"key": quarantined.key, "service": service, "reason": reason})
    });
    fields.insert("quarantined".into(), Value::Array(aside.collect()));
    Value::Object(fields)
}
