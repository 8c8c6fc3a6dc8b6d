//! What the pod shows to others: readiness, liveness, whether it is drained, metrics. Envoy's admin interface is not among it, and
//! only the pod itself may begin a drain.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use gatehouse_envoy_admin::AdminClient;
use http_body_util::BodyStream;
use prometheus::{Encoder, TextEncoder};

use crate::health::Health;
use crate::metrics::Metrics;

/// What the paths need.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) health: Health,
    pub(crate) admin: AdminClient,
    pub(crate) metrics: Metrics,
}

pub(crate) fn service(pages: Pages) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/drain", post(drain))
        .route("/drained", get(drained))
        .route("/metrics", get(metrics))
        .with_state(pages);
    router.into_make_service_with_connect_info()
}

async fn ready(State(pages): State<Pages>) -> Response {
    let waits = pages.health.waits().await;
    pages.metrics.ready.set(waits.is_none().into());
    match waits {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

/// Begins a drain: the agent container's `preStop` hook, from inside the pod.
async fn drain(State(pages): State<Pages>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only the pod itself may drain it\n").into_response();
    }
    pages.health.begin_drain();
    "draining\n".into_response()
}

/// Answered when a drain is done: as the `preStop` hook of Envoy's container it holds back its end.
async fn drained(State(pages): State<Pages>) -> Response {
    if pages.health.drained().await {
        return "drained\n".into_response();
    }
    (StatusCode::CONFLICT, "nothing drains\n").into_response()
}

/// Our own, then Envoy's as they come: there may be many.
async fn metrics(State(pages): State<Pages>) -> Response {
    let encoder = TextEncoder::new();
    let mut own = Vec::new();
    if let Err(error) = encoder.encode(&pages.metrics.registry.gather(), &mut own) {
        tracing::error!("encode metrics: {error}");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
    let own = stream::once(async move { Ok::<_, axum::Error>(Bytes::from(own)) });
    match pages.admin.stream("/stats/prometheus").await {
        Ok(body) => {
            let envoys = BodyStream::new(body).filter_map(async |frame| match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(axum::Error::new(error))),
            });
            (kind, Body::from_stream(own.chain(Box::pin(envoys)))).into_response()
        }
        Err(error) => {
            tracing::debug!("{error}");
            (kind, Body::from_stream(own)).into_response()
        }
    }
}
