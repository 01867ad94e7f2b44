//! Resolves `--host`. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::host::{HostChoice, Surroundings, in_network};
use super::host_address::{Interface, reachable};
use super::unreachable::{Unreachable, Wanted};
use crate::model::Host;

/// The address that `--host` stands for; of this family if only that one is served.
pub(super) fn chosen_host(
    wanted: &Wanted,
    host: &Surroundings,
    only: Option<IpAddr>,
) -> Result<Option<(Host, String)>, Unreachable> {
    let Some(choice) = &wanted.host else {
        return Ok(None);
    };
    let fits = |address: &IpAddr| only.is_none_or(|only| only.is_ipv4() == address.is_ipv4());
    let none = |why: String| {
        Err(Unreachable::NoneFits {
            choice: choice.to_string(),
            why,
            trouble: host.addresses.trouble.clone(),
        })
    };
    let interface = match choice {
        HostChoice::Address(address) => {
            return Ok(Some((Host::Ip(*address), "--host".to_owned())));
        }
        HostChoice::Network { address, bits } => {
            if let Some(elsewhere) = &host.elsewhere {
                return Err(elsewhere.clone().into());
            }
            let outward = host
                .addresses
                .interfaces
                .iter()
                .filter(|own| !own.is_bridge);
            let found = outward.flat_map(Interface::reachable);
            let found = found.filter(|own| in_network(*own, *address, *bits) && fits(own));
            let found: BTreeSet<_> = found.collect();
            let mut rest = found.iter();
            return match (rest.next(), rest.next()) {
                (None, _) => none("the host has no address in that network".to_owned()),
                (Some(only), None) => {
                    let because = format!("the host's address in {choice} (--host)");
                    Ok(Some((Host::Ip(*only), because)))
                }
                _ => Err(Unreachable::SeveralFit {
                    choice: choice.to_string(),
                    addresses: found.iter().map(ToString::to_string).collect(),
                }),
            };
        }
        HostChoice::Name(name) => match host.addresses.interface(name.as_str()) {
            Some(interface) => interface,
            None => {
                return match &host.resolved {
                    Some((asked, Err(why))) if asked == name => none(format!(
                        "there is no such interface, and the name cannot be resolved ({why})"
                    )),
                    _ => Ok(Some((Host::Dns(name.clone()), "--host".to_owned()))),
                };
            }
        },
        HostChoice::Interface(name) => match host.addresses.interface(name) {
            Some(interface) => interface,
            None => return none("there is no such interface".to_owned()),
        },
    };
    if let Some(elsewhere) = &host.elsewhere {
        return Err(elsewhere.clone().into());
    }
    if !interface.is_up {
        return none("the interface is down".to_owned());
    }
    // If loopback is allowed, this may be its interface.
    let own = || interface.addresses.iter().copied().filter(fits);
    let v4_first = |wanted: fn(&IpAddr) -> bool| {
        let mut found: Vec<_> = own().filter(wanted).collect();
        found.sort_by_key(|address| address.is_ipv6());
        found.first().copied()
    };
    match v4_first(reachable).or_else(|| v4_first(IpAddr::is_loopback)) {
        Some(address) => {
            let because = format!("the address of interface {choice} (--host)");
            Ok(Some((Host::Ip(address), because)))
        }
        None => none("the interface has no address that others could reach".to_owned()),
    }
}
