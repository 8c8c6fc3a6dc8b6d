//! Certificates with their keys: those of a listener where TLS ends, and the one that a Gateway shows to backends.

mod check;

pub(crate) use check::authorities;

use std::sync::Arc;

use gatehouse_api::types::{Secret, SecretObjectReference};
use gatehouse_engine::{Reads, Stage};
use gatehouse_model::listener::TlsCertificate;
use gatehouse_model::{Hostname, ListenerKey, ListenerOwner, NamespacedName, ResourceType};

use crate::facts::Facts;
use crate::gateways::{GatewayState, ListenerView, Problem};
use crate::grants::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, GroupKind, permitted};
use crate::output::{Resource, SecretKey};

/// Certificates that can be served, and why others cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// Secrets that hold a usable pair, in the user's order.
    pub(crate) usable: Vec<NamespacedName>,
    /// Whom each of them is for.
    names: Vec<Names>,
    /// The first reference that does not resolve.
    pub(crate) problem: Option<Problem>,
}

impl Certificates {
    /// Whom they are for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Hostname> {
        self.names.iter().flat_map(|names| &**names)
    }
}

/// Stage: the certificates of a listener; empty where no TLS ends.
pub(crate) fn certificates(
    facts: &Facts,
    gateways: &Stage<NamespacedName, GatewayState>,
    pairs: &Stage<NamespacedName, KeyPair>,
    reads: &mut Reads,
    key: &ListenerKey,
) -> Option<Arc<Certificates>> {
    let view = gateways.get(reads, &key.gateway)?.view()?;
    let listener = view.listener(key)?;
    if !listener.speaks.terminates() {
        return Some(Arc::default());
    }
    let references = listener.tls.as_ref().map(|tls| tls.certificate_refs.as_slice()).unwrap_or_default();
    let mut found = Certificates::default();
    if references.is_empty() {
        found.problem = Some(Problem::new("InvalidCertificateRef", "tls.certificateRefs is empty"));
    }
    for reference in references {
        match resolve((facts, pairs), reads, Referrer::of(listener), reference) {
            Ok((secret, names)) => {
                found.usable.push(secret);
                found.names.push(names);
            }
            Err(problem) => {
                found.problem.get_or_insert(problem);
            }
        }
    }
    Some(Arc::new(found))
}

/// Stage: the certificate that a Gateway shows to backends, if it names one.
pub(crate) fn shown(
    facts: &Facts,
    gateways: &Stage<NamespacedName, GatewayState>,
    pairs: &Stage<NamespacedName, KeyPair>,
    reads: &mut Reads,
    key: &NamespacedName,
) -> Option<Shown> {
    let reference = gateways.get(reads, key)?.view()?.shows.as_ref()?;
    let from = Referrer {
        group: GATEWAY_GROUP,
        kind: "Gateway",
        namespace: &key.namespace,
        field: "tls.backend.clientCertificateRef",
        invalid: "InvalidClientCertificateRef",
    };
    Some(resolve((facts, pairs), reads, from, reference).map(|(secret, _)| secret))
}

/// The certificate that an XBackend of a namespace has shown to it.
pub(crate) fn shown_to_xbackend(
    facts: &Facts,
    reads: &mut Reads,
    namespace: &Arc<str>,
    reference: &SecretObjectReference,
) -> Shown {
    let from = Referrer {
        group: EXPERIMENTAL_GROUP,
        kind: "XBackend",
        namespace,
        field: "tls.clientCertificateRef",
        invalid: "InvalidClientCertificateRef",
    };
    let found = resolve_by(facts, reads, from, reference, |reads, secret| key_pair(facts, reads, secret));
    found.map(|(secret, _)| secret)
}

/// The Secret with the certificate that is shown to backends, or why there is none.
pub(crate) type Shown = Result<NamespacedName, Problem>;

/// Who refers to a certificate.
#[derive(Clone, Copy)]
struct Referrer<'a> {
    group: &'static str,
    kind: &'static str,
    namespace: &'a Arc<str>,
    field: &'static str,
    /// The reason for a reference that leads to no certificate.
    invalid: &'static str,
}

