//! XBackend: what a gateway must do on the wire to reach a destination.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackendTLSPolicyValidation, Meta, SecretObjectReference, SessionPersistence, meta::resource};

/// A backend that says how it is connected to (`gateway.networking.x-k8s.io/v1alpha1`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XBackend {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    pub spec: XBackendSpec,
}
resource!(XBackend, "gateway.networking.x-k8s.io", "v1alpha1", true);

/// The desired state of an [`XBackend`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendSpec {
    /// `ExternalHostname` or `EndpointSelector`.
    #[serde(rename = "type")]
    pub backend_type: String,
    /// The port of the host, or of the pods.
    #[serde(default)]
    pub port: XBackendPort,
    /// For `ExternalHostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostname>,
    /// For `EndpointSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_selector: Option<EndpointSelector>,
    /// How sessions stay on one pod; for `EndpointSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
    /// What it speaks; absent: what the kind of route implies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// TLS towards it; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
}

/// A port by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XBackendPort {
    /// The number; the schema requires it, being the only way to name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
}

/// A host outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalHostname {
    /// Its name.
    #[serde(default)]
    pub hostname: String,
}

/// Pods of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSelector {
    /// They have all these labels.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// TLS towards an [`XBackend`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTls {
    /// `None`, `ServerOnly` or `ClientAndServer`.
    pub mode: String,
    /// The certificate that the proxy presents, for `ClientAndServer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
    /// Which certificates are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTLSPolicyValidation>,
}
