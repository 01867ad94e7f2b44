//! `sidekick list`.

use std::fmt::Write as _;
use std::io::Write;

use crate::admin::overview::{Line, Overview};
use crate::admin::{follow, v2};
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::records;
use crate::cli::output::records::{COLUMNS, Output};
use crate::cli::output::stdout::Stdout;
use crate::cli::output::table::table;
use crate::model::ServiceName;
use crate::util::did_you_mean::suggestion;

/// Shows the records, with holds, splits and quarantined records.
///
/// plain is one record a line: SERVICE/INSTANCE HOST:PORT[/VERSION] STATE.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick list website --output json")]
pub(crate) struct Args {
    #[command(flatten)]
    which: records::Which,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let which = self.which.parse(&mut mistakes);
        let (only, output, place) = mistakes.none_or(which)?;
        let overview = follow::read(&place, only.as_ref()).await?;
        let lines: Vec<_> = overview.lines().collect();
        if lines.is_empty() {
            // A user who may read only this service gets no hint about others.
            let others = match &only {
                Some(_) => follow::read(&place, None).await.unwrap_or(overview),
                None => overview,
            };
            note(format_args!("{}", nothing(only.as_ref(), &others)));
            if others.lines().next().is_none()
                && let Some(hint) = v2::hint(&place).await
            {
                note(format_args!("{hint}"));
            }
            return Ok(Exit::Done);
        }
        Stdout.write_all(show(&lines, output).as_bytes())?;
        Ok(Exit::Done)
    }
}

fn show(lines: &[Line], output: Output) -> String {
    match output {
        Output::Table => table(
            &COLUMNS,
            &lines.iter().map(records::cells).collect::<Vec<_>>(),
        ),
        Output::Json => {
            let objects = lines.iter().map(records::object);
            objects.fold(String::new(), |mut text, object| {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}", serde_json::Value::Object(object));
                text
            })
        }
        Output::Plain => {
            for line in lines {
                if let Line::Quarantined(quarantined) = line {
                    note(format_args!("quarantined: {quarantined}"));
                }
            }
            let words = lines.iter().filter_map(records::plain);
            words.map(|words| words + "\n").collect()
        }
    }
}

/// Why the list is empty.
pub(crate) fn nothing(only: Option<&ServiceName>, overview: &Overview) -> String {
    match only {
        None => "there are no records".to_owned(),
        Some(only) => {
            let meant = suggestion(only.as_str(), overview.services());
            format!("there are no records of {only}{meant}")
        }
    }
}
