//! BackendTLSPolicy: a policy for a port of a Service counts before one for all of them, of equal ones the oldest. A port of
//! Envoy Gateway's `Backend` goes by its number.
//!
//! A backend whose policy cannot be followed is no backend: requests fail rather than go out unprotected.

use std::sync::Arc;

use gatehouse_api::types::{
    Backend, BackendEndpoint, BackendTLSPolicy, BackendTLSPolicyValidation, LocalObjectReference,
    PolicyTarget, SubjectAltName, TargetSelector,
};
use gatehouse_engine::Reads;
use gatehouse_model::NamespacedName;
use gatehouse_model::backend::{AltName, Authorities, BackendTls};

use super::{Attached, Outcome, Policy, Target, TargetKind, conflict};
use crate::authorities::{self, Bundle};
use crate::backends::is_host;
use crate::facts::Facts;
use crate::gateways::Problem;
use crate::grants::GroupKind;

impl Policy for BackendTLSPolicy {
    const SELECTS: bool = false;

    fn named(&self) -> impl Iterator<Item = &PolicyTarget> {
        self.spec.target_refs.iter()
    }

    fn selectors(&self) -> impl Iterator<Item = &TargetSelector> {
        std::iter::empty()
    }
}

fn attached(facts: &Facts, reads: &mut Reads, target: &Target) -> Vec<Attached<BackendTLSPolicy>> {
    facts.backend_tls_policies.attached(reads, target, &std::collections::BTreeMap::new())
}

/// TLS to a port of a backend, if a policy asks for it.
pub(crate) fn of_port(
    facts: &Facts,
    reads: &mut Reads,
    target: &Target,
    port: Option<&str>,
) -> Result<Option<Arc<BackendTls>>, Problem> {
    let attached = attached(facts, reads, target);
    let of_port =
        attached.iter().find(|policy| policy.section.is_some() && policy.section.as_deref() == port);
    let Some(policy) = of_port.or_else(|| attached.iter().find(|policy| policy.section.is_none())) else {
        return Ok(None);
    };
    match of_policy(facts, reads, &policy.policy) {
        Ok((tls, _)) => Ok(Some(Arc::new(tls))),
        Err(refused) => {
            let message = format!("BackendTLSPolicy {}: {}", policy.key, refused.accepted.message);
            Err(Problem::new("InvalidBackendTLSPolicy", message))
        }
    }
}

/// What the policies of a backend are told by a route that names it.
pub(crate) fn told(facts: &Facts, reads: &mut Reads, target: &Target) -> Vec<(NamespacedName, Arc<Outcome>)> {
    let attached = attached(facts, reads, target);
    let mut told = Vec::with_capacity(attached.len());
    for (index, policy) in attached.iter().enumerate() {
        let lowered = of_policy(facts, reads, &policy.policy);
        let unresolved = match &lowered {
            Ok((_, unresolved)) => unresolved.clone(),
            Err(refused) => refused.unresolved.clone(),
        };
        let problem = conflict(&attached, index)
            .or_else(|| absent(facts, reads, target, policy.section.as_deref()))
            .or_else(|| lowered.err().map(|refused| refused.accepted));
        let outcome = Outcome { problem, unresolved, overridden: None };
        told.push((policy.key.clone(), Arc::new(outcome)));
    }
    told
}

/// What policies are told that are for a backend which says itself how TLS is spoken to it.
pub(crate) fn misplaced(
    facts: &Facts,
    reads: &mut Reads,
    target: &Target,
) -> Vec<(NamespacedName, Arc<Outcome>)> {
    let (kind, object) = (target.kind.as_str(), &target.object);
    let message = format!("{kind} {object} says itself how TLS is spoken to it: use its spec.tls");
    let outcome = Arc::new(Outcome { problem: Some(Problem::new("Invalid", message)), ..Outcome::default() });
    attached(facts, reads, target).into_iter().map(|policy| (policy.key, outcome.clone())).collect()
}

