use super::*;

#[test]
fn a_name_with_a_folder_is_that_file_and_no_other_is_taken_for_the_own_one() {
    let own = std::env::current_exe().unwrap();
    assert_eq!(found(&own, &own), Some(own.clone()));
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("sidekick");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    assert_eq!(
        found(&link, &own),
        Some(link),
        "an upgrade may point it elsewhere"
    );
    assert_eq!(found(Path::new("/bin/sh"), &own), None);
    assert_eq!(found(Path::new("no-such-name"), &own), None);
}

#[test]
fn what_a_program_says_is_one_printable_line() {
    assert_eq!(in_one_line(" a\n\n  b\u{1b}[31m\n"), r"a; b\x1b[31m");
}
