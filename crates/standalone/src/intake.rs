//! Files to objects: decoded, defaulted, validated, and compared with what was there before.
//!
//! A file with an error keeps the objects of its last good content. An object that two files hold belongs to the file
//! that comes first by path; when that one lets it go, the other takes over.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use gatehouse_api::source::parse;
use gatehouse_api::types::Meta;
use gatehouse_api::{Diagnostic, Object, ObjectRef, Severity, admit};
use smallvec::SmallVec;

use crate::files::{Extent, FileBatch, FileChange, FileEvent, Verdict, by_size};

/// Whether a file's new text may be one that is still being written: it is much shorter, and what is left has errors or
/// fewer than half the documents. A shorter text that says as much as before counts at once.
pub fn judge(before: Extent, now: &str) -> Verdict {
    if by_size(before, now) == Verdict::Plausible {
        return Verdict::Plausible;
    }
    let whole = parse(now).iter().all(|document| admit(document).is_ok());
    if whole && Extent::of(now).documents * 2 >= before.documents {
        Verdict::Plausible
    } else {
        Verdict::Suspicious
    }
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectChange {
    /// It is new or different.
    Upsert(Arc<ObjectRef>, Object),
    /// No file holds it any more.
    Remove(ObjectRef),
}

/// A problem and the file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file.
    pub path: Arc<Path>,
    /// What is wrong where.
    pub diagnostic: Diagnostic,
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.diagnostic)
    }
}

/// Objects of a file, sorted; key and object are shared with [`Intake::objects`]. Most files hold few, and a map's first
/// node alone would take more than they do.
type Objects = Vec<(Arc<ObjectRef>, Object)>;

/// What is wrong with a file.
#[derive(Debug)]
struct Trouble {
    problems: Vec<Diagnostic>,
    /// Whether its objects are of an earlier content, since the present one has errors.
    stale: bool,
}

/// One object over all files.
#[derive(Debug, Default)]
struct ObjectState {
    /// Which files hold it, sorted; the first one counts. Mostly there is one.
    holders: SmallVec<[Arc<Path>; 1]>,
    /// What is in force, with its generation; absent until it was decided.
    effective: Option<Object>,
}

/// All files and the objects that they hold together.
#[derive(Debug, Default)]
pub struct Intake {
    files: BTreeMap<Arc<Path>, Objects>,
    objects: HashMap<Arc<ObjectRef>, ObjectState>,
    /// Files with problems; a stale file always has some.
    troubled: BTreeMap<Arc<Path>, Trouble>,
    /// Objects that several files hold.
    doubled: BTreeSet<Arc<ObjectRef>>,
}

impl Intake {
    /// Takes a batch of file events and returns what changed. Cost: the changed files.
    pub fn apply(&mut self, batch: &FileBatch) -> Vec<ObjectChange> {
        let mut touched = Vec::new();
        for event in &batch.events {
            self.take(event, &mut touched);
        }
        touched.sort();
        touched.dedup();
        touched.iter().filter_map(|key| self.decide(key)).collect()
    }

    fn take(&mut self, event: &FileEvent, touched: &mut Vec<Arc<ObjectRef>>) {
        let path = event.path.clone();
        match &event.change {
            FileChange::Content { text, .. } => {
                let (mut objects, problems) = read(text);
                let held = self.files.entry(path.clone()).or_default();
                for (key, object) in &mut objects {
                    // What is unchanged stays the shared value, with the generation that was counted for it.
                    if let Some(old) = find(held, key).filter(|old| same(old, object)) {
                        *object = old.clone();
                    }
                }
                let broken = problems.iter().any(Diagnostic::is_error);
                // With nothing good to fall back on, the good documents are better than none.
                let stale = broken && !held.is_empty();
                if !stale {
                    let old = std::mem::replace(held, objects);
                    self.rehold(&path, &old, touched);
                }
                if problems.is_empty() {
                    self.troubled.remove(&path);
                } else {
                    self.troubled.insert(path, Trouble { problems, stale });
                }
            }
            FileChange::Gone => {
                let old = self.files.remove(&path).unwrap_or_default();
                self.troubled.remove(&path);
                self.rehold(&path, &old, touched);
            }
            FileChange::Unusable(problem) => {
                let problems = vec![Diagnostic {
                    severity: Severity::Error,
                    line: 1,
                    column: 1,
                    path: String::new(),
                    offending: String::new(),
                    message: problem.to_string(),
                    suggestion: None,
                }];
                self.troubled.insert(path, Trouble { problems, stale: true });
            }
        }
    }

    /// Brings the holders up to date with a file whose objects were `old`.
    fn rehold(&mut self, path: &Arc<Path>, old: &Objects, touched: &mut Vec<Arc<ObjectRef>>) {
        let new = self.files.get(path).map_or(&[][..], |objects| objects);
        for (key, _) in old.iter().filter(|(key, _)| find(new, key).is_none()) {
            if let Some(state) = self.objects.get_mut(key) {
                state.holders.retain(|holder| holder != path);
                note(&mut self.doubled, key, state.holders.len() > 1);
            }
            touched.push(key.clone());
        }
        for (key, object) in new {
            let holders = &mut self.objects.entry(key.clone()).or_default().holders;
            if let Err(at) = holders.binary_search(path) {
                holders.insert(at, path.clone());
            }
            note(&mut self.doubled, key, holders.len() > 1);
            if find(old, key) != Some(object) {
                touched.push(key.clone());
            }
        }
    }

