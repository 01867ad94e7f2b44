//! What `push` prints on standard output.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;

use serde::Serialize;

use crate::cli::output::exit::{Exit, say};
use crate::cli::output::stdout::Stdout;
use crate::push::{Difference, RouteResult, Settings};
use crate::target::{Error, Layer, Outcome, Progress};

/// The format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Text,
    /// One JSON object an upstream, each on its own line.
    Json,
}

impl FromStr for Output {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json is expected"),
        }
    }
}

/// One upstream of one target as JSON.
#[derive(Serialize)]
struct Row<'a, T: Serialize> {
    target: &'a str,
    upstream: &'a str,
    protocol: &'static str,
    /// Empty if there is an error.
    #[serde(flatten)]
    found: T,
    error: Option<String>,
}

/// The changes to make.
#[derive(Default, Serialize)]
struct ToDo {
    steps: Vec<String>,
    waiting: Vec<Waiting>,
    /// Changes that `min_servers` and the guard do not allow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    withheld: Vec<Refused>,
}

/// A server with requests in flight.
#[derive(Serialize)]
struct Waiting {
    server: String,
    /// How many, if known.
    active: Option<u64>,
}

/// The changes that were made.
#[derive(Default, Serialize)]
struct Done {
    /// Whether the upstream is equal to the records.
    equal: bool,
    /// Whether servers that must go still have requests in flight.
    draining: bool,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    step: String,
    reason: String,
}

fn refused(steps: &BTreeMap<String, String>) -> Vec<Refused> {
    let refused = steps.iter().map(|(step, reason)| Refused {
        step: step.clone(),
        reason: reason.clone(),
    });
    refused.collect()
}

/// The lines and the exit code of a result.
trait Report {
    type Row: Serialize + Default;

    fn row(&self) -> Self::Row;
    fn lines(&self) -> Vec<String>;
    fn exit(&self) -> Exit;
}

impl Report for Difference {
    type Row = ToDo;

    fn row(&self) -> ToDo {
        let waiting = self.waiting().iter().map(|(server, active)| Waiting {
            server: server.to_string(),
            active: *active,
        });
        ToDo {
            steps: self.steps().iter().map(ToString::to_string).collect(),
            waiting: waiting.collect(),
            withheld: refused(self.withheld()),
        }
    }

    fn lines(&self) -> Vec<String> {
        match self.is_none() {
            true => vec!["equal to the records".to_owned()],
            false => self.to_string().lines().map(str::to_owned).collect(),
        }
    }

    fn exit(&self) -> Exit {
        match self.is_none() {
            true => Exit::Done,
            false => Exit::Different,
        }
    }
}

impl Report for Outcome {
    type Row = Done;

    fn row(&self) -> Done {
        Done {
            equal: self.exit() == Exit::Done,
            draining: self.progress != Progress::Converged,
            refused: refused(&self.refused),
        }
    }

    fn lines(&self) -> Vec<String> {
        let done = match self.progress {
            Progress::Converged if self.refused.is_empty() => "equal to the records",
            Progress::Converged => "not equal to the records",
            _ => "still draining",
        };
        let refused = self.refused.iter();
        let refused = refused.map(|(step, reason)| match step.starts_with("server ") {
            true => format!("cannot add {step}: {reason}"),
            false => format!("cannot {step}: {reason}"),
        });
        std::iter::once(done.to_owned()).chain(refused).collect()
    }

    fn exit(&self) -> Exit {
        match self.progress == Progress::Converged && self.refused.is_empty() {
            true => Exit::Done,
            false => Exit::No,
        }
    }
}

/// Prints what would change.
pub(super) fn differences(
    results: Vec<RouteResult<Difference>>,
    output: Output,
) -> anyhow::Result<Exit> {
    report(&results, output)
}

/// Prints what was changed.
pub(super) fn outcomes(results: Vec<RouteResult<Outcome>>, output: Output) -> anyhow::Result<Exit> {
    report(&results, output)
}

/// The most severe exit code wins: an upstream that cannot be changed is worse than one that differs.
fn gravity(exit: Exit) -> (bool, Exit) {
    (!matches!(exit, Exit::Done | Exit::Different), exit)
}

fn exit_of<T: Report>(result: &Result<T, Error>) -> Exit {
    match result {
        Ok(found) => found.exit(),
        Err(error) if error.is_out_of_reach() => Exit::Unavailable,
        Err(_) => Exit::No,
    }
}

/// Prints the result of every upstream and returns the most severe exit code.
fn report<T: Report>(results: &[RouteResult<T>], output: Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let mut out = Stdout;
    for result in results {
        exit = std::cmp::max_by_key(exit, exit_of(&result.result), |exit| gravity(*exit));
        match output {
            Output::Text => text(&mut out, result)?,
            Output::Json => json(&mut out, result)?,
        }
    }
    Ok(exit)
}

fn text<T: Report>(out: &mut impl Write, result: &RouteResult<T>) -> std::io::Result<()> {
    let place = format!("{} {}", result.target, result.route.upstream);
    match &result.result {
        Ok(found) => {
            let mut lines = found.lines().into_iter();
            lines.try_for_each(|line| writeln!(out, "{place}: {line}"))
        }
        Err(error) => {
            say(&format!("sidekick: {place}: {error}"));
            Ok(())
        }
    }
}

fn json<T: Report>(out: &mut impl Write, result: &RouteResult<T>) -> anyhow::Result<()> {
    let found = result.result.as_ref();
    let row = Row {
        target: &result.target,
        upstream: result.route.upstream.as_str(),
        protocol: protocol(result.route.layer),
        found: found.map(T::row).unwrap_or_default(),
        error: found.err().map(Error::to_string),
    };
    writeln!(out, "{}", serde_json::to_string(&row)?)?;
    Ok(())
}

fn protocol(layer: Layer) -> &'static str {
    match layer {
        Layer::Http => "http",
        Layer::Stream => "stream",
    }
}

/// Prints one line.
pub(super) fn line(text: &str) -> std::io::Result<()> {
    writeln!(Stdout, "{text}")
}

/// Prints what a configuration means.
pub(super) fn settings(settings: &Settings) -> anyhow::Result<Exit> {
    let mut out = Stdout;
    let (prefix, meta) = (&settings.prefix, &settings.meta);
    writeln!(
        out,
        "pusher {}: records under {prefix}, own keys under {meta}",
        settings.id
    )?;
    for target in &settings.targets {
        writeln!(out, "{} ({}):", target.name(), target.settings().place())?;
        for route in target.routes() {
            let (protocol, upstream) = (protocol(route.layer), &route.upstream);
            writeln!(
                out,
                "  {protocol} upstream {upstream} takes service {}",
                route.service
            )?;
        }
    }
    Ok(Exit::Done)
}
