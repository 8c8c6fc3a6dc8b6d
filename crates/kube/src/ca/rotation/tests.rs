use super::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn times(now: Timestamp) -> Times {
    Times { now, authority_days: 30, certificate_days: 3, publish: Duration::from_hours(1) }
}

fn start() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a time")
}

fn certificates(authorities: &Authorities) -> usize {
    authorities.bundle().matches("BEGIN CERTIFICATE").count()
}

fn signer(authorities: &Authorities) -> String {
    authorities.signer().map(|signer| signer.certificate.clone()).unwrap_or_default()
}

/// One that has published its successor, and when.
fn published() -> (Authorities, Timestamp) {
    let mut authorities = Authorities::default();
    assert_eq!(authorities.rotate(&times(start())), Ok(true));
    assert_eq!(authorities.rotate(&times(start() + HOUR)), Ok(false), "nothing is due");
    let later = start() + HOUR * (24 * 22);
    assert_eq!(authorities.rotate(&times(later)), Ok(true));
    (authorities, later)
}

#[test]
fn successor_is_trusted_before_it_signs() {
    let mut first = Authorities::default();
    first.rotate(&times(start())).expect("made");
    let (mut authorities, since) = published();
    let old = signer(&authorities);
    assert_eq!(certificates(&authorities), 2);
    assert_eq!(authorities.rotate(&times(since + HOUR / 2)), Ok(false));
    assert_eq!(signer(&authorities), old);
    let bundle = authorities.bundle();
    assert_eq!(authorities.rotate(&times(since + HOUR)), Ok(true));
    assert_ne!(signer(&authorities), old);
    assert!(bundle.contains(&signer(&authorities)), "it was published before");
    assert!(authorities.bundle().contains(&old), "what it signed is still in use");
}

#[test]
fn predecessor_leaves_after_all_that_it_signed_has_expired() {
    let (mut authorities, since) = published();
    authorities.rotate(&times(since + HOUR)).expect("promoted");
    assert_eq!(authorities.rotate(&times(since + HOUR * (24 * 4))), Ok(false));
    assert_eq!(authorities.rotate(&times(since + HOUR * (24 * 6))), Ok(true));
    assert_eq!(certificates(&authorities), 1);
}

#[test]
fn stored_authorities_are_read_as_they_were_written() {
    let (mut authorities, since) = published();
    for now in [since, since + HOUR] {
        authorities.rotate(&times(now)).expect("rotated");
        let read = Authorities::read(&authorities.write()).expect("readable");
        assert_eq!(read.write(), authorities.write());
        assert_eq!(read.bundle(), authorities.bundle());
    }
}

#[test]
fn half_an_authority_is_refused_with_a_remedy() {
    let (authorities, _) = published();
    let mut texts = authorities.write();
    texts.remove("ca.key");
    let error = Authorities::read(&texts).map(|_| ()).expect_err("incomplete");
    assert!(error.contains("delete the Secret"), "{error}");
}

#[test]
fn expired_authority_is_replaced_without_waiting() {
    let (mut authorities, since) = published();
    let old = signer(&authorities);
    let mut times = times(since + HOUR * (24 * 20));
    times.publish = Duration::from_hours(24 * 365);
    assert_eq!(authorities.rotate(&times), Ok(true));
    assert_ne!(signer(&authorities), old);
}

#[test]
fn server_certificate_is_renewed_when_its_signer_changes_or_a_third_of_its_life_is_over() {
    let (mut authorities, since) = published();
    let names = ["gatehouse.ns.svc".to_owned()];
    let current = authorities.signer().expect("a signer");
    let leaf = current.issue(&names, since, 3).expect("issued");
    assert!(!leaf.is_stale(current, since + HOUR * 23));
    assert!(leaf.is_stale(current, since + HOUR * 24));
    authorities.rotate(&times(since + HOUR)).expect("promoted");
    assert!(leaf.is_stale(authorities.signer().expect("a signer"), since));
}

#[test]
fn server_certificate_is_trusted_by_the_bundle_for_its_names() {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    let (authorities, since) = published();
    let leaf = authorities.signer().expect("a signer").issue(&["a.svc".into()], since, 3).expect("issued");
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities.bundle().as_bytes()) {
        roots.add(root.expect("PEM")).expect("an authority");
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().expect("roots");
    let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).expect("PEM");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(since.as_second().unsigned_abs()));
    let verify = |name: &'static str| {
        let name = ServerName::try_from(name).expect("a name");
        verifier.verify_server_cert(&certificate, &[], &name, &[], now).map(|_| ())
    };
    assert!(verify("a.svc").is_ok(), "{:?}", verify("a.svc"));
    assert!(verify("b.svc").is_err());
}
