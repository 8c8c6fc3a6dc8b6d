//! What a gateway reads of Kubernetes' own kinds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointAddressType, Meta, TransportProtocol, meta::resource, null_default};

/// A namespace, for its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Name and labels.
    #[serde(default)]
    pub metadata: Meta,
}
resource!(Namespace, "", "v1", false);

/// Configuration data, such as CA bundles. Binary data is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMap {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// Text by key.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}
resource!(ConfigMap, "", "v1", true);

/// Authorities for the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterTrustBundle {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// What it holds.
    #[serde(default)]
    pub spec: ClusterTrustBundleSpec,
}
resource!(ClusterTrustBundle, "certificates.k8s.io", "v1", false);

/// What a [`ClusterTrustBundle`] holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrustBundleSpec {
    /// Whose authorities they are, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_name: Option<String>,
    /// Certificates as PEM.
    #[serde(default)]
    pub trust_bundle: String,
}

/// The definition of a kind, for which version of Gateway API it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomResourceDefinition {
    /// Name and annotations.
    #[serde(default)]
    pub metadata: Meta,
}
resource!(CustomResourceDefinition, "apiextensions.k8s.io", "v1", false);

impl CustomResourceDefinition {
    /// The annotation that says which version of Gateway API a definition belongs to.
    pub const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

    /// Whether it defines a kind of Gateway API.
    pub fn is_of_gateway_api(&self) -> bool {
        let group = self.metadata.name.split_once('.').map(|(_, group)| group);
        matches!(group, Some("gateway.networking.k8s.io" | "gateway.networking.x-k8s.io"))
    }

    /// The version of Gateway API that it says to belong to.
    pub fn bundle_version(&self) -> Option<&str> {
        self.metadata.annotations.get(Self::BUNDLE_VERSION).map(String::as_str)
    }
}

/// A set of endpoints under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    #[serde(default)]
    pub spec: ServiceSpec,
}
resource!(Service, "", "v1", true);

/// The desired state of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Its ports.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// The virtual address; `None` for headless Services.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// For `ExternalName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// Labels of the pods behind it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// `IPv4` and `IPv6`, the first being preferred.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<String>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Required when there are several ports; EndpointSlices refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Defaults to TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TransportProtocol>,
    /// What the port speaks, such as `kubernetes.io/h2c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// The port that routes refer to.
    pub port: u16,
    /// The pods' port; defaults to `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// By number.
    Int(i64),
    /// By name.
    String(String),
}

/// A part of the endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name, and the Service in the label `kubernetes.io/service-name`.
    #[serde(default)]
    pub metadata: Meta,
    /// What the addresses are.
    pub address_type: EndpointAddressType,
    /// The endpoints.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// The ports that every endpoint of the slice has.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}
resource!(EndpointSlice, "discovery.k8s.io", "v1", true);

/// One endpoint of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its addresses; consumers use the first.
    #[serde(default, deserialize_with = "null_default")]
    pub addresses: Vec<String>,
    /// Whether it may be used.
    #[serde(default, deserialize_with = "null_default")]
    pub conditions: EndpointConditions,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Its own name under a headless Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The pod behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// Whether an endpoint may be used; an absent `ready` or `serving` counts as true, an absent `terminating` as false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConditions {
    /// Serving and not terminating, or published regardless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Answers requests, even while it terminates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// On its way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// The object behind an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRef {
    /// Usually `Pod`.
    #[serde(default)]
    pub kind: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// A port of the endpoints of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// The Service port's name; absent or empty for an unnamed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Defaults to TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TransportProtocol>,
    /// What the port speaks, such as `kubernetes.io/h2c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// Absent: all ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}
