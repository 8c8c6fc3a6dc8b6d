//! Watches on directories, and what their events mean.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::Sender,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

/// What the worker is told.
#[derive(Debug)]
pub(super) enum Input {
    /// By the watcher.
    Watch(notify::Result<Event>),
    /// Nobody listens any more.
    Stop,
}

/// What an event says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is written to, and may be again.
    Writing,
    /// It is complete: closed after writing, or renamed into place.
    Complete,
    /// It went; what replaces it may be on its way.
    Leaving,
}

/// Reads an event's kind; `None` when it says nothing about content.
pub(super) fn sign(kind: EventKind) -> Option<Sign> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Sign::Complete),
        // `Both` repeats the `From` and `To` that came before it.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Some(Sign::Leaving),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
            Some(Sign::Writing)
        }
    }
}

/// The watches in force.
pub(super) struct Watches {
    /// `None` when watching is refused, or not wanted.
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of each watched directory: a watch follows the inode, not the path.
    dirs: BTreeMap<PathBuf, (u64, u64)>,
}

impl Watches {
    /// Watches that report to `events`.
    pub(super) fn new(events: Sender<Input>) -> Self {
        let created = notify::recommended_watcher(move |event| {
            // The worker may have ended; then nobody needs the event.
            let _ = events.send(Input::Watch(event));
        });
        let mut watches = Self { watcher: None, dirs: BTreeMap::new() };
        match created {
            Ok(created) => watches.watcher = Some(created),
            Err(error) => watches.give_up(&error),
        }
        watches
    }

    /// No watches: the worker polls.
    pub(super) fn none() -> Self {
        Self { watcher: None, dirs: BTreeMap::new() }
    }

    pub(super) fn refused(&self) -> bool {
        self.watcher.is_none()
    }

    /// Watches `dir`, a real path, unless that very directory is watched already.
    pub(super) fn add(&mut self, dir: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let Ok(meta) = fs::metadata(dir) else { return };
        let identity = (meta.dev(), meta.ino());
        match self.dirs.get(dir) {
            Some(known) if *known == identity => return,
            // The path names another directory now. Its watch may have ended with it, so an error says nothing.
            Some(_) => drop(watcher.unwatch(dir)),
            None => {}
        }
        match watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.dirs.insert(dir.to_owned(), identity);
            }
            // Gone meanwhile, or not readable: not a refusal to watch.
            Err(_) if fs::read_dir(dir).is_err() => {}
            Err(error) => self.give_up(&error),
        }
    }

    /// Forgets a directory that left its path, so that one which takes its place is watched anew.
    pub(super) fn left(&mut self, dir: &Path) {
        self.dirs.remove(dir);
    }

    /// Ends the watches that `wanted` does not hold.
    pub(super) fn keep(&mut self, wanted: impl Fn(&Path) -> bool) {
        let Some(watcher) = &mut self.watcher else { return };
        self.dirs.retain(|dir, _| {
            let keep = wanted(dir);
            if !keep {
                // The watch may have ended with its directory.
                drop(watcher.unwatch(dir));
            }
            keep
        });
    }

    /// Says so once, as the watcher never comes back.
    fn give_up(&mut self, error: &notify::Error) {
        tracing::warn!(
            "file changes cannot be watched ({error}); files are looked at every second instead \
             (raising fs.inotify.max_user_watches or max_user_instances may help)"
        );
        self.watcher = None;
        self.dirs.clear();
    }
}
