//! Reading one file, bounded, and telling whether it may have changed since.

use std::{
    fs::{File, Metadata},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use super::MAX_FILE_BYTES;

/// Why a file that exists gives no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Not text.
    #[error("is not UTF-8 text: line {line} has an invalid byte ({byte:#04x})")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
        /// The first byte that is wrong.
        byte: u8,
    },
    /// More than [`MAX_FILE_BYTES`].
    #[error("is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge,
}

/// What differs when a file was written or replaced, as a hash: one is kept for each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(u64);

impl Signature {
    pub(super) fn of(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        let changed = (meta.ctime(), meta.ctime_nsec());
        let parts = (meta.dev(), meta.ino(), meta.size(), modified, changed);
        Self(BuildHasherDefault::<DefaultHasher>::default().hash_one(parts))
    }
}

/// The outcome of reading a file.
pub(super) enum Reading {
    Missing,
    Problem(FileProblem),
    Text {
        text: String,
        /// Last write; `None` when the system keeps no time.
        modified: Option<SystemTime>,
    },
}

pub(super) fn read(path: &Path) -> Reading {
    match try_read(path) {
        Ok(reading) => reading,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Missing,
        // A parent directory became a file: what was below it is gone.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Reading::Missing,
        Err(error) => Reading::Problem(FileProblem::Unreadable(error.to_string())),
    }
}

fn try_read(path: &Path) -> io::Result<Reading> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.len() > MAX_FILE_BYTES {
        return Ok(Reading::Problem(FileProblem::TooLarge));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    // The bound is kept while reading too: the file may grow, and pipes have no length.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Ok(Reading::Problem(FileProblem::TooLarge));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Reading::Text { text, modified: meta.modified().ok() },
        Err(error) => Reading::Problem(not_utf8(error.as_bytes(), error.utf8_error().valid_up_to())),
    })
}

fn not_utf8(bytes: &[u8], valid: usize) -> FileProblem {
    let line = bytes[..valid].split(|byte| *byte == b'\n').count();
    FileProblem::NotUtf8 { line, byte: bytes.get(valid).copied().unwrap_or_default() }
}
