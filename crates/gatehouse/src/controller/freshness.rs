//! Whether what a new leader knows is at least as new as what the leader before it served.
//!
//! A standby's watches may lag, and a proxy must not be rolled back to what they knew. So a term begins with a question to
//! the API server. Once is enough: while a term lasts nobody else serves, and what one process knows only grows.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use gatehouse_kube::leader::Leadership;
use gatehouse_kube::source::SourceHandle;
use tokio::sync::watch;

use super::thread::Input;

/// How long proxies wait for a leader that cannot prove that it is current. They go on with what they have meanwhile, but
/// no edit reaches them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is to know of terms.
pub(super) trait Terms: Send + 'static {
    /// One begins, and what is known is to be proven; they are numbers that grow.
    fn begins(&self, term: u64);
    /// It is over.
    fn ends(&self);
}

/// The source, which proves, and the graph thread.
pub(super) struct Parts {
    pub(super) source: SourceHandle,
    pub(super) inbox: mpsc::Sender<Input>,
}

impl Terms for Parts {
    fn begins(&self, term: u64) {
        self.tell(true);
        self.source.catch_up(term);
    }

    fn ends(&self) {
        self.tell(false);
    }
}

impl Parts {
    fn tell(&self, leads: bool) {
        if self.inbox.send(Input::Term { leads }).is_err() {
            tracing::debug!("the graph thread has ended");
        }
    }
}

/// Follows the terms: true while we lead and what is committed is current. `committed` is the last question that was
/// answered.
pub(super) fn follow(
    leadership: watch::Receiver<Leadership>,
    parts: impl Terms,
    committed: watch::Receiver<u64>,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(terms(leadership, parts, committed, sender, PATIENCE));
    receiver
}

async fn terms(
    mut leadership: watch::Receiver<Leadership>,
    parts: impl Terms,
    mut committed: watch::Receiver<u64>,
    fresh: watch::Sender<bool>,
    patience: Duration,
) {
    for term in 1.. {
        if leadership.wait_for(Leadership::is_leader).await.is_err() {
            return;
        }
        let asked = Instant::now();
        parts.begins(term);
        let mut deposed = leadership.clone();
        tokio::select! {
            outcome = tokio::time::timeout(patience, committed.wait_for(|answered| *answered >= term)) => {
                if outcome.is_ok() {
                    tracing::info!(after = ?asked.elapsed(), "what we know is current");
                } else {
                    tracing::warn!(
                        "the API server has not vouched for it that what we know is current; proxies are served from it"
                    );
                }
                fresh.send_replace(true);
            }
            _ = deposed.wait_for(|state| !state.is_leader()) => {}
        }
        if leadership.wait_for(|state| !state.is_leader()).await.is_err() {
            return;
        }
        fresh.send_replace(false);
        parts.ends();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatehouse_kube::leader::Leadership;
    use tokio::sync::{mpsc, watch};

    use super::{Terms, terms};

    const LONG: Duration = Duration::from_hours(1);

    struct Questions(mpsc::UnboundedSender<u64>);

    impl Terms for Questions {
        fn begins(&self, term: u64) {
            self.0.send(term).expect("the test listens");
        }

        fn ends(&self) {}
    }

    struct World {
        leadership: watch::Sender<Leadership>,
        committed: watch::Sender<u64>,
        questions: mpsc::UnboundedReceiver<u64>,
        fresh: watch::Receiver<bool>,
    }

    impl World {
        fn new(patience: Duration) -> Self {
            let (leadership, led) = watch::channel(Leadership::Standby { holder: None });
            let (committed, answered) = watch::channel(0);
            let (ask, questions) = mpsc::unbounded_channel();
            let (sender, fresh) = watch::channel(false);
            tokio::spawn(terms(led, Questions(ask), answered, sender, patience));
            Self { leadership, committed, questions, fresh }
        }

        fn lead(&self, leads: bool) {
            let state = if leads { Leadership::Leader } else { Leadership::Standby { holder: None } };
            self.leadership.send_replace(state);
        }

        async fn until(&mut self, fresh: bool) {
            self.fresh.wait_for(|now| *now == fresh).await.expect("it runs");
        }
    }

    #[tokio::test]
    async fn each_term_is_proven_anew_by_one_question() {
        let mut world = World::new(LONG);
        for term in 1..4 {
            world.lead(true);
            assert_eq!(world.questions.recv().await, Some(term));
            assert!(!*world.fresh.borrow(), "the answer to an earlier term does not count");
            world.committed.send_replace(term);
            world.until(true).await;
            world.lead(false);
            world.until(false).await;
        }
        assert!(world.questions.try_recv().is_err());
    }

    #[tokio::test]
    async fn without_an_answer_proxies_are_served_after_a_while() {
        let patience = Duration::from_millis(50);
        let mut world = World::new(patience);
        let started = std::time::Instant::now();
        world.lead(true);
        world.until(true).await;
        assert!(started.elapsed() >= patience);
    }

    #[tokio::test]
    async fn a_late_answer_to_a_term_that_ended_proves_nothing() {
        let mut world = World::new(LONG);
        world.lead(true);
        assert_eq!(world.questions.recv().await, Some(1));
        world.lead(false);
        tokio::task::yield_now().await;
        world.lead(true);
        assert_eq!(world.questions.recv().await, Some(2));
        world.committed.send_replace(1);
        let early = tokio::time::timeout(Duration::from_millis(50), world.until(true)).await;
        assert!(early.is_err());
        world.committed.send_replace(2);
        world.until(true).await;
    }
}
