use super::*;
use crate::push::REQUEST_TIMEOUT;

fn target(routes: &[&str]) -> Result<Target, TargetError> {
    let route = |route: &&str| Arc::new(route.parse().unwrap());
    let url = "http://127.0.0.1:1/api";
    let how = How::Plus(ApiSettings::open(url.parse().unwrap(), REQUEST_TIMEOUT));
    Target::new(url, how, routes.iter().map(route).collect())
}

#[test]
fn an_upstream_takes_one_service() {
    assert!(target(&["a", "b=a"]).is_ok());
    let error = target(&["a", "b", "a=c"]).unwrap_err().to_string();
    assert_eq!(error, "upstream \"a\" is named more than once");
    assert!(matches!(target(&[]), Err(TargetError::NoRoute(_))));
}

#[test]
fn a_secret_that_changes_in_its_file_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let mut api = ApiSettings::open("http://h/".parse().unwrap(), REQUEST_TIMEOUT);
    let none = read_files(&How::Plus(api.clone())).unwrap();
    api.login = crate::push::config::Login::Bearer { file: file.clone() };
    let how = How::Plus(api);
    let error = read_files(&how).unwrap_err().to_string();
    assert!(
        error.ends_with("token: No such file or directory (os error 2)"),
        "{error}"
    );
    let mut seen = vec![none];
    for secret in ["one", "two"] {
        std::fs::write(&file, secret).unwrap();
        let now = read_files(&how).unwrap();
        assert!(!seen.contains(&now));
        assert_eq!(read_files(&how).unwrap(), now);
        seen.push(now);
    }
}
