//! CORS: what the conformance test of Gateway API asks, and the text of `HTTPCORSFilter`.

use std::sync::Arc;

use gatehouse_model::Hostname;
use gatehouse_model::http::{Cors, Filters, HttpRoute};

use crate::client::{Ask, Reply, ask};
use crate::rules::with;
use crate::world::{Setup, World};

fn list(items: &[&str]) -> Vec<Arc<str>> {
    items.iter().map(|item| (*item).into()).collect()
}

fn cors(path: &str, cors: Cors) -> HttpRoute {
    with(path, Filters { cors: Some(cors), ..Filters::default() }, "a")
}

fn all(allow_credentials: bool) -> Cors {
    Cors {
        allow_origins: list(&["*"]),
        allow_methods: list(&["*"]),
        allow_headers: list(&["*"]),
        expose_headers: list(&["*"]),
        allow_credentials,
        max_age: 5,
    }
}

fn routes() -> Vec<HttpRoute> {
    let listed = Cors {
        allow_origins: list(&["https://www.foo.com", "https://*.bar.com", "http://plain.com:80"]),
        allow_methods: list(&["GET", "OPTIONS"]),
        allow_headers: list(&["x-header-1", "x-header-2"]),
        expose_headers: list(&["x-header-3", "x-header-4"]),
        allow_credentials: true,
        max_age: 3600,
    };
    let bare = Cors { allow_origins: list(&["https://www.foo.com"]), max_age: 5, ..Cors::default() };
    vec![
        cors("/listed", listed),
        cors("/bare", bare),
        cors("/all", all(false)),
        cors("/credentials", all(true)),
        crate::rules::to("/none", "a"),
    ]
}

struct Browser(World);

impl Browser {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(self.0.port, Ask { method, host: "cors.test", path, headers }).await.unwrap()
    }

    async fn preflight(&self, path: &str, origin: &str, method: &str, headers: &str) -> Reply {
        let mut sent = vec![("origin", origin), ("access-control-request-method", method)];
        if !headers.is_empty() {
            sent.push(("access-control-request-headers", headers));
        }
        let reply = self.send("OPTIONS", path, &sent).await;
        assert_eq!(reply.status, 200, "{path} {origin}");
        assert!(reply.body.is_empty(), "a preflight is answered by the proxy");
        reply
    }
}

fn allow(reply: &Reply) -> [String; 4] {
    ["origin", "methods", "headers", "credentials"]
        .map(|part| reply.header(&format!("access-control-allow-{part}")))
}

#[tokio::test]
async fn preflights_and_requests_get_the_headers_that_the_api_asks_for() {
    let hosts = vec![(Hostname::parse("cors.test"), routes())];
    let browser = Browser(World::start(Setup { hosts, ..Setup::default() }).await);
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let reply = browser.preflight("/listed", origin, "GET", "x-header-1, x-header-2").await;
        assert_eq!(allow(&reply), [origin, "GET,OPTIONS", "x-header-1,x-header-2", "true"]);
        assert_eq!(reply.header("access-control-max-age"), "3600");
        assert_eq!(reply.header("access-control-expose-headers"), "x-header-3,x-header-4");
        let reply = browser.send("GET", "/listed", &[("origin", origin)]).await;
        assert_eq!((reply.status, allow(&reply)[0].as_str()), (200, origin));
    }
    let plain = browser.preflight("/listed", "http://plain.com", "GET", "").await;
    assert_eq!(allow(&plain)[0], "http://plain.com", "the default port of the scheme is not sent");
    assert_eq!(allow(&plain)[2], "", "who asks for no headers is told of none");
    for origin in ["https://foobar.com", "https://bar.com", "http://www.foo.com", "https://x.bar.com:8443"] {
        let reply = browser.preflight("/listed", origin, "GET", "").await;
        assert_eq!(allow(&reply)[0], "", "{origin}");
        let reply = browser.send("GET", "/listed", &[("origin", origin)]).await;
        assert_eq!((reply.status, allow(&reply)[0].as_str()), (200, ""), "{origin}");
    }

    let reply = browser.preflight("/bare", "https://www.foo.com", "POST", "").await;
    assert_eq!(allow(&reply), ["https://www.foo.com", "", "", ""]);
    assert_eq!(reply.header("access-control-max-age"), "5");

    for origin in ["https://foobar.com", "https://foobar.com:12345"] {
        let reply = browser.preflight("/all", origin, "PUT", "x-1, x-2").await;
        assert_eq!(allow(&reply), [origin, "PUT", "x-1,x-2", ""]);
        let reply = browser.preflight("/credentials", origin, "PUT", "x-1, x-2").await;
        assert_eq!(allow(&reply), [origin, "PUT", "x-1,x-2", "true"]);
    }
    let reply = browser.preflight("/credentials", "https://a.com", "PUT", "").await;
    assert_eq!(allow(&reply), ["https://a.com", "PUT", "", "true"], "nothing asked, nothing allowed");
    let reply = browser.send("GET", "/credentials", &[("origin", "https://a.com")]).await;
    assert_eq!(reply.header("access-control-expose-headers"), "", "no wildcard beside credentials");
    let reply = browser.send("GET", "/all", &[("origin", "https://a.com")]).await;
    assert_eq!(reply.header("access-control-expose-headers"), "*");

    let reply = browser.send("GET", "/none", &[("origin", "https://www.foo.com")]).await;
    assert_eq!(allow(&reply), [""; 4], "the filter is off where no route switches it on");
    let reply = browser.send("OPTIONS", "/listed", &[]).await;
    assert_eq!(reply.seen().method, "OPTIONS", "without an origin it is no preflight");
    assert_eq!(browser.0.log(), "");
}
