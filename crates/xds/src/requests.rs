//! The requests of a stream, out of the frames of its body.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http_body::Body as _;
use prost::Message;
use tonic::{Code, Status};

/// What gRPC writes before a message: whether it is compressed, and the length.
const PREFIX: usize = 5;
/// A buffer that is larger is given back once it is empty: the first requests of a client list all that it has, those
/// that follow are acknowledgements.
const KEPT: usize = 4 << 10;

/// Reads requests.
#[derive(Debug)]
pub(crate) struct Requests {
    body: tonic::body::Body,
    /// What came and is not a whole request.
    buffer: BytesMut,
    /// The largest request that is taken.
    limit: usize,
}

impl Requests {
    pub(crate) fn new(body: tonic::body::Body, limit: usize) -> Self {
        Self { body, buffer: BytesMut::new(), limit }
    }

    /// The next request, or nothing at the end. Loses nothing when it is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        loop {
            if let Some(request) = self.buffered()? {
                return Ok(Some(request));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                // The client ended the call.
                Some(Err(status)) if status.code() == Code::Cancelled => return Ok(None),
                Some(Err(status)) => return Err(status),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("the stream ended within a request")),
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        let Some(mut prefix) = self.buffer.get(..PREFIX) else { return Ok(None) };
        if prefix.get_u8() != 0 {
            return Err(Status::unimplemented("compressed requests are not understood"));
        }
        let len = prefix.get_u32() as usize;
        if len > self.limit {
            let limit = self.limit;
            return Err(Status::out_of_range(format!("a request of {len} bytes; at most {limit} are taken")));
        }
        let Some(message) = self.buffer.get(PREFIX..PREFIX + len) else {
            self.buffer.reserve(PREFIX + len - self.buffer.len());
            return Ok(None);
        };
        let request = DeltaDiscoveryRequest::decode(message)
            .map_err(|error| Status::invalid_argument(format!("cannot decode request: {error}")))?;
        self.buffer.advance(PREFIX + len);
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(Some(request))
    }
}

#[cfg(test)]
mod tests;
