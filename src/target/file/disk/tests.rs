//! Files on a real disk.

use super::*;
use crate::target::Layer;

fn disk(path: &Path) -> Disk {
    Disk::new(Arc::new(Settings::new(path, Layer::Http)))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn text(disk: &Disk) -> Option<String> {
    disk.read().await.unwrap().map(|content| content.text)
}

#[tokio::test]
async fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.conf");
    let disk = disk(&path);
    assert_eq!(text(&disk).await, None);
    disk.write("one").await.unwrap();
    disk.keep().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    disk.write("two").await.unwrap();
    disk.keep().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(text(&disk).await.as_deref(), Some("two"));
    assert_eq!(names(folder.path()), ["a.conf"]);
}

#[tokio::test]
async fn what_was_there_before_the_first_attempt_is_put_back_also_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(&folder.path().join("a.conf"));
    disk.write("good").await.unwrap();
    disk.keep().await.unwrap();
    for attempt in ["bad", "worse"] {
        disk.write(attempt).await.unwrap();
    }
    disk.restore(Some("good")).await.unwrap();
    assert_eq!(text(&disk).await.as_deref(), Some("good"));
    disk.write("bad").await.unwrap();
    fs::write(folder.path().join(".a.conf.sidekick-new"), "half").unwrap();
    disk.recover().await.unwrap();
    assert_eq!(text(&disk).await.as_deref(), Some("good"));
    assert_eq!(names(folder.path()), ["a.conf"]);
    disk.recover().await.unwrap();
    assert_eq!(text(&disk).await.as_deref(), Some("good"));
}

#[tokio::test]
async fn a_file_that_was_not_there_is_gone_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(&folder.path().join("a.conf"));
    disk.write("bad").await.unwrap();
    disk.restore(None).await.unwrap();
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, "one").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let disk = disk(&link);
    disk.write("two").await.unwrap();
    disk.keep().await.unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    assert_eq!(names(folder.path()), ["link", "real"]);
}

#[tokio::test]
async fn what_cannot_be_written_says_why_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = disk(&folder.path().join("none/a.conf"));
    let error = missing.write("x").await.unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    let path = folder.path().join("a.conf");
    fs::create_dir(&path).unwrap();
    let error = disk(&path).write("x").await.unwrap_err().to_string();
    assert!(error.contains("it is a folder"), "{error}");
    assert_eq!(names(folder.path()), ["a.conf"]);
}

#[tokio::test]
async fn a_link_to_a_file_that_is_not_there_is_kept_and_the_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (real, conf) = (folder.path().join("real"), folder.path().join("conf.d"));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&conf).unwrap();
    let path = conf.join("a.conf");
    std::os::unix::fs::symlink("../real/a.conf", &path).unwrap();
    let disk = disk(&path);
    assert_eq!(text(&disk).await, None);
    disk.write("one").await.unwrap();
    disk.keep().await.unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(real.join("a.conf")).unwrap(), "one");
    assert_eq!(
        (names(&conf), names(&real)),
        (vec!["a.conf".to_owned()], vec!["a.conf".to_owned()])
    );
    disk.write("two").await.unwrap();
    disk.restore(Some("one")).await.unwrap();
    assert_eq!(fs::read_to_string(real.join("a.conf")).unwrap(), "one");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[tokio::test]
async fn a_link_into_a_folder_that_is_not_there_is_left_alone_and_the_reason_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (target, said) in [("gone/a.conf", "No such file"), ("a.conf", "in a circle")] {
        let path = folder.path().join("a.conf");
        std::os::unix::fs::symlink(target, &path).unwrap();
        let disk = disk(&path);
        for error in [
            disk.read().await.unwrap_err(),
            disk.write("one").await.unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("symbolic link") && error.contains(said),
                "{error}"
            );
        }
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
        fs::remove_file(&path).unwrap();
    }
}
