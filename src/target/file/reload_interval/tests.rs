//! Reloads one after the other.

use super::*;

#[test]
fn the_first_reload_is_free_and_each_other_an_interval_behind_the_one_before() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    let mut interval = ReloadInterval::new(ms(1_000));
    assert_eq!(interval.next(now), now);
    interval.begin(now);
    assert_eq!(interval.next(now + ms(10)), now + ms(1_000));
    assert_eq!(interval.next(now + ms(5_000)), now + ms(5_000));
    interval.begin(now + ms(5_000));
    assert_eq!(interval.next(now + ms(5_001)), now + ms(6_000));
}
