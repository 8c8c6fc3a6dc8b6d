//! Responses on the wire: written straight from shared bytes and in pieces, so that a stream never holds a copy of a
//! large one.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use gatehouse_model::Body;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::Status;

use crate::stream::Response;

/// A piece ends when it has this size: what fits into one frame of HTTP/2 as it is usual.
const PIECE: usize = 16 << 10;
/// The bytes of a resource that is larger are handed on as they are, not copied.
const COPIED: usize = 4 << 10;
/// What gRPC writes before a message: "not compressed", and the length.
const PREFIX: usize = 5;

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

/// A response as gRPC frames it, piece by piece; each piece is made when it is asked for.
#[derive(Debug)]
pub(crate) struct Pieces {
    type_url: &'static str,
    /// Everything before the resources, until it is written.
    head: BytesMut,
    resources: std::vec::IntoIter<(Arc<str>, Body)>,
    /// The bytes of the resource that the last piece ended with.
    large: Option<Bytes>,
    /// Bytes that are not written yet.
    left: usize,
}

impl Pieces {
    pub(crate) fn new(response: Response) -> Result<Self, Status> {
        let len = encoded_len(&response);
        let prefix = u32::try_from(len);
        let prefix = prefix
            .map_err(|_| Status::resource_exhausted(format!("a response of {len} bytes is too long")))?;
        let mut head = BytesMut::with_capacity((PREFIX + len).min(PIECE + COPIED));
        head.put_u8(0);
        head.put_u32(prefix);
        put_head(&response, &mut head);
        let type_url = response.kind.type_url();
        Ok(Self {
            type_url,
            head,
            resources: response.resources.into_iter(),
            large: None,
            left: PREFIX + len,
        })
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.large.take().unwrap_or_else(|| self.written());
        self.left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    }
}

impl Pieces {
    /// The next piece that has to be written; empty at the end.
    fn written(&mut self) -> Bytes {
        let mut piece = std::mem::take(&mut self.head);
        piece.reserve(self.left.min(PIECE + COPIED).saturating_sub(piece.len()));
        while piece.len() < PIECE && self.large.is_none() {
            let Some((name, body)) = self.resources.next() else { break };
            put_resource_head(self.type_url, &name, &body, &mut piece);
            if body.bytes.len() > COPIED {
                self.large = Some(body.bytes);
            } else {
                piece.put_slice(&body.bytes);
            }
        }
        piece.freeze()
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
    put_head(item, buf);
    for (name, body) in &item.resources {
        put_resource_head(item.kind.type_url(), name, body, buf);
        buf.put_slice(&body.bytes);
    }
}

/// Everything but the resources, which come last.
fn put_head(item: &Response, buf: &mut impl BufMut) {
    put(response::SYSTEM_VERSION_INFO, item.revision.to_string().as_bytes(), buf);
    put(response::TYPE_URL, item.kind.type_url().as_bytes(), buf);
    put(response::NONCE, item.nonce.as_bytes(), buf);
    for name in &item.removed {
        put(response::REMOVED_RESOURCES, name.as_bytes(), buf);
    }
}

/// Everything of a resource but its bytes, which come last.
fn put_resource_head(url: &str, name: &str, body: &Body, buf: &mut impl BufMut) {
    put_header(response::RESOURCES, resource_len(url, name, body), buf);
    put(resource::NAME, name.as_bytes(), buf);
    put(resource::VERSION, body.version.as_bytes(), buf);
    put_header(resource::RESOURCE, any_len(url, body), buf);
    put(any::TYPE_URL, url.as_bytes(), buf);
    put_header(any::VALUE, body.bytes.len(), buf);
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
