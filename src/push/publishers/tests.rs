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
