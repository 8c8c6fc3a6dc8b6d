//! The task that owns the relay and the store, and carries messages between Envoy and the controller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::relay::{Input, Order, Output, Progress, Relay, Timing};
use crate::store::Store;
use crate::upstream::Upstream;
use crate::wire::{Request, Response};

/// A stream that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// What comes in; numbers say of which stream, so that what is late is known as such.
#[derive(Debug)]
pub(crate) enum Event {
    /// Envoy opened a stream; responses go into the channel.
    Opened(u64, mpsc::UnboundedSender<Response>),
    Asked(u64, Request),
    Closed(u64),
    /// An attempt to reach a controller succeeded; requests go into the channel.
    Connected(u64, mpsc::UnboundedSender<Request>),
    Answered(u64, Response),
    Lost(u64, String),
    /// Envoy has everything that it asked for: what else is stored is of no use.
    Settled,
}

/// Envoy's present stream.
#[derive(Debug, Default)]
struct Envoy {
    number: u64,
    sink: Option<mpsc::UnboundedSender<Response>>,
}

/// The present attempt to have a stream to a controller.
#[derive(Debug, Default)]
struct Attempt {
    number: u64,
    task: Option<JoinHandle<()>>,
    sink: Option<mpsc::UnboundedSender<Request>>,
    since: Option<Instant>,
    backoff: Backoff,
    /// Why there is no stream, as it was logged last.
    told: Option<String>,
}

/// The owner of relay and store.
pub(crate) struct Shuttle {
    relay: Relay,
    store: Store,
    upstream: Arc<Upstream>,
    envoy: Envoy,
    attempt: Attempt,
    events: mpsc::Sender<Event>,
    progress: watch::Sender<Progress>,
    metrics: Metrics,
    wake: Option<Instant>,
}

impl Shuttle {
    pub(crate) fn new(
        store: Store,
        upstream: Upstream,
        events: mpsc::Sender<Event>,
        progress: watch::Sender<Progress>,
        metrics: Metrics,
    ) -> Self {
        Self {
            relay: Relay::new(Timing::default(), Instant::now()),
            store,
            upstream: Arc::new(upstream),
            envoy: Envoy::default(),
            attempt: Attempt::default(),
            events,
            progress,
            metrics,
            wake: None,
        }
    }

    /// Carries messages until the agent ends.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        loop {
            let event = tokio::select! {
                event = inbox.recv() => event,
                () = sleep_until(self.wake) => {
                    self.handle(Input::Woken);
                    continue;
                }
            };
            let Some(event) = event else { return };
            self.take(event);
            self.metrics.stored(self.store.len(), self.store.bytes(), self.store.failures);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened(number, sink) => {
                tracing::info!("envoy connects");
                self.envoy = Envoy { number, sink: Some(sink) };
                self.handle(Input::Opened);
            }
            Event::Asked(number, request) if number == self.envoy.number => {
                self.handle(Input::Asked(request));
            }
            Event::Closed(number) if number == self.envoy.number => {
                tracing::info!("envoy is gone");
                self.envoy.sink = None;
                self.handle(Input::Closed);
            }
            Event::Connected(number, sink) if number == self.attempt.number => self.connected(sink),
            Event::Answered(number, response) if number == self.attempt.number => {
                self.metrics.responses.with_label_values(&["controller"]).inc();
                self.handle(Input::Answered(response));
            }
            Event::Lost(number, why) if number == self.attempt.number => self.lost(why),
            Event::Settled => self.relay.prune(&mut self.store),
            // Of a stream that is no more.
            Event::Asked(..)
            | Event::Closed(_)
            | Event::Connected(..)
            | Event::Answered(..)
            | Event::Lost(..) => {}
        }
    }

    fn connected(&mut self, sink: mpsc::UnboundedSender<Request>) {
        tracing::info!("a controller answers");
        self.attempt.told = None;
        self.attempt.sink = Some(sink);
        self.attempt.since = Some(Instant::now());
        self.metrics.connected.set(1);
        self.handle(Input::Connected);
    }

    fn lost(&mut self, why: String) {
        if self.attempt.since.take().is_some_and(|since| since.elapsed() >= GOOD) {
            self.attempt.backoff.reset();
        }
        self.metrics.attempts_failed.inc();
        if self.attempt.told.as_ref() != Some(&why) {
            tracing::warn!("{why}; envoy goes on with what it has");
            self.attempt.told = Some(why);
        }
        let delay = self.attempt.backoff.next();
        self.start_attempt(delay);
        self.handle(Input::Lost);
    }

    fn handle(&mut self, input: Input) {
        let Output { order, to_envoy, from_shelf, to_controller, refused, wake } =
            self.relay.handle(input, &mut self.store, Instant::now());
        match order {
            Some(Order::Connect) => {
                self.attempt.backoff.reset();
                self.start_attempt(Duration::ZERO);
            }
            Some(Order::Drop) => self.end_attempt(),
            None => {}
        }
        self.metrics.responses.with_label_values(&["store"]).inc_by(from_shelf as u64);
        for (kind, why) in refused {
            self.metrics.refused.inc();
            tracing::warn!(kind, "envoy refuses a response: {why}");
        }
        // A stream that is gone is said to be so by another event.
        if let Some(sink) = &self.envoy.sink {
            for response in to_envoy {
                let _ = sink.send(response);
            }
        }
        if let Some(sink) = &self.attempt.sink {
            for request in to_controller {
                let _ = sink.send(request);
            }
        }
        self.wake = wake;
        let progress = self.relay.progress();
        self.progress.send_if_modified(|told| {
            let changed = *told != progress;
            *told = progress;
            changed
        });
    }

    fn end_attempt(&mut self) {
        self.attempt.number += 1;
        self.attempt.sink = None;
        self.attempt.since = None;
        self.metrics.connected.set(0);
        if let Some(task) = self.attempt.task.take() {
            task.abort();
        }
    }

    fn start_attempt(&mut self, delay: Duration) {
        self.end_attempt();
        let (number, upstream, events) = (self.attempt.number, self.upstream.clone(), self.events.clone());
        self.attempt.task = Some(tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let why = attempt(number, &upstream, &events).await;
            // Nobody listens when the agent ends.
            let _ = events.send(Event::Lost(number, why)).await;
        }));
    }
}

impl Drop for Shuttle {
    fn drop(&mut self) {
        self.end_attempt();
    }
}

/// One stream to a controller; why it ended, or could not be.
async fn attempt(number: u64, upstream: &Upstream, events: &mpsc::Sender<Event>) -> String {
    let (sink, requests) = mpsc::unbounded_channel();
    let mut responses = match upstream.open(requests).await {
        Ok(responses) => responses,
        Err(error) => return error.to_string(),
    };
    if events.send(Event::Connected(number, sink)).await.is_err() {
        return String::new();
    }
    loop {
        let event = match responses.message().await {
            Ok(Some(response)) => Event::Answered(number, response),
            Ok(None) => return "the controller ended the stream".to_owned(),
            Err(status) => return format!("the controller ended the stream: {}", status.message()),
        };
        if events.send(event).await.is_err() {
            return String::new();
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
