use super::*;

#[test]
fn a_member_that_is_as_far_is_watched_on() {
    let mut reached = Reached::from(43);
    assert_eq!(reached.note(42), Reach::There);
    assert_eq!(reached.note(50), Reach::There);
    assert_eq!(reached.note(0), Reach::There, "it does not say");
}

#[test]
fn a_moment_of_lateness_is_forgiven() {
    let mut reached = Reached::from(43);
    assert_eq!(reached.note(41), Reach::Behind);
    assert_eq!(reached.note(42), Reach::There);
    assert_eq!(reached.note(41), Reach::Behind);
}

#[test]
fn an_etcd_that_was_wiped_or_restored_is_found_by_its_second_answer() {
    let mut reached = Reached::from(643);
    assert_eq!(reached.note(12), Reach::Behind);
    assert_eq!(reached.note(30), Reach::Lost);
    assert!(
        reached
            .in_words(30)
            .contains("revision 30 while etcd was at 642")
    );
    let mut progressed = Reached::from(3);
    assert_eq!(progressed.note(700), Reach::There);
    assert_eq!(progressed.note(5), Reach::Behind);
    assert_eq!(progressed.note(6), Reach::Lost);
}
