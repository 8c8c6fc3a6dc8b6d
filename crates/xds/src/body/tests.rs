use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use gatehouse_model::{Body as Version, ResourceType};
use http_body::Body;
use tokio::sync::mpsc;
use tonic::Status;

use super::ResponseBody;
use crate::codec::encode;
use crate::stream::Response;

fn response(sizes: &[usize]) -> Response {
    let bytes = |(n, size): (usize, &usize)| Bytes::from(vec![u8::try_from(n % 251).unwrap(); *size]);
    let resource =
        |(n, size)| (format!("name-{n}").into(), Version { version: "1".into(), bytes: bytes((n, size)) });
    Response {
        kind: ResourceType::Cluster,
        nonce: "1".into(),
        revision: 1,
        resources: sizes.iter().enumerate().map(resource).collect(),
        removed: vec!["gone".into()],
    }
}

/// The pieces of a body whose sender says these things and goes away, and its `grpc-status`.
async fn pieces(said: Vec<Result<Response, Status>>) -> (Vec<Bytes>, String) {
    let (sink, responses) = mpsc::channel(said.len().max(1));
    for response in said {
        sink.send(response).await.unwrap();
    }
    drop(sink);
    let mut body = ResponseBody::new(responses);
    let mut data = Vec::new();
    loop {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().unwrap();
        match frame.into_data() {
            // The transport writes it, and what it shares is free again.
            Ok(piece) => data.push(Bytes::copy_from_slice(&piece)),
            Err(frame) => {
                assert!(poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_none());
                let trailers = frame.into_trailers().unwrap();
                return (data, trailers["grpc-status"].to_str().unwrap().to_owned());
            }
        }
    }
}

/// The messages in a stream of pieces.
fn messages(pieces: &[Bytes]) -> Vec<Vec<u8>> {
    let all = pieces.concat();
    let mut rest = &all[..];
    let mut messages = Vec::new();
    while rest.has_remaining() {
        assert_eq!(rest.get_u8(), 0, "not compressed");
        let len = rest.get_u32() as usize;
        messages.push(rest[..len].to_vec());
        rest.advance(len);
    }
    messages
}

#[tokio::test]
async fn pieces_of_any_size_make_the_messages() {
    let all = [
        response(&[]),
        response(&[1]),
        response(&[400; 1000]),
        response(&[4096, 4097, 0, 100_000, 100_000, 5]),
        response(&[16_384; 3]),
    ];
    let (pieces, status) = pieces(all.iter().cloned().map(Ok).collect()).await;
    let expected = all.iter().map(|response| {
        let mut bytes = Vec::new();
        encode(response, &mut bytes);
        bytes
    });
    assert_eq!(messages(&pieces), expected.collect::<Vec<_>>());
    assert_eq!(status, "0");
}

#[tokio::test]
async fn pieces_are_small_but_for_large_resources() {
    let large = response(&[100_000]);
    let (pieces, _) = pieces(vec![Ok(response(&[400; 1000])), Ok(large)]).await;
    let (copied, whole): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| piece.len() < 100_000);
    assert!(copied.len() > 400 * 1000 / (16 << 10) && copied.iter().all(|piece| piece.len() <= 20 << 10));
    assert_eq!(whole.len(), 1);
}

#[tokio::test]
async fn an_error_ends_the_body_with_its_status() {
    let said = vec![Ok(response(&[1])), Err(Status::unavailable("too old")), Ok(response(&[1]))];
    let (pieces, status) = pieces(said).await;
    assert_eq!((messages(&pieces).len(), status.as_str()), (1, "14"));
}

#[tokio::test]
async fn no_piece_is_made_while_the_transport_has_enough() {
    let (sink, responses) = mpsc::channel(1);
    sink.send(Ok(response(&[400; 1000]))).await.unwrap();
    let mut body = ResponseBody::new(responses);
    let mut context = Context::from_waker(Waker::noop());
    let mut unread = Vec::new();
    while let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(&mut context) {
        unread.push(frame.unwrap().unwrap().into_data().unwrap());
    }
    let waiting: usize = unread.iter().map(Bytes::len).sum();
    assert!((32 << 10..80 << 10).contains(&waiting), "{waiting}");
    let next = tokio::spawn(async move { poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    unread.clear();
    assert!(next.await.unwrap().unwrap().unwrap().is_data(), "what was written makes room");
}

#[test]
fn a_large_resource_is_handed_on_without_a_copy() {
    let large = response(&[100_000]);
    let shared = large.resources[0].1.bytes.as_ptr();
    let mut pieces = crate::codec::Pieces::new(large).unwrap();
    assert!(pieces.any(|piece| piece.as_ptr() == shared));
}
