//! Whether another program already listens where an Envoy is to listen.
//!
//! Envoy sets `SO_REUSEPORT`, so that an Envoy and the one that replaces it share a port. So do the Envoys of another
//! gatehouse of the same user: both bind without an error, and the kernel deals the connections out among strangers.
//! Hence this is asked before an Envoy is told to listen.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use gatehouse_model::Transport;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// The state `LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";
/// The state `CLOSE` in `/proc/net/udp`: a socket that takes datagrams from anybody.
const UNCONNECTED: &str = "07";

/// Sees who listens on this host; what runs with `state` in its command line is ours.
#[derive(Debug, Clone)]
pub struct PortWatch {
    state: PathBuf,
}

/// Somebody else who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Where.
    pub address: SocketAddr,
    /// Process id and name, when this user may see them.
    pub process: Option<(u32, String)>,
}

impl std::fmt::Display for Occupant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot bind port {}: ", self.address.port())?;
        match &self.process {
            Some((pid, name)) => write!(f, "process {pid} ({name})")?,
            None => f.write_str("another process")?,
        }
        write!(f, " listens on {}", self.address)
    }
}

impl PortWatch {
    /// Counts the processes that were started with a path in the folder `state` as ours.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Who else listens on one of the addresses (all, when there is none) and the port. Nobody also when the kernel
    /// does not let us see whether it is ours.
    pub fn occupant(&self, addresses: &[IpAddr], port: u16, transport: Transport) -> Option<Occupant> {
        let free = |ip| free(ip, port, transport);
        let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        // A host without IPv6 has nobody there.
        if (if addresses.is_empty() { &all } else { addresses }).iter().all(|ip| free(*ip)) {
            return None;
        }
        let ours = self.our_sockets()?;
        let found = listening(transport)
            .into_iter()
            .find(|(at, inode)| overlaps(addresses, port, *at) && !ours.contains(inode))?;
        Some(Occupant { address: found.0, process: owner(found.1) })
    }

    /// Inodes of the sockets of our processes.
    fn our_sockets(&self) -> Option<BTreeSet<u64>> {
        let mut all = sockets(std::process::id())?;
        for pid in processes().filter(|pid| self.is_ours(*pid)) {
            // A binary with capabilities hides its files from us.
            all.extend(sockets(pid)?);
        }
        Some(all)
    }

    fn is_ours(&self, pid: u32) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0);
        arguments.any(|argument| Path::new(std::ffi::OsStr::from_bytes(argument)).starts_with(&self.state))
    }
}

/// Whether an exclusive bind is possible, or fails for another reason than that the port is in use. Nothing listens
/// meanwhile, so no connection is lost.
fn free(ip: IpAddr, port: u16, transport: Transport) -> bool {
    let attempt = || {
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let kind = match transport {
            Transport::Tcp => SocketType::STREAM,
            Transport::Udp => SocketType::DGRAM,
        };
        // A process that is started meanwhile must not inherit the port.
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if transport == Transport::Tcp {
            // Connections that ended lately are no reason.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        if ip.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &SocketAddr::new(ip, port))
    };
    attempt() != Err(Errno::ADDRINUSE)
}

fn overlaps(addresses: &[IpAddr], port: u16, at: SocketAddr) -> bool {
    let there = at.ip().to_canonical();
    let same = |ip: &IpAddr| *ip == there || ip.is_unspecified() || there.is_unspecified();
    at.port() == port && (addresses.is_empty() || addresses.iter().any(same))
}

/// Address and inode of each socket that waits for strangers.
fn listening(transport: Transport) -> Vec<(SocketAddr, u64)> {
    let (paths, state) = match transport {
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], LISTENING),
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED),
    };
    let tables = paths.map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| listener(line, state)).collect()
}

/// One line of such a table, if the socket is in this state.
fn listener(line: &str, state: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let address = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    (*fields.get(3)? == state).then_some((address, fields.get(9)?.parse().ok()?))
}

/// Words of 32 bits, each as the machine's number of what stands in memory.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Some(IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?))
        }
        _ => None,
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Inodes of the sockets of a process; none when it is gone, nothing when they cannot be seen.
fn sockets(pid: u32) -> Option<BTreeSet<u64>> {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(BTreeSet::new()),
        Err(_) => return None,
    };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Some(links.filter_map(inode).collect())
}

fn owner(inode: u64) -> Option<(u32, String)> {
    let pid = processes().find(|pid| sockets(*pid).is_some_and(|sockets| sockets.contains(&inode)))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim_end().to_owned()))
}

#[cfg(test)]
mod tests;
