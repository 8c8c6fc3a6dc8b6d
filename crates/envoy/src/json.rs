//! Encoded messages as readable JSON, with Envoy's own field names (`route_config_name`), so that output can
//! be compared with Envoy's documentation and dumps and be fed back to it.
//!
//! `Any` values are resolved; one of an unknown type shows its type and its bytes. Fields that Envoy marks as
//! sensitive (private keys) are not shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value,
};
use serde_json::{Map, Value as Json};

use crate::descriptors::{message_of, pool};

/// Bytes that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type is not among those that Gatehouse encodes.
    #[error("decode {0}: unknown type")]
    UnknownType(String),
    /// The bytes are not a message of the type.
    #[error("decode {type_name}: {source}")]
    Malformed {
        /// Full name of the message.
        type_name: String,
        /// What is wrong with the bytes.
        source: prost::DecodeError,
    },
}

/// Shown instead of what is sensitive.
const REDACTED: &str = "[redacted]";

/// Decodes a message of the given type URL: a resource, or what an `Any` holds.
pub fn decode(type_url: &str, bytes: &[u8]) -> Result<Json, DecodeError> {
    let descriptor = message_of(type_url).ok_or_else(|| DecodeError::UnknownType(type_url.to_owned()))?;
    dynamic(descriptor, bytes).map(|message| object(&message))
}

pub(crate) fn dynamic(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, DecodeError> {
    let type_name = descriptor.full_name().to_owned();
    DynamicMessage::decode(descriptor, bytes).map_err(|source| DecodeError::Malformed { type_name, source })
}

fn object(message: &DynamicMessage) -> Json {
    match message.descriptor().full_name() {
        "google.protobuf.Any" => any(message),
        // Durations, wrappers, structs: JSON forms of their own, without any `Any` inside.
        name if name.starts_with("google.protobuf.") => serde_json::to_value(message).unwrap_or(Json::Null),
        _ => Json::Object(fields(message)),
    }
}

fn fields(message: &DynamicMessage) -> Map<String, Json> {
    message
        .fields()
        .map(|(field, value)| {
            let json = if is_sensitive(&field) { REDACTED.into() } else { self::value(&field, value) };
            (field.name().to_owned(), json)
        })
        .collect()
}

fn value(field: &FieldDescriptor, value: &Value) -> Json {
    match value {
        Value::List(items) => items.iter().map(|item| scalar(&field.kind(), item)).collect(),
        Value::Map(entries) => {
            let kind = match field.kind() {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                kind => kind,
            };
            entries.iter().map(|(key, item)| (map_key(key), scalar(&kind, item))).collect()
        }
        single => scalar(&field.kind(), single),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn scalar(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        // 64-bit numbers are strings in protobuf's JSON.
        Value::I64(value) => value.to_string().into(),
        Value::U64(value) => value.to_string().into(),
        Value::F32(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => match std::str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => STANDARD.encode(value).into(),
        },
        Value::EnumNumber(number) => match kind {
            Kind::Enum(kind) => kind
                .get_value(*number)
                .map_or_else(|| (*number).into(), |value| value.name().to_owned().into()),
            _ => (*number).into(),
        },
        Value::Message(message) => object(message),
        Value::List(items) => items.iter().map(|item| scalar(kind, item)).collect(),
        Value::Map(_) => Json::Null,
    }
}

/// `{"@type": .., fields}`, `{"@type": .., "value": json}` for types with a form of their own, and the bytes
/// of a type that we do not know or that do not decode.
fn any(message: &DynamicMessage) -> Json {
    let (url, bytes) = any_parts(message);
    let mut out = Map::from_iter([("@type".to_owned(), Json::from(url.as_str()))]);
    match decode(&url, &bytes) {
        Ok(Json::Object(fields)) if !url.contains("google.protobuf.") => out.extend(fields),
        Ok(other) => {
            out.insert("value".to_owned(), other);
        }
        Err(_) => {
            out.insert("value".to_owned(), STANDARD.encode(&bytes).into());
        }
    }
    Json::Object(out)
}

/// Type URL and value of an `Any`.
pub(crate) fn any_parts(message: &DynamicMessage) -> (String, Vec<u8>) {
    let text = message.get_field_by_name("type_url");
    let bytes = message.get_field_by_name("value");
    let url = text.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    (url, bytes.as_ref().and_then(|value| value.as_bytes()).map(|bytes| bytes.to_vec()).unwrap_or_default())
}

fn is_sensitive(field: &FieldDescriptor) -> bool {
    sensitive_option().is_some_and(|option| {
        let options = field.options();
        options.has_extension(&option) && options.get_extension(&option).as_bool() == Some(true)
    })
}

fn sensitive_option() -> Option<ExtensionDescriptor> {
    pool().all_extensions().find(|extension| extension.full_name() == "udpa.annotations.sensitive")
}

#[cfg(test)]
mod tests;
