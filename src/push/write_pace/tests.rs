use super::*;

#[test]
fn however_often_it_changes_it_is_written_every_20_ms_and_the_last_change_is_not_lost() {
    let (mut pace, start) = (WritePace::default(), Instant::now());
    let mut writes = Vec::new();
    let mut unwritten = false;
    for millis in 0..1_100 {
        let now = start + Duration::from_millis(millis);
        if pace.due().is_some_and(|due| due <= now) {
            pace.pass();
        }
        // It changes every millisecond for a second.
        unwritten |= millis < 1_000;
        if unwritten && pace.due().is_none() && pace.allows(now) {
            writes.push(millis);
            unwritten = false;
        }
    }
    assert_eq!(writes.len(), 51, "{writes:?}");
    assert_eq!((writes[0], writes[50]), (0, 1_000));
}

#[test]
fn what_changes_after_a_pause_is_written_at_once() {
    let (mut pace, start) = (WritePace::default(), Instant::now());
    assert!(pace.allows(start));
    assert!(pace.allows(start + INTERVAL));
    assert!(!pace.allows(start + INTERVAL + INTERVAL / 2));
    assert_eq!(pace.due(), Some(start + 2 * INTERVAL));
}
