//! One Envoy of a fleet: its folder, its process, its admin interface.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use gatehouse_envoy_admin::{AdminClient, Drain};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::{
    binary::EnvoyBinary,
    error::EnvoyError,
    log::Log,
    process::{Process, ProcessId, started_with},
    state::{private_dir, socket_path},
    supervisor::FleetSpec,
};
use crate::{digest::Digest, status_file::write_atomically};

const BOOTSTRAP: &str = "bootstrap.yaml";
const RECORD: &str = "state.json";
const PREFIX: &str = "gen-";
/// Envoy ends within milliseconds of a SIGTERM unless something is wrong.
const TERM_TIMEOUT: Duration = Duration::from_secs(5);

/// What decides whether a running Envoy is the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Of the bootstrap and the arguments.
    bootstrap: Digest,
    /// Of the binary.
    binary: Digest,
}

impl Identity {
    pub(super) fn of(spec: &FleetSpec, binary: &EnvoyBinary) -> Self {
        let parts = [spec.bootstrap.as_str()].into_iter().chain(spec.args.iter().map(String::as_str));
        Self { bootstrap: Digest::of_parts(parts), binary: binary.hash }
    }
}

/// What is written down about a running Envoy.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    process: ProcessId,
    #[serde(flatten)]
    identity: Identity,
    admin_socket: PathBuf,
}

/// A running, or just ended, Envoy.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    /// `None` when gatehouse died before it was written down.
    pub(super) identity: Option<Identity>,
    pub(super) process: Process,
    pub(super) admin: AdminClient,
    pub(super) admin_socket: PathBuf,
    pub(super) begun: Instant,
    dir: PathBuf,
}

impl Generation {
    /// Starts Envoy as generation `number` of the fleet in `fleet_dir`.
    pub(super) fn start(
        fleet_dir: &Path,
        number: u32,
        spec: &FleetSpec,
        binary: &EnvoyBinary,
        log: &Log,
    ) -> Result<Self, EnvoyError> {
        let dir = fleet_dir.join(format!("{PREFIX}{number}"));
        let admin_socket = socket_path(dir.join("admin.sock"))?;
        private_dir(&dir)?;
        let bootstrap = dir.join(BOOTSTRAP);
        write_atomically(&bootstrap, spec.bootstrap.as_bytes())
            .map_err(EnvoyError::file("write", &bootstrap))?;
        let output = log.open().map_err(EnvoyError::file("open", log.path()))?;
        let errors = output.try_clone().map_err(EnvoyError::file("open", log.path()))?;
        let mut command = Command::new(&binary.path);
        // The admin address of this generation goes over whatever the bootstrap says.
        let admin =
            serde_json::json!({"admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}}});
        command
            .arg("-c")
            .arg(&bootstrap)
            .args([
                "--config-yaml",
                &admin.to_string(),
                "--disable-hot-restart",
                "--drain-strategy",
                "immediate",
            ])
            .args(&spec.args)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let process = Process::spawn(command).map_err(EnvoyError::process("start"))?;
        let identity = Identity::of(spec, binary);
        let record = Record { process: process.id().clone(), identity, admin_socket: admin_socket.clone() };
        if let Err(error) = record.write(&dir) {
            // It would run on unknown to the next gatehouse.
            process.signal(Signal::KILL);
            return Err(error);
        }
        Ok(Self::new(number, Some(identity), process, admin_socket, dir))
    }

    fn new(number: u32, identity: Option<Identity>, process: Process, socket: PathBuf, dir: PathBuf) -> Self {
        let admin = AdminClient::new(socket.as_path());
        Self { number, identity, process, admin, admin_socket: socket, begun: Instant::now(), dir }
    }

    /// The generations that still run in `fleet_dir`, oldest first, and the highest number in use. Folders of ended ones are
    /// removed.
    pub(super) fn find_all(fleet_dir: &Path) -> (Vec<Self>, u32) {
        let entries = fs::read_dir(fleet_dir).into_iter().flatten();
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let highest = numbers.last().copied().unwrap_or(0);
        let running = numbers.into_iter().filter_map(|number| {
            let dir = fleet_dir.join(format!("{PREFIX}{number}"));
            let found = Self::find(number, dir.clone());
            if found.is_none() {
                remove(&dir);
            }
            found
        });
        (running.collect(), highest)
    }

    fn find(number: u32, dir: PathBuf) -> Option<Self> {
        let record =
            fs::read(dir.join(RECORD)).ok().and_then(|json| serde_json::from_slice::<Record>(&json).ok());
        if let Some(record) = record {
            let process = Process::find(&record.process)?;
            return Some(Self::new(number, Some(record.identity), process, record.admin_socket, dir));
        }
        let bootstrap = dir.join(BOOTSTRAP);
        let process = started_with(bootstrap.to_str()?).iter().find_map(Process::find)?;
        let socket = dir.join("admin.sock");
        Some(Self::new(number, None, process, socket, dir))
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id().pid
    }

    /// Waits until it serves.
    pub(super) async fn ready(&self) {
        let mut pause = Duration::from_millis(10);
        while self.admin.server_state().await.ok().as_deref() != Some("LIVE") {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Drains it if that is asked, ends the process, and removes its folder.
    pub(super) async fn end(&self, drain: Option<Drain>) {
        if let Some(drain) = drain {
            tokio::select! {
                _ = self.process.exited() => {}
                () = drain.quiesce(&self.admin) => {}
            }
        }
        self.process.signal(Signal::TERM);
        if timeout(TERM_TIMEOUT, self.process.exited()).await.is_err() {
            tracing::warn!(pid = self.pid(), "envoy does not end on SIGTERM; it is killed");
            self.process.signal(Signal::KILL);
            self.process.exited().await;
        }
        self.forget();
    }

    /// Removes the folder of an ended Envoy.
    pub(super) fn forget(&self) {
        remove(&self.dir);
    }
}

impl Record {
    fn write(&self, dir: &Path) -> Result<(), EnvoyError> {
        let path = dir.join(RECORD);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| EnvoyError::file("write", &path)(error.into()))?;
        write_atomically(&path, &json).map_err(EnvoyError::file("write", &path))
    }
}

fn remove(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::debug!("remove {}: {error}", dir.display());
    }
}

/// How a process ended, in words.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    // A process that was taken over is not our child, and only a parent learns the status.
    status.map_or_else(|| "unknown exit status".to_owned(), |status| status.to_string())
}
