use super::*;

fn scope() -> Scope {
    Scope {
        prefix: Prefix::default(),
        meta: MetaPrefix::default(),
        service: None,
        instance: None,
        pusher: None,
        vulcands: Vec::new(),
    }
}

fn rights(role: Role, scope: &Scope) -> Vec<String> {
    role.rights(scope).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_named_narrows_the_rights() {
    let narrow = Scope {
        service: "web".parse().ok(),
        instance: "one".parse().ok(),
        pusher: "edge".parse().ok(),
        ..scope()
    };
    assert_eq!(
        rights(Role::Announce, &narrow),
        [
            "readwrite /services/web/one",
            "--prefix=true read /sidekick/pushers/",
            "--prefix=true read /sidekick/balancers/",
        ]
    );
    assert_eq!(
        rights(Role::Push, &narrow),
        [
            "--prefix=true read /services/web/",
            "--prefix=true read /sidekick/",
            "readwrite /sidekick/pushers/edge",
            "readwrite /sidekick/balancers/edge",
        ]
    );
    let view = [
        "--prefix=true read /services/web/",
        "--prefix=true read /sidekick/",
    ];
    assert_eq!(rights(Role::View, &narrow), view);
    let operate = rights(Role::Operate, &narrow);
    assert_eq!(operate[..2], view);
    assert_eq!(
        operate[2..],
        [
            "readwrite /sidekick/splits/web",
            "readwrite /sidekick/holds/web/one",
            "readwrite /sidekick/service-holds/web",
            "readwrite /sidekick/releases/web",
        ]
    );
    let service = Scope {
        instance: None,
        ..narrow
    };
    let operate = rights(Role::Operate, &service);
    assert!(operate.contains(&"--prefix=true readwrite /sidekick/holds/web/".to_owned()));
    let said = Role::Operate.commands(&service);
    assert!(said.contains("/sidekick/releases/UPSTREAM"), "{said}");
    for role in Role::ALL {
        let said = role.commands(&service) + &role.commands(&scope());
        assert!(!said.contains("ui"), "there is no such command: {said}");
    }
}

#[test]
fn without_names_the_rights_are_for_all() {
    assert_eq!(
        rights(Role::Announce, &scope())[0],
        "--prefix=true readwrite /services/"
    );
    assert!(
        rights(Role::Push, &scope())
            .contains(&"--prefix=true readwrite /sidekick/balancers/".to_owned())
    );
    assert!(
        !rights(Role::View, &scope())
            .iter()
            .any(|right| right.contains("readwrite"))
    );
}

#[test]
fn a_pusher_of_vulcand_may_write_its_backends_too() {
    let vulcands: Vec<Prefix> = ["/vulcand", "/other"].map(|it| it.parse().unwrap()).into();
    let all = Scope {
        vulcands: vulcands.clone(),
        ..scope()
    };
    assert_eq!(
        rights(Role::Push, &all)[4..],
        [
            "--prefix=true readwrite /vulcand/backends/",
            "--prefix=true readwrite /other/backends/",
        ]
    );
    let narrow = Scope {
        service: "web".parse().ok(),
        vulcands: vulcands[..1].into(),
        ..scope()
    };
    assert_eq!(
        rights(Role::Push, &narrow)[4..],
        [
            "--prefix=true read /vulcand/backends/",
            "--prefix=true readwrite /vulcand/backends/web/",
        ]
    );
    assert_eq!(
        rights(Role::Announce, &all),
        rights(Role::Announce, &scope())
    );
}

#[test]
fn roles_of_two_scopes_never_have_one_name() {
    let narrow = |service: &str, instance: &str, pusher: &str, prefix: &str, meta: &str| Scope {
        service: service.parse().ok(),
        instance: instance.parse().ok(),
        pusher: pusher.parse().ok(),
        prefix: prefix.parse().unwrap_or_default(),
        meta: meta.parse().unwrap_or_default(),
        vulcands: Vec::new(),
    };
    let scopes = [
        narrow("", "", "", "", ""),
        narrow("a-b", "c", "", "", ""),
        narrow("a", "b-c", "", "", ""),
        narrow("a", "", "edge", "", ""),
        narrow("a", "", "", "/x", ""),
        narrow("a", "", "", "", "/x"),
        narrow("", "", "", "/x", "/y"),
    ];
    for role in Role::ALL {
        for (at, one) in scopes.iter().enumerate() {
            for other in &scopes[at + 1..] {
                let same_name = role.name(one) == role.name(other);
                let same_rights = rights(role, one) == rights(role, other);
                assert!(!same_name || same_rights, "{}", role.name(one));
            }
        }
    }
    assert_eq!(Role::Announce.name(&scopes[0]), "sidekick-announce");
    assert_eq!(Role::Announce.name(&scopes[1]), "sidekick-announce-a-b/c");
    assert_eq!(Role::View.name(&scopes[1]), "sidekick-view-a-b");
    assert_eq!(Role::Push.name(&scopes[3]), "sidekick-push-a@edge");
    assert_eq!(Role::Push.name(&scopes[6]), "sidekick-push:/x+/y");
}
