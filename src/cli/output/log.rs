//! The log.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::table::colours;
use crate::cli::args::mistakes::Mistakes;

/// Options that every command has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
#[group(skip)]
pub(crate) struct Args {
    /// Logs more; given twice, logs everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, env = "SIDEKICK_VERBOSE")]
    verbose: u8,
    /// Least severe level that is logged: error, warn, info, debug or trace.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        env = "SIDEKICK_LOG_LEVEL"
    )]
    log_level: String,
    /// Format of the log: text or json (one object a line).
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "SIDEKICK_LOG_FORMAT"
    )]
    log_format: String,
}

impl Args {
    /// Starts logging to standard error, with defaults in place of wrong options.
    pub(crate) fn init(&self, mistakes: &mut Mistakes) {
        let level = self.level(mistakes);
        // The libraries' messages about every frame are for trace only.
        let libraries = match level {
            LevelFilter::TRACE => LevelFilter::TRACE,
            _ => level.min(LevelFilter::WARN),
        };
        let targets = Targets::new()
            .with_default(libraries)
            .with_target("sidekick", level);
        let builder = fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            // When stderr is closed, drop the error: writing about it there would end the agent.
            .log_internal_errors(false)
            .with_target(level > LevelFilter::INFO);
        match self.log_format.as_str() {
            "json" => builder.json().finish().with(targets).init(),
            other => {
                if other != "text" {
                    mistakes.add(format!("--log-format {other:?}: expected text or json"));
                }
                // The journal adds its own timestamps.
                let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
                let builder = builder.with_ansi(colours(&std::io::stderr()));
                if in_journal {
                    builder.without_time().finish().with(targets).init();
                } else {
                    builder.finish().with(targets).init();
                }
            }
        }
    }

    fn level(&self, mistakes: &mut Mistakes) -> LevelFilter {
        let level = match self.log_level.as_str() {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            other => {
                mistakes.add(format!(
                    "--log-level {other:?}: expected error, warn, info, debug or trace"
                ));
                LevelFilter::INFO
            }
        };
        match self.verbose {
            0 => level,
            1 => level.max(LevelFilter::DEBUG),
            _ => LevelFilter::TRACE,
        }
    }
}
