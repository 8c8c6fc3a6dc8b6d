//! Which files there are: a walk over the named paths, with what must be watched to notice that the answer changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use super::read::{FileProblem, Signature};

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;

/// A file as found by a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Without symbolic links: what watch events name.
    pub(super) real: Arc<Path>,
    pub(super) signature: Signature,
}

/// Which names matter in a directory.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Where the directory stands in the walk, when all its files are given out.
    pub(super) walked_as: Option<PathBuf>,
    /// Named paths and symbolic links that lie here.
    pub(super) names: BTreeSet<OsString>,
}

/// The outcome of a walk.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Every file by the path under which it is given out. No two have the same real path.
    pub(super) files: BTreeMap<Arc<Path>, Found>,
    /// Every directory to watch, by real path.
    pub(super) dirs: BTreeMap<PathBuf, Interest>,
    /// The path under which a real file is given out; the inverse of `files`.
    pub(super) logical: BTreeMap<Arc<Path>, Arc<Path>>,
    /// Directories and links that the system refuses to show: what was below them is not known to be gone.
    pub(super) unread: BTreeMap<PathBuf, FileProblem>,
    /// A link makes one file's change another path's change, so the walk cannot be patched in place.
    pub(super) has_links: bool,
}

impl Tree {
    /// Walks `roots`, telling `on_dir` each directory *before* it is read, so that a watch set there misses nothing.
    pub(super) fn walk(roots: &[PathBuf], on_dir: &mut dyn FnMut(&Path)) -> Self {
        let mut walk = Walk { tree: Self::default(), on_dir };
        for root in roots {
            walk.root(root);
        }
        walk.tree
    }

    /// Adds a plain file that appeared as `logical`.
    pub(super) fn insert(&mut self, logical: Arc<Path>, found: Found) {
        self.logical.insert(found.real.clone(), logical.clone());
        self.files.insert(logical, found);
    }

    /// Forgets the file given out as `logical`.
    pub(super) fn remove(&mut self, logical: &Path) {
        if let Some(found) = self.files.remove(logical) {
            self.logical.remove(&found.real);
        }
    }

    /// The path under which `real` is, or if it were a file would be, given out.
    pub(super) fn logical_of(&self, real: &Path) -> Option<PathBuf> {
        if let Some(logical) = self.logical.get(real) {
            return Some(logical.to_path_buf());
        }
        let name = real.file_name()?;
        let walked_as = self.dirs.get(real.parent()?)?.walked_as.as_ref()?;
        is_manifest(name).then(|| walked_as.join(name))
    }

    /// Whether the coming or going of `real`, which is no file of ours, may change the outcome of a walk.
    pub(super) fn shape_depends_on(&self, real: &Path) -> bool {
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { return false };
        if self.dirs.contains_key(real) {
            return true;
        }
        self.dirs.get(parent).is_some_and(|dir| {
            dir.names.contains(name)
                || (dir.walked_as.is_some() && !is_hidden(name) && (is_manifest(name) || real.is_dir()))
        })
    }
}

/// Whether a file of this name in a walked directory is given out.
pub(super) fn is_manifest(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !is_hidden(name) && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Hidden names, and editors' temporaries that are not told by their extension.
fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), None | Some(b'.' | b'#' | b'~'))
}

struct Walk<'a> {
    tree: Tree,
    on_dir: &'a mut dyn FnMut(&Path),
}

impl Walk<'_> {
    fn root(&mut self, root: &Path) {
        // Notes the root's own name too, so that it may come and go.
        self.follow_links(root);
        match fs::metadata(root) {
            Ok(meta) if meta.is_dir() => self.dir(root),
            Ok(meta) if meta.is_file() => self.resolved_file(root, &meta),
            Ok(_) => {}
            Err(error) => self.failed(root, &error),
        }
    }

    fn dir(&mut self, path: &Path) {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) => return self.failed(path, &error),
        };
        let interest = self.tree.dirs.entry(real.clone()).or_default();
        // A directory met again is a loop, or named twice: its files would be given out twice.
        if interest.walked_as.is_some() {
            return;
        }
        interest.walked_as = Some(path.to_owned());
        (self.on_dir)(&real);
        match sorted_names(path) {
            Ok(names) => names.iter().for_each(|name| self.entry(path, &real, name)),
            Err(error) => self.failed(path, &error),
        }
    }

    fn entry(&mut self, dir: &Path, real_dir: &Path, name: &OsStr) {
        if is_hidden(name) {
            return;
        }
        let path = dir.join(name);
        let meta = fs::symlink_metadata(&path).and_then(|own| {
            if !own.is_symlink() {
                return Ok((own, false));
            }
            self.follow_links(&path);
            fs::metadata(&path).map(|meta| (meta, true))
        });
        match meta {
            Ok((meta, _)) if meta.is_dir() => self.dir(&path),
            Ok((meta, linked)) if meta.is_file() && is_manifest(name) => {
                if linked {
                    self.resolved_file(&path, &meta);
                } else {
                    self.file(path, real_dir.join(name), &meta);
                }
            }
            Err(error) if is_manifest(name) => self.failed(&path, &error),
            Ok(_) | Err(_) => {}
        }
    }

    fn resolved_file(&mut self, path: &Path, meta: &fs::Metadata) {
        match fs::canonicalize(path) {
            Ok(real) => self.file(path.to_owned(), real, meta),
            Err(error) => self.failed(path, &error),
        }
    }

    fn file(&mut self, path: PathBuf, real: PathBuf, meta: &fs::Metadata) {
        if !self.tree.logical.contains_key(&*real) {
            let path: Arc<Path> = path.into();
            let real = if *path == *real { path.clone() } else { real.into() };
            self.tree.insert(path, Found { real, signature: Signature::of(meta) });
        }
    }

    /// A path that cannot be looked at. One that leads nowhere is absent until it leads somewhere.
    fn failed(&mut self, path: &Path, error: &io::Error) {
        let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if !absent && error.raw_os_error() != Some(Errno::LOOP.raw_os_error()) {
            self.tree.unread.insert(path.to_owned(), FileProblem::Unreadable(error.to_string()));
        }
    }

    /// Notes every link that `path` leads through, and the directory where each target lies.
    fn follow_links(&mut self, path: &Path) {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some((link, target, rest)) = first_link(&path) else { break };
            let parent = link.parent().unwrap_or(Path::new("/")).to_owned();
            if let Some(name) = link.file_name() {
                self.note_name(&parent, name);
            }
            self.tree.has_links = true;
            path = parent.join(target).join(rest);
        }
        // The end of the chain: the target itself may be replaced.
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.note_name(parent, name);
        }
    }

    fn note_name(&mut self, dir: &Path, name: &OsStr) {
        let Ok(real) = fs::canonicalize(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) else {
            return;
        };
        (self.on_dir)(&real);
        self.tree.dirs.entry(real).or_default().names.insert(name.to_owned());
    }
}

/// The first symbolic link in `path`: itself, its target, and what comes after it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let mut prefix = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        prefix.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        if let Ok(target) = fs::read_link(&prefix) {
            return Some((prefix, target, components.as_path().to_owned()));
        }
    }
    None
}

fn sorted_names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
