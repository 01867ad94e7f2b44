//! Where etcd is and how to get in, spelled as etcdctl spells it.

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions};

use super::{Mistakes, with_default};
use crate::record::{MetaPrefix, Prefix};
use crate::registry::client::{Cluster, Settings};
use crate::registry::ttl::check_ttl;

/// Options of every command that talks to etcd.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "etcd (as for etcdctl)")]
#[group(skip)]
pub(super) struct Args {
    /// Members of the cluster, separated by commas.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "127.0.0.1:2379",
        env = "ETCDCTL_ENDPOINTS"
    )]
    endpoints: String,
    /// Certificate authority that the members' certificates are checked with.
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT")]
    cacert: Option<String>,
    /// Certificate to show to etcd.
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT")]
    cert: Option<String>,
    /// Key of that certificate.
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY")]
    key: Option<String>,
    /// User, as NAME or NAME:PASSWORD.
    #[arg(
        long,
        value_name = "NAME[:PASSWORD]",
        env = "ETCDCTL_USER",
        hide_env_values = true
    )]
    user: Option<String>,
    /// Password of the user. Other users of this host can see it in ps: prefer --password-file.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "ETCDCTL_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
    /// File that holds the password.
    #[arg(long, value_name = "FILE", env = "SIDEKICK_PASSWORD_FILE")]
    password_file: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_PREFIX",
        help = with_default("Where records lie in etcd", Prefix::default())
    )]
    prefix: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_META_PREFIX",
        help = with_default("Where sidekick keeps its own keys", MetaPrefix::default())
    )]
    meta_prefix: Option<String>,
}

impl Args {
    /// The cluster, not connected yet.
    pub(super) fn cluster(&self, mistakes: &mut Mistakes) -> Option<Cluster> {
        let endpoints = self.endpoints(mistakes);
        let user = self.user(mistakes);
        let secure = endpoints.iter().any(|e| e.starts_with("https://"));
        let tls = secure.then(|| self.tls(mistakes)).flatten();
        Some(Cluster::new(Settings {
            endpoints,
            user,
            tls,
        }))
    }

    /// Where records and sidekick's own keys lie.
    pub(super) fn prefixes(&self, mistakes: &mut Mistakes) -> Option<(Prefix, MetaPrefix)> {
        let (prefix, meta) = self.given_prefixes(mistakes);
        let (prefix, meta) = (prefix.unwrap_or_default(), meta.unwrap_or_default());
        if !meta.is_apart_from(&prefix) {
            mistakes.add(format!(
                "--meta-prefix {meta} and --prefix {prefix}: neither may lie inside the other"
            ));
        }
        Some((prefix, meta))
    }

    /// The same, where they are given; what is wrong is noted and counts as not given.
    pub(super) fn given_prefixes(
        &self,
        mistakes: &mut Mistakes,
    ) -> (Option<Prefix>, Option<MetaPrefix>) {
        let prefix = self.prefix.as_ref();
        let meta = self.meta_prefix.as_ref();
        (
            prefix.and_then(|text| mistakes.parse("--prefix", text)),
            meta.and_then(|text| mistakes.parse("--meta-prefix", text)),
        )
    }

    fn endpoints(&self, mistakes: &mut Mistakes) -> Vec<String> {
        let wants_tls = self.cacert.is_some() || self.cert.is_some() || self.key.is_some();
        let texts: Vec<_> = self.endpoints.split(',').map(str::trim).collect();
        let mut endpoints = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match endpoint(text, wants_tls) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(why) => mistakes.add(format!("--endpoints {text:?}: {why}")),
            }
        }
        if endpoints.is_empty() && self.endpoints.trim_matches([',', ' ']).is_empty() {
            mistakes.add("--endpoints names no member");
        }
        endpoints
    }

    fn user(&self, mistakes: &mut Mistakes) -> Option<(String, String)> {
        let from_file = self.password_file.as_ref().and_then(|file| {
            let text = mistakes.check("--password-file", read(file))?;
            let text = mistakes.check("--password-file", String::from_utf8(text))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let Some(user) = &self.user else {
            if self.password.is_some() || self.password_file.is_some() {
                mistakes.add("a password without --user");
            }
            return None;
        };
        let (name, inline) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password.to_owned())),
            None => (user.as_str(), None),
        };
        if name.is_empty() {
            mistakes.add("--user: the name is empty");
        }
        let given = [
            inline.is_some(),
            self.password.is_some(),
            self.password_file.is_some(),
        ];
        match given.iter().filter(|given| **given).count() {
            0 => mistakes.add(format!(
                "--user {name}: the password is missing, give --password-file FILE"
            )),
            1 => {}
            _ => mistakes
                .add("the password is given more than once (--user, --password, --password-file)"),
        }
        let password = inline.or_else(|| self.password.clone()).or(from_file)?;
        Some((name.to_owned(), password))
    }

    fn tls(&self, mistakes: &mut Mistakes) -> Option<TlsOptions> {
        crate::tls::install_provider();
        let mut tls = TlsOptions::new();
        tls = match &self.cacert {
            Some(file) => {
                let pem = mistakes.check("--cacert", read_pem(file))?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
            None => tls.with_native_roots(),
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let cert = mistakes.check("--cert", read_pem(cert));
                let key = mistakes.check("--key", read_pem(key));
                tls = tls.identity(Identity::from_pem(cert?, key?));
            }
            (None, None) => {}
            (Some(_), None) => mistakes.add("--cert needs --key"),
            (None, Some(_)) => mistakes.add("--key needs --cert"),
        }
        Some(tls)
    }
}

/// Reads `--ttl`.
pub(super) fn ttl(mistakes: &mut Mistakes, text: &str) -> Option<Duration> {
    let ttl = mistakes.duration("--ttl", text)?;
    mistakes.check(&format!("--ttl {text}"), check_ttl(ttl));
    Some(ttl)
}

/// `HOST:PORT`, with or without a scheme, as a URL.
fn endpoint(text: &str, wants_tls: bool) -> Result<String, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some((other, _)) => return Err(format!("{other}:// is not http:// or https://")),
        None if wants_tls => ("https", text),
        None => ("http", text),
    };
    if wants_tls && scheme == "http" {
        return Err("certificates are given, but the member is http://".to_owned());
    }
    let place = rest.strip_suffix('/').unwrap_or(rest);
    match place.parse::<crate::record::Endpoint>() {
        Ok(place) => Ok(format!("{scheme}://{place}")),
        Err(error) => Err(error.to_string()),
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(file)).map_err(|error| format!("{file}: {error}"))
}

/// A file that holds PEM.
pub(super) fn read_pem(file: &str) -> Result<Vec<u8>, String> {
    let bytes = read(file)?;
    let marker = b"-----BEGIN ";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        Ok(bytes)
    } else {
        Err(format!("{file}: not a PEM file"))
    }
}
