//! TLS, with the double behind somebody who speaks it. Knows: certificates. Must not know: what crosses the
//! connection.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::store::contract::{fresh_stream, new_records};

/// Files of one authority: its own, a node's and a user's.
struct Authority {
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::named("the cluster's authority", |_| {})
    }

    /// The authority of this name, and what is different about the certificates that it signs.
    fn named(name: &str, differs: impl Fn(&mut CertificateParams)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.pem", &issuer.pem());
        for (name, host) in [("node", "localhost"), ("user", "grantbook")] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            differs(&mut params);
            write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
            write(&format!("{name}.key"), &key.serialize_pem());
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// What a node of this authority accepts: everybody, or only its users.
    fn server(&self, only_users: bool) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if only_users {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate("ca.pem")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path("node.key")).unwrap();
        let mut config = builder.with_single_cert(vec![self.certificate("node.pem")], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// Speaks TLS for a double; gives the port.
async fn in_front_of(double: &Double, config: ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), double.port(0));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(tcp).await else { return };
                let mut inside = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                // One of the two goes first; that is all there is to know.
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

async fn works(url: &str) -> bool {
    let store = open_at(url);
    let stream = fresh_stream();
    let appended = store.append(&stream, Expected::NoStream, new_records(2)).await;
    let read = store.read_all(Position::START, 100).await;
    matches!(appended, Ok(Append::Appended { .. }))
        && read.is_ok_and(|records| records.iter().any(|record| record.stream == stream))
}

#[tokio::test]
async fn a_node_is_believed_by_its_authority_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let double = Double::start(DoubleOptions::default()).await.unwrap();
    let port = in_front_of(&double, authority.server(false)).await;
    let with = |ca: &str| format!("esdb://localhost:{port}?tlsCaFile={ca}");
    assert!(works(&with(&authority.path("ca.pem"))).await);
    assert!(!works(&with(&other.path("ca.pem"))).await);
    assert!(!works(&format!("esdb://localhost:{port}")).await, "the system does not know it");
    assert!(!works(&format!("esdb://localhost:{port}?tls=false")).await);
    assert!(works(&format!("esdb://localhost:{port}?tlsVerifyCert=false")).await);
    let elsewhere = format!("esdb://127.0.0.1:{port}?tlsCaFile={}", authority.path("ca.pem"));
    assert!(!works(&elsewhere).await, "it is not who it should be");
}

#[tokio::test]
async fn a_node_believes_a_user_by_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let double = Double::start(DoubleOptions::default()).await.unwrap();
    let port = in_front_of(&double, authority.server(true)).await;
    let ca = authority.path("ca.pem");
    let user = |of: &Authority| {
        let (cert, key) = (of.path("user.pem"), of.path("user.key"));
        format!("esdb://localhost:{port}?tlsCaFile={ca}&userCertFile={cert}&userKeyFile={key}")
    };
    assert!(works(&user(&authority)).await);
    assert!(!works(&user(&other)).await);
    assert!(!works(&format!("esdb://localhost:{port}?tlsCaFile={ca}")).await);
}

