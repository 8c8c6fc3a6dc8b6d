//! The descriptors of Envoy's messages.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

static SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(SET).expect("the build wrote a set that holds every file it depends on")
});

/// All messages reachable from what we encode.
pub(crate) fn pool() -> &'static DescriptorPool {
    &POOL
}

/// Prefix of a type URL before the full name of the message.
const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// The message that a type URL names, if it is among those that we know.
pub(crate) fn message_of(type_url: &str) -> Option<MessageDescriptor> {
    pool().get_message_by_name(type_url.strip_prefix(TYPE_URL_PREFIX).unwrap_or(type_url))
}
