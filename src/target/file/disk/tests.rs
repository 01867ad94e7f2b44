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
