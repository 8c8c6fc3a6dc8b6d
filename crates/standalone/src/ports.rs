//! Host ports: `--port-map 80:8080`, whether Envoy may bind a port when this user starts it, and who else has it.

use std::{collections::BTreeMap, fmt, fs, path::Path, str::FromStr};

mod occupied;
#[cfg(test)]
mod tests;

pub use occupied::{Occupant, PortWatch};

/// Where the kernel says which ports need a right; the value is the first that does not.
const UNPRIVILEGED_START: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// The kernel's value when nobody changed it.
const DEFAULT_UNPRIVILEGED_START: u16 = 1024;
/// `CAP_NET_BIND_SERVICE` of capabilities(7).
const NET_BIND_SERVICE: u32 = 10;

/// One `--port-map` argument: the port of a listener and the host port that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// The port in the Gateway's listener.
    pub listener: u16,
    /// The port that Envoy binds.
    pub host: u16,
}

/// Why a `--port-map` argument, or all of them together, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortMapError {
    /// Not of the form `LISTENER:HOST`.
    #[error("port map {0:?} is not LISTENER:HOST with two ports from 1 to 65535, such as 80:8080")]
    Malformed(String),
    /// A listener's port is mapped to two host ports.
    #[error("port map sends listener port {listener} to both {first} and {second}")]
    Ambiguous {
        /// The listener's port.
        listener: u16,
        /// The host port named first.
        first: u16,
        /// The host port named next.
        second: u16,
    },
    /// Two listeners' ports are mapped to one host port.
    #[error("port map sends listener ports {first} and {second} to the same host port {host}")]
    Shared {
        /// The host port.
        host: u16,
        /// The lower listener port.
        first: u16,
        /// The higher listener port.
        second: u16,
    },
}

impl FromStr for PortMapping {
    type Err = PortMapError;

    fn from_str(text: &str) -> Result<Self, PortMapError> {
        let port = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|port| plain && *port != 0)
        };
        text.split_once(':')
            .and_then(|(listener, host)| Some(Self { listener: port(listener)?, host: port(host)? }))
            .ok_or_else(|| PortMapError::Malformed(text.to_owned()))
    }
}

/// All `--port-map` arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortMap {
    /// Host port by listener port; one to one.
    hosts: BTreeMap<u16, u16>,
}

impl PortMap {
    /// Joins mappings, refusing those that contradict each other; a repeated one is harmless.
    pub fn new(mappings: impl IntoIterator<Item = PortMapping>) -> Result<Self, PortMapError> {
        let mut hosts = BTreeMap::new();
        for PortMapping { listener, host } in mappings {
            match hosts.insert(listener, host) {
                Some(first) if first != host => {
                    return Err(PortMapError::Ambiguous { listener, first, second: host });
                }
                _ => {}
            }
        }
        let mut listeners = BTreeMap::new();
        for (&listener, &host) in &hosts {
            if let Some(first) = listeners.insert(host, listener) {
                return Err(PortMapError::Shared { host, first, second: listener });
            }
        }
        Ok(Self { hosts })
    }

    /// Parses and joins `LISTENER:HOST` texts.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, PortMapError> {
        let mappings: Result<Vec<_>, _> = texts.into_iter().map(|text| text.as_ref().parse()).collect();
        Self::new(mappings?)
    }

    /// The port that Envoy binds for a listener's port: its own when no mapping names it.
    pub fn host_port(&self, listener: u16) -> u16 {
        self.hosts.get(&listener).copied().unwrap_or(listener)
    }

    /// The mappings, by listener port.
    pub fn iter(&self) -> impl Iterator<Item = PortMapping> + '_ {
        self.hosts.iter().map(|(&listener, &host)| PortMapping { listener, host })
    }
}

/// The right to bind a port is missing; shown to the user, it says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRefusal {
    /// The host port.
    pub port: u16,
    /// The first port that needs no right.
    pub first_unprivileged: u16,
    /// The Envoy binary, as the `setcap` remedy names it.
    pub envoy: String,
}

impl fmt::Display for BindRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, first_unprivileged: first, envoy } = self;
        let instead = suggest_port(*port);
        write!(
            f,
            "this user may not bind port {port}: ports below {first} need a right. Do one of:\n  \
             serve it on another port:   --port-map {port}:{instead}\n  \
             open low ports to all:      sudo sysctl net.ipv4.ip_unprivileged_port_start={port}\n  \
             give Envoy alone the right: sudo setcap cap_net_bind_service=+ep {envoy}"
        )
    }
}

impl std::error::Error for BindRefusal {}

/// A memorable free-to-use port for a low one: 80 to 8080, 443 to 8443, others by adding 8000.
fn suggest_port(port: u16) -> u16 {
    if port == 80 { 8080 } else { 8000 + port % 8000 }
}

/// Says whether an Envoy that this process starts may bind `port`, and if not, why and what helps.
///
/// The right must reach Envoy across `execve`: root's and ambient capabilities do, and those of the binary's own file;
/// the mere effective set of this process does not.
pub fn explain_bind(port: u16, envoy: &Path) -> Result<(), BindRefusal> {
    let rights = Rights::read(envoy);
    if rights.may_bind(port) {
        return Ok(());
    }
    Err(BindRefusal {
        port,
        first_unprivileged: rights.first_unprivileged,
        envoy: envoy.display().to_string(),
    })
}

/// What decides about low ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    first_unprivileged: u16,
    /// Envoy gets the capability from this process or from its file.
    capable: bool,
}

impl Rights {
    fn read(envoy: &Path) -> Self {
        let first_unprivileged = fs::read_to_string(UNPRIVILEGED_START)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_UNPRIVILEGED_START);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let root = rustix::process::geteuid().is_root();
        let capable = inherited(&status, root) || granted_by_file(&status, file_capability(envoy).as_deref());
        Self { first_unprivileged, capable }
    }

    fn may_bind(self, port: u16) -> bool {
        self.capable || port >= self.first_unprivileged
    }
}

/// Whether a program started by the process with this `/proc/<pid>/status` has the capability without help of its file.
fn inherited(status: &str, root: bool) -> bool {
    has_bit(status, "CapAmb") || (root && has_bit(status, "CapEff") && has_bit(status, "CapBnd"))
}

/// Whether a file capability (the bytes of `security.capability`) takes effect under this `/proc/<pid>/status`.
fn granted_by_file(status: &str, capability: Option<&[u8]>) -> bool {
    const EFFECTIVE: u32 = 1;
    let word =
        |at: usize| -> Option<u32> { capability?.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes) };
    let granted = word(0).is_some_and(|flags| flags & EFFECTIVE != 0)
        && word(4).is_some_and(|permitted| permitted >> NET_BIND_SERVICE & 1 == 1);
    granted && has_bit(status, "CapBnd") && field(status, "NoNewPrivs") != Some("1")
}

fn file_capability(path: &Path) -> Option<Vec<u8>> {
    // Revision 3, the longest, has 24 bytes.
    let mut bytes = [0_u8; 64];
    let len = rustix::fs::getxattr(path, "security.capability", &mut bytes[..]).ok()?;
    Some(bytes[..len].to_vec())
}

fn has_bit(status: &str, set: &str) -> bool {
    field(status, set)
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .is_some_and(|bits| bits >> NET_BIND_SERVICE & 1 == 1)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
