//! Log messages about an upstream that does not just follow its records.

use tracing::{info, warn};

use super::route::Route;
use crate::upstream::choose::SplitNotice;
use crate::upstream::guard::{Notice, Why};
use crate::util::few::few;
use crate::util::log_limit;

/// How many addresses are named in one line.
const NAMED: usize = 5;

/// Logs whether a split is followed.
pub(super) fn say_split(route: &Route, notice: Option<SplitNotice>) {
    let (upstream, service) = (&route.upstream, &route.service);
    let kind = match notice {
        Some(SplitNotice::Ignored) => "split ignored",
        Some(SplitNotice::Followed) => "split followed",
        None => return,
    };
    let Some(more) = log_limit::allows(kind, route.name()) else {
        return;
    };
    match notice {
        Some(SplitNotice::Ignored) => warn!(
            %upstream, %service,
            "the split matches no instance that takes traffic; it is not followed until one does{more}"
        ),
        _ => info!(%upstream, %service, "the split is followed now{more}"),
    }
}

/// Logs what `min_servers` and the guard decided.
pub(super) fn say(route: &Route, notice: &Notice) {
    let Route {
        upstream, limits, ..
    } = route;
    // Everybody who writes records can cause each of them any number of times.
    let Some(more) = log_limit::allows(kind(notice), route.name()) else {
        return;
    };
    match notice {
        Notice::MinServersProtects(servers) => {
            let (servers, min_servers) = (few(servers, NAMED), limits.min_servers);
            warn!(%upstream, %servers, min_servers, "the last servers are protected: they stay in rotation although their \
                records say otherwise, until enough others take traffic; `sidekick release {upstream}` lets them go{more}");
        }
        Notice::MinServersEnds => {
            info!(%upstream, "the last servers are no longer protected{more}")
        }
        Notice::GuardProtects(servers) => {
            let (servers, hold) = (
                few(servers, NAMED),
                crate::util::duration::typed(limits.protect_for),
            );
            let max_removal = limits.max_removal;
            warn!(%upstream, %servers, %max_removal, %hold, "too many records vanished at once and without notice: \
                their servers are protected for now, except those that turn out to be dead; `sidekick release {upstream}` lets \
                them go. If nothing was stopped on purpose, look at etcd, and whether --prefix is right{more}");
        }
        Notice::GuardLetsGo(servers, why) => {
            let servers = few(servers, NAMED);
            let why = match why {
                Why::Back => "their records are back",
                Why::Leaving => "their records are back, and say that they take no traffic",
                Why::Few => "few enough are missing now",
                Why::Swapped => "as many others have come",
                Why::Dead => "nobody answers there",
                Why::Over => "their records did not come back in time",
                Why::Released => "released",
                Why::Taken => "a record of another service has the address now",
            };
            info!(%upstream, %servers, "no longer protected: {why}{more}");
        }
    }
}

/// The kind of a notice, for the limit of its lines.
fn kind(notice: &Notice) -> &'static str {
    match notice {
        Notice::MinServersProtects(_) => "min_servers protects",
        Notice::MinServersEnds => "min_servers ends",
        Notice::GuardProtects(_) => "guard protects",
        Notice::GuardLetsGo(..) => "guard lets go",
    }
}