/// What an operator reads when the ledger cannot be asked.
async fn said(url: &str) -> String {
    let said = open_at(url).head().await.unwrap_err().to_string();
    for internal in ["status", "MetadataMap", "Server-side", "client error", "hunter2"] {
        assert!(!said.contains(internal), "{said}");
    }
    said.strip_prefix("the ledger cannot be reached: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[tokio::test]
async fn each_mistake_says_what_it_is_and_which_setting_to_change() {
    let authority = Authority::new();
    let (other, stranger) = (Authority::new(), Authority::named("somebody", |_| {}));
    let double = Double::start(DoubleOptions::default()).await.unwrap();
    let node = in_front_of(&double, authority.server(false)).await;
    let choosy = in_front_of(&double, authority.server(true)).await;
    let of = |year| {
        move |params: &mut CertificateParams| {
            (params.not_before, params.not_after) =
                (date_time_ymd(year, 1, 1), date_time_ymd(year + 1, 1, 1));
        }
    };
    let (old, young) = (Authority::named("old", of(2001)), Authority::named("young", of(2990)));
    let expired = in_front_of(&double, old.server(false)).await;
    let early = in_front_of(&double, young.server(false)).await;
    let is_ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authorities = Authority::named("authorities", is_ca);
    let itself = in_front_of(&double, authorities.server(false)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let ca = |of: &Authority| format!("tlsCaFile={}", of.path("ca.pem"));
    let user =
        |of: &Authority| format!("userCertFile={}&userKeyFile={}", of.path("user.pem"), of.path("user.key"));
    let plain = double.port(0);
    for (nodes, parameters, says) in [
        (
            format!("localhost:{node}"),
            ca(&other),
            "signed by an authority that is not trusted here: set tlsCaFile in",
        ),
        (
            format!("localhost:{node}"),
            ca(&stranger),
            "signed by an authority that is not trusted here: set tlsCaFile in",
        ),
        (
            format!("127.0.0.1:{node}"),
            ca(&authority),
            "for another name: use one that it is for in store.url (localhost)",
        ),
        (format!("localhost:{expired}"), ca(&old), "its certificate has expired: renew it at the node"),
        (format!("localhost:{itself}"), ca(&authorities), "give the node one of its own"),
        (format!("localhost:{early}"), ca(&young), "its certificate is not valid yet: check the clocks"),
        (
            format!("localhost:{node}"),
            "tls=false".to_owned(),
            "if the node speaks TLS, remove tls=false from store.url",
        ),
        (
            format!("localhost:{plain}"),
            ca(&authority),
            "set tls=false in store.url, or switch TLS on at the node",
        ),
        (
            format!("localhost:{choosy}"),
            ca(&authority),
            "it wants a user certificate: set userCertFile and userKeyFile",
        ),
        (
            format!("localhost:{choosy}"),
            format!("{}&{}", ca(&authority), user(&other)),
            "it does not accept our user certificate",
        ),
        (
            format!("localhost:{closed}"),
            ca(&authority),
            "nothing listens there: check host and port in store.url",
        ),
        ("no-such-host.invalid:2113".to_owned(), ca(&authority), "no such name: check the host in store.url"),
    ] {
        let said = said(&format!("esdb://admin:hunter2@{nodes}?{parameters}")).await;
        assert!(
            said.starts_with(&format!("{nodes}: ")) && said.contains(says),
            "{nodes} {parameters}: {said}"
        );
    }
}

/// Whichever is asked first, each node is named once, so that the log says it once.
#[tokio::test]
async fn what_all_nodes_say_is_said_once() {
    let (authority, other) = (Authority::new(), Authority::named("somebody", |_| {}));
    let double = Double::start(DoubleOptions::default()).await.unwrap();
    let mut ports = [0; 3];
    for port in &mut ports {
        *port = in_front_of(&double, authority.server(false)).await;
    }
    ports.sort_by_key(ToString::to_string);
    let nodes = ports.map(|port| format!("localhost:{port}"));
    let url = format!("esdb://{}?tlsCaFile={}", nodes.join(","), other.path("ca.pem"));
    let store = open_at(&url);
    let first = store.head().await.unwrap_err().to_string();
    assert!(first.contains(&format!("reached: {}: its certificate is signed", nodes.join(", "))), "{first}");
    for _ in 0..3 {
        assert_eq!(store.head().await.unwrap_err().to_string(), first);
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_named_as_that() {
    let credentials = Some(("admin".to_owned(), "changeit".to_owned()));
    let options = DoubleOptions { credentials, ..DoubleOptions::default() };
    let double = Double::start(options).await.unwrap();
    let port = double.port(0);
    for login in ["", "admin:hunter2@", "nobody:changeit@"] {
        let said = said(&format!("esdb://{login}localhost:{port}?tls=false")).await;
        assert!(
            said.contains("the password is another: correct or add user:password@ in store.url"),
            "{said}"
        );
    }
    assert!(works(&format!("esdb://admin:changeit@localhost:{port}?tls=false")).await);
}
