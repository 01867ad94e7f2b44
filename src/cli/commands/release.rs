//! `sidekick release`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::Exit;
use crate::cli::output::progress::Progress;
use crate::cli::output::stdout::Stdout;
use crate::etcd::client::Cluster;
use crate::etcd::lease;
use crate::etcd::lease::{Confirmed, Wanted};
use crate::etcd::oneshot::list;
use crate::etcd::pushers;
use crate::etcd::pushers::{Pushers, names};
use crate::etcd::range::Range;
use crate::model::{MetaPrefix, Nonce, PusherId, PusherStatus, Release};
use crate::target::UpstreamName;

/// How long a release stands for pushers that do not hear etcd at the moment.
const STANDS: Duration = Duration::from_secs(60);

/// Lets go of the servers that an upstream keeps although its records no longer say so.
///
/// Every live pusher follows the records of the upstream from now on, until it is back at --min-servers. 0: all that have the
/// upstream have let go; 1: none has it, or not all in time; 69: etcd does not answer.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick release website")]
pub(crate) struct Args {
    /// The upstream, as nginx calls it.
    #[arg(value_name = "UPSTREAM", env = "SIDEKICK_RELEASE_UPSTREAM")]
    upstream: Option<String>,
    /// How long the pushers are waited for.
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

struct Order {
    upstream: UpstreamName,
    meta: MetaPrefix,
    deadline: Instant,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let order = self.order(&mut mistakes);
        let cluster = self.etcd.cluster(&mut mistakes);
        let (order, cluster) = mistakes.none_or(order.zip(cluster))?;
        order.give(&cluster).await
    }

    fn order(&self, mistakes: &mut Mistakes) -> Option<Order> {
        let upstream = mistakes.required("UPSTREAM", self.upstream.as_deref());
        let upstream = upstream.and_then(|upstream| mistakes.parse("UPSTREAM", upstream));
        let timeout = mistakes.duration("--timeout", &self.timeout);
        let prefixes = self.etcd.prefixes(mistakes);
        let deadline = Instant::now().checked_add(timeout?);
        if deadline.is_none() {
            mistakes.add(format!("--timeout {}: that is for ever", self.timeout));
        }
        let (_, meta) = prefixes?;
        Some(Order {
            upstream: upstream?,
            meta,
            deadline: deadline?,
        })
    }
}

impl Order {
    async fn give(self, cluster: &Cluster) -> anyhow::Result<Exit> {
        let nonce = Nonce::fresh();
        // First of all, for the reason why etcd cannot be asked: what follows tries for ever.
        let pushers = Range::Prefix(self.meta.pushers_range().into_bytes());
        let patience = self.deadline.saturating_duration_since(Instant::now());
        list(cluster, patience, &pushers).await?;
        let mut watch = pushers::Watch::new(cluster.clone(), self.meta.clone());
        if timeout_at(self.deadline, watch.until_so(|_| true))
            .await
            .is_err()
        {
            anyhow::bail!("etcd does not answer");
        }
        let known = watch.known();
        if known.status_records().count() == 0 {
            say(&nobody(&known.silent()))?;
            return Ok(Exit::No);
        }
        let key = self.meta.release_key(self.upstream.as_str());
        let keeper = lease::keep(cluster.clone(), key, nonce.clone(), STANDS);
        let release = Release {
            nonce: nonce.clone(),
            since: jiff::Timestamp::now(),
        };
        let value = release.encode();
        keeper.set(Wanted::Present(value.clone().into()));
        if !matches!(
            timeout_at(self.deadline, keeper.confirmed(&value)).await,
            Ok(Confirmed::At(_))
        ) {
            anyhow::bail!(
                "etcd did not confirm the release of {} in time",
                self.upstream
            );
        }
        let mut progress = Progress::new();
        let all = |pushers: &Pushers| {
            let waits = |(_, one): &(_, &PusherStatus)| self.answer(one, &nonce).is_none();
            let missing = pushers.status_records().filter(waits);
            let missing: Vec<_> = missing.map(|(id, _)| id.to_string()).collect();
            if !missing.is_empty() {
                progress.say(&format!(
                    "releasing {}: waiting for {}",
                    self.upstream,
                    missing.join(", ")
                ));
            }
            missing.is_empty()
        };
        let in_time = timeout_at(self.deadline, watch.until_so(all)).await.is_ok();
        drop(progress);
        // The key stays until its lease ends, for pushers that come back to etcd meanwhile.
        drop(keeper);
        self.report(watch.known(), &nonce, in_time)
    }

    /// What a pusher has made of it: `None` when it has not heard yet, no number when it has no such upstream.
    fn answer(&self, status_record: &PusherStatus, nonce: &Nonce) -> Option<Option<u64>> {
        let released = status_record.releases.get(self.upstream.as_str())?;
        (released.nonce == *nonce).then_some(released.servers)
    }

    fn report(&self, pushers: &Pushers, nonce: &Nonce, in_time: bool) -> anyhow::Result<Exit> {
        let upstream = &self.upstream;
        let mut having = 0;
        for (id, status_record) in pushers.status_records() {
            match self.answer(status_record, nonce) {
                Some(Some(servers)) => {
                    having += 1;
                    say(&format!(
                        "{id}: {upstream} follows its records; servers let go: {servers}"
                    ))?;
                }
                Some(None) => {}
                None => missing(id)?,
            }
        }
        for id in pushers.silent() {
            say(&format!(
                "{id}: is silent, and its load balancer keeps what it was told last"
            ))?;
        }
        let all = pushers.status_records().count();
        say(&format!(
            "{having} of {all} pushers have the upstream {upstream}"
        ))?;
        Ok(match (in_time, having) {
            (true, 1..) => Exit::Done,
            _ => Exit::No,
        })
    }
}

/// Why nothing is released, where no pusher lives: these are silent.
fn nobody(silent: &BTreeSet<PusherId>) -> String {
    let keep = match silent.len() {
        0 => return "no pusher is running: nothing is kept".to_owned(),
        1 => "the load balancer of {} keeps what it was told last",
        _ => "the load balancers of {} keep what they were told last",
    };
    let keep = keep.replace("{}", &names(silent));
    format!("no live pusher: nothing was released; {keep}")
}

fn missing(id: &PusherId) -> std::io::Result<()> {
    say(&format!("{id}: has not answered in time"))
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(Stdout, "{line}")
}
