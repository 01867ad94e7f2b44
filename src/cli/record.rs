//! What a command line says of a record, besides its name and address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Mistakes;
use crate::record::{Format, Host, Protocol, Record};

/// Options of every command that writes a record.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Record")]
#[group(skip)]
pub(super) struct Args {
    /// How the value is written: json, or plain (HOST:PORT).
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
    /// A free label; may be given several times, or as a list with commas.
    #[arg(long, value_name = "TAG", value_delimiter = ',', env = "SIDEKICK_TAG")]
    tag: Vec<String>,
    /// A free pair; may be given several times, or as a list with commas.
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
    /// How the record is written; whatever else is given must be sayable so.
    pub(super) fn format(&self, mistakes: &mut Mistakes) -> Option<Format> {
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

    /// Adds the options to what is known of the record; refuses an address that no other host reaches.
    pub(super) fn complete(&self, mistakes: &mut Mistakes, base: Option<Record>) -> Option<Record> {
        let weight = self.weight(mistakes);
        let protocol: Option<Protocol> =
            (self.protocol.as_deref()).and_then(|text| mistakes.parse("--protocol", text));
        let meta = self.meta(mistakes);
        let mut record = base?;
        let host = &record.endpoint.host;
        if !self.allow_loopback
            && let Some(why) = unreachable_from_elsewhere(host)
        {
            mistakes.add(format!(
                "{host} is {why}: no other host reaches it; give an address that load balancers can use, or --allow-loopback"
            ));
        }
        record.weight = weight;
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
                Some((name, value)) if !name.is_empty() => {
                    meta.insert(name.to_owned(), value.to_owned());
                }
                _ => mistakes.add(format!("--meta {pair:?}: expected NAME=VALUE")),
            }
        }
        meta
    }
}

/// Takes note that `flag` is given for a record that has no room for it.
pub(super) fn refuse_in_plain(mistakes: &mut Mistakes, flag: &str) {
    mistakes.add(format!(
        "{flag}: a plain record is HOST:PORT and cannot say it; use --format json"
    ));
}

/// What is wrong with a host that load balancers on other hosts are to connect to.
fn unreachable_from_elsewhere(host: &Host) -> Option<&'static str> {
    let ip = match host {
        Host::Ip(ip) => ip.to_canonical(),
        Host::Dns(name) => {
            let name = name.as_str();
            let local = name == "localhost" || name.ends_with(".localhost");
            return local.then_some("a loopback name");
        }
    };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        ip if ip.is_loopback() => Some("a loopback address"),
        ip if ip.is_unspecified() => Some("the unspecified address"),
        _ if link_local => Some("a link-local address"),
        _ => None,
    }
}
