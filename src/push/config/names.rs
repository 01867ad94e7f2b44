//! The names of the targets, as `[[upstream]]` refers to them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::UpstreamSettings;
use crate::util::did_you_mean::nearest;
use crate::util::few::few;
use crate::util::toml::{Page, Section};

/// How many unknown names of one text are compared with all known ones: a file that is wrong from end to end is still read
/// in linear time.
const SUGGESTED: usize = 20;
/// How many known names are listed for an unknown one.
const LISTED: usize = 10;

/// The names of all targets, including wrong ones, and where they are.
pub(super) struct Names {
    known: BTreeMap<Arc<str>, usize>,
    /// How many unknown names may still get a suggestion.
    suggestions: Cell<usize>,
}

impl Names {
    pub(super) fn new<'a>(
        page: &Page<'_>,
        sections: impl Iterator<Item = &'a Section<'a>>,
    ) -> Self {
        let mut names = BTreeMap::<Arc<str>, usize>::new();
        for section in sections {
            let Some(name) = section.has("name").then(|| section.text("name")).flatten() else {
                section.required("name");
                continue;
            };
            if let Err(error) = crate::model::check_name("name", name) {
                section.note("name", error);
                continue;
            }
            let first = *names.entry(name.into()).or_insert(section.start());
            if first != section.start() {
                let line = page.place(first).line;
                section.note(
                    "name",
                    format!("\"{name}\" is named already in line {line}"),
                );
            }
        }
        Self {
            known: names,
            suggestions: Cell::new(SUGGESTED),
        }
    }

    /// All names, sorted.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        self.known.keys().cloned().collect()
    }

    /// The name as it is kept here, or an error for an unknown one.
    pub(super) fn find(&self, name: &str) -> Result<Arc<str>, String> {
        if let Some((known, _)) = self.known.get_key_value(name) {
            return Ok(known.clone());
        }
        let known = self.known.keys().map(|known| &**known);
        let left = self.suggestions.get().checked_sub(1);
        let near = left.and_then(|left| {
            self.suggestions.set(left);
            nearest(name, known.clone())
        });
        let hint = match near {
            None if self.known.is_empty() => "there is none yet".to_owned(),
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are {}", few(known, LISTED)),
        };
        let name = crate::util::sanitize::short(name);
        Err(format!("nothing is called \"{name}\"; {hint}"))
    }

    /// Notes targets without an upstream: somebody forgot them.
    pub(super) fn note_unused(&self, page: &Page<'_>, upstreams: &[UpstreamSettings]) {
        let used = upstreams.iter().flat_map(|upstream| &upstream.targets);
        let used: BTreeSet<_> = used.collect();
        for (name, at) in &self.known {
            if !used.contains(name) {
                page.missing(*at, format!("\"{name}\": no [[upstream]] goes there"));
            }
        }
    }
}
