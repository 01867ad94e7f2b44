//! Endpoints, certificates and login of etcd, with etcdctl's names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin::Place;
use crate::cli::args::mistakes::Mistakes;
use crate::cli::args::names::with_default;
pub(crate) use crate::etcd::access::CERTIFICATE;
use crate::etcd::access::{Login, PRIVATE_KEY, Password, TlsFiles, read_password};
use crate::etcd::client::{Cluster, Settings};
use crate::etcd::ttl::{check_length, check_ttl};
use crate::model::{MetaPrefix, Prefix};
use crate::util::secret;
use crate::util::secret::Secret;

/// Options of every command that talks to etcd.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "etcd (as for etcdctl)")]
#[group(skip)]
pub(crate) struct Args {
    /// Members of the cluster, separated by commas.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "127.0.0.1:2379",
        env = "ETCDCTL_ENDPOINTS",
        hide_env_values = true
    )]
    endpoints: Secret,
    /// Certificate authority to check the members' certificates with [default: systemd's credential
    /// etcd-cacert].
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT")]
    cacert: Option<String>,
    /// Client certificate [default: systemd's credential etcd-cert].
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT")]
    cert: Option<String>,
    /// Key of that certificate [default: systemd's credential etcd-key].
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY")]
    key: Option<String>,
    /// User, as NAME or NAME:PASSWORD.
    #[arg(
        long,
        value_name = "NAME[:PASSWORD]",
        env = "ETCDCTL_USER",
        hide_env_values = true
    )]
    user: Option<Secret>,
    /// Password of the user. Other users of this host can see it in ps: prefer --password-file, or systemd's credential
    /// etcd-password.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "ETCDCTL_PASSWORD",
        hide_env_values = true
    )]
    password: Option<Secret>,
    /// File that holds the password.
    #[arg(long, value_name = "FILE", env = "SIDEKICK_PASSWORD_FILE")]
    password_file: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_PREFIX",
        help = with_default("Prefix of the records in etcd", Prefix::default())
    )]
    prefix: Option<String>,
    #[arg(
        long,
        value_name = "KEY",
        env = "SIDEKICK_META_PREFIX",
        help = with_default("Prefix of sidekick's own keys", MetaPrefix::default())
    )]
    meta_prefix: Option<String>,
}

/// Options of every command that does one thing in etcd and exits.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct OneShot {
    #[command(flatten)]
    etcd: Args,
    /// How long to retry while etcd does not answer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        env = "ETCDCTL_COMMAND_TIMEOUT"
    )]
    command_timeout: String,
}

impl OneShot {
    /// The cluster and both prefixes.
    pub(crate) fn place(&self, mistakes: &mut Mistakes) -> Option<Place> {
        let patience = mistakes.duration("--command-timeout", &self.command_timeout);
        self.etcd.place(mistakes, patience)
    }
}

/// Notes that one of the prefixes lies inside the other: whoever may write records could write sidekick's own keys.
pub(crate) fn check_apart(mistakes: &mut Mistakes, prefix: &Prefix, meta: &MetaPrefix) {
    if !meta.is_apart_from(prefix) {
        mistakes.add(format!(
            "--meta-prefix {meta} and --prefix {prefix}: neither may lie inside the other"
        ));
    }
}

impl Args {
    /// The cluster and both prefixes, for a command that waits this long for etcd.
    pub(crate) fn place(
        &self,
        mistakes: &mut Mistakes,
        patience: Option<Duration>,
    ) -> Option<Place> {
        let cluster = self.cluster(mistakes);
        let (prefix, meta) = self.prefixes(mistakes)?;
        Some(Place {
            cluster: cluster?,
            prefix,
            meta,
            patience: patience?,
        })
    }

    /// The cluster, not connected yet.
    pub(crate) fn cluster(&self, mistakes: &mut Mistakes) -> Option<Cluster> {
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

    /// The prefixes of records and of sidekick's own keys.
    pub(crate) fn prefixes(&self, mistakes: &mut Mistakes) -> Option<(Prefix, MetaPrefix)> {
        let (prefix, meta) = self.given_prefixes(mistakes);
        let (prefix, meta) = (prefix.unwrap_or_default(), meta.unwrap_or_default());
        check_apart(mistakes, &prefix, &meta);
        Some((prefix, meta))
    }

    /// The prefixes, if they are given; wrong ones are noted and count as not given.
    pub(crate) fn given_prefixes(
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

    /// The members as URLs; mistakes are noted.
    pub(crate) fn endpoints(&self, mistakes: &mut Mistakes) -> Vec<String> {
        let given = self.cacert.is_some() || self.cert.is_some() || self.key.is_some();
        // The credentials may be meant for all units, so they do not rule out an etcd without TLS.
        let there = ["etcd-cacert", "etcd-cert", "etcd-key"];
        let wants_tls = match there.into_iter().any(|name| credential(name).is_some()) {
            _ if given => Tls::Needed,
            true => Tls::Offered,
            false => Tls::Unwanted,
        };
        let given = self.endpoints.reveal();
        let texts: Vec<_> = given.split(',').map(str::trim).collect();
        let mut endpoints = Vec::new();
        if given.contains('@') {
            // A password may contain a comma, and then no single part looks like a login.
            mistakes
                .add("--endpoints: a login does not belong in it; give --user and --password-file");
            return endpoints;
        }
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match endpoint(text, wants_tls) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(why) => {
                    let text = secret::url(text);
                    mistakes.add(format!("--endpoints {text:?}: {why}"));
                }
            }
        }
        if endpoints.is_empty() && given.trim_matches([',', ' ']).is_empty() {
            mistakes.add("--endpoints names no member");
        }
        endpoints
    }

