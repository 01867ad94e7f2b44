//! A configuration file and the flags that beat it, made into the settings of this process.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Config, Invalid, Mistake, UpstreamSettings};
use crate::model::{MetaPrefix, Prefix, PusherId};
use crate::push::reconcile::Pacing;
use crate::push::route::Route;
use crate::push::settings::{FORGET_AFTER, Settings, TTL};
use crate::push::target::{Target, TargetError};
use crate::target::TargetFlags;
use crate::upstream::choose::Selection;
use crate::upstream::guard::Limits;
use crate::upstream::guard::Share;

/// The largest configuration, in bytes: many thousands of upstreams.
const MAX_FILE: u64 = 8 << 20;

/// Settings from flags. They beat the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FromFlags {
    /// The name of this pusher.
    pub id: Option<PusherId>,
    /// The default name: the host's.
    pub host: Option<PusherId>,
    /// Prefix of the records.
    pub prefix: Option<Prefix>,
    /// Prefix of sidekick's own keys.
    pub meta_prefix: Option<MetaPrefix>,
    /// How long a change waits for further ones.
    pub debounce: Option<Duration>,
    /// Time between two reads of an upstream without a change.
    pub resync: Option<Duration>,
    /// How long the status record outlives a killed pusher.
    pub ttl: Option<Duration>,
    /// How long the targets count as routing after the pusher was last seen.
    pub forget_after: Option<Duration>,
    /// Timeout of a request to an API, for all targets.
    pub request_timeout: Option<Duration>,
    /// How long a draining server may take to finish, in all upstreams.
    pub drain_timeout: Option<Duration>,
    /// Least number of servers, in all upstreams.
    pub min_servers: Option<usize>,
    /// How much may vanish without notice before it is protected, in all upstreams.
    pub max_removal: Option<Share>,
    /// How long vanished servers are protected, in all upstreams.
    pub hold: Option<Duration>,
    /// Whether files that are not sidekick's own are taken over.
    pub adopt: bool,
}

/// A configuration file and what beats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// What beats it.
    pub overrides: FromFlags,
    /// Directory of this unit's secrets (`CREDENTIALS_DIRECTORY`), if any.
    pub credentials: Option<PathBuf>,
}

impl File {
    /// Reads the file, and all files that it names.
    ///
    /// # Errors
    ///
    /// Every mistake in it.
    pub fn read(&self) -> Result<Settings, Invalid> {
        let invalid = |mistakes| Invalid {
            file: self.path.clone(),
            mistakes,
        };
        let text = read_text(&self.path).map_err(|mistake| invalid(vec![mistake]))?;
        let (config, mut mistakes) = super::read(&text, self.credentials.as_deref());
        let settings = self.overrides.settings(&config);
        mistakes.extend(settings.as_ref().err().cloned().unwrap_or_default());
        mistakes.sort();
        match settings {
            Ok(settings) if mistakes.is_empty() => Ok(settings),
            _ => Err(invalid(mistakes)),
        }
    }
}

fn read_text(path: &Path) -> Result<String, Mistake> {
    let whole = |text: String| Mistake { place: None, text };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(whole(format!("cannot be read: {error}"))),
        Ok(_) if bytes.len() as u64 > MAX_FILE => Err(whole(format!(
            "cannot be read: it is larger than {MAX_FILE} bytes"
        ))),
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let known = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
            Mistake {
                place: Some(super::Place::of(&known, at)),
                text: "this is not UTF-8".to_owned(),
            }
        }),
    }
}

