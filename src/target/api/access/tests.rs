use super::*;

fn file(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn read_secret(content: impl AsRef<[u8]>) -> Result<Secret, AccessError> {
    secret(file(content).path())
}

fn bearer(content: &str) -> Result<Access, AccessError> {
    let token = file(content);
    let login = Login::Bearer {
        file: token.path().to_owned(),
    };
    read_all(login, None, None)
}

fn basic(user: &str, content: &str) -> Result<Access, AccessError> {
    let password = file(content);
    let login = Login::Basic {
        user: user.to_owned(),
        password_file: password.path().to_owned(),
    };
    read_all(login, None, None)
}

fn read_all(
    login: Login,
    cacert: Option<&Path>,
    identity: Option<&Path>,
) -> Result<Access, AccessError> {
    let credentials = Credentials {
        login,
        cacert: cacert.map(Path::to_owned),
        identity: identity.map(|pem| (pem.to_owned(), pem.to_owned())),
    };
    credentials.read()
}

#[test]
fn a_secret_is_one_line_of_text_and_never_shown() {
    let found = read_secret("correct horse\r\n").unwrap();
    assert_eq!(found.reveal(), "correct horse");
    let access = basic("edge", "correct horse").unwrap();
    let shown = format!("{found:?} {access:?}");
    assert!(
        !shown.contains("horse") && shown.contains("edge"),
        "{shown}"
    );
    for (content, expected) in [
        (&b"\n"[..], "it is empty"),
        (b"one\ntwo\n", "control character"),
        (b"\xff", "not text"),
    ] {
        let error = read_secret(content).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = secret(Path::new("/nowhere/secret")).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("/nowhere/secret: No such file")
    );
}

#[test]
fn a_login_cannot_break_its_header() {
    for user in ["", "a:b", "a\r\nb"] {
        assert!(basic(user, "x").is_err(), "{user:?}");
    }
    for token in ["a b", "ä"] {
        assert!(bearer(token).is_err(), "{token:?}");
    }
    assert!(bearer("abc.DEF-1_2~/+==").is_ok());
}

#[test]
fn what_is_no_certificate_is_told_with_its_file() {
    let junk = file("junk");
    let name = junk.path().display().to_string();
    let error = |ca, identity| {
        read_all(Login::Nobody, ca, identity)
            .unwrap_err()
            .to_string()
    };
    let path = Some(junk.path());
    assert!(error(path, None).starts_with(&name));
    assert!(error(None, path).starts_with(&name));
}
