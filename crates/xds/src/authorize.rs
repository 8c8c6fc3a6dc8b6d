//! Who a client is: a bearer token, proven by the caller's [`Authorize`], says which one fleet it belongs to.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::event::FleetId;
use crate::fleet::Fleet;
use crate::server::Inner;

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The only fleet whose resources its bearer may see.
    pub fleet: FleetId,
    /// When the proof ends, and the stream with it.
    pub expires: SystemTime,
}

/// Why a token opens nothing. The words are told to the client: they say nothing about other fleets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token is not valid: forged, expired, or meant for another audience.
    #[error("{0}")]
    Unauthenticated(String),
    /// The token is valid, but its bearer belongs to no fleet.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody could say; the client may ask again.
    #[error("{0}")]
    Unavailable(String),
}

/// What [`Authorize`] answers.
pub type Verdict<'a, T> = Pin<Box<dyn Future<Output = Result<T, Denied>> + Send + 'a>>;

/// Proves tokens. Called once for each stream; results may be cached.
pub trait Authorize: Send + Sync + 'static {
    /// Says who the bearer of `token` is.
    fn authorize<'a>(&'a self, token: &'a str) -> Verdict<'a, Identity>;

    /// Ends when the tables are at least as new as what any server answered before this one. A stream that says what it
    /// has is answered only then, so that a server whose sources lag behind rolls no client back to an older state; a
    /// client that has nothing is better served at once.
    fn caught_up(&self) -> Verdict<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What streams over TLS have to pass.
#[derive(Clone)]
pub struct Admission {
    /// Proves tokens.
    pub authorizer: Arc<dyn Authorize>,
    /// While it is false, streams are refused as unavailable, and when it turns false, those that run end: the client
    /// looks for another server, or waits.
    pub ready: watch::Receiver<bool>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("ready", &*self.ready.borrow()).finish_non_exhaustive()
    }
}

/// A fleet that a stream may see, and for how long.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) terms: Terms,
}

/// What ends an admitted stream.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// When the token ends; nothing where no token is asked for.
    pub(crate) expires: Option<SystemTime>,
    /// Turns false when this server may answer no more.
    pub(crate) ready: Option<watch::Receiver<bool>>,
    /// Whom a client that has something waits for.
    pub(crate) lag: Option<Lag>,
}

/// Until this server has caught up with whoever answered before.
pub(crate) struct Lag(Arc<dyn Authorize>);

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lag").finish()
    }
}

impl Lag {
    pub(crate) async fn over(self) -> Result<(), Status> {
        self.0.caught_up().await.map_err(|denied| refusal(denied).1)
    }
}

impl Terms {
    /// Ends when this server may answer no more.
    pub(crate) async fn closed(ready: &mut Option<watch::Receiver<bool>>) {
        match ready {
            // A sender that is gone closes too.
            Some(ready) => drop(ready.wait_for(|ready| !ready).await),
            None => std::future::pending().await,
        }
    }
}

impl Admission {
    /// Finds the fleet of a stream by the token that it brings.
    pub(crate) async fn admit(&self, inner: &Inner, metadata: &MetadataMap) -> Result<Admitted, Status> {
        let admitted = self.examine(inner, metadata).await;
        if let Err((reason, status)) = &admitted {
            inner.metrics.denied(*reason);
            tracing::debug!(%status, "stream refused");
        }
        admitted.map_err(|(_, status)| status)
    }

    async fn examine(&self, inner: &Inner, metadata: &MetadataMap) -> Result<Admitted, (Reason, Status)> {
        let token = bearer(metadata).ok_or_else(|| {
            let words = "bring a token: metadata `authorization: Bearer <token>` is missing or malformed";
            (Reason::NoToken, Status::unauthenticated(words))
        })?;
        // Before the proof, which costs a round trip: a server that does not answer anyway asks nobody.
        self.open()?;
        let identity = self.authorizer.authorize(token).await.map_err(refusal)?;
        if identity.expires <= SystemTime::now() {
            return Err(refusal(Denied::Unauthenticated("the token has expired".to_owned())));
        }
        self.open()?;
        let terms = Terms {
            expires: Some(identity.expires),
            ready: Some(self.ready.clone()),
            lag: Some(Lag(self.authorizer.clone())),
        };
        Ok(Admitted { fleet: inner.fleet(&identity.fleet), terms })
    }

    fn open(&self) -> Result<(), (Reason, Status)> {
        if *self.ready.borrow() { Ok(()) } else { Err((Reason::NotReady, closed())) }
    }
}

/// Why a stream or connection was refused, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoToken,
    Unauthenticated,
    Forbidden,
    Unavailable,
    NotReady,
    Handshake,
    Connections,
}

impl Reason {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::NotReady => "not_ready",
            Self::Handshake => "tls_handshake",
            Self::Connections => "too_many_connections",
        }
    }
}

/// What a stream is told when this server may not answer.
pub(crate) fn closed() -> Status {
    Status::unavailable("this server does not answer now; connect again")
}

fn refusal(denied: Denied) -> (Reason, Status) {
    match denied {
        Denied::Unauthenticated(words) => (Reason::Unauthenticated, Status::unauthenticated(words)),
        Denied::Forbidden(words) => (Reason::Forbidden, Status::permission_denied(words)),
        Denied::Unavailable(words) => (Reason::Unavailable, Status::unavailable(words)),
    }
}

/// The token of a request, if it brings exactly one.
fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let mut values = metadata.get_all("authorization").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
