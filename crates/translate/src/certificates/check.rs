//! Whether a PEM chain and key are what Envoy will take: a bad pair must be the user's condition, not a refusal.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_model::Hostname;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::Names;

/// The certificates of a bundle, written anew: what stands around them is no certificate's. The error says what is wrong.
pub(crate) fn authorities(bundle: &[u8]) -> Result<String, String> {
    let certificates = CertificateDer::pem_slice_iter(bundle)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "is not PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    let mut store = rustls::RootCertStore::empty();
    let mut pem = String::new();
    for certificate in certificates {
        let text = STANDARD.encode(&certificate);
        store.add(certificate).map_err(|_| "holds a certificate that cannot be read".to_owned())?;
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(pem)
}

/// Checks that both parts parse and belong together; gives whom the certificate is for. The error names the part, never its content.
pub(super) fn pair(chain: &[u8], key: &[u8]) -> Result<Names, String> {
    let certificates = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "tls.crt is not PEM".to_owned())?;
    let Some(leaf) = certificates.first() else {
        return Err("tls.crt holds no PEM certificate".to_owned());
    };
    let names = EndEntityCert::try_from(leaf).map(|leaf| {
        let names: BTreeSet<Hostname> = leaf.valid_dns_names().map(Hostname::parse).collect();
        Names::from_iter(names)
    });
    let names = names.map_err(|_| "tls.crt holds a certificate that cannot be read".to_owned())?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key holds no PEM private key".to_owned())?;
    let key =
        any_supported_type(&key).map_err(|_| "tls.key holds a key of an unsupported type".to_owned())?;
    CertifiedKey::new(certificates, key)
        .keys_match()
        .map_err(|_| "tls.key does not belong to the certificate in tls.crt".to_owned())?;
    Ok(names)
}
