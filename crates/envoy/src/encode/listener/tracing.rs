//! Spans of requests, by Envoy's OpenTelemetry tracer.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{GrpcService, HeaderValue, TypedExtensionConfig};
use envoy_types::pb::envoy::config::trace::v3::OpenTelemetryConfig;
use envoy_types::pb::envoy::config::trace::v3::tracing::{Http, http};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::samplers::v3::{
    ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use gatehouse_model::http::Fraction;
use gatehouse_model::tracing::{AttributeValue, RequestProperty, Tracing};

use crate::encode::{any, duration, extension};

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tracer decides about every request by its own samplers: Envoy's own shares stay at all of them.
pub(super) fn tracing(tracing: &Tracing) -> http_connection_manager::Tracing {
    let config = OpenTelemetryConfig {
        grpc_service: Some(collector(tracing)),
        service_name: tracing.service_name.to_string(),
        sampler: Some(sampler(tracing)),
        ..OpenTelemetryConfig::default()
    };
    http_connection_manager::Tracing {
        provider: Some(Http {
            name: "envoy.tracers.opentelemetry".to_owned(),
            config_type: Some(http::ConfigType::TypedConfig(any(&config))),
        }),
        operation: tracing.span_name.as_deref().unwrap_or_default().to_owned(),
        custom_tags: tracing.attributes.iter().map(|(name, value)| custom_tag(name, value)).collect(),
        ..http_connection_manager::Tracing::default()
    }
}

fn collector(tracing: &Tracing) -> GrpcService {
    let header = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| HeaderValue {
        key: key.to_ascii_lowercase(),
        value: value.to_string(),
        ..HeaderValue::default()
    };
    GrpcService {
        timeout: Some(duration(PATIENCE)),
        initial_metadata: tracing.headers.iter().map(header).collect(),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: tracing.cluster.0.to_string(),
            authority: tracing.authority.to_string(),
            ..EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    }
}

fn sampler(tracing: &Tracing) -> TypedExtensionConfig {
    let share = TraceIdRatioBasedSamplerConfig { sampling_percentage: Some(share(tracing.sampling)) };
    let share = extension("envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", &share);
    if !tracing.follows_parent {
        return share;
    }
    let parent = ParentBasedSamplerConfig { wrapped_sampler: Some(share) };
    extension("envoy.tracers.opentelemetry.samplers.parent_based", &parent)
}

/// In millionths, as fine as Envoy has it.
fn share(share: Fraction) -> FractionalPercent {
    let millionths = u64::from(share.numerator) * 1_000_000 / u64::from(share.denominator.max(1));
    FractionalPercent {
        numerator: u32::try_from(millionths.min(1_000_000)).unwrap_or(1_000_000),
        denominator: DenominatorType::Million.into(),
    }
}

fn custom_tag(name: &str, value: &AttributeValue) -> CustomTag {
    let value = match value {
        AttributeValue::Literal(text) => {
            custom_tag::Type::Literal(custom_tag::Literal { value: text.to_string() })
        }
        AttributeValue::RequestHeader(header) => custom_tag::Type::RequestHeader(custom_tag::Header {
            name: header.to_ascii_lowercase(),
            ..custom_tag::Header::default()
        }),
        AttributeValue::Of(property) => custom_tag::Type::Value(command(*property).to_owned()),
    };
    CustomTag { tag: name.to_owned(), r#type: Some(value) }
}

/// Envoy's command operator.
fn command(property: RequestProperty) -> &'static str {
    match property {
        RequestProperty::Method => "%REQ(:METHOD)%",
        RequestProperty::Status => "%RESPONSE_CODE%",
        RequestProperty::Path => "%PATH(NQ)%",
        RequestProperty::Scheme => "%REQ(:SCHEME)%",
        RequestProperty::UserAgent => "%REQ(USER-AGENT)%",
        RequestProperty::ClientAddress => "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        RequestProperty::ClientPort => "%DOWNSTREAM_REMOTE_PORT%",
        RequestProperty::PeerAddress => "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        RequestProperty::RequestBytes => "%BYTES_RECEIVED%",
        RequestProperty::ResponseBytes => "%BYTES_SENT%",
    }
}
