//! Secret, whose values never reach a log.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Meta, meta::resource, null_default};

/// Sensitive data by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenSecret")]
pub struct Secret {
    /// Name and the like.
    pub metadata: Meta,
    /// Such as `kubernetes.io/tls`; defaults to `Opaque`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<String>,
    /// `data` and `stringData` as one map; the latter wins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, SecretBytes>,
}
resource!(Secret, "", "v1", true);

/// A Secret as it is written: `stringData` is write-only and ends up in `data`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSecret {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, rename = "type")]
    secret_type: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    data: BTreeMap<String, SecretBytes>,
    #[serde(default, deserialize_with = "null_default")]
    string_data: BTreeMap<String, String>,
}

impl From<WrittenSecret> for Secret {
    fn from(written: WrittenSecret) -> Self {
        let WrittenSecret { metadata, secret_type, mut data, string_data } = written;
        data.extend(string_data.into_iter().map(|(key, text)| (key, SecretBytes::from(text.into_bytes()))));
        Self { metadata, secret_type, data }
    }
}

/// Bytes that print as their length only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes redacted]", self.0.len())
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Go's decoder skips line breaks inside base64, and so do people who wrap it.
        let text: String = null_default(deserializer)?;
        let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        STANDARD.decode(compact).map(Self).map_err(|_| D::Error::custom("value is not base64"))
    }
}
