//! Secrets.

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use gatehouse_model::listener::{SecretName, TlsCertificate};
use prost::Message;

/// A `Secret` with a certificate chain and its key.
pub fn secret(name: &SecretName, certificate: &TlsCertificate) -> Bytes {
    let pair = tls::TlsCertificate {
        certificate_chain: Some(inline(&certificate.chain)),
        private_key: Some(inline(&certificate.key)),
        ..tls::TlsCertificate::default()
    };
    let secret =
        tls::Secret { name: name.0.to_string(), r#type: Some(tls::secret::Type::TlsCertificate(pair)) };
    secret.encode_to_vec().into()
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() }
}
