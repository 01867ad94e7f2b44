use super::*;
use crate::target::api::access::Login;
use crate::target::api::{ApiSettings, plus};

fn target(routes: &[&str]) -> Result<Target, TargetError> {
    let route = |route: &&str| Arc::new(route.parse().unwrap());
    let url = "http://127.0.0.1:1/api";
    let api = ApiSettings::new(url.parse().unwrap());
    let settings = TargetSettings::Plus(plus::Settings { api });
    Target::new(url, settings, routes.iter().map(route).collect())
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
    let mut api = ApiSettings::new("http://h/".parse().unwrap());
    let target = |api: &ApiSettings| {
        let settings = TargetSettings::Plus(plus::Settings { api: api.clone() });
        let routes = vec![Arc::new("a".parse().unwrap())];
        Target::new("edge", settings, routes)
    };
    let mut seen = vec![target(&api).unwrap()];
    api.credentials.login = Login::Bearer { file: file.clone() };
    let error = target(&api).unwrap_err().to_string();
    assert!(
        error.ends_with("token: No such file or directory (os error 2)"),
        "{error}"
    );
    for secret in ["one", "two"] {
        std::fs::write(&file, secret).unwrap();
        let now = target(&api).unwrap();
        assert!(!seen.iter().any(|seen| seen.is_told_as(&now)));
        assert!(target(&api).unwrap().is_told_as(&now));
        seen.push(now);
    }
}
