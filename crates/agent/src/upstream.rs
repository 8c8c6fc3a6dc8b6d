//! The stream to a controller: a name that is resolved anew each time, TLS by the controller's own authority, and a token
//! that is read anew each time, since both files change while the pod runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request as Call, Streaming};
use tonic_prost::ProstCodec;

use crate::wire::{DELTA, MAX_MESSAGE, Request, Response};

/// One address of the name; the next may answer.
const CONNECT: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A controller that is gone without a word is noticed after the sum of these.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// A controller may wait for its sources before it answers.
const OPEN: Duration = Duration::from_secs(20);

/// Where the controller is, and how the two prove themselves.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Name or address of the controller; its certificate must be for it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// File with the certificates (PEM) of which one must have signed the controller's.
    pub ca: PathBuf,
    /// File with the token that says which fleet this is.
    pub token: PathBuf,
}

/// Why there is no stream to a controller.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be used.
    #[error("read {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers, or not as a controller does.
    #[error("connect to the controller at {host}:{port}: {why}")]
    Connect {
        /// Its name.
        host: String,
        /// Its port.
        port: u16,
        /// What went wrong.
        why: String,
    },
    /// The controller answers, and refuses.
    #[error("the controller refuses the stream: {0}")]
    Refused(tonic::Status),
}

impl Upstream {
    /// Opens a stream; requests come from the channel.
    pub(crate) async fn open(
        &self,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Result<Streaming<Response>, UpstreamError> {
        tokio::time::timeout(OPEN, self.open_now(requests))
            .await
            .unwrap_or_else(|_| Err(self.failed(format!("no answer in {OPEN:?}"))))
    }

    async fn open_now(
        &self,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Result<Streaming<Response>, UpstreamError> {
        let mut call = Call::new(UnboundedReceiverStream::new(requests));
        call.metadata_mut().insert("authorization", self.authorization()?);
        let io = self.connect().await?;
        let mut io = Some(TokioIo::new(io));
        // One connection for one stream: the next stream resolves the name again.
        let connector = tower::service_fn(move |_| {
            let io = io.take().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted));
            std::future::ready(io)
        });
        let channel = Endpoint::from_static("https://controller")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|error| self.failed(error.to_string()))?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
        grpc.ready().await.map_err(|error| self.failed(error.to_string()))?;
        let codec = ProstCodec::<Request, Response>::default();
        let answer = grpc.streaming(call, PathAndQuery::from_static(DELTA), codec).await;
        Ok(answer.map_err(UpstreamError::Refused)?.into_inner())
    }

    fn authorization(&self) -> Result<MetadataValue<tonic::metadata::Ascii>, UpstreamError> {
        let token = read(&self.token)?;
        let token = String::from_utf8_lossy(&token);
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| unusable(&self.token, "it is no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn tls(&self) -> Result<ClientConfig, UpstreamError> {
        let pem = read(&self.ca)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map_err(|error| error.to_string());
            let added = added.and_then(|der| roots.add(der).map_err(|error| error.to_string()));
            added.map_err(|why| unusable(&self.ca, &why))?;
        }
        if roots.is_empty() {
            return Err(unusable(&self.ca, "there is no certificate in it"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| self.failed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// Tries the addresses of the name one after the other.
    async fn connect(&self) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let name = ServerName::try_from(self.host.clone()).map_err(|error| self.failed(error.to_string()))?;
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut failure = "the name has no address".to_owned();
        for address in addresses.map_err(|error| self.failed(error.to_string()))? {
            let stream = match within(CONNECT, TcpStream::connect(address)).await {
                Ok(stream) => stream,
                Err(error) => {
                    failure = format!("{address}: {error}");
                    continue;
                }
            };
            let secured = async {
                stream.set_nodelay(true)?;
                connector.connect(name.clone(), stream).await
            };
            match within(HANDSHAKE, secured).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = format!("{address}: TLS: {error}"),
            }
        }
        Err(self.failed(failure))
    }

    fn failed(&self, why: String) -> UpstreamError {
        UpstreamError::Connect { host: self.host.clone(), port: self.port, why }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(time, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {time:?}"))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, UpstreamError> {
    std::fs::read(path).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, why: &str) -> UpstreamError {
    UpstreamError::File { path: path.to_owned(), why: why.to_owned() }
}
