//! What `-h` shows: one screen. `--help` shows the rest.

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// What ends the part of a text that `-h` shows.
const ENDS: [&str; 3] = ["; ", ". ", " [default: "];
/// Options that are rarely needed.
const RARE: [&str; 21] = [
    "env_file",
    "verbose",
    "log_level",
    "log_format",
    "cacert",
    "cert",
    "key",
    "user",
    "password",
    "password_file",
    "meta_prefix",
    "expect_status",
    "expect_body",
    "expect_header",
    "probe_method",
    "probe_header",
    "probe_cacert",
    "probe_tls_name",
    "probe_insecure",
    "labels_only",
    "host_name",
];
/// Points to `--help`.
const MORE: &str = "All options, with their variables, and examples: --help";

/// The command with short texts, without the rare options.
pub(crate) fn shorten(command: Command) -> Command {
    let command = command.mut_args(short).after_help(MORE);
    command.mut_subcommands(shorten)
}

fn short(arg: Arg) -> Arg {
    let hidden = RARE.contains(&arg.get_id().as_str());
    let arg = arg.hide_env(true).hide_short_help(hidden);
    // A longer text has its own short one.
    if arg.get_long_help().is_some() {
        return arg;
    }
    let text = arg.get_help().map(StyledStr::to_string).unwrap_or_default();
    let end = ENDS.iter().filter_map(|end| text.find(end)).min();
    let first = text[..end.unwrap_or(text.len())].to_owned();
    arg.help(first)
}

#[cfg(test)]
mod tests;
