//! One request to its response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::capture::Capture;
use super::control::Control;
use super::{Closed, State, websocket};

pub(super) async fn respond(
    mut request: Request<Incoming>,
    state: Arc<State>,
    closed: Closed,
) -> Result<Response<Full<Bytes>>, Infallible> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(response) = websocket::upgrade(&mut request, &state, closed) {
        return Ok(response);
    }
    let (parts, body) = request.into_parts();
    drain(body).await;
    let control = match Control::new(&parts) {
        Ok(control) => control,
        Err(error) => return Ok(plain(StatusCode::BAD_REQUEST, error.to_string())),
    };
    tokio::time::sleep(control.delay).await;
    let mut response = match control.bytes {
        Some(bytes) => body_of(bytes),
        None => json(&Capture::new(&parts, &state.identity)),
    };
    *response.status_mut() = status(&control, &state);
    for (name, value) in control.headers {
        response.headers_mut().append(name, value);
    }
    Ok(strip_forbidden_body(response))
}

/// Reads the request to its end, as an application would; a peer that breaks off is gone anyway.
async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn status(control: &Control, state: &State) -> StatusCode {
    let failing = control.flaky.as_ref().filter(|flaky| state.must_fail(&flaky.uuid, flaky.succeed_after));
    failing.map(|flaky| flaky.status).or(control.status).unwrap_or(StatusCode::OK)
}

fn json(capture: &Capture) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec_pretty(capture).expect("strings and maps of strings always encode");
    typed("application/json", body.into())
}

fn body_of(bytes: usize) -> Response<Full<Bytes>> {
    typed("application/octet-stream", vec![b'x'; bytes].into())
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", text.into());
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// HTTP knows no body behind 204 and 304.
fn strip_forbidden_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        *response.body_mut() = Full::default();
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response
}
