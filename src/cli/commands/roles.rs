//! `sidekick roles`.

use std::io::Write;

use crate::admin::roles::{Role, Scope};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::with_default;
use crate::cli::output::exit::Exit;
use crate::cli::output::stdout::Stdout;
use crate::model::{InstanceName, MetaPrefix, Prefix};

/// Prints the etcdctl commands that make roles with the least rights that sidekick needs.
///
/// One role for announce, register and deregister, one for push, one for read-only commands, and one for split, hold and
/// release; what a role is limited to is part of its name. Give a role to a user with: etcdctl user grant-role USER ROLE. Nothing is changed: pipe it into sh, or pick.
/// For one service, release is granted for the upstream of the same name; to release another upstream, grant the right to
/// write releases/UPSTREAM below --meta-prefix, too.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick roles website/nginx1 | sh")]
pub(crate) struct Args {
    /// Only for this service, or this instance of it; by default, for all.
    #[arg(value_name = "SERVICE[/INSTANCE]")]
    target: Option<String>,
    /// Only for the pusher of this name (push --id); by default, for any.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_ID")]
    id: Option<String>,
    /// Also for pushers with a [[vulcand]] of this prefix. May be given several times.
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_VULCAND",
        value_delimiter = ','
    )]
    vulcand: Vec<String>,
    /// One role only: announce, push, view or operate.
    #[arg(long, value_name = "ROLE", env = "SIDEKICK_ROLE")]
    role: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_PREFIX",
        help = with_default("Prefix of the records in etcd", Prefix::default())
    )]
    prefix: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_META_PREFIX",
        help = with_default("Prefix of sidekick's own keys", MetaPrefix::default())
    )]
    meta_prefix: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let roles = self.roles(&mut mistakes);
        let scope = self.scope(&mut mistakes);
        let (roles, scope) = mistakes.none_or(roles.zip(scope))?;
        let mut out = Stdout;
        for role in roles {
            let name = role.name(&scope);
            writeln!(out, "# {name}: for {}", role.commands(&scope))?;
            writeln!(out, "etcdctl role add {name}")?;
            for right in role.rights(&scope) {
                writeln!(out, "etcdctl role grant-permission {name} {right}")?;
            }
        }
        Ok(Exit::Done)
    }

    fn roles(&self, mistakes: &mut Mistakes) -> Option<Vec<Role>> {
        let Some(wanted) = &self.role else {
            return Some(Role::ALL.to_vec());
        };
        let wanted = wanted.strip_prefix("sidekick-").unwrap_or(wanted);
        let mut all = Role::ALL.into_iter();
        let role = all.find(|role| role.purpose().strip_prefix("sidekick-") == Some(wanted));
        if role.is_none() {
            mistakes.add(format!(
                "--role {wanted:?}: expected announce, push, view or operate"
            ));
        }
        role.map(|role| vec![role])
    }

    fn scope(&self, mistakes: &mut Mistakes) -> Option<Scope> {
        let place = "SERVICE[/INSTANCE]";
        let mut right = true;
        let (mut service, mut instance) = (None, None);
        if let Some(target) = &self.target {
            let (name, rest) = match target.split_once('/') {
                Some((name, rest)) => (name, Some(rest)),
                None => (target.as_str(), None),
            };
            service = mistakes.parse(place, name);
            right &= service.is_some();
            if let Some(rest) = rest {
                instance = mistakes.parse::<InstanceName>(place, rest);
                right &= instance.is_some();
            }
        }
        let pusher = match &self.id {
            Some(id) => Some(mistakes.parse("--id", id)?),
            None => None,
        };
        let prefix = match &self.prefix {
            Some(text) => mistakes.parse("--prefix", text)?,
            None => Prefix::default(),
        };
        let meta = match &self.meta_prefix {
            Some(text) => mistakes.parse("--meta-prefix", text)?,
            None => MetaPrefix::default(),
        };
        etcd::check_apart(mistakes, &prefix, &meta);
        let vulcands = self.vulcand.iter();
        let vulcands = vulcands.map(|text| mistakes.parse("--vulcand", text));
        let vulcands = vulcands
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Option<_>>()?;
        right.then_some(Scope {
            prefix,
            meta,
            service,
            instance,
            pusher,
            vulcands,
        })
    }
}
