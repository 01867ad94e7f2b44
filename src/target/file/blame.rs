//! Finds out which upstreams and which servers nginx refuses, when it refuses a file.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::debug;

use super::attempt::Depth;
use super::member::{Member, Refused};
use super::render::Blocks;
use super::sift::Sift;
use super::site::Actor;
use crate::model::Endpoint;
use crate::target::{Error, UpstreamName};

/// What nginx takes, and what is to be tried on top of it.
struct Base {
    accepted: Blocks,
    open: Vec<UpstreamName>,
}

impl Actor {
    /// Finds the upstreams whose blocks nginx takes; `first` is what it said of all together.
    pub(super) async fn sift(
        &mut self,
        wanted: Blocks,
        depth: Depth,
        first: Error,
    ) -> Result<Blocks, Error> {
        let Base { mut accepted, open } = self.base(&wanted, depth, &first).await?;
        let mut errors = BTreeMap::new();
        let mut sift = Sift::new(open.clone());
        if open == self.changed(&wanted) {
            // Just that was tried first.
            errors.extend(open.first().map(|name| (name.clone(), first.clone())));
            sift.refuse(first.to_string());
        }
        while let Some(trial) = sift.trial() {
            let mut blocks = accepted.clone();
            for name in &trial {
                blocks.extend(wanted.get(name).map(|block| (name.clone(), block.clone())));
            }
            match self.tried(&blocks, depth).await? {
                Ok(()) => {
                    accepted = blocks;
                    sift.accept();
                }
                Err(error) => {
                    sift.refuse(error.to_string());
                    errors.extend(trial.last().map(|last| (last.clone(), error)));
                }
            }
        }
        for (name, _) in sift.end().1 {
            let error = errors.remove(&name).unwrap_or_else(|| first.clone());
            let instead = match depth {
                Depth::Check => self.sift_servers(&name, &mut accepted).await?,
                Depth::Reload => None,
            };
            debug!(upstream = %name, %error, "nginx refuses the block");
            if instead.is_none() {
                self.keep_servers(&name, &mut accepted, &error).await?;
            }
            if let Some(member) = self.members.get_mut(&name) {
                member.refuse(error, instead, Instant::now());
            }
        }
        // The last attempt may have been one that was refused.
        self.write(&accepted).await?;
        let text = self.compose(&accepted);
        if depth == Depth::Reload
            && self
                .running
                .as_ref()
                .is_none_or(|running| running.text != text)
        {
            self.reload(&accepted).await?;
        }
        Ok(accepted)
    }

    /// The upstreams that would get another block than nginx last took.
    fn changed(&self, blocks: &Blocks) -> Vec<UpstreamName> {
        let members = self.members.iter().filter(|(name, member)| {
            member.is_told() && (member.good().is_none() || member.good() != blocks.get(*name))
        });
        members.map(|(name, _)| name.clone()).collect()
    }

    /// What nginx takes without what is new, if anything: else the mistake is elsewhere, and nobody here is to blame.
    async fn base(&mut self, wanted: &Blocks, depth: Depth, first: &Error) -> Result<Base, Error> {
        let open = self.changed(wanted);
        let with = |accepted: Blocks| Base {
            accepted,
            open: open.clone(),
        };
        let safe = self.blocks(Member::safe);
        let good = self.blocks(|member| member.good().cloned());
        if !open.is_empty() {
            let mut candidates = vec![(safe.clone(), None)];
            // An upstream that has never been there may be called as another one elsewhere in the configuration.
            if good != safe {
                candidates.push((good, Some(true)));
            }
            // Which may not be so any more.
            let empty = self.blocks(|member| {
                let good = member.good().cloned();
                good.or_else(|| Some(member.placeholder()))
            });
            if empty != safe {
                candidates.push((empty, Some(false)));
            }
            for (blocks, elsewhere) in candidates {
                if self.tried(&blocks, depth).await?.is_err() {
                    continue;
                }
                // What was wrong may have passed meanwhile: no upstream is emptied because of it.
                if depth == Depth::Check
                    && self.empties(&blocks)
                    && self.tried(wanted, depth).await?.is_ok()
                {
                    return Ok(Base {
                        accepted: wanted.clone(),
                        open: Vec::new(),
                    });
                }
                if let Some(elsewhere) = elsewhere {
                    self.set_elsewhere(elsewhere);
                }
                return Ok(with(blocks));
            }
        }
        if depth == Depth::Check {
            // What was good once may be refused now: each is examined as if it were new.
            let nothing = self.blocks(|member| match member.is_told() {
                true => member.safe().map(|_| member.placeholder()),
                false => member.good().cloned(),
            });
            if self.tried(&nothing, depth).await?.is_ok() {
                let told = self.members.iter().filter(|(_, member)| member.is_told());
                return Ok(Base {
                    accepted: nothing,
                    open: told.map(|(name, _)| name.clone()).collect(),
                });
            }
        }
        Err(first.clone())
    }

