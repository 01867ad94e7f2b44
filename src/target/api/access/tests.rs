use super::*;

fn file(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn secret(content: impl AsRef<[u8]>) -> Result<Secret, AccessError> {
    Secret::from_file(file(content).path())
}

#[test]
fn a_secret_is_one_line_of_text_and_never_shown() {
    let found = secret("correct horse\r\n").unwrap();
    assert_eq!(found.reveal(), "correct horse");
    let login = Login::basic("edge", found.clone()).unwrap();
    let tls = Tls::default();
    let again = Again::default();
    let access = Access { login, tls, again };
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
        let error = secret(content).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = Secret::from_file(Path::new("/nowhere/secret")).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("/nowhere/secret: No such file")
    );
    let unset = Secret::from_env("SIDEKICK_TEST_NO_SUCH_SECRET").unwrap_err();
    assert_eq!(
        unset.to_string(),
        "environment variable SIDEKICK_TEST_NO_SUCH_SECRET: it is not set"
    );
}

#[test]
fn a_login_cannot_break_its_header() {
    let password = || secret("x").unwrap();
    for user in ["", "a:b", "a\r\nb"] {
        assert!(Login::basic(user, password()).is_err(), "{user:?}");
    }
    for token in ["a b", "ä"] {
        assert!(Login::bearer(secret(token).unwrap()).is_err(), "{token:?}");
    }
    assert!(Login::bearer(secret("abc.DEF-1_2~/+==").unwrap()).is_ok());
}

#[test]
fn what_is_no_certificate_is_told_with_its_file() {
    let junk = file("junk");
    let name = junk.path().display().to_string();
    let error = |ca, cert, key| Tls::read(ca, cert, key).unwrap_err().to_string();
    let path = Some(junk.path());
    assert!(error(path, None, None).starts_with(&name));
    assert!(error(None, path, path).starts_with(&name));
    assert!(error(None, path, None).contains("needs its key"));
    assert!(error(None, None, path).contains("needs its key"));
}
