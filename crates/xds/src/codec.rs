//! The gRPC codec: requests by prost, responses written straight from shared bytes.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatehouse_model::Body;
use prost::Message;
use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::stream::Response;

/// Field numbers of `DeltaDiscoveryResponse`.
mod response {
    pub(super) const SYSTEM_VERSION_INFO: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED_RESOURCES: u32 = 6;
}

/// Field numbers of `Resource`.
mod resource {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCE: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// Field numbers of `google.protobuf.Any`.
mod any {
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// Decodes requests and encodes [`Response`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeltaCodec;

impl Codec for DeltaCodec {
    type Encode = Response;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for DeltaCodec {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, item: Response, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.reserve(encoded_len(&item));
        encode(&item, target);
        Ok(())
    }
}

impl Decoder for DeltaCodec {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let request = DeltaDiscoveryRequest::decode(source);
        request.map(Some).map_err(|error| Status::invalid_argument(format!("cannot decode request: {error}")))
    }
}

/// The size of the message that [`encode`] writes.
pub fn encoded_len(item: &Response) -> usize {
    let url = item.kind.type_url();
    let resources = item
        .resources
        .iter()
        .map(|(name, body)| field_len(response::RESOURCES, resource_len(url, name, body)));
    let removed = item.removed.iter().map(|name| field_len(response::REMOVED_RESOURCES, name.len()));
    field_len(response::SYSTEM_VERSION_INFO, item.revision.to_string().len())
        + resources.sum::<usize>()
        + field_len(response::TYPE_URL, url.len())
        + field_len(response::NONCE, item.nonce.len())
        + removed.sum::<usize>()
}

/// Writes the response as a `DeltaDiscoveryResponse`.
pub fn encode(item: &Response, buf: &mut impl BufMut) {
    let url = item.kind.type_url();
    put(response::SYSTEM_VERSION_INFO, item.revision.to_string().as_bytes(), buf);
    for (name, body) in &item.resources {
        put_header(response::RESOURCES, resource_len(url, name, body), buf);
        put(resource::VERSION, body.version.as_bytes(), buf);
        put_header(resource::RESOURCE, any_len(url, body), buf);
        put(any::TYPE_URL, url.as_bytes(), buf);
        put(any::VALUE, &body.bytes, buf);
        put(resource::NAME, name.as_bytes(), buf);
    }
    put(response::TYPE_URL, url.as_bytes(), buf);
    put(response::NONCE, item.nonce.as_bytes(), buf);
    for name in &item.removed {
        put(response::REMOVED_RESOURCES, name.as_bytes(), buf);
    }
}

fn resource_len(url: &str, name: &str, body: &Body) -> usize {
    field_len(resource::VERSION, body.version.len())
        + field_len(resource::RESOURCE, any_len(url, body))
        + field_len(resource::NAME, name.len())
}

fn any_len(url: &str, body: &Body) -> usize {
    field_len(any::TYPE_URL, url.len()) + field_len(any::VALUE, body.bytes.len())
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn put_header(tag: u32, len: usize, buf: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, buf);
    encode_varint(len as u64, buf);
}

fn put(tag: u32, bytes: &[u8], buf: &mut impl BufMut) {
    put_header(tag, bytes.len(), buf);
    buf.put_slice(bytes);
}

#[cfg(test)]
mod tests;
