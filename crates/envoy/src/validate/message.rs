//! Checks encoded messages against the validation rules in Envoy's protobuf files.

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};

use super::rules::{FieldRules, Leaf, Size, rules_of};
use crate::Invalid;
use crate::descriptors::message_of;
use crate::json::{any_parts, dynamic};

/// Checks a message with everything inside it, `Any` values of known types included.
///
/// Decodes the whole message by reflection: some microseconds for a route, milliseconds for a large table.
/// Call it for what changed, not for what is served. The first finding is returned.
pub fn message(type_url: &str, bytes: &[u8]) -> Result<(), Invalid> {
    let descriptor =
        message_of(type_url).ok_or_else(|| Invalid::new("", format!("unknown type {type_url}")))?;
    let message = dynamic(descriptor, bytes).map_err(|error| Invalid::new("", error.to_string()))?;
    check(&message, &Path::Root)
}

/// Where a value is; written out only for a finding.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
    Key(&'a Path<'a>, String),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

impl Path<'_> {
    fn finding(&self, message: impl Into<String>) -> Result<(), Invalid> {
        Err(Invalid::new(self.to_string(), message))
    }
}

fn check(message: &DynamicMessage, path: &Path<'_>) -> Result<(), Invalid> {
    let descriptor = message.descriptor();
    if descriptor.full_name() == "google.protobuf.Any" {
        return check_any(message, path);
    }
    let rules = rules_of(descriptor.full_name());
    for oneof in &rules.required_oneofs {
        if !oneof.fields().any(|field| message.has_field(&field)) {
            return Path::Field(path, oneof.name()).finding("value is required");
        }
    }
    for (field, field_rules) in &rules.fields {
        let path = Path::Field(path, field.name());
        if message.has_field(field) {
            check_field(field_rules, &message.get_field(field), &path)?;
        } else if field_rules.required && field.containing_oneof().is_none() {
            return path.finding("value is required");
        } else if !field.supports_presence() {
            check_field(field_rules, &message.get_field(field), &path)?;
        }
    }
    // What has no rules of its own may hold messages that have.
    let skipped =
        |field: &FieldDescriptor| rules.fields.iter().any(|(known, rules)| known == field && rules.skip);
    message
        .fields()
        .filter(|(field, _)| field.kind().as_message().is_some() && !skipped(field))
        .try_for_each(|(field, value)| check_inside(value, &Path::Field(path, field.name())))
}

fn check_any(message: &DynamicMessage, path: &Path<'_>) -> Result<(), Invalid> {
    let (url, bytes) = any_parts(message);
    match message_of(&url) {
        None => Ok(()),
        Some(descriptor) => {
            let inner = dynamic(descriptor, &bytes).or_else(|error| {
                path.finding(error.to_string()).map(|()| DynamicMessage::new(message.descriptor()))
            })?;
            check(&inner, path)
        }
    }
}

/// Descends into messages.
fn check_inside(value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
    match value {
        Value::Message(inner) => check(inner, path),
        Value::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check_inside(item, &Path::Index(path, index))),
        Value::Map(entries) => entries
            .iter()
            .try_for_each(|(key, item)| check_inside(item, &Path::Key(path, format!("{key:?}")))),
        _ => Ok(()),
    }
}

/// The rules of a field on its value.
fn check_field(rules: &FieldRules, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
    match value {
        Value::List(items) => {
            check_size(&rules.size, items.len(), "items", path)?;
            let Some(each) = &rules.items else { return Ok(()) };
            items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| check_field(each, item, &Path::Index(path, index)))
        }
        Value::Map(entries) => {
            check_size(&rules.size, entries.len(), "pairs", path)?;
            let Some(each) = &rules.items else { return Ok(()) };
            entries
                .iter()
                .try_for_each(|(key, item)| check_field(each, item, &Path::Key(path, format!("{key:?}"))))
        }
        single => match &rules.leaf {
            Some(leaf) => check_leaf(leaf, single, path),
            None => Ok(()),
        },
    }
}

fn check_size(size: &Size, found: usize, what: &str, path: &Path<'_>) -> Result<(), Invalid> {
    if found == 0 && size.ignore_empty {
        return Ok(());
    }
    if found < size.least {
        return path.finding(format!("value must contain at least {} {what}", size.least));
    }
    if found > size.most {
        return path.finding(format!("value must contain no more than {} {what}", size.most));
    }
    Ok(())
}

fn check_leaf(leaf: &Leaf, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
    match (leaf, value) {
        // Wrappers carry the rules of what they wrap; durations are compared as numbers.
        (_, Value::Message(message)) => match message.descriptor().full_name() {
            "google.protobuf.Duration" => check_leaf(leaf, &Value::F64(seconds(message)), path),
            name if name.ends_with("Value") && name.starts_with("google.protobuf.") => {
                match message.get_field_by_name("value") {
                    Some(inner) => check_leaf(leaf, &inner, path),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        },
        (Leaf::Text(rules), Value::String(text)) => match rules.finding(text) {
            Some(message) => path.finding(message),
            None => Ok(()),
        },
        (Leaf::Bytes(size), Value::Bytes(bytes)) => check_size(size, bytes.len(), "bytes", path),
        (Leaf::Number(rules), value) => match number(value).and_then(|value| rules.finding(value)) {
            Some(message) => path.finding(message),
            None => Ok(()),
        },
        (Leaf::Bool(expected), Value::Bool(found)) if expected != found => {
            path.finding(format!("value must equal {expected}"))
        }
        (Leaf::Enum(rules), Value::EnumNumber(number)) if !rules.allows(*number) => {
            path.finding("value must be one of the defined enum values")
        }
        _ => Ok(()),
    }
}

/// Rules are bounds of a few digits: the rounding of very large numbers does not matter.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::I32(value) => Some(f64::from(*value)),
        Value::U32(value) => Some(f64::from(*value)),
        Value::I64(value) => Some(*value as f64),
        Value::U64(value) => Some(*value as f64),
        Value::F32(value) => Some(f64::from(*value)),
        Value::F64(value) => Some(*value),
        Value::Message(message) => Some(seconds(message)),
        _ => None,
    }
}

fn seconds(duration: &DynamicMessage) -> f64 {
    let part = |name| {
        let value = duration.get_field_by_name(name);
        value
            .as_deref()
            .filter(|value| !matches!(value, Value::Message(_)))
            .and_then(number)
            .unwrap_or_default()
    };
    part("seconds") + part("nanos") / 1e9
}

#[cfg(test)]
mod tests;
