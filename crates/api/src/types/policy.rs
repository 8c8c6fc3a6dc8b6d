//! What all policies of Envoy Gateway have in common: what they are attached to.

use std::collections::BTreeMap;

use super::LabelSelectorRequirement;
use super::envoyproxy::{Found, kept};

kept! {
    /// An object that a policy is attached to, in the policy's own namespace.
    PolicyTarget {
        /// Its group.
        group: String,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// A part of it, such as a listener; absent means all of it.
        section_name: String,
    }

    /// Objects that a policy is attached to by their labels.
    TargetSelector {
        /// Their group; Gateway API's by default.
        group: String,
        /// Their kind.
        kind: String,
        /// Where they are; the policy's own namespace by default.
        namespaces: SelectorNamespaces,
        /// Each of these labels has this value.
        match_labels: BTreeMap<String, String>,
        /// Each of these requirements holds.
        match_expressions: Vec<LabelSelectorRequirement>,
    }

    /// The namespaces of a [`TargetSelector`].
    SelectorNamespaces {
        /// `Same`, `All` or `Selector`.
        from: String,
    }
}

/// Names what has no effect of the targets of a policy.
pub(super) fn unsupported_targets(
    found: &mut Found,
    target: Option<&PolicyTarget>,
    targets: Option<&Vec<PolicyTarget>>,
    selectors: Option<&Vec<TargetSelector>>,
) {
    if let Some(target) = target {
        found.rest("targetRef", &target.rest);
    }
    for (index, target) in targets.into_iter().flatten().enumerate() {
        found.rest(&format!("targetRefs[{index}]"), &target.rest);
    }
    for (index, selector) in selectors.into_iter().flatten().enumerate() {
        let at = format!("targetSelectors[{index}]");
        found.rest(&at, &selector.rest);
        if let Some(namespaces) = &selector.namespaces {
            let at = format!("{at}.namespaces");
            found.rest(&at, &namespaces.rest);
            found.one_of(&format!("{at}.from"), namespaces.from.as_ref(), &["Same"]);
        }
    }
}