fn absent(facts: &Facts, reads: &mut Reads, target: &Target, section: Option<&str>) -> Option<Problem> {
    let (section, Target { kind, object: key }) = (section?, target);
    let (named, of) = if *kind == TargetKind::Backend {
        let backend = facts.backends.get(reads, key)?;
        (ports(backend).any(|port| port.to_string() == section), "of number")
    } else {
        let object = facts.services.get(reads, key)?;
        (object.spec.ports.iter().any(|port| port.name.as_deref() == Some(section)), "named")
    };
    let message = format!("{} {key} has no port {of} {section}", kind.as_str());
    (!named).then(|| Problem::new("TargetNotFound", message))
}

fn ports(backend: &Backend) -> impl Iterator<Item = u16> {
    let port = |endpoint: &BackendEndpoint| {
        let by_name = endpoint.fqdn.as_ref().map(|fqdn| fqdn.port);
        by_name.or_else(|| endpoint.ip.as_ref().map(|ip| ip.port))
    };
    backend.spec.endpoints.iter().filter_map(port)
}

/// Why what is asked for cannot be done.
pub(crate) struct Refused {
    pub(crate) accepted: Problem,
    pub(crate) unresolved: Option<Problem>,
}

fn of_policy(
    facts: &Facts,
    reads: &mut Reads,
    policy: &BackendTLSPolicy,
) -> Result<(BackendTls, Option<Problem>), Refused> {
    lower(facts, reads, policy.metadata.namespace(), &policy.spec.validation)
}

/// What an object in a namespace asks for, and the first of its references that does not resolve while others do.
pub(crate) fn lower(
    facts: &Facts,
    reads: &mut Reads,
    namespace: &str,
    validation: &BackendTLSPolicyValidation,
) -> Result<(BackendTls, Option<Problem>), Refused> {
    let invalid = |message: String| Refused { accepted: Problem::new("Invalid", message), unresolved: None };
    // Whatever let it through: a proxy takes no other server name.
    if !is_host(&validation.hostname) {
        return Err(invalid(format!("hostname {:?} is not a hostname", validation.hostname)));
    }
    let (authorities, unresolved) = match validation.well_known_ca_certificates.as_deref().unwrap_or_default()
    {
        "" => bundle(facts, reads, namespace, validation)?,
        "System" => (Authorities::System, None),
        other => {
            return Err(invalid(format!("wellKnownCACertificates {other} is not supported; use System")));
        }
    };
    let names: Result<Vec<_>, _> = validation.subject_alt_names.iter().map(alt_name).collect();
    let mut names = names.map_err(invalid)?;
    if names.is_empty() {
        names.push(AltName::Dns(validation.hostname.as_str().into()));
    }
    let server_name = validation.hostname.as_str().into();
    Ok((BackendTls { server_name, names, authorities, shows: None }, unresolved))
}

fn alt_name(name: &SubjectAltName) -> Result<AltName, String> {
    match (name.name_type.as_str(), &name.hostname, &name.uri) {
        ("Hostname", Some(hostname), _) => Ok(AltName::Dns(hostname.as_str().into())),
        ("URI", _, Some(uri)) => Ok(AltName::Uri(uri.as_str().into())),
        (other, ..) => Err(format!("subjectAltNames: type {other} is not supported or has no value")),
    }
}

/// The authorities of all references that resolve.
fn bundle(
    facts: &Facts,
    reads: &mut Reads,
    namespace: &str,
    validation: &BackendTLSPolicyValidation,
) -> Result<(Authorities, Option<Problem>), Refused> {
    let references = validation.ca_certificate_refs.iter();
    let Bundle { pem, unresolved } = references
        .map(|LocalObjectReference { group, kind, name }| {
            let key = NamespacedName::new(namespace, name.as_str());
            authorities::held_by(facts, reads, GroupKind { group, kind }, &key).map_err(|why| match why {
                authorities::Refused::Kind(message) => Problem::new("InvalidKind", message),
                authorities::Refused::Content(message) => Problem::new("InvalidCACertificateRef", message),
            })
        })
        .collect();
    if pem.is_empty() {
        let why =
            unresolved.as_ref().map_or("caCertificateRefs is empty", |problem: &Problem| &*problem.message);
        return Err(Refused { accepted: Problem::new("NoValidCACertificate", why), unresolved });
    }
    Ok((Authorities::Bundle(pem.into()), unresolved))
}
