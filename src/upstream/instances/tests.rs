use super::*;

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

fn instances(listed: &[(&str, &str)]) -> Instances {
    let placed = |address: &str| Placed {
        endpoint: address.parse().unwrap(),
        out: None,
    };
    let listed = listed.iter();
    listed
        .map(|(name, at)| (name.parse().unwrap(), placed(at)))
        .collect()
}

/// Who is gone after each of these steps.
fn gone(steps: &[&[(&str, &str)]]) -> Vec<Vec<String>> {
    let mut former = Instances::new();
    let steps = steps.iter().zip(1..).map(|(listed, revision)| {
        let mut now = instances(listed);
        let recorded: Vec<InstanceName> = now.keys().cloned().collect();
        note_gone(&mut now, &former, recorded.iter(), revision);
        let gone = now
            .iter()
            .filter(|(_, it)| matches!(it.out, Some(Out::Gone(_))));
        let gone = gone.map(|(name, _)| name.to_string()).collect();
        former = now;
        gone
    });
    steps.collect()
}

#[test]
fn who_is_gone_is_remembered_while_another_record_has_the_address() {
    let both: &[_] = &[("w1", A), ("w2", A), ("w3", B)];
    let steps = gone(&[
        both,
        &[("w2", A), ("w3", B)],
        &[("w2", A)],
        &[("w3", B)],
        both,
    ]);
    assert_eq!(
        steps,
        [
            vec![],
            vec!["w1".to_owned()],
            vec!["w1".to_owned()],
            vec![],
            vec![]
        ]
    );
    // Three names of one address, one after the other: the last one counts.
    let steps = gone(&[
        both,
        &[("w2", A)],
        &[("w4", A), ("w2", A)],
        &[("w4", A)],
        &[("w5", A), ("w4", A)],
        &[("w5", A), ("w2", B)],
    ]);
    assert_eq!(steps[3], ["w2"]);
    assert_eq!(steps[5], ["w4"]);
}

#[test]
fn so_many_that_are_gone_leave_room_for_those_who_leave() {
    let names: Vec<_> = (0..MAX_GONE + 9)
        .map(|n| {
            (
                format!("a{n}"),
                format!("b{n}"),
                format!("10.0.0.1:{}", 80 + n),
            )
        })
        .collect();
    let new: Vec<_> = names
        .iter()
        .map(|(_, b, at)| (b.as_str(), at.as_str()))
        .collect();
    let old = names.iter().map(|(a, _, at)| (a.as_str(), at.as_str()));
    let both: Vec<_> = old.chain(new.iter().copied()).collect();
    assert_eq!(gone(&[&both, &new])[1].len(), MAX_GONE);
}

#[test]
fn a_record_that_an_upstream_no_longer_takes_is_not_gone() {
    let former = instances(&[("w1", A), ("w2", A)]);
    let mut now = instances(&[("w2", A)]);
    let recorded: Vec<InstanceName> = former.keys().cloned().collect();
    note_gone(&mut now, &former, recorded.iter(), 7);
    assert_eq!(now.len(), 1);
}
