//! `examples/install.sh`, below a root of its own. On a host with a systemd it is tested among the hosts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Ended, PATIENCE, Process, folder};
use crate::usage::{FORMATS, commands};

/// What is for the administrator to edit.
const SETTINGS: [&str; 3] = [
    "etc/sidekick/push.env",
    "etc/sidekick/push.toml",
    "etc/sidekick/sidekick.env",
];

/// Runs the script for this root, with a target folder in which nothing was built.
async fn install(root: &Path, prefix: Option<&str>, argument: Option<&str>) -> Ended {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/install.sh");
    let mut command = Command::new(script);
    command
        .env("DESTDIR", root)
        .env("CARGO_TARGET_DIR", root.join("nothing"))
        .env_remove("PREFIX")
        .envs(prefix.map(|prefix| ("PREFIX", prefix)))
        .args(argument);
    Process::start("install.sh", &mut command)
        .end(PATIENCE)
        .await
}

/// Every file below a folder, with its mode.
fn files(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
            if path.is_dir() {
                assert_eq!(mode, 0o755, "{}", path.display());
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, mode);
            }
        }
    }
    found
}

#[tokio::test]
async fn everything_is_installed_at_its_place_twice_if_need_be_and_removed_again() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_sidekick");
    let folder = folder();
    let root = folder.path().join("root");
    let ended = install(&root, None, Some(PROGRAM)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);

    let mut expected: Vec<_> = [
        "bin/sidekick",
        "lib/systemd/system/sidekick-push.service",
        "lib/systemd/system/sidekick@.service",
        "share/bash-completion/completions/sidekick",
        "share/doc/sidekick/CHANGELOG.md",
        "share/doc/sidekick/LICENSE",
        "share/doc/sidekick/README.md",
        "share/doc/sidekick/backend-with-hooks.service",
        "share/doc/sidekick/installed",
        "share/doc/sidekick/podman.conf",
        "share/doc/sidekick/push.toml",
        "share/doc/sidekick/quadlet/backend-sidekick.container",
        "share/doc/sidekick/quadlet/backend.container",
        "share/doc/sidekick/sidekick-fleet@.service",
        "share/fish/vendor_completions.d/sidekick.fish",
        "share/man/man1/sidekick.1",
        "share/zsh/site-functions/_sidekick",
    ]
    .map(|path| format!("usr/local/{path}"))
    .into();
    let pages = commands().await;
    expected.extend(
        pages
            .iter()
            .map(|page| format!("usr/local/share/man/man1/sidekick-{page}.1")),
    );
    expected.extend(FORMATS.map(|page| format!("usr/local/share/man/man5/sidekick-{page}.5")));
    let installed = expected.clone();
    expected.extend(SETTINGS.map(str::to_owned));
    expected.sort();
    let found = files(&root);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    for (path, mode) in &found {
        let wanted = if path.ends_with("bin/sidekick") {
            0o755
        } else {
            0o644
        };
        assert_eq!(*mode, wanted, "{path}");
        assert_ne!(fs::metadata(root.join(path)).unwrap().len(), 0, "{path}");
    }
    let unit = fs::read_to_string(root.join("usr/local/lib/systemd/system/sidekick@.service"));
    assert_eq!(unit.unwrap(), include_str!("../../units/sidekick@.service"));
    let page = fs::read_to_string(root.join("usr/local/share/man/man1/sidekick-announce.1"));
    assert!(page.unwrap().contains(".TH sidekick-announce 1"));

    // Once more, over an older version that had a file more; what was edited stays.
    let env = root.join(SETTINGS[2]);
    fs::write(&env, "ETCDCTL_ENDPOINTS=http://10.0.0.1:2379\n").unwrap();
    let older = "usr/local/share/man/man1/sidekick-older.1";
    fs::write(root.join(older), "gone\n").unwrap();
    let list = root.join("usr/local/share/doc/sidekick/installed");
    let former = fs::read_to_string(&list).unwrap() + "/" + older + "\n";
    fs::write(&list, former).unwrap();
    let ended = install(&root, None, Some(PROGRAM)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(
        !ended.output.contains("For you to edit"),
        "{}",
        ended.output
    );
    assert_eq!(files(&root), found);
    let kept = fs::read_to_string(&env).unwrap();
    assert_eq!(kept, "ETCDCTL_ENDPOINTS=http://10.0.0.1:2379\n");

    let listed = fs::read_to_string(&list).unwrap();
    let mut listed: Vec<_> = listed.lines().map(|path| path[1..].to_owned()).collect();
    listed.sort();
    let mut installed = installed;
    installed.sort();
    assert_eq!(listed, installed);

    // Somebody else's file is not ours to remove.
    fs::write(root.join("usr/local/bin/other"), "other\n").unwrap();
    let ended = install(&root, None, Some("--uninstall")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let left = files(&root).into_keys().collect::<Vec<_>>();
    assert_eq!(left, [&SETTINGS[..], &["usr/local/bin/other"]].concat());
    assert!(!root.join("usr/local/share/doc/sidekick").exists());
    let ended = install(&root, None, Some("--uninstall")).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.output.contains("nothing is installed"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn another_prefix_stands_in_the_units_which_lie_where_systemd_looks() {
    let folder = folder();
    let root = folder.path().join("root");
    let program = env!("CARGO_BIN_EXE_sidekick");
    let ended = install(&root, Some("/opt/side+kick"), Some(program)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(root.join("opt/side+kick/bin/sidekick").exists());
    for unit in ["sidekick@.service", "sidekick-push.service"] {
        let text = fs::read_to_string(root.join("etc/systemd/system").join(unit)).unwrap();
        assert!(
            text.contains("\nExecStart=/opt/side+kick/bin/sidekick "),
            "{text}"
        );
        assert!(!text.contains("/usr/local/bin/sidekick"), "{text}");
    }
    let ended = install(&root, Some("/opt/side+kick"), Some("--uninstall")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(files(&root).into_keys().collect::<Vec<_>>(), SETTINGS);
}

#[tokio::test]
async fn the_lua_library_replaces_an_older_one_of_a_single_file_and_stays_when_sidekick_goes() {
    let folder = folder();
    let root = folder.path().join("root");
    let lua = root.join("etc/nginx/lua");
    fs::create_dir_all(&lua).unwrap();
    fs::write(lua.join("upstream_api.lua"), "return 'one file'\n").unwrap();
    fs::write(lua.join("own.lua"), "return 'somebody else'\n").unwrap();
    let ended = install(&root, None, Some("--nginx-lua")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let path = r#"lua_package_path "/etc/nginx/lua/?.lua;;";"#;
    assert!(ended.output.contains(path), "{}", ended.output);

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx-lua/lib");
    let mut expected = files(&shipped);
    for path in expected.keys() {
        let text = |folder: &Path| fs::read_to_string(folder.join(path)).unwrap();
        assert_eq!(text(&lua), text(&shipped), "{path}");
    }
    expected.insert("own.lua".to_owned(), 0o644);
    let names = |files: &BTreeMap<String, u32>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&files(&lua)), names(&expected));
    assert!(files(&lua).values().all(|mode| *mode == 0o644));

    // Once more, over a version that had a module more, in an nginx that looks there.
    fs::write(lua.join("upstream_api/gone.lua"), "return {}\n").unwrap();
    fs::create_dir(root.join("etc/nginx/conf.d")).unwrap();
    fs::write(root.join("etc/nginx/conf.d/upstream_api.conf"), path).unwrap();
    let ended = install(&root, None, Some("--nginx-lua")).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!ended.output.contains(path), "{}", ended.output);
    assert_eq!(names(&files(&lua)), names(&expected));

    let program = Some(env!("CARGO_BIN_EXE_sidekick"));
    for argument in [program, Some("--uninstall")] {
        let ended = install(&root, None, argument).await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
    }
    assert_eq!(names(&files(&lua)), names(&expected));
}

#[tokio::test]
async fn what_cannot_be_installed_is_refused_in_words_and_nothing_is_written() {
    let folder = folder();
    let root = folder.path().join("root");
    for (prefix, argument, code, told) in [
        (None, None, 69, "run cargo build --release first"),
        (
            None,
            Some("/bin/true"),
            64,
            "/bin/true is no sidekick that runs here",
        ),
        (
            None,
            Some("/nonexistent"),
            64,
            "/nonexistent is no sidekick",
        ),
        (
            None,
            Some("--remove"),
            64,
            "expected the file of a build, --nginx-lua or --uninstall",
        ),
        (Some("opt"), None, 64, "expected an absolute path"),
        (Some("/opt/a b"), None, 64, "letters, digits"),
    ] {
        let ended = install(&root, prefix, argument).await;
        assert_eq!(ended.code, Some(code), "{argument:?}: {}", ended.output);
        assert!(ended.output.contains(told), "{told}: {}", ended.output);
        assert!(!root.exists(), "{argument:?}");
    }
}

#[tokio::test]
async fn it_says_how_it_is_used() {
    let mut command = Command::new("bash");
    command.args(["examples/install.sh", "--help"]);
    let mut script = Process::start(
        "install.sh",
        command.current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let ended = script.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for part in ["--nginx-lua", "--uninstall", "DESTDIR=FOLDER"] {
        assert!(ended.output.contains(part), "{}", ended.output);
    }
}
