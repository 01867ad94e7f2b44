//! Pushing once, and telling what pushing would do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::look::Look;
use super::quarantined::log_quarantined;
use super::route::Route;
use super::settings::Settings;
use crate::etcd;
use crate::etcd::client::{CALL_TIMEOUT, Cluster};
use crate::etcd::former;
use crate::etcd::oneshot;
use crate::etcd::watch::Update;
use crate::model::Endpoint;
use crate::target::{Error, Outcome, Progress, Upstream};
use crate::upstream::overrides::Overrides;
use crate::upstream::plan::{Plan, Step, withheld_for};
use crate::upstream::pool::Wanted;
use crate::upstream::records::Records;
use crate::upstream::state::Desired;

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
pub struct Difference {
    plan: Plan,
    withheld: BTreeMap<String, String>,
}

impl Difference {
    /// What has to be done.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.plan.steps
    }

    /// The steps that `min_servers` and the guard do not allow, with the reasons.
    #[must_use]
    pub fn withheld(&self) -> &BTreeMap<String, String> {
        &self.withheld
    }

    /// The servers whose requests have to be waited for, and how many run there where that is known.
    #[must_use]
    pub fn waiting(&self) -> &[(Endpoint, Option<u64>)] {
        &self.plan.waiting
    }

    /// Whether the upstream is equal to the records.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let Plan { steps, waiting, .. } = &self.plan;
        steps.is_empty() && waiting.is_empty() && self.withheld.is_empty()
    }
}

impl fmt::Display for Difference {
    /// One line for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.plan.steps {
            writeln!(f, "{step}")?;
        }
        for (endpoint, active) in &self.plan.waiting {
            match active {
                Some(active) => writeln!(
                    f,
                    "wait for {active} requests on {endpoint}, then remove it"
                )?,
                None => writeln!(f, "wait for the requests on {endpoint}, then remove it")?,
            }
        }
        for (step, reason) in &self.withheld {
            writeln!(f, "would not {step}: {reason}")?;
        }
        Ok(())
    }
}

/// Makes every upstream equal to the records as they are now, draining included. Writes nothing to etcd. What `min_servers` and the guard of a
/// running pusher would protect at its start is refused.
///
/// # Errors
///
/// When etcd does not answer. Errors of a target are in its result.
pub async fn once(
    settings: &Settings,
    cluster: &Cluster,
) -> Result<Vec<RouteResult<Outcome>>, etcd::Error> {
    each(settings, cluster, converge).await
}

/// Ends what [`once`] has begun and was not waited for: no target is left in the middle of a change.
pub async fn leave(settings: &Settings) {
    for target in &settings.targets {
        target.driver().leave().await;
    }
}

async fn converge(
    mut upstream: Box<dyn Upstream>,
    desired: Desired,
    route: Arc<Route>,
    records: Arc<Records>,
) -> Result<Outcome, Error> {
    let deadline = Instant::now() + route.drain_timeout + MARGIN;
    let plan = upstream.compare(&desired).await?;
    let mut look = Look::new(&desired, &plan, &route, &records);
    loop {
        let mut outcome = upstream.converge(look.desired()).await?;
        if outcome.progress == Progress::Unfinished || look.see(&outcome) {
            continue;
        }
        if outcome.progress != Progress::Converged && Instant::now() < deadline {
            sleep(POLL).await;
            continue;
        }
        outcome.refused.extend(look.withheld());
        return Ok(outcome);
    }
}

/// What [`once`] would do, and what it would refuse, as far as that can be known beforehand. Changes nothing.
///
/// # Errors
///
/// As with [`once`].
pub async fn compare(
    settings: &Settings,
    cluster: &Cluster,
) -> Result<Vec<RouteResult<Difference>>, etcd::Error> {
    for target in &settings.targets {
        target.driver().log_adoption().await;
    }
    each(settings, cluster, difference).await
}

async fn difference(
    mut upstream: Box<dyn Upstream>,
    desired: Desired,
    route: Arc<Route>,
    records: Arc<Records>,
) -> Result<Difference, Error> {
    let plan = upstream.compare(&desired).await?;
    let look = Look::hopeful(&desired, &plan, &route, &records);
    let end = look.end();
    let plan = upstream.compare(&end).await?;
    let reason = withheld_for(end.protection.min_servers);
    let steps = plan.withheld.iter().map(Step::to_string);
    let mut withheld: BTreeMap<_, _> = steps.map(|step| (step, reason.clone())).collect();
    withheld.extend(look.withheld());
    Ok(Difference { plan, withheld })
}

/// Does something with every upstream and what it should be, all at once; the results come in the order of the routes.
async fn each<T, F>(
    settings: &Settings,
    cluster: &Cluster,
    work: impl Fn(Box<dyn Upstream>, Desired, Arc<Route>, Arc<Records>) -> F,
) -> Result<Vec<RouteResult<T>>, etcd::Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (revision, entries) = oneshot::list(cluster, CALL_TIMEOUT, &settings.range()).await?;
    let mut records = Records::new(settings.prefix.clone(), settings.services());
    log_quarantined(&records.update(&Update::Listed { revision, entries }));
    let (revision, entries) = oneshot::list(cluster, CALL_TIMEOUT, &settings.meta_range()).await?;
    let mut overrides = Overrides::new(settings.meta.clone(), settings.services());
    let update = Update::Listed { revision, entries };
    let unseen = overrides.store().unseen(&update);
    if !unseen.is_empty() {
        let prefixes = overrides.store().prefixes();
        let formers = oneshot::patiently(cluster, CALL_TIMEOUT, async |connection| {
            former::read(connection, prefixes, &unseen).await
        });
        let formers = formers.await?;
        overrides.recall(formers);
    }
    log_quarantined(&overrides.update(&update));
    let records = Arc::new(records);
    let mut tasks = JoinSet::new();
    for (number, (target, route)) in settings.routes().enumerate() {
        // Every route's service was given to the records.
        let Some(Wanted { desired, .. }) = route.pool().decide(&records, &overrides) else {
            continue;
        };
        let Some(upstream) = target.upstream(route, cluster) else {
            continue;
        };
        let (target_name, route) = (target.name().clone(), route.clone());
        let work = work(upstream, desired, route.clone(), records.clone());
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
