//! The few requests that are made, with a time limit and errors in words.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::{Method, Request, header};
use kube::core::WatchEvent;
use serde::Deserialize;
use serde_json::{Value, json};

use super::live::{Id, Watched};
use crate::objects::Kind;

/// Owner of the fields that we set.
pub(super) const MANAGER: &str = "gatehouse";
/// Owner of a replica count between us and an autoscaler.
pub(super) const HANDOVER_MANAGER: &str = "gatehouse-handover";

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The API server ends a watch after this time.
const WATCH_SECONDS: u32 = 290;
const PAGE: u32 = 500;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(super) struct Failure {
    /// HTTP status, when there was an answer.
    pub(super) code: Option<u16>,
    words: String,
}

impl Failure {
    fn new(verb: &str, what: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                Self { code: Some(status.code), words: format!("{verb} {what}: {}", advised(&status)) }
            }
            other => Self { code: None, words: format!("{verb} {what}: {other}") },
        }
    }

    /// An error that came as an event of a watch.
    pub(super) fn status(status: &kube::core::Status) -> Self {
        Self { code: Some(status.code), words: status.message.clone() }
    }

    fn other(verb: &str, what: &str, why: impl std::fmt::Display) -> Self {
        Self { code: None, words: format!("{verb} {what}: {why}") }
    }

    /// Whether the same request may succeed soon.
    pub(super) fn is_transient(&self) -> bool {
        self.code.is_none_or(|code| code == 409 || code == 429 || code >= 500)
    }
}

/// The API server's words, and what to do where access rules or what cannot change are in the way. Quotas and admission forbid as well, and say
/// themselves what they mean.
fn advised(status: &kube::core::Status) -> String {
    let said = &status.message;
    if status.code == 403 && said.contains(" cannot ") && said.contains(" resource ") {
        return format!(
            "not permitted; add this verb and resource to the Roles and ClusterRoles of the controller ({said})"
        );
    }
    if status.code == 422 && said.contains("spec.clusterIP") && said.contains("may not change") {
        return format!("the Service must be made anew for another address; delete it to have that ({said})");
    }
    said.clone()
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Clone)]
pub(super) struct Client(kube::Client);

impl Client {
    pub(super) fn new(client: kube::Client) -> Self {
        Self(client)
    }

