//! Manual pages. Those of `sidekick` and its commands are generated from the command line's definition and completed by
//! hand; those of file formats are written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;

/// Text of the footer.
const SOURCE: &str = concat!("sidekick ", env!("CARGO_PKG_VERSION"));

/// The pages of section 5, by the names that `sidekick man` takes.
pub(super) const FORMATS: [(&str, &str); 2] = [
    ("push.toml", include_str!("sidekick-push.toml.5")),
    ("records", include_str!("sidekick-records.5")),
];

/// Additions to DESCRIPTION, by command.
const DESCRIPTIONS: [(&str, &str); 3] = [
    ("announce", include_str!("announce.roff")),
    ("push", include_str!("push.roff")),
    ("unit", include_str!("unit.roff")),
];

/// Sections of the program's own page, which commands share in part.
const PROGRAM: &str = include_str!("sidekick.roff");

/// The page of the program, which must be built first.
pub(super) fn of_program(program: &Command) -> io::Result<String> {
    let mut page = beginning(program, section(PROGRAM, "DESCRIPTION"))?;
    let commands = program.get_subcommands().flat_map(|command| {
        let name = command.get_name().to_owned();
        command.get_arguments().map(move |arg| (arg, name.clone()))
    });
    page += &environment(commands);
    for title in [
        "OTHER VARIABLES",
        "FILES",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
    ] {
        page += &titled(title, section(PROGRAM, title));
    }
    Ok(page)
}

/// The page of one command of the program.
pub(super) fn of_command(command: &Command) -> io::Result<String> {
    let mut descriptions = DESCRIPTIONS.iter();
    let description = descriptions.find(|(name, _)| *name == command.get_name());
    let mut page = beginning(command, description.map_or("", |(_, text)| text))?;
    page += &environment(command.get_arguments().map(|arg| (arg, String::new())));
    for title in ["FILES", "EXIT STATUS"] {
        page += &titled(title, section(PROGRAM, title));
    }
    let examples = command.get_after_long_help().map(ToString::to_string);
    let examples = examples.iter().flat_map(|text| text.lines().skip(1));
    let examples = examples.fold(".nf\n".to_owned(), |all, line| {
        all + &escaped(line.trim()) + "\n"
    });
    page += &titled("EXAMPLES", &(examples + ".fi\n"));
    page += &titled("SEE ALSO", section(PROGRAM, "SEE ALSO"));
    Ok(page)
}

/// All sections before ENVIRONMENT. `description` is added to DESCRIPTION.
fn beginning(command: &Command, description: &str) -> io::Result<String> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command.clone().override_usage(usage)).source(SOURCE);
    let mut generated = Vec::new();
    man.render(&mut generated)?;
    let generated = String::from_utf8_lossy(&generated);
    let mut sections = generated.split("\n.SH ");
    let mut page = sections.next().unwrap_or_default().to_owned() + "\n";
    for generated in sections {
        let (title, body) = generated.split_once('\n').unwrap_or((generated, ""));
        page += &match title {
            "NAME" | "SYNOPSIS" | "OPTIONS" => titled(title, body),
            "SUBCOMMANDS" => titled("COMMANDS", body),
            "DESCRIPTION" if description.is_empty() => titled(title, body),
            // It would repeat NAME.
            "DESCRIPTION" if command.get_long_about().is_none() => titled(title, description),
            "DESCRIPTION" => titled(title, &format!("{body}\n.PP\n{description}")),
            "EXTRA" | "VERSION" => String::new(),
            // A group of options.
            _ => format!(".SS \"{title}\"\n{body}\n"),
        };
    }
    Ok(page)
}

/// The options' variables, with the commands where they are few.
fn environment<'c>(args: impl Iterator<Item = (&'c Arg, String)>) -> String {
    let mut variables = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for (arg, command) in args {
        if let Some(variable) = arg.get_env() {
            let option = arg.get_long().map(|long| format!("--{long}"));
            let option = option.or_else(|| Some(arg.get_value_names()?.first()?.to_string()));
            let options = variables.entry(variable.to_string_lossy()).or_default();
            let commands = options.entry(option.unwrap_or_default()).or_default();
            commands.insert(command);
        }
    }
    let mut text = section(PROGRAM, "ENVIRONMENT").to_owned();
    for (variable, options) in variables {
        let options = options.into_iter().map(|(option, commands)| {
            let few = commands.len() <= 4 && !commands.contains("");
            let commands = Vec::from_iter(commands).join(", ");
            let of = if few {
                format!(" of {commands}")
            } else {
                String::new()
            };
            format!("\\fB{}\\fR{of}", escaped(&option))
        });
        let options = Vec::from_iter(options).join("; ");
        // Writing into a String cannot fail.
        let _ = writeln!(text, ".TP\n\\fB{variable}\\fR\n{options}");
    }
    titled("ENVIRONMENT", &text)
}

fn titled(title: &str, body: &str) -> String {
    format!(".SH \"{title}\"\n{}\n", body.trim_end())
}

/// The body of a section, or an empty text.
fn section<'t>(text: &'t str, title: &str) -> &'t str {
    let quoted = format!(".SH \"{title}\"\n");
    let plain = format!(".SH {title}\n");
    let body = text.split_once(&quoted).or_else(|| text.split_once(&plain));
    let body = body.map_or("", |(_, body)| body);
    body.split_once(".SH ").map_or(body, |(body, _)| body)
}

/// A line with roff's special characters escaped.
fn escaped(line: &str) -> String {
    let line = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line
    }
}