    /// Whether an upstream that nginx has never taken from here would be there without a server.
    fn empties(&self, blocks: &Blocks) -> bool {
        let mut members = self.members.iter();
        members.any(|(name, member)| member.good().is_none() && blocks.contains_key(name))
    }

    fn set_elsewhere(&mut self, elsewhere: bool) {
        let members = self.members.values_mut();
        members
            .filter(|member| member.good().is_none())
            .for_each(|member| member.set_elsewhere(elsewhere));
    }

    /// Whether nginx takes it.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    async fn tried(&mut self, blocks: &Blocks, depth: Depth) -> Result<Result<(), Error>, Error> {
        match self.attempt(blocks, depth).await {
            Err(error @ (Error::File { .. } | Error::Stopped(_))) => Err(error),
            tried => Ok(tried),
        }
    }

    /// An upstream that has servers keeps what nginx took last, and is not emptied because what is new is refused.
    async fn keep_servers(
        &mut self,
        name: &UpstreamName,
        accepted: &mut Blocks,
        error: &Error,
    ) -> Result<(), Error> {
        let member = self.members.get(name);
        let Some(good) = member.filter(|member| member.has_servers()) else {
            return Ok(());
        };
        let Some(good) = good.good().filter(|good| accepted.get(name) != Some(*good)) else {
            return Ok(());
        };
        let mut blocks = accepted.clone();
        blocks.insert(name.clone(), good.clone());
        match self.tried(&blocks, Depth::Check).await? {
            Ok(()) => {
                *accepted = blocks;
                Ok(())
            }
            // Nothing but an empty upstream would be taken.
            Err(_) => Err(error.clone()),
        }
    }

    /// Finds the servers of an upstream that nginx takes, and puts the block into `accepted`; `None` when it takes not one.
    async fn sift_servers(
        &mut self,
        name: &UpstreamName,
        accepted: &mut Blocks,
    ) -> Result<Option<(String, Refused)>, Error> {
        let Some(endpoints) = self.members.get(name).map(Member::endpoints) else {
            return Ok(None);
        };
        let all: BTreeSet<Endpoint> = endpoints.iter().cloned().collect();
        let Ok(mut block) = self.block_without(name, &all) else {
            return Ok(None);
        };
        if endpoints.len() < 2 || self.check(accepted, name, &block).await?.is_err() {
            return Ok(None);
        }
        let mut sift = Sift::new(endpoints);
        while let Some(trial) = sift.trial() {
            let with: BTreeSet<_> = trial.into_iter().collect();
            let without = all.difference(&with).cloned().collect();
            match self.block_without(name, &without) {
                Ok(tried) => match self.check(accepted, name, &tried).await? {
                    Ok(()) => {
                        block = tried;
                        sift.accept();
                    }
                    Err(Error::Refused { reason, .. }) => sift.refuse(reason),
                    Err(error) => sift.refuse(error.to_string()),
                },
                Err(reason) => sift.refuse(reason),
            }
        }
        let (taken, refused) = sift.end();
        let emptied = self
            .members
            .get(name)
            .is_none_or(|member| member.is_emptied_by(&block));
        if taken.is_empty() || emptied {
            return Ok(None);
        }
        accepted.insert(name.clone(), block.clone());
        Ok(Some((block, refused.into_iter().collect())))
    }

    fn block_without(
        &self,
        name: &UpstreamName,
        without: &BTreeSet<Endpoint>,
    ) -> Result<String, String> {
        let member = self.members.get(name).ok_or("it is gone")?;
        member.block_without(self.template.as_ref(), without)
    }

    async fn check(
        &mut self,
        accepted: &Blocks,
        name: &UpstreamName,
        block: &str,
    ) -> Result<Result<(), Error>, Error> {
        let mut blocks = accepted.clone();
        blocks.insert(name.clone(), block.to_owned());
        self.tried(&blocks, Depth::Check).await
    }
}
