//! Finds which upstreams, and within them which servers, nginx refuses when it refuses a file.

use regex_lite::Regex;
use tracing::debug;

use super::attempt::Depth;
use super::bisect::Bisect;
use super::entry::Entry;
use super::text::Blocks;
use super::wanted::{Refused, Wanted};
use super::writer::Writer;
use crate::model::Endpoint;
use crate::target::{Error, UpstreamName};

impl Writer {
    /// What nginx takes of the blocks; `first` is what it said of all together.
    ///
    /// # Errors
    ///
    /// When no upstream of the file is the cause, or an upstream would lose all its servers.
    pub(super) async fn bisect(
        &mut self,
        wanted: Blocks,
        depth: Depth,
        first: Error,
    ) -> Result<Blocks, Error> {
        let (base, open) = self.base(&wanted, depth, &first).await?;
        let block = |name: &UpstreamName| Some((name.clone(), wanted.get(name)?.clone()));
        let with = |_: &Self, names: &[UpstreamName]| {
            let mut blocks = base.clone();
            blocks.extend(names.iter().filter_map(block));
            Ok(blocks)
        };
        let mut bisect = Bisect::new(open);
        if depth == Depth::Reload {
            // All together were tried already, and a reload costs more than a check.
            bisect.refuse(first);
        }
        let Bisect {
            accepted, refused, ..
        } = self.narrow(bisect, depth, with).await?;
        let mut accepted = with(self, &accepted)?;
        for (name, error) in refused {
            self.refuse(&name, &mut accepted, depth, error).await?;
        }
        // The last attempt may have been a refused one.
        self.write(&accepted).await?;
        let text = self.compose(&accepted);
        let running = self.running.as_ref();
        let runs = running.is_some_and(|running| running.text == text);
        if depth == Depth::Reload && !runs {
            self.reload(&accepted).await?;
        }
        Ok(accepted)
    }

    /// Splits things into those that nginx takes and those that it refuses; `with` makes the blocks for a trial.
    async fn narrow<T: Clone>(
        &mut self,
        mut bisect: Bisect<T, Error>,
        depth: Depth,
        with: impl Fn(&Self, &[T]) -> Result<Blocks, Error>,
    ) -> Result<Bisect<T, Error>, Error> {
        while let Some(trial) = bisect.trial() {
            let tried = match with(self, &trial) {
                Ok(blocks) => self.tried(&blocks, depth).await?,
                Err(error) => Err(error),
            };
            match tried {
                Ok(()) => bisect.accept(),
                Err(error) => bisect.refuse(error),
            }
        }
        Ok(bisect)
    }

