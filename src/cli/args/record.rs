//! The flags that describe a record, besides its name and address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::cli::args::mistakes::Mistakes;
use crate::docker::host::resolve;
use crate::model::{Address, Format, Host, Protocol, Record};
use crate::util::sanitize::short;
use crate::util::secret;

/// Timeout for resolving a name only to check it.
const RESOLVING: Duration = Duration::from_secs(2);

/// Options of every command that writes a record.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Record")]
#[group(skip)]
pub(crate) struct Args {
    /// Format of the value: json, or plain (HOST:PORT).
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "json",
        env = "SIDEKICK_FORMAT"
    )]
    format: String,
    /// Share of the traffic, 0 to 65535; absent counts as 1.
    #[arg(long, value_name = "N", env = "SIDEKICK_WEIGHT")]
    weight: Option<String>,
    /// A tag; may be given several times, or as a list with commas.
    #[arg(long, value_name = "TAG", value_delimiter = ',', env = "SIDEKICK_TAG")]
    tag: Vec<String>,
    /// A NAME=VALUE pair; may be given several times, or as a list with commas.
    #[arg(
        long,
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        env = "SIDEKICK_META"
    )]
    meta: Vec<String>,
    /// tcp or udp [default: that of the container's port, else tcp].
    #[arg(long, value_name = "PROTOCOL", env = "SIDEKICK_PROTOCOL")]
    protocol: Option<String>,
    /// Allows addresses that only this host can reach.
    #[arg(long, env = "SIDEKICK_ALLOW_LOOPBACK")]
    allow_loopback: bool,
}

impl Args {
    /// The record's format; options that it cannot express are refused.
    pub(crate) fn format(&self, mistakes: &mut Mistakes) -> Option<Format> {
        let format = mistakes.parse("--format", &self.format)?;
        if format == Format::Plain {
            let given = [
                ("--weight", self.weight.is_some()),
                ("--tag", !self.tag.is_empty()),
                ("--meta", !self.meta.is_empty()),
            ];
            for (flag, _) in given.iter().filter(|(_, given)| *given) {
                refuse_in_plain(mistakes, flag);
            }
        }
        Some(format)
    }

    /// Refuses a name that resolves to an address that no other host reaches. A name that cannot be resolved here may
    /// resolve elsewhere.
    pub(crate) async fn check_name(&self, mistakes: &mut Mistakes, address: Option<&str>) {
        let address: Option<Address> = address.and_then(|text| text.parse().ok());
        let Some(host @ Host::Dns(name)) = address.as_ref().map(|it| &it.endpoint.host) else {
            return;
        };
        if self.allow_loopback || unreachable_from_elsewhere(host, &[]).is_some() {
            return;
        }
        let resolved = timeout(RESOLVING, resolve(name)).await;
        let resolved = resolved.ok().and_then(Result::ok).unwrap_or_default();
        if let Some(why) = unreachable_from_elsewhere(host, &resolved) {
            refuse_unreachable(mistakes, host, &why);
        }
    }

    /// Adds the options to a base record; refuses an address that no other host reaches.
    pub(crate) fn complete(&self, mistakes: &mut Mistakes, base: Option<Record>) -> Option<Record> {
        self.complete_at(mistakes, base, &[])
    }

    /// As [`Self::complete`], with the addresses that the record's name resolves to.
    pub(crate) fn complete_at(
        &self,
        mistakes: &mut Mistakes,
        base: Option<Record>,
        resolved: &[IpAddr],
    ) -> Option<Record> {
        let weight = self.weight(mistakes);
        let protocol: Option<Protocol> =
            (self.protocol.as_deref()).and_then(|text| mistakes.parse("--protocol", text));
        let meta = self.meta(mistakes);
        let mut record = base?;
        let host = &record.endpoint.host;
        if !self.allow_loopback
            && let Some(why) = unreachable_from_elsewhere(host, resolved)
        {
            refuse_unreachable(mistakes, host, &why);
        }
        record.weight = weight.or(record.weight);
        for tag in self.tag.iter().filter(|tag| secret::has_login(tag)) {
            let shown = secret::url(tag);
            mistakes.add(format!(
                "--tag {shown}: everybody who may read etcd could read the login in it; leave it out"
            ));
        }
        record.tags.extend_from_slice(&self.tag);
        record.meta.extend(meta);
        record.protocol = protocol.unwrap_or(record.protocol);
        Some(record)
    }

    fn weight(&self, mistakes: &mut Mistakes) -> Option<u16> {
        let text = self.weight.as_ref()?;
        let weight = text.parse().ok();
        if weight.is_none() {
            mistakes.add(format!(
                "--weight {text:?}: expected a number from 0 to 65535"
            ));
        }
        weight
    }

    fn meta(&self, mistakes: &mut Mistakes) -> BTreeMap<String, String> {
        let mut meta = BTreeMap::new();
        for pair in &self.meta {
            match pair.split_once('=') {
                Some((name, value)) if secret::has_login(value) => {
                    let (name, value) = (short(name), secret::url(value));
                    mistakes.add(format!(
                        "--meta {name}={value}: everybody who may read etcd could read the login in it; leave it out"
                    ));
                }
                Some((name, value)) if !name.is_empty() => {
                    meta.insert(name.to_owned(), value.to_owned());
                }
                // It may be the end of a login that contains a comma.
                _ => {
                    let shown = secret::url(pair);
                    mistakes.add(format!("--meta {shown:?}: expected NAME=VALUE"));
                }
            }
        }
        meta
    }
}

/// Refuses `flag` for a plain record.
pub(crate) fn refuse_in_plain(mistakes: &mut Mistakes, flag: &str) {
    mistakes.add(format!(
        "{flag}: a plain record is HOST:PORT and cannot say it; use --format json"
    ));
}

fn refuse_unreachable(mistakes: &mut Mistakes, host: &Host, why: &str) {
    mistakes.add(format!(
        "{host} is {why}: no other host reaches it; give an address that load balancers can use, or --allow-loopback"
    ));
}

/// What a link-local address is called here.
const LINK_LOCAL: &str = "a link-local address";

/// What is wrong with a host that load balancers on other hosts must reach.
fn unreachable_from_elsewhere(host: &Host, resolved: &[IpAddr]) -> Option<String> {
    match host {
        Host::Ip(ip) => only_here(*ip).map(str::to_owned),
        Host::Dns(name) => {
            let name = name.as_str();
            if name == "localhost" || name.ends_with(".localhost") {
                return Some("a loopback name".to_owned());
            }
            let wrong = resolved.iter().filter_map(|ip| Some((ip, only_here(*ip)?)));
            let wrong: Vec<_> = wrong.collect();
            let all = wrong.len() == resolved.len();
            // A host's name may resolve to link-local addresses beside better ones.
            let worst = |(_, why): &&(&IpAddr, &str)| all || *why != LINK_LOCAL;
            let (ip, why) = wrong.iter().find(worst)?;
            Some(format!("a name that leads to {ip}, {why}"))
        }
    }
}

/// What is wrong with an address that other hosts must reach.
fn only_here(ip: IpAddr) -> Option<&'static str> {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        ip if ip.is_loopback() => Some("a loopback address"),
        ip if ip.is_unspecified() => Some("the unspecified address"),
        _ if link_local => Some(LINK_LOCAL),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
