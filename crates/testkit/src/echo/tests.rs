use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::control::go_duration;
use super::{Capture, Echo, Identity, serve};

async fn start() -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = Identity {
        namespace: "default".into(),
        ingress: "quickstart".into(),
        service: "backend".into(),
        pod: "backend-0".into(),
    };
    serve(listener, identity).unwrap()
}

fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", "www.example.com")
}

async fn send(echo: &Echo, request: http::request::Builder, body: &'static str) -> Response<Bytes> {
    let stream = TokioIo::new(TcpStream::connect(echo.addr()).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn get(echo: &Echo, path: &str) -> Response<Bytes> {
    send(echo, request(path), "").await
}

fn capture(response: &Response<Bytes>) -> Capture {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn capture_tells_what_arrived_and_who_answered() {
    let echo = start().await;
    let sent =
        request("/get%2F?a=1&b=%20").method("POST").header("x-some-name", "1").header("x-some-name", "2");
    let response = send(&echo, sent, "body").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let capture = capture(&response);
    assert_eq!(capture.path, "/get%2F?a=1&b=%20");
    assert_eq!(capture.host, "www.example.com");
    assert_eq!(capture.method, "POST");
    assert_eq!(capture.proto, "HTTP/1.1");
    assert_eq!(capture.headers["X-Some-Name"], ["1", "2"]);
    assert!(!capture.headers.contains_key("Host"));
    assert_eq!(capture.identity.pod, "backend-0");
    assert_eq!(echo.requests(), 1);
}

#[tokio::test]
async fn capture_is_flat_json_with_the_fields_of_echo_basic() {
    let echo = start().await;
    let json: serde_json::Value = serde_json::from_slice(get(&echo, "/").await.body()).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["path", "host", "method", "proto", "headers", "namespace", "ingress", "service", "pod"].to_vec();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_served() {
    let echo = start().await;
    let stream = TokioIo::new(TcpStream::connect(echo.addr()).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://www.example.com/get").body(Full::<Bytes>::default()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let capture: Capture = serde_json::from_slice(&body).unwrap();
    assert_eq!((capture.proto.as_str(), capture.host.as_str()), ("HTTP/2.0", "www.example.com"));
}

#[tokio::test]
async fn status_comes_from_path_or_query() {
    let echo = start().await;
    assert_eq!(get(&echo, "/status/503").await.status(), 503);
    assert_eq!(get(&echo, "/get?status=418").await.status(), 418);
    assert_eq!(get(&echo, "/status/other").await.status(), 200);
    assert!(get(&echo, "/status/204").await.body().is_empty());
}

#[tokio::test]
async fn delay_holds_the_answer_back() {
    let echo = start().await;
    let start = Instant::now();
    assert_eq!(get(&echo, "/?delay=150ms").await.status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn response_headers_are_set_on_demand() {
    let echo = start().await;
    let sent = request("/?echo-header=X-One:a%20b&echo-header=X-One:c")
        .header("x-echo-set-header", "X-Two: 2, X-Three:3");
    let response = send(&echo, sent, "").await;
    let one: Vec<_> = response.headers().get_all("x-one").iter().collect();
    assert_eq!(one, ["a b", "c"]);
    assert_eq!(response.headers()["x-two"], "2");
    assert_eq!(response.headers()["x-three"], "3");
}

#[tokio::test]
async fn bytes_replace_the_capture() {
    let echo = start().await;
    assert_eq!(get(&echo, "/?bytes=100000").await.body().len(), 100_000);
}

#[tokio::test]
async fn flaky_request_fails_as_often_as_asked_and_each_uuid_alone() {
    let echo = start().await;
    let statuses = async |uuid: &str| {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let path = format!("/?uuid={uuid}&responseCode=502&succeedAfter=2");
            statuses.push(get(&echo, &path).await.status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses("a").await, [502, 502, 200]);
    assert_eq!(statuses("b").await, [502, 502, 200]);
}

#[tokio::test]
async fn nonsense_is_refused_with_the_reason() {
    let echo = start().await;
    for path in
        ["/?delay=soon", "/?delay=99h", "/?status=99", "/?status=101", "/?bytes=-1", "/?echo-header=x"]
    {
        let response = get(&echo, path).await;
        assert_eq!(response.status(), 400, "{path}");
        let (name, _) = path[2..].split_once('=').unwrap();
        let text = String::from_utf8_lossy(response.body());
        assert!(text.starts_with(name), "{path}: {text}");
    }
}

#[tokio::test]
async fn websocket_messages_come_back() {
    let echo = start().await;
    let mut socket = open_websocket(&echo).await;
    for message in [Message::text("hello"), Message::binary(vec![0, 1, 2])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    assert_eq!(echo.websockets(), 1);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn dropping_the_handle_closes_connections_and_websockets() {
    let echo = start().await;
    let addr = echo.addr();
    let mut socket = open_websocket(&echo).await;
    socket.send(Message::text("still there")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    drop(echo);
    assert!(!matches!(socket.next().await, Some(Ok(_))), "the WebSocket outlived its backend");
    // The listener is closed by another task: the first refused connection shows that it is.
    let refused = async { while TcpStream::connect(addr).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
}

async fn open_websocket(echo: &Echo) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(echo.addr()).await.unwrap();
    let url = format!("ws://{}/ws", echo.addr());
    let (socket, response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    socket
}

#[test]
fn durations_follow_go() {
    let ms = Duration::from_millis;
    for (text, expected) in [("300ms", ms(300)), ("1.5s", ms(1500)), ("1m30s", ms(90_000)), ("0", ms(0))] {
        assert_eq!(go_duration(text), Some(expected), "{text}");
    }
    for text in ["", "5", "s", "1x", "-1s", "1..s", "1s2"] {
        assert_eq!(go_duration(text), None, "{text}");
    }
}