impl<'a> Referrer<'a> {
    fn of(listener: &'a ListenerView) -> Self {
        let kind = match listener.key.owner {
            ListenerOwner::Gateway => "Gateway",
            ListenerOwner::ListenerSet(_) => "ListenerSet",
        };
        Self {
            group: GATEWAY_GROUP,
            kind,
            namespace: listener.namespace(),
            field: "certificateRef",
            invalid: "InvalidCertificateRef",
        }
    }
}

fn resolve(
    (facts, pairs): (&Facts, &Stage<NamespacedName, KeyPair>),
    reads: &mut Reads,
    from: Referrer<'_>,
    reference: &SecretObjectReference,
) -> Result<(NamespacedName, Names), Problem> {
    resolve_by(facts, reads, from, reference, |reads, secret| pairs.get(reads, secret).cloned())
}

fn resolve_by(
    facts: &Facts,
    reads: &mut Reads,
    from: Referrer<'_>,
    reference: &SecretObjectReference,
    pair: impl FnOnce(&mut Reads, &NamespacedName) -> Option<KeyPair>,
) -> Result<(NamespacedName, Names), Problem> {
    let Referrer { group: of, kind: owner, namespace: own, field, invalid } = from;
    let (group, kind) =
        (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref().unwrap_or("Secret"));
    if (group, kind) != ("", "Secret") {
        let message = format!("{field} {}: kind {kind} of group {group:?} is not a Secret", reference.name);
        return Err(Problem::new(invalid, message));
    }
    let secret = NamespacedName::new(reference.namespace.as_deref().unwrap_or(own), reference.name.as_str());
    let from = GroupKind { group: of, kind: owner };
    if !permitted(facts, reads, own, from, GroupKind { group: "", kind: "Secret" }, &secret) {
        let message = format!(
            "{field} {secret}: no ReferenceGrant in namespace {} allows it to {owner}s of namespace {own}",
            secret.namespace
        );
        return Err(Problem::new("RefNotPermitted", message));
    }
    if facts.secrets.want(reads, &secret).is_none() {
        return Err(Problem::new(invalid, format!("Secret {secret} does not exist")));
    }
    match pair(reads, &secret) {
        Some(KeyPair::Usable(_, names)) => Ok((secret, names)),
        Some(KeyPair::Unusable(why)) => Err(Problem::new(invalid, format!("Secret {secret}: {why}"))),
        None => Err(Problem::new(invalid, format!("Secret {secret} does not exist"))),
    }
}

/// The hosts that a certificate is for: its DNS names, sorted. A wildcard stands for one label.
pub(crate) type Names = Arc<[Hostname]>;

/// A Secret read as a certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPair {
    /// As proxies get it, and whom it is for.
    Usable(Arc<Resource>, Names),
    Unusable(Arc<str>),
}

impl KeyPair {
    pub(crate) fn usable(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Usable(resource, _) => Some(resource),
            Self::Unusable(_) => None,
        }
    }
}

/// Stage: a Secret as a key pair, checked once for all listeners that name it.
pub(crate) fn key_pair(facts: &Facts, reads: &mut Reads, key: &NamespacedName) -> Option<KeyPair> {
    let secret = facts.secrets.get(reads, key)?;
    Some(match read_pair(secret) {
        Ok((pair, names)) => {
            let name = crate::names::secret(&SecretKey::Pair(key.clone()));
            let body = gatehouse_envoy::encode::secret(&name, &pair);
            KeyPair::Usable(Arc::new(Resource::new(ResourceType::Secret, name.0, body)), names)
        }
        Err(why) => KeyPair::Unusable(why.into()),
    })
}

fn read_pair(secret: &Secret) -> Result<(TlsCertificate, Names), String> {
    let part = |name: &str| {
        let bytes = secret.data.get(name).map(gatehouse_api::types::SecretBytes::expose).unwrap_or_default();
        if bytes.is_empty() { Err(format!("key {name} is missing")) } else { Ok(bytes) }
    };
    let (chain, key) = (part("tls.crt")?, part("tls.key")?);
    let names = check::pair(chain, key)?;
    Ok((TlsCertificate { chain: chain.into(), key: key.into() }, names))
}
