//! How a driver gets in to a real nginx: logins and certificates, right, wrong and missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidekick::model::State;
use sidekick::target::api::ApiSettings;
use sidekick::target::api::access::{AccessError, Credentials, Login};
use sidekick::target::api::plus::{Api, upstream};
use sidekick::target::{Error, Layer, Outcome, Progress};
use sidekick::upstream::server::Parameters;

use crate::support::{self, Nginx, PATIENCE, Pki, desired, folder, free_port, server};

const SERVE: &str = r#"content_by_lua_block { require("upstream_api").serve() }"#;

/// An nginx that serves its API on another port as well, as `server` says.
async fn nginx(server: &str) -> Nginx {
    support::Settings::default()
        .http(format!("server {{ {server} }}"))
        .start()
        .await
}

fn api(url: &str, credentials: Credentials) -> Result<Api, AccessError> {
    let api = ApiSettings {
        url: url.parse().unwrap(),
        timeout: PATIENCE,
        credentials,
    };
    Api::new(api)
}

async fn converge(url: &str, credentials: Credentials) -> Result<Outcome, Error> {
    let api = api(url, credentials);
    let api = Arc::new(api.unwrap());
    let website = "website".parse().unwrap();
    let mut plus = upstream(api, Layer::Http, website, PATIENCE);
    let server = server(State::Up, Parameters::default());
    let servers = [("10.0.0.1:80".parse().unwrap(), server)].into();
    let wanted = desired(servers, [].into());
    loop {
        let outcome = plus.converge(&wanted).await?;
        // On a busy machine it may take more than one turn.
        if outcome.progress != Progress::Unfinished {
            return Ok(outcome);
        }
    }
}

fn secret(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("secret");
    std::fs::write(&file, format!("{text}\n")).unwrap();
    file
}

fn with_login(login: Login) -> Credentials {
    Credentials {
        login,
        ..Credentials::default()
    }
}

fn basic(user: &str, password_file: PathBuf) -> Credentials {
    let user = user.to_owned();
    with_login(Login::Basic {
        user,
        password_file,
    })
}

#[track_caller]
fn assert_refused(result: Result<Outcome, Error>, expected: &str) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(expected), "{expected}: {text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(!error.is_not_routing());
}

#[tokio::test]
async fn a_user_with_the_right_password_is_let_in_and_no_other() {
    let folder = folder();
    let users = folder.path().join("users");
    std::fs::write(&users, "edge:{PLAIN}the-secret\n").unwrap();
    let (port, users) = (free_port(), users.display());
    let nginx = nginx(&format!(
        r#"listen 127.0.0.1:{port};
           location /api {{ auth_basic api; auth_basic_user_file {users}; {SERVE} }}"#
    ))
    .await;
    let url = format!("http://127.0.0.1:{port}/api");
    let basic = |user: &str, password: &str| basic(user, secret(folder.path(), password));
    let unauthorised = "GET /api: HTTP 401: the API does not let us in; is this the right login";
    assert_refused(converge(&url, Credentials::default()).await, unauthorised);
    assert_refused(
        converge(&url, basic("edge", "a-wrong-secret")).await,
        unauthorised,
    );
    assert_refused(
        converge(&url, basic("other", "the-secret")).await,
        unauthorised,
    );
    let in_url = format!("http://edge:wrong-secret@127.0.0.1:{port}/api");
    assert_refused(
        converge(&in_url, Credentials::default()).await,
        unauthorised,
    );
    let outcome = converge(&url, basic("edge", "the-secret")).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    nginx
        .routed("website", vec!["10.0.0.1:80".to_owned()])
        .await;
}

#[tokio::test]
async fn a_token_is_shown_and_who_may_only_read_is_told_so() {
    let folder = folder();
    let port = free_port();
    // Whoever comes without the token may look, as behind `limit_except GET`.
    let nginx = nginx(&format!(
        r#"listen 127.0.0.1:{port};
           location /api {{
               set $who "$request_method $http_authorization";
               if ($who = "POST Bearer the.secret-token") {{ set $who "GET"; }}
               if ($who !~ "^GET") {{ return 403; }}
               {SERVE}
           }}"#
    ))
    .await;
    let url = format!("http://127.0.0.1:{port}/api");
    let bearer = |token: &str| {
        let file = secret(folder.path(), token);
        with_login(Login::Bearer { file })
    };
    let forbidden = "POST /api/9/http/upstreams/website/servers/: HTTP 403: the API does not let us in; see allow and deny";
    assert_refused(converge(&url, Credentials::default()).await, forbidden);
    assert_refused(
        converge(&url, bearer("another.secret-token")).await,
        forbidden,
    );
    let outcome = converge(&url, bearer("the.secret-token")).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    nginx
        .routed("website", vec!["10.0.0.1:80".to_owned()])
        .await;
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (cert, key) = pki.pair("server");
    let (ca, port) = (pki.ca(), free_port());
    let nginx = nginx(&format!(
        r#"listen 127.0.0.1:{port} ssl;
           ssl_certificate {}; ssl_certificate_key {};
           ssl_client_certificate {}; ssl_verify_client on;
           location /api {{ {SERVE} }}"#,
        cert.display(),
        key.display(),
        ca.display(),
    ))
    .await;
    let url = format!("https://127.0.0.1:{port}/api");
    let tls = |ca: &Path, shown: Option<&Pki>| Credentials {
        cacert: Some(ca.to_owned()),
        identity: shown.map(|pki| pki.pair("client")),
        ..Credentials::default()
    };
    let wanted = "is this the right client certificate for ssl_verify_client?";
    assert_refused(converge(&url, tls(&ca, None)).await, wanted);
    assert_refused(converge(&url, tls(&ca, Some(&other))).await, wanted);
    let unknown = "the API cannot be reached: the certificate of 127.0.0.1:";
    assert_refused(converge(&url, tls(&other.ca(), Some(&pki))).await, unknown);
    assert_refused(converge(&url, Credentials::default()).await, unknown);
    let outcome = converge(&url, tls(&ca, Some(&pki))).await.unwrap();
    assert_eq!(outcome.progress, Progress::Converged);
    nginx
        .routed("website", vec!["10.0.0.1:80".to_owned()])
        .await;

    let (client, _) = pki.pair("client");
    let (_, foreign) = other.pair("client");
    let mismatched = Credentials {
        identity: Some((client, foreign)),
        ..Credentials::default()
    };
    let error = api(&url, mismatched).unwrap_err().to_string();
    assert!(error.starts_with("no https: "), "{error}");
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_asked() {
    let folder = folder();
    let pki = Pki::new();
    let new = |url: &str, credentials| api(url, credentials).unwrap_err().to_string();
    let login = basic("edge", secret(folder.path(), "x"));
    let error = new("http://a:b@127.0.0.1/api", login);
    assert_eq!(error, "the URL has a login, and another one is given");
    let tls = Credentials {
        cacert: Some(pki.ca()),
        ..Credentials::default()
    };
    let error = new("http://127.0.0.1/api", tls);
    assert_eq!(error, "certificates are given, but the URL is http://");
}
