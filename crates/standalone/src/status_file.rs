//! The status document of a running gatehouse, for `gatehouse status`: one JSON file, replaced as a whole.
//!
//! A reader sees the old or the new document, never a part: it is written beside its place and renamed into it.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::digest::Digest;

#[cfg(test)]
mod tests;

/// Why the status document could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StatusFileError {
    /// The document has no JSON form.
    #[error("encode status for {path}: {source}")]
    Encode {
        /// Where it was to be written.
        path: PathBuf,
        /// What serde_json said.
        source: serde_json::Error,
    },
    /// The file could not be written.
    #[error("write status file {path}: {source}")]
    Write {
        /// The status file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be read; not found means that no gatehouse runs there.
    #[error("read status file {path}: {source}")]
    Read {
        /// The status file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not the expected document.
    #[error("decode status file {path}: {source}")]
    Decode {
        /// The status file.
        path: PathBuf,
        /// What serde_json said.
        source: serde_json::Error,
    },
}

/// The one writer of a status file.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    /// What stands in the file, its last newline aside, as far as this writer knows; `None` before the first write.
    written: Option<Digest>,
}

impl StatusFile {
    /// A writer for `path`; nothing is touched until the first [`write`](Self::write).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), written: None }
    }

    /// Where the document stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `document` the content of the file, and says whether that took a write.
    pub fn write<T: Serialize>(&mut self, document: &T) -> Result<bool, StatusFileError> {
        // Encoded once to compare and once to write, never kept: the text of ten thousand objects is large.
        let digest = Digest::of_writer(|hasher| serde_json::to_writer_pretty(hasher, document))
            .map_err(|source| StatusFileError::Encode { path: self.path.clone(), source })?;
        // The file is looked at too, so that one deleted by somebody comes back with the next call.
        if self.current() == Some(digest) {
            self.written = Some(digest);
            return Ok(false);
        }
        let write = |file: &mut dyn Write| {
            serde_json::to_writer_pretty(&mut *file, document)?;
            file.write_all(b"\n")
        };
        replace(&self.path, write)
            .map_err(|source| StatusFileError::Write { path: self.path.clone(), source })?;
        self.written = Some(digest);
        Ok(true)
    }

    fn current(&self) -> Option<Digest> {
        match self.written {
            Some(digest) => self.path.exists().then_some(digest),
            None => fs::read(&self.path).ok().map(|bytes| Digest::of(bytes.trim_ascii_end())),
        }
    }
}

/// Reads the document that a [`StatusFile`] wrote.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, StatusFileError> {
    let bytes = fs::read(path).map_err(|source| StatusFileError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| StatusFileError::Decode { path: path.to_owned(), source })
}

/// Replaces `path` by a file, readable by this user only, that holds `bytes`.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |file| file.write_all(bytes))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_new(&beside, write).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Best effort: the error that matters is the one returned.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = io::BufWriter::new(file);
    write(&mut file)?;
    file.flush()
}