    /// The change of an object that a touched key makes, if any.
    fn decide(&mut self, key: &Arc<ObjectRef>) -> Option<ObjectChange> {
        let state = self.objects.get_mut(key)?;
        let file = state.holders.first().and_then(|path| self.files.get_mut(path));
        let held = file.and_then(|objects| find_mut(objects, key));
        let Some(held) = held else {
            self.objects.remove(key)?.effective?;
            return Some(ObjectChange::Remove((**key).clone()));
        };
        let before = state.effective.as_ref();
        if held.meta().generation == 0 {
            held.meta_mut().generation = match before {
                Some(before) if same_spec(before, held) => before.meta().generation,
                Some(before) => before.meta().generation + 1,
                None => 1,
            };
        }
        if before == Some(held) {
            return None;
        }
        state.effective = Some(held.clone());
        Some(ObjectChange::Upsert(key.clone(), held.clone()))
    }

    /// Everything that is wrong now, by path; an object that an earlier file holds too is a problem of the later one.
    /// Cost: what is wrong, however many files are good.
    pub fn problems(&self) -> Vec<FileProblem> {
        let mut problems: Vec<_> = self
            .troubled
            .iter()
            .flat_map(|(path, trouble)| {
                trouble.problems.iter().map(|d| FileProblem { path: path.clone(), diagnostic: d.clone() })
            })
            .collect();
        for (key, state) in self.doubled.iter().filter_map(|key| Some((key, self.objects.get(key)?))) {
            let Some((first, others)) = state.holders.split_first() else { continue };
            for later in others {
                problems.push(FileProblem { path: later.clone(), diagnostic: duplicate(key, first) });
            }
        }
        problems.sort_by(|a, b| {
            let place = |p: &FileProblem| (p.path.clone(), p.diagnostic.line, p.diagnostic.column);
            place(a).cmp(&place(b)).then_with(|| a.diagnostic.message.cmp(&b.diagnostic.message))
        });
        problems
    }

    /// Files whose last good content is in force instead of the present one.
    pub fn stale(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.troubled.iter().filter(|(_, trouble)| trouble.stale).map(|(path, _)| path)
    }

    /// All objects in force, in no order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().filter_map(|state| state.effective.as_ref())
    }
}

/// Puts a member in or takes it out.
fn note<K: Clone + Ord>(set: &mut BTreeSet<K>, key: &K, member: bool) {
    if member {
        set.insert(key.clone());
    } else {
        set.remove(key);
    }
}

fn find<'a>(objects: &'a [(Arc<ObjectRef>, Object)], key: &ObjectRef) -> Option<&'a Object> {
    let at = objects.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
    Some(&objects[at].1)
}

fn find_mut<'a>(objects: &'a mut Objects, key: &ObjectRef) -> Option<&'a mut Object> {
    let at = objects.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
    Some(&mut objects[at].1)
}

/// Whether a file still says the same of an object whose generation, unless written, was counted here.
fn same(old: &Object, new: &Object) -> bool {
    if new.meta().generation != 0 {
        return old == new;
    }
    let mut new = new.clone();
    new.meta_mut().generation = old.meta().generation;
    *old == new
}

/// Whether two versions of an object differ in their metadata only: then its generation stays.
fn same_spec(a: &Object, b: &Object) -> bool {
    let bare = |object: &Object| {
        let mut object = object.clone();
        *object.meta_mut() = Meta::default();
        object
    };
    bare(a) == bare(b)
}

fn read(text: &str) -> (Objects, Vec<Diagnostic>) {
    let mut objects = BTreeMap::new();
    let mut problems = Vec::new();
    for document in parse(text) {
        match admit(&document) {
            Ok(admitted) => {
                problems.extend(admitted.warnings);
                let object = admitted.object;
                match objects.entry(Arc::new(object.key())) {
                    Entry::Occupied(first) => problems.push(second(first.key(), document.line)),
                    Entry::Vacant(free) => {
                        free.insert(object);
                    }
                }
            }
            Err(errors) => problems.extend(errors),
        }
    }
    (objects.into_iter().collect(), problems)
}

fn second(key: &ObjectRef, line: usize) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line,
        column: 1,
        path: "metadata.name".to_owned(),
        offending: key.name.clone(),
        message: format!("{key} stands twice in this file"),
        suggestion: Some("remove or rename one of them".to_owned()),
    }
}

fn duplicate(key: &ObjectRef, first: &Path) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        line: 1,
        column: 1,
        path: "metadata.name".to_owned(),
        offending: key.name.clone(),
        message: format!("{key} is already in {}, which counts", first.display()),
        suggestion: Some("remove or rename one of them".to_owned()),
    }
}

#[cfg(test)]
mod tests;
