use super::*;

#[test]
fn a_share_is_a_percentage_or_a_number() {
    let share = |text: &str| text.parse::<Share>();
    assert_eq!(share("50%"), Ok(Share::Percent(50)));
    assert_eq!(share("3"), Ok(Share::Count(3)));
    for text in [
        "", "%", "101%", "-1", "+1", "+5%", "50 %", "half", "1.5", "5%%",
    ] {
        assert_eq!(share(text), Err(ShareError), "{text:?}");
    }
    assert_eq!(
        Share::Percent(50).to_string().parse(),
        Ok(Share::Percent(50))
    );
}

#[test]
fn exactly_the_share_is_not_more_than_it() {
    let half = Share::Percent(50);
    assert!(!half.is_exceeded(2, 4) && half.is_exceeded(3, 4));
    assert!(half.is_exceeded(1, 1) && !half.is_exceeded(0, 0));
    assert!(!Share::Percent(100).is_exceeded(4, 4));
    assert!(!Share::Count(2).is_exceeded(2, 9) && Share::Count(2).is_exceeded(3, 9));
}
