//! What goes wrong between us and the API server, worded so that the reader knows what to do.

use std::fmt;

/// A request that failed: what was asked, and why it was not had.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {cause}{}", self.remedy())]
pub struct Error {
    /// What was asked.
    pub operation: Box<Operation>,
    /// Why it failed.
    pub cause: Cause,
}

impl Error {
    pub(crate) fn new(operation: Operation, cause: Cause) -> Self {
        Self { operation: Box::new(operation), cause }
    }

    /// The rule that is missing, as a role writes it.
    fn remedy(&self) -> String {
        match &self.cause {
            Cause::Forbidden { .. } => format!("; the rule that is missing: {}", self.operation.rule()),
            _ => String::new(),
        }
    }
}

/// A request in the words of Kubernetes' access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Such as `list`.
    pub verb: &'static str,
    /// Plural name with its group, such as `httproutes.gateway.networking.k8s.io`; may hold a subresource.
    pub resource: String,
    /// Empty for the whole cluster and for cluster-scoped objects.
    pub namespace: String,
    /// Empty where no single object was meant.
    pub name: String,
}

impl Operation {
    /// What permits it. Whoever watches lists first, and the chart lets him get as well.
    fn rule(&self) -> String {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, format!("/{subresource}")),
            None => (&*self.resource, String::new()),
        };
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let verbs = match self.verb {
            "list" | "watch" => "get, list, watch",
            verb => verb,
        };
        format!("{{apiGroups: [\"{group}\"], resources: [\"{plural}{subresource}\"], verbs: [{verbs}]}}")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No answer: refused, cut off, or too late.
    #[error("the API server does not answer ({0}); retrying, nothing that serves is changed meanwhile")]
    Unreachable(String),
    /// 401, or no credentials could be made.
    #[error(
        "the API server does not accept our credentials ({0}); check the ServiceAccount and its token, or the kubeconfig"
    )]
    Unauthorized(String),
    /// 403.
    #[error("not permitted; mend {role}, or its binding to the controller's ServiceAccount ({message})")]
    Forbidden {
        /// The role to mend.
        role: String,
        /// The API server's words.
        message: String,
    },
    /// 404 for one object.
    #[error("it does not exist")]
    NotFound,
    /// 404 for a kind: its CRD is not installed, or not this version of it.
    #[error("the API server does not know this resource; install or upgrade its CRD")]
    NotServed,
    /// 409: somebody else changed the object in between, or it exists already.
    #[error("it was changed by somebody else in between ({0})")]
    Conflict(String),
    /// 410: the version that a watch or list wanted to go on from is no longer kept.
    #[error("the requested version is no longer kept")]
    Gone,
    /// 422: the API server's validation refused it.
    #[error("the API server refuses the object: {0}")]
    Invalid(String),
    /// Any other answer of the API server, 429 and 5xx among them.
    #[error("the API server answers {code}: {message}")]
    Status {
        /// HTTP status.
        code: u16,
        /// Its words.
        message: String,
    },
    /// The answer could not be read, or the request could not be made.
    #[error("{0}")]
    Other(String),
}

impl Cause {
    /// Whether the same request may succeed when it is made again, with nothing changed by anybody.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Conflict(_) | Self::Gone => true,
            Self::Status { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    pub(crate) fn new(error: kube::Error, named: bool, role: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(&status, named, role),
            kube::Error::Service(error) => Self::Unreachable(innermost(&*error)),
            kube::Error::HyperError(error) => Self::Unreachable(innermost(&error)),
            kube::Error::ReadEvents(error) => Self::Unreachable(innermost(&error)),
            kube::Error::Auth(error) => Self::Unauthorized(innermost(&error)),
            other => Self::Other(other.to_string()),
        }
    }

    pub(crate) fn from_status(status: &kube::core::Status, named: bool, role: &str) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 => Self::Forbidden { role: role.to_owned(), message },
            // A kind that is not served is answered in plain text, an object that is missing names itself.
            404 if named && status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => {
                Self::NotFound
            }
            404 => Self::NotServed,
            409 => Self::Conflict(message),
            410 => Self::Gone,
            422 => Self::Invalid(message),
            code => Self::Status { code, message },
        }
    }
}

/// The root of a chain of errors: hyper and tower say only that something failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Cause, Error, Operation};

    fn forbidden(verb: &'static str, resource: &str) -> String {
        let operation =
            Operation { verb, resource: resource.into(), namespace: "shop".into(), name: String::new() };
        let cause = Cause::Forbidden { role: "ClusterRole \"gatehouse\"".into(), message: "RBAC".into() };
        Error::new(operation, cause).to_string()
    }

    #[test]
    fn a_right_that_is_missing_is_named_as_a_role_writes_it() {
        let text = forbidden("watch", "httproutes.gateway.networking.k8s.io");
        for part in [
            "watch httproutes.gateway.networking.k8s.io in namespace shop: not permitted",
            "ClusterRole \"gatehouse\"",
            r#"{apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes"], verbs: [get, list, watch]}"#,
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = forbidden("update", "gateways.gateway.networking.k8s.io/status");
        assert!(text.ends_with(r#"resources: ["gateways/status"], verbs: [update]}"#), "{text}");
        let text = forbidden("list", "services");
        assert!(text.contains(r#"{apiGroups: [""], resources: ["services"], "#), "{text}");
    }
}