    fn user(&self, mistakes: &mut Mistakes) -> Option<Login> {
        let from_file = self.password_file.as_ref().map(PathBuf::from);
        if let Some(file) = &from_file {
            mistakes.check("--password-file", read_password(file));
        }
        let Some(user) = &self.user else {
            if self.password.is_some() || self.password_file.is_some() {
                mistakes.add("a password without --user");
            }
            return None;
        };
        let (name, inline) = match user.reveal().split_once(':') {
            Some((name, password)) => (name, Some(password.to_owned())),
            None => (user.reveal(), None),
        };
        if name.is_empty() {
            mistakes.add("--user: the name is empty");
        }
        let login = |password| Login {
            name: name.to_owned(),
            password,
        };
        let given = [
            inline.is_some(),
            self.password.is_some(),
            self.password_file.is_some(),
        ];
        match given.iter().filter(|given| **given).count() {
            0 => return Some(login(credential_password(mistakes, name)?)),
            1 => {}
            _ => mistakes
                .add("the password is given more than once (--user, --password, --password-file)"),
        }
        let given = self.password.as_ref();
        let given = given.map(|password| password.reveal().to_owned());
        let text = inline.or(given).map(Password::Text);
        Some(login(text.or(from_file.map(Password::File))?))
    }

    fn tls(&self, mistakes: &mut Mistakes) -> Option<TlsFiles> {
        crate::util::tls::install_provider();
        let or_credential = |given: &Option<String>, name| given.clone().or(credential(name));
        let cacert = or_credential(&self.cacert, "etcd-cacert");
        let cert = or_credential(&self.cert, "etcd-cert");
        let key = or_credential(&self.key, "etcd-key");
        // Read all three, to report every mistake at once.
        let files = [
            ("--cacert", &cacert, CERTIFICATE),
            ("--cert", &cert, CERTIFICATE),
            ("--key", &key, PRIVATE_KEY),
        ];
        let mut right = true;
        for (flag, file, kind) in files {
            let read = file.as_ref().map(|file| read_pem(file, kind));
            right &= read.is_none_or(|read| mistakes.check(flag, read).is_some());
        }
        match (&cert, &key) {
            (Some(_), None) => mistakes.add("--cert needs --key"),
            (None, Some(_)) => mistakes.add("--key needs --cert"),
            _ => {}
        }
        let path = PathBuf::from;
        right.then(|| TlsFiles {
            ca: cacert.map(path),
            identity: cert.map(path).zip(key.map(path)),
        })
    }
}

/// Parses `--ttl` of something that is renewed.
pub(crate) fn ttl(mistakes: &mut Mistakes, text: &str) -> Option<Duration> {
    let ttl = mistakes.duration("--ttl", text)?;
    mistakes.check(&format!("--ttl {text}"), check_ttl(ttl));
    Some(ttl)
}

/// Parses the lifetime of something that is not renewed.
pub(crate) fn length(mistakes: &mut Mistakes, flag: &str, text: &str) -> Option<Duration> {
    let ttl = mistakes.duration(flag, text)?;
    mistakes.check(&format!("{flag} {text}"), check_length(ttl));
    Some(ttl)
}

/// Whether the certificates that are given call for `https://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// There are no certificates.
    Unwanted,
    /// They exist, and are used unless the endpoint says otherwise.
    Offered,
    /// They were given by flag or variable.
    Needed,
}

/// `HOST:PORT`, with or without a scheme, as a URL.
fn endpoint(text: &str, tls: Tls) -> Result<String, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some((other, _)) => return Err(format!("{other}:// is not http:// or https://")),
        None if tls != Tls::Unwanted => ("https", text),
        None => ("http", text),
    };
    if tls == Tls::Needed && scheme == "http" {
        return Err("certificates are given, but the member is http://".to_owned());
    }
    let place = rest.strip_suffix('/').unwrap_or(rest);
    match place.parse::<crate::model::Endpoint>() {
        Ok(place) => Ok(format!("{scheme}://{place}")),
        // The error repeats the text.
        Err(error) => Err(error.to_string().replace(place, &secret::url(place))),
    }
}

/// The file of a credential that systemd passes to the unit (`LoadCredential=`), if there is one.
fn credential(name: &str) -> Option<String> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let file = Path::new(&folder).join(name);
    let file = file.exists().then_some(file)?;
    file.into_os_string().into_string().ok()
}

/// The password from systemd's credential, for a user without another.
fn credential_password(mistakes: &mut Mistakes, user: &str) -> Option<Password> {
    let Some(file) = credential("etcd-password").map(PathBuf::from) else {
        mistakes.add(format!(
            "--user {user}: the password is missing, give --password-file FILE or the credential etcd-password"
        ));
        return None;
    };
    mistakes.check("the credential etcd-password", read_password(&file))?;
    Some(Password::File(file))
}

/// Reads a PEM file that contains a section of this kind.
pub(crate) fn read_pem(file: &str, kind: &str) -> Result<Vec<u8>, String> {
    crate::etcd::access::read_pem(Path::new(file), kind)
}
