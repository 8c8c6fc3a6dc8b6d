//! Authorities: who signs the certificates of backends and of clients.
//!
//! ```text
//! references (ConfigMap, Secret, ClusterTrustBundle) --> bundle --> BackendTLSPolicy: part of the cluster
//!                                                             \--> spec.tls.frontend of a Gateway: a secret for each port
//! ```

use std::sync::Arc;

use gatehouse_api::types::{FrontendTLS, FrontendValidation, FrontendValidationMode, Gateway, SecretBytes};
use gatehouse_engine::{Reads, Stage};
use gatehouse_model::{NamespacedName, ResourceType};

use crate::certificates;
use crate::facts::Facts;
use crate::gateways::{GatewayState, Problem};
use crate::grants::{GATEWAY_GROUP, GroupKind, permitted};
use crate::names;
use crate::output::{Resource, SecretKey};

/// The key of a ConfigMap or Secret that holds authorities.
const CA_KEY: &str = "ca.crt";

/// Why an object gives no authorities, in words for people.
pub(crate) enum Refused {
    /// Objects of this kind never do.
    Kind(String),
    /// It is not there, or does not hold what it should.
    Content(String),
}

/// The authorities that an object holds, as PEM.
pub(crate) fn held_by(
    facts: &Facts,
    reads: &mut Reads,
    GroupKind { group, kind }: GroupKind<'_>,
    key: &NamespacedName,
) -> Result<String, Refused> {
    if is_cluster_wide(group, kind) {
        return held_by_bundle(facts, reads, &key.name);
    }
    let invalid = |why: String| Refused::Content(format!("{kind} {key}: {why}"));
    let absent = || invalid("it does not exist".to_owned());
    let text = match (group, kind) {
        ("", "ConfigMap") => {
            let object = facts.config_maps.want(reads, key).ok_or_else(absent)?;
            object.data.get(CA_KEY).cloned()
        }
        ("", "Secret") => {
            let object = facts.secrets.want(reads, key).ok_or_else(absent)?;
            let bytes = object.data.get(CA_KEY).map(SecretBytes::expose);
            bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        }
        _ => {
            let message =
                format!("caCertificateRefs {}: kind {kind} of group {group:?} is not supported", key.name);
            return Err(Refused::Kind(message));
        }
    };
    let text = text.ok_or_else(|| invalid(format!("key {CA_KEY} is missing")))?;
    certificates::authorities(text.as_bytes()).map_err(|why| invalid(format!("{CA_KEY} {why}")))
}

fn is_cluster_wide(group: &str, kind: &str) -> bool {
    (group, kind) == ("certificates.k8s.io", "ClusterTrustBundle")
}

fn held_by_bundle(facts: &Facts, reads: &mut Reads, name: &Arc<str>) -> Result<String, Refused> {
    if facts.trust_bundles_served.get(reads, &()).is_none() {
        let message = format!(
            "caCertificateRefs {name}: the API server has no kind ClusterTrustBundle in certificates.k8s.io/v1 or v1beta1"
        );
        return Err(Refused::Kind(message));
    }
    let invalid = |why: &str| Refused::Content(format!("ClusterTrustBundle {name}: {why}"));
    let bundle = facts.trust_bundles.get(reads, name).ok_or_else(|| invalid("it does not exist"))?;
    let held = certificates::authorities(bundle.spec.trust_bundle.as_bytes());
    held.map_err(|why| invalid(&format!("trustBundle {why}")))
}

/// The authorities of several references.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// Of all that resolve, as PEM; empty when none does.
    pub(crate) pem: String,
    /// The first that does not resolve.
    pub(crate) unresolved: Option<Problem>,
}

impl FromIterator<Result<String, Problem>> for Bundle {
    fn from_iter<I: IntoIterator<Item = Result<String, Problem>>>(references: I) -> Self {
        let mut bundle = Self::default();
        for reference in references {
            match reference {
                Ok(pem) => bundle.pem.push_str(&pem),
                Err(problem) => drop(bundle.unresolved.get_or_insert(problem)),
            }
        }
        bundle
    }
}

/// A port of a Gateway.
pub(crate) type GatewayPort = (NamespacedName, u16);

/// The authorities of the clients of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfClients {
    /// As proxies get them; `None` when there are none: nobody may be served.
    pub(crate) secret: Option<Arc<Resource>>,
    /// The first reference that does not resolve.
    pub(crate) unresolved: Option<Problem>,
}

/// How the clients of HTTPS on a port are checked, if they are.
pub(crate) fn validation(gateway: &Gateway, port: u16) -> Option<&FrontendValidation> {
    let frontend = frontend(gateway)?;
    let of_port = frontend.per_port.iter().find(|config| config.port == port).map(|config| &config.tls);
    of_port.unwrap_or(&frontend.default).validation.as_ref()
}

/// Whether a Gateway says somewhere that clients who fail the check are served all the same.
pub(crate) fn is_lenient(gateway: &Gateway) -> bool {
    let Some(frontend) = frontend(gateway) else { return false };
    let configs = frontend.per_port.iter().map(|config| &config.tls).chain([&frontend.default]);
    configs.filter_map(|config| config.validation.as_ref()).any(lenient)
}

fn frontend(gateway: &Gateway) -> Option<&FrontendTLS> {
    gateway.spec.tls.as_ref()?.frontend.as_ref()
}

/// Whether clients who fail this check are served all the same.
pub(crate) fn lenient(validation: &FrontendValidation) -> bool {
    validation.mode == Some(FrontendValidationMode::AllowInsecureFallback)
}

/// Stage: the authorities of the clients of a port where they are checked.
pub(crate) fn of_clients(
    facts: &Facts,
    gateways: &Stage<NamespacedName, GatewayState>,
    reads: &mut Reads,
    (key, port): &GatewayPort,
) -> Option<Arc<OfClients>> {
    let view = gateways.get(reads, key)?.view()?;
    view.checked_ports().find(|checked| checked == port)?;
    let gateway = facts.gateways.get(reads, key)?;
    let references = &validation(gateway, *port)?.ca_certificate_refs;
    let from = GroupKind { group: GATEWAY_GROUP, kind: "Gateway" };
    let bundle = references.iter().map(|reference| {
        let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
        let object = NamespacedName::new(namespace, reference.name.as_str());
        let to = GroupKind { group: &reference.group, kind: &reference.kind };
        if is_cluster_wide(to.group, to.kind) && reference.namespace.is_some() {
            let message = format!("{} {}: it has no namespace, and the reference names one", to.kind, object.name);
            return Err(Problem::new("InvalidCACertificateRef", message));
        }
        if !permitted(facts, reads, &key.namespace, from, to, &object) {
            let message = format!(
                "caCertificateRefs {} {object}: no ReferenceGrant in namespace {namespace} allows it to Gateways of \
                 namespace {}",
                to.kind, key.namespace
            );
            return Err(Problem::new("RefNotPermitted", message));
        }
        held_by(facts, reads, to, &object).map_err(|refused| match refused {
            Refused::Kind(message) => Problem::new("InvalidCACertificateKind", message),
            Refused::Content(message) => Problem::new("InvalidCACertificateRef", message),
        })
    });
    let Bundle { pem, unresolved } = bundle.collect();
    let secret = (!pem.is_empty()).then(|| {
        let name = names::secret(&SecretKey::Clients(key.clone(), *port));
        let body = gatehouse_envoy::encode::authorities(&name, &pem);
        Arc::new(Resource::new(ResourceType::Secret, name.0, body))
    });
    Some(Arc::new(OfClients { secret, unresolved }))
}
