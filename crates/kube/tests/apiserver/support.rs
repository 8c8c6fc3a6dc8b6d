//! The server that most tests share, and short ways to write objects.

use std::time::Duration;

use gatehouse_kube::Api;
use gatehouse_testkit::apiserver::{ApiServer, Channel, gateway_api_crds};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Long enough for a busy machine; nothing waits for it when all is well.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

static SHARED: OnceCell<ApiServer> = OnceCell::const_new();

/// An administrator's way to a server.
#[derive(Clone)]
pub(super) struct Admin {
    client: kube::Client,
}

/// The server with the standard CRDs that tests share; each works in namespaces of its own.
pub(super) async fn shared() -> &'static ApiServer {
    SHARED
        .get_or_init(|| async {
            let server = ApiServer::start().await.expect("an API server");
            Admin::of(&server).install_crds().await;
            server
        })
        .await
}

pub(super) fn api(server: &ApiServer, user: &str) -> Api {
    Api::new(server.client(user).expect("a client"), "ClusterRole \"gatehouse\"")
}

impl Admin {
    pub(super) fn of(server: &ApiServer) -> Self {
        Self { client: server.client("admin").expect("a client") }
    }

    /// Makes a request; an answer that is an error is one of the test's.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        self.try_call(method.clone(), path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(super) async fn try_call(&self, method: Method, path: &str, body: &Value) -> kube::Result<Value> {
        let content =
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", content);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.request(request.body(body).expect("a request")).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub(super) async fn create(&self, collection: &str, object: &Value) -> Value {
        self.call(Method::POST, collection, object).await
    }

    pub(super) async fn patch(&self, path: &str, change: &Value) -> Value {
        self.call(Method::PATCH, path, change).await
    }

    pub(super) async fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, &Value::Null).await;
    }

    pub(super) async fn namespace(&self, name: &str, labels: &Value) {
        let metadata = json!({ "name": name, "labels": labels });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        self.create("/api/v1/namespaces", &namespace).await;
    }

    pub(super) async fn install_crds(&self) {
        for crd in gateway_api_crds(Channel::Standard).expect("CRDs") {
            self.create_crd(&crd).await;
        }
    }

    /// Returns when its objects are served.
    pub(super) async fn create_crd(&self, crd: &Value) {
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = crd["spec"]["versions"].as_array().and_then(|versions| {
            versions.iter().find(|version| version["served"] == true).map(|version| text(&version["name"]))
        });
        let path = format!(
            "/apis/{}/{}/{}",
            text(&crd["spec"]["group"]),
            version.expect("a version"),
            text(&crd["spec"]["names"]["plural"])
        );
        tokio::time::timeout(PATIENCE, async {
            while self.try_call(Method::GET, &path, &Value::Null).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{path} is not served"));
    }

    /// Lets the user `limited` do this in a namespace, or everywhere if that is empty.
    pub(super) async fn grant(&self, namespace: &str, name: &str, rules: &Value) {
        let group = "rbac.authorization.k8s.io";
        let (kind, folder) = if namespace.is_empty() {
            ("ClusterRole", format!("/apis/{group}/v1"))
        } else {
            ("Role", format!("/apis/{group}/v1/namespaces/{namespace}"))
        };
        let plural = format!("{}s", kind.to_lowercase());
        let version = format!("{group}/v1");
        let metadata = json!({ "name": name });
        let role = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules });
        self.create(&format!("{folder}/{plural}"), &role).await;
        let binding = json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": { "apiGroup": group, "kind": kind, "name": name },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": "limited" }],
        });
        let plural = plural.trim_end_matches('s');
        self.create(&format!("{folder}/{plural}bindings"), &binding).await;
    }
}

/// Waits until something asked again and again holds.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"))
}
