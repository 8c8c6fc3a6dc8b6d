//! The objects of one fleet.

mod meta;
mod pod;
mod scaling;
mod service;
mod workload;

use std::fmt;
use std::sync::Arc;

use gatehouse_api::merge;
use gatehouse_api::types::EnvoyProxySpec;
use gatehouse_api::types::envoyproxy::{KubernetesPatch, KubernetesProvider, MergeType};
use gatehouse_translate::FleetPlan;
use serde_json::{Value, json};

use crate::bootstrap;
use crate::names;
use crate::settings::{Placement, Settings};
use meta::Frame;

/// The kinds of objects that a fleet has, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1`
    ServiceAccount,
    /// `v1`
    ConfigMap,
    /// `v1`
    Service,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    DaemonSet,
    /// `policy/v1`
    PodDisruptionBudget,
    /// `autoscaling/v2`
    HorizontalPodAutoscaler,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::Deployment,
        Self::DaemonSet,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// As in `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }

    /// As in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::ConfigMap => "configmaps",
            Self::Service => "services",
            Self::Deployment => "deployments",
            Self::DaemonSet => "daemonsets",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
        }
    }

    /// The API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Service => "",
            Self::Deployment | Self::DaemonSet => "apps",
            Self::PodDisruptionBudget => "policy",
            Self::HorizontalPodAutoscaler => "autoscaling",
        }
    }

    /// The version of the group.
    pub fn version(self) -> &'static str {
        if self == Self::HorizontalPodAutoscaler { "v2" } else { "v1" }
    }

    /// As in `apiVersion`.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something that a user asks for cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field of the EnvoyProxy (or of the Gateway), as `bootstrap.value`.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { field: field.into(), why: why.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Whether names carry a hash although they would not need one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Only where length or characters ask for it.
    #[default]
    Plain,
    /// Another Gateway of ours has the plain name.
    Hashed,
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetObject {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole object, ready for server-side apply.
    pub body: Arc<Value>,
}

/// What a fleet consists of in Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetObjects {
    /// In the order in which they are to be applied; at most one of each kind.
    pub objects: Vec<FleetObject>,
    /// Kinds that are not made but stay as they are when they exist: a Service without ports cannot be made, and to
    /// delete it would give up its address.
    pub kept: Vec<Kind>,
    /// What a user asked for and does not get, while everything else works. Fields without any meaning here are not among
    /// them: translation names those.
    pub warnings: Vec<Problem>,
}

impl FleetObjects {
    /// The object of a kind.
    pub fn get(&self, kind: Kind) -> Option<&FleetObject> {
        self.objects.iter().find(|object| object.kind == kind)
    }
}

/// Everything that objects are made from.
struct Context<'a> {
    plan: &'a FleetPlan,
    settings: &'a Settings,
    spec: Option<&'a EnvoyProxySpec>,
    kubernetes: Option<&'a KubernetesProvider>,
    name: String,
}

impl Context<'_> {
    fn account(&self) -> &str {
        let custom =
            self.kubernetes.and_then(|kubernetes| kubernetes.envoy_service_account.as_ref()?.name.as_deref());
        custom.unwrap_or(&self.name)
    }

    fn workload_kind(&self) -> Kind {
        match self.kubernetes {
            Some(kubernetes)
                if kubernetes.envoy_daemon_set.is_some() && kubernetes.envoy_deployment.is_none() =>
            {
                Kind::DaemonSet
            }
            _ => Kind::Deployment,
        }
    }
}

/// The objects that a plan needs. Problems are of the user's making: until they are solved, what runs stays as it is.
pub fn objects(plan: &FleetPlan, settings: &Settings, naming: Naming) -> Result<FleetObjects, Vec<Problem>> {
    let spec = plan.parameters.as_deref();
    let context = Context {
        plan,
        settings,
        spec,
        kubernetes: spec.and_then(EnvoyProxySpec::kubernetes),
        name: names::object_name(plan, settings, naming),
    };
    let mut made =
        Made { context: &context, objects: Vec::new(), warnings: Vec::new(), problems: Vec::new() };
    made.all();
    let Made { mut objects, warnings, problems, .. } = made;
    if !problems.is_empty() {
        return Err(problems);
    }
    objects.sort_by_key(|object| object.kind);
    let kept = if plan.ports.is_empty() { vec![Kind::Service] } else { Vec::new() };
    Ok(FleetObjects { objects, kept, warnings })
}

