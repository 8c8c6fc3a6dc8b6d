//! When to look at what: paths with the time at which each is due.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::watch::Sign;

/// A file is read after this long without a write, if it was not closed before.
const QUIET: Duration = Duration::from_millis(30);
/// A path that went is believed to be gone after this long: editors and `git` remove a file and write it anew.
const REPLACED: Duration = Duration::from_millis(50);
/// A file that is written all the time is read this often.
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Due {
    first: Instant,
    at: Instant,
}

impl Due {
    fn moved(earlier: Option<Self>, sign: Sign, now: Instant) -> Self {
        let first = earlier.map_or(now, |due| due.first);
        let wait = match sign {
            Sign::Writing => QUIET,
            Sign::Complete => Duration::ZERO,
            Sign::Leaving => REPLACED,
        };
        Self { first, at: (now + wait).min(first + LONGEST) }
    }
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files by logical path.
    files: BTreeMap<PathBuf, Due>,
    /// The walk over the whole tree.
    walk: Option<Due>,
    /// No walk before this: walks take at most a fifth of the time, whatever happens in the directories.
    walk_not_before: Option<Instant>,
}

impl Changes {
    /// A sign of change of a file.
    pub(super) fn file(&mut self, path: &Path, sign: Sign, now: Instant) {
        let due = Due::moved(self.files.get(path).copied(), sign, now);
        self.files.insert(path.to_owned(), due);
    }

    /// Looks at a file at `at`, unless it is due before.
    pub(super) fn file_at(&mut self, path: &Path, at: Instant) {
        let due = self.files.entry(path.to_owned()).or_insert(Due { first: at, at });
        due.at = due.at.min(at);
    }

    /// A sign of change of the tree's shape.
    pub(super) fn shape(&mut self, sign: Sign, now: Instant) {
        self.walk = Some(Due::moved(self.walk, sign, now));
    }

    /// Walks at `at`, unless a walk is due before.
    pub(super) fn shape_at(&mut self, at: Instant) {
        let due = self.walk.get_or_insert(Due { first: at, at });
        due.at = due.at.min(at);
    }

    /// Takes the files that are due, in order.
    pub(super) fn take_files(&mut self, now: Instant) -> Vec<PathBuf> {
        self.files.extract_if(.., |_, due| due.at <= now).map(|(path, _)| path).collect()
    }

    /// Takes the walk if it is due.
    pub(super) fn take_walk(&mut self, now: Instant) -> bool {
        let due = self.walk_at().is_some_and(|at| at <= now);
        if due {
            self.walk = None;
        }
        due
    }

    /// A walk took from `start` to `end`.
    pub(super) fn walked(&mut self, start: Instant, end: Instant) {
        self.walk_not_before = Some(end + (end - start) * 4);
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.files.values().map(|due| due.at).chain(self.walk_at()).min()
    }

    fn walk_at(&self) -> Option<Instant> {
        self.walk.map(|due| self.walk_not_before.map_or(due.at, |not_before| due.at.max(not_before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn writes_are_read_after_quiet_and_closing_ends_the_wait() {
        let (start, path) = (Instant::now(), Path::new("a"));
        let mut changes = Changes::default();
        changes.file(path, Sign::Writing, start);
        changes.file(path, Sign::Writing, at(start, 20));
        assert!(changes.take_files(at(start, 49)).is_empty());
        assert_eq!(changes.next(), Some(at(start, 50)));
        changes.file(path, Sign::Complete, at(start, 49));
        assert_eq!(changes.take_files(at(start, 49)), [path]);
        assert_eq!(changes.next(), None);
    }

    #[test]
    fn replaced_file_is_never_taken_for_gone() {
        let (start, path) = (Instant::now(), Path::new("a"));
        let mut changes = Changes::default();
        changes.file(path, Sign::Leaving, start);
        assert!(changes.take_files(at(start, 49)).is_empty());
        assert_eq!(changes.take_files(at(start, 50)), [path]);
    }

    #[test]
    fn constantly_written_file_is_read_each_second() {
        let (start, path) = (Instant::now(), Path::new("a"));
        let mut changes = Changes::default();
        for millis in (0..2000).step_by(10) {
            if !changes.take_files(at(start, millis)).is_empty() {
                assert_eq!(millis, 1000);
                return;
            }
            changes.file(path, Sign::Writing, at(start, millis));
        }
        panic!("never read");
    }

    #[test]
    fn walks_take_a_fifth_of_the_time_at_most() {
        let start = Instant::now();
        let mut changes = Changes::default();
        changes.walked(start, at(start, 10));
        changes.shape(Sign::Complete, at(start, 11));
        assert!(!changes.take_walk(at(start, 49)));
        assert!(changes.take_walk(at(start, 50)));
        assert!(!changes.take_walk(at(start, 500)));
    }
}
