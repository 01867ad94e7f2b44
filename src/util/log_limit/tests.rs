use super::*;

#[test]
fn a_key_that_is_rewritten_a_thousand_times_gives_three_lines_and_a_count() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    let lines = (0..1000).filter_map(|_| limit.allows("record", "a", PER_KIND, now));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].to_string(), "");
    assert!(lines[2].last);
    let later = limit.allows("record", "a", PER_KIND, now + PERIOD).unwrap();
    assert_eq!(later.left_out, 997);
    assert!(later.to_string().contains("997 lines like this"), "{later}");
}

#[test]
fn a_thousand_keys_give_twenty_lines_and_little_memory() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    let lines = (0..1000).filter_map(|key| limit.allows("split", &key.to_string(), PER_KIND, now));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 20);
    assert!(lines[19].last && !lines[18].last);
    assert_eq!(limit.kinds["split"].keys.len(), 20);
}

#[test]
fn kinds_and_keys_do_not_take_each_others_lines() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    for _ in 0..10 {
        limit.allows("record", "a", PER_KIND, now);
    }
    assert_eq!(
        limit.allows("split", "a", PER_KIND, now),
        Some(More::default())
    );
    assert!(limit.allows("record", "b", PER_KIND, now).is_some());
}
