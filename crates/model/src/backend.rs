//! Backends: clusters and their endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::key::NamespacedName;
use crate::listener::SecretName;

/// Name of a cluster: made from the identity of the backend, its protocol and its policy, never from a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClusterName(pub Arc<str>);

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kind of object that a backend reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum BackendKind {
    /// `Service`
    Service,
    /// Envoy Gateway's `Backend`
    Backend,
    /// Gateway API's `XBackend`
    XBackend,
    /// None: a cluster without endpoints takes the shares of backends that are not there.
    Nowhere,
}

/// The protocol spoken to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, WebSockets included.
    Http1,
    /// HTTP/2 without upgrade; without TLS that is `kubernetes.io/h2c`.
    H2c,
    /// Any protocol over connections, which are passed on as they come.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A name of which the certificate of a backend must have one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum AltName {
    /// A DNS name, or all below one (`*.example.com`).
    Dns(Arc<str>),
    /// A URI, such as a SPIFFE identity.
    Uri(Arc<str>),
}

/// Who signs the certificates of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Authorities {
    /// Those of the system that the proxy runs on.
    System,
    /// These, as PEM.
    Bundle(Arc<str>),
}

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct BackendTls {
    /// The name that is asked for (SNI).
    pub server_name: Arc<str>,
    /// Names of which the certificate must have one; at least one.
    pub names: Vec<AltName>,
    /// Who signs it.
    pub authorities: Authorities,
    /// The Secret with the certificate that is shown, where the backend says which: whatever the Gateway shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shows: Option<NamespacedName>,
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Discovery {
    /// By EDS under the cluster's own name; every such cluster has an [`Endpoints`].
    Eds,
    /// Hostnames that Envoy resolves itself: host and port.
    Dns(Vec<(Arc<str>, u16)>),
    /// There are none.
    Nowhere,
}

impl ClusterName {
    /// The name of the cluster that has no endpoints.
    pub fn nowhere() -> Self {
        Self("nowhere".into())
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Kind, namespace, name and port of the backend, for metadata.
    pub kind: BackendKind,
    /// Namespace of the backend object.
    pub namespace: Arc<str>,
    /// Name of the backend object.
    pub object: Arc<str>,
    /// Port of the Service or XBackend; zero for a Backend.
    pub port: u16,
    /// The protocol spoken.
    pub protocol: Protocol,
    /// TLS, if it is spoken over that.
    pub tls: Option<Arc<BackendTls>>,
    /// The certificate that is shown over TLS.
    pub certificate: Option<SecretName>,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How many retries there may be; `None`: as many as rules ask for.
    pub retries: Option<RetryBudget>,
}

/// A limit of the retries to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RetryBudget {
    /// As a share of the requests that are underway or wait, in percent.
    pub percent: u8,
    /// So many may be underway in any case.
    pub min_concurrency: u32,
}

/// Address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum EndpointAddress {
    /// IP address and port.
    Socket(SocketAddr),
    /// Path of a Unix domain socket.
    Pipe(Arc<str>),
}

/// Whether an endpoint may get new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Health {
    /// Ready.
    Healthy,
    /// Serving while terminating: kept for what already goes there.
    Draining,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// Its address.
    pub address: EndpointAddress,
    /// Its health.
    pub health: Health,
}

/// Endpoints of a cluster grouped by zone (empty zone = unknown), sorted, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// The cluster.
    pub cluster: ClusterName,
    /// Zone and its endpoints.
    pub localities: Vec<(Arc<str>, Vec<Endpoint>)>,
}
