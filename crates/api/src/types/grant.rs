//! ReferenceGrant.

use serde::{Deserialize, Serialize};

use super::{Meta, meta::resource};

/// Allows references from other namespaces into its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrant {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    pub spec: ReferenceGrantSpec,
}
resource!(ReferenceGrant, "gateway.networking.k8s.io", "v1", true);

/// The desired state of a [`ReferenceGrant`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    pub from: Vec<ReferenceGrantFrom>,
    /// To what.
    pub to: Vec<ReferenceGrantTo>,
}

/// Who may refer: all objects of a kind in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReferenceGrantFrom {
    /// The group, empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReferenceGrantTo {
    /// The group, empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Absent: every object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
