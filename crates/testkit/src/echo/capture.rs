//! The JSON that an echo backend answers with.

use std::collections::BTreeMap;

use http::{HeaderMap, Version, header, request};
use serde::{Deserialize, Serialize};

/// What an echo backend says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the route that leads here, if the deployer told.
    pub ingress: String,
    /// Name of the Service.
    pub service: String,
    /// Name of the pod.
    pub pod: String,
}

impl Identity {
    /// Reads `NAMESPACE`, `INGRESS_NAME`, `SERVICE_NAME` and `POD_NAME`; what is not set is empty.
    pub fn from_env() -> Self {
        let var = |name| std::env::var(name).unwrap_or_default();
        Self {
            namespace: var("NAMESPACE"),
            ingress: var("INGRESS_NAME"),
            service: var("SERVICE_NAME"),
            pod: var("POD_NAME"),
        }
    }
}

/// A request as the backend saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Path with the query, undecoded.
    pub path: String,
    /// `Host` header or `:authority`.
    pub host: String,
    /// Method.
    pub method: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub proto: String,
    /// Header values by canonical name (`X-Request-Id`), in the order received, without `Host`.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Who answered.
    #[serde(flatten)]
    pub identity: Identity,
}

impl Capture {
    pub(super) fn new(parts: &request::Parts, identity: &Identity) -> Self {
        Self {
            path: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
            host: host(parts),
            method: parts.method.to_string(),
            proto: proto(parts.version).to_owned(),
            headers: headers(&parts.headers),
            identity: identity.clone(),
        }
    }
}

fn host(parts: &request::Parts) -> String {
    let authority = parts.uri.authority().map(ToString::to_string);
    let header = || parts.headers.get(header::HOST).map(|value| text(value.as_bytes()));
    authority.or_else(header).unwrap_or_default()
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn headers(received: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in received {
        if name != header::HOST {
            headers.entry(canonical(name.as_str())).or_default().push(text(value.as_bytes()));
        }
    }
    headers
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A header name as Go prints it: upper case at the start and after each hyphen, lower case elsewhere.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let letter = |c: char| {
        let canonical = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        upper = c == '-';
        canonical
    };
    name.chars().map(letter).collect()
}
