use super::*;

const PER_KIND: u32 = 20;

impl Limit {
    /// Whether a line is logged; if not, it is left out.
    fn log(&mut self, kind: &'static str, key: &str, now: Instant) -> Option<More> {
        let more = self.allows(kind, key, PER_KIND, now);
        if more.is_none() {
            self.leave_out(kind, key, now);
        }
        more
    }
}

#[test]
fn a_key_that_is_rewritten_a_thousand_times_gives_three_lines_and_a_count() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    let lines = (0..1000).filter_map(|_| limit.log("record", "a", now));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].to_string(), "");
    assert!(lines[2].last);
    let later = limit.log("record", "a", now + PERIOD).unwrap();
    assert_eq!(later.left_out, 997);
    assert!(later.to_string().contains("997 lines like this"), "{later}");
}

#[test]
fn a_thousand_keys_give_twenty_lines_and_little_memory() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    let lines = (0..1000).filter_map(|key| limit.log("split", &key.to_string(), now));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 20);
    assert!(lines[19].last && !lines[18].last);
    let kind = &limit.kinds["split"];
    assert_eq!(kind.keys.len(), 20);
    let left_out = kind.left_out.as_ref().unwrap();
    assert_eq!((left_out.lines, left_out.keys.len()), (980, NAMED + 1));
}

#[test]
fn kinds_and_keys_do_not_take_each_others_lines() {
    let (mut limit, now) = (Limit::default(), Instant::now());
    for _ in 0..10 {
        limit.log("record", "a", now);
    }
    assert_eq!(limit.log("split", "a", now), Some(More::default()));
    assert!(limit.log("record", "b", now).is_some());
}

#[test]
fn one_line_is_a_line_and_two_are_lines() {
    let more = |left_out| More {
        left_out,
        ..More::default()
    };
    assert_eq!(more(1).to_string(), " (1 line like this was left out)");
    assert_eq!(more(2).to_string(), " (2 lines like this were left out)");
    let left_out = |lines, keys: &[&str]| {
        let left_out = LeftOut {
            kind: "fails",
            lines,
            since: Instant::now(),
            keys: keys.iter().map(|key| (*key).into()).collect(),
        };
        let told = left_out.to_string();
        told.rsplit_once(" since ").unwrap().0.to_owned()
    };
    assert_eq!(
        left_out(1, &["edge/a"]),
        "1 line of the kind \"fails\" about edge/a was left out"
    );
    assert_eq!(
        left_out(9, &["a", "b", "c", "d"]),
        "9 lines of the kind \"fails\" about a, b, c and others were left out"
    );
    assert_eq!(
        left_out(2, &[""]),
        "2 lines of the kind \"fails\" were left out"
    );
}
