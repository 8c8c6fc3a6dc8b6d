//! A process that is certainly the one meant, child or not.
//!
//! Process ids are used again; a pair of id and time of start is not (within one boot). The pair is checked after a
//! pidfd was opened, so the handle cannot come to mean another process later.

use std::{
    fs, io,
    os::fd::OwnedFd,
    process::{Command, ExitStatus},
    sync::{Mutex, PoisonError},
};

use process_wrap::std::{ChildWrapper, CommandWrap, ProcessSession};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

/// Which process: the same pair never means another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Time of start in clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    pub started: u64,
    /// The boot in which that time counts.
    pub boot: String,
}

/// A handle to a process that was alive when it was opened.
#[derive(Debug)]
pub(super) struct Process {
    id: ProcessId,
    handle: AsyncFd<OwnedFd>,
    /// Ours to reap when we started it.
    child: Mutex<Option<Box<dyn ChildWrapper>>>,
}

impl Process {
    /// Starts `command` in a session of its own: no signal of a terminal or of our process group reaches it.
    pub(super) fn spawn(command: Command) -> io::Result<Self> {
        let mut child = CommandWrap::from(command).wrap(ProcessSession).spawn()?;
        let pid = child.id();
        // Not reaped yet, so the id is ours even if it ended already.
        match opened(pid) {
            Ok((id, handle)) => {
                allow_many_files(pid);
                Ok(Self { id, handle, child: Mutex::new(Some(child)) })
            }
            Err(error) => {
                // Without a handle it could not be followed; kill and wait end it for certain.
                let _ = child.kill();
                Err(error)
            }
        }
    }

    /// The process with this very id, if it is alive.
    pub(super) fn find(id: &ProcessId) -> Option<Self> {
        let (found, handle) = opened(id.pid).ok()?;
        (found == *id && is_alive(id.pid)).then(|| Self { id: found, handle, child: Mutex::new(None) })
    }

    pub(super) fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Waits for the end; the status is known for our own children only.
    pub(super) async fn exited(&self) -> Option<ExitStatus> {
        // A pidfd becomes readable when the process ends and stays so. An error would come from a lost runtime.
        let _ = self.handle.readable().await;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Sends a signal; to a process that ended it is none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(self.handle.get_ref(), signal) {
            tracing::debug!(pid = self.id.pid, "signal {signal:?}: {error}");
        }
    }
}

fn opened(pid: u32) -> io::Result<(ProcessId, AsyncFd<OwnedFd>)> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = pidfd_open(raw, PidfdFlags::empty())?;
    let started = stat(pid).and_then(|stat| started(&stat)).ok_or(io::ErrorKind::NotFound)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok((ProcessId { pid, started, boot }, follow(handle)?))
}

/// The soft limit is 1024 on most systems, too few connections for a proxy; raising it to the hard limit is free.
fn allow_many_files(pid: u32) {
    let limit = rustix::process::getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: limit, maximum: limit };
    if let Err(error) = prlimit(i32::try_from(pid).ok().and_then(Pid::from_raw), Resource::Nofile, raised) {
        tracing::warn!("raise the limit of open files of process {pid}: {error}");
    }
}

#[expect(
    deprecated,
    reason = "unsound for types that may close their descriptor early, which OwnedFd cannot; the successor is unsafe to call"
)]
fn follow(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(handle)
}

fn is_alive(pid: u32) -> bool {
    stat(pid)
        .as_deref()
        .and_then(|stat| after_name(stat)?.chars().next())
        .is_some_and(|state| !"ZX".contains(state))
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// Field 22; fields are counted from behind the name, which may hold spaces and brackets.
fn started(stat: &str) -> Option<u64> {
    after_name(stat)?.split(' ').nth(19)?.parse().ok()
}

/// From field 3, the state, on.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

/// The running processes of this user that were started with `argument`: those whose record was never written.
pub(super) fn started_with(argument: &str) -> Vec<ProcessId> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes()))
    })
    .filter_map(|pid| Some(opened(pid).ok()?.0))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_of_start_is_read_behind_any_name() {
        let stat = "7 (a ) (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 2 3";
        assert_eq!(started(stat), Some(4711));
        assert_eq!(started("7 (a"), None);
    }

    #[tokio::test]
    async fn process_is_found_by_id_and_start_only() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::spawn(command).unwrap();
        let id = process.id().clone();
        assert!(Process::find(&id).is_some());
        assert!(Process::find(&ProcessId { started: id.started + 1, ..id.clone() }).is_none());
        assert!(Process::find(&ProcessId { boot: "another".into(), ..id.clone() }).is_none());
        process.signal(Signal::KILL);
        let status = tokio::time::timeout(Duration::from_secs(5), process.exited()).await.unwrap();
        assert!(!status.unwrap().success());
        assert_eq!(stat(id.pid), None, "reaped");
        assert!(Process::find(&id).is_none());
    }

    #[tokio::test]
    async fn unreaped_process_counts_as_ended() {
        let child = Process::spawn(Command::new("true")).unwrap();
        child.handle.readable().await.unwrap().retain_ready();
        assert!(Process::find(child.id()).is_none());
    }

    #[tokio::test]
    async fn process_may_open_as_many_files_as_the_hard_limit_says() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::spawn(command).unwrap();
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.id().pid)).unwrap();
        process.signal(Signal::KILL);
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let values: Vec<_> = files.split_whitespace().collect();
        assert_eq!(values[0], values[1]);
    }

    #[tokio::test]
    async fn process_has_a_session_of_its_own() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::spawn(command).unwrap();
        let session =
            after_name(&stat(process.id().pid).unwrap()).unwrap().split(' ').nth(3).unwrap().to_owned();
        process.signal(Signal::KILL);
        assert_eq!(session, process.id().pid.to_string());
    }
}
