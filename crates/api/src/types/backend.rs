//! Envoy Gateway's `Backend`: endpoints outside Kubernetes.

use serde::{Deserialize, Serialize};

use super::{BackendType, LocalObjectReference, Meta, SecretObjectReference, meta::resource};

/// A backend that lists its endpoints itself (`gateway.envoyproxy.io/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    pub spec: BackendSpec,
}
resource!(Backend, "gateway.envoyproxy.io", "v1alpha1", true);

/// The desired state of a [`Backend`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// Defaults to `Endpoints`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub backend_type: Option<BackendType>,
    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<BackendEndpoint>,
    /// What it speaks, such as `gateway.envoyproxy.io/h2c`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_protocols: Vec<String>,
    /// Used only when the others are not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// TLS towards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// One endpoint: exactly one of `fqdn`, `ip` and `unix` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendEndpoint {
    /// The name to use for it in TLS and health checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// By DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<FqdnEndpoint>,
    /// By IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpEndpoint>,
    /// By Unix domain socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixSocket>,
    /// Where it runs, for zone-aware routing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// An endpoint by IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpEndpoint {
    /// IPv4 or IPv6.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// An endpoint by DNS name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FqdnEndpoint {
    /// The name.
    pub hostname: String,
    /// The port.
    pub port: u16,
}

/// An endpoint by Unix domain socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// The socket's path.
    pub path: String,
}

/// TLS towards a [`Backend`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// The trusted certificate authorities.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// `System`: trust what the proxy's system trusts.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<String>,
    /// Do not verify the backend's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// The server name to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Ask for the endpoint's hostname.
    #[serde(default, rename = "autoSNIFromEndpointHostname", skip_serializing_if = "Option::is_none")]
    pub auto_sni_from_endpoint_hostname: Option<bool>,
    /// The certificate that the proxy presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// The lowest TLS version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// The highest TLS version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
    /// Cipher suites for TLS 1.2 and below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Curves for the key exchange.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ecdh_curves: Vec<String>,
    /// Signature algorithms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signature_algorithms: Vec<String>,
    /// Protocols to offer.
    #[serde(default, rename = "alpnProtocols", skip_serializing_if = "Vec::is_empty")]
    pub alpn_protocols: Vec<String>,
}
