//! Whether a reference may cross namespaces.

use gatehouse_api::types::ReferenceGrant;
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::NamespacedName;

use crate::facts::Facts;

/// One end of a reference: API group and kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupKind<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
}

/// The group of Gateway API's own kinds.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// The group of those that are experiments.
pub(crate) const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";

/// Whether an object `from` in `namespace` may refer to `to`: in its own namespace, or under a ReferenceGrant
/// that stands in the target's namespace.
pub(crate) fn permitted(
    facts: &Facts,
    reads: &mut Reads,
    namespace: &str,
    from: GroupKind<'_>,
    to: GroupKind<'_>,
    target: &NamespacedName,
) -> bool {
    if *target.namespace == *namespace {
        return true;
    }
    let grants = facts.grants_in.get(reads, &target.namespace);
    grants.is_some_and(|grants| grants.values().any(|grant| allows(grant, namespace, from, to, target)))
}

/// As [`permitted`], outside of the stages.
pub(crate) fn permitted_now(
    facts: &Facts,
    namespace: &str,
    from: GroupKind<'_>,
    to: GroupKind<'_>,
    target: &NamespacedName,
) -> bool {
    let grants = facts.grants_in.peek(&target.namespace).into_iter().flat_map(SmallMap::values);
    *target.namespace == *namespace
        || grants.into_iter().any(|grant| allows(grant, namespace, from, to, target))
}

fn allows(
    grant: &ReferenceGrant,
    namespace: &str,
    from: GroupKind<'_>,
    to: GroupKind<'_>,
    target: &NamespacedName,
) -> bool {
    let spec = &grant.spec;
    spec.from.iter().any(|f| f.group == from.group && f.kind == from.kind && f.namespace == namespace)
        && spec.to.iter().any(|t| {
            t.group == to.group
                && t.kind == to.kind
                && t.name.as_deref().is_none_or(|name| name.is_empty() || *name == *target.name)
        })
}
