//! The flags of the probes.

use std::time::Duration;

use regex_lite::Regex;
use reqwest::header::HeaderValue;

use super::container::Found;
use super::pace::PaceArgs;
use super::probes::{check_whole, container_probe, header, own_checks, probe};
use crate::cli::args::etcd;
use crate::cli::args::mistakes::Mistakes;
use crate::model::Endpoint;
use crate::probe::{Authorities, HttpOptions, Pace, Probe};
use crate::util::secret::Secret;
use crate::util::{duration, secret};

/// What to probe, how often, and what passes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Probe")]
#[group(skip)]
pub(crate) struct Flags {
    /// What must work: /PATH, http(s)://…, tcp://…, grpc://…, exec:COMMAND or docker:
    ///
    /// A path (/health) is requested from the announced address by HTTP. tcp://HOST:PORT must accept a connection,
    /// grpc://HOST:PORT[/SERVICE] answer grpc.health.v1, the command of exec: end with exit code 0, and docker: is the
    /// container's HEALTHCHECK. May be given several times: all must pass. Without it, a container's SERVICE_CHECK_
    /// labels apply, else its HEALTHCHECK, else only whether it runs; without a container the record is kept
    /// unconditionally.
    #[arg(
        long,
        value_name = "PROBE",
        env = "SIDEKICK_PROBE",
        hide_env_values = true
    )]
    pub(crate) probe: Vec<Secret>,
    /// Time between two rounds, minus up to a tenth (Kubernetes: periodSeconds) [default: what the container says, else
    /// 2s, or the timeout where that is longer].
    #[arg(long, value_name = "TIME", env = "SIDEKICK_INTERVAL")]
    pub(crate) interval: Option<String>,
    /// Timeout of one attempt; no longer than the interval (timeoutSeconds) [default: what the container says, else 1s,
    /// or the interval where that is shorter].
    #[arg(long, value_name = "TIME", env = "SIDEKICK_TIMEOUT")]
    pub(crate) timeout: Option<String>,
    /// Passes in a row until the backend is up; it starts down (successThreshold).
    #[arg(long, value_name = "N", default_value = "2", env = "SIDEKICK_RISE")]
    pub(crate) rise: String,
    /// Failures in a row until it is down (failureThreshold).
    #[arg(long, value_name = "N", default_value = "3", env = "SIDEKICK_FALL")]
    pub(crate) fall: String,
    /// Delay before the first attempt (initialDelaySeconds).
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        env = "SIDEKICK_GRACE"
    )]
    pub(crate) grace: String,
    /// HTTP status codes that pass: 200-399, or a list such as 200,204.
    #[arg(
        long,
        value_name = "CODES",
        default_value = "200-399",
        env = "SIDEKICK_EXPECT_STATUS"
    )]
    pub(crate) expect_status: String,

    /// Regular expression that the first 64 KiB of an HTTP answer must match.
    #[arg(long, value_name = "REGEX", env = "SIDEKICK_EXPECT_BODY")]
    pub(crate) expect_body: Option<String>,
    /// A header that an HTTP answer must have, and a regular expression for its value. May be given several times.
    #[arg(long, value_name = "NAME: REGEX", env = "SIDEKICK_EXPECT_HEADER")]
    pub(crate) expect_header: Vec<String>,
    /// Method of HTTP probes.
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        env = "SIDEKICK_PROBE_METHOD"
    )]
    pub(crate) probe_method: String,
    /// A header to send with HTTP probes. May be given several times.
    #[arg(
        long,
        value_name = "NAME: VALUE",
        env = "SIDEKICK_PROBE_HEADER",
        hide_env_values = true
    )]
    pub(crate) probe_header: Vec<Secret>,
    /// Certificate authority that https:// probes accept in place of the system's.
    #[arg(long, value_name = "FILE", env = "SIDEKICK_PROBE_CACERT")]
    pub(crate) probe_cacert: Option<String>,
    /// Name that https:// probes ask for (SNI) and that the certificate must be for; by default, the URL's host.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_PROBE_TLS_NAME")]
    pub(crate) probe_tls_name: Option<String>,
    /// Accepts any certificate from https:// probes.
    #[arg(long, env = "SIDEKICK_PROBE_INSECURE")]
    pub(crate) probe_insecure: bool,
}

impl Flags {
    /// The given probes; else, where a container is `paired`, those of its labels; else its state as its daemon reports
    /// it.
    pub(crate) fn probes(
        &self,
        mistakes: &mut Mistakes,
        own: Option<&Endpoint>,
        paired: bool,
        found: Option<&Found<'_>>,
    ) -> Option<Vec<Probe>> {
        let options = self.http_options(mistakes);
        if let (true, Some(own), Some(found)) = (self.probe.is_empty(), own, found) {
            return own_checks(mistakes, own, found, &options);
        }
        let probes = self.probe.iter().map(|text| {
            let text = text.reveal();
            let probe = match (text, found) {
                ("docker:", Some(found)) => Ok(container_probe(found, true)),
                // The container is not known yet.
                ("docker:", None) if paired => return None,
                _ => probe(text, own, &options),
            };
            mistakes.check(&format!("--probe {:?}", secret::probe(text)), probe)
        });
        // Check all of them, to report every mistake at once.
        let probes: Vec<_> = probes.collect();
        probes.into_iter().collect()
    }

