use prometheus::IntCounter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn admin() -> Admin {
    Admin {
        readiness: Readiness::default(),
        metrics: Registry::new(),
        status: Arc::new(|| None),
        dump: Arc::new(|name| match name {
            "panic" => panic!("as a broken dump would"),
            "xds/listeners" => Some("[1]".to_owned()),
            _ => None,
        }),
    }
}

async fn start(admin: &Admin) -> AdminServer {
    AdminServer::start("127.0.0.1:0".parse().unwrap(), admin.clone()).await.unwrap()
}

/// The whole answer as text.
async fn ask(server: &AdminServer, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn get(server: &AdminServer, path: &str) -> (u16, String) {
    let answer = ask(server, path, "localhost").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn health_is_not_readiness_and_readiness_says_what_is_missing() {
    let admin = admin();
    let server = start(&admin).await;
    admin.readiness.wait_for("xds");
    admin.readiness.wait_for("files");
    assert_eq!(get(&server, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&server, "/readyz").await, (503, "not ready, waiting for: files, xds\n".to_owned()));
    admin.readiness.done("files");
    admin.readiness.done("xds");
    assert_eq!(get(&server, "/readyz").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn metrics_are_read_when_asked_for() {
    let admin = admin();
    let counter = IntCounter::new("gatehouse_test_total", "A test.").unwrap();
    admin.metrics.register(Box::new(counter.clone())).unwrap();
    let server = start(&admin).await;
    assert!(get(&server, "/metrics").await.1.contains("gatehouse_test_total 0\n"));
    counter.inc();
    let answer = ask(&server, "/metrics", "localhost").await;
    assert!(answer.contains("gatehouse_test_total 1\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
}

#[tokio::test]
async fn status_is_the_document_of_the_moment() {
    let document = Arc::new(std::sync::Mutex::new(None::<String>));
    let shown = document.clone();
    let server = start(&Admin { status: Arc::new(move || shown.lock().unwrap().clone()), ..admin() }).await;
    assert_eq!(get(&server, "/status").await.0, 503);
    *document.lock().unwrap() = Some("{\"a\":1}".to_owned());
    assert_eq!(get(&server, "/status").await, (200, "{\"a\":1}".to_owned()));
    *document.lock().unwrap() = Some("{\"a\":2}".to_owned());
    let answer = ask(&server, "/status", "localhost").await;
    assert!(answer.ends_with("{\"a\":2}") && answer.contains("content-type: application/json"), "{answer}");
}

#[tokio::test]
async fn dumps_are_named_by_path_and_a_broken_one_breaks_nothing_else() {
    let server = start(&admin()).await;
    assert_eq!(get(&server, "/debug/xds/listeners").await, (200, "[1]".to_owned()));
    assert_eq!(get(&server, "/debug/none").await, (404, "no dump named \"none\"\n".to_owned()));
    assert_eq!(get(&server, "/debug/panic").await.0, 500);
    assert_eq!(get(&server, "/healthz").await.0, 200);
    assert_eq!(get(&server, "/nowhere").await.0, 404);
}

#[tokio::test]
async fn foreign_names_are_refused_on_loopback() {
    let server = start(&admin()).await;
    for host in ["localhost", "LOCALHOST:19000", "127.0.0.1:1", "[::1]:19000", "10.0.0.1"] {
        assert!(ask(&server, "/healthz", host).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:19000", "127.0.0.1.evil.example"] {
        assert!(ask(&server, "/healthz", host).await.starts_with("HTTP/1.1 403 "), "{host}");
    }
}

#[tokio::test]
async fn taken_address_is_an_error_that_names_it() {
    let server = start(&admin()).await;
    let error = AdminServer::start(server.address(), admin()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("listen on admin address {}: ", server.address())), "{error}");
}

#[tokio::test]
async fn stop_lets_an_answer_finish_and_frees_the_port() {
    let (entered, waits) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let dump: Dump = Arc::new(move |_| {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Some("\"late\"".to_owned())
    });
    let server = start(&Admin { dump, ..admin() }).await;
    let address = server.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /debug/slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::task::spawn_blocking(move || waits.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    let stop = tokio::spawn(server.stop());
    // The listener is closed while the answer is still under way.
    let end = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(std::time::Instant::now() < end, "still listening");
    }
    release.send(()).unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("\"late\""), "{answer}");
    timeout(PATIENCE, stop).await.unwrap().unwrap();
}

#[tokio::test]
async fn stop_does_not_wait_for_idle_connections() {
    let server = start(&admin()).await;
    let _idle = TcpStream::connect(server.address()).await.unwrap();
    get(&server, "/healthz").await;
    timeout(PATIENCE, server.stop()).await.unwrap();
}

#[test]
fn default_address_is_loopback() {
    assert!(DEFAULT_ADDRESS.ip().is_loopback());
}
