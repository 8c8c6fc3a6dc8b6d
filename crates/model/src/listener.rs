//! What becomes an Envoy listener, its filter chains, route tables and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::backend::ClusterName;
use crate::client::{ClientSettings, ConnectionSettings};
use crate::hostname::Hostname;
use crate::key::{AddressSet, Transport};
use crate::l4::Forward;
use crate::tracing::Tracing;

/// Name of an Envoy RouteConfiguration. May contain `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TableName(pub Arc<str>);

/// Name of an Envoy Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SecretName(pub Arc<str>);

/// TLS termination of a filter chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsTermination {
    /// Certificates; Envoy picks by SNI and key type among them.
    pub secrets: Vec<SecretName>,
    /// Which certificates clients are asked for, if for any.
    pub clients: Option<ClientCheck>,
}

/// A check of the certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientCheck {
    /// Who signs them.
    pub authorities: SecretName,
    /// Whether clients without a certificate, or with one that is not valid, are served all the same.
    pub lenient: bool,
}

/// What a filter chain does with connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Handler {
    /// An HTTP connection manager with the table of its virtual hosts.
    Http(TableName),
    /// They are forwarded as they are.
    Stream(Arc<Forward>),
}

impl Handler {
    /// The clusters that the chain itself names; tables name theirs on their own.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        match self {
            Self::Http(_) => None,
            Self::Stream(forward) => Some(forward.clusters()),
        }
        .into_iter()
        .flatten()
    }
}

/// One filter chain. A UDP listener has just one, which stands for all datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterChain {
    /// Its name, from the listener's identity.
    pub name: Arc<str>,
    /// The SNI that selects it; `Any` is the default of the port.
    pub server_name: Hostname,
    /// TLS, or plain text.
    pub tls: Option<TlsTermination>,
    /// What it does.
    pub handler: Handler,
    /// How its clients are treated.
    pub clients: Arc<ClientSettings>,
}

/// The address families of a listener that binds every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum IpFamily {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

/// What writes to an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogScope {
    /// Requests, and connections that no filter chain takes.
    Everything,
    /// Requests.
    Requests,
    /// Connections.
    Connections,
}

/// What a line of an access log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// Envoy's default.
    Default,
    /// A text with command operators; it ends its own lines.
    Text(Arc<str>),
    /// An object, with command operators as values.
    Json(BTreeMap<Arc<str>, Arc<str>>),
}

/// An access log in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// The file, such as `/dev/stdout`.
    pub path: Arc<str>,
    /// What a line says.
    pub format: LogFormat,
    /// What is logged.
    pub scope: LogScope,
}

/// What an operator chose for all listeners of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ListenerSettings {
    /// Address families; `None` = what the host has.
    pub family: Option<IpFamily>,
    /// Access logs, in order.
    pub access_logs: Vec<AccessLog>,
    /// Spans of requests.
    pub tracing: Option<Arc<Tracing>>,
}

/// One Envoy listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvoyListener {
    /// Its name.
    pub name: Arc<str>,
    /// Addresses it binds; empty = every IPv4 and IPv6 address.
    pub addresses: AddressSet,
    /// The port it really binds (after the local port map).
    pub port: u16,
    /// The protocol of the port.
    pub transport: Transport,
    /// Whether the port speaks TLS (then it has a TLS inspector).
    pub tls: bool,
    /// Filter chains in a fixed order.
    pub chains: Vec<FilterChain>,
    /// What is the same for all listeners of the fleet.
    pub settings: Arc<ListenerSettings>,
    /// How its connections are treated.
    pub connections: ConnectionSettings,
}

/// A TLS certificate with its key, as PEM. `Debug` prints no key.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsCertificate {
    /// Certificate chain, leaf first.
    pub chain: Arc<[u8]>,
    /// Private key.
    pub key: Arc<[u8]>,
}

impl std::fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsCertificate").field("chain_bytes", &self.chain.len()).finish_non_exhaustive()
    }
}
