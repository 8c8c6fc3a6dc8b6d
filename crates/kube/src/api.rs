//! The one way to the API server: requests by path, with a time limit and errors that name the operation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::{Method, Request};
use kube::core::WatchEvent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Cause, Error, Operation};

/// How long an answer may take. Pages of lists come from etcd and may take seconds under load.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Where the API server is.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// A kubeconfig file; `None` takes `KUBECONFIG`, the home directory's, or the pod's ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file, if not its current one.
    pub context: Option<String>,
    /// The role that grants our rights, as errors are to name it, such as `ClusterRole "gatehouse"`.
    pub role: String,
}

/// A connection to the API server. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    role: Arc<str>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Api {
    /// Reads the configuration. Does not wait for the API server: it need not be there yet.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        let failed = |cause| {
            let operation = Operation {
                verb: "configure",
                resource: "the connection to the API server".into(),
                namespace: String::new(),
                name: connection.kubeconfig.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
            };
            Error::new(operation, Cause::Other(cause))
        };
        let options =
            kube::config::KubeConfigOptions { context: connection.context.clone(), ..Default::default() };
        let mut config = match &connection.kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path).map_err(|e| failed(e.to_string()))?;
                kube::Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|e| failed(e.to_string()))?
            }
            None if connection.context.is_some() => {
                kube::Config::from_kubeconfig(&options).await.map_err(|e| failed(e.to_string()))?
            }
            None => kube::Config::infer().await.map_err(|e| failed(e.to_string()))?,
        };
        // A host that swallows packets must not hold an attempt for long: the next one may succeed.
        config.connect_timeout = Some(Duration::from_secs(5));
        // Watches have their own limit, see `source::watcher`.
        config.read_timeout = None;
        config.write_timeout = Some(TIME_LIMIT);
        let client = kube::Client::try_from(config).map_err(|e| failed(e.to_string()))?;
        let role = if connection.role.is_empty() { "the controller's ClusterRole" } else { &connection.role };
        Ok(Self::new(client, role))
    }

    /// Uses a client that exists; `role` is the role that grants our rights, as errors are to name it.
    pub fn new(client: kube::Client, role: &str) -> Self {
        Self { client, role: role.into() }
    }

    /// The client, for requests that are not made here.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, target: &Target<'_>) -> Result<T, Error> {
        self.request(Call { verb: "get", method: Method::GET, target, query: &[], patch: false }, None).await
    }

    /// What is served under a path; `None` when nothing is.
    pub(crate) async fn discover<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let operation = Operation {
            verb: "discover",
            resource: path.to_owned(),
            namespace: String::new(),
            name: String::new(),
        };
        let other = |e: String| Error::new(operation.clone(), Cause::Other(e));
        let request = Request::get(path).body(Vec::new()).map_err(|e| other(e.to_string()))?;
        match tokio::time::timeout(TIME_LIMIT, self.client.request_text(request)).await {
            Ok(Ok(text)) => serde_json::from_str(&text).map(Some).map_err(|e| other(e.to_string())),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(error)) => Err(Error::new(operation, Cause::new(error, false, &self.role))),
            Err(_) => Err(timed_out(operation)),
        }
    }

    /// One page of a list, as text: who asks decodes it item by item.
    pub(crate) async fn list(&self, target: &Target<'_>, query: &[(&str, &str)]) -> Result<String, Error> {
        self.request_text(Call { verb: "list", method: Method::GET, target, query, patch: false }, None).await
    }

    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        target: &Target<'_>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let call = Call { verb: "create", method: Method::POST, target, query: &[], patch: false };
        self.request(call, Some(bytes(body, target)?)).await
    }

    pub(crate) async fn update<T: DeserializeOwned>(
        &self,
        target: &Target<'_>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let call = Call { verb: "update", method: Method::PUT, target, query: &[], patch: false };
        self.request(call, Some(bytes(body, target)?)).await
    }

    /// A merge patch (RFC 7386).
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        target: &Target<'_>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let call = Call { verb: "patch", method: Method::PATCH, target, query: &[], patch: true };
        self.request(call, Some(bytes(body, target)?)).await
    }

    /// Opens a watch; the events' objects are left as text.
    pub(crate) async fn watch(
        &self,
        target: &Target<'_>,
        query: &[(&str, &str)],
    ) -> Result<impl Stream<Item = Result<WatchEvent<Box<RawValue>>, Error>> + use<>, Error> {
        let call = Call { verb: "watch", method: Method::GET, target, query, patch: false };
        let failed = {
            let (operation, role) = (target.operation("watch"), self.role.clone());
            move |error| Error::new(operation.clone(), Cause::new(error, false, &role))
        };
        let opened = self.client.request_events(call.build(None)?);
        let stream = tokio::time::timeout(TIME_LIMIT, opened)
            .await
            .map_err(|_| timed_out(target.operation("watch")))?
            .map_err(&failed)?;
        Ok(stream.map(move |event| event.map_err(&failed)))
    }

    /// An error that came as an event of a watch.
    pub(crate) fn watch_error(&self, target: &Target<'_>, status: &kube::core::Status) -> Error {
        Error::new(target.operation("watch"), Cause::from_status(status, false, &self.role))
    }

    async fn request<T: DeserializeOwned>(&self, call: Call<'_>, body: Option<Vec<u8>>) -> Result<T, Error> {
        let operation = call.target.operation(call.verb);
        let text = self.request_text(call, body).await?;
        serde_json::from_str(&text).map_err(|e| Error::new(operation, Cause::Other(e.to_string())))
    }

    async fn request_text(&self, call: Call<'_>, body: Option<Vec<u8>>) -> Result<String, Error> {
        let operation = call.target.operation(call.verb);
        let named = call.target.name.is_some();
        let answer = tokio::time::timeout(TIME_LIMIT, self.client.request_text(call.build(body)?));
        match answer.await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(Error::new(operation, Cause::new(error, named, &self.role))),
            Err(_) => Err(timed_out(operation)),
        }
    }
}

