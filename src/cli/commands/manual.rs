//! `sidekick completions` and `sidekick man`.

mod page;

use std::io::{self, Write as _};

use clap::Command;
use clap_complete::Shell;

use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::cli::output::stdout::Stdout;
use crate::util::did_you_mean::suggestion;

/// The shells, with clap_complete's names.
const SHELLS: [(&str, Shell); 5] = [
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
    ("elvish", Shell::Elvish),
    ("powershell", Shell::PowerShell),
];

/// Prints the completions for a shell: bash, zsh, fish, elvish or powershell.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick completions bash > /usr/share/bash-completion/completions/sidekick")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Option<String>,
}

impl Completions {
    pub(crate) fn run(&self, mut mistakes: Mistakes, mut program: Command) -> anyhow::Result<Exit> {
        let shell = mistakes.required("SHELL", self.shell.as_deref());
        let shell = shell.and_then(|name| {
            let known = SHELLS.iter().find(|(shell, _)| *shell == name);
            if known.is_none() {
                let meant = suggestion(name, SHELLS.iter().map(|(shell, _)| *shell));
                mistakes.add(format!(
                    "SHELL {name:?}: expected bash, zsh, fish, elvish or powershell{meant}"
                ));
            }
            known.map(|(_, shell)| *shell)
        });
        let shell = mistakes.none_or(shell)?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut program, "sidekick", &mut text);
        Stdout.write_all(&text)?;
        Ok(Exit::Done)
    }
}

/// Prints a manual page: of the program, of one command, or of a format: push.toml or records.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Examples:
  sidekick man announce | man -l -
  sidekick man push.toml | man -l -")]
pub(crate) struct Man {
    /// A command, push.toml or records; by default, the program's own page.
    #[arg(value_name = "PAGE")]
    page: Option<String>,
}

impl Man {
    pub(crate) fn run(&self, mut mistakes: Mistakes, program: Command) -> anyhow::Result<Exit> {
        // `help` has no page.
        let mut program = program.disable_help_subcommand(true);
        program.build();
        let page = match self.page.as_deref() {
            None => Some(page::of_program(&program)?),
            Some(name) => named(&program, name)?,
        };
        if let (None, Some(name)) = (&page, &self.page) {
            let commands = program.get_subcommands().map(Command::get_name);
            let formats = page::FORMATS.iter().map(|(format, _)| *format);
            let meant = suggestion(name, commands.chain(formats));
            mistakes.add(format!("PAGE {name:?}: there is no such page{meant}"));
        }
        Stdout.write_all(mistakes.none_or(page)?.as_bytes())?;
        Ok(Exit::Done)
    }
}

fn named(program: &Command, name: &str) -> io::Result<Option<String>> {
    let mut formats = page::FORMATS.iter();
    match formats.find(|(format, _)| *format == name) {
        Some((_, page)) => Ok(Some((*page).to_owned())),
        None => program
            .find_subcommand(name)
            .map(page::of_command)
            .transpose(),
    }
}

#[cfg(test)]
mod tests;
