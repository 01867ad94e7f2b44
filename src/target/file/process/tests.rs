//! Processes of this machine.

use super::*;

fn workers(ids: &[u32]) -> Vec<Worker> {
    let worker = |id: &u32| Worker {
        process: Process { id: *id, start: 7 },
        leaving: false,
    };
    ids.iter().map(worker).collect()
}

#[test]
fn workers_are_replaced_when_new_ones_stand_in_for_all_old_ones() {
    let before = workers(&[1, 2]);
    assert!(!replaced(&before, &before));
    assert!(!replaced(&before, &[]));
    assert!(
        !replaced(&before, &workers(&[1, 2, 3])),
        "not all are started yet"
    );
    assert!(!replaced(&before, &workers(&[1, 3])), "one has crashed");
    assert!(replaced(&before, &workers(&[3])), "fewer than before");
    assert!(replaced(&before, &workers(&[1, 2, 3, 4])));
    let mut leaving = workers(&[1, 2, 3]);
    leaving[0].leaving = true;
    leaving[1].leaving = true;
    assert!(replaced(&before, &leaving));
    assert!(replaced(&[], &workers(&[1])));
}

#[test]
fn the_master_of_a_fork_is_one_and_that_of_php_is_none() {
    for title in [
        "nginx: master process nginx -c /etc/nginx.conf",
        "angie: master process v1.8.0 #1 [/usr/sbin/angie]",
    ] {
        assert!(is_title_of_master(title), "{title}");
    }
    for title in [
        "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)",
        "nginx: worker process",
        "",
    ] {
        assert!(!is_title_of_master(title), "{title}");
    }
}

#[test]
fn a_process_is_told_with_its_start() {
    let own = Process::running(std::process::id()).unwrap();
    assert!(own.is_alive());
    let other = Process {
        start: own.start + 1,
        ..own
    };
    assert!(!other.is_alive());
    let age = own.started().unwrap().elapsed().unwrap();
    assert!(age < Duration::from_secs(3_600), "{age:?}");
    let stat = parse("7 (a) b) S 3 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 0").unwrap();
    assert_eq!(stat, (3, 4711));
}

#[test]
fn a_pid_file_counts_only_when_it_names_a_running_nginx() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.pid");
    assert_eq!(Process::master(&file), None);
    let own = std::process::id().to_string();
    for content in ["", "x", "0", &own] {
        fs::write(&file, content).unwrap();
        assert_eq!(Process::master(&file), None, "{content}");
        assert_eq!(Process::is_stranger(&file), content == own, "{content}");
    }
}
