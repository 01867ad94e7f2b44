//! What would be done to the file, as the steps of a plan.

use std::sync::Arc;
use std::time::Duration;

use super::names::Names;
use super::servers::peers;
use super::settings::Settings;
use super::template::Template;
use super::text::without_names;
use super::unrecorded;
use super::wanted::Wanted;
use crate::target::{Error, UpstreamName};
use crate::upstream::plan::{Activity, Drains, Plan, Step, plan as difference};
use crate::upstream::state::Desired;
use crate::util::sanitize::short;

/// What is to be done to the block of one upstream, which is `found` in the file.
///
/// A difference outside of the servers is one step: the file is written anew.
pub(super) fn plan(
    found: Option<&str>,
    settings: &Settings,
    template: Option<&Arc<Template>>,
    name: &UpstreamName,
    desired: &Desired,
) -> Result<Plan, Error> {
    let found = found.map(without_names);
    let wanted = Wanted::new(
        template,
        name,
        desired,
        &Names::new(),
        found.as_deref(),
        false,
    )?;
    let kept = unrecorded::kept(&wanted.block);
    let is_equal = found.as_ref() == Some(&wanted.block);
    if is_equal && kept.is_empty() {
        return Ok(Plan::default());
    }
    let peers = peers(&found.unwrap_or_default());
    let peers =
        peers.map_err(|reason| settings.file_error(format!("cannot be understood: {reason}")))?;
    let mut servers = desired.servers.clone();
    servers.retain(|endpoint, _| !wanted.refused.contains_key(endpoint));
    for server in servers.values_mut() {
        // Open-source nginx has no slow_start.
        server.parameters.slow_start = None;
    }
    let drains = Drains::new(Duration::ZERO);
    let mut plan = difference(&servers, &peers, &Activity::new(), &drains);
    // A draining server stays in the file, as `down`, as long as its record stands.
    plan.waiting.clear();
    let is_kept = |step: &mut Step| matches!(step, Step::Remove { server, .. } if kept.iter().any(|kept| short(kept) == *server));
    plan.withheld = plan.steps.extract_if(.., is_kept).collect();
    if plan.steps.is_empty() && !is_equal {
        let file = settings.shown();
        plan.steps.push(Step::Write { file });
    }
    Ok(plan)
}

#[cfg(test)]
mod tests;
