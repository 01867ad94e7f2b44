use super::*;

#[test]
fn one_process_has_the_lock_and_what_it_left_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let lock = take(&path).unwrap().unwrap();
    assert!(take(&path).unwrap().is_none(), "it is taken");
    let left = Left::new("text", SystemTime::UNIX_EPOCH, None);
    lock.note(&left).unwrap();
    assert_eq!(read(&path).unwrap(), left);
    drop(lock);
    assert!(take(&path).unwrap().is_some());
}

#[test]
fn nothing_else_in_its_place_is_followed_or_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::create_dir(place("folder")).unwrap();
    std::fs::write(place("victim"), "untouched").unwrap();
    std::os::unix::fs::symlink(place("victim"), place("link")).unwrap();
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(mkfifo.arg(place("fifo")).status().unwrap().success());
    for name in ["folder", "link", "fifo"] {
        assert!(take(&place(name)).is_err(), "{name}");
        assert!(read(&place(name)).is_err(), "{name}");
    }
    assert_eq!(
        std::fs::read_to_string(place("victim")).unwrap(),
        "untouched"
    );
}
