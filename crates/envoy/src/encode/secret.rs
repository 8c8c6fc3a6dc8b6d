//! Secrets.

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use gatehouse_model::listener::{SecretName, TlsCertificate};
use prost::Message;

use super::ads;

/// A `Secret` with the authorities that certificates must be signed by, as PEM.
pub fn authorities(name: &SecretName, pem: &str) -> Bytes {
    let context = tls::CertificateValidationContext {
        trusted_ca: Some(inline(pem.as_bytes())),
        ..tls::CertificateValidationContext::default()
    };
    secret_of(name, tls::secret::Type::ValidationContext(context))
}

/// A `Secret` with a certificate chain and its key.
pub fn secret(name: &SecretName, certificate: &TlsCertificate) -> Bytes {
    let pair = tls::TlsCertificate {
        certificate_chain: Some(inline(&certificate.chain)),
        private_key: Some(inline(&certificate.key)),
        ..tls::TlsCertificate::default()
    };
    secret_of(name, tls::secret::Type::TlsCertificate(pair))
}

fn secret_of(name: &SecretName, content: tls::secret::Type) -> Bytes {
    tls::Secret { name: name.0.to_string(), r#type: Some(content) }.encode_to_vec().into()
}

/// A secret by its name.
pub(in crate::encode) fn sds(name: &SecretName) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name: name.0.to_string(), sds_config: Some(ads()) }
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() }
}
