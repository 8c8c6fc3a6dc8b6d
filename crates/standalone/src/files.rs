//! The file source: files, directories and standard input as batches of (path, text).
//!
//! ```text
//! PATH... --tree--> logical path of every file --read--> text --worker--> FileBatch
//!              ^                                            |
//!              +-- notify events, or a poll ---- held: lost more than half, looked at again
//! ```
//!
//! One thread does all file I/O. Each directory that matters has its own non-recursive watch: those that were walked, the
//! parents of the named paths, and every directory that a symbolic link leads through. So atomic renames, new
//! directories and Kubernetes' `..data` swaps are seen, and a file's event costs a read of that file only; the tree is
//! walked again only when its shape may have changed.
//!
//! What is given out: after the first batch, which holds everything, an event per file whose text really changed.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc as inbox},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use crate::digest::Digest;

mod changes;
mod known;
mod read;
mod tree;
mod watch;
mod worker;

#[cfg(test)]
mod tests;

pub use read::FileProblem;

/// Files larger than this are refused.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The path under which standard input is given out.
pub const STDIN: &str = "-";

/// What a caller that understands the texts thinks of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts at once.
    Plausible,
    /// It may be a half-written file: it counts when it has been the same for a second.
    Suspicious,
}

/// How much a text says: what is remembered of the one given out last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its length.
    pub bytes: usize,
    /// Its YAML documents that are not empty, by the lines that separate them.
    pub documents: usize,
}

impl Extent {
    /// Measures a text without understanding it.
    pub fn of(text: &str) -> Self {
        let (mut documents, mut begun) = (0, false);
        for line in text.lines() {
            let rest = line.strip_prefix("---");
            begun &= rest.is_none();
            let said = rest.unwrap_or(line).trim_start();
            if !begun && !said.is_empty() && !said.starts_with('#') {
                documents += 1;
                begun = true;
            }
        }
        Self { bytes: text.len(), documents }
    }
}

/// Judges a file's new text beside the one given out before.
pub type Judge = Box<dyn FnMut(&Path, Extent, &str) -> Verdict + Send>;

/// What happened to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvent {
    /// As the user named it, or found below what the user named; [`STDIN`] for standard input.
    pub path: Arc<Path>,
    /// The file's new state.
    pub change: FileChange,
}

/// The new state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// The file holds this text.
    Content {
        /// The whole text.
        text: Arc<str>,
        /// Its hash.
        hash: Digest,
    },
    /// The file is no longer there.
    Gone,
    /// The file is there, but its text is not to be had; what it held before may stay in force.
    Unusable(FileProblem),
}

/// Which batch this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKind {
    /// The first: every file there is, in the order of their paths.
    InitialComplete,
    /// What changed since the batch before, in the order of paths.
    Changed,
}

/// Events that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBatch {
    /// First or later.
    pub kind: BatchKind,
    /// At most one event per path. Empty only in the first batch.
    pub events: Vec<FileEvent>,
}

/// Why a file source could not start.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A path that the user named cannot be looked at.
    #[error("read {}: {source}", path.display())]
    Root {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `-` was named but no text came with it.
    #[error("read standard input: its text was not handed to the file source")]
    NoStdin,
    /// The thread did not start.
    #[error("start the thread that reads files: {0}")]
    Thread(#[source] std::io::Error),
}

/// A text that lost more than half may be one that is being written: all that can be said without understanding it.
pub fn by_size(before: Extent, now: &str) -> Verdict {
    if now.len() < before.bytes / 2 { Verdict::Suspicious } else { Verdict::Plausible }
}

/// Which files to give out and how.
///
/// ```no_run
/// # async fn run() -> Result<(), gatehouse_standalone::files::FilesError> {
/// use gatehouse_standalone::files::FileSource;
///
/// let mut updates = FileSource::new(vec!["manifests".into()], None).start()?;
/// while let Some(batch) = updates.next().await {
///     println!("{:?}: {} files", batch.kind, batch.events.len());
/// }
/// # Ok(())
/// # }
/// ```
pub struct FileSource {
    paths: Vec<PathBuf>,
    stdin: Option<String>,
    poll: Option<Duration>,
    judge: Judge,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("paths", &self.paths)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

impl FileSource {
    /// A source of `paths`: files (of any name), directories (their `*.yaml`, `*.yml` and `*.json`, at any depth, hidden
    /// ones and editors' temporaries left out) and `-`, which stands for `stdin_text`.
    pub fn new(paths: Vec<PathBuf>, stdin_text: Option<String>) -> Self {
        Self { paths, stdin: stdin_text, poll: None, judge: Box::new(|_, before, now| by_size(before, now)) }
    }

    /// Looks for changes every `interval` instead of being told; for file systems that do not tell.
    #[must_use]
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll = Some(interval);
        self
    }

    /// Asks `judge(path, extent before, text now)` about every change that leaves something, instead of comparing sizes.
    #[must_use]
    pub fn judge(mut self, judge: impl FnMut(&Path, Extent, &str) -> Verdict + Send + 'static) -> Self {
        self.judge = Box::new(judge);
        self
    }

    /// Starts to read and to watch. A named path that does not exist now is an error; later it may come and go.
    pub fn start(self) -> Result<FileUpdates, FilesError> {
        let mut roots = Vec::new();
        let mut stdin = None;
        for path in self.paths {
            if path == Path::new(STDIN) {
                stdin = Some(self.stdin.clone().ok_or(FilesError::NoStdin)?);
                continue;
            }
            std::fs::metadata(&path).map_err(|source| FilesError::Root { path: path.clone(), source })?;
            roots.push(path);
        }
        let (to_worker, inputs) = inbox::channel();
        let (batches, updates) = mpsc::channel(16);
        let work = worker::Work { roots, stdin, poll: self.poll, judge: self.judge, batches };
        let events = to_worker.clone();
        thread::Builder::new()
            .name("gatehouse-files".to_owned())
            .spawn(move || worker::run(work, &inputs, events))
            .map_err(FilesError::Thread)?;
        Ok(FileUpdates { batches: updates, worker: to_worker })
    }
}

/// The batches of a started [`FileSource`]; dropping it ends the watching.
#[derive(Debug)]
pub struct FileUpdates {
    batches: mpsc::Receiver<FileBatch>,
    worker: inbox::Sender<watch::Input>,
}

impl FileUpdates {
    /// The next batch; waits for it. `None` only after the reading thread died.
    pub async fn next(&mut self) -> Option<FileBatch> {
        self.batches.recv().await
    }
}

impl Drop for FileUpdates {
    fn drop(&mut self) {
        // The thread may be gone already; then there is nothing to end.
        let _ = self.worker.send(watch::Input::Stop);
    }
}
