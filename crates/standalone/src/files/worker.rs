//! The thread that reads: events in, batches out.

use std::{
    collections::BTreeSet,
    fs, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    BatchKind, FileBatch, FileChange, FileEvent, Judge, STDIN,
    changes::Changes,
    known::{Decision, Known},
    read::{Reading, Signature, read},
    tree::{Found, Tree},
    watch::{Input, Sign, Watches, sign},
};
use crate::digest::Digest;

/// How often files are looked at when they cannot be watched.
const POLL: Duration = Duration::from_secs(1);

/// All that the thread needs.
pub(super) struct Work {
    pub(super) roots: Vec<PathBuf>,
    pub(super) stdin: Option<String>,
    pub(super) poll: Option<Duration>,
    pub(super) judge: Judge,
    pub(super) batches: mpsc::Sender<FileBatch>,
}

/// Nobody listens any more.
struct Ended;

/// Runs until nobody listens.
pub(super) fn run(work: Work, inputs: &Receiver<Input>, events: Sender<Input>) {
    let watches = if work.poll.is_some() { Watches::none() } else { Watches::new(events) };
    let mut worker = Worker {
        roots: Vec::new(),
        streams: BTreeSet::new(),
        poll: work.poll.unwrap_or(POLL),
        batches: work.batches,
        watches,
        tree: Tree::default(),
        known: Known::new(work.judge),
        changes: Changes::default(),
    };
    if worker.initial(work.roots, work.stdin).is_ok() {
        while worker.step(inputs).is_ok() {}
    }
}

struct Worker {
    roots: Vec<PathBuf>,
    /// Named paths that are neither file nor directory: read once, never gone.
    streams: BTreeSet<PathBuf>,
    poll: Duration,
    batches: mpsc::Sender<FileBatch>,
    watches: Watches,
    tree: Tree,
    known: Known,
    changes: Changes,
}

impl Worker {
    fn initial(&mut self, roots: Vec<PathBuf>, stdin: Option<String>) -> Result<(), Ended> {
        let is_stream =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        // Pipes (`<(helm template ...)`) are read once, to their end, like standard input.
        let (streams, roots) = roots.into_iter().partition::<Vec<_>, _>(is_stream);
        self.roots = roots;
        self.streams.extend(streams);
        let mut events: Vec<_> = stdin.map(|text| stdin_event(&text)).into_iter().collect();
        let mut due = self.walk();
        due.extend(self.streams.iter().map(|path| Arc::from(path.as_path())));
        events.extend(self.read_all(due, Instant::now()));
        events.sort_by(|a, b| a.path.cmp(&b.path));
        self.send(BatchKind::InitialComplete, events)
    }

