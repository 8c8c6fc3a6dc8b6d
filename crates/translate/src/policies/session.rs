//! Session persistence: whose word counts, and what it means.
//!
//! The tightest place counts: what a backend says of itself, then a policy for it, then the rule. (The specification leaves
//! that to us and deprecates the last two.)

use std::sync::Arc;

use gatehouse_api::types::{CookieLifetimeType, SessionPersistence as ApiSession, SessionPersistenceType};
use gatehouse_engine::Reads;
use gatehouse_model::http::SessionPersistence;

use super::{Target, TargetKind, backend_traffic};
use crate::duration;
use crate::facts::Facts;

/// What is said of the sessions of a backend, not of a rule.
pub(crate) fn of_backend(
    facts: &Facts,
    reads: &mut Reads,
    target: &Target,
) -> Option<Arc<SessionPersistence>> {
    let own = match target.kind {
        TargetKind::XBackend => {
            facts.xbackends.get(reads, &target.object).and_then(|b| b.spec.session_persistence.clone())
        }
        _ => None,
    };
    let said = own.or_else(|| {
        let policy = backend_traffic::of_target(facts, reads, target)?;
        policy.spec.session_persistence.clone()
    })?;
    Some(lower(&said, || format!("{} {}", target.kind.as_str(), target.object)))
}

/// `identity` makes the name of a cookie or header that the user leaves to us.
pub(crate) fn lower(session: &ApiSession, identity: impl Fn() -> String) -> Arc<SessionPersistence> {
    if session.persistence_type == Some(SessionPersistenceType::Header) {
        let name = session.header.as_ref().map_or_else(|| generated(&identity()), |h| h.name.as_str().into());
        return Arc::new(SessionPersistence::Header { name });
    }
    let cookie = session.cookie.clone().unwrap_or_default();
    let permanent = cookie.lifetime_type == Some(CookieLifetimeType::Permanent);
    let ttl = session.absolute_timeout.as_deref().and_then(duration::parse).filter(|_| permanent);
    Arc::new(SessionPersistence::Cookie {
        name: cookie.name.map_or_else(|| generated(&identity()), Arc::from),
        path: cookie.path.as_deref().unwrap_or("/").into(),
        ttl,
    })
}

/// Letters and digits only: requests with an underscore in a header's name are refused.
fn generated(identity: &str) -> Arc<str> {
    let digest = gatehouse_envoy::version(identity.as_bytes());
    let digits = digest.bytes().take(6).fold(0u64, |digits, byte| (digits << 8) | u64::from(byte));
    format!("gatehouse-session-{digits:012x}").into()
}

/// Fields that have no effect: Envoy ends sessions only by the life of a permanent cookie.
pub(crate) fn unheeded(session: Option<&ApiSession>) -> Vec<String> {
    let Some(session) = session else { return Vec::new() };
    let cookie = session.persistence_type != Some(SessionPersistenceType::Header);
    let lifetime = session.cookie.as_ref().and_then(|cookie| cookie.lifetime_type.as_ref());
    let permanent = cookie && lifetime == Some(&CookieLifetimeType::Permanent);
    let field = "sessionPersistence.absoluteTimeout";
    (session.absolute_timeout.is_some() && !permanent).then(|| field.to_owned()).into_iter().collect()
}