    /// Blocks that nginx takes, and the upstreams to try on top of them.
    ///
    /// # Errors
    ///
    /// `first`, when nginx takes nothing: the mistake is outside of this file.
    async fn base(
        &mut self,
        wanted: &Blocks,
        depth: Depth,
        first: &Error,
    ) -> Result<(Blocks, Vec<UpstreamName>), Error> {
        let entries = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.desired.is_some());
        let told: Vec<_> = entries.map(|(name, _)| name.clone()).collect();
        let is_new = |name: &&UpstreamName| {
            let good = self
                .entries
                .get(*name)
                .and_then(|entry| entry.good.as_ref());
            good.is_none() || good != wanted.get(*name)
        };
        let open: Vec<_> = told.iter().filter(is_new).cloned().collect();
        // Another file may have an upstream of the same name as a new one here, or may have it no more.
        let safe = self.blocks(Entry::safe);
        let good = self.blocks(|entry| entry.good.clone());
        let all =
            self.blocks(|entry| Some(entry.good.clone().unwrap_or_else(|| entry.placeholder())));
        // nginx may refuse now what it once took: try each upstream as if it were new.
        let nothing = self.blocks(|entry| match entry.desired.is_some() {
            true => entry.safe().map(|_| entry.placeholder()),
            false => entry.good.clone(),
        });
        let is_open = !open.is_empty();
        let bases = [
            (is_open, &safe, None, &open),
            (is_open && good != safe, &good, Some(true), &open),
            (is_open && all != safe, &all, Some(false), &open),
            (depth == Depth::Check, &nothing, None, &told),
        ];
        for (applies, blocks, elsewhere, open) in bases {
            if !applies || self.tried(blocks, depth).await?.is_err() {
                continue;
            }
            if let Some(elsewhere) = elsewhere {
                let entries = self.entries.values_mut();
                let missing = entries.filter(|entry| entry.good.is_none());
                missing.for_each(|entry| entry.elsewhere = elsewhere);
            }
            return Ok((blocks.clone(), open.clone()));
        }
        Err(first.clone())
    }

    /// Whether nginx takes it. The outer error means that this is unknown.
    async fn tried(&mut self, blocks: &Blocks, depth: Depth) -> Result<Result<(), Error>, Error> {
        match self.attempt(blocks, depth).await {
            Err(error @ (Error::File { .. } | Error::Stopped(_))) => Err(error),
            tried => Ok(tried),
        }
    }

    /// nginx refuses the block of this upstream. It gets a block of the servers that nginx takes, or keeps its former one.
    async fn refuse(
        &mut self,
        name: &UpstreamName,
        accepted: &mut Blocks,
        depth: Depth,
        error: Error,
    ) -> Result<(), Error> {
        debug!(upstream = %name, %error, "nginx refuses the block");
        let instead = match depth {
            Depth::Check => self.bisect_servers(name, accepted).await?,
            Depth::Reload => None,
        };
        match &instead {
            Some((block, _)) => drop(accepted.insert(name.clone(), block.clone())),
            None => self.keep_servers(name, accepted, &error).await?,
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.refuse(error, instead);
        }
        Ok(())
    }

    /// Keeps the former block of an upstream that has servers, so that a refused change does not empty it.
    async fn keep_servers(
        &mut self,
        name: &UpstreamName,
        accepted: &mut Blocks,
        error: &Error,
    ) -> Result<(), Error> {
        let entry = self.entries.get(name).filter(|entry| entry.has_servers());
        let good = entry.and_then(|entry| entry.good.clone());
        let Some(good) = good.filter(|good| accepted.get(name) != Some(good)) else {
            return Ok(());
        };
        accepted.insert(name.clone(), good);
        let taken = self.tried(accepted, Depth::Check).await?;
        // nginx would take an empty upstream only.
        taken.map_err(|_| error.clone())
    }

    /// The block of the servers that nginx takes, and the refused servers; `None` when it takes none.
    async fn bisect_servers(
        &mut self,
        name: &UpstreamName,
        accepted: &Blocks,
    ) -> Result<Option<(String, Refused)>, Error> {
        let wanted = self.entries.get(name).and_then(Entry::wanted);
        let endpoints = wanted.map(Wanted::endpoints).unwrap_or_default();
        let with = |writer: &Self, servers: &[Endpoint]| {
            let mut blocks = accepted.clone();
            blocks.insert(name.clone(), writer.block(name, servers)?);
            Ok(blocks)
        };
        let Ok(without) = with(self, &[]) else {
            return Ok(None);
        };
        if endpoints.len() < 2 || self.tried(&without, Depth::Check).await?.is_err() {
            return Ok(None);
        }
        let bisect = Bisect::new(endpoints);
        let bisect = self.narrow(bisect, Depth::Check, with).await?;
        let block = self.block(name, &bisect.accepted)?;
        let entry = self.entries.get(name);
        if bisect.accepted.is_empty() || entry.is_none_or(|entry| entry.is_emptied_by(&block)) {
            return Ok(None);
        }
        let file = self.settings.shown();
        let refused = bisect
            .refused
            .into_iter()
            .map(|(server, error)| match error {
                Error::Refused { reason, .. } => (server, without_place(&reason, &file)),
                error => (server, error.to_string()),
            });
        Ok(Some((block, refused.collect())))
    }

    /// The block of an upstream with these servers.
    fn block(&self, name: &UpstreamName, servers: &[Endpoint]) -> Result<String, Error> {
        let wanted = self.entries.get(name).and_then(Entry::wanted);
        let block = wanted.map(|wanted| wanted.maker.block(servers));
        let block = block.unwrap_or_else(|| Ok(String::new()));
        block.map_err(|error| Error::Template(error.to_string()))
    }
}

/// Removes where in `file` a mistake is: the attempt that had it there is gone.
fn without_place(reason: &str, file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let place = Regex::new(&format!(r" in \S*/{}:\d+", regex_lite::escape(name)));
    place.map_or_else(
        |_| reason.to_owned(),
        |place| place.replace_all(reason, "").into_owned(),
    )
}

#[cfg(test)]
mod tests;
