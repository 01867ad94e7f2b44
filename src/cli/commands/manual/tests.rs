use clap::{Command, CommandFactory};

use super::page::{FORMATS, of_command, of_program};
use crate::cli::output::exit::Exit;

use crate::cli::Cli;
use crate::model::MetaPrefix;

/// The sections of a page of a program, in their order.
const SECTIONS: [&str; 9] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "ENVIRONMENT",
    "FILES",
    "EXIT STATUS",
    "EXAMPLES",
    "SEE ALSO",
];

fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

#[test]
fn every_page_has_the_usual_sections_in_their_order() {
    let program = program();
    let mut pages = vec![of_program(&program).unwrap()];
    pages.extend(
        program
            .get_subcommands()
            .map(|command| of_command(command).unwrap()),
    );
    for page in pages {
        let titles = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        let titles = titles.map(|title| title.trim_matches('"'));
        let usual: Vec<_> = titles.filter(|title| SECTIONS.contains(title)).collect();
        assert_eq!(usual, SECTIONS, "{page}");
    }
}

#[test]
fn the_programs_page_names_every_variable_and_a_commands_page_its_own() {
    let program = program();
    let whole = of_program(&program).unwrap();
    for command in program.get_subcommands() {
        let page = of_command(command).unwrap();
        for variable in command.get_arguments().filter_map(|arg| arg.get_env()) {
            let entry = format!(".TP\n\\fB{}\\fR\n", variable.to_str().unwrap());
            assert!(whole.contains(&entry), "{entry}");
            assert!(page.contains(&entry), "{}: {entry}", command.get_name());
        }
    }
}

#[test]
fn every_page_names_every_exit_code() {
    let codes = [
        Exit::Done,
        Exit::No,
        Exit::Different,
        Exit::Usage,
        Exit::Unavailable,
        Exit::Bug,
        Exit::Deposed,
    ];
    let page = of_program(&program()).unwrap();
    let (_, status) = page.split_once(".SH \"EXIT STATUS\"\n").unwrap();
    let status = status.split(".SH").next().unwrap();
    let entries = status.split(".TP\n").skip(1);
    let named: Vec<_> = entries
        .map(|entry| entry.lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(named, codes.map(|code| (code as u8).to_string()));
}

#[test]
fn the_page_of_the_records_names_every_folder_below_the_meta_prefix() {
    let meta = MetaPrefix::default();
    let (_, page) = FORMATS.iter().find(|(name, _)| *name == "records").unwrap();
    for range in [
        meta.pushers_range(),
        meta.balancers_range(),
        meta.splits_range(),
        meta.holds_range(),
        meta.service_holds_range(),
        meta.host_holds_range(),
        meta.releases_range(),
    ] {
        let range = range.replace('-', "\\-");
        let folder = range.strip_prefix("/sidekick/").unwrap();
        assert!(page.contains(&format!("\\fB{folder}\\fR")), "{folder}");
        assert!(
            page.contains(&format!("\\fB{range}\\fR")),
            "who may write {range}"
        );
    }
}
