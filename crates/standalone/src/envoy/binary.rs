//! Finding Envoy, and telling one binary from another.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::sleep};

use super::error::EnvoyError;
use crate::{digest::Digest, status_file::write_atomically};

/// The Envoy that gatehouse is built for, and that the cache holds.
pub const ENVOY_VERSION: &str = "1.40.0";

/// A binary that tells no version in this time is no Envoy.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Between attempts to run a file that is being written.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// An Envoy that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyBinary {
    /// The file, absolute.
    pub path: PathBuf,
    /// As it says itself, such as `1.40.0`.
    pub version: String,
    /// Of its content.
    pub hash: Digest,
}

/// Finds Envoy: `explicit`, else `envoy` on `$PATH`, else the one in the user's cache,
/// `${GATEHOUSE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/gatehouse}/envoy-1.40.0/envoy`.
pub async fn find_envoy(explicit: Option<PathBuf>) -> Result<EnvoyBinary, EnvoyError> {
    Places::of_user().find(explicit).await
}

/// Where to look, apart from what the user names.
struct Places {
    path: Option<OsString>,
    cache: PathBuf,
}

/// What was found out about a file, kept in the cache: hashing 100 MB takes as long as Envoy's start.
#[derive(Serialize, Deserialize)]
struct Noted {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    version: String,
    hash: Digest,
}

