use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http_body::Frame;
use prost::Message;
use tonic::{Code, Status};

use super::Requests;

/// A body of frames that came already.
struct Frames(std::vec::IntoIter<Result<Bytes, Status>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.next().map(|frame| frame.map(Frame::data)))
    }
}

fn requests(frames: Vec<Result<Bytes, Status>>) -> Requests {
    Requests::new(tonic::body::Body::new(Frames(frames.into_iter())), 10_000)
}

fn named(names: usize) -> DeltaDiscoveryRequest {
    let resource_names_subscribe = (0..names).map(|n| format!("name-{n}")).collect();
    DeltaDiscoveryRequest { resource_names_subscribe, ..DeltaDiscoveryRequest::default() }
}

fn framed(request: &DeltaDiscoveryRequest) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.put_u32(u32::try_from(request.encoded_len()).unwrap());
    request.encode(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn requests_are_read_however_they_are_cut() {
    let sent = [named(0), named(1), named(800), named(2)];
    let bytes = sent.iter().flat_map(framed).collect::<Vec<_>>();
    for size in [1, 3, 5, 100, 4096, bytes.len()] {
        let frames = bytes.chunks(size).map(|frame| Ok(Bytes::copy_from_slice(frame)));
        let mut requests = requests(frames.collect());
        for request in &sent {
            assert_eq!(requests.next().await.unwrap().as_ref(), Some(request));
        }
        assert_eq!(requests.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_room_for_a_large_request_is_given_back() {
    let mut requests = requests(vec![Ok(framed(&named(800)).into()), Ok(framed(&named(1)).into())]);
    requests.next().await.unwrap();
    assert_eq!(requests.buffer.capacity(), 0);
    assert_eq!(requests.next().await.unwrap(), Some(named(1)));
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_stream_with_a_status() {
    let code = async |frame: Result<Bytes, Status>| requests(vec![frame]).next().await.unwrap_err().code();
    assert_eq!(code(Ok(framed(&named(2000)).into())).await, Code::OutOfRange);
    assert_eq!(code(Ok(vec![1, 0, 0, 0, 0].into())).await, Code::Unimplemented);
    assert_eq!(code(Ok(vec![0, 0, 0, 0, 1, 255].into())).await, Code::InvalidArgument);
    assert_eq!(code(Ok(vec![0, 0, 0].into())).await, Code::Internal);
    assert_eq!(code(Err(Status::unavailable("broken"))).await, Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_ends_the_call_ends_the_requests() {
    assert_eq!(requests(vec![Err(Status::cancelled("reset"))]).next().await.unwrap(), None);
}
