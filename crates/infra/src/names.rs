//! Names, labels and annotations of a fleet's objects.

use std::collections::BTreeMap;

use gatehouse_model::FleetKey;
use gatehouse_translate::FleetPlan;

use crate::objects::Naming;
use crate::settings::{Placement, Settings};

/// Whose object it is: `metadata.uid` of the Gateway.
pub const GATEWAY_UID_ANNOTATION: &str = "gatehouse.dev/gateway-uid";
/// `namespace/name` of the Gateway.
pub const GATEWAY_ANNOTATION: &str = "gatehouse.dev/gateway";
/// The controller, as a label's value.
pub const CONTROLLER_LABEL: &str = "gatehouse.dev/controller";
/// Who made the object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "gatehouse";

/// Objects, Services above all, and labels have at most so many characters.
const LONGEST: usize = 63;

/// Eight hexadecimal digits.
fn short_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..8].to_owned()
}

fn hashed(text: &str, identity: &str) -> String {
    let room = LONGEST - 9;
    let cut: String = text.chars().take(room).collect();
    format!("{}-{}", cut.trim_end_matches(['-', '.', '_']), short_hash(identity))
}

/// A text as a label's value: itself when it is one, else shortened and told apart by a hash.
pub fn label_value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if text.len() <= LONGEST
        && text.chars().all(plain)
        && end(text.chars().next())
        && end(text.chars().last())
    {
        return text.to_owned();
    }
    let cleaned: String = text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    hashed(cleaned.trim_start_matches(['-', '.', '_']), text)
}

/// The name of a fleet's objects: a DNS label, since Services must have one.
pub(crate) fn object_name(plan: &FleetPlan, settings: &Settings, naming: Naming) -> String {
    let fleet = &plan.fleet.0;
    match settings.placement {
        Placement::GatewayNamespace => {
            let identity = format!("{}/{}", fleet.name, plan.class);
            dns_label(&format!("{}-{}", fleet.name, plan.class), &identity, naming)
        }
        Placement::ControllerNamespace => {
            let identity = format!("{}/{}", fleet.namespace, fleet.name);
            dns_label(&format!("envoy-{}-{}", fleet.namespace, fleet.name), &identity, Naming::Hashed)
        }
    }
}

fn dns_label(text: &str, identity: &str, naming: Naming) -> String {
    let mut label = text.replace('.', "-");
    if !label.starts_with(|c: char| c.is_ascii_lowercase()) {
        label.insert_str(0, "gw-");
    }
    if naming == Naming::Plain && label == text && label.len() <= LONGEST {
        label
    } else {
        hashed(&label, identity)
    }
}

pub(crate) fn namespace<'a>(fleet: &'a FleetKey, settings: &'a Settings) -> &'a str {
    match settings.placement {
        Placement::GatewayNamespace => &fleet.0.namespace,
        Placement::ControllerNamespace => &settings.controller_namespace,
    }
}

type Labels = BTreeMap<String, String>;

fn owned(pairs: impl IntoIterator<Item = (&'static str, String)>) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Labels that never change while the Gateway lives: they select its pods.
pub(crate) fn selector(fleet: &FleetKey) -> Labels {
    owned([
        ("app.kubernetes.io/name", "envoy".to_owned()),
        ("app.kubernetes.io/component", "proxy".to_owned()),
        ("gateway.envoyproxy.io/owning-gateway-name", label_value(&fleet.0.name)),
        ("gateway.envoyproxy.io/owning-gateway-namespace", label_value(&fleet.0.namespace)),
    ])
}

/// Labels of every object and of the pods, without the user's.
pub(crate) fn labels(plan: &FleetPlan, settings: &Settings) -> Labels {
    let mut labels = selector(&plan.fleet);
    labels.extend(owned([
        (MANAGED_BY_LABEL, MANAGED_BY.to_owned()),
        (CONTROLLER_LABEL, label_value(&settings.controller)),
        ("gateway.networking.k8s.io/gateway-name", label_value(&plan.fleet.0.name)),
        ("gateway.networking.k8s.io/gateway-class-name", label_value(&plan.class)),
    ]));
    labels
}

/// Annotations that say whose an object is.
pub(crate) fn identity(plan: &FleetPlan) -> Labels {
    owned([
        (GATEWAY_UID_ANNOTATION, plan.gateway_uid.to_string()),
        (GATEWAY_ANNOTATION, format!("{}/{}", plan.fleet.0.namespace, plan.fleet.0.name)),
    ])
}

#[cfg(test)]
mod tests {
    use super::{dns_label, label_value};
    use crate::Naming;

    #[test]
    fn label_values_are_valid_and_told_apart() {
        assert_eq!(label_value("web"), "web");
        let long = "a".repeat(64);
        let value = label_value(&long);
        assert_eq!(value.len(), 63);
        assert_ne!(value, label_value(&"a".repeat(65)));
        assert_ne!(label_value("gatehouse.dev/a"), label_value("gatehouse.dev_a"));
        assert!(label_value("gatehouse.dev/a").starts_with("gatehouse.dev_a-"));
    }

    #[test]
    fn names_that_are_no_dns_labels_carry_a_hash() {
        assert_eq!(dns_label("web-eg", "web/eg", Naming::Plain), "web-eg");
        assert!(dns_label("web-eg", "web/eg", Naming::Hashed).starts_with("web-eg-"));
        assert!(dns_label("1.web-eg", "1.web/eg", Naming::Plain).starts_with("gw-1-web-eg-"));
        assert_ne!(
            dns_label("a.b-eg", "a.b/eg", Naming::Plain),
            dns_label("a-b-eg", "a-b/eg", Naming::Plain)
        );
        let long = "g".repeat(100);
        assert_eq!(dns_label(&long, &long, Naming::Plain).len(), 63);
    }
}
