//! The thin asynchronous shell around one stream.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::authorize::{Admitted, Terms, closed};
use crate::clients::StreamId;
use crate::config::Config;
use crate::fleet::{Fleet, State};
use crate::requests::Requests;
use crate::server::Inner;
use crate::stream::{Input, Response, Stream};

/// What the transport sends.
pub(crate) type Sink = mpsc::Sender<Result<Response, Status>>;

/// One connected client.
pub(crate) struct Session {
    id: StreamId,
    inner: Arc<Inner>,
    fleet: Arc<Fleet>,
    terms: Terms,
    stream: Stream,
    wake: Option<Instant>,
    gated: i64,
    /// What the client calls itself, once it said so: a hint, only for what it may have from an earlier stream.
    node: Option<String>,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>, admitted: Admitted) -> Self {
        let Admitted { fleet, terms } = admitted;
        let id = inner.next_stream();
        inner.metrics.streams.inc();
        inner.tell(&fleet.id, fleet.connect(id));
        let stream = Stream::new(inner.config.clone(), Instant::now());
        Self { id, inner, fleet, terms, stream, wake: None, gated: 0, node: None }
    }

    /// Serves the client until one side ends.
    pub(crate) async fn run(mut self, mut requests: Requests, sink: Sink) {
        let mut changes = self.fleet.subscribe();
        if let Err(status) = self.serve(&mut requests, &mut changes, &sink).await {
            tracing::debug!(fleet = %self.fleet.id, stream = self.id, %status, "stream ends");
            // The client may be gone; then nobody wants to know.
            let _ = sink.send(Err(status)).await;
        }
    }

    async fn serve(
        &mut self,
        requests: &mut Requests,
        changes: &mut watch::Receiver<State>,
        sink: &Sink,
    ) -> Result<(), Status> {
        let end = End::of(&self.inner.config, &self.terms);
        let mut ready = self.terms.ready.take();
        // Requests wait in the transport until there is a complete snapshot to answer them from.
        let complete = tokio::select! {
            complete = changes.wait_for(|state| state.revision > 0 || state.removed) => complete,
            () = Terms::closed(&mut ready) => return Err(closed()),
            () = sleep_until(end.at()) => return Err(end.status()),
        };
        if !complete.is_ok_and(|state| !state.removed) {
            return Err(gone());
        }
        loop {
            let wake = [self.wake, end.at()].into_iter().flatten().min();
            tokio::select! {
                () = Terms::closed(&mut ready) => return Err(closed()),
                request = requests.next() => match request? {
                    Some(request) => {
                        self.recognise(&request);
                        if !request.initial_resource_versions.is_empty() {
                            self.catch_up(&mut ready, end, sink).await?;
                        }
                        self.handle(&Input::Request(&request), sink).await?;
                    }
                    None => return Ok(()),
                },
                next = changes.changed() => {
                    if next.is_err() || changes.borrow_and_update().removed {
                        return Err(gone());
                    }
                    self.handle(&Input::Wake, sink).await?;
                }
                () = sleep_until(wake) => {
                    if end.at().is_some_and(|at| at <= Instant::now()) {
                        return Err(end.status());
                    }
                    self.handle(&Input::Wake, sink).await?;
                }
            }
        }
    }

    /// Lets a client that has something wait until nothing that is answered can be older than that.
    async fn catch_up(
        &mut self,
        ready: &mut Option<watch::Receiver<bool>>,
        end: End,
        sink: &Sink,
    ) -> Result<(), Status> {
        let Some(lag) = self.terms.lag.take() else { return Ok(()) };
        tokio::select! {
            over = lag.over() => over,
            () = Terms::closed(ready) => Err(closed()),
            () = sleep_until(end.at()) => Err(end.status()),
            () = sink.closed() => Err(went_away()),
        }
    }

    async fn handle(&mut self, input: &Input<'_>, sink: &Sink) -> Result<(), Status> {
        let (output, news) = self.fleet.handle(self.id, &mut self.stream, input, Instant::now());
        self.wake = output.wake;
        self.inner.tell(&self.fleet.id, news);
        for (kind, stage, after) in output.timings {
            self.inner.metrics.reached(kind, stage, after);
        }
        for (kind, accepted) in output.replies {
            self.inner.metrics.replied(kind, accepted);
        }
        self.count_gated(i64::try_from(self.stream.gated()).unwrap_or(i64::MAX));
        for response in output.responses {
            self.inner.metrics.sent(response.kind);
            sink.send(Ok(response)).await.map_err(|_| went_away())?;
        }
        Ok(())
    }

    fn recognise(&mut self, request: &DeltaDiscoveryRequest) {
        if let (None, Some(node)) = (&self.node, &request.node) {
            self.stream.doubt(self.fleet.take_doubts(&node.id));
            self.node = Some(node.id.clone());
        }
    }

    fn count_gated(&mut self, gated: i64) {
        self.inner.metrics.gated.add(gated - self.gated);
        self.gated = gated;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.count_gated(0);
        if let Some(node) = &self.node {
            self.fleet.keep_doubts(node, self.stream.doubts());
        }
        self.inner.metrics.streams.dec();
        self.inner.tell(&self.fleet.id, self.fleet.disconnect(self.id));
        self.inner.forget_unused(&self.fleet);
    }
}

/// When a stream ends by itself.
#[derive(Clone, Copy, Debug)]
enum End {
    Never,
    /// Clients connect again now and then, so that they spread over servers.
    Age(Instant),
    /// The client has to bring a new token.
    Token(Instant),
}

impl End {
    fn of(config: &Config, terms: &Terms) -> Self {
        let now = Instant::now();
        let age = config.max_stream_age.map(|age| now + age + jitter(age));
        let valid = terms.expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        // A token that is valid for longer than clocks can tell never ends.
        let token = valid.and_then(|valid| now.checked_add(valid.checked_add(config.token_grace)?));
        match (age, token) {
            (Some(age), Some(token)) if token < age => Self::Token(token),
            (Some(age), _) => Self::Age(age),
            (None, Some(token)) => Self::Token(token),
            (None, None) => Self::Never,
        }
    }

    fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::Age(at) | Self::Token(at) => Some(at),
        }
    }

    fn status(self) -> Status {
        match self {
            Self::Token(_) => Status::unauthenticated("the token has expired; connect again with a new one"),
            Self::Never | Self::Age(_) => {
                Status::unavailable("the stream reached its maximum age; connect again")
            }
        }
    }
}

fn went_away() -> Status {
    Status::cancelled("the client went away")
}

fn gone() -> Status {
    Status::unavailable("the fleet was removed")
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Up to a tenth of the age, different for each stream.
fn jitter(age: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(()) % 1000).unwrap_or(0);
    age / 10 * random / 1000
}
