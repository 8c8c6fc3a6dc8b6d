//! Which part of a status is ours, and its digest.

use gatehouse_api::ObjectRef;
use serde_json::Value;

/// Fields of a status that we write. Others belong to somebody else.
pub(super) const FIELDS: &[&str] = &[
    "addresses",
    "ancestors",
    "attachedListenerSets",
    "conditions",
    "listeners",
    "parents",
    "supportedFeatures",
];

/// Condition types of Gateway API; those of `gatehouse.dev/` are ours as well. Other types belong to somebody else, even on
/// a Gateway of ours.
const TYPES: &[&str] = &[
    "Accepted",
    "AddressesAssigned",
    "AttachedListenerSets",
    "Conflicted",
    "DefaultGateway",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "Overridden",
    "PartiallyInvalid",
    "Programmed",
    "ResolvedRefs",
    "SupportedVersion",
    "Warning",
];

/// How a status is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One entry per parent and controller.
    Route,
    /// One entry per ancestor and controller.
    Policy,
    /// The same with more room.
    Backend,
    /// One controller has it all, but for foreign condition types.
    Whole,
}

impl Shape {
    /// The shape of an object's status.
    pub fn of(object: &ObjectRef) -> Self {
        Self::of_kind(&object.kind)
    }

    pub(crate) fn of_kind(kind: &str) -> Self {
        if kind.ends_with("Route") {
            Self::Route
        } else if kind.ends_with("Policy") {
            Self::Policy
        } else if kind == "XBackend" {
            Self::Backend
        } else {
            Self::Whole
        }
    }

    /// Where the entries of all controllers are, and what each is about.
    pub(super) fn entries(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Route => Some(("parents", "parentRef")),
            Self::Policy | Self::Backend => Some(("ancestors", "ancestorRef")),
            Self::Whole => None,
        }
    }

    /// As many entries as the schema allows.
    pub(super) fn most(self) -> usize {
        if self == Self::Policy { 16 } else { 32 }
    }
}

/// Conditions that leave, the first one first, where there are more than an object may have.
pub(super) const LESSER_TYPES: &[&str] = &[
    "AddressesAssigned",
    "DefaultGateway",
    "gatehouse.dev/ParametersFollowed",
    "OverlappingTLSConfig",
    "InsecureFrontendValidationMode",
    "ResolvedRefs",
];

/// Whether a condition is of a type that we write.
pub(super) fn is_our_condition(condition: &Value) -> bool {
    let kind = condition["type"].as_str().unwrap_or_default();
    kind.starts_with("gatehouse.dev/") || TYPES.contains(&kind)
}

/// Fields that hold entries of several controllers.
pub(super) fn is_shared(field: &str) -> bool {
    matches!(field, "ancestors" | "parents")
}

/// Whether an entry of `status.parents` or `status.ancestors` was written by one of our names.
pub(super) fn is_our_entry(entry: &Value, controllers: &[impl AsRef<str>]) -> bool {
    entry["controllerName"].as_str().is_some_and(|name| controllers.iter().any(|ours| ours.as_ref() == name))
}

/// What two statuses must have alike for the same to be said: a hash of our part without times and without the order
/// of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u64);

impl Digest {
    /// Of our part of a status.
    pub fn of(shape: Shape, status: &Value, controllers: &[impl AsRef<str>]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for field in FIELDS {
            let value = &status[*field];
            match (shape.entries(), *field) {
                (Some((list, about)), field) if field == list => {
                    feed_entries(&mut hasher, value, about, controllers);
                }
                // Said or not: conditions that are not ours make no difference.
                (None, "conditions") => feed_conditions(&mut hasher, value),
                (None, field) if !is_shared(field) && !is_empty(value) => {
                    feed_text(&mut hasher, field);
                    feed_field(&mut hasher, field, value);
                }
                _ => {}
            }
        }
        let bytes = *hasher.finalize().as_bytes();
        Self(u64::from_le_bytes(std::array::from_fn(|i| bytes[i])))
    }

    /// Of a status in which nothing is ours.
    pub fn nothing() -> Self {
        Self::of(Shape::Route, &Value::Null, &[] as &[&str])
    }
}

/// The API server drops neither nor fills in either, but writers differ.
pub(super) fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn feed_entries(hasher: &mut blake3::Hasher, entries: &Value, about: &str, controllers: &[impl AsRef<str>]) {
    let ours = entries.as_array().into_iter().flatten().filter(|entry| is_our_entry(entry, controllers));
    // Their order depends on who wrote first.
    let mut ours: Vec<_> = ours.map(|entry| (entry[about].to_string(), entry)).collect();
    ours.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, entry) in ours {
        feed(hasher, &entry["controllerName"]);
        feed(hasher, &entry[about]);
        feed_conditions(hasher, &entry["conditions"]);
    }
}

fn feed_field(hasher: &mut blake3::Hasher, field: &str, value: &Value) {
    match field {
        "listeners" => {
            for listener in value.as_array().into_iter().flatten() {
                feed_text(hasher, "listener");
                let said = |(key, value): &(&str, &Value)| *key != "conditions" && !is_empty(value);
                for (key, value) in sorted(listener).filter(said) {
                    feed_text(hasher, key);
                    feed(hasher, value);
                }
                feed_conditions(hasher, &listener["conditions"]);
            }
        }
        _ => feed(hasher, value),
    }
}

fn feed_conditions(hasher: &mut blake3::Hasher, conditions: &Value) {
    let ours = conditions.as_array().into_iter().flatten().filter(|condition| is_our_condition(condition));
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by_key(|condition| condition["type"].as_str());
    for condition in ours {
        feed_text(hasher, "condition");
        for (key, value) in sorted(condition).filter(|(key, _)| *key != "lastTransitionTime") {
            feed_text(hasher, key);
            feed(hasher, value);
        }
    }
}

/// Every value has one form, whatever order its fields came in.
fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(_) => {
            feed_text(hasher, "{");
            for (key, value) in sorted(value) {
                feed_text(hasher, key);
                feed(hasher, value);
            }
            feed_text(hasher, "}");
        }
        Value::Array(items) => {
            feed_text(hasher, "[");
            for item in items {
                feed(hasher, item);
            }
            feed_text(hasher, "]");
        }
        Value::String(text) => feed_text(hasher, text),
        other => feed_text(hasher, &other.to_string()),
    }
}

fn sorted(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mut fields: Vec<_> =
        object.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_by_key(|(key, _)| *key);
    fields.into_iter()
}

/// With its length first, so that no two sequences of texts look alike.
fn feed_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}
