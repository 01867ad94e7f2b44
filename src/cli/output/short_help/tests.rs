use clap::CommandFactory as _;

use super::*;
use crate::cli::Cli;

#[test]
fn every_command_explains_itself_on_one_screen() {
    let program = shorten(Cli::command().term_width(100));
    for mut command in program.get_subcommands().cloned() {
        let name = command.get_name().to_owned();
        let help = command.render_help().to_string();
        let lines = help.lines().count();
        let most = match &*name {
            "announce" | "check" | "unit" => 72,
            _ => 48,
        };
        assert!(lines <= most, "{name}: {lines} lines\n{help}");
    }
}
