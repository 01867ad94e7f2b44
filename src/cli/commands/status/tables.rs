//! The tables of `sidekick status`.

use crate::admin::status::{Conflict, Lag, Pusher, Silent, Status};
use crate::cli::output::table::{Cell, Column, Tone, age, table};
use crate::model::{Protected, PusherId, Quarantined, ServiceName, TargetStatus, UpstreamStatus};

const TARGETS: [Column; 6] = [
    ("PUSHER", 40),
    ("UP", 6),
    ("PREFIX", 30),
    ("TARGET", 70),
    ("STATE", 11),
    ("ERRORS", 240),
];

const UPSTREAMS: [Column; 5] = [
    ("PUSHER", 40),
    ("TARGET", 70),
    ("UPSTREAM", 60),
    ("SERVERS WANTED", 14),
    ("HAS", 10),
];

const SERVICES: [Column; 5] = [
    ("PUSHER", 40),
    ("SERVICE", 60),
    ("APPLIED", 20),
    ("NEWEST", 20),
    ("BEHIND", 30),
];

const INSTANCES: [Column; 4] = [("PUSHER", 40), ("INSTANCE", 100), ("IS", 12), ("WHY", 240)];

const PROTECTED: [Column; 5] = [
    ("PUSHER", 40),
    ("UPSTREAM", 60),
    ("PROTECTED", 60),
    ("WHY", 80),
    ("UNTIL", 60),
];

const SILENT: [Column; 5] = [
    ("SILENT", 40),
    ("PREFIX", 30),
    ("SERVICES", 80),
    ("TARGETS", 120),
    ("WHAT THAT MEANS", 100),
];

const CONFLICTS: [Column; 2] = [("CONFLICT AT", 70), ("PUSHERS", 160)];

const IGNORED: [Column; 2] = [("IGNORED", 100), ("REASON", 120)];

const QUARANTINED: [Column; 2] = [("QUARANTINED", 100), ("REASON", 120)];

const RELEASE: &str = "`sidekick release UPSTREAM` lets them go at once.\n";

const RETIRE: &str =
    "For a load balancer that is gone for good: `sidekick push --retire --id ID`.\n";

/// How many ignored keys are listed. Anyone who can write to etcd can make any number of them.
const MOST: usize = 20;

/// A line that counts the rest.
fn more(all: usize) -> String {
    match all.saturating_sub(MOST) {
        0 => String::new(),
        more => format!("and {more} more: --output json has all of them\n"),
    }
}

pub(super) fn tables(status: &Status) -> String {
    let pushers = || status.pushers.iter();
    let silent = status.silent.iter();
    let ignored = status.ignored.iter();
    let quarantined = status.quarantined.iter();
    let parts = [
        (&TARGETS[..], pushers().flat_map(target_rows).collect(), ""),
        (&UPSTREAMS, pushers().flat_map(upstream_rows).collect(), ""),
        (&SERVICES, pushers().flat_map(service_rows).collect(), ""),
        (&INSTANCES, pushers().flat_map(instance_rows).collect(), ""),
        (
            &PROTECTED,
            pushers().flat_map(protected_rows).collect(),
            RELEASE,
        ),
        (&SILENT, silent.map(silent_row).collect(), RETIRE),
        (
            &CONFLICTS,
            status.conflicts.iter().map(conflict_row).collect(),
            "",
        ),
        (
            &IGNORED,
            ignored.take(MOST).map(|(key, why)| two(key, why)).collect(),
            &more(status.ignored.len()),
        ),
        (
            &QUARANTINED,
            quarantined.take(MOST).map(quarantined_row).collect(),
            &more(status.quarantined.len()),
        ),
    ];
    let shown = parts
        .into_iter()
        .filter(|(_, rows, _): &(_, Vec<_>, _)| !rows.is_empty());
    let shown = shown.map(|(columns, rows, note)| table(columns, &rows) + note);
    shown.collect::<Vec<_>>().join("\n")
}

fn two(key: &str, why: &str) -> Vec<Cell> {
    vec![Cell::new(key), Cell::toned(why, Tone::Bad)]
}

fn quarantined_row(quarantined: &Quarantined) -> Vec<Cell> {
    two(&quarantined.key, &quarantined.why())
}

