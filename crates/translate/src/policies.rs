//! Policies: what they are attached to, whose word counts, and what each is told about itself.
//!
//! ```text
//! Policies (by target) --> whoever works out a target takes those attached to it, oldest first --> effective settings
//!                                                      \--> Outcomes, by policy --> its status
//! ```
//!
//! A new kind implements [`Policy`], has a table of its own here and one function that makes its settings of what is
//! attached.

pub(crate) mod backend_tls;
pub(crate) mod backend_traffic;
pub(crate) mod client;
pub(crate) mod session;
pub(crate) mod telemetry;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::types::{PolicyTarget, Resource, TargetSelector};
use gatehouse_engine::{Graph, Index, Missing, Reads, SmallMap, Table};
use gatehouse_model::NamespacedName;

use crate::backends::ENVOY_GATEWAY_GROUP;
use crate::facts::age;
use crate::gateways::Problem;
use crate::grants::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, GroupKind};
use crate::uses::User;

/// A kind of object that policies are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TargetKind {
    Gateway,
    ListenerSet,
    Service,
    Backend,
    XBackend,
}

impl TargetKind {
    fn of(group: &str, kind: &str) -> Option<Self> {
        match (group, kind) {
            (GATEWAY_GROUP, "Gateway") => Some(Self::Gateway),
            (GATEWAY_GROUP, "ListenerSet") => Some(Self::ListenerSet),
            ("", "Service") => Some(Self::Service),
            (ENVOY_GATEWAY_GROUP, "Backend") => Some(Self::Backend),
            (EXPERIMENTAL_GROUP, "XBackend") => Some(Self::XBackend),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::Service => "Service",
            Self::Backend => "Backend",
            Self::XBackend => "XBackend",
        }
    }
}

/// An object that policies are attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    pub(crate) object: NamespacedName,
}

/// A target, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) section: Option<Arc<str>>,
}

impl Place {
    pub(crate) fn gateway(key: &NamespacedName) -> Self {
        Self { target: Target { kind: TargetKind::Gateway, object: key.clone() }, section: None }
    }
}

/// A kind of policy.
pub(crate) trait Policy: Resource + PartialEq {
    /// The objects that it names, in its own namespace.
    fn named(&self) -> impl Iterator<Item = &PolicyTarget>;
    /// Whether policies of this kind may select.
    const SELECTS: bool = true;
    /// Those that it selects there.
    fn selectors(&self) -> impl Iterator<Item = &TargetSelector>;
}

/// Older policies come first, then those first in the order of names.
type Age = (Arc<str>, NamespacedName);

/// A policy that is attached to something.
#[derive(Debug)]
pub(crate) struct Attached<P> {
    pub(crate) key: NamespacedName,
    pub(crate) policy: Arc<P>,
    /// The part of the target that it names.
    pub(crate) section: Option<Arc<str>>,
}

/// The policies of a kind.
#[derive(Debug)]
pub(crate) struct Policies<P> {
    pub(crate) all: Table<NamespacedName, Arc<P>>,
    /// By the objects that they name.
    named: Index<NamespacedName, Target, Age, Arc<P>>,
    /// By the kind and namespace in which they select.
    selecting: Index<NamespacedName, (TargetKind, Arc<str>), Age, Arc<P>>,
}

