//! Versions of resources: content, never counters.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Versions are shown in dumps and logs: the key keeps guessable secrets from being found by their hash when
/// the owner of a fleet gives its own; the default only separates our hashes from those of others.
const PROJECT_KEY: &[u8; 32] = b"gatehouse.dev/xds-version/v1\0\0\0\0";

/// Makes versions under one key.
#[derive(Clone)]
pub struct Versioner {
    key: [u8; 32],
}

impl std::fmt::Debug for Versioner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versioner").finish_non_exhaustive()
    }
}

impl Default for Versioner {
    fn default() -> Self {
        Self::new(*PROJECT_KEY)
    }
}

impl Versioner {
    /// Uses a key of the caller.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The first 96 bits of the keyed BLAKE3 hash, as 16 characters of URL-safe base64.
    pub fn version(&self, bytes: &[u8]) -> Arc<str> {
        let hash = blake3::keyed_hash(&self.key, bytes);
        URL_SAFE_NO_PAD.encode(&hash.as_bytes()[..12]).into()
    }
}

/// [`Versioner::version`] under the project's fixed key.
///
/// ```
/// assert_eq!(gatehouse_envoy::version(b"a").len(), 16);
/// assert_ne!(gatehouse_envoy::version(b"a"), gatehouse_envoy::version(b"b"));
/// ```
pub fn version(bytes: &[u8]) -> Arc<str> {
    Versioner::default().version(bytes)
}
