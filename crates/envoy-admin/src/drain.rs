//! How an Envoy is brought to rest: no new work, then the work that it has.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{AdminClient, AdminError};

/// How patiently an Envoy is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long its health check still succeeds.
    pub delay: Duration,
    /// How long it still takes new connections after its health check fails, for load balancers to notice.
    pub accept_for: Duration,
    /// When open connections are cut; counted from the start of the drain.
    pub deadline: Duration,
    /// HTTP connections without a request for so long are not waited for; `None` waits for their clients to close them.
    pub idle: Option<Duration>,
    /// Whether listeners close after `accept_for`. Where others are told only now, and clients may still come until the
    /// end, they stay open: each new connection then gets one answer and is closed.
    pub close: bool,
}

impl Drain {
    /// For the end of everything: nothing takes over, so clients that only keep a connection open are not waited for.
    pub fn stop(deadline: Duration) -> Self {
        Self {
            delay: Duration::ZERO,
            accept_for: Duration::ZERO,
            deadline,
            idle: Some(Duration::from_millis(500)),
            close: true,
        }
    }

    /// For an Envoy beside which its successor serves already: connections may end in their own time.
    pub fn replaced(deadline: Duration) -> Self {
        Self { delay: Duration::ZERO, accept_for: Duration::ZERO, deadline, idle: None, close: true }
    }

    /// For an Envoy whose endpoint is being withdrawn by others, which takes until `accept_for`.
    pub fn withdrawn(accept_for: Duration, deadline: Duration) -> Self {
        Self { delay: Duration::ZERO, accept_for, deadline, idle: None, close: false }
    }

    /// Returns when the Envoy behind `admin` has nothing left to do, at the deadline, or when it does not answer.
    pub async fn quiesce(&self, admin: &AdminClient) {
        let deadline = Instant::now() + self.deadline;
        tokio::select! {
            () = sleep_until(deadline) => tracing::info!("envoy still has open connections at its drain deadline"),
            done = self.run(admin) => if let Err(error) = done {
                tracing::warn!("envoy cannot be drained: {error}");
            },
        }
    }

    async fn run(&self, admin: &AdminClient) -> Result<(), AdminError> {
        sleep(self.delay).await;
        // From here on responses carry `Connection: close` or GOAWAY; `skip_exit` keeps the listeners open.
        admin.post("/healthcheck/fail").await?;
        admin.post("/drain_listeners?graceful&skip_exit").await?;
        sleep(self.accept_for).await;
        if !self.close {
            return self.wait_idle(admin).await;
        }
        // This closes them: the kernel hands new connections to the successor, or refuses them. Those that it completed
        // and Envoy did not accept yet are reset: one or two per replacement at 5,000 new connections a second, fewer
        // with `net.ipv4.tcp_migrate_req`, and hardly any when connections arrive seldom.
        admin.post("/drain_listeners").await?;
        self.wait_idle(admin).await
    }

    async fn wait_idle(&self, admin: &AdminClient) -> Result<(), AdminError> {
        const OFTEN: Duration = Duration::from_millis(25);
        const SELDOM: Duration = Duration::from_millis(250);
        let mut pause = OFTEN;
        let mut empty_before = false;
        let mut idle_since = None;
        loop {
            let Some(load) = admin.load().await? else {
                tracing::warn!(
                    "the bootstrap's stats_matcher hides listener.*.downstream_cx_active; the drain waits for its deadline"
                );
                return std::future::pending().await;
            };
            // Twice, as a connection accepted just now may not be counted yet.
            let empty = load.connections == 0;
            if empty && empty_before {
                return Ok(());
            }
            empty_before = empty;
            idle_since = if load.is_busy() { None } else { idle_since.or(Some(Instant::now())) };
            if let (Some(since), Some(idle)) = (idle_since, self.idle)
                && since.elapsed() >= idle
            {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(SELDOM);
        }
    }
}
