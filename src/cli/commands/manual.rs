//! `sidekick completions` and `sidekick man`.

use std::io::Write;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::output::stdout::Stdout;
use crate::cli::{Cli, Exit, Mistakes};
use crate::util::did_you_mean::suggestion;

/// The shells, as clap_complete spells them.
const SHELLS: [(&str, Shell); 5] = [
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
    ("elvish", Shell::Elvish),
    ("powershell", Shell::PowerShell),
];

/// Prints the completions for a shell: bash, zsh, fish, elvish or powershell.
///
/// Example: sidekick completions bash > /usr/share/bash-completion/completions/sidekick
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    shell: Option<String>,
}

impl Completions {
    pub(crate) fn run(&self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
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
        clap_complete::generate(shell, &mut Cli::command(), "sidekick", &mut text);
        Stdout.write_all(&text)?;
        Ok(Exit::Done)
    }
}

/// Prints the manual page: of the program, or of one command.
///
/// Example: sidekick man announce | man -l -
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Man {
    /// One command only.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    pub(crate) fn run(&self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let mut all = Cli::command();
        all.build();
        let page = match &self.command {
            None => Some(all.clone()),
            Some(name) => named(&mut mistakes, &all, name),
        };
        let page = mistakes.none_or(page)?;
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text)?;
        Stdout.write_all(&text)?;
        Ok(Exit::Done)
    }
}

fn named(mistakes: &mut Mistakes, all: &Command, name: &str) -> Option<Command> {
    let Some(command) = all.find_subcommand(name) else {
        let known = all.get_subcommands().map(Command::get_name);
        let meant = suggestion(name, known);
        mistakes.add(format!("COMMAND {name:?}: there is no such command{meant}"));
        return None;
    };
    Some(command.clone())
}
