//! `sidekick status`.

use std::io::Write;

use serde_json::{Value, json};

use crate::admin::overview::Line;
use crate::admin::status::{Lag, Pusher, Status, status};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::records;
use crate::cli::output::records::Output;
use crate::cli::output::stdout::Stdout;
use crate::model::Quarantined;
use crate::util::sanitize::short;

mod tables;

use tables::tables;

/// Shows every live pusher: its targets with their errors and servers, what it has applied, how far it is behind, which
/// instances it does not route or cannot let go, and quarantined records.
///
/// The number of servers in an upstream is what its pusher last read, --resync ago at most. When etcd has no space left, no pusher
/// can report anything new, and status says so. Revisions are etcd's. A pusher is shown as behind since the oldest change whose
/// time is known. Load balancers whose pusher is silent are shown too: they keep routing to their last servers until the
/// pusher is back or `sidekick push --retire --id ID` removes them.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick status --output json")]
pub(crate) struct Args {
    #[command(flatten)]
    output: records::Args,

    #[command(flatten)]
    etcd: etcd::OneShot,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let output = self.output.parse(&mut mistakes);
        let place = self.etcd.place(&mut mistakes);
        let (output, place) = mistakes.none_or(output.zip(place))?;
        let status = status(&place).await?;
        let (pushers, quarantined) = (&status.pushers, &status.quarantined);
        if pushers.is_empty() {
            note("there is no live pusher");
        }
        if status.out_of_space {
            note(format_args!("{NO_SPACE}"));
        }
        let text = match output {
            Output::Table => tables(&status),
            Output::Json => {
                let pushers_own =
                    |it: &&Quarantined| pushers.iter().any(|pusher| pusher.quarantines(it));
                let nobodys = quarantined.iter().filter(|it| !pushers_own(it));
                let nobodys = nobodys.map(|it| records::object(&Line::Quarantined(it.clone())));
                let pushers = pushers.iter().map(|pusher| object(pusher, quarantined));
                let nobodys = nobodys.map(Value::Object);
                let all = pushers.chain(nobodys).chain(others(&status));
                lines(all.map(|it| it.to_string()))
            }
            Output::Plain => {
                for quarantined in quarantined {
                    note(format_args!("quarantined: {quarantined}"));
                }
                lines(pushers.iter().flat_map(plain))
            }
        };
        Stdout.write_all(text.as_bytes())?;
        Ok(Exit::Done)
    }
}

/// What it means that etcd has no space, and the way out.
const NO_SPACE: &str = "etcd has no space left and refuses to write: everything that pushers report here may be old. Make room \
    (etcdctl compact, etcdctl defrag for each member), then let it write again: etcdctl alarm disarm";

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

/// `PUSHER SERVICE APPLIED NEWEST`
fn plain(pusher: &Pusher) -> Vec<String> {
    let line = |(service, lag): (&crate::model::ServiceName, &Lag)| {
        format!("{} {service} {} {}", pusher.id, lag.applied, lag.newest)
    };
    if let Err(reason) = &pusher.status_record {
        note(format_args!("quarantined: {}: {reason}", short(&pusher.id)));
    }
    pusher.lags.iter().map(line).collect()
}

/// Load balancers without a live pusher, conflicts, and ignored keys.
fn others(status: &Status) -> impl Iterator<Item = Value> {
    let silent = status.silent.iter().map(|(id, silent)| {
        let balancer = &silent.balancer;
        let services: Vec<_> = balancer.services.iter().map(ToString::to_string).collect();
        json!({
            "silent": id.to_string(),
            "prefix": balancer.prefix.as_str(),
            "services": services,
            "targets": balancer.targets,
            "since": balancer.since.to_string(),
            "fed_by": silent.fed_by,
        })
    });
    let conflicts = status.conflicts.iter().map(|conflict| {
        let pushers = conflict.pushers.iter().cloned();
        let pushers: std::collections::BTreeMap<_, _> = pushers.collect();
        json!({"conflict": conflict.target, "prefixes": pushers})
    });
    let ignored = status.ignored.iter();
    let ignored = ignored.map(|(key, reason)| json!({"ignored": key, "reason": reason}));
    let alarm = status
        .out_of_space
        .then(|| json!({"alarm": "NOSPACE", "reason": NO_SPACE}));
    silent.chain(conflicts).chain(ignored).chain(alarm)
}

/// The whole status record, with fields that this version does not know, the lag, and the records that this pusher
/// quarantined.
fn object(pusher: &Pusher, quarantined: &[Quarantined]) -> Value {
    let mut fields = pusher.raw.clone();
    fields.insert("pusher".into(), pusher.id.as_str().into());
    if let Err(reason) = &pusher.status_record {
        fields.insert("unreadable".into(), reason.to_string().into());
    }
    let lag = |(service, lag): (&crate::model::ServiceName, &Lag)| {
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
    let own = quarantined
        .iter()
        .filter(|quarantined| pusher.quarantines(quarantined));
    let own = own.map(|quarantined| {
        let service = quarantined.service.as_ref().map(|name| name.as_str());
        let reason = quarantined.why();
        json!({"key": quarantined.key, "service": service, "reason": reason})
    });
    fields.insert("quarantined".into(), Value::Array(own.collect()));
    Value::Object(fields)
}
