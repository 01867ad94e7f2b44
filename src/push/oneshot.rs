//! Pushing once, and telling what pushing would do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::driver::Driver;
use super::publisher::{claims, finding};
use super::settings::{Route, Settings};
use crate::desired::keep::Fate;
use crate::desired::{Choices, Desired, Keeper, Limits, Records, Wanted};
use crate::plan::{Plan, Step};
use crate::reconcile::lacking;
use crate::record::{Endpoint, InstanceName};
use crate::registry::client::Cluster;
use crate::registry::watch::{self, Update};
use crate::registry::{self};
use crate::upstream::{Error, Outcome, Progress, Upstream};

/// Between two looks at draining servers.
const POLL: Duration = Duration::from_millis(50);
/// How much longer than the drain timeout the last requests are waited for.
const MARGIN: Duration = Duration::from_secs(1);

/// What became of one route.
#[derive(Debug)]
pub struct RouteResult<T> {
    /// The name of the target.
    pub target: Arc<str>,
    /// The route.
    pub route: Arc<Route>,
    /// What came of it.
    pub result: Result<T, Error>,
}

/// What is to be done to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(Plan);

impl Difference {
    /// What has to be done.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// The servers whose requests have to be waited for, and how many run there where that is known.
    #[must_use]
    pub fn waiting(&self) -> &[(Endpoint, Option<u64>)] {
        &self.0.waiting
    }

    /// Whether the upstream is equal to the records.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.steps.is_empty() && self.0.waiting.is_empty()
    }
}

impl fmt::Display for Difference {
    /// One line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0.steps {
            writeln!(f, "{step}")?;
        }
        for (endpoint, active) in &self.0.waiting {
            match active {
                Some(active) => writeln!(
                    f,
                    "wait for {active} requests on {endpoint}, then remove it"
                )?,
                None => writeln!(f, "wait for the requests on {endpoint}, then remove it")?,
            }
        }
        Ok(())
    }
}

/// Makes every upstream equal to the records as they are now, draining included. Writes nothing to etcd. What the guard of a running
/// pusher would hold is refused.
///
/// # Errors
///
/// When etcd does not tell the records. What goes wrong with a target is told in its result.
pub async fn once(
    settings: &Settings,
    cluster: &Cluster,
) -> Result<Vec<RouteResult<Outcome>>, registry::Error> {
    each(settings, cluster, converge).await
}

/// Ends what [`once`] has begun and was not waited for: no target is left in the middle of a change.
pub async fn leave(settings: &Settings) {
    for target in &settings.targets {
        target.leave().await;
    }
}

async fn converge(
    mut driver: Driver,
    desired: Desired,
    route: Arc<Route>,
    records: Arc<Records>,
) -> Result<Outcome, Error> {
    let deadline = Instant::now() + route.drain_timeout + MARGIN;
    let plan = driver.compare(&desired).await?;
    let (desired, held) = guarded(&desired, &plan, &route, &records);
    loop {
        let mut outcome = driver.converge(&desired).await?;
        outcome.refused.extend(held.clone());
        match outcome.progress {
            Progress::Converged => return Ok(outcome),
            Progress::Draining { .. } if Instant::now() >= deadline => return Ok(outcome),
            Progress::Draining { .. } => sleep(POLL).await,
            Progress::Unfinished => {}
        }
    }
}

/// What is desired with those servers that the guard of a running pusher would hold, and why these are not removed. Nobody stays to
/// look after them, so they are left to whoever asked.
fn guarded(
    desired: &Desired,
    plan: &Plan,
    route: &Route,
    records: &Records,
) -> (Desired, BTreeMap<String, String>) {
    let limits = Limits {
        min_servers: 0,
        ..route.limits
    };
    let mut keeper = Keeper::new(limits);
    let (claims, now) = (claims(route, records), Instant::now());
    let fate = |_: &InstanceName| Fate::Unknown;
    keeper.follow(desired.clone(), fate, &claims, now);
    let found = finding(route, &plan.leaving, &lacking(plan));
    let decision = keeper.find(found, &claims, now);
    let max_removal = limits.max_removal;
    let held = keeper.kept().guard.keys().map(|endpoint| {
        let reason = format!(
            "it takes traffic and no record names it; more than --max-removal ({max_removal}) would go at once: write the \
            records first, or allow it with --max-removal 100%"
        );
        (format!("remove {endpoint}"), reason)
    });
    let held = held.collect();
    let desired = match decision.desired {
        Some(kept) => Desired::clone(&kept),
        None => desired.clone(),
    };
    (desired, held)
}

/// What would have to be done to make every upstream equal to the records as they are now. Changes nothing.
///
/// # Errors
///
/// As with [`once`].
pub async fn compare(
    settings: &Settings,
    cluster: &Cluster,
) -> Result<Vec<RouteResult<Difference>>, registry::Error> {
    each(settings, cluster, difference).await
}

async fn difference(
    mut driver: Driver,
    desired: Desired,
    _: Arc<Route>,
    _: Arc<Records>,
) -> Result<Difference, Error> {
    driver.compare(&desired).await.map(Difference)
}

/// Does something with every upstream and what it should be, all at once; the results come in the order of the routes.
async fn each<T, F>(
    settings: &Settings,
    cluster: &Cluster,
    work: impl Fn(Driver, Desired, Arc<Route>, Arc<Records>) -> F,
) -> Result<Vec<RouteResult<T>>, registry::Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (revision, entries) = watch::list(cluster, &settings.range()).await?;
    let mut records = Records::new(settings.prefix.clone(), settings.services());
    super::log_quarantine(&records.update(&Update::Listed { revision, entries }));
    let (revision, entries) = watch::list(cluster, &settings.meta_range()).await?;
    let mut choices = Choices::new(settings.meta.clone(), settings.services());
    super::log_quarantine(&choices.update(&Update::Listed { revision, entries }));
    let records = Arc::new(records);
    let mut tasks = JoinSet::new();
    for (number, (target, route)) in settings.routes().enumerate() {
        // Every route's service was given to the records.
        let Some(Wanted { desired, .. }) = route.pool().decide(&records, &choices) else {
            continue;
        };
        let Some(driver) = target.driver(route, cluster) else {
            continue;
        };
        let (target_name, route) = (target.name().clone(), route.clone());
        let work = work(driver, desired, route.clone(), records.clone());
        tasks.spawn(async move {
            let result = work.await;
            (
                number,
                RouteResult {
                    target: target_name,
                    route,
                    result,
                },
            )
        });
    }
    let mut results = tasks.join_all().await;
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
