//! XTelemetryPolicy.

use serde::{Deserialize, Serialize};

use super::enums::open_enum;
use super::{BackendObjectReference, Fraction, HTTPHeader, Meta, PolicyTarget, meta::resource};

/// What Gateways tell of their requests, and whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XTelemetryPolicy {
    /// Name and the like.
    #[serde(default)]
    pub metadata: Meta,
    /// The desired state.
    pub spec: TelemetryPolicySpec,
}
resource!(XTelemetryPolicy, "gateway.networking.x-k8s.io", "v1alpha1", true);

/// The desired state of an [`XTelemetryPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryPolicySpec {
    /// The Gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<PolicyTarget>,
    /// Spans of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
}

/// Which spans are made, of what, and who gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingConfig {
    /// Defaults to `ImplementationDefault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TelemetryMode>,
    /// Who gets spans; needed when enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TracingProvider>,
    /// The share of new traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
    /// What the decision of who sent the request counts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_based_sampling: Option<ParentBasedSampling>,
    /// `service.name` of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Name of every span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// What every span says besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SpanAttribute>,
}

open_enum! {
    /// Whether something is done.
    TelemetryMode {
        /// It is.
        Enabled = "Enabled",
        /// It is not.
        Disabled = "Disabled",
        /// As the implementation likes.
        ImplementationDefault = "ImplementationDefault",
    }
}

/// Who gets spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingProvider {
    /// Speaks OTLP.
    pub backend_ref: BackendObjectReference,
    /// Headers of what it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HTTPHeader>,
}

/// What a decision that was made before counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBasedSampling {
    /// Defaults to `ImplementationDefault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TelemetryMode>,
    /// The share of sampled parents that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}

open_enum! {
    /// Where the value of an attribute comes from.
    AttributeSource {
        /// A header of the request.
        Header = "Header",
        /// The policy.
        Literal = "Literal",
        /// What OpenTelemetry calls by that name.
        Attribute = "Attribute",
    }
}

/// An attribute of spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanAttribute {
    /// Its name in spans.
    pub name: String,
    /// Which of the following fields is set.
    pub source_type: AttributeSource,
    /// For `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// For `Literal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal_value: Option<String>,
    /// For `Attribute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_key: Option<String>,
}
