//! WebSockets over HTTP/1.1: every text and binary message comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Closed, State};

/// Answers a WebSocket handshake and starts the socket; `None` for any other request.
pub(super) fn upgrade(
    request: &mut Request<Incoming>,
    state: &Arc<State>,
    closed: Closed,
) -> Option<Response<Full<Bytes>>> {
    let headers = request.headers();
    if !lists(headers, header::CONNECTION, "upgrade") || !lists(headers, header::UPGRADE, "websocket") {
        return None;
    }
    let accept = derive_accept_key(headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes());
    tokio::spawn(run(hyper::upgrade::on(request), Arc::clone(state), closed));
    Some(switching_protocols(&accept))
}

/// Whether the comma-separated header `name` holds `token`, in any case.
fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn switching_protocols(accept: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept).expect("base64 is a valid header value");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn run(upgrading: OnUpgrade, state: Arc<State>, mut closed: Closed) {
    let Ok(upgraded) = upgrading.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    state.websockets.fetch_add(1, Ordering::Relaxed);
    tokio::select! {
        () = echo(socket) => {}
        () = closed.wait() => {}
    }
    state.websockets.fetch_sub(1, Ordering::Relaxed);
}

/// Sends messages back until either side closes; pings and the closing handshake are the library's work.
async fn echo(mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) {
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}