/// Collects objects, and what is wrong with them.
struct Made<'a> {
    context: &'a Context<'a>,
    objects: Vec<FleetObject>,
    warnings: Vec<Problem>,
    problems: Vec<Problem>,
}

impl Made<'_> {
    fn all(&mut self) {
        let context = self.context;
        let frame = Frame::new(context, Kind::ServiceAccount, Some(context.account()));
        self.add(frame, json!({"automountServiceAccountToken": false}), None);
        let bootstrap = match bootstrap::text(&context.plan.fleet, context.spec) {
            Ok(text) => text,
            Err(problem) => return self.problems.push(problem),
        };
        let data = json!({"data": {"bootstrap.json": bootstrap, "ca.crt": context.settings.ca_bundle}});
        self.add(Frame::new(context, Kind::ConfigMap, None), data, None);
        self.workload(&bootstrap);
        self.service();
        self.scaling();
    }

    fn workload(&mut self, bootstrap: &str) {
        let context = self.context;
        let kind = context.workload_kind();
        match workload::body(context, kind, bootstrap) {
            Ok((frame, body)) => {
                let patch = workload::spec(context, kind).and_then(|spec| spec.patch.as_ref());
                self.add(frame, body, patch.map(|patch| (patch, workload::field(kind))));
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    fn service(&mut self) {
        if self.context.plan.ports.is_empty() {
            return;
        }
        let (frame, body) = service::body(self.context);
        let patch =
            self.context.kubernetes.and_then(|kubernetes| kubernetes.envoy_service.as_ref()?.patch.as_ref());
        self.add(frame, body, patch.map(|patch| (patch, "envoyService")));
    }

    fn scaling(&mut self) {
        let context = self.context;
        let Some(kubernetes) = context.kubernetes else { return };
        if let Some((frame, body)) =
            kubernetes.envoy_pdb.as_ref().and_then(|pdb| scaling::budget(context, pdb))
        {
            let patch = kubernetes.envoy_pdb.as_ref().and_then(|pdb| pdb.patch.as_ref());
            self.add(frame, body, patch.map(|patch| (patch, "envoyPDB")));
        }
        let Some(hpa) = &kubernetes.envoy_hpa else { return };
        if context.workload_kind() == Kind::DaemonSet {
            self.warnings.push(Problem::new("provider.kubernetes.envoyHpa", "has no effect on a DaemonSet"));
            return;
        }
        let (frame, body) = scaling::autoscaler(context, hpa);
        self.add(frame, body, hpa.patch.as_ref().map(|patch| (patch, "envoyHpa")));
    }

    fn add(&mut self, frame: Frame, body: Value, patch: Option<(&KubernetesPatch, &str)>) {
        let body = frame.around(body);
        let body = match patch {
            None => body,
            Some((patch, field)) => match patched(body.clone(), patch, frame.kind) {
                Ok(changed) => {
                    let restored = frame.restored(changed.clone(), &body);
                    if restored != changed {
                        let why = "may not change name, owner, our labels, selector or service account; that part is ignored";
                        self.warnings.push(Problem::new(format!("provider.kubernetes.{field}.patch"), why));
                    }
                    restored
                }
                Err(why) => {
                    return self
                        .problems
                        .push(Problem::new(format!("provider.kubernetes.{field}.patch"), why));
                }
            },
        };
        let Frame { kind, namespace, name, .. } = frame;
        self.objects.push(FleetObject { kind, namespace, name, body: Arc::new(body) });
    }
}

fn patched(body: Value, patch: &KubernetesPatch, kind: Kind) -> Result<Value, String> {
    let value = patch.value.as_ref().ok_or("value is missing")?;
    if !value.is_object() {
        return Err("value must be an object".to_owned());
    }
    match patch.kind.as_ref().unwrap_or(&MergeType::StrategicMerge) {
        MergeType::StrategicMerge => {
            merge::strategic(body, value, merge::of_kind(kind.as_str())).map_err(|error| error.to_string())
        }
        MergeType::JSONMerge => Ok(merge::json(body, value)),
        other => Err(format!("unknown type {:?}", other.as_str())),
    }
}

/// Whether objects may have the Gateway as their owner.
fn owned_by_gateway(context: &Context<'_>) -> bool {
    context.settings.placement == Placement::GatewayNamespace && !context.plan.gateway_uid.is_empty()
}
