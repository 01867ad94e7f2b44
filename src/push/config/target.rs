//! The tables of targets: `[[nginx]]` and `[[vulcand]]`.

use std::path::Path;
use std::sync::Arc;

use super::TargetTable;
use crate::target::TargetSettings;
use crate::target::settings::Kind;
use crate::util::toml::{Refusal, Section};

/// A table, and the kinds of target that it may describe.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) keys: Vec<&'static str>,
    pub(super) refusals: Vec<Refusal>,
    kinds: Vec<&'static Kind>,
}

pub(super) fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for kind in TargetSettings::KINDS {
        let syntax = &kind.syntax;
        match tables.iter_mut().find(|table| table.name == syntax.table) {
            Some(table) => table.kinds.push(kind),
            None => tables.push(Table {
                name: syntax.table,
                title: syntax.title,
                keys: vec!["name"],
                refusals: Vec::new(),
                kinds: vec![kind],
            }),
        }
    }
    for table in &mut tables {
        let kinds = || table.kinds.iter().map(|kind| kind.syntax);
        let keys = kinds().flat_map(|kind| kind.keys.concat());
        for key in kinds().filter_map(|kind| kind.mark).chain(keys) {
            if !table.keys.contains(&key) {
                table.keys.push(key);
            }
        }
        table.refusals = kinds().flat_map(|kind| kind.refusals).copied().collect();
    }
    tables
}

impl Table {
    /// Reads one such table.
    pub(super) fn read(
        &self,
        section: &Section<'_>,
        credentials: Option<&Path>,
    ) -> Option<TargetTable> {
        // Read as much as possible, so that every mistake is reported.
        let read = self
            .kinds
            .iter()
            .map(|kind| (kind.read)(section, credentials));
        let mut read: Vec<_> = read.collect();
        let kind = self.kind(section)?;
        self.note_misplaced(section, kind);
        Some(TargetTable {
            name: name(section)?,
            settings: read.swap_remove(kind)?,
            place: section.place(),
        })
    }

    fn marks(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().filter_map(|kind| kind.syntax.mark)
    }

    /// The kind of target: exactly one key that marks a kind must be there.
    fn kind(&self, section: &Section<'_>) -> Option<usize> {
        let title = self.title;
        let marks = || {
            let mut marks: Vec<_> = self.marks().map(|mark| format!("`{mark}`")).collect();
            let last = marks.pop().unwrap_or_default();
            format!("{} and {last}", marks.join(", "))
        };
        let is_it = |kind: &&Kind| kind.syntax.mark.is_none_or(|mark| section.has(mark));
        let given = self.kinds.iter().enumerate();
        let given: Vec<_> = given.filter(|(_, kind)| is_it(kind)).collect();
        match given.as_slice() {
            [(number, _)] => Some(*number),
            [] => {
                let text = format!("{title}: one of {} is needed", marks());
                section.page().missing(section.start(), text);
                None
            }
            [.., (_, last)] => {
                let text = format!("{title}: only one of {} can be given", marks());
                section.note_key(last.syntax.mark.unwrap_or_default(), text);
                None
            }
        }
    }

    /// Notes the keys of the other kinds.
    fn note_misplaced(&self, section: &Section<'_>, kind: usize) {
        let has = |kind: &Kind, key| kind.syntax.keys.iter().any(|keys| keys.contains(key));
        let Some(mark) = self.kinds[kind].syntax.mark else {
            return;
        };
        for key in self.keys.iter().filter(|key| section.has(key)) {
            let others = self.kinds.iter().filter(|kind| has(kind, key));
            let others: Vec<_> = others.filter_map(|kind| kind.syntax.mark).collect();
            if !others.is_empty() && !others.contains(&mark) {
                let (title, others) = (self.title, others.join("` or `"));
                let text = format!("`{key}` goes with `{others}`, and this {title} has `{mark}`");
                section.note_key(key, text);
            }
        }
    }
}

/// Mistakes in a name are noted where all names are compared.
fn name(section: &Section<'_>) -> Option<Arc<str>> {
    let name = section
        .has("name")
        .then(|| section.text("name"))
        .flatten()?;
    let checked = crate::model::check_name("name", name);
    checked.is_ok().then(|| name.into())
}
