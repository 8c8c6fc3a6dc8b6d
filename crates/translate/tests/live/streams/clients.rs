//! Backends that say their names, and clients that ask for them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_testkit::certificates::Pair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, ServerConnection,
    SignatureScheme, StreamOwned,
};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Text(String),
    /// Nothing: the connection was closed, or the datagram lost.
    Closed,
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Answer {
    fn of(read: &std::io::Result<usize>, bytes: &[u8]) -> Self {
        match read {
            Ok(0) | Err(_) => Self::Closed,
            Ok(read) => Self::Text(String::from_utf8_lossy(&bytes[..*read]).into_owned()),
        }
    }
}

/// A server that answers whatever it reads with its name.
pub(crate) fn tcp_backend(name: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let name = name.to_owned();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let name = name.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 2048];
                while connection.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let _ = connection.write_all(name.as_bytes());
                }
            });
        }
    });
    port
}

/// An HTTP server over TLS that answers one request on each connection with the name of the certificate that its client showed.
pub(crate) fn tls_backend((chain, key): Pair, known: &[(&'static str, Pair)]) -> u16 {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|c| c.expect("PEM")).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"))
        .expect("a pair");
    let config = Arc::new(config);
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let known: Arc<Vec<_>> = Arc::new(known.iter().map(|(name, (pem, _))| (*name, der(pem))).collect());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, known) = (config.clone(), known.clone());
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).expect("a server");
                let mut stream = StreamOwned::new(connection, socket);
                let mut bytes = [0; 4096];
                if stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
                    let name = known.iter().find(|(_, certificate)| Some(certificate) == shown);
                    let name = match (name, shown) {
                        (Some((name, _)), _) => name,
                        (None, Some(_)) => "something else",
                        (None, None) => "nothing",
                    };
                    let length = name.len();
                    // A connection keeps what was shown when it was made.
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
                    );
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
        }
    });
    port
}

/// As [`tcp_backend`], for datagrams.
pub(crate) fn datagram_backend(name: &str) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
    port
}

/// A connection that stays open.
pub(crate) struct Kept(TcpStream);

impl Kept {
    pub(crate) fn open(port: u16, first: &[u8]) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("Envoy listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.write_all(first).expect("write");
        let mut kept = Self(stream);
        assert_ne!(kept.hear(), Answer::Closed);
        kept
    }

    pub(crate) fn say(&mut self, text: &str) -> Answer {
        if self.0.write_all(text.as_bytes()).is_err() {
            return Answer::Closed;
        }
        self.hear()
    }

    fn hear(&mut self) -> Answer {
        let mut bytes = [0; 2048];
        let read = self.0.read(&mut bytes);
        Answer::of(&read, &bytes)
    }
}

/// What a new connection is answered to its first bytes.
pub(crate) fn exchange(port: u16, first: &[u8]) -> Answer {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Answer::Closed };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    if stream.write_all(first).is_err() {
        return Answer::Closed;
    }
    let mut bytes = [0; 2048];
    let read = stream.read(&mut bytes);
    Answer::of(&read, &bytes)
}

/// What a datagram from a new port is answered.
pub(crate) fn datagram(port: u16) -> Answer {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(150))).expect("a timeout");
    socket.connect(("127.0.0.1", port)).expect("an address");
    let mut bytes = [0; 2048];
    let read = socket.send(b"ping").and_then(|_| socket.recv(&mut bytes));
    Answer::of(&read, &bytes)
}

/// The first bytes of a TLS client that asks for a name.
pub(crate) fn handshake(name: &str) -> Vec<u8> {
    let mut first = Vec::new();
    client(name, None).write_tls(&mut first).expect("a vector takes all");
    first
}

/// What is answered over TLS.
pub(crate) fn tls_exchange(port: u16, name: &str, text: &str) -> Answer {
    tls_exchange_as(port, name, None, text)
}

/// The same for a client with a certificate.
pub(crate) fn tls_exchange_as(port: u16, name: &str, certificate: Option<Pair>, text: &str) -> Answer {
    let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) else { return Answer::Closed };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    let mut stream = StreamOwned::new(client(name, certificate), socket);
    if stream.write_all(text.as_bytes()).is_err() {
        return Answer::Closed;
    }
    let mut bytes = [0; 2048];
    let read = stream.read(&mut bytes);
    Answer::of(&read, &bytes)
}

fn client(name: &str, certificate: Option<Pair>) -> ClientConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let config = match certificate {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|c| c.expect("PEM")).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            config.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// Who the other side is does not matter here.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