impl<P: Policy> Policies<P> {
    /// The names are those of the three tables.
    pub(crate) fn new(graph: &mut Graph, [all, named, selecting]: [&'static str; 3]) -> Self {
        Self {
            all: Table::new(graph, all, Missing::Absent),
            named: Index::new(graph, named),
            selecting: Index::new(graph, selecting),
        }
    }

    pub(crate) fn set(&mut self, graph: &mut Graph, key: NamespacedName, policy: Option<Arc<P>>) {
        let mut named = BTreeMap::new();
        let mut selecting = BTreeMap::new();
        if let Some(policy) = &policy {
            let age: Age = (age(policy.meta()), key.clone());
            for target in policy.named().filter_map(|target| target_of(&key, target)) {
                named.insert(target, (age.clone(), policy.clone()));
            }
            for kind in policy.selectors().filter_map(kind_of) {
                selecting.insert((kind, key.namespace.clone()), (age.clone(), policy.clone()));
            }
        }
        let named = named.into_iter().map(|(target, (age, policy))| (target, age, policy)).collect();
        let selecting = selecting.into_iter().map(|(place, (age, policy))| (place, age, policy)).collect();
        self.named.set(graph, key.clone(), named);
        self.selecting.set(graph, key.clone(), selecting);
        match policy {
            Some(policy) => drop(self.all.set(graph, key, policy)),
            None => drop(self.all.set_absent(graph, key)),
        }
    }

    /// What is attached to an object with these labels, in the order of precedence.
    pub(crate) fn attached(
        &self,
        reads: &mut Reads,
        target: &Target,
        labels: &BTreeMap<String, String>,
    ) -> Vec<Attached<P>> {
        let mut found: BTreeMap<(Age, Option<Arc<str>>), Arc<P>> = BTreeMap::new();
        for (age, policy) in self.named.get(reads, target).into_iter().flat_map(SmallMap::iter) {
            let sections = policy.named().filter(|named| target_of(&age.1, named).as_ref() == Some(target));
            let sections = sections.map(|named| named.section_name.as_deref().map(Arc::from));
            found.extend(sections.map(|section| ((age.clone(), section), policy.clone())));
        }
        let place = (target.kind, target.object.namespace.clone());
        let selecting = P::SELECTS.then(|| self.selecting.get(reads, &place)).flatten();
        for (age, policy) in selecting.into_iter().flat_map(SmallMap::iter) {
            let selects = |selector: &TargetSelector| {
                kind_of(selector) == Some(target.kind) && is_selected(selector, labels)
            };
            if policy.selectors().any(selects) {
                found.insert((age.clone(), None), policy.clone());
            }
        }
        found.into_iter().map(|(((_, key), section), policy)| Attached { key, policy, section }).collect()
    }
}

/// Why one of those attached to an object does not count: another that comes before it is for the same part.
pub(crate) fn conflict<P>(attached: &[Attached<P>], index: usize) -> Option<Problem> {
    let section = &attached.get(index)?.section;
    let first = attached.iter().take(index).find(|first| first.section == *section)?;
    let message = format!("{} counts here: it is older, or comes first by name", first.key);
    Some(Problem::new("Conflicted", message))
}

fn target_of(policy: &NamespacedName, target: &PolicyTarget) -> Option<Target> {
    let kind = TargetKind::of(target.group.as_deref()?, target.kind.as_deref()?)?;
    let object = NamespacedName::new(policy.namespace.clone(), target.name.as_deref()?);
    Some(Target { kind, object })
}

fn kind_of(selector: &TargetSelector) -> Option<TargetKind> {
    TargetKind::of(selector.group.as_deref().unwrap_or(GATEWAY_GROUP), selector.kind.as_deref()?)
}

fn is_selected(selector: &TargetSelector, labels: &BTreeMap<String, String>) -> bool {
    let selector = gatehouse_api::types::LabelSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: selector.match_expressions.clone().unwrap_or_default(),
    };
    selector.matches(labels).unwrap_or(false)
}

/// What a policy is told of one of its places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Why it does not count there, or not as a whole.
    pub(crate) problem: Option<Problem>,
    /// Which parts are another's.
    pub(crate) overridden: Option<Arc<str>>,
    /// The first of its own references that does not resolve.
    pub(crate) unresolved: Option<Problem>,
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PolicyKind {
    ClientTraffic,
    BackendTls,
    Telemetry,
    BackendTraffic,
    /// Not a policy, and told like one.
    XBackend,
}

impl PolicyKind {
    /// Group and kind of the objects.
    pub(crate) fn group_kind(self) -> GroupKind<'static> {
        let (group, kind) = match self {
            Self::ClientTraffic => (ENVOY_GATEWAY_GROUP, "ClientTrafficPolicy"),
            Self::BackendTls => (GATEWAY_GROUP, "BackendTLSPolicy"),
            Self::Telemetry => (EXPERIMENTAL_GROUP, "XTelemetryPolicy"),
            Self::BackendTraffic => (EXPERIMENTAL_GROUP, "XBackendTrafficPolicy"),
            Self::XBackend => (EXPERIMENTAL_GROUP, "XBackend"),
        };
        GroupKind { group, kind }
    }
}

/// A policy of any kind.
pub(crate) type PolicyKey = (PolicyKind, NamespacedName);

/// Outcomes by policy, as those tell them who use its targets or are its targets: one for each Gateway of a route.
pub(crate) type Outcomes = Index<User, PolicyKey, (Place, User), Arc<Outcome>>;

/// What one of them tells.
pub(crate) type Told = Vec<(PolicyKey, Place, Arc<Outcome>)>;
