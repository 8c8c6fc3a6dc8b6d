//! The body of the answer to a stream: responses as pieces, then the status as trailers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use crate::codec::Pieces;
use crate::stream::Response;

/// What a session hands to the transport; no sender any more is a good end.
pub(crate) type Responses = mpsc::Receiver<Result<Response, Status>>;

/// Bytes of a stream that may wait in the transport. It would take 400 KB for each client that reads slowly, and all do
/// that when they come at once.
const ROOM: usize = 48 << 10;

/// What a slow client does not read is not encoded: a piece is made when those before it are written.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    /// Nothing after the trailers.
    responses: Option<Responses>,
    current: Option<Pieces>,
    room: Arc<Room>,
}

impl ResponseBody {
    pub(crate) fn new(responses: Responses) -> Self {
        Self { responses: Some(responses), current: None, room: Arc::default() }
    }

    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(pieces) = &mut self.current else { return Poll::Ready(None) };
        ready!(self.room.poll_free(context));
        let piece = pieces.next();
        Poll::Ready(piece.map(|piece| self.room.lend(piece)))
    }
}

/// The pieces that the transport has.
#[derive(Debug, Default)]
struct Room(Mutex<Lent>);

#[derive(Debug, Default)]
struct Lent {
    bytes: usize,
    /// Who waits until there are less.
    waiting: Option<Waker>,
}

impl Room {
    fn poll_free(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut lent = self.lent();
        if lent.bytes < ROOM {
            return Poll::Ready(());
        }
        lent.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    fn lend(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.lent().bytes += bytes.len();
        Bytes::from_owner(Piece { bytes, room: self.clone() })
    }

    fn give_back(&self, bytes: usize) {
        let mut lent = self.lent();
        lent.bytes -= bytes;
        let waiting = if lent.bytes < ROOM { lent.waiting.take() } else { None };
        drop(lent);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece that says when it is written or dropped.
struct Piece {
    bytes: Bytes,
    room: Arc<Room>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.room.give_back(self.bytes.len());
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(piece) = ready!(self.next_piece(context)) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.current = None;
            let Some(responses) = &mut self.responses else { return Poll::Ready(None) };
            let end = match ready!(responses.poll_recv(context)) {
                Some(response) => match response.and_then(Pieces::new) {
                    Ok(pieces) => {
                        self.current = Some(pieces);
                        continue;
                    }
                    Err(status) => status,
                },
                None => Status::ok(""),
            };
            self.responses = None;
            return Poll::Ready(Some(trailers(&end).map(Frame::trailers)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.responses.is_none()
    }
}

fn trailers(status: &Status) -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(trailers)
}

#[cfg(test)]
mod tests;
