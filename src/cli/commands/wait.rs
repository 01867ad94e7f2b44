//! `sidekick wait`.

use std::time::Duration;

use tokio::time::Instant;

use crate::admin::v2;
use crate::admin::wait::{Goal, Outcome, Wish, wait};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Invalid;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::output::exit::{Exit, note};
use crate::cli::output::progress::Progress;
use crate::model::{InstanceId, InstanceName};

/// Timeout for finding the instance that a container's name stands for.
const NAMING: Duration = Duration::from_secs(2);

/// Waits until instances are announced, routed by every load balancer, or gone.
///
/// Exit code 0 when that is so, 1 after --timeout, 69 when etcd did not answer in that time.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_long_help = "\
Example:
  sidekick wait website --for routed --count 3 --timeout 2m")]
pub(crate) struct Args {
    /// Service, or one instance of it.
    #[arg(value_name = "SERVICE[/INSTANCE]")]
    target: Option<String>,
    /// What to wait for: announced (etcd has a record that is up), routed (every load balancer has applied it too and
    /// sends it requests) or gone (there is no record, and no load balancer sends it anything).
    #[arg(long = "for", value_name = "WHAT", env = "SIDEKICK_WAIT_FOR")]
    goal: Option<String>,
    /// Least number of instances [default: 1].
    #[arg(long, value_name = "N", env = "SIDEKICK_COUNT")]
    count: Option<String>,
    /// How long to wait at most.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        env = "SIDEKICK_WAIT_TIMEOUT"
    )]
    timeout: String,

    /// Asks only live pushers: a load balancer whose pusher is silent, stopped or dead does not count.
    #[arg(long, env = "SIDEKICK_LIVE_ONLY")]
    live_only: bool,

    #[command(flatten)]
    etcd: etcd::Args,
}

impl Args {
    pub(crate) async fn run(self, mut mistakes: Mistakes) -> anyhow::Result<Exit> {
        let wish = self.wish(&mut mistakes);
        let timeout = mistakes.duration("--timeout", &self.timeout);
        let place = self.etcd.place(&mut mistakes, timeout);
        let ((mut wish, timeout), place) = mistakes.none_or(wish.zip(timeout).zip(place))?;
        let asked = Instant::now();
        if let Some(instance) = wish.instance.take() {
            let service = wish.service.clone();
            let id = InstanceId { service, instance };
            let named = tokio::time::timeout(
                timeout.min(NAMING),
                crate::cli::args::names::named(&place, id.clone()),
            );
            wish.instance = Some(match named.await {
                Ok(Ok(id)) => id.instance,
                Ok(Err(error)) if error.is::<Invalid>() => return Err(error),
                // Wait anyway: that shows whether etcd answers.
                Ok(Err(_)) | Err(_) => id.instance,
            });
        }
        let left = timeout.saturating_sub(asked.elapsed());
        let mut progress = Progress::new();
        let mut tell = |missing: &str| progress.say(&format!("waiting: {missing}"));
        let outcome = wait(&place, &wish, left, &mut tell).await;
        drop(progress);
        let after = crate::util::duration::typed(timeout);
        match outcome {
            Outcome::Reached => Ok(Exit::Done),
            Outcome::TooLate { missing } => {
                note(format_args!("not within {after} (--timeout): {missing}"));
                if wish.goal != Goal::Gone
                    && let Some(hint) = v2::hint(&place).await
                {
                    note(format_args!("{hint}"));
                }
                Ok(Exit::No)
            }
            Outcome::Refused(why) => anyhow::bail!("{why}; waited for {after} (--timeout)"),
            Outcome::Unheard(why) => {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                anyhow::bail!("etcd did not answer within {after} (--timeout){why}")
            }
        }
    }

    fn wish(&self, mistakes: &mut Mistakes) -> Option<Wish> {
        let place = "SERVICE[/INSTANCE]";
        let target = mistakes.required(place, self.target.as_deref());
        let (service, instance) =
            match target.map(|text| text.split_once('/').unwrap_or((text, ""))) {
                Some((service, instance)) => {
                    let named = target.is_some_and(|text| text.contains('/'));
                    let service = mistakes.parse(place, service);
                    let instance = named.then(|| mistakes.parse::<InstanceName>(place, instance));
                    (service, instance)
                }
                None => (None, None),
            };
        let goal = match mistakes.required("--for", self.goal.as_deref()) {
            Some("announced") => Some(Goal::Announced),
            Some("routed") => Some(Goal::Routed),
            Some("gone") => Some(Goal::Gone),
            Some(other) => {
                mistakes.add(format!(
                    "--for {other:?}: expected announced, routed or gone"
                ));
                None
            }
            None => None,
        };
        // A variable may be meant for other commands: ignore it here.
        let said = self.count.as_deref().filter(|_| goal != Some(Goal::Gone));
        let number = mistakes.count("--count", said.unwrap_or("1"));
        if let (Some(instance), Some(2..)) = (&instance, number) {
            let name = instance
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            mistakes.add(format!("--count: there is at most one instance {name}"));
        }
        Some(Wish {
            service: service?,
            instance: match instance {
                Some(instance) => Some(instance?),
                None => None,
            },
            goal: goal?,
            count: usize::try_from(number?).unwrap_or(usize::MAX),
            live_only: self.live_only,
        })
    }
}
