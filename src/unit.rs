//! What systemd says of the unit that this process is the main process of.
//!
//! With `NOTIFY_SOCKET` the announcer asks for the time that it needs to leave (`EXTEND_TIMEOUT_USEC=`). Without it systemd
//! kills at the end of `TimeoutStopSec=`, whatever is still under way: then the two have to fit from the start.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::registry::client::CALL_TIMEOUT;
use crate::span;

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a unit is given to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTimeout {
    unit: Unit,
    limit: Duration,
}

/// A service by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    name: String,
    /// Of a user's own manager.
    of_user: bool,
}

/// Stopping may take longer than systemd waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TooShort {
    drain_timeout: Duration,
    linger: Duration,
    unit: String,
    limit: Duration,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = crate::span::show;
        // etcd is given time for its answers, too.
        let leaving = self.drain_timeout.saturating_add(self.linger);
        let enough = leaving.saturating_add(2 * CALL_TIMEOUT);
        write!(
            f,
            "--drain-timeout {} and --linger {} make stopping take up to {}, but systemd kills {} after {}: \
             set TimeoutStopSec={} there, or Type=notify, or shorter times",
            shown(self.drain_timeout),
            shown(self.linger),
            shown(leaving),
            self.unit,
            shown(self.limit),
            enough
                .as_secs()
                .saturating_add(u64::from(enough.subsec_nanos() > 0)),
        )
    }
}

impl StopTimeout {
    /// Of this process's unit, when it is the main process of one that cannot ask for more time. Best effort: `None` too when
    /// systemd does not tell in time.
    pub async fn of_own_unit() -> Option<Self> {
        let var = |name| std::env::var(name).ok();
        // Whoever is started by hand from a shell of some service is not stopped with that service's timeout.
        let is_main = var("SYSTEMD_EXEC_PID") == Some(std::process::id().to_string());
        if !is_main || var("NOTIFY_SOCKET").is_some() {
            return None;
        }
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let unit = Unit::of(&groups)?;
        let answer = timeout(PATIENCE, ask(&unit)).await.ok()??;
        let limit = read_time_span(&answer)?;
        Some(Self { unit, limit })
    }

    /// Whether leaving is over before systemd kills.
    ///
    /// A contradiction is a mistake like any other, and not only worth a warning: its price is paid much later, when a backend
    /// is stopped under load and the announcer is killed in the middle of draining it. And it is certain: where systemd
    /// could not be asked there is nothing to compare.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn check(&self, drain_timeout: Duration, linger: Duration) -> Result<(), TooShort> {
        if drain_timeout.saturating_add(linger) < self.limit {
            return Ok(());
        }
        Err(TooShort {
            drain_timeout,
            linger,
            unit: self.unit.name.clone(),
            limit: self.limit,
        })
    }
}

impl Unit {
    /// The service of a process, from its `/proc/PID/cgroup`.
    fn of(groups: &str) -> Option<Self> {
        let paths = groups.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_systemds = matches!(controllers, "" | "name=systemd");
            is_systemds.then_some(path)
        });
        paths.filter_map(Self::of_path).next()
    }

    fn of_path(path: &str) -> Option<Self> {
        let parts: Vec<_> = path.split('/').collect();
        let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
        let at = parts.iter().rposition(is_unit)?;
        // systemd puts a _ in front of names that the kernel keeps for itself.
        let name = parts[at].strip_prefix('_').unwrap_or(parts[at]);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        let is_name = !name.starts_with('-') && name.len() < 256 && name.bytes().all(allowed);
        (is_name && name.ends_with(".service")).then(|| Self {
            name: name.to_owned(),
            of_user: parts[..at].iter().any(|part| part.starts_with("user@")),
        })
    }
}

async fn ask(unit: &Unit) -> Option<String> {
    let manager = if unit.of_user { "--user" } else { "--system" };
    let asked = Command::new("systemctl")
        .args([
            manager,
            "show",
            "--property=TimeoutStopUSec",
            "--value",
            "--",
            &unit.name,
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = asked.await.ok()?;
    answer.status.success().then_some(())?;
    String::from_utf8(answer.stdout).ok()
}

/// `1min 30s` as systemctl shows it; `None` for `infinity`, and for what is no time.
fn read_time_span(text: &str) -> Option<Duration> {
    let span = span::read(text)?;
    // Zero switches the timeout off.
    (!span.is_zero()).then_some(span)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(groups: &str) -> Option<(String, bool)> {
        Unit::of(groups).map(|unit| (unit.name, unit.of_user))
    }

    #[test]
    fn the_unit_is_found_in_old_and_new_hierarchies_and_for_users() {
        let system = Some(("web1-sidekick.service".to_owned(), false));
        for groups in [
            "0::/system.slice/web1-sidekick.service\n",
            "0::/system.slice/web1-sidekick.service/payload\n",
            "4:memory:/x.service\n1:name=systemd:/system.slice/web1-sidekick.service\n0::/\n",
            "1:name=systemd:/\n0::/system.slice/_web1-sidekick.service\n",
        ] {
            assert_eq!(unit(groups), system, "{groups}");
        }
        let user = "0::/user.slice/user-7.slice/user@7.service/app.slice/web@1.service\n";
        assert_eq!(unit(user), Some(("web@1.service".to_owned(), true)));
    }

    #[test]
    fn what_is_no_service_has_no_unit() {
        for groups in [
            "",
            "0::/\n",
            "0::/user.slice/user-7.slice/session-3.scope\n",
            "0::/user.slice/user-7.slice/user@7.service/app.slice/run-1.scope\n",
            "0::/system.slice/-x.service\n",
            "0::/system.slice/a b.service\n",
            "0::/docker/0123abcd\n",
            "nonsense",
        ] {
            assert_eq!(unit(groups), None, "{groups}");
        }
    }

    #[test]
    fn time_spans_are_read_as_systemctl_shows_them() {
        for (text, millis) in [
            ("1min 30s\n", 90_000),
            ("20s", 20_000),
            ("500ms", 500),
            ("1h 2min 3s 4ms", 3_723_004),
            ("2d 1h", 176_400_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(
                read_time_span(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["infinity\n", "", "0", "[not set]", "Failed to connect"] {
            assert_eq!(read_time_span(text), None, "{text}");
        }
    }

    #[test]
    fn leaving_that_takes_as_long_as_the_timeout_or_longer_is_refused_with_both_figures() {
        let timeout = StopTimeout {
            unit: Unit {
                name: "web.service".to_owned(),
                of_user: false,
            },
            limit: Duration::from_secs(20),
        };
        let seconds = Duration::from_secs;
        assert_eq!(timeout.check(seconds(10), seconds(9)), Ok(()));
        let refused = timeout.check(seconds(15), seconds(5)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--drain-timeout 15s and --linger 5s make stopping take up to 20s, but systemd kills web.service after 20s: \
             set TimeoutStopSec=26 there, or Type=notify, or shorter times"
        );
        let endless = timeout.check(Duration::MAX, seconds(1)).unwrap_err();
        assert!(endless.to_string().contains("after 20s"));
    }

    proptest! {
        #[test]
        fn arbitrary_groups_and_answers_never_panic(text in any::<String>(), path in "[0-9:/a-z.@_-]{0,60}(.service)?") {
            let _ = read_time_span(&text);
            let _ = Unit::of(&text);
            if let Some(unit) = Unit::of(&format!("0::/{path}")) {
                prop_assert!(unit.name.ends_with(".service") && !unit.name.starts_with('-'));
                prop_assert!(!unit.name.contains('/'));
            }
        }
    }
}
