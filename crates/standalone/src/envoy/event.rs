//! What the supervisor tells its caller.

use std::{fmt, time::Duration};

/// Something happened to the Envoy of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyEvent {
    /// The fleet's name.
    pub fleet: String,
    /// Which Envoy of the fleet: counted up with every start.
    pub generation: u32,
    /// What happened.
    pub kind: EnvoyEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvoyEventKind {
    /// A process was started.
    Started {
        /// Its id.
        pid: u32,
    },
    /// A running Envoy with the same bootstrap and binary was found and is used on.
    TakenOver {
        /// Its id.
        pid: u32,
    },
    /// It serves.
    Ready,
    /// It is not ready after this time; what served before it still does.
    Slow {
        /// Since its start.
        after: Duration,
    },
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It ended because it was meant to.
    Ended,
    /// It ended by itself.
    Crashed {
        /// Exit code or signal in words.
        how: String,
        /// The last lines of its log.
        log: String,
        /// The next one is started after this.
        retry_in: Duration,
    },
    /// It could not even be started.
    NotStarted {
        /// Why.
        why: String,
        /// The next attempt comes after this.
        retry_in: Duration,
    },
}

impl fmt::Display for EnvoyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "envoy {} of {}: ", self.generation, self.fleet)?;
        match &self.kind {
            EnvoyEventKind::Started { pid } => write!(f, "started as process {pid}"),
            EnvoyEventKind::TakenOver { pid } => write!(f, "process {pid} taken over"),
            EnvoyEventKind::Ready => f.write_str("ready"),
            EnvoyEventKind::Slow { after } => write!(f, "not ready after {} s", after.as_secs()),
            EnvoyEventKind::Draining => f.write_str("draining"),
            EnvoyEventKind::Ended => f.write_str("ended"),
            EnvoyEventKind::Crashed { how, log, retry_in } => {
                write!(
                    f,
                    "crashed ({how}), starts again in {} ms; its last words:\n{log}",
                    retry_in.as_millis()
                )
            }
            EnvoyEventKind::NotStarted { why, retry_in } => {
                write!(f, "not started ({why}), tried again in {} ms", retry_in.as_millis())
            }
        }
    }
}