/// A row for a target, and one for each further error.
fn target_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let name = || Cell::new(pusher.id.as_str());
    let status_record = match &pusher.status_record {
        Ok(status_record) => status_record,
        Err(reason) => {
            let bad = |text: String| Cell::toned(text, Tone::Bad);
            let none = Cell::default;
            let state = bad("quarantined".to_owned());
            return vec![vec![
                name(),
                none(),
                none(),
                none(),
                state,
                bad(reason.to_string()),
            ]];
        }
    };
    let prefix = status_record.prefix.as_ref();
    let prefix = prefix.map_or(String::new(), ToString::to_string);
    let begin = || {
        vec![
            name(),
            Cell::new(age(status_record.since)),
            Cell::new(prefix.as_str()),
        ]
    };
    let mut rows = Vec::new();
    for (target, health) in &status_record.targets {
        let (state, tone) = match (health.ok, health.errors.is_empty()) {
            (true, true) => ("ok", Tone::Good),
            (false, true) => ("starting", Tone::Notable),
            (_, false) => ("failing", Tone::Bad),
        };
        let mut errors = health.errors.iter().map(|error| Cell::new(error.as_str()));
        let mut row = begin();
        row.push(Cell::new(target.as_str()));
        row.push(Cell::toned(state, tone));
        row.push(errors.next().unwrap_or_default());
        rows.push(row);
        for error in errors {
            let mut row = vec![Cell::default(); 5];
            row.push(error);
            rows.push(row);
        }
    }
    if rows.is_empty() {
        let mut row = begin();
        row.push(Cell::new("none yet"));
        rows.push(row);
    }
    rows
}

fn upstreams(pusher: &Pusher) -> impl Iterator<Item = (&String, &String, &UpstreamStatus)> {
    let targets = pusher
        .status_record
        .iter()
        .flat_map(|status_record| &status_record.targets);
    targets.flat_map(|(target, status): (&String, &TargetStatus)| {
        let upstreams = status.upstreams.iter();
        upstreams.map(move |(name, upstream)| (target, name, upstream))
    })
}

fn upstream_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let row = |(target, name, upstream): (&String, &String, &UpstreamStatus)| {
        let (has, tone) = match upstream.has {
            None => ("unknown".to_owned(), Tone::Notable),
            Some(has) if has == upstream.wanted => (has.to_string(), Tone::Good),
            Some(has) => (has.to_string(), Tone::Notable),
        };
        vec![
            Cell::new(pusher.id.as_str()),
            Cell::new(target.as_str()),
            Cell::new(name.as_str()),
            Cell::new(upstream.wanted.to_string()),
            Cell::toned(has, tone),
        ]
    };
    upstreams(pusher).map(row).collect()
}

fn service_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let row = |(service, lag): (&ServiceName, &Lag)| {
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

/// Instances with a record that are not routed, and those that have left and still are.
fn instance_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let services = pusher
        .status_record
        .iter()
        .flat_map(|status_record| &status_record.services);
    let mut rows = Vec::new();
    for (service, status) in services {
        for (is, reasons) in [
            ("not routed", &status.not_routed),
            ("still routed", &status.still_routed),
        ] {
            let mut add = |instance: String, why: &str| {
                rows.push(vec![
                    Cell::new(pusher.id.as_str()),
                    Cell::new(instance),
                    Cell::toned(is, Tone::Notable),
                    Cell::new(why),
                ]);
            };
            for (instance, why) in &reasons.listed {
                add(format!("{service}/{instance}"), why);
            }
            if reasons.more > 0 {
                add(format!("{service}: {} more", reasons.more), "");
            }
        }
    }
    rows
}

/// Servers that stay although their records are gone or say otherwise. Several targets of a pusher protect the same ones.
fn protected_rows(pusher: &Pusher) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (_, name, upstream) in upstreams(pusher) {
        let mut add = |server: String, why: &str, until: String| {
            let row = vec![
                Cell::new(pusher.id.as_str()),
                Cell::new(name.as_str()),
                Cell::toned(server, Tone::Notable),
                Cell::new(why),
                Cell::new(until),
            ];
            if !rows.contains(&row) {
                rows.push(row);
            }
        };
        for Protected { server, why, until } in &upstream.protected {
            let until = match until {
                Some(until) => format!("{until}, or when others take traffic"),
                None => "when others take traffic".to_owned(),
            };
            add(server.to_string(), why, until);
        }
        if upstream.protected_more > 0 {
            add(
                format!("{} more", upstream.protected_more),
                "",
                String::new(),
            );
        }
    }
    rows
}

fn silent_row((id, silent): &(PusherId, Silent)) -> Vec<Cell> {
    let Silent { balancer, fed_by } = silent;
    let services: Vec<_> = balancer.services.iter().map(ToString::to_string).collect();
    let targets: Vec<_> = balancer.targets.iter().map(String::as_str).collect();
    let what = if fed_by.is_empty() {
        Cell::toned("it may still send requests to its last servers", Tone::Bad)
    } else {
        Cell::new(format!(
            "nothing: {} feeds the same upstreams",
            fed_by.join(", ")
        ))
    };
    let id = Cell::new(id.as_str());
    vec![
        id,
        Cell::new(balancer.prefix.as_str()),
        Cell::new(services.join(", ")),
        Cell::new(targets.join(", ")),
        what,
    ]
}

fn conflict_row(conflict: &Conflict) -> Vec<Cell> {
    let one = |(pusher, prefix): &(String, String)| format!("{pusher} follows {prefix}");
    let pushers: Vec<_> = conflict.pushers.iter().map(one).collect();
    let pushers = format!("{}: they undo each other's changes", pushers.join(", "));
    two(&conflict.target, &pushers)
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
