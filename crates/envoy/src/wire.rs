//! Protobuf wire fragments: what the generated types cannot write in a fixed order.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// Appends a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, payload: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// The fields of a message that has length-delimited ones only, in their order.
pub(crate) fn fields(mut message: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (field, kind) = decode_key(&mut message).ok()?;
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        if kind != WireType::LengthDelimited || length > message.len() {
            return None;
        }
        let (payload, rest) = message.split_at(length);
        fields.push((field, payload));
        message = rest;
    }
    Some(fields)
}

/// Appends one entry of a `map<string, message>` field.
pub(crate) fn put_map_entry(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    let mut entry = Vec::with_capacity(key.len() + value.len() + 12);
    put_bytes(&mut entry, 1, key.as_bytes());
    put_bytes(&mut entry, 2, value);
    put_bytes(out, field, &entry);
}

/// Key of our entry in `filter_metadata`.
const METADATA_NAMESPACE: &str = "gatehouse.dev";

/// An encoded `envoy.config.core.v3.Metadata` with string values under `gatehouse.dev`. `pairs` are written
/// as they come: the caller lists them in a fixed order.
pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Vec<u8> {
    const FILTER_METADATA: u32 = 1;
    let mut out = Vec::new();
    put_map_entry(&mut out, FILTER_METADATA, METADATA_NAMESPACE, &strings(pairs.iter().copied()));
    out
}

/// An encoded `google.protobuf.Struct` with string values, in the order in which they come.
pub(crate) fn strings<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    const STRUCT_FIELDS: u32 = 1;
    const VALUE_STRING: u32 = 3;
    let mut fields = Vec::new();
    for (key, text) in pairs {
        let mut value = Vec::new();
        put_bytes(&mut value, VALUE_STRING, text.as_bytes());
        put_map_entry(&mut fields, STRUCT_FIELDS, key, &value);
    }
    fields
}
