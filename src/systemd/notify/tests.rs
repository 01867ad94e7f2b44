use proptest::prelude::*;

use super::*;

#[test]
fn one_part_alone_does_not_feed_the_watchdog() {
    let mut progress = Progress::default();
    for _ in 0..10 {
        progress.probed = true;
        assert!(!progress.take_if_whole());
    }
    progress.renewed = true;
    assert!(progress.take_if_whole());
    progress.renewed = true;
    assert!(!progress.take_if_whole());
}

#[test]
fn a_watchdog_is_one_for_this_process_and_with_a_time() {
    let limit = |usec, pid| watchdog_limit(usec, pid, 7);
    let second = Some(Duration::from_secs(1));
    assert_eq!(limit(Some("1000000"), None), second);
    assert_eq!(limit(Some("1000000"), Some("7")), second);
    for (usec, pid) in [
        (None, None),
        (None, Some("7")),
        (Some("1000000"), Some("8")),
        (Some("1000000"), Some("x")),
        (Some("0"), None),
        (Some("-1"), None),
        (Some("1s"), None),
        (Some("18446744073709551615"), None),
    ] {
        assert_eq!(limit(usec, pid), None, "{usec:?} {pid:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_variables_never_panic(usec in any::<String>(), number: u64, pid in any::<String>(), own: u32) {
        let _ = watchdog_limit(Some(&usec), Some(&pid), own);
        let limit = watchdog_limit(Some(&number.to_string()), Some(&own.to_string()), own);
        prop_assert!(limit.is_none_or(|limit| limit.as_micros() == u128::from(number)));
        // What the check of it does.
        prop_assert!(limit.is_none_or(|limit| limit * 2 > limit));
    }
}
