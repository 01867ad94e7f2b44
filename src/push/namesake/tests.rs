use super::*;

#[test]
fn a_few_targets_are_named_and_the_rest_is_counted() {
    let id = "edge".parse().unwrap();
    let targets = (0..7).map(|number| format!("t{number}")).collect();
    let said = Namesake::Silent(targets).in_words(&id);
    assert!(said.contains("(t0, t1, t2, t3, t4 and 2 more)"), "{said}");
    assert!(said.ends_with("sidekick push --retire --id edge"), "{said}");
    assert_eq!(Namesake::Unknown.left_behind(&id), None);
}
