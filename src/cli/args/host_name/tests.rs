use super::*;

#[test]
fn the_name_of_a_host_names_a_pusher_but_not_the_random_one_of_a_container() {
    for name in [
        "lb-1",
        "edge.example",
        "0123456789ab.example",
        "0123456789a",
        "0123456789ag",
    ] {
        assert!(lasting(name).is_some(), "{name}");
    }
    for name in ["0123456789ab", "ffffffffffff", "", "a b"] {
        assert_eq!(lasting(name), None, "{name}");
    }
}
