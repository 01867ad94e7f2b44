//! Who decides what the upstreams should be: one for each route, however many targets take it.
//!
//! Each has a number, and is found by it or by its route without looking at the others: a pusher may have thousands.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::publisher::Publisher;
use super::settings::{Place, Route};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    all: BTreeMap<usize, Publisher>,
    /// The numbers of those of one upstream: several where targets have it with different settings.
    by_place: HashMap<Place, Vec<usize>>,
    /// Never given twice.
    next: usize,
}

impl Publishers {
    /// The one of this route, with its number. A new one knows what a former one of the same upstream keeps.
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
mod tests {
    use super::*;

    fn route(text: &str) -> Arc<Route> {
        Arc::new(text.parse().unwrap())
    }

    #[test]
    fn equal_routes_have_one_and_different_ones_of_an_upstream_one_each() {
        let mut publishers = Publishers::default();
        let (x, y) = (route("x"), route("y"));
        assert_eq!(publishers.of(&x).0, 0);
        assert_eq!(publishers.of(&y).0, 1);
        assert_eq!(publishers.of(&route("x")).0, 0);
        let other = route("x=z");
        assert_eq!(publishers.of(&other).0, 2);
        publishers.retain(|number| number != 0);
        assert_eq!(publishers.of(&other).0, 2);
        assert_eq!(publishers.of(&x).0, 3, "no number is given twice");
        assert_eq!(publishers.iter().count(), 3);
        publishers.retain(|_| false);
        assert!(publishers.by_place.is_empty());
    }

    #[test]
    fn however_many_there_are_a_route_is_compared_with_those_of_its_upstream_only() {
        let mut publishers = Publishers::default();
        for number in 0..1_000 {
            publishers.of(&route(&format!("u{number}")));
        }
        let compared = publishers.by_place.values().map(Vec::len);
        assert_eq!(compared.max(), Some(1));
    }
}