    /// Waits for the next event or due time, and handles all that came until then as one batch.
    fn step(&mut self, inputs: &Receiver<Input>) -> Result<(), Ended> {
        let first = match self.timeout() {
            Some(timeout) => match inputs.recv_timeout(timeout) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            },
            None => Some(inputs.recv().map_err(|_| Ended)?),
        };
        for input in first.into_iter().chain(inputs.try_iter()) {
            match input {
                Input::Stop => return Err(Ended),
                Input::Watch(event) => self.note(event),
            }
        }
        let now = Instant::now();
        let mut due: BTreeSet<Arc<Path>> = self.changes.take_files(now).into_iter().map(Arc::from).collect();
        // Each is looked at: those that leave the tree's shape as it is are patched in.
        let reshaped = due.iter().filter(|path| self.reshapes(path)).count() > 0;
        // A polling worker wakes to walk, or for a held file; walking then too does no harm.
        if self.changes.take_walk(now) || reshaped || self.polls() {
            due.extend(self.walk());
        }
        let events = self.read_all(due, now);
        if events.is_empty() { Ok(()) } else { self.send(BatchKind::Changed, events) }
    }

    fn timeout(&self) -> Option<Duration> {
        let next = self.changes.next().map(|at| at.saturating_duration_since(Instant::now()));
        if self.polls() { Some(next.map_or(self.poll, |next| next.min(self.poll))) } else { next }
    }

    fn polls(&self) -> bool {
        self.watches.refused() && !self.roots.is_empty()
    }

    fn note(&mut self, event: notify::Result<notify::Event>) {
        let now = Instant::now();
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!("file watch: {error}");
                return self.changes.shape(Sign::Writing, now);
            }
        };
        if event.need_rescan() {
            // Events were lost: signatures tell what changed.
            return self.changes.shape(Sign::Writing, now);
        }
        let Some(sign) = sign(event.kind) else { return };
        for path in &event.paths {
            self.note_path(path, sign, now);
        }
    }

    fn note_path(&mut self, real: &Path, sign: Sign, now: Instant) {
        let is_dir = self.tree.dirs.contains_key(real);
        if is_dir && sign == Sign::Leaving {
            self.watches.left(real);
        }
        if let Some(logical) = self.tree.logical_of(real) {
            self.changes.file(&logical, sign, now);
        } else if self.tree.shape_depends_on(real) {
            self.changes.shape(sign, now);
        }
    }

    /// Whether the tree must be walked because of this due path; a plain file's coming or going is patched in.
    fn reshapes(&mut self, logical: &Path) -> bool {
        let known = self.tree.files.get(logical);
        match fs::symlink_metadata(logical) {
            Ok(meta) if meta.is_file() => {
                let Ok(real) = fs::canonicalize(logical) else { return true };
                let moved = known.is_some_and(|found| *found.real != *real);
                let claimed = known.is_none() && self.tree.logical.contains_key(&*real);
                if !moved && !claimed {
                    let found = Found { real: real.into(), signature: Signature::of(&meta) };
                    self.tree.insert(logical.into(), found);
                }
                moved || claimed
            }
            Ok(_) => true,
            Err(_) => {
                if !self.tree.has_links {
                    self.tree.remove(logical);
                }
                self.tree.has_links
            }
        }
    }

    /// Walks the tree and returns the paths that came, went or look changed.
    fn walk(&mut self) -> BTreeSet<Arc<Path>> {
        let start = Instant::now();
        let watches = &mut self.watches;
        let tree = Tree::walk(&self.roots, &mut |dir| watches.add(dir));
        let before = mem::replace(&mut self.tree, tree);
        self.keep_unseen(&before);
        let dirs = &self.tree.dirs;
        self.watches.keep(|dir| dirs.contains_key(dir));
        let end = Instant::now();
        self.changes.walked(start, end);
        if !self.tree.unread.is_empty() {
            self.changes.shape_at(end + POLL);
        }
        let Tree { files, unread, .. } = &self.tree;
        let gone =
            self.known.paths().filter(|path| !files.contains_key(*path) && !self.streams.contains(&***path));
        let changed = files.iter().filter(|(path, found)| before.files.get(*path) != Some(*found));
        let unread = unread.keys().map(|path| Arc::from(path.as_path()));
        gone.chain(changed.map(|(path, _)| path)).cloned().chain(unread).collect()
    }

    /// Files below a directory that cannot be listed just now (too many open files, say) are not gone.
    fn keep_unseen(&mut self, before: &Tree) {
        for (path, found) in &before.files {
            let hidden = self.tree.unread.keys().any(|dir| path.starts_with(dir));
            if hidden && !self.tree.files.contains_key(path) && !self.tree.unread.contains_key(&**path) {
                self.tree.insert(path.clone(), found.clone());
            }
        }
    }

    fn look(&self, path: &Path) -> Reading {
        if let Some(problem) = self.tree.unread.get(path) {
            return Reading::Problem(problem.clone());
        }
        // A readable file that the walk left out is given out under another path.
        let ours = self.tree.files.contains_key(path) || self.streams.contains(path);
        if ours { read(path) } else { Reading::Missing }
    }

    fn read_all(&mut self, due: BTreeSet<Arc<Path>>, now: Instant) -> Vec<FileEvent> {
        let mut events = Vec::new();
        for path in due {
            match self.known.decide(&path, self.look(&path), now) {
                Decision::Same => {}
                Decision::Tell(event) => events.push(event),
                Decision::Hold(until) => {
                    tracing::debug!(path = %path.display(), "file lost much of its content; looked at again in a second");
                    self.changes.file_at(&path, until);
                }
            }
        }
        events
    }

    fn send(&self, kind: BatchKind, events: Vec<FileEvent>) -> Result<(), Ended> {
        self.batches.blocking_send(FileBatch { kind, events }).map_err(|_| Ended)
    }
}

fn stdin_event(text: &str) -> FileEvent {
    let change = FileChange::Content { text: text.into(), hash: Digest::of(text.as_bytes()) };
    FileEvent { path: Arc::from(Path::new(STDIN)), change }
}
