//! Users with exactly the rights that `sidekick roles` prints.

use super::{Command, Etcd, PASSWORD};

/// What a role is for, as its name begins, and its rights as `etcdctl role grant-permission` takes them.
pub(crate) type Role = (String, Vec<String>);

/// The roles that `sidekick roles` prints.
pub(crate) async fn roles(arguments: &[&str]) -> Vec<Role> {
    let ended = Command::new("roles").args(arguments).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let mut roles: Vec<Role> = Vec::new();
    for line in ended.output.lines() {
        if let Some(name) = line.strip_prefix("etcdctl role add ") {
            roles.push((name.to_owned(), Vec::new()));
        } else if let Some(right) = line.strip_prefix("etcdctl role grant-permission ") {
            let (name, rights) = roles.last_mut().expect("the role was added");
            let right = right.strip_prefix(name.as_str()).expect("the same role");
            rights.push(right.trim().to_owned());
        }
    }
    // What it is limited to is behind that.
    let purpose = |name: String| {
        name.split(['-', '@', ':', '+'])
            .take(2)
            .collect::<Vec<_>>()
            .join("-")
    };
    let named = roles
        .into_iter()
        .map(|(name, rights)| (purpose(name), rights));
    named.collect()
}

impl Etcd {
    /// From now on clients must say who they are; adds a user for each role that `sidekick roles` prints.
    pub(crate) async fn require_roles(&mut self, arguments: &[&str]) {
        self.require_users().await;
        for (role, rights) in roles(arguments).await {
            let rights: Vec<_> = rights.iter().map(String::as_str).collect();
            self.add_user_with(&role, &rights).await;
        }
    }
}

/// The command by this user.
pub(crate) fn as_user(command: Command, name: &str) -> Command {
    command.args(["--user", &format!("{name}:{PASSWORD}")])
}

/// A whole command line.
pub(crate) fn command(line: &str) -> Command {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    Command::new(name).args(rest.split_whitespace())
}
