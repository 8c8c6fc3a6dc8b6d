//! Whether a reference may cross namespaces.

use gatehouse_engine::Reads;
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
    let Some(grants) = facts.grants_in.get(reads, &target.namespace) else { return false };
    grants.values().any(|grant| {
        let spec = &grant.spec;
        spec.from.iter().any(|f| f.group == from.group && f.kind == from.kind && f.namespace == namespace)
            && spec.to.iter().any(|t| {
                t.group == to.group
                    && t.kind == to.kind
                    && t.name.as_deref().is_none_or(|name| name.is_empty() || *name == *target.name)
            })
    })
}
