//! `sidekick unit`.

use std::io::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::announce;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::cli::output::stdout::Stdout;
use crate::etcd::client::CALL_TIMEOUT;
use crate::systemd::unit_file::{Settings, Socket, quadlet, service};
use crate::util::secret;

/// Prints the systemd unit that runs announce with the same arguments.
///
/// It is the template in units/, with the name of the backend's unit and the arguments filled in. Values from this
/// shell's environment stay out of it: etcd's endpoints belong in /etc/sidekick/sidekick.env, its password in
/// /etc/credstore/etcd-password.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick unit website/nginx1 10.0.0.5:8080 --probe /health > /etc/systemd/system/nginx1-sidekick.service")]
pub(crate) struct Args {
    /// The unit of the backend [default: the name of the container, else of the instance].
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDEKICK_UNIT",
        help_heading = "Unit"
    )]
    unit: Option<String>,
    /// For a cluster that fleet schedules: on the machine of the backend.
    #[arg(long, env = "SIDEKICK_FLEET", help_heading = "Unit")]
    fleet: bool,
    /// For Podman's Quadlet: two files, a .container for the backend and one for its sidekick.
    #[arg(long, env = "SIDEKICK_QUADLET", help_heading = "Unit")]
    quadlet: bool,
    /// The backend's image, for --quadlet.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "SIDEKICK_IMAGE",
        help_heading = "Unit"
    )]
    image: Option<String>,
    /// The published port, for --quadlet [default: the announced one, to --container-port].
    #[arg(
        long,
        value_name = "HOST:CONTAINER",
        env = "SIDEKICK_PUBLISH",
        help_heading = "Unit"
    )]
    publish: Option<String>,

    #[command(flatten)]
    announce: announce::Args,
}

/// This command's own options.
const OWN: [&str; 5] = ["unit", "fleet", "quadlet", "image", "publish"];

impl Args {
    pub(crate) fn run(self, mut mistakes: Mistakes, program: &Command) -> anyhow::Result<Exit> {
        let settings = self.settings(&mut mistakes, program);
        let image = self.image(&mut mistakes);
        let (settings, image) = mistakes.none_or(settings.zip(image))?;
        let mut out = Stdout;
        if !self.quadlet {
            write!(out, "{}", service(&settings, self.fleet))?;
            return Ok(Exit::Done);
        }
        let publish = self.publish.clone().or_else(|| self.announce.published());
        for (name, text) in quadlet(&settings, &image, publish.as_deref()) {
            writeln!(out, "# ---- {name}\n{text}")?;
        }
        Ok(Exit::Done)
    }

    fn settings(&self, mistakes: &mut Mistakes, program: &Command) -> Option<Settings> {
        // Check as announce does: the unit would fail again and again.
        let paired = self.announce.pairing(mistakes).is_some();
        self.announce.settings(mistakes, None);
        let arguments = given_to_announce(program);
        if arguments.iter().any(|argument| argument == "--endpoints") {
            self.announce.etcd.endpoints(mistakes);
        }
        self.refuse_secrets(mistakes, &arguments);
        if self.fleet && self.quadlet {
            mistakes.add("--fleet and --quadlet: give one of them");
        }
        if self.quadlet && paired {
            mistakes.add(
                "--container with --quadlet: a sidekick in a container of its own cannot ask the daemon; give SERVICE/INSTANCE and HOST:PORT",
            );
        }
        let default = self.announce.name();
        let name = self.unit.as_deref().or(default.as_deref());
        // Without a name, the missing instance is reported already.
        let backend = name.and_then(|name| mistakes.parse("--unit", name));
        let timing = self.announce.timing();
        Some(Settings {
            backend: backend?,
            arguments,
            slowest: timing.slowest,
            leaving: timing.leaving + 2 * CALL_TIMEOUT,
            socket: if paired {
                self.announce.socket()
            } else {
                Socket::Any
            },
        })
    }

    fn image(&self, mistakes: &mut Mistakes) -> Option<String> {
        let given = [("--image", &self.image), ("--publish", &self.publish)];
        for (flag, value) in given {
            if value
                .as_ref()
                .is_some_and(|value| value.contains(['\n', '\r']))
            {
                mistakes.add(format!("{flag}: must be one line"));
            }
        }
        if self.quadlet {
            return mistakes
                .required("--image", self.image.as_deref())
                .map(str::to_owned);
        }
        Some(String::new())
    }

    /// Refuses passwords and logins: everybody may read a unit.
    fn refuse_secrets(&self, mistakes: &mut Mistakes, arguments: &[String]) {
        let mut former = "";
        for argument in arguments {
            let inline = former == "--user" && argument.contains(':');
            if argument == "--password" || inline {
                let flag = if inline { former } else { argument };
                mistakes.add(format!(
                    "{flag}: everybody could read the password in the unit; put it into /etc/credstore/etcd-password"
                ));
            }
            let credential = match former {
                // These messages already say what to do instead.
                "--endpoints" | "--meta" | "--tag" => false,
                "--probe-header" => secret::is_credential(argument),
                _ => secret::has_login(argument),
            };
            if credential {
                let what = match former.strip_prefix("--") {
                    Some(_) => former,
                    None => "the command line",
                };
                mistakes.add(format!(
                    "{what}: everybody could read the login in the unit; put it into a file that --env-file names{}",
                    match former {
                        "--probe" => ", as SIDEKICK_PROBE=...",
                        "--probe-header" => ", as SIDEKICK_PROBE_HEADER=...",
                        _ => "",
                    }
                ));
            }
            former = argument;
        }
    }
}

/// The arguments of `announce` on this command line, without those from the environment and defaults.
fn given_to_announce(program: &Command) -> Vec<String> {
    // It was parsed before, so it parses again.
    let matches = program.clone().try_get_matches_from(std::env::args_os());
    let matches = matches.ok();
    let own = matches.as_ref().and_then(ArgMatches::subcommand);
    own.map(|(_, matches)| given(program, matches))
        .unwrap_or_default()
}

fn given(program: &Command, matches: &ArgMatches) -> Vec<String> {
    let announce = program.find_subcommand("announce");
    let mut positional = Vec::new();
    let mut flags = Vec::new();
    for arg in announce.iter().flat_map(|command| command.get_arguments()) {
        let id = arg.get_id().as_str();
        let is_given = matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(ValueSource::CommandLine);
        if OWN.contains(&id) || !is_given {
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        let values = values.map(|value| value.to_string_lossy().into_owned());
        match arg.get_long() {
            None => positional.extend(values),
            Some(long) if arg.get_action().takes_values() => {
                flags.extend(values.flat_map(|value| [format!("--{long}"), value]));
            }
            Some(long) => flags.push(format!("--{long}")),
        }
    }
    positional.append(&mut flags);
    positional
}
