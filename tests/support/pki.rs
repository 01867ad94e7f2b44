//! Certificates for one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_client::{Certificate, Identity, TlsOptions};
use tempfile::TempDir;

/// An authority, and certificates of it for `server` and `client`, all good for 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: TempDir,
}

impl Pki {
    /// Makes all of it anew.
    pub(crate) fn new() -> Self {
        let pki = Self {
            folder: super::folder(),
        };
        pki.openssl(
            "req -x509 -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem",
            NEW_KEY,
        );
        for name in ["server", "client"] {
            let request = format!(
                "req -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.csr"
            );
            pki.openssl(&request, NEW_KEY);
            pki.renew(name);
        }
        pki
    }

    /// File with the authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Files with a certificate and its key.
    pub(crate) fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        )
    }

    /// Flags of sidekick that name all three.
    pub(crate) fn flags(&self) -> [String; 6] {
        self.flags_of("client")
    }

    /// The same with the certificate of this name.
    pub(crate) fn flags_of(&self, name: &str) -> [String; 6] {
        let (cert, key) = self.pair(name);
        let text = |path: &Path| path.display().to_string();
        let flag = |name: &str| name.to_owned();
        [
            flag("--cacert"),
            text(&self.ca()),
            flag("--cert"),
            text(&cert),
            flag("--key"),
            text(&key),
        ]
    }

    /// For the tests' own connections.
    pub(crate) fn client_options(&self) -> TlsOptions {
        let read = |path| std::fs::read(path).expect("our own file");
        let (cert, key) = self.pair("client");
        TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read(self.ca())))
            .identity(Identity::from_pem(read(cert), read(key)))
    }

    /// One more certificate, for these names, good from the beginning of 2020 until the end of this day (`YYMMDD`).
    pub(crate) fn issue(&self, name: &str, names: &str, until: &str) {
        let request = format!(
            "req -subj /CN={name} -addext subjectAltName={names} -keyout {name}.key -out {name}.csr"
        );
        self.openssl(&request, NEW_KEY);
        self.sign_until(name, until);
    }

    /// From the beginning of 2020 until the end of this day.
    fn sign_until(&self, name: &str, until: &str) {
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\ncertificate=ca.pem\nprivate_key=ca.key\n\
                      default_md=sha256\npolicy=p\ncopy_extensions=copy\nunique_subject=no\nrand_serial=yes\n[p]\ncommonName=supplied\n";
        for (file, text) in [("ca.conf", config), ("index", "")] {
            std::fs::write(self.file(file), text).expect("our own folder");
        }
        let sign = format!("ca -config ca.conf -batch -notext -in {name}.csr -out {name}.pem");
        self.openssl(
            &sign,
            &format!("-startdate 200101000000Z -enddate {until}235900Z"),
        );
    }

    /// Files with a public and a private key that sign something.
    pub(crate) fn signing_keys(&self) -> (PathBuf, PathBuf) {
        self.openssl("genrsa -out sign.key 2048", "");
        self.openssl("rsa -in sign.key -pubout -out sign.pub", "");
        (self.file("sign.pub"), self.file("sign.key"))
    }

    /// Makes the certificate of `name` anew, over since 2020.
    pub(crate) fn expire(&self, name: &str) {
        self.sign_until(name, "200102");
    }

    /// Makes the certificate of `name` anew, good from now on.
    pub(crate) fn renew(&self, name: &str) {
        let sign = format!(
            "x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem"
        );
        self.openssl(&sign, "-copy_extensions copyall");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &str, more: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(more.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .unwrap_or_else(|error| panic!("cannot start openssl: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    }
}

/// Arguments for a new unencrypted key.
const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
