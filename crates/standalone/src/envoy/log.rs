//! Envoy's log: one file per fleet, appended to by all its generations, bounded by us.
//!
//! Envoy holds the file open for appending, so its content can be moved away and the file cut without Envoy noticing.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// How much of the end is shown when Envoy crashes.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 8;

/// The log of one fleet.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    max_bytes: u64,
}

impl Log {
    pub(super) fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open(&self) -> io::Result<File> {
        self.bound()?;
        File::options().append(true).create(true).open(&self.path)
    }

    /// Moves the content to `<name>.1` when there is too much of it. Lines written in between are lost.
    pub(super) fn bound(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(meta) if meta.len() > self.max_bytes => {
                fs::copy(&self.path, self.path.with_extension("log.1"))?;
                File::options().write(true).open(&self.path)?.set_len(0)
            }
            _ => Ok(()),
        }
    }

    /// The last lines.
    pub(super) fn tail(&self) -> String {
        let text = self.end().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn end(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn log_is_bounded_under_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("envoy.log"), 100);
        let mut writer = log.open().unwrap();
        writer.write_all(&[b'x'; 101]).unwrap();
        log.bound().unwrap();
        writer.write_all(b"after\n").unwrap();
        assert_eq!(fs::read(log.path()).unwrap(), b"after\n");
        assert_eq!(fs::metadata(dir.path().join("envoy.log.1")).unwrap().len(), 101);
    }

    #[test]
    fn tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("envoy.log"), 1 << 20);
        assert_eq!(log.tail(), "");
        let mut writer = log.open().unwrap();
        (0..1000).for_each(|i| writeln!(writer, "line {i}").unwrap());
        assert_eq!(log.tail().lines().count(), TAIL_LINES);
        assert!(log.tail().ends_with("line 999"));
    }
}
