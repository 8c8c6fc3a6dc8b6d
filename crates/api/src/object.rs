//! Objects of all kinds behind one type.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::types::{
    Backend, BackendTLSPolicy, ClientTrafficPolicy, ClusterTrustBundle, ConfigMap, CustomResourceDefinition,
    EndpointSlice, EnvoyProxy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, Meta, Namespace,
    Pod, ReferenceGrant, Resource, Secret, Service, TCPRoute, TLSRoute, UDPRoute, XBackend,
    XBackendTrafficPolicy, XTelemetryPolicy,
};

/// Which object, over all kinds. The version is no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The API group, empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.namespace.is_empty() {
            write!(f, " {}", self.name)
        } else {
            write!(f, " {}/{}", self.namespace, self.name)
        }
    }
}

/// An object could not be read as its kind.
#[derive(Debug, thiserror::Error)]
#[error("decode {kind} {name:?}: {source}")]
pub struct DecodeError {
    kind: String,
    name: String,
    source: serde_json::Error,
}

/// What is kept of an object whose kind is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// `group/version`, or the version alone for the core group.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name and the like.
    pub metadata: Meta,
}

macro_rules! objects {
    ($($kind:ident),+ $(,)?) => {
        /// An object of one of the kinds that a gateway reads, or the metadata of another one. Cheap to clone: those who
        /// hold an object share it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Object {
            $(
                #[doc = concat!("A [`", stringify!($kind), "`].")]
                $kind(Arc<$kind>),
            )+
            /// An object of a kind that is not read.
            Other(Arc<Unread>),
        }

        $(
            impl From<$kind> for Object {
                fn from(object: $kind) -> Self {
                    Self::$kind(Arc::new(object))
                }
            }
        )+

        impl Object {
            /// Reads an object of any served version; one of an unknown kind becomes [`Object::Other`].
            pub fn from_json(json: &Value) -> Result<Self, DecodeError> {
                let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (api_version, kind) = (text("apiVersion"), text("kind"));
                let failed = |source| DecodeError {
                    kind: kind.clone(),
                    name: json.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    source,
                };
                match (group_of(&api_version), kind.as_str()) {
                    $(
                        ($kind::GROUP, $kind::KIND) => {
                            <$kind as serde::Deserialize>::deserialize(json).map(Self::from).map_err(failed)
                        }
                    )+
                    _ => {
                        let meta = json.get("metadata").map_or_else(
                            || Ok(Meta::default()),
                            <Meta as serde::Deserialize>::deserialize,
                        );
                        let metadata = meta.map_err(failed)?;
                        Ok(Self::Other(Arc::new(Unread { api_version, kind, metadata })))
                    }
                }
            }

            /// The object with `apiVersion` and `kind`, in the version that is written. Of an
            /// [`Object::Other`] the metadata is left.
            pub fn to_json(&self) -> Value {
                match self {
                    $(Self::$kind(object) => typed_json::<$kind>(object),)+
                    Self::Other(other) => serde_json::json!({
                        "apiVersion": other.api_version, "kind": other.kind, "metadata": other.metadata,
                    }),
                }
            }

            /// The object's metadata.
            pub fn meta(&self) -> &Meta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)+
                    Self::Other(other) => &other.metadata,
                }
            }

            /// The object's metadata, to fill in what a file source assigns.
            pub fn meta_mut(&mut self) -> &mut Meta {
                match self {
                    $(Self::$kind(object) => &mut Arc::make_mut(object).metadata,)+
                    Self::Other(other) => &mut Arc::make_mut(other).metadata,
                }
            }

            /// The object's group and kind.
            pub fn group_kind(&self) -> (&str, &str) {
                match self {
                    $(Self::$kind(_) => ($kind::GROUP, $kind::KIND),)+
                    Self::Other(other) => (group_of(&other.api_version), &other.kind),
                }
            }
        }
    };
}

objects!(
    Backend,
    BackendTLSPolicy,
    ClientTrafficPolicy,
    ClusterTrustBundle,
    ConfigMap,
    CustomResourceDefinition,
    EndpointSlice,
    EnvoyProxy,
    GRPCRoute,
    Gateway,
    GatewayClass,
    HTTPRoute,
    ListenerSet,
    Namespace,
    Pod,
    ReferenceGrant,
    Secret,
    Service,
    TCPRoute,
    TLSRoute,
    UDPRoute,
    XBackend,
    XBackendTrafficPolicy,
    XTelemetryPolicy,
);

impl Object {
    /// Which object this is.
    pub fn key(&self) -> ObjectRef {
        let (group, kind) = self.group_kind();
        let meta = self.meta();
        ObjectRef {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: meta.namespace().to_owned(),
            name: meta.name.clone(),
        }
    }
}

/// The group of an `apiVersion`.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn typed_json<R: Resource + serde::Serialize>(object: &R) -> Value {
    let mut json = serde_json::to_value(object).expect("structs with string keys always serialise");
    if let Value::Object(fields) = &mut json {
        let api_version =
            if R::GROUP.is_empty() { R::VERSION.to_owned() } else { format!("{}/{}", R::GROUP, R::VERSION) };
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("kind".into(), R::KIND.into());
    }
    json
}
