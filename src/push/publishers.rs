//! The publishers of all upstreams: one for each route, however many targets take it.
//!
//! Each has a number, and is found by it or by its route in constant time: a pusher may have thousands.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::publisher::Publisher;
use super::route::{Place, Route};

/// All publishers.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    all: BTreeMap<usize, Publisher>,
    /// The numbers of those of one upstream: several if targets have it with different settings.
    by_place: HashMap<Place, Vec<usize>>,
    /// Never reused.
    next: usize,
}

impl Publishers {
    /// The publisher of this route, with its number. A new one takes over the protected servers of a former one.
    pub(super) fn of(&mut self, route: &Arc<Route>) -> (usize, &Publisher) {
        let numbers = self.by_place.entry(route.place()).or_default();
        let mut alike = numbers.iter().copied();
        let known = alike.find(|number| {
            let known = self.all.get(number);
            known.is_some_and(|known| known.route == *route)
        });
        let number = known.unwrap_or(self.next);
        let former = numbers.first().and_then(|former| self.all.get(former));
        let new = match known {
            Some(_) => None,
            None => Some(Publisher::new(route.clone(), former)),
        };
        if let Some(new) = new {
            numbers.push(number);
            self.all.insert(number, new);
            self.next += 1;
        }
        (number, &self.all[&number])
    }

    pub(super) fn get(&self, number: usize) -> Option<&Publisher> {
        self.all.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Publisher> {
        self.all.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Publisher> {
        self.all.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Publisher> {
        self.all.values_mut()
    }

    /// Drops all but those with these numbers.
    pub(super) fn retain(&mut self, stays: impl Fn(usize) -> bool) {
        self.all.retain(|number, _| stays(*number));
        self.by_place.retain(|_, numbers| {
            numbers.retain(|number| stays(*number));
            !numbers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
