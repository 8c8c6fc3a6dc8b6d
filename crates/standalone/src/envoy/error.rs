//! What can go wrong with Envoy processes.

use std::{io, path::PathBuf};

/// An operation on an Envoy or its state directory failed.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// No Envoy anywhere; the text says where was looked and what to do.
    #[error(
        "no Envoy found: --envoy was not given, $PATH has no `envoy`, and {} does not exist; \
         run `make envoy` to fetch it, or name one with --envoy PATH",
        cached.display()
    )]
    NotFound {
        /// Where the user's cache would have it.
        cached: PathBuf,
    },
    /// The file is no Envoy that runs here.
    #[error("use {} as Envoy: {why}; run `make envoy` to fetch one, or name another with --envoy PATH", path.display())]
    NotEnvoy {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another gatehouse uses the state directory.
    #[error(
        "another gatehouse{} already runs with state directory {}: stop it first, or choose another state directory",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The other process, as far as it is known.
        pid: Option<u32>,
    },
    /// The state directory could be changed by another user.
    #[error("use state directory {}: {why}; remove it or choose another", dir.display())]
    Unsafe {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A Unix socket path that the kernel does not take.
    #[error(
        "socket path {} has {} bytes, the system takes {max}: choose a shorter state directory",
        path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// The longest that works.
        max: usize,
    },
    /// A file operation failed.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// What was tried: `create`, `write`, ...
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process did not start, or could not be followed.
    #[error("{operation} envoy process: {source}")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl EnvoyError {
    /// For `map_err` on file operations.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// For `map_err` on process operations.
    pub(crate) fn process(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Process { operation, source }
    }
}