impl Noted {
    fn new(meta: &Metadata, version: String, hash: Digest) -> Self {
        Self {
            size: meta.size(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            version,
            hash,
        }
    }

    fn is_of(&self, meta: &Metadata) -> bool {
        self.size == meta.size()
            && self.inode == meta.ino()
            && self.modified == (meta.mtime(), meta.mtime_nsec())
            && self.changed == (meta.ctime(), meta.ctime_nsec())
    }
}

impl Places {
    fn of_user() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = var("GATEHOUSE_CACHE")
            .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("gatehouse")))
            .or_else(|| var("HOME").map(|dir| dir.join(".cache/gatehouse")))
            .unwrap_or_else(|| PathBuf::from(".cache/gatehouse"));
        Self { path: env::var_os("PATH"), cache }
    }

    async fn find(&self, explicit: Option<PathBuf>) -> Result<EnvoyBinary, EnvoyError> {
        let path = match explicit {
            Some(path) => path,
            None => self.search()?,
        };
        let not_envoy = |why: String| EnvoyError::NotEnvoy { path: path.clone(), why };
        let meta = fs::metadata(&path).map_err(|error| not_envoy(error.to_string()))?;
        if !is_program(&meta) {
            return Err(not_envoy("it is not an executable file".to_owned()));
        }
        // Envoy runs in another directory.
        let path = std::path::absolute(&path).map_err(EnvoyError::file("resolve", &path))?;
        self.examine(path, &meta).await
    }

    fn search(&self) -> Result<PathBuf, EnvoyError> {
        let cached = self.cache.join(format!("envoy-{ENVOY_VERSION}")).join("envoy");
        let on_path = self.path.iter().flat_map(env::split_paths).map(|dir| dir.join("envoy"));
        on_path
            .chain([cached.clone()])
            .find(|path| fs::metadata(path).is_ok_and(|meta| is_program(&meta)))
            .ok_or(EnvoyError::NotFound { cached })
    }

    async fn examine(&self, path: PathBuf, meta: &Metadata) -> Result<EnvoyBinary, EnvoyError> {
        let mut notes = self.notes();
        let key = path.to_string_lossy().into_owned();
        if let Some(noted) = notes.get(&key).filter(|noted| noted.is_of(meta)) {
            return Ok(EnvoyBinary { path, version: noted.version.clone(), hash: noted.hash });
        }
        let version = ask_version(&path).await?;
        let hash = hash(path.clone()).await?;
        notes.insert(key, Noted::new(meta, version.clone(), hash));
        self.note(&notes);
        Ok(EnvoyBinary { path, version, hash })
    }

    fn notes(&self) -> BTreeMap<String, Noted> {
        let bytes = fs::read(self.notes_path()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Best effort: without notes the next start is slower.
    fn note(&self, notes: &BTreeMap<String, Noted>) {
        let Ok(bytes) = serde_json::to_vec_pretty(notes) else { return };
        let written =
            fs::create_dir_all(&self.cache).and_then(|()| write_atomically(&self.notes_path(), &bytes));
        if let Err(error) = written {
            tracing::debug!("note what is known about envoy binaries: {error}");
        }
    }

    fn notes_path(&self) -> PathBuf {
        self.cache.join("binaries.json")
    }
}

fn is_program(meta: &Metadata) -> bool {
    meta.is_file() && meta.permissions().mode() & 0o111 != 0
}

async fn hash(path: PathBuf) -> Result<Digest, EnvoyError> {
    let hashed = tokio::task::spawn_blocking(move || {
        File::open(&path).and_then(Digest::of_reader).map_err(EnvoyError::file("read", &path))
    });
    // The closure does not panic and is not aborted; the error is there for a runtime that shuts down.
    hashed.await.map_err(|error| EnvoyError::process("hash")(error.into()))?
}

async fn ask_version(path: &Path) -> Result<String, EnvoyError> {
    let not_envoy = |why: String| EnvoyError::NotEnvoy { path: path.to_owned(), why };
    let output = tokio::time::timeout(VERSION_TIMEOUT, version_output(path))
        .await
        .map_err(|_| not_envoy("it does not answer to --version".to_owned()))?
        .map_err(|error| not_envoy(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| not_envoy(format!("--version says {:?}", text.trim())))
}

/// A file that is being written (fetched just now) is busy for a moment; the caller's timeout bounds the wait.
async fn version_output(path: &Path) -> io::Result<Output> {
    loop {
        let output =
            Command::new(path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await;
        match output {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => sleep(BUSY_PAUSE).await,
            output => return output,
        }
    }
}

/// From `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(text: &str) -> Option<String> {
    let version = text.split_once("version:")?.1.trim().split('/').nth(1)?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\necho \"$0  version: abc/1.40.0/Clean/RELEASE/BoringSSL\"\n";

    fn program(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn places(dir: &Path) -> Places {
        Places { path: Some(dir.join("bin").into()), cache: dir.join("cache") }
    }

    #[tokio::test]
    async fn named_comes_before_path_and_path_before_cache() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let (named, on_path, cached) = (
            dir.path().join("named"),
            dir.path().join("bin/envoy"),
            dir.path().join("cache/envoy-1.40.0/envoy"),
        );
        let error = places.find(None).await.unwrap_err().to_string();
        assert!(error.contains("make envoy") && error.contains(cached.to_str().unwrap()), "{error}");
        program(&cached, SCRIPT);
        assert_eq!(places.find(None).await.unwrap().path, cached);
        program(&on_path, SCRIPT);
        assert_eq!(places.find(None).await.unwrap().path, on_path);
        program(&named, SCRIPT);
        let binary = places.find(Some(named.clone())).await.unwrap();
        assert_eq!((binary.path, binary.version.as_str()), (named, "1.40.0"));
        assert_eq!(binary.hash, Digest::of(SCRIPT.as_bytes()));
    }

    #[tokio::test]
    async fn changed_binary_is_examined_again() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let path = dir.path().join("bin/envoy");
        program(&path, SCRIPT);
        let first = places.find(None).await.unwrap();
        assert!(places.notes().contains_key(path.to_str().unwrap()));
        assert_eq!(places.find(None).await.unwrap(), first);
        fs::remove_file(&path).unwrap();
        program(&path, &SCRIPT.replace("1.40.0", "1.40.1"));
        let second = places.find(None).await.unwrap();
        assert_eq!(second.version, "1.40.1");
        assert_ne!(second.hash, first.hash);
    }

    #[tokio::test]
    async fn what_is_no_envoy_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let path = dir.path().join("not-envoy");
        for (text, mode, why) in [
            ("#!/bin/sh\necho hello\n", 0o755, "--version says \"hello\""),
            ("text", 0o644, "it is not an executable file"),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = places.find(Some(path.clone())).await.unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("make envoy"), "{error}");
        }
        assert!(places.find(Some(dir.path().join("none"))).await.is_err());
    }
}
