//! Files and their blocks.

use super::*;

fn name(text: &str) -> UpstreamName {
    text.parse().unwrap()
}

#[test]
fn blocks_are_found_again_and_what_is_cut_off_is_not() {
    let blocks = Blocks::from([
        (name("a"), "upstream a {\n}\n".to_owned()),
        (name("b"), "# b\n".to_owned()),
    ]);
    for proof in [None, Some("127.0.0.1:9000".parse().unwrap())] {
        let text = compose(&blocks, Layer::Http, proof, 0);
        let found = split(&text);
        assert_eq!(found, blocks);
        assert_eq!(token(&text).is_some(), proof.is_some());
        let cut = text.split_once("# sidekick: end b").unwrap().0;
        assert_eq!(split(cut).into_keys().collect::<Vec<_>>(), [name("a")]);
    }
}

#[test]
fn a_block_with_carriage_returns_is_found_again_as_it_was() {
    let block = "upstream a {\r\n}\r\r\n".to_owned();
    let blocks = Blocks::from([(name("a"), block)]);
    assert_eq!(split(&compose(&blocks, Layer::Http, None, 0)), blocks);
}

#[test]
fn what_names_were_resolved_to_is_found_again() {
    let addresses: BTreeSet<IpAddr> = ["10.0.0.5", "::1"].map(|a| a.parse().unwrap()).into();
    let Host::Dns(web) = "web.example".parse().unwrap() else {
        panic!("it is a name")
    };
    let line = named(&web, &addresses);
    assert_eq!(line, "# sidekick: name web.example 10.0.0.5 ::1\n");
    let blocks = Blocks::from([(name("a"), format!("{line}upstream a {{\n}}\n"))]);
    let text = compose(&blocks, Layer::Http, None, 0);
    assert_eq!(names(&text).collect::<Vec<_>>(), [(web, addresses)]);
    let block = split(&text).remove(&name("a")).unwrap();
    assert_eq!(without_names(&block), "upstream a {\n}\n");
}

#[test]
fn a_file_is_ours_by_its_marks_or_when_it_is_empty() {
    for own in ["", " \n", &compose(&Blocks::new(), Layer::Http, None, 0)] {
        assert!(is_own(own), "{own}");
    }
    for foreign in ["# by hand\n", "upstream a { server b; }\n"] {
        assert!(!is_own(foreign), "{foreign}");
    }
}

#[test]
fn another_content_or_edition_has_another_token() {
    let proof = Some("127.0.0.1:9000".parse().unwrap());
    let token = |block: &str, number| {
        let blocks = Blocks::from([(name("a"), block.to_owned())]);
        let text = compose(&blocks, Layer::Stream, proof, number);
        assert_eq!(edition(&text).unwrap_or_default(), number);
        token(&text).unwrap().to_owned()
    };
    assert_ne!(token("# 1\n", 0), token("# 2\n", 0));
    assert_ne!(token("# 1\n", 0), token("# 1\n", 1));
    assert_eq!(token("# 1\n", 2), token("# 1\n", 2));
}
