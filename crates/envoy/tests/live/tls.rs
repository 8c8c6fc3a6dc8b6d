//! TLS: filter chains by SNI, certificates by SDS, ALPN, tables with virtual hosts inside, 421.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use gatehouse_envoy::encode;
use gatehouse_model::Hostname;
use gatehouse_model::listener::{TableName, TlsCertificate};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::rules::to;
use crate::world::{Setup, TlsSite, World, encoded_host};

fn site(
    name: &str,
    hosts: impl FnOnce(&TableName) -> Vec<bytes::Bytes>,
) -> (TlsSite, CertificateDer<'static>) {
    let subject = if name == "*" { "any.test" } else { name };
    let pair = rcgen::generate_simple_self_signed([subject.to_owned()]).unwrap();
    let certificate = TlsCertificate {
        chain: pair.cert.pem().into_bytes().into(),
        key: pair.signing_key.serialize_pem().into_bytes().into(),
    };
    let server_name = Hostname::parse(name);
    let table = TableName(format!("https/{server_name}").into());
    (TlsSite { server_name, certificate, hosts: hosts(&table) }, pair.cert.der().clone())
}

/// Status of `GET /` with this SNI and `Host`, over `127.0.0.<last>`.
fn get(world: &World, roots: &RootCertStore, sni: &str, host: &str, last: u8) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, last], world.tls_port))).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Envoy closes without a TLS notice.
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_are_chosen_by_sni_and_hosts_of_others_get_421() {
    let (exact, one) = site("one.test", |table| {
        let own = encoded_host(table, &Hostname::parse("one.test"), &[to("/", "a")]);
        vec![own, encode::status_host(table, &Hostname::Any, 421)]
    });
    let (wildcard, two) = site("*.two.test", |table| {
        vec![encoded_host(table, &Hostname::parse("*.two.test"), &[to("/", "b")])]
    });
    let (any, three) = site("*", |table| vec![encode::status_host(table, &Hostname::Any, 418)]);
    let world = World::start(Setup { tls: vec![exact, wildcard, any], ..Setup::default() }).await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates([one, two, three]);
    for (sni, host, status) in [
        ("one.test", "one.test", "200"),
        ("one.test", "one.test:8443", "200"),
        ("one.test", "x.two.test", "421"),
        ("x.two.test", "x.two.test", "200"),
        ("x.two.test", "one.test", "404"),
        ("any.test", "any.test", "418"),
    ] {
        for last in [1, 2] {
            assert_eq!(get(&world, &roots, sni, host, last), status, "SNI {sni}, Host {host}");
        }
    }
    assert_eq!(world.log(), "");
}
