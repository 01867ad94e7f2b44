//! The units as systemd reads them, and what else is printed for an installation.

use std::fs;
use std::path::Path;
use std::process;

use crate::support::{Command, Ended, PATIENCE, Process, folder};
use crate::usage::{FORMATS, commands};

/// How exposed a unit may be at most, from 0 to 100, as `systemd-analyze security` counts.
const EXPOSURE: &str = "20";

async fn tool(program: &str, arguments: &[&str]) -> Ended {
    let mut command = process::Command::new(program);
    command.args(arguments);
    Process::start(program, &mut command).end(PATIENCE).await
}

/// Puts a unit into a folder, with programs that are there in place of those that it names.
fn install(folder: &Path, name: &str, text: &str) -> String {
    let text = text
        .replace("/usr/local/bin/sidekick", env!("CARGO_BIN_EXE_sidekick"))
        .replace("/usr/bin/docker", "/bin/true");
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn accepted(unit: &str) {
    let ended = tool("systemd-analyze", &["verify", "--man=no", unit]).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), ""), "{unit}");
}

async fn hardened(unit: &str) {
    let limit = format!("--threshold={EXPOSURE}");
    let arguments = ["security", "--offline=true", "--no-pager", &limit, unit];
    let ended = tool("systemd-analyze", &arguments).await;
    assert_eq!(ended.code, Some(0), "{unit}: {}", ended.output);
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("units")
        .join(name);
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn the_shipped_units_are_accepted_by_systemd_and_leave_little_exposed() {
    let folder = folder();
    install(
        folder.path(),
        "nginx1.service",
        "[Service]\nExecStart=/bin/true\n",
    );
    for (name, instance) in [
        ("sidekick@.service", "sidekick@nginx1.service"),
        ("sidekick-fleet@.service", "sidekick-fleet@nginx1.service"),
        ("sidekick-push.service", "sidekick-push.service"),
    ] {
        let unit = install(folder.path(), instance, &shipped(name));
        accepted(&unit).await;
        hardened(&unit).await;
    }
    let hooks = "backend-with-hooks.service";
    let docker = "[Service]\nExecStart=/bin/true\n";
    install(folder.path(), "docker.service", docker);
    accepted(&install(folder.path(), hooks, &shipped(hooks))).await;
}

#[tokio::test]
async fn a_printed_unit_is_accepted_by_systemd_whatever_the_arguments_hold() {
    let folder = folder();
    install(
        folder.path(),
        "nginx1.service",
        "[Service]\nExecStart=/bin/true\n",
    );
    let arguments = [
        "website/nginx1",
        "10.0.0.5:8080/v1",
        "--probe",
        "exec:sh -c 'test \"$HOME\" = \"100%\"; true'",
        "--probe",
        "/health",
        "--expect-body",
        "^ok\\.$",
        "--meta",
        "note=it's \"fine\"",
    ];
    let forms: [&[&str]; 2] = [&[], &["--fleet"]];
    for form in forms {
        let ended = Command::new("unit").args(arguments).args(form).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let unit = install(folder.path(), "nginx1-sidekick.service", &ended.output);
        accepted(&unit).await;
        hardened(&unit).await;
    }
}

#[tokio::test]
async fn a_printed_unit_for_podman_has_what_its_socket_needs_and_is_hardened_too() {
    let folder = folder();
    install(
        folder.path(),
        "nginx1.service",
        "[Service]\nExecStart=/bin/true\n",
    );
    let socket = ["--docker-host", "unix:///run/podman/podman.sock"];
    let command = Command::new("unit").args(["--container", "nginx1"]);
    let ended = command.args(socket).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for line in ["\nDynamicUser=no\n", "\nWants=podman.socket\n"] {
        assert!(ended.output.contains(line), "{}", ended.output);
    }
    assert!(!ended.output.contains("=docker\n"), "{}", ended.output);
    let unit = install(folder.path(), "nginx1-sidekick.service", &ended.output);
    accepted(&unit).await;
    hardened(&unit).await;
}

#[tokio::test]
async fn a_printed_unit_holds_what_was_given_and_nothing_of_the_environment() {
    let ended = Command::new("unit")
        .args([
            "--container",
            "nginx1",
            "--unit",
            "web.service",
            "--tag",
            "a,b",
            "--probe-insecure",
        ])
        .env("ETCDCTL_PASSWORD", "hush")
        .env("SIDEKICK_PROBE", "/from-the-environment")
        .run()
        .await;
    let exec = "ExecStart=/usr/local/bin/sidekick announce --container nginx1 --probe-insecure --tag a --tag b";
    for line in [exec, "BindsTo=web.service", "SupplementaryGroups=docker"] {
        assert!(
            ended.output.lines().any(|said| said == line),
            "no {line}: {}",
            ended.output
        );
    }
    assert!(!ended.output.contains("hush"), "{}", ended.output);
}

#[tokio::test]
async fn units_that_could_not_work_or_would_tell_a_secret_are_refused() {
    let right = ["website/nginx1", "10.0.0.5:8080"];
    let wrong: [(&[&str], &str); 8] = [
        (&["--rise", "0"], "--rise"),
        (&["--user", "root", "--password", "hush"], "credstore"),
        (&["--user", "root:hush"], "credstore"),
        (&["--unit", "nginx.socket"], "--unit"),
        (&["--unit", "a b"], "--unit"),
        (&["--quadlet"], "--image"),
        (&["--image", "x"], "--quadlet"),
        (&["--quadlet", "--image", "x", "--fleet"], "--fleet"),
    ];
    for (more, named) in wrong {
        let ended = Command::new("unit").args(right).args(more).run().await;
        assert_eq!(ended.code, Some(64), "{more:?}: {}", ended.output);
        assert!(ended.output.contains(named), "{more:?}: {}", ended.output);
        assert!(!ended.output.contains("hush"), "{more:?}: {}", ended.output);
    }
}

#[tokio::test]
async fn a_quadlet_pair_is_printed_under_the_names_of_its_files() {
    let arguments = [
        "website/nginx1",
        "10.0.0.5:8080",
        "--quadlet",
        "--image",
        "docker.io/library/nginx:1.29",
    ];
    let ended = Command::new("unit").args(arguments).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    for part in [
        "# ---- nginx1.container\n",
        "\nPublishPort=8080:8080\n",
        "# ---- nginx1-sidekick.container\n",
        "\nBindsTo=nginx1.service\n",
        "\nExec=announce website/nginx1 10.0.0.5:8080\n",
    ] {
        assert!(ended.output.contains(part), "no {part}: {}", ended.output);
    }
}

#[tokio::test]
async fn completions_are_scripts_that_their_shells_accept_and_name_every_command() {
    let folder = folder();
    for (shell, check) in [("bash", Some("bash")), ("zsh", None), ("fish", None)] {
        let ended = Command::new("completions").args([shell]).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        for command in ["announce", "deregister", "--drain-timeout"] {
            // fish names long options without their dashes.
            let name = command.trim_start_matches('-');
            assert!(ended.output.contains(name), "{shell}: no {command}");
        }
        let script = folder.path().join(shell).display().to_string();
        fs::write(&script, &ended.output).unwrap();
        if let Some(program) = check {
            let ended = tool(program, &["-n", &script]).await;
            assert_eq!(ended.code, Some(0), "{shell}: {}", ended.output);
        }
    }
    let ended = Command::new("completions").args(["bsh"]).run().await;
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.output.contains("did you mean bash?"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn the_bash_completion_finds_commands_and_options() {
    let folder = folder();
    let script = folder.path().join("sidekick").display().to_string();
    let ended = Command::new("completions").args(["bash"]).run().await;
    fs::write(&script, ended.output).unwrap();
    for (words, found) in [
        ("sidekick dereg", "deregister"),
        ("sidekick hold --rel", "--release"),
    ] {
        let complete = format!(
            r#"source "$0"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); cur=${{COMP_WORDS[COMP_CWORD]}}; prev=${{COMP_WORDS[COMP_CWORD - 1]}}; _sidekick sidekick "$cur" "$prev"; echo "${{COMPREPLY[@]}}""#
        );
        let ended = tool("bash", &["-c", &complete, &script]).await;
        assert_eq!(ended.output.trim(), found, "{words}");
    }
}

#[tokio::test]
async fn the_manual_renders_for_the_program_and_every_command_and_format() {
    let folder = folder();
    let mut pages = commands().await;
    pages.extend(FORMATS.map(str::to_owned));
    for command in pages.iter().map(Some).chain([None]) {
        let ended = Command::new("man").args(command).run().await;
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let page = folder.path().join("page.1").display().to_string();
        fs::write(&page, ended.output + "\n").unwrap();
        let rendered = tool("groff", &["-Kutf8", "-man", "-Tutf8", "-ww", &page]).await;
        assert_eq!(rendered.code, Some(0), "{command:?}: {}", rendered.output);
        assert!(
            !rendered.output.contains(": warning: "),
            "{command:?}: {}",
            rendered.output
        );
        assert!(
            rendered.output.lines().count() > 20,
            "{command:?}: {}",
            rendered.output
        );
    }
    let ended = Command::new("man").args(["anounce"]).run().await;
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.output.contains("did you mean announce?"),
        "{}",
        ended.output
    );
}

#[tokio::test]
async fn a_login_that_everybody_could_read_in_the_unit_is_refused_and_not_repeated() {
    let announce = ["website/web1", "10.0.0.5:8080"];
    for given in [
        ["--endpoints", "http://u:hunter2@h:1"],
        ["--endpoints", "http://a:1,http://u:hunter2@h:1"],
        ["--endpoints", "http://u:a,hunter2@h:1"],
        ["--endpoints", "http://u:hunter2@h"],
        ["--meta", "admin=http://u:hunter2@h/"],
        ["--meta", "admin=http://u:a,hunter2@h/"],
        ["--probe", "http://h/health?token=hunter2"],
        ["--docker-host", "tcp://u:hunter2@h:1"],
        ["--tag", "http://u:hunter2@h/"],
        ["--probe-header", "X-Api-Key: hunter2"],
    ] {
        let ended = Command::new("unit").args(announce).args(given).run().await;
        assert_eq!(ended.code, Some(64), "{given:?}: {}", ended.output);
        assert!(!ended.output.contains("hunter2"), "{}", ended.output);
        assert!(ended.output.contains(given[0]), "{}", ended.output);
    }
    // What would end the announcer with 64 ends this so.
    let wrong = Command::new("unit")
        .args(announce)
        .args(["--endpoints", "h"]);
    assert_eq!(wrong.run().await.code, Some(64));
    let right = ["--endpoints", "http://a:1,b:2", "--probe", "/health?full=1"];
    let ended = Command::new("unit").args(announce).args(right).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("http://a:1,b:2"), "{}", ended.output);

    // A record is for everybody who may read etcd.
    for command in ["announce", "check", "register"] {
        let meta = ["--meta", "admin=http://u:hunter2@h/"];
        let ended = Command::new(command).args(announce).args(meta).run().await;
        assert_eq!(ended.code, Some(64), "{command}: {}", ended.output);
        assert!(!ended.output.contains("hunter2"), "{}", ended.output);
    }
}
