//! Who presents a ServiceAccount token: asked of the API server, remembered for a short time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use serde::Deserialize;
use tokio::time::Instant;

use crate::api::{Api, ResourceType, Target};
use crate::error::Error;

const REVIEWS: ResourceType =
    ResourceType { group: "authentication.k8s.io", version: "v1", plural: "tokenreviews" };
/// A pod or ServiceAccount that is deleted is believed for this long at most.
const BELIEVED: Duration = Duration::from_mins(1);
/// Keeps a client that insists from costing a request each time.
const REFUSED: Duration = Duration::from_secs(10);
/// Answers that are remembered at most; beyond, the cache starts over.
const REMEMBERED: usize = 10_000;

/// A ServiceAccount, and the pod that the token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the ServiceAccount and the pod.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub service_account: String,
    /// Name and UID of the pod that the token is bound to.
    pub pod: Option<(String, String)>,
}

/// Why a token proves nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The API server does not vouch for it: forged, expired, bound to a pod that is gone, or for another audience.
    #[error("the token is not valid here: {0}")]
    Refused(Arc<str>),
    /// The API server could not be asked.
    #[error("the token cannot be checked: {0}")]
    Unavailable(Arc<str>),
}

/// Hash of a token, never the token itself.
type Fingerprint = [u8; 32];

struct Remembered {
    answer: Result<Arc<Identity>, TokenError>,
    until: Instant,
}

/// Asks the API server who presents a token. Cheap to clone; clones share what is remembered.
#[derive(Clone)]
pub struct TokenReviewer {
    api: Api,
    audience: Arc<str>,
    remembered: Arc<Mutex<HashMap<Fingerprint, Remembered>>>,
}

impl std::fmt::Debug for TokenReviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenReviewer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl TokenReviewer {
    /// Accepts tokens that were made for this audience.
    pub fn new(api: Api, audience: &str) -> Self {
        Self { api, audience: audience.into(), remembered: Arc::default() }
    }

    /// Who presents this token. Costs a request at most once a minute per token.
    pub async fn review(&self, token: &str) -> Result<Arc<Identity>, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Refused("there is none".into()));
        }
        let fingerprint = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some(answer) = self.recall(&fingerprint) {
            return answer;
        }
        let answer = match self.ask(token).await {
            Ok(status) => identity(&status, &self.audience).map(Arc::new),
            // Not remembered: it says nothing of the token.
            Err(error) => return Err(TokenError::Unavailable(error.to_string().into())),
        };
        let lasts = if answer.is_ok() { BELIEVED.min(remaining(token)) } else { REFUSED };
        self.remember(fingerprint, Remembered { answer: answer.clone(), until: Instant::now() + lasts });
        answer
    }

    async fn ask(&self, token: &str) -> Result<TokenReviewStatus, Error> {
        let spec =
            TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![self.audience.to_string()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer: TokenReview = self.api.create(&Target::all(REVIEWS, ""), &review).await?;
        Ok(answer.status.unwrap_or_default())
    }

    fn recall(&self, fingerprint: &Fingerprint) -> Option<Result<Arc<Identity>, TokenError>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(fingerprint).filter(|entry| entry.until > Instant::now()).map(|e| e.answer.clone())
    }

    fn remember(&self, fingerprint: Fingerprint, entry: Remembered) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(fingerprint, entry);
    }
}

/// Reads the API server's verdict.
fn identity(status: &TokenReviewStatus, audience: &str) -> Result<Identity, TokenError> {
    let refused = |why: &str| Err(TokenError::Refused(why.into()));
    if status.authenticated != Some(true) {
        return refused(status.error.as_deref().unwrap_or("not authenticated"));
    }
    // An authenticator that knows no audiences leaves them out, and then has not checked them.
    if !status.audiences.iter().flatten().any(|named| named == audience) {
        return refused("made for another audience");
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return refused("not a ServiceAccount's");
    };
    let extra = |key: &str| {
        let values = user.extra.as_ref()?.get(&format!("authentication.kubernetes.io/{key}"))?;
        values.first().cloned()
    };
    Ok(Identity {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod: extra("pod-name").zip(extra("pod-uid")),
    })
}

/// How long a token is still valid by its own word, which is only ever used to forget it earlier.
fn remaining(token: &str) -> Duration {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let Some(claims) = claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok()) else {
        return BELIEVED;
    };
    let left = claims.exp - jiff::Timestamp::now().as_second();
    Duration::from_secs(u64::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn accepted() -> TokenReviewStatus {
        let extra = ["pod-name", "pod-uid"]
            .map(|key| (format!("authentication.kubernetes.io/{key}"), vec![format!("the-{key}")]));
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec!["xds".into()]),
            user: Some(UserInfo {
                username: Some("system:serviceaccount:shop:eg-proxy".into()),
                extra: Some(BTreeMap::from(extra)),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn accepted_token_names_account_and_pod() {
        let identity = identity(&accepted(), "xds").expect("accepted");
        assert_eq!((identity.namespace.as_str(), identity.service_account.as_str()), ("shop", "eg-proxy"));
        assert_eq!(identity.pod, Some(("the-pod-name".into(), "the-pod-uid".into())));
    }

    #[test]
    fn token_whose_audience_was_not_checked_is_refused() {
        for audiences in [None, Some(vec!["other".to_owned()])] {
            let status = TokenReviewStatus { audiences, ..accepted() };
            assert!(matches!(identity(&status, "xds"), Err(TokenError::Refused(_))));
        }
    }

    #[test]
    fn user_that_is_no_service_account_is_refused() {
        let mut status = accepted();
        status.user = Some(UserInfo { username: Some("admin".into()), ..UserInfo::default() });
        assert!(matches!(identity(&status, "xds"), Err(TokenError::Refused(_))));
    }

    #[test]
    fn token_is_remembered_no_longer_than_it_is_valid() {
        let now = jiff::Timestamp::now().as_second();
        let token = |exp: i64| format!("h.{}.s", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}")));
        assert!(remaining(&token(now + 5)) <= Duration::from_secs(5));
        assert_eq!(remaining(&token(now - 5)), Duration::ZERO);
        assert_eq!(remaining("opaque"), BELIEVED);
    }
}
