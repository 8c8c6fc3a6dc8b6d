//! Envoy Gateway's `ClientTrafficPolicy`: how the proxies treat the clients of listeners.
//!
//! Every struct has typed fields for what is supported; all else stays in `rest`, so that
//! [`unsupported_client_traffic`] can name it. Numbers are as wide as the schema lets them be.

mod unsupported;

use serde::{Deserialize, Serialize};

use super::envoyproxy::kept;
use super::{IntOrString, Meta, PolicyTarget, TargetSelector, meta::resource};

pub use unsupported::unsupported_client_traffic;

/// A `ClientTrafficPolicy` (`gateway.envoyproxy.io/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTrafficPolicy {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// What is wanted.
    #[serde(default)]
    pub spec: ClientTrafficPolicySpec,
}

resource!(ClientTrafficPolicy, "gateway.envoyproxy.io", "v1alpha1", true);

kept! {
    /// What a [`ClientTrafficPolicy`] wants. Durations are those of Gateway API, quantities those of Kubernetes.
    ClientTrafficPolicySpec {
        /// Its target in the older form.
        target_ref: PolicyTarget,
        /// Its targets.
        target_refs: Vec<PolicyTarget>,
        /// Its targets by their labels.
        target_selectors: Vec<TargetSelector>,
        /// Probes of idle connections.
        tcp_keepalive: TcpKeepalive,
        /// Connections begin with a header of the PROXY protocol, in the older form.
        enable_proxy_protocol: bool,
        /// Connections begin with a header of the PROXY protocol.
        proxy_protocol: ProxyProtocolSettings,
        /// Where the address of a client stands.
        #![rename = "clientIPDetection"]
        client_ip_detection: ClientIpDetection,
        /// How TLS is spoken.
        tls: ClientTlsSettings,
        /// How paths are normalised.
        path: PathSettings,
        /// How headers are treated.
        headers: HeaderSettings,
        /// How long clients may take.
        timeout: ClientTimeout,
        /// Limits of connections.
        connection: ClientConnection,
        /// HTTP/1.
        http1: Http1Settings,
        /// HTTP/2.
        http2: Http2Settings,
        /// `Preserve` or `MatchBackend`.
        scheme: String,
    }

    /// Probes of idle connections.
    TcpKeepalive {
        /// How many may stay without an answer.
        probes: i64,
        /// When the first is sent.
        idle_time: String,
        /// The time between them.
        interval: String,
    }

    /// The PROXY protocol.
    ProxyProtocolSettings {
        /// Connections without its header are taken too.
        optional: bool,
    }

    /// Where the address of a client stands; one of these.
    ClientIpDetection {
        /// In `X-Forwarded-For`.
        x_forwarded_for: XForwardedFor,
        /// In a header that a trusted proxy sets.
        custom_header: CustomHeader,
        /// In the connection.
        #![rename = "directSourceIP"]
        direct_source_ip: DirectSourceIp,
    }

    /// The address is in the connection: nothing to say.
    DirectSourceIp {}

    /// Which address of `X-Forwarded-For` counts.
    XForwardedFor {
        /// The one that so many proxies before us have made, from the right.
        num_trusted_hops: i64,
        /// The first from the right that is in none of these networks.
        #![rename = "trustedCIDRs"]
        trusted_cidrs: Vec<String>,
        /// The address of the connection is not added.
        disable_x_forwarded_for_append: bool,
    }

    /// A header with the address of the client.
    CustomHeader {
        /// Its name.
        name: String,
        /// Requests without it are answered 403.
        fail_closed: bool,
    }

    /// How TLS is spoken with clients.
    ClientTlsSettings {
        /// `1.0` to `1.3` or `Auto`.
        min_version: String,
        /// `1.0` to `1.3` or `Auto`.
        max_version: String,
        /// Cipher suites below 1.3.
        ciphers: Vec<String>,
        /// Groups of the key exchange.
        #![rename = "ecdhCurves"]
        ecdh_curves: Vec<String>,
        /// Signature algorithms.
        signature_algorithms: Vec<String>,
        /// Application protocols, the preferred first.
        alpn_protocols: Vec<String>,
    }

    /// How paths are normalised.
    PathSettings {
        /// `KeepUnchanged`, `RejectRequest`, `UnescapeAndRedirect` or `UnescapeAndForward`.
        escaped_slashes_action: String,
        /// Adjacent slashes stay.
        disable_merge_slashes: bool,
    }

    /// How headers are treated.
    HeaderSettings {
        /// `x-envoy-` headers are added.
        enable_envoy_headers: bool,
        /// `Allow`, `RejectRequest` or `DropHeader`.
        with_underscores_action: String,
        /// The older form of `requestID: PreserveOrGenerate`.
        #![rename = "preserveXRequestID"]
        preserve_x_request_id: bool,
        /// `PreserveOrGenerate`, `Preserve`, `Generate` or `Disable`.
        #![rename = "requestID"]
        request_id: String,
        /// The host that clients name.
        host: HostSettings,
    }

    /// The host that clients name.
    HostSettings {
        /// A dot at its end is ignored.
        strip_trailing_host_dot: bool,
    }

    /// How long clients may take.
    ClientTimeout {
        /// For connections.
        tcp: TcpClientTimeout,
        /// For requests.
        http: HttpClientTimeout,
    }

    /// How long connections may take.
    TcpClientTimeout {
        /// To speak TLS.
        tls_handshake_timeout: String,
        /// To show what they are.
        connection_inspection_timeout: String,
    }

    /// How long requests may take.
    HttpClientTimeout {
        /// Until all of a request has arrived.
        request_received_timeout: String,
        /// Until its headers have arrived.
        request_headers_received_timeout: String,
        /// A connection without a request.
        idle_timeout: String,
    }

    /// Limits of connections.
    ClientConnection {
        /// Their number, their age, their use.
        connection_limit: ConnectionLimit,
        /// Bytes that are buffered.
        buffer_limit: IntOrString,
        /// Connections that are taken at once.
        max_accept_per_socket_event: i64,
    }

    /// How old connections get and how much they are used.
    ConnectionLimit {
        /// The age at which they end.
        max_connection_duration: String,
        /// Requests after which they end.
        max_requests_per_connection: i64,
        /// How long a request may take with its answer.
        max_stream_duration: String,
    }

    /// HTTP/1.
    Http1Settings {
        /// Trailers are passed on.
        enable_trailers: bool,
        /// Requests of HTTP/1.0 are taken.
        http10: Http10Settings,
    }

    /// HTTP/1.0.
    Http10Settings {}

    /// HTTP/2.
    Http2Settings {
        /// Bytes in flight of one request.
        initial_stream_window_size: IntOrString,
        /// Bytes in flight of all requests.
        initial_connection_window_size: IntOrString,
        /// Requests at once.
        max_concurrent_streams: i64,
        /// `TerminateConnection` or `TerminateStream`.
        on_invalid_message: String,
        /// Probes by PING.
        connection_keepalive: Http2Keepalive,
    }

    /// Probes of connections by PING.
    Http2Keepalive {
        /// The time between them.
        interval: String,
        /// The time to answer.
        timeout: String,
        /// Per cent of random difference of the interval.
        interval_jitter: i64,
        /// The time after which a silent connection is probed before it is used again.
        idle_interval: String,
    }
}

impl ClientTrafficPolicySpec {
    /// All targets that are named.
    pub fn targets(&self) -> impl Iterator<Item = &PolicyTarget> {
        // As Envoy Gateway has it, the older form counts alone.
        let many = self.target_refs.iter().flatten().filter(|_| self.target_ref.is_none());
        self.target_ref.iter().chain(many)
    }

    /// Whether clients must show certificates, which is not supported.
    pub fn validates_clients(&self) -> bool {
        let validation =
            |tls: &ClientTlsSettings| tls.rest.get("clientValidation").is_some_and(|v| !v.is_null());
        self.tls.as_ref().is_some_and(validation)
    }
}

#[cfg(test)]
mod tests;
