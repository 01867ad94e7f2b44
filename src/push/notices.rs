//! Log messages about an upstream that does not just follow its records.

use tracing::{info, warn};

use super::route::Route;
use crate::upstream::choose::SplitNotice;
use crate::upstream::guard::{Notice, Why};
use crate::util::few::few;
use crate::util::last_state;

/// How many addresses are named in one line.
const NAMED: usize = 5;

/// Logs whether a split is followed.
pub(super) fn say_split(route: &Route, notice: Option<SplitNotice>) {
    let (upstream, service) = (route.upstream.clone(), route.service.clone());
    let subject = format!("split of {}", route.name());
    match notice {
        Some(SplitNotice::Ignored) => {
            last_state::tell_by("split ignored", &subject, move |more| {
                warn!(
                    %upstream, %service,
                    "the split matches no instance that takes traffic; it is not followed until one does{more}"
                );
            });
        }
        Some(SplitNotice::Followed) => {
            last_state::tell_by("split followed", &subject, move |more| {
                info!(%upstream, %service, "the split is followed now{more}");
            });
        }
        None => {}
    }
}

/// Logs what `min_servers` and the guard decided. Everybody who writes records can cause each of them any number of times.
pub(super) fn say(route: &Route, notice: &Notice) {
    let (upstream, limits) = (route.upstream.clone(), &route.limits);
    let min_servers = limits.min_servers;
    let subject = |what: &str| format!("{what} of {}", route.name());
    let kind = kind(notice);
    match notice {
        Notice::MinServersProtects(servers) => {
            let servers = few(servers, NAMED);
            last_state::tell_by(kind, &subject("min_servers"), move |more| {
                warn!(%upstream, %servers, min_servers, "the last servers are protected: they stay in rotation although their \
                    records say otherwise, until enough others take traffic; `sidekick release {upstream}` lets them go{more}");
            });
        }
        Notice::MinServersEnds => last_state::tell_by(kind, &subject("min_servers"), move |more| {
            info!(%upstream, "the last servers are no longer protected{more}");
        }),
        Notice::GuardProtects(servers) => {
            let servers = few(servers, NAMED);
            let hold = crate::util::duration::typed(limits.protect_for);
            let max_removal = limits.max_removal;
            last_state::tell_by(kind, &subject("guard"), move |more| {
                warn!(%upstream, %servers, %max_removal, %hold, "too many records vanished at once and without notice: \
                    their servers are protected for now, except those that turn out to be dead; `sidekick release {upstream}` \
                    lets them go. If nothing was stopped on purpose, look at etcd, and whether --prefix is right{more}");
            });
        }
        Notice::GuardLetsGo(servers, why) => {
            let (servers, why) = (few(servers, NAMED), why_in_words(why));
            last_state::tell_by(kind, &subject("guard"), move |more| {
                info!(%upstream, %servers, "no longer protected: {why}{more}");
            });
        }
    }
}

fn why_in_words(why: &Why) -> &'static str {
    match why {
        Why::Back => "their records are back",
        Why::Leaving => "their records are back, and say that they take no traffic",
        Why::Few => "few enough are missing now",
        Why::Swapped => "as many others have come",
        Why::Dead => "nobody answers there",
        Why::Over => "their records did not come back in time",
        Why::Released => "released",
        Why::Taken => "a record of another service has the address now",
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