    /// Options of HTTP probes; mistakes are noted and left out.
    fn http_options(&self, mistakes: &mut Mistakes) -> HttpOptions {
        let mut options = HttpOptions {
            insecure: self.probe_insecure,
            ..HttpOptions::default()
        };
        if let Some(statuses) = mistakes.parse("--expect-status", &self.expect_status) {
            options.expect_status = statuses;
        }
        if let Some(method) = mistakes.parse("--probe-method", &self.probe_method) {
            options.method = method;
        }
        let pattern = self.expect_body.as_deref().map(Regex::new);
        options.expect_body = pattern.and_then(|pattern| mistakes.check("--expect-body", pattern));
        for text in &self.expect_header {
            let expected = header(text).and_then(|(name, pattern)| {
                let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
                Ok((name, pattern))
            });
            let expected = mistakes.check(&format!("--expect-header {text:?}"), expected);
            options.expect_headers.extend(expected);
        }
        for text in &self.probe_header {
            let text = text.reveal();
            let sent = header(text).and_then(|(name, value)| {
                check_whole(text, value)?;
                let value = value.parse::<HeaderValue>();
                Ok((name, value.map_err(|error| error.to_string())?))
            });
            let place = format!("--probe-header {:?}", secret::header(text));
            if let Some((name, mut value)) = mistakes.check(&place, sent) {
                value.set_sensitive(true);
                options.headers.append(name, value);
            }
        }
        if let Some(name) = &self.probe_tls_name {
            options.tls_name = mistakes.parse("--probe-tls-name", name);
        }
        if let Some(file) = &self.probe_cacert {
            let authorities = etcd::read_pem(file, etcd::CERTIFICATE).and_then(|pem| {
                Authorities::from_pem(&pem).map_err(|error| format!("{file}: {error}"))
            });
            let authorities = mistakes.check("--probe-cacert", authorities);
            options.authorities = authorities.unwrap_or_default();
        }
        options
    }

    /// Flags beat the container's labels, and the rest is fitted to them.
    pub(crate) fn pace(&self, mistakes: &mut Mistakes, found: Option<&Found<'_>>) -> Option<Pace> {
        let mut time = |flag, text: &Option<String>| {
            let time = text.as_ref().map(|text| mistakes.duration(flag, text));
            if time == Some(Some(Duration::ZERO)) {
                mistakes.add(format!("{flag} 0s: expected more than no time at all"));
            }
            time
        };
        let interval = time("--interval", &self.interval);
        let timeout = time("--timeout", &self.timeout);
        let grace = mistakes.duration("--grace", &self.grace);
        let flags = PaceArgs {
            interval: interval.flatten(),
            timeout: timeout.flatten(),
        };
        let container = found.map_or_else(PaceArgs::default, |found| PaceArgs {
            interval: found.identity.interval,
            timeout: found.identity.timeout,
        });
        if let Some((timeout, interval)) = flags.contradiction() {
            mistakes.add(format!(
                "--timeout {timeout} must not be longer than --interval {interval}, or one attempt runs into the next"
            ));
        }
        if flags == PaceArgs::default()
            && let Some((timeout, interval)) = container.contradiction()
        {
            mistakes.add(format!(
                "the container's SERVICE_CHECK_TIMEOUT {timeout} is longer than its SERVICE_CHECK_INTERVAL {interval}: one attempt would run into the next; --timeout or --interval beat them"
            ));
        }
        // They are given but wrong.
        if interval == Some(None) || timeout == Some(None) {
            return None;
        }
        let (interval, timeout) = flags.before(container);
        Some(Pace {
            interval,
            timeout,
            grace: grace?,
        })
    }

    /// Interval and timeout from these flags. Wrong ones count as not given: they are refused elsewhere.
    pub(crate) fn pace_args(&self) -> PaceArgs {
        PaceArgs {
            interval: self.interval.as_deref().and_then(duration::read),
            timeout: self.timeout.as_deref().and_then(duration::read),
        }
    }

    pub(crate) fn rise(&self, mistakes: &mut Mistakes) -> Option<u32> {
        mistakes.count("--rise", &self.rise)
    }

    pub(crate) fn fall(&self, mistakes: &mut Mistakes) -> Option<u32> {
        mistakes.count("--fall", &self.fall)
    }
}
