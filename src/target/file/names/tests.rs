//! Names that resolve, and that do not.

use std::slice::from_ref;

use super::*;
use crate::model::Host;

fn name(text: &str) -> DnsName {
    match text.parse() {
        Ok(Host::Dns(name)) => name,
        other => panic!("{other:?}"),
    }
}

fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// As if DNS had answered.
fn told(names: &mut Names, text: &str, answer: Answer) {
    let known = names.known.entry(name(text)).or_default();
    known.take(&name(text), answer);
}

#[test]
fn a_name_is_left_out_when_neither_this_process_nor_nginx_resolves_it() {
    let (mut names, web) = (Names::new(), name("web.example"));
    told(&mut names, "web.example", Ok(addresses(&["10.0.0.5"])));
    assert!(names.candidates().is_empty() && names.left_out(&web).is_none());
    told(&mut names, "web.example", Err("gone".to_owned()));
    assert_eq!(names.candidates(), from_ref(&web));
    assert!(
        names.any_untried() && names.left_out(&web).is_none(),
        "nginx was not asked yet"
    );
    names.judge(from_ref(&web), Some(true));
    assert!(!names.any_untried() && names.left_out(&web).is_none());
    assert_eq!(names.candidates(), from_ref(&web), "it is in the file");
    names.judge(from_ref(&web), Some(false));
    assert!(names.candidates().is_empty());
    assert_eq!(names.left_out(&web), Some("gone"));
    told(&mut names, "web.example", Err("still gone".to_owned()));
    assert_eq!(
        names.left_out(&web),
        Some("still gone"),
        "it is not tried again"
    );
    assert_eq!(
        names.last(&web).unwrap().len(),
        1,
        "what it was is remembered"
    );
    told(&mut names, "web.example", Ok(addresses(&["10.0.0.6"])));
    assert!(names.left_out(&web).is_none() && !names.any_fails());
    told(&mut names, "web.example", Err("again".to_owned()));
    assert_eq!(names.candidates(), [web]);
}

/// This name never resolves, as RFC 6761 has it, and the other one always does.
#[tokio::test]
async fn names_are_looked_up_and_others_are_forgotten() {
    let (mut names, local) = (Names::new(), name("localhost"));
    names.read("# sidekick: name nowhere.invalid 10.0.0.9\n");
    let nowhere = name("nowhere.invalid");
    names
        .look_up(&[local.clone(), nowhere.clone()].into())
        .await;
    assert!(names.last(&local).unwrap().iter().all(IpAddr::is_loopback));
    assert_eq!(names.candidates(), from_ref(&nowhere));
    assert_eq!(names.last(&nowhere).unwrap().len(), 1);
    names.look_up(&[local].into()).await;
    assert!(!names.any_fails());
}
