//! Users, rights, certificates and space of the cluster.

use std::fs;
use std::path::Path;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, Error, Permission, RoleRevokePermissionOptions,
};

use super::calls::{Calls, ROOT};
use crate::support::{PASSWORD, Pki};

/// The user whom sidekick is.
pub(super) const AGENT: &str = "agent";

/// The prefixes that the agent may read and write.
const RECORDS: &str = "/services/";
const OWN: &str = "/sidekick/";

/// etcd's words for what is as it should be already.
const SETTLED: [&str; 2] = ["already exists", "permission is not granted"];

/// All users with all their rights, and no alarm, whatever was there before.
pub(super) async fn set_up(calls: &Calls, password: &str) -> bool {
    // Without space nothing of the rest is refused, but what comes after would be.
    make_room(calls).await
        && add_user(calls, ROOT, PASSWORD, ROOT).await
        && role(calls).await
        && add_user(calls, AGENT, password, AGENT).await
        && set_password(calls, password).await
        && calls
            .admin(&[], async |mut client| client.auth_enable().await.map(drop))
            .await
}

async fn add_user(calls: &Calls, name: &str, password: &str, role: &str) -> bool {
    let add = async |mut client: Client| client.user_add(name, password, None).await.map(drop);
    let grant = async |mut client: Client| client.user_grant_role(name, role).await.map(drop);
    calls.admin(&SETTLED, add).await && calls.admin(&SETTLED, grant).await
}

async fn role(calls: &Calls) -> bool {
    let add = async |mut client: Client| client.role_add(AGENT).await.map(drop);
    calls.admin(&SETTLED, add).await && grant(calls, OWN).await && give_rights(calls).await
}

async fn grant(calls: &Calls, prefix: &str) -> bool {
    let grant = async |mut client: Client| {
        let permission = Permission::read_write(prefix).with_prefix();
        let granted = client.role_grant_permission(AGENT, permission).await;
        granted.map(drop)
    };
    calls.admin(&SETTLED, grant).await
}

/// The agent may read and write records.
pub(super) async fn give_rights(calls: &Calls) -> bool {
    grant(calls, RECORDS).await
}

/// The agent may not even read records.
pub(super) async fn take_rights(calls: &Calls) -> bool {
    let revoke = async |mut client: Client| {
        let all = RoleRevokePermissionOptions::new().with_prefix();
        let revoked = client.role_revoke_permission(AGENT, RECORDS, Some(all));
        revoked.await.map(drop)
    };
    calls.admin(&SETTLED, revoke).await
}

/// Another password for the agent, in etcd alone.
pub(super) async fn set_password(calls: &Calls, password: &str) -> bool {
    let change = async |mut client: Client| {
        let changed = client.user_change_password(AGENT, password).await;
        changed.map(drop)
    };
    calls.admin(&[], change).await
}

/// A user who has nothing to do with anything comes and goes.
pub(super) async fn bump(calls: &Calls) -> bool {
    let name = "passer-by";
    let add = async |mut client: Client| client.user_add(name, PASSWORD, None).await.map(drop);
    let delete = async |mut client: Client| client.user_delete(name).await.map(drop);
    calls.admin(&SETTLED, add).await && calls.admin(&["user name not found"], delete).await
}

/// Says that the disks are full: etcd takes no puts from now on.
pub(super) async fn fill(calls: &Calls) -> bool {
    let fill = async |mut client: Client| {
        let members = client.member_list().await?;
        let mut options = AlarmOptions::new();
        options.with_member(members.members().first().map_or(0, etcd_client::Member::id));
        let (activate, space) = (AlarmAction::Activate, AlarmType::Nospace);
        client.alarm(activate, space, Some(options)).await.map(drop)
    };
    calls.admin(&[], fill).await
}

/// Takes all alarms back.
pub(super) async fn make_room(calls: &Calls) -> bool {
    calls.admin(&[], disarm).await
}

async fn disarm(mut client: Client) -> Result<(), Error> {
    let alarms = client
        .alarm(AlarmAction::Get, AlarmType::None, None)
        .await?;
    for alarm in alarms.alarms() {
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member_id());
        let (deactivate, which) = (AlarmAction::Deactivate, alarm.alarm());
        client.alarm(deactivate, which, Some(options)).await?;
    }
    Ok(())
}

/// Certificates and keys of the servers and of the agent anew. A pair is two files, so that for a moment one of them is old.
pub(super) fn renew_certificates(pki: &Pki) {
    for name in ["server", "client"] {
        let next = format!("next-{name}");
        pki.issue(&next, "IP:127.0.0.1", "491231");
        let (new, old) = (pki.pair(&next), pki.pair(name));
        fs::rename(new.0, old.0).expect("our own folder");
        fs::rename(new.1, old.1).expect("our own folder");
    }
}

/// The agent's password in its file, replaced by rename.
pub(super) fn write_password(file: &Path, password: &str) {
    let new = file.with_extension("new");
    fs::write(&new, password).expect("our own folder");
    fs::rename(new, file).expect("our own folder");
}
