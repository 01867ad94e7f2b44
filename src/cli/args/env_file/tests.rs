use proptest::prelude::*;

use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let found = parse(text, "").unwrap_or_else(|mistakes| panic!("{text:?}: {mistakes:?}"));
    let found = found.into_iter();
    found.map(|found| (found.name, found.value)).collect()
}

fn value(text: &str) -> String {
    let [(name, value)] = &pairs(text)[..] else {
        panic!("{text:?} is not one assignment");
    };
    assert_eq!(name, "A");
    value.clone()
}

#[test]
fn values_are_read_as_systemd_reads_them() {
    for (text, expected) in [
        ("A=b", "b"),
        ("A=", ""),
        ("  A = b c \n", "b c"),
        ("A=b # no comment here", "b # no comment here"),
        ("A='b \"c\" \\' ", "b \"c\" \\"),
        (r#"A="b \"c\" \\ \$ \` \n""#, r#"b "c" \ $ ` \n"#),
        (r#"A="b" 'c'd"#, "bcd"),
        ("A=b'c'", "b'c'"),
        ("A=\"two\nlines\"", "two\nlines"),
        ("A=\"two\\\nlines\"", "twolines"),
        ("A=b\\\nc", "bc"),
        ("A=b\\ ", "b "),
        ("A=b\\\\c", "b\\c"),
        ("A=\" b \" ", " b "),
        ("A=b\r\n", "b"),
        ("A=b=c", "b=c"),
        ("A=ä", "ä"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
    }
}

#[test]
fn comments_and_empty_lines_say_nothing() {
    let text = "\n# A=1\n ; A=2 \\\nB=3\n\n\t\nC=4";
    let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(pairs(text), [owned("B", "3"), owned("C", "4")]);
    assert_eq!(parse(text, "").unwrap()[0].line, 4);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let mistakes = parse("A=1\nexport B=2\nno value\n=x\n9=x\nC='open\n", "").unwrap_err();
    let expected = [
        "line 2: the text before the = is not the name of an environment variable: `export` does not belong there",
        "line 3: expected NAME=VALUE",
        "line 4: expected NAME=VALUE",
        "line 5: the text before the = is not the name of an environment variable",
        "line 6: the quote of C is not closed",
    ];
    assert_eq!(mistakes, expected);
}

#[test]
fn what_is_no_file_or_too_long_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| read(path.to_str().unwrap());
    let refused = |path: &Path| read(path).unwrap_err().join("\n");
    assert!(refused(folder.path()).contains("not a file"));
    assert!(refused(Path::new("/dev/zero")).contains("not a file"));
    assert!(refused(&folder.path().join("none")).contains("No such file"));
    let path = folder.path().join("file");
    std::fs::write(&path, vec![b'\n'; 1 << 20]).unwrap();
    assert_eq!(read(&path).unwrap().assignments, []);
    std::fs::write(&path, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(refused(&path).contains("longer than 1024 KiB"));
    std::fs::write(&path, b"A=\xff").unwrap();
    assert!(refused(&path).contains("not UTF-8"));
}

#[test]
fn of_several_files_the_last_counts_and_one_behind_a_dash_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (one, two, none) = (place("one"), place("two"), place("none"));
    std::fs::write(&one, "A=1\nB=1\n").unwrap();
    std::fs::write(&two, "\nA=2\n").unwrap();
    let found = read(&format!("-{one}:-{none}:{two}")).unwrap();
    let said: Vec<_> = found.assignments.iter().collect();
    let said = said
        .iter()
        .map(|it| (&*it.name, &*it.value, it.line, &*it.file));
    let expected = [
        ("A", "1", 1, &*one),
        ("B", "1", 2, &one),
        ("A", "2", 2, &two),
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!(found.notes, Vec::<String>::new());

    std::fs::write(&two, "A\n").unwrap();
    let mistakes = read(&format!("{none}:-{two}")).unwrap_err();
    assert!(mistakes[0].contains("No such file"), "{mistakes:?}");
    assert!(mistakes[1].contains("two: line 1:"), "{mistakes:?}");
    // What stands in its place is no file that is missing.
    assert!(read(&format!("-{}", folder.path().display())).is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_grows_nothing(text in any::<String>()) {
        if let Ok(found) = parse(&text, "") {
            let length: usize = found.iter().map(|found| found.name.len() + found.value.len()).sum();
            prop_assert!(length <= text.len());
        }
    }

    #[test]
    fn texts_of_the_syntax_never_panic(text in r#"[A-Z=\\"'#; \n\r\tab]{0,40}"#) {
        for found in parse(&text, "").into_iter().flatten() {
            prop_assert!(is_name(&found.name));
            prop_assert!(found.line <= 1 + text.matches('\n').count());
        }
    }

    #[test]
    fn a_quoted_value_comes_back_as_it_was(value in r#"[^\x00]{0,40}"#, name in "[A-Z_]{1,8}") {
        let escaped: String = value.chars().flat_map(|c| {
            let escape = matches!(c, '"' | '\\' | '$' | '`').then_some('\\');
            escape.into_iter().chain([c])
        }).collect();
        prop_assert_eq!(pairs(&format!("{name}=\"{escaped}\"\n")), [(name.clone(), value.clone())]);
        if !value.contains('\'') {
            prop_assert_eq!(pairs(&format!("{name}='{value}'")), [(name, value)]);
        }
    }
}
