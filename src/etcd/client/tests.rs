use super::offset;

#[test]
fn a_member_that_hangs_is_asked_once_and_the_others_in_turn() {
    let asked = |members| (0..5).map(move |nth| offset(nth, members));
    assert!(asked(3).eq([0, 1, 2, 1, 2]));
    assert!(asked(2).eq([0, 1, 1, 1, 1]));
    assert!(asked(1).eq([0, 0, 0, 0, 0]));
}
