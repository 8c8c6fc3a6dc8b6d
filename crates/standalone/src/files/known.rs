//! What was given out about each file, and which of its changes to believe.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Extent, FileChange, FileEvent, Judge, Verdict,
    read::{FileProblem, Reading},
};
use crate::digest::Digest;

/// A suspicious text is believed after this long without a change.
const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// What becomes of a reading.
pub(super) enum Decision {
    /// Nothing new.
    Same,
    /// Tell.
    Tell(FileEvent),
    /// Look again then.
    Hold(Instant),
}

/// What the listeners know.
pub(super) struct Known {
    judge: Judge,
    /// What was told last of each path that is not gone.
    told: BTreeMap<Arc<Path>, Told>,
    /// Texts seen and not told, by path.
    held: BTreeMap<PathBuf, Held>,
}

/// What is remembered of a change that was told; the text itself is the listeners'.
#[derive(PartialEq, Eq)]
enum Told {
    Content { hash: Digest, extent: Extent },
    Unusable(FileProblem),
}

/// A text not yet believed.
struct Held {
    hash: Digest,
    until: Instant,
}

impl Known {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge, told: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// Paths told and not gone.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.told.keys()
    }

    /// Compares a reading with what was told.
    pub(super) fn decide(&mut self, path: &Arc<Path>, reading: Reading, now: Instant) -> Decision {
        let change = match reading {
            Reading::Missing => FileChange::Gone,
            Reading::Problem(problem) => FileChange::Unusable(problem),
            Reading::Text { text, modified } => {
                let hash = Digest::of(text.as_bytes());
                if let Some(until) = self.doubt(path, &text, hash, modified, now) {
                    return Decision::Hold(until);
                }
                FileChange::Content { text: text.into(), hash }
            }
        };
        self.held.remove(&**path);
        self.tell(path, change)
    }

    fn tell(&mut self, path: &Arc<Path>, change: FileChange) -> Decision {
        let new = match &change {
            FileChange::Content { text, hash } => {
                Some(Told::Content { hash: *hash, extent: Extent::of(text) })
            }
            FileChange::Unusable(problem) => Some(Told::Unusable(problem.clone())),
            FileChange::Gone => None,
        };
        if self.told.get(path) == new.as_ref() {
            return Decision::Same;
        }
        match new {
            Some(new) => drop(self.told.insert(path.clone(), new)),
            None => drop(self.told.remove(path)),
        }
        Decision::Tell(FileEvent { path: path.clone(), change })
    }

    /// Until when a text is not to be believed.
    fn doubt(
        &mut self,
        path: &Path,
        text: &str,
        hash: Digest,
        modified: Option<SystemTime>,
        now: Instant,
    ) -> Option<Instant> {
        let Some(Told::Content { hash: told, extent }) = self.told.get(path) else { return None };
        if *told == hash || settled(modified) {
            return None;
        }
        if let Some(held) = self.held.get(path).filter(|held| held.hash == hash) {
            return (now < held.until).then_some(held.until);
        }
        if !text.is_empty() && (self.judge)(path, *extent, text) == Verdict::Plausible {
            return None;
        }
        let until = now + BELIEVED_AFTER;
        self.held.insert(path.to_owned(), Held { hash, until });
        Some(until)
    }
}

/// Whether the last write is so long ago that the writer is done. A time in the future says nothing.
fn settled(modified: Option<SystemTime>) -> bool {
    modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age >= BELIEVED_AFTER)
}
