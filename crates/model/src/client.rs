//! How clients of a listener are treated.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// Where the address of a client stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ClientAddress {
    /// It is that of the connection.
    #[default]
    Connection,
    /// In `X-Forwarded-For`, behind so many addresses from the right.
    Hops {
        /// The addresses that are passed over.
        skip: u32,
        /// Whether the address of the connection is added to the header.
        append: bool,
    },
    /// In `X-Forwarded-For`, the first from the right that is in none of the networks.
    Networks {
        /// Address and length of the prefix.
        trusted: Vec<(IpAddr, u8)>,
        /// Whether the address of the connection is added to the header.
        append: bool,
    },
    /// In a header.
    Header {
        /// Its name.
        name: Arc<str>,
        /// Whether requests without it are answered 403.
        required: bool,
    },
}

/// What happens to slashes that are escaped in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum EscapedSlashes {
    /// The client is redirected to the path without them.
    #[default]
    Redirect,
    /// They stay.
    Keep,
    /// The request is refused.
    Reject,
    /// They are replaced.
    Forward,
}

/// What happens to headers with an underscore in their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Underscores {
    /// The request is refused.
    #[default]
    Reject,
    /// They are taken.
    Allow,
    /// They are dropped.
    Drop,
}

/// Where `X-Request-ID` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum RequestId {
    /// It is made for every request.
    #[default]
    Generate,
    /// It is the client's, or made.
    PreserveOrGenerate,
    /// It is the client's, if there is one.
    Preserve,
    /// None is made.
    Disable,
}

/// Probes of HTTP/2 connections by PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pings {
    /// The time between them.
    pub interval: Option<Duration>,
    /// The time to answer.
    pub timeout: Option<Duration>,
    /// Per cent of random difference of the interval.
    pub jitter: Option<u32>,
    /// The time after which a silent connection is probed before it is used again.
    pub idle: Option<Duration>,
}

/// HTTP/2; what is absent has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Http2 {
    /// Bytes in flight of one request.
    pub stream_window: Option<u32>,
    /// Bytes in flight of all requests.
    pub connection_window: Option<u32>,
    /// Requests at once.
    pub streams: Option<u32>,
    /// Whether an invalid message ends its request only.
    pub keep_connection: Option<bool>,
    /// Probes.
    pub pings: Option<Pings>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// 1.0
    V1_0,
    /// 1.1
    V1_1,
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

/// How TLS is spoken; what is empty has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TlsOptions {
    /// The least version.
    pub least: Option<TlsVersion>,
    /// The highest version.
    pub highest: Option<TlsVersion>,
    /// Cipher suites below 1.3.
    pub ciphers: Vec<Arc<str>>,
    /// Groups of the key exchange.
    pub curves: Vec<Arc<str>>,
    /// Signature algorithms.
    pub signatures: Vec<Arc<str>>,
    /// Application protocols, the preferred first.
    pub alpn: Option<Vec<Arc<str>>>,
    /// The time to agree.
    pub handshake_timeout: Option<Duration>,
}

/// How the clients of one filter chain are treated; what is absent has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct ClientSettings {
    /// Where their address stands.
    pub address: ClientAddress,
    /// How long a connection without a request stays.
    pub idle_timeout: Option<Duration>,
    /// The time until all of a request has arrived.
    pub request_timeout: Option<Duration>,
    /// The time until the headers of a request have arrived.
    pub headers_timeout: Option<Duration>,
    /// The age at which connections end.
    pub connection_age: Option<Duration>,
    /// Requests after which connections end.
    pub connection_requests: Option<u32>,
    /// How long a request may take with its answer.
    pub stream_age: Option<Duration>,
    /// Whether adjacent slashes in a path stay.
    pub keep_slashes: bool,
    /// Slashes that are escaped.
    pub escaped_slashes: EscapedSlashes,
    /// Headers with an underscore.
    pub underscores: Underscores,
    /// Whether `x-envoy-` headers are added.
    pub envoy_headers: bool,
    /// `X-Request-ID`.
    pub request_id: RequestId,
    /// Whether a dot at the end of a host is ignored.
    pub strip_trailing_dot: bool,
    /// Whether requests to backends have the scheme of the connection there.
    pub scheme_of_backend: bool,
    /// Whether trailers of HTTP/1 are passed on.
    pub http1_trailers: bool,
    /// Whether requests of HTTP/1.0 are taken.
    pub http1_0: bool,
    /// HTTP/2.
    pub http2: Http2,
    /// TLS, where it is spoken.
    pub tls: TlsOptions,
}

/// Probes of idle TCP connections; what is absent has the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpProbes {
    /// How many may stay without an answer.
    pub probes: Option<u32>,
    /// When the first is sent.
    pub idle: Option<Duration>,
    /// The time between them.
    pub interval: Option<Duration>,
}

/// How the connections of one port are treated; what is absent has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionSettings {
    /// Bytes that are buffered of each.
    pub buffer: Option<u32>,
    /// Connections that are taken at once.
    pub accepts: Option<u32>,
    /// Probes of idle ones.
    pub probes: Option<TcpProbes>,
    /// Whether they begin with a header of the PROXY protocol: `true` takes those without, too.
    pub proxy_protocol: Option<bool>,
    /// The time to show what they are.
    pub inspection_timeout: Option<Duration>,
}
