//! TLS to backends.

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, TransportSocket, data_source::Specifier, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use gatehouse_model::backend::{AltName, Authorities, Cluster, Protocol};

use crate::encode::{any, secret::sds};

/// Where the images of Envoy, and most systems, keep the authorities that they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The authorities are part of the cluster, not a secret beside it: a cluster with others is another cluster, so what
/// changes them first makes a new one ready and then moves requests over. What the proxy shows itself is a secret.
pub(super) fn transport_socket(cluster: &Cluster) -> Option<TransportSocket> {
    let tls = cluster.tls.as_deref()?;
    let alpn = match cluster.protocol {
        Protocol::Http1 => Some("http/1.1"),
        Protocol::H2c => Some("h2"),
        // What is spoken is the client's affair.
        Protocol::Tcp | Protocol::Udp => None,
    };
    let trusted = match &tls.authorities {
        Authorities::System => Specifier::Filename(SYSTEM_AUTHORITIES.to_owned()),
        Authorities::Bundle(pem) => Specifier::InlineString(pem.to_string()),
    };
    let context = pb::UpstreamTlsContext {
        sni: tls.server_name.to_string(),
        common_tls_context: Some(pb::CommonTlsContext {
            tls_params: Some(pb::TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                // Without it clients stop at 1.2.
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                ..pb::TlsParameters::default()
            }),
            alpn_protocols: alpn.map(str::to_owned).into_iter().collect(),
            tls_certificate_sds_secret_configs: cluster.certificate.iter().map(sds).collect(),
            validation_context_type: Some(ValidationContextType::ValidationContext(
                pb::CertificateValidationContext {
                    trusted_ca: Some(DataSource { specifier: Some(trusted), ..DataSource::default() }),
                    match_typed_subject_alt_names: tls.names.iter().map(matcher).collect(),
                    ..pb::CertificateValidationContext::default()
                },
            )),
            ..pb::CommonTlsContext::default()
        }),
        ..pb::UpstreamTlsContext::default()
    };
    Some(TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&context))),
    })
}

/// An exact DNS name also accepts a certificate for all names beside it (`*.example.com`).
fn matcher(name: &AltName) -> pb::SubjectAltNameMatcher {
    let (san_type, pattern) = match name {
        AltName::Uri(uri) => (SanType::Uri, MatchPattern::Exact(uri.to_string())),
        AltName::Dns(name) => match name.strip_prefix("*.") {
            Some(domain) => {
                let regex = format!(r".+\.{}", regex::escape(domain));
                (SanType::Dns, MatchPattern::SafeRegex(RegexMatcher { regex, ..RegexMatcher::default() }))
            }
            None => (SanType::Dns, MatchPattern::Exact(name.to_string())),
        },
    };
    pb::SubjectAltNameMatcher {
        san_type: san_type.into(),
        matcher: Some(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }),
        ..pb::SubjectAltNameMatcher::default()
    }
}
