//! One authority: made, read, and used to sign.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

/// A certificate that may sign others, with its key.
#[derive(Debug)]
pub(super) struct Authority {
    /// PEM.
    pub(super) certificate: String,
    key: KeyPair,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// A server's certificate.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) certificate: Arc<str>,
    pub(super) key: Arc<str>,
    /// The authority that signed it.
    signer: String,
    renew: Timestamp,
}

impl Leaf {
    /// Whether another one is due.
    pub(super) fn is_stale(&self, signer: &Authority, now: Timestamp) -> bool {
        self.signer != signer.certificate || now >= self.renew
    }
}

impl Authority {
    /// Makes one that is valid for so many days.
    pub(super) fn make(now: Timestamp, days: u16) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|e| format!("make a key: {e}"))?;
        let mut params = params(&key);
        set_validity(&mut params, now, days);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|e| format!("sign the authority: {e}"))?;
        Self::read(&certificate.pem(), &key.serialize_pem())
    }

    /// Reads one that was stored.
    pub(super) fn read(certificate: &str, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|e| format!("read the authority's key: {e}"))?;
        let (from, until) = valid(certificate)?;
        Ok(Self { certificate: certificate.to_owned(), key, from, until })
    }

    /// The key as PEM.
    pub(super) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Signs a certificate for a server of these names.
    pub(super) fn issue(&self, names: &[String], now: Timestamp, days: u16) -> Result<Leaf, String> {
        let failed = |e: rcgen::Error| format!("issue the server's certificate: {e}");
        let key = KeyPair::generate().map_err(failed)?;
        let mut leaf = CertificateParams::new(names).map_err(failed)?;
        leaf.distinguished_name = named(names.first().map_or("gatehouse", String::as_str));
        set_validity(&mut leaf, now, days);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let issuer = params(&self.key);
        let issuer = Issuer::from_params(&issuer, &self.key);
        let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Leaf {
            certificate: certificate.pem().into(),
            key: key.serialize_pem().into(),
            signer: self.certificate.clone(),
            renew: now + SignedDuration::from_hours(i64::from(days) * 24 / 3),
        })
    }
}

/// What an authority's certificate says beside its times: made from the key alone, so that it need not be read back.
fn params(key: &KeyPair) -> CertificateParams {
    let id = blake3::hash(key.der_bytes()).to_hex();
    let mut params = CertificateParams::default();
    // Two authorities of different names: verifiers look for the signer by name.
    params.distinguished_name = named(&format!("Gatehouse xDS {}", &id[..8]));
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Whole days, from the day before on: clocks differ.
fn set_validity(params: &mut CertificateParams, now: Timestamp, days: u16) {
    let day = |days: i64| {
        let date = (now + SignedDuration::from_hours(days * 24)).to_zoned(TimeZone::UTC).date();
        let unsigned = |part: i8| u8::try_from(part).unwrap_or(1);
        date_time_ymd(i32::from(date.year()), unsigned(date.month()), unsigned(date.day()))
    };
    params.not_before = day(-1);
    params.not_after = day(i64::from(days) + 1);
}

/// From when until when a certificate is valid.
pub(super) fn valid(certificate: &str) -> Result<(Timestamp, Timestamp), String> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes())
        .map_err(|e| format!("read the authority's certificate: {e}"))?;
    let parsed = pem.parse_x509().map_err(|e| format!("read the authority's certificate: {e}"))?;
    let validity = parsed.validity();
    let time = |seconds| Timestamp::from_second(seconds).map_err(|e| e.to_string());
    Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}
