//! `sidekick release`.

use std::collections::BTreeSet;
use std::io::Write;

use tokio::time::Instant;

use crate::admin::release::{Answer, Order, Outcome};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::cli::output::progress::Progress;
use crate::cli::output::stdout::Stdout;
use crate::etcd::pushers::names;
use crate::model::PusherId;
use crate::target::UpstreamName;

/// Lets the protected servers of an upstream go.
///
/// Every live pusher follows the records of the upstream again; the guard comes back when --min-servers take traffic. 0:
/// all pushers of the upstream have let go; 1: no pusher has it, or not all in time; 69: etcd does not answer.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick release website")]
pub(crate) struct Args {
    /// The upstream, by its name in nginx.
    #[arg(value_name = "UPSTREAM", env = "SIDEKICK_RELEASE_UPSTREAM")]
    upstream: Option<String>,
    /// How long to wait for the pushers.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        env = "SIDEKICK_RELEASE_TIMEOUT"
    )]
    timeout: String,

    #[command(flatten)]
    etcd: etcd::Args,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let order = self.order(&mut mistakes);
        let cluster = self.etcd.cluster(&mut mistakes);
        let (order, cluster) = mistakes.none_or(order.zip(cluster))?;
        let mut progress = Progress::new();
        let waiting = |missing: &[String]| {
            let (upstream, missing) = (&order.upstream, missing.join(", "));
            progress.say(&format!("releasing {upstream}: waiting for {missing}"));
        };
        let outcome = order.give(&cluster, waiting).await?;
        drop(progress);
        report(&order.upstream, &outcome)
    }

    fn order(&self, mistakes: &mut Mistakes) -> Option<Order> {
        let upstream = mistakes.required("UPSTREAM", self.upstream.as_deref());
        let upstream = upstream.and_then(|upstream| mistakes.parse("UPSTREAM", upstream));
        let timeout = mistakes.duration("--timeout", &self.timeout);
        let prefixes = self.etcd.prefixes(mistakes);
        let deadline = Instant::now().checked_add(timeout?);
        if deadline.is_none() {
            mistakes.add(format!("--timeout {}: that is too long", self.timeout));
        }
        let (_, meta) = prefixes?;
        Some(Order {
            upstream: upstream?,
            meta,
            deadline: deadline?,
        })
    }
}

fn report(upstream: &UpstreamName, outcome: &Outcome) -> anyhow::Result<Exit> {
    let (answers, silent) = match outcome {
        Outcome::NoPusher(silent) => {
            say(&nobody(silent))?;
            return Ok(Exit::No);
        }
        Outcome::Asked { answers, silent } => (answers, silent),
    };
    let mut having = 0;
    let mut in_time = true;
    for (id, answer) in answers {
        match answer {
            Answer::Released(servers) => {
                having += 1;
                say(&format!(
                    "{id}: {upstream} follows its records; servers let go: {servers}"
                ))?;
            }
            Answer::NoUpstream => {}
            Answer::None => {
                in_time = false;
                say(&format!("{id}: has not answered in time"))?;
            }
        }
    }
    for id in silent {
        say(&format!(
            "{id}: is silent, and its load balancer keeps its last servers"
        ))?;
    }
    let all = answers.len();
    say(&format!(
        "{having} of {all} pushers have the upstream {upstream}"
    ))?;
    Ok(match (in_time, having) {
        (true, 1..) => Exit::Done,
        _ => Exit::No,
    })
}

/// Why nothing was released without a live pusher; these are silent.
fn nobody(silent: &BTreeSet<PusherId>) -> String {
    let keep = match silent.len() {
        0 => return "no pusher is running: nothing is protected".to_owned(),
        1 => "the load balancer of {} keeps its last servers",
        _ => "the load balancers of {} keep their last servers",
    };
    let keep = keep.replace("{}", &names(silent));
    format!("no live pusher: nothing was released; {keep}")
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(Stdout, "{line}")
}