    /// All objects with these labels, and the version to watch from.
    pub(super) async fn list(
        &self,
        watched: Watched,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<(Vec<Value>, String), Failure> {
        let (mut items, mut next) = (Vec::new(), String::new());
        let what = watched.plural();
        loop {
            let limit = PAGE.to_string();
            let query = [("labelSelector", selector), ("limit", &limit), ("continue", &next)];
            let text = self
                .send("list", what, request(Method::GET, &path(watched, namespace, None), &query, None))
                .await?;
            let list: List =
                serde_json::from_str(&text).map_err(|error| Failure::other("list", what, error))?;
            items.extend(list.items.into_iter().flatten());
            if list.metadata.next.is_empty() {
                return Ok((items, list.metadata.resource_version));
            }
            next = list.metadata.next;
        }
    }

    /// Changes after a version.
    pub(super) async fn watch(
        &self,
        watched: Watched,
        namespace: Option<&str>,
        selector: &str,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Value>, Failure>> + use<>, Failure> {
        let (what, seconds) = (watched.plural(), WATCH_SECONDS.to_string());
        let query = [
            ("labelSelector", selector),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ];
        let request = request(Method::GET, &path(watched, namespace, None), &query, None);
        let request = request.map_err(|error| Failure::other("watch", what, error))?;
        let opened = tokio::time::timeout(TIME_LIMIT, self.0.request_events(request)).await;
        let stream = opened
            .map_err(|_| Failure::other("watch", what, "no answer in time"))?
            .map_err(|error| Failure::new("watch", what, error))?;
        Ok(stream.map(move |event| event.map_err(|error| Failure::new("watch", what, error))))
    }

    /// `None` when it does not exist.
    pub(super) async fn get(&self, id: &Id) -> Result<Option<Value>, Failure> {
        let what = id.to_string();
        let request = request(Method::GET, &path(id.watched, Some(&id.namespace), Some(&id.name)), &[], None);
        match self.send("get", &what, request).await {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|error| Failure::other("get", &what, error))
            }
            Err(failure) if failure.code == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The Warning events about this very object, a few of them.
    pub(super) async fn warnings(&self, id: &Id, kind: Kind, uid: &str) -> Result<Vec<Value>, Failure> {
        let fields = format!(
            "involvedObject.kind={},involvedObject.name={},involvedObject.uid={uid},type=Warning",
            kind.as_str(),
            id.name
        );
        let limit = PAGE.to_string();
        let path = format!("/api/v1/namespaces/{}/events", id.namespace);
        let query = [("fieldSelector", fields.as_str()), ("limit", &limit)];
        let text = self.send("list", "events", request(Method::GET, &path, &query, None)).await?;
        let list: List =
            serde_json::from_str(&text).map_err(|error| Failure::other("list", "events", error))?;
        Ok(list.items.unwrap_or_default())
    }

    /// Server-side apply; the answer is the whole object.
    pub(super) async fn apply(&self, id: &Id, body: &Value, manager: &str) -> Result<Value, Failure> {
        let what = id.to_string();
        let query = [("fieldManager", manager), ("force", "true")];
        let path = path(id.watched, Some(&id.namespace), Some(&id.name));
        let text = self.send("apply", &what, request(Method::PATCH, &path, &query, Some(body))).await?;
        serde_json::from_str(&text).map_err(|error| Failure::other("apply", &what, error))
    }

    /// Deletes this very object, and what belongs to it after it; nothing to do when it is gone.
    pub(super) async fn delete(&self, id: &Id, uid: &str) -> Result<(), Failure> {
        let what = id.to_string();
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        });
        let path = path(id.watched, Some(&id.namespace), Some(&id.name));
        match self.send("delete", &what, request(Method::DELETE, &path, &[], Some(&options))).await {
            // Another object of this name came in between.
            Err(failure) if matches!(failure.code, Some(404 | 409)) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn send(
        &self,
        verb: &str,
        what: &str,
        request: Result<Request<Vec<u8>>, http::Error>,
    ) -> Result<String, Failure> {
        let request = request.map_err(|error| Failure::other(verb, what, error))?;
        match tokio::time::timeout(TIME_LIMIT, self.0.request_text(request)).await {
            Ok(answer) => answer.map_err(|error| Failure::new(verb, what, error)),
            Err(_) => Err(Failure::other(verb, what, "no answer in time")),
        }
    }
}

fn path(watched: Watched, namespace: Option<&str>, name: Option<&str>) -> String {
    let (group, version) = watched.group_version();
    let mut path =
        if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    if let Some(namespace) = namespace {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(watched.plural());
    if let Some(name) = name {
        path.push('/');
        path.push_str(name);
    }
    path
}

fn request(
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Request<Vec<u8>>, http::Error> {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()))
        .finish();
    let kind = if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
    let body = body.map(ToString::to_string).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(format!("{path}?{query}"))
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCEPT, "application/json")
        .body(body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::advised;

    fn forbidden(message: &str) -> String {
        let status = kube::core::Status { code: 403, message: message.to_owned(), ..Default::default() };
        advised(&status)
    }

    #[test]
    fn missing_right_says_what_to_grant_and_a_quota_does_not() {
        let said = r#"deployments.apps "eg" is forbidden: User "u" cannot patch resource "deployments" in API group "apps""#;
        assert!(forbidden(said).starts_with("not permitted; add this verb"));
        assert!(forbidden(said).contains(said));
        let quota = r#"services "eg" is forbidden: exceeded quota: small"#;
        assert_eq!(forbidden(quota), quota);
    }
}
