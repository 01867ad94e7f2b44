//! `sidekick watch`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::admin::follow;
use crate::admin::follow::Follow;
use crate::admin::overview::{Line, Overview};
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::records;
use crate::cli::output::records::{COLUMNS, Output};
use crate::cli::output::stdout::Stdout;
use crate::cli::output::table::{Cell, Column, Table, Tone};
use crate::systemd::notify;
use crate::util::shutdown;

/// Shows the records and every change of them, until interrupted.
///
/// plain is EVENT SERVICE/INSTANCE HOST:PORT[/VERSION] STATE; the events are listed, added, changed and removed.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick watch website --output json")]
pub(crate) struct Args {
    #[command(flatten)]
    which: records::Which,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let which = self.which.parse(&mut mistakes);
        let (only, output, place) = mistakes.none_or(which)?;
        let mut stop = shutdown::on_signals(notify::stopping)?;
        // If etcd cannot be reached at the start, fail at once; later outages are tolerated.
        let overview = follow::read(&place, only.as_ref()).await?;
        let mut view = View::new(output);
        view.show(&overview, overview.keys(), Event::Listed)?;
        if view.known.is_empty() {
            note("there are no records yet");
        }
        let mut follow = Follow::new(&place, only.as_ref());
        let mut touched = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.leave() => return Ok(Exit::Done),
                keys = follow.next() => touched.extend(keys),
            }
            if let Some(overview) = follow.overview() {
                // Remove what the first listing no longer has.
                touched.extend(view.stale(overview));
                view.show(overview, std::mem::take(&mut touched), Event::Changed)?;
            }
        }
    }
}

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Listed,
    Added,
    Changed,
    Removed,
}

impl Event {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What is shown so far, and in which format.
struct View {
    output: Output,
    table: Table,
    known: BTreeMap<Vec<u8>, Line>,
    /// Whether the first listing has been compared with what is shown.
    compared: bool,
}

impl View {
    fn new(output: Output) -> Self {
        let columns: Vec<Column> = [("TIME", 9), ("EVENT", 7)]
            .into_iter()
            .chain(COLUMNS)
            .collect();
        Self {
            output,
            table: Table::new(&columns),
            known: BTreeMap::new(),
            compared: false,
        }
    }

    /// Keys that were shown and no longer exist.
    fn stale(&mut self, overview: &Overview) -> Vec<Vec<u8>> {
        if std::mem::replace(&mut self.compared, true) {
            return Vec::new();
        }
        let keys = overview.keys();
        let gone = self.known.keys().filter(|key| !keys.contains(*key));
        gone.cloned().collect()
    }

    /// The line of a key: of several holds, only the table shows more than the narrowest.
    fn line(&self, overview: &Overview, key: &[u8]) -> Option<Line> {
        let mut line = overview.line(key)?;
        if let Line::Record { holds, .. } = &mut line
            && self.output != Output::Table
        {
            holds.truncate(1);
        }
        Some(line)
    }

    /// Shows the changes of these keys.
    fn show(
        &mut self,
        overview: &Overview,
        keys: BTreeSet<Vec<u8>>,
        event: Event,
    ) -> std::io::Result<()> {
        let mut news = Vec::new();
        for key in keys {
            let (former, line) = (self.known.remove(&key), self.line(overview, &key));
            let event = match (&former, &line) {
                (None, Some(_)) if event == Event::Listed => Event::Listed,
                (None, Some(_)) => Event::Added,
                (Some(former), Some(line)) if former != line => Event::Changed,
                (Some(_), None) => Event::Removed,
                _ => {
                    self.known.extend(line.map(|line| (key, line)));
                    continue;
                }
            };
            news.extend(line.clone().or(former).map(|line| (event, line)));
            self.known.extend(line.map(|line| (key, line)));
        }
        let mut out = Stdout;
        out.write_all(self.text(&news, event == Event::Listed).as_bytes())?;
        out.flush()
    }

    fn text(&mut self, news: &[(Event, Line)], first: bool) -> String {
        let now = Timestamp::now();
        let mut lines = Vec::new();
        if self.output == Output::Table {
            let rows: Vec<_> = news
                .iter()
                .map(|(event, line)| row(now, *event, line))
                .collect();
            for row in &rows {
                self.table.fit(row);
            }
            lines.extend(first.then(|| self.table.heading()));
            lines.extend(rows.iter().map(|row| self.table.line(row)));
        } else {
            let words = |(event, line): &(Event, Line)| match self.output {
                Output::Json => Some(Value::Object(object(now, *event, line)).to_string()),
                _ => records::plain(line).map(|words| format!("{} {words}", event.as_str())),
            };
            lines.extend(news.iter().filter_map(words));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

fn row(now: Timestamp, event: Event, line: &Line) -> Vec<Cell> {
    let tone = match event {
        Event::Listed => Tone::Plain,
        Event::Added => Tone::Good,
        Event::Changed => Tone::Notable,
        Event::Removed => Tone::Bad,
    };
    // UTC, as in the log and the holds.
    let mut cells = vec![
        Cell::new(now.strftime("%H:%M:%SZ").to_string()),
        Cell::toned(event.as_str(), tone),
    ];
    cells.extend(records::cells(line));
    cells
}

fn object(now: Timestamp, event: Event, line: &Line) -> Map<String, Value> {
    let mut object = records::object(line);
    object.insert("event".into(), event.as_str().into());
    object.insert("time".into(), now.to_string().into());
    object
}
