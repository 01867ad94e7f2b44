//! Parses `--probe` and its companions, and the checks that a container's labels ask for.

use std::sync::Arc;

use reqwest::header::HeaderName;

use super::container::Found;
use crate::cli::args::mistakes::Mistakes;
use crate::docker::labels::Check;
use crate::model::Endpoint;
use crate::probe::{ContainerExecProbe, ContainerProbe, HttpOptions, HttpProbe, Probe};
use crate::util::sanitize::short;
use crate::util::secret;

/// The probe `docker:`.
pub(crate) fn container_probe(found: &Found<'_>, needs_healthcheck: bool) -> Probe {
    Probe::Container(ContainerProbe {
        states: found.run.states.clone(),
        needs_healthcheck,
    })
}

/// The container's own check (`SERVICE_CHECK_*`), else its HEALTHCHECK, else only that it runs.
pub(crate) fn own_checks(
    mistakes: &mut Mistakes,
    own: &Endpoint,
    found: &Found<'_>,
    options: &HttpOptions,
) -> Option<Vec<Probe>> {
    if found.identity.checks.is_empty() {
        return Some(vec![container_probe(found, false)]);
    }
    let checks = found.identity.checks.iter().map(|check| {
        let probe = own_check(check, own, found, options);
        let check = short(check.to_string());
        mistakes.check(&format!("the container's check ({check})"), probe)
    });
    let checks: Vec<_> = checks.collect();
    checks.into_iter().collect()
}

fn own_check(
    check: &Check,
    own: &Endpoint,
    found: &Found<'_>,
    options: &HttpOptions,
) -> Result<Probe, String> {
    match check {
        Check::Http {
            path,
            tls,
            method,
            skip_verify,
        } => {
            let mut options = options.clone();
            options.insecure |= skip_verify;
            if let Some(method) = method {
                let method = method.parse();
                options.method = method.map_err(|_| "its method is not one of HTTP".to_owned())?;
            }
            let scheme = if *tls { "https" } else { "http" };
            http(&format!("{scheme}://{own}{path}"), &options)
        }
        Check::Tcp => Ok(Probe::Tcp(own.clone())),
        Check::Grpc { tls: false } => own.to_string().parse().map(Probe::Grpc),
        Check::Grpc { tls: true } => Err("gRPC over TLS is not supported; give --probe".to_owned()),
        Check::ContainerExec { command } => {
            let container = found.run.container.id.parse();
            let container = container.map_err(|error| format!("the container's id: {error}"))?;
            ContainerExecProbe::new(found.run.daemon.clone(), container, command)
                .map(Probe::ContainerExec)
        }
    }
}

/// Splits a header into its name and the rest.
pub(crate) fn header(text: &str) -> Result<(HeaderName, &str), String> {
    let (name, rest) = text.split_once(':').ok_or("expected NAME: and a value")?;
    let name = name.trim().parse::<HeaderName>();
    Ok((name.map_err(|error| error.to_string())?, rest.trim()))
}

/// Refuses a header that looks as if the shell had split it at its spaces.
pub(crate) fn check_whole(header: &str, value: &str) -> Result<(), String> {
    let scheme = ["", "basic", "bearer", "digest", "token"]
        .iter()
        .any(|scheme| value.eq_ignore_ascii_case(scheme));
    if value.is_empty() || (scheme && secret::is_credential(header)) {
        return Err("the value is missing: put quotes around 'NAME: VALUE'".to_owned());
    }
    Ok(())
}

/// Parses one `--probe`. A path needs the record's own address.
pub(crate) fn probe(
    text: &str,
    own: Option<&Endpoint>,
    options: &HttpOptions,
) -> Result<Probe, String> {
    if text.starts_with('/') {
        // A missing address is reported already; still check the path.
        let own = own.map_or_else(|| "host:80".to_owned(), ToString::to_string);
        return http(&format!("http://{own}{text}"), options);
    }
    if let Some(command) = text.strip_prefix("exec:") {
        return command.parse().map(Probe::Exec);
    }
    if text == "docker:" {
        return Err("needs --container".to_owned());
    }
    match text.split_once("://") {
        Some(("http" | "https", _)) => http(text, options),
        Some(("grpc" | "tcp", place)) if place.contains('@') => {
            Err("a login does not belong there".to_owned())
        }
        Some(("grpc", place)) => place.parse().map(Probe::Grpc),
        Some(("tcp", place)) => {
            let place = place.parse().map_err(|error| format!("{error}"))?;
            Ok(Probe::Tcp(place))
        }
        _ => Err(
            "expected a path such as /health, http://…, https://…, tcp://HOST:PORT, \
                  grpc://HOST:PORT[/SERVICE], exec:COMMAND or docker:"
                .to_owned(),
        ),
    }
}

fn http(url: &str, options: &HttpOptions) -> Result<Probe, String> {
    let probe = HttpProbe::new(url, options.clone())?;
    Ok(Probe::Http(Arc::new(probe)))
}

#[cfg(test)]
mod tests;