impl FromFlags {
    /// The settings of this process from a parsed `config`. Reads the files that it names.
    ///
    /// # Errors
    ///
    /// Every mistake in them.
    pub fn settings(&self, config: &Config) -> Result<Settings, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut wrong = |text: String| mistakes.push(Mistake { place: None, text });
        let id = self.id.as_ref().or(config.id.as_ref());
        let id = id.or(self.host.as_ref()).cloned();
        if id.is_none() {
            let text = "--id is missing, and this host's name cannot replace it: it is not a valid name of a \
                pusher, or it is a container's random id, which changes with every start";
            wrong(text.to_owned());
        }
        let prefix = self.prefix.as_ref().or(config.prefix.as_ref());
        let prefix = prefix.cloned().unwrap_or_default();
        let meta = self.meta_prefix.as_ref().or(config.meta_prefix.as_ref());
        let meta = meta.cloned().unwrap_or_default();
        if !meta.is_apart_from(&prefix) {
            wrong(format!(
                "--meta-prefix {meta} and --prefix {prefix}: neither may lie inside the other"
            ));
        }
        mistakes.extend(misplaced(config, &prefix, &meta));
        let mut wrong = |text: String| mistakes.push(Mistake { place: None, text });
        let pacing = self.pacing(config);
        let pacing = pacing.inspect_err(|error| wrong(error.to_string())).ok();
        let ttl = self.ttl.or(config.ttl).unwrap_or(TTL);
        let forget_after = self.forget_after.or(config.forget_after);
        if forget_after.is_some_and(|time| time < ttl) {
            let (time, ttl) = (
                crate::util::duration::typed(forget_after.unwrap_or_default()),
                crate::util::duration::typed(ttl),
            );
            wrong(format!(
                "--forget-after {time} is shorter than --ttl {ttl}: a load balancer would be forgotten before its pusher"
            ));
        }
        let targets = self.targets(config, &mut mistakes);
        match id.zip(pacing) {
            Some((id, pacing)) if mistakes.is_empty() => Ok(Settings {
                id,
                prefix,
                meta,
                targets,
                pacing,
                ttl,
                forget_after: forget_after.unwrap_or(FORGET_AFTER.max(ttl)),
            }),
            _ => Err(mistakes),
        }
    }

    fn pacing(&self, config: &Config) -> Result<Pacing, crate::push::reconcile::PacingError> {
        let usual = Pacing::default();
        let debounce = self.debounce.or(config.debounce);
        let resync = self.resync.or(config.resync);
        usual
            .with_debounce(debounce.unwrap_or(usual.debounce()))?
            .with_resync(resync.unwrap_or(usual.resync()))
    }

    /// The targets, without the wrong ones.
    fn targets(&self, config: &Config, mistakes: &mut Vec<Mistake>) -> Vec<Target> {
        // Built once, so that all targets share the decisions about a route.
        let mut routes = BTreeMap::<_, Vec<_>>::new();
        for upstream in &config.upstreams {
            let route = Arc::new(self.route(upstream));
            for target in &upstream.targets {
                routes.entry(target).or_default().push(route.clone());
            }
        }
        let mut targets = Vec::new();
        for target in &config.targets {
            let here = routes.get(&target.name).cloned().unwrap_or_default();
            let mut settings = target.settings.clone();
            settings.apply_flags(TargetFlags {
                request_timeout: self.request_timeout,
                adopt: self.adopt,
            });
            match Target::new(&target.name, settings, here) {
                Ok(target) => targets.push(target),
                // Reported where the upstream is read, or all its upstreams are wrong.
                Err(TargetError::NoRoute(_)) => {}
                Err(error) => mistakes.push(Mistake {
                    place: Some(target.place),
                    text: format!("\"{}\": {error}", target.name),
                }),
            }
        }
        targets
    }

    fn route(&self, upstream: &UpstreamSettings) -> Route {
        Route {
            upstream: upstream.name.clone(),
            layer: upstream.layer,
            service: upstream.service.clone(),
            selection: Selection {
                protocol: upstream.protocol,
                versions: upstream.versions.clone(),
                tags: upstream.tags.clone(),
                terms: upstream.server,
                rules: upstream.rules.clone(),
            },
            limits: Limits {
                min_servers: self.min_servers.unwrap_or(upstream.limits.min_servers),
                max_removal: self.max_removal.unwrap_or(upstream.limits.max_removal),
                protect_for: self.hold.unwrap_or(upstream.limits.protect_for),
            },
            drain_timeout: self.drain_timeout.unwrap_or(upstream.drain_timeout),
        }
    }
}

/// A target's keys in etcd must not overlap sidekick's: its servers are not records, and records are not its servers.
fn misplaced<'a>(
    config: &'a Config,
    records: &'a Prefix,
    meta: &'a MetaPrefix,
) -> impl Iterator<Item = Mistake> + 'a {
    config.targets.iter().filter_map(move |target| {
        let prefix = target.settings.own_keys()?;
        let (what, other) = if !prefix.is_apart_from(records) {
            ("the records", records.to_string())
        } else if !meta.is_apart_from(prefix) {
            ("sidekick's own keys", meta.to_string())
        } else {
            return None;
        };
        let name = &target.name;
        Some(Mistake {
            place: Some(target.place),
            text: format!(
                "\"{name}\": its keys under {prefix} and {what} under {other}: neither may lie inside the other"
            ),
        })
    })
}
