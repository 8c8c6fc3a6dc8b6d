//! Weights and mirrors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gatehouse_model::Hostname;
use gatehouse_model::backend::Protocol;
use gatehouse_model::http::{Filters, HttpRoute, WeightedBackend};
use http_body_util::Empty;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::client::{Ask, Client, get};
use crate::rules::{
    backend, backend_with, full, invalid_backend, mirror, mods, prefix, redirect_to, request_mods, rewrite,
    split, with,
};
use crate::world::{Setup, World, cluster, endpoints};

/// Enough to tell shares apart.
const REQUESTS: u32 = 2000;
/// Enough where there is nothing to share.
const FEW: u32 = 200;

/// Sends requests and counts the outcomes: the backend with the path that it saw, or the status.
async fn count(world: &World, path: &str, requests: u32) -> BTreeMap<String, u32> {
    let mut client = Client::connect(world.port).await.unwrap();
    let mut outcomes = BTreeMap::new();
    for _ in 0..requests {
        let request = Ask { method: "GET", host: "share.test", path, headers: &[] };
        let reply = client.send(request).await.unwrap();
        let outcome = match reply.status {
            200 => format!("{} {}", reply.seen().identity.pod, reply.seen().path),
            status => status.to_string(),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

/// Within four standard deviations of a binomial distribution.
fn assert_share(found: u32, share: f64, what: &str) {
    let n = f64::from(REQUESTS);
    let slack = 4.0 * (n * share * (1.0 - share)).sqrt();
    let off = (f64::from(found) - n * share).abs();
    assert!(off <= slack, "{what}: {found} of {REQUESTS} is not {share}");
}

fn weighted(path: &str, backends: Vec<WeightedBackend>) -> HttpRoute {
    split(path, backends)
}

fn path_to(path: &str) -> Filters {
    rewrite(None, Some(full(path)))
}

#[tokio::test]
async fn weights_split_requests_whatever_backends_differ_in() {
    let headers = request_mods(mods(&[("x", "1")], &[], &[]));
    let moved = Filters { redirect: Some(redirect_to(None)), ..Filters::default() };
    let routes = vec![
        weighted("/plain", vec![backend("a", 1), backend("b", 9), backend("c", 0)]),
        weighted("/headers", vec![backend_with("a", 3, headers), backend("b", 1)]),
        weighted("/invalid", vec![backend("a", 1), invalid_backend(1)]),
        weighted(
            "/mixed",
            vec![
                backend_with("a", 20, path_to("/to-a")),
                invalid_backend(10),
                backend_with("b", 30, rewrite(None, Some(prefix("/to-b")))),
                backend_with("c", 15, moved),
                backend("c", 25),
            ],
        ),
        weighted("/rare", vec![backend_with("a", 1, path_to("/rare-a")), backend("b", 999_999)]),
        weighted("/nothing", vec![backend("a", 0)]),
        weighted("/empty", Vec::new()),
    ];
    let hosts = vec![(Hostname::parse("share.test"), routes)];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;

    for (path, shares) in [
        ("/plain", vec![("a /plain", 0.1), ("b /plain", 0.9)]),
        ("/headers", vec![("a /headers", 0.75), ("b /headers", 0.25)]),
        ("/invalid", vec![("500", 0.5), ("a /invalid", 0.5)]),
        ("/mixed", vec![("302", 0.15), ("500", 0.1), ("a /to-a", 0.2), ("b /to-b", 0.3), ("c /mixed", 0.25)]),
    ] {
        let outcomes = count(&world, path, REQUESTS).await;
        assert_eq!(outcomes.len(), shares.len(), "{path}: {outcomes:?}");
        for (outcome, share) in shares {
            assert_share(
                outcomes.get(outcome).copied().unwrap_or_default(),
                share,
                &format!("{path} {outcome}"),
            );
        }
    }
    for path in ["/nothing", "/empty"] {
        let reply = get(world.port, "share.test", path).await.unwrap();
        assert_eq!(reply.status, 500, "{path}: no backend has a share");
    }
    assert!(count(&world, "/rare", FEW).await["b /rare"] >= FEW - 1, "a millionth is rare");
    assert_eq!(world.log(), "");
}

/// A backend that only notes the host and path of what it gets.
async fn recorder() -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                notes.lock().unwrap().push(format!("{host}{}", request.uri()));
                async { Ok::<_, std::convert::Infallible>(hyper::Response::new(Empty::<Bytes>::new())) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

#[tokio::test]
async fn mirrors_get_their_share_with_the_host_as_it_was_sent() {
    let (address, seen) = recorder().await;
    let mirrored = |path: &str, mirrors| with(path, Filters { mirrors, ..Filters::default() }, "a");
    let routes = vec![
        mirrored("/all", vec![mirror("mirror", None), mirror("mirror", Some((1, 1)))]),
        mirrored("/fifth", vec![mirror("mirror", Some((1, 5)))]),
        mirrored("/third", vec![mirror("mirror", Some((1, 3)))]),
        mirrored("/none", vec![mirror("mirror", Some((0, 100)))]),
    ];
    let setup = Setup {
        hosts: vec![(Hostname::parse("share.test"), routes)],
        clusters: vec![(cluster("mirror", Protocol::Http1), endpoints("mirror", [address]))],
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for (path, share) in [("/all", None), ("/fifth", Some(0.2)), ("/third", Some(1.0 / 3.0)), ("/none", None)]
    {
        seen.lock().unwrap().clear();
        let requests = if share.is_some() { REQUESTS } else { FEW };
        assert_eq!(count(&world, path, requests).await.len(), 1, "every request reaches the backend");
        settled(&seen).await;
        let notes = seen.lock().unwrap();
        assert!(notes.iter().all(|note| *note == format!("share.test{path}")), "{:?}", notes.first());
        let found = u32::try_from(notes.len()).unwrap();
        match share {
            Some(share) => assert_share(found, share, path),
            None if path == "/all" => assert_eq!(found, 2 * FEW, "both mirrors get every request"),
            None => assert_eq!(found, 0),
        }
    }
    assert_eq!(world.log(), "");
}

/// Mirrors are sent and forgotten: waits until no more arrive.
async fn settled(seen: &Mutex<Vec<String>>) {
    let mut before = usize::MAX;
    loop {
        let now = seen.lock().unwrap().len();
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
