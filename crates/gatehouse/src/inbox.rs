//! What feeds a graph thread, whatever it is made of.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::mpsc::UnboundedReceiver;

/// Somebody wants to see inside the thread.
pub(crate) struct Question {
    /// What to show.
    pub(crate) name: String,
    /// `None` when there is nothing of that name.
    pub(crate) answer: mpsc::Sender<Option<String>>,
}

/// Hands on what comes as inputs of the thread, until either side ends.
pub(crate) async fn forward<T, I>(mut from: UnboundedReceiver<T>, inbox: mpsc::Sender<I>, input: fn(T) -> I) {
    while let Some(next) = from.recv().await {
        if inbox.send(input(next)).is_err() {
            return;
        }
    }
}

/// Answers `/debug/<name>` by asking the thread.
pub(crate) fn dumper<I: Send + 'static>(
    inbox: mpsc::Sender<I>,
    input: fn(Question) -> I,
) -> gatehouse_admin::Dump {
    let inbox = Mutex::new(inbox);
    Arc::new(move |name| {
        let (answer, answered) = mpsc::channel();
        let sender = inbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.send(input(Question { name: name.to_owned(), answer })).ok()?;
        answered.recv().ok().flatten()
    })
}
