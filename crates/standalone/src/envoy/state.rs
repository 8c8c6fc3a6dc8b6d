//! The state directory: where the Envoys of one gatehouse, and their sockets and records, are found again.
//!
//! ```text
//! <state>/lock                       held while a gatehouse runs; holds its process id
//! <state>/<fleet>/name               the fleet's whole name
//! <state>/<fleet>/xds.sock           bound by the xDS server
//! <state>/<fleet>/envoy.log
//! <state>/<fleet>/gen-<n>/           bootstrap.yaml, state.json, admin.sock of one Envoy
//! ```
//!
//! Folder names are hashes, as a socket's path has at most 107 bytes.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::error::EnvoyError;
use crate::digest::Digest;

/// `sun_path` has 108 bytes, the last of which ends it.
const MAX_SOCKET_PATH: usize = 107;

/// A locked state directory; the lock ends with it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Where the state for `id` (what distinguishes this gatehouse from others of the user, such as the paths it serves)
    /// is kept by default: `$XDG_RUNTIME_DIR/gatehouse/<hash>`, or `/tmp/gatehouse-<uid>/<hash>`.
    pub fn default_path(id: &str) -> PathBuf {
        let base = match env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir).join("gatehouse"),
            None => PathBuf::from(format!("/tmp/gatehouse-{}", rustix::process::geteuid().as_raw())),
        };
        base.join(Digest::of(id.as_bytes()).short(12))
    }

    /// Creates the directory if need be, for this user only, and locks it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, EnvoyError> {
        let path = path.into();
        // Envoys run elsewhere and get paths in here.
        let path = std::path::absolute(&path).map_err(EnvoyError::file("resolve", &path))?;
        if let Some(parent) = path.parent() {
            private_dir(parent)?;
            trusted_parent(parent)?;
        }
        private_dir(&path)?;
        owned(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the xDS server of `fleet` listens. The path is the proxy's identity, and the same after a restart.
    pub fn xds_socket(&self, fleet: &str) -> Result<PathBuf, EnvoyError> {
        let dir = self.fleet_dir(fleet);
        private_dir(&dir)?;
        socket_path(dir.join("xds.sock"))
    }

    /// The folder of `fleet`.
    pub(super) fn fleet_dir(&self, fleet: &str) -> PathBuf {
        self.path.join(Digest::of(fleet.as_bytes()).short(12))
    }

    /// Name and folder of every fleet that has one.
    pub(super) fn fleets(&self) -> Vec<(String, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let dirs = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut fleets: Vec<_> =
            dirs.filter_map(|dir| Some((fs::read_to_string(dir.join("name")).ok()?, dir))).collect();
        fleets.sort();
        fleets
    }
}

/// Creates a directory that only this user may enter, unless it exists.
pub(super) fn private_dir(path: &Path) -> Result<(), EnvoyError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(EnvoyError::file("create", path))
}

/// Checks a path for a Unix socket.
pub(super) fn socket_path(path: PathBuf) -> Result<PathBuf, EnvoyError> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(path);
    }
    Err(EnvoyError::SocketPath { path, max: MAX_SOCKET_PATH })
}

/// In `/tmp` somebody else may have been first.
fn owned(path: &Path) -> Result<(), EnvoyError> {
    let meta = fs::symlink_metadata(path).map_err(EnvoyError::file("look at", path))?;
    let why = if !meta.is_dir() {
        "it is not a directory".to_owned()
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        format!("it belongs to user {}", meta.uid())
    } else if meta.mode() & 0o022 != 0 {
        "other users may write to it".to_owned()
    } else {
        return Ok(());
    };
    Err(EnvoyError::Unsafe { dir: path.to_owned(), why })
}

/// Whoever may rename what is in the parent could put another directory in this one's place.
fn trusted_parent(path: &Path) -> Result<(), EnvoyError> {
    const STICKY: u32 = 0o1000;
    let meta = fs::metadata(path).map_err(EnvoyError::file("look at", path))?;
    let ours = [0, rustix::process::geteuid().as_raw()].contains(&meta.uid());
    if ours && (meta.mode() & 0o022 == 0 || meta.mode() & STICKY != 0) {
        return Ok(());
    }
    Err(EnvoyError::Unsafe { dir: path.to_owned(), why: "another user may replace what is in it".to_owned() })
}

fn lock(dir: &Path) -> Result<File, EnvoyError> {
    let path = dir.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(EnvoyError::file("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(EnvoyError::Locked { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(EnvoyError::file("lock", &path)(error.into())),
    }
    note_pid(&mut file).map_err(EnvoyError::file("write", &path))?;
    Ok(file)
}

fn note_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn second_gatehouse_is_refused_and_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = StateDir::open(&path).unwrap();
        let error = StateDir::open(&path).unwrap_err();
        assert!(
            matches!(error, EnvoyError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains("already runs"), "{error}");
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn directory_is_private_and_a_shared_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        drop(StateDir::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(StateDir::open(&path), Err(EnvoyError::Unsafe { .. })));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(StateDir::open(&link), Err(EnvoyError::Unsafe { .. })));
    }

    #[test]
    fn socket_paths_are_stable_and_short_enough() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path().join("s")).unwrap();
        let fleet = format!("{}/{}", "n".repeat(63), "g".repeat(63));
        let socket = state.xds_socket(&fleet).unwrap();
        assert_eq!(socket, state.xds_socket(&fleet).unwrap());
        assert_ne!(socket, state.xds_socket("another").unwrap());
        let long = StateDir::open(dir.path().join("x".repeat(100))).unwrap();
        let error = long.xds_socket(&fleet).unwrap_err();
        assert!(matches!(error, EnvoyError::SocketPath { .. }), "{error}");
        assert!(error.to_string().contains("shorter state directory"));
    }
}
