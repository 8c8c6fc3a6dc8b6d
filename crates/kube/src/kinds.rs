//! The kinds that are watched: one line each.

use gatehouse_api::Object;
use gatehouse_api::types::{
    Backend, BackendTLSPolicy, ClientTrafficPolicy, ClusterTrustBundle, ConfigMap, CustomResourceDefinition,
    EndpointSlice, EnvoyProxy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, Meta, Namespace,
    Pod, ReferenceGrant, Resource, Secret, Service, TCPRoute, TLSRoute, UDPRoute, XBackend,
    XBackendTrafficPolicy, XTelemetryPolicy,
};
use serde::de::DeserializeOwned;

use crate::api::ResourceType;

/// Whether a kind must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Every API server has it.
    Builtin,
    /// We wait for its CRD before we serve.
    Required,
    /// Watched while its CRD is there.
    Optional,
}

/// A kind that is watched.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    /// Versions that can be read, best first.
    pub(crate) versions: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) need: Need,
    /// Whether we write its status.
    pub(crate) has_status: bool,
    /// Whether only metadata is asked for.
    pub(crate) metadata_only: bool,
    /// Reads an object, trimmed to what a gateway needs, and its `resourceVersion`.
    pub(crate) decode: fn(&str) -> Result<(Object, String), serde_json::Error>,
}

impl Kind {
    pub(crate) fn resource(&self, version: &'static str) -> ResourceType {
        ResourceType { group: self.group, version, plural: self.plural }
    }
}

/// The kinds that are watched as a whole.
pub(crate) static WATCHED: &[Kind] = &[
    kind::<Namespace>("namespaces", Need::Builtin),
    kind::<Service>("services", Need::Builtin),
    kind::<EndpointSlice>("endpointslices", Need::Builtin),
    kind::<GatewayClass>("gatewayclasses", Need::Required).with_status(),
    kind::<Gateway>("gateways", Need::Required).with_status(),
    kind::<HTTPRoute>("httproutes", Need::Required).with_status(),
    kind::<ReferenceGrant>("referencegrants", Need::Required).also(&["v1", "v1beta1"]),
    kind::<TLSRoute>("tlsroutes", Need::Optional).with_status(),
    kind::<TCPRoute>("tcproutes", Need::Optional).with_status(),
    kind::<UDPRoute>("udproutes", Need::Optional).with_status(),
    kind::<ListenerSet>("listenersets", Need::Optional).with_status(),
    kind::<GRPCRoute>("grpcroutes", Need::Optional).with_status(),
    kind::<Backend>("backends", Need::Optional).with_status(),
    kind::<BackendTLSPolicy>("backendtlspolicies", Need::Optional).with_status(),
    kind::<XBackend>("xbackends", Need::Optional).with_status(),
    kind::<XBackendTrafficPolicy>("xbackendtrafficpolicies", Need::Optional).with_status(),
    kind::<EnvoyProxy>("envoyproxies", Need::Optional),
    kind::<XTelemetryPolicy>("xtelemetrypolicies", Need::Optional).with_status(),
    kind::<ClientTrafficPolicy>("clienttrafficpolicies", Need::Optional).with_status(),
    kind::<ClusterTrustBundle>("clustertrustbundles", Need::Optional).also(&["v1", "v1beta1"]),
    kind::<CustomResourceDefinition>("customresourcedefinitions", Need::Optional).without_content(),
];

/// Watched by want.
pub(crate) static SECRET: Kind = kind::<Secret>("secrets", Need::Builtin);
/// Watched by want.
pub(crate) static CONFIG_MAP: Kind = kind::<ConfigMap>("configmaps", Need::Builtin);

/// Watched where and by the labels that are wanted.
pub(crate) static POD: Kind = kind::<Pod>("pods", Need::Builtin);

/// The kind of this group and name among those whose status we write.
pub(crate) fn with_status(group: &str, kind: &str) -> Option<&'static Kind> {
    WATCHED.iter().find(|k| k.has_status && k.group == group && k.name == kind)
}

const fn kind<R: Resource + DeserializeOwned + Into<Object>>(plural: &'static str, need: Need) -> Kind {
    Kind {
        group: R::GROUP,
        name: R::KIND,
        plural,
        versions: &[R::VERSION],
        namespaced: R::NAMESPACED,
        need,
        has_status: false,
        metadata_only: false,
        decode: decode::<R>,
    }
}

impl Kind {
    const fn with_status(self) -> Self {
        Self { has_status: true, ..self }
    }

    const fn without_content(self) -> Self {
        Self { metadata_only: true, ..self }
    }

    const fn also(self, versions: &'static [&'static str]) -> Self {
        Self { versions, ..self }
    }
}

fn decode<R: Resource + DeserializeOwned + Into<Object>>(
    text: &str,
) -> Result<(Object, String), serde_json::Error> {
    let mut object: R = serde_json::from_str(text)?;
    // Not kept: it changes with every status and every field manager, and equal objects are to compare equal.
    let version = object.meta_mut().resource_version.take().unwrap_or_default();
    let mut object = object.into();
    trim(&mut object);
    Ok((object, version))
}

/// Drops what no stage reads. There may be 100,000 slices, and most of an object's memory is its metadata.
fn trim(object: &mut Object) {
    match object {
        Object::EndpointSlice(slice) => {
            let slice = std::sync::Arc::make_mut(slice);
            for endpoint in &mut slice.endpoints {
                endpoint.target_ref = None;
                endpoint.hostname = None;
            }
            keep_label(&mut slice.metadata, Some("kubernetes.io/service-name"));
        }
        Object::Pod(pod) => {
            let pod = std::sync::Arc::make_mut(pod);
            pod.status.conditions.retain(|condition| condition.kind == "Ready");
            let meta = std::mem::take(&mut pod.metadata);
            let Meta { name, namespace, labels, deletion_timestamp, .. } = meta;
            pod.metadata = Meta { name, namespace, labels, deletion_timestamp, ..Meta::default() };
        }
        Object::CustomResourceDefinition(definition) => {
            let meta = &mut std::sync::Arc::make_mut(definition).metadata;
            let annotations = std::mem::take(&mut meta.annotations);
            keep_label(meta, None);
            let ours =
                annotations.into_iter().filter(|(name, _)| name == CustomResourceDefinition::BUNDLE_VERSION);
            meta.annotations = ours.collect();
        }
        Object::Namespace(_) => {
            let meta = object.meta_mut();
            let labels = std::mem::take(&mut meta.labels);
            keep_label(meta, None);
            meta.labels = labels;
        }
        Object::Service(_)
        | Object::Secret(_)
        | Object::ConfigMap(_)
        | Object::ClusterTrustBundle(_)
        | Object::EnvoyProxy(_) => {
            keep_label(object.meta_mut(), None);
        }
        _ => {
            // As large as the object itself.
            object.meta_mut().annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
}

/// Leaves name, namespace and one label.
fn keep_label(meta: &mut Meta, label: Option<&str>) {
    let Meta { name, namespace, mut labels, .. } = std::mem::take(meta);
    labels.retain(|key, _| Some(key.as_str()) == label);
    *meta = Meta { name, namespace, labels, ..Meta::default() };
}