fn timed_out(operation: Operation) -> Error {
    Error::new(operation, Cause::Unreachable(format!("no answer within {} s", TIME_LIMIT.as_secs())))
}

fn bytes(body: &impl Serialize, target: &Target<'_>) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|e| Error::new(target.operation("encode"), Cause::Other(e.to_string())))
}

/// A resource as URLs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
}

/// Objects that a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) resource: ResourceType,
    /// Empty for cluster-scoped kinds, and for a list over all namespaces.
    pub(crate) namespace: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) subresource: Option<&'static str>,
    /// Lists and watches are to bring metadata alone.
    pub(crate) metadata_only: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn all(resource: ResourceType, namespace: &'a str) -> Self {
        Self { resource, namespace, name: None, subresource: None, metadata_only: false }
    }

    pub(crate) fn one(resource: ResourceType, namespace: &'a str, name: &'a str) -> Self {
        Self { resource, namespace, name: Some(name), subresource: None, metadata_only: false }
    }

    pub(crate) fn status(self) -> Self {
        Self { subresource: Some("status"), ..self }
    }

    fn path(&self) -> String {
        let ResourceType { group, version, plural } = self.resource;
        let mut path =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let namespaces =
            if self.namespace.is_empty() { [None, None] } else { [Some("namespaces"), Some(self.namespace)] };
        let parts = namespaces.into_iter().flatten().chain([plural]).chain(self.name).chain(self.subresource);
        for part in parts {
            path.push('/');
            path.push_str(part);
        }
        path
    }

    pub(crate) fn operation(&self, verb: &'static str) -> Operation {
        let ResourceType { group, plural, .. } = self.resource;
        let mut resource = plural.to_owned();
        if !group.is_empty() {
            resource = format!("{resource}.{group}");
        }
        if let Some(subresource) = self.subresource {
            resource = format!("{resource}/{subresource}");
        }
        let name = self.name.unwrap_or_default().to_owned();
        Operation { verb, resource, namespace: self.namespace.to_owned(), name }
    }
}

/// A request before it is built.
struct Call<'a> {
    verb: &'static str,
    method: Method,
    target: &'a Target<'a>,
    query: &'a [(&'a str, &'a str)],
    patch: bool,
}

impl Call<'_> {
    fn accepts(&self) -> &'static str {
        match (self.target.metadata_only, self.verb) {
            (true, "list") => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            (true, "watch") => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            _ => "application/json",
        }
    }

    fn build(&self, body: Option<Vec<u8>>) -> Result<Request<Vec<u8>>, Error> {
        let mut uri = self.target.path();
        if !self.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.query).finish();
            uri = format!("{uri}?{query}");
        }
        let content = if self.patch { "application/merge-patch+json" } else { "application/json" };
        Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .header(http::header::ACCEPT, self.accepts())
            .header(http::header::CONTENT_TYPE, content)
            .body(body.unwrap_or_default())
            .map_err(|e| Error::new(self.target.operation(self.verb), Cause::Other(e.to_string())))
    }
}

#[cfg(test)]
mod tests;
