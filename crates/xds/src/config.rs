//! The constants of the contract with Envoy; tests shorten them.

use std::time::Duration;

/// Settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a resource waits for the clusters that it names to be warm.
    pub gate_deadline: Duration,
    /// How long at least a cluster outlives the last thing that named it.
    pub min_linger: Duration,
    /// How long at most a cluster outlives the last thing that named it.
    pub max_linger: Duration,
    /// Envoy withholds the CDS acknowledgement while any cluster warms. After this time further cluster changes are
    /// sent nevertheless, so that one that is stuck (a name server that does not answer) holds nobody else.
    pub cluster_patience: Duration,
    /// The largest request that is decoded: a reconnecting proxy sends all its versions in one message.
    pub max_request_bytes: usize,
    /// How often an idle connection is probed.
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered.
    pub keepalive_timeout: Duration,
    /// A stream is ended after this time plus up to a tenth of it, so that proxies spread over replicas.
    pub max_stream_age: Option<Duration>,
    /// How long a stream outlives the token that it was opened with, so that clocks need not agree.
    pub token_grace: Duration,
    /// Connections over TLS that are open at a time.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gate_deadline: Duration::from_secs(1),
            min_linger: Duration::from_secs(15),
            max_linger: Duration::from_mins(10),
            cluster_patience: Duration::from_millis(500),
            max_request_bytes: 64 << 20,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_stream_age: None,
            token_grace: Duration::from_mins(1),
            max_connections: 10_000,
        }
    }
}

impl Config {
    /// The time a cluster stays after its last use, for the longest request timeout of what named it.
    pub(crate) fn linger(&self, longest: Duration) -> Duration {
        longest.clamp(self.min_linger, self.max_linger.max(self.min_linger))
    }
}
