//! Against the real file system; waits are for events and bounded.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// A directory, its source, and the state that its events add up to.
struct Fixture {
    dir: tempfile::TempDir,
    updates: FileUpdates,
    /// Text by path, relative to the directory.
    texts: BTreeMap<String, String>,
    /// Problems by path.
    problems: BTreeMap<String, FileProblem>,
    batches: usize,
}

impl Fixture {
    async fn new(files: &[(&str, &str)]) -> Self {
        Self::with(files, |source| source).await
    }

    async fn with(files: &[(&str, &str)], adapt: impl FnOnce(FileSource) -> FileSource) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&dir.path().join(name), text);
        }
        Self::at(dir, &[""], adapt).await
    }

    async fn at(
        dir: tempfile::TempDir,
        roots: &[&str],
        adapt: impl FnOnce(FileSource) -> FileSource,
    ) -> Self {
        let roots = roots.iter().map(|root| dir.path().join(root)).collect();
        let updates = adapt(FileSource::new(roots, None)).start().unwrap();
        let mut fixture =
            Self { dir, updates, texts: BTreeMap::new(), problems: BTreeMap::new(), batches: 0 };
        assert_eq!(fixture.batch().await, BatchKind::InitialComplete);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn batch(&mut self) -> BatchKind {
        let batch = tokio::time::timeout(PATIENCE, self.updates.next()).await;
        let batch = batch.unwrap_or_else(|_| panic!("no event in time; known: {:?}", self.texts)).unwrap();
        self.batches += 1;
        assert!(batch.events.is_sorted_by(|a, b| a.path < b.path));
        for event in batch.events {
            let name = event.path.strip_prefix(self.dir.path()).unwrap().to_str().unwrap().to_owned();
            match event.change {
                FileChange::Content { text, hash } => {
                    assert_eq!(hash, Digest::of(text.as_bytes()));
                    self.problems.remove(&name);
                    self.texts.insert(name, text.to_string());
                }
                FileChange::Gone => {
                    let known = self.problems.remove(&name).is_some() | self.texts.remove(&name).is_some();
                    assert!(known, "{name} was never there");
                }
                FileChange::Unusable(problem) => {
                    self.problems.insert(name, problem);
                }
            }
        }
        batch.kind
    }

    /// Takes batches until the state is `expected`.
    async fn until(&mut self, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        while self.texts != expected {
            self.batch().await;
        }
    }

    /// Writes a file the source has not seen and waits for it: all that came before was handled.
    async fn barrier(&mut self) {
        self.barrier_in("").await;
    }

    async fn barrier_in(&mut self, dir: &str) {
        let name = Path::new(dir).join(format!("zz-barrier-{}.yaml", self.batches));
        let name = name.to_str().unwrap().to_owned();
        // Renamed into place, or a walk might see it before its text and then again.
        write(&self.path(".barrier"), "barrier");
        fs::rename(self.path(".barrier"), self.path(&name)).unwrap();
        while !self.texts.contains_key(&name) {
            self.batch().await;
        }
        self.texts.remove(&name);
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Gives a file a time of last write that no writer can still be behind.
fn age(path: &Path) {
    let old = std::time::SystemTime::now() - Duration::from_mins(1);
    fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

#[tokio::test]
async fn first_batch_holds_every_manifest_and_nothing_else() {
    let fixture = Fixture::new(&[
        ("a.yaml", "a"),
        ("sub/deep/b.yml", "b"),
        ("c.json", "c"),
        ("notes.txt", "no"),
        (".hidden.yaml", "no"),
        (".git/x.yaml", "no"),
        ("a.yaml~", "no"),
        ("#a.yaml", "no"),
        (".a.yaml.swp", "no"),
        ("empty.yaml", ""),
    ])
    .await;
    let names: Vec<_> = fixture.texts.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.yaml", "c.json", "empty.yaml", "sub/deep/b.yml"]);
}

#[tokio::test]
async fn named_file_needs_no_extension_and_stdin_is_a_path() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("gateway.conf"), "text");
    let source = FileSource::new(vec![dir.path().join("gateway.conf"), "-".into()], Some("piped".into()));
    let batch = source.start().unwrap().next().await.unwrap();
    let texts: Vec<_> =
        batch.events.iter().map(|event| (event.path.to_str().unwrap(), &event.change)).collect();
    assert_eq!(texts.len(), 2);
    // Paths are ordered by their components, and the root comes before any name.
    assert!(matches!(texts[0].1, FileChange::Content { text, .. } if &**text == "text"));
    assert_eq!(texts[1].0, STDIN);
    assert!(matches!(texts[1].1, FileChange::Content { text, .. } if &**text == "piped"));
}

#[tokio::test]
async fn missing_root_and_missing_stdin_are_errors_that_name_them() {
    let error = FileSource::new(vec!["/nonexistent/x.yaml".into()], None).start().unwrap_err();
    assert!(error.to_string().starts_with("read /nonexistent/x.yaml: "), "{error}");
    assert!(matches!(FileSource::new(vec!["-".into()], None).start(), Err(FilesError::NoStdin)));
}

#[tokio::test]
async fn pipe_is_read_once_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut updates = FileSource::new(vec![pipe.clone()], None).start().unwrap();
    let writer = std::thread::spawn(move || fs::write(pipe, "streamed"));
    let batch = updates.next().await.unwrap();
    writer.join().unwrap().unwrap();
    assert!(matches!(&batch.events[0].change, FileChange::Content { text, .. } if &**text == "streamed"));
}

#[tokio::test]
async fn edits_new_files_new_directories_and_deletions_are_seen() {
    let mut fixture = Fixture::new(&[("a.yaml", "1")]).await;
    write(&fixture.path("a.yaml"), "2");
    fixture.until(&[("a.yaml", "2")]).await;
    write(&fixture.path("new/deeper/b.yaml"), "b");
    fixture.until(&[("a.yaml", "2"), ("new/deeper/b.yaml", "b")]).await;
    write(&fixture.path("new/deeper/b.yaml"), "bb");
    fixture.until(&[("a.yaml", "2"), ("new/deeper/b.yaml", "bb")]).await;
    fs::remove_file(fixture.path("a.yaml")).unwrap();
    fixture.until(&[("new/deeper/b.yaml", "bb")]).await;
    fs::remove_dir_all(fixture.path("new")).unwrap();
    fixture.until(&[]).await;
    write(&fixture.path("new/deeper/b.yaml"), "again");
    fixture.until(&[("new/deeper/b.yaml", "again")]).await;
}

#[tokio::test]
async fn atomic_rename_is_one_change_and_never_a_deletion() {
    let mut fixture = Fixture::new(&[("a.yaml", "1")]).await;
    for round in 0..20 {
        let text = format!("round {round}");
        write(&fixture.path(".a.yaml.tmp"), &text);
        fs::rename(fixture.path(".a.yaml.tmp"), fixture.path("a.yaml")).unwrap();
        fixture.batch().await;
        assert_eq!(fixture.texts["a.yaml"], text);
    }
    assert_eq!(fixture.batches, 21);
}

#[tokio::test]
async fn remove_and_write_anew_is_never_a_deletion() {
    let mut fixture = Fixture::new(&[("a.yaml", "1")]).await;
    // As vim with a backup, and as git.
    fs::rename(fixture.path("a.yaml"), fixture.path("a.yaml~")).unwrap();
    write(&fixture.path("a.yaml"), "2");
    fixture.batch().await;
    assert_eq!(fixture.texts["a.yaml"], "2");
    fs::remove_file(fixture.path("a.yaml")).unwrap();
    write(&fixture.path("a.yaml"), "3");
    fixture.batch().await;
    assert_eq!(fixture.texts["a.yaml"], "3");
}

#[tokio::test]
async fn unchanged_text_is_no_event() {
    let mut fixture = Fixture::new(&[("a.yaml", "1")]).await;
    write(&fixture.path("a.yaml"), "1");
    fixture.barrier().await;
    assert_eq!(fixture.batches, 2);
}

#[tokio::test]
async fn truncated_write_is_not_believed_at_once() {
    let full = "x".repeat(100);
    let mut fixture = Fixture::new(&[("a.yaml", &full)]).await;
    write(&fixture.path("a.yaml"), "");
    fixture.barrier().await;
    assert_eq!(fixture.texts["a.yaml"], full);
    let done = "y".repeat(100);
    write(&fixture.path("a.yaml"), &done);
    fixture.until(&[("a.yaml", &done)]).await;
}

#[tokio::test]
async fn short_text_is_believed_after_a_second() {
    let full = "x".repeat(100);
    let mut fixture = Fixture::new(&[("a.yaml", &full)]).await;
    let start = Instant::now();
    write(&fixture.path("a.yaml"), "short");
    fixture.until(&[("a.yaml", "short")]).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn short_text_of_an_old_file_is_believed_at_once() {
    let full = "x".repeat(100);
    let mut fixture = Fixture::new(&[("a.yaml", &full)]).await;
    write(&fixture.path(".old"), "short");
    age(&fixture.path(".old"));
    let start = Instant::now();
    fs::rename(fixture.path(".old"), fixture.path("a.yaml")).unwrap();
    fixture.until(&[("a.yaml", "short")]).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn caller_can_doubt_a_text() {
    let mut fixture = Fixture::with(&[("a.yaml", "one two")], |source| {
        source.judge(|path, before, now| {
            assert!(path.ends_with("a.yaml") && before == Extent { bytes: 7, documents: 1 });
            if now.contains("two") { Verdict::Plausible } else { Verdict::Suspicious }
        })
    })
    .await;
    let start = Instant::now();
    write(&fixture.path("a.yaml"), "one xxx");
    fixture.until(&[("a.yaml", "one xxx")]).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn unclosed_write_is_read_after_quiet() {
    let mut fixture = Fixture::new(&[("a.yaml", "1")]).await;
    let mut file = fs::File::options().append(true).open(fixture.path("a.yaml")).unwrap();
    file.write_all(b"2").unwrap();
    fixture.until(&[("a.yaml", "12")]).await;
}

#[tokio::test]
async fn bad_file_is_told_alone_and_recovers() {
    let mut fixture = Fixture::new(&[("good.yaml", "1")]).await;
    fs::write(fixture.path("bad.yaml"), b"line\n\xff").unwrap();
    fixture.batch().await;
    assert_eq!(fixture.problems["bad.yaml"], FileProblem::NotUtf8 { line: 2, byte: 0xff });
    fs::write(fixture.path("bad.yaml"), b"fine").unwrap();
    fixture.until(&[("bad.yaml", "fine"), ("good.yaml", "1")]).await;
    assert!(fixture.problems.is_empty());
}

#[tokio::test]
async fn too_large_file_is_refused_unread() {
    let mut fixture = Fixture::new(&[]).await;
    fs::File::create(fixture.path("big.yaml")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    fixture.batch().await;
    assert_eq!(fixture.problems["big.yaml"], FileProblem::TooLarge);
    assert_eq!(FileProblem::TooLarge.to_string(), "is larger than 64 MiB");
}

#[tokio::test]
async fn unreadable_file_says_what_the_system_says() {
    let mut fixture = Fixture::new(&[]).await;
    write(&fixture.path(".secret"), "x");
    fs::set_permissions(fixture.path(".secret"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(fixture.path(".secret")).is_ok() {
        // Root reads everything: then a directory in the file's place stands for it.
        fs::create_dir(fixture.path("dir")).unwrap();
        assert!(matches!(
            read::read(&fixture.path("dir")),
            read::Reading::Problem(FileProblem::Unreadable(_))
        ));
        return;
    }
    fs::rename(fixture.path(".secret"), fixture.path("secret.yaml")).unwrap();
    fixture.batch().await;
    assert!(
        matches!(&fixture.problems["secret.yaml"], FileProblem::Unreadable(why) if why.contains("denied"))
    );
}

#[tokio::test]
async fn mounted_config_map_swap_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("..1/a.yaml"), "1");
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let mut fixture = Fixture::at(dir, &[""], |source| source).await;
    fixture.until(&[("a.yaml", "1")]).await;
    for round in 2..5 {
        let text = round.to_string();
        write(&fixture.path(&format!("..{round}/a.yaml")), &text);
        symlink(format!("..{round}"), fixture.path("..data_tmp")).unwrap();
        fs::rename(fixture.path("..data_tmp"), fixture.path("..data")).unwrap();
        fs::remove_dir_all(fixture.path(&format!("..{}", round - 1))).unwrap();
        fixture.until(&[("a.yaml", &text)]).await;
    }
}

#[tokio::test]
async fn links_are_followed_and_loops_and_doubles_are_not() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("tree/a.yaml"), "1");
    write(&dir.path().join("elsewhere/real.yaml"), "r");
    write(&dir.path().join("other/o.yaml"), "o");
    symlink("self.yaml", dir.path().join("tree/self.yaml")).unwrap();
    symlink("a.yaml", dir.path().join("tree/same.yaml")).unwrap();
    symlink("../elsewhere/real.yaml", dir.path().join("tree/link.yaml")).unwrap();
    symlink("../nowhere.yaml", dir.path().join("tree/broken.yaml")).unwrap();
    symlink(".", dir.path().join("tree/loop")).unwrap();
    symlink("../other", dir.path().join("tree/dir")).unwrap();
    let mut fixture = Fixture::at(dir, &["tree"], |source| source).await;
    let mut state = vec![("tree/a.yaml", "1"), ("tree/dir/o.yaml", "o"), ("tree/link.yaml", "r")];
    fixture.until(&state).await;
    write(&fixture.path("other/o.yaml"), "oo");
    write(&fixture.path("elsewhere/.tmp"), "rr");
    fs::rename(fixture.path("elsewhere/.tmp"), fixture.path("elsewhere/real.yaml")).unwrap();
    (state[1].1, state[2].1) = ("oo", "rr");
    fixture.until(&state).await;
    write(&fixture.path("nowhere.yaml"), "found");
    state.insert(1, ("tree/broken.yaml", "found"));
    fixture.until(&state).await;
    // The path that stood for a doubly named file goes: the other takes over.
    fs::remove_file(fixture.path("tree/same.yaml")).unwrap();
    fixture.barrier_in("tree").await;
    assert_eq!(fixture.texts["tree/a.yaml"], "1");
}

#[tokio::test]
async fn replaced_directory_is_watched_anew() {
    let mut fixture = Fixture::new(&[("d/a.yaml", "1")]).await;
    for round in 0..3 {
        let (new, newer) = (format!("new {round}"), format!("newer {round}"));
        write(&fixture.path(".next/a.yaml"), &new);
        fs::rename(fixture.path("d"), fixture.path(".old")).unwrap();
        fs::rename(fixture.path(".next"), fixture.path("d")).unwrap();
        fs::remove_dir_all(fixture.path(".old")).unwrap();
        fixture.until(&[("d/a.yaml", &new)]).await;
        write(&fixture.path("d/a.yaml"), &newer);
        fixture.until(&[("d/a.yaml", &newer)]).await;
    }
}

#[tokio::test]
async fn named_file_may_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("only.conf"), "1");
    write(&dir.path().join("other.yaml"), "not named");
    let mut fixture = Fixture::at(dir, &["only.conf"], |source| source).await;
    fixture.until(&[("only.conf", "1")]).await;
    fs::remove_file(fixture.path("only.conf")).unwrap();
    fixture.until(&[]).await;
    write(&fixture.path("only.conf"), "2");
    fixture.until(&[("only.conf", "2")]).await;
}

#[tokio::test]
async fn polling_sees_what_watching_sees() {
    let mut fixture =
        Fixture::with(&[("a.yaml", "1")], |source| source.poll_every(Duration::from_millis(20))).await;
    write(&fixture.path("a.yaml"), "two");
    write(&fixture.path("sub/b.yaml"), "b");
    fixture.until(&[("a.yaml", "two"), ("sub/b.yaml", "b")]).await;
    fs::remove_file(fixture.path("a.yaml")).unwrap();
    fixture.until(&[("sub/b.yaml", "b")]).await;
}

#[tokio::test]
async fn many_new_files_cost_few_batches_and_no_file_is_lost() {
    let mut fixture = Fixture::new(&[]).await;
    let names: Vec<_> = (0..500).map(|i| (format!("d{}/{i}.yaml", i % 7), i.to_string())).collect();
    for (name, text) in &names {
        write(&fixture.path(name), text);
    }
    let expected: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    fixture.until(&expected).await;
}

#[tokio::test]
async fn relative_paths_are_given_out_as_they_were_named() {
    let here = std::env::current_dir().unwrap();
    let dir = tempfile::tempdir_in(&here).unwrap();
    write(&dir.path().join("a.yaml"), "1");
    let root = dir.path().strip_prefix(&here).unwrap().to_owned();
    let mut updates = FileSource::new(vec![root.clone()], None).start().unwrap();
    let first = updates.next().await.unwrap();
    assert_eq!(*first.events[0].path, *root.join("a.yaml"));
    write(&dir.path().join("a.yaml"), "2");
    let next = tokio::time::timeout(PATIENCE, updates.next()).await.unwrap().unwrap();
    assert_eq!(next.events[0].path, first.events[0].path);
}

/// One random change of the tree; failing ones (a directory that is not empty, say) change nothing.
fn change(dir: &Path, random: &mut impl FnMut(usize) -> usize, text: &str) -> String {
    let files = ["a.yaml", "b.yaml", "d/c.yaml", "d/s/x.yaml", "e/c.yaml", "link/c.yaml"];
    let dirs = ["d", "e", "f", "d/s", "e/s"];
    let file = dir.join(files[random(files.len())]);
    let (one, other) = (dir.join(dirs[random(dirs.len())]), dir.join(dirs[random(dirs.len())]));
    let what = random(10);
    let result = match what {
        0..4 => fs::write(&file, text),
        4 => fs::write(dir.join(".tmp"), text).and_then(|()| fs::rename(dir.join(".tmp"), &file)),
        5 => fs::remove_file(&file),
        6 => fs::rename(&file, dir.join(files[random(files.len())])),
        7 => fs::create_dir(&one),
        8 => fs::rename(&one, &other).or_else(|_| fs::remove_dir_all(&one)),
        _ => {
            let link = dir.join(["link", "link.yaml"][random(2)]);
            let _ = fs::remove_file(&link);
            symlink(if link.extension().is_some() { &file } else { &one }, &link)
        }
    };
    format!("{what} of {} {} {}: {}", file.display(), one.display(), other.display(), result.is_ok())
}

/// What a source that starts now gives out.
async fn fresh_texts(dir: &Path) -> BTreeMap<String, String> {
    let batch = FileSource::new(vec![dir.to_owned()], None).start().unwrap().next().await.unwrap();
    let texts = batch.events.iter().filter_map(|event| {
        let name = event.path.strip_prefix(dir).unwrap().to_str().unwrap();
        let FileChange::Content { text, .. } = &event.change else { return None };
        Some((name.to_owned(), text.to_string()))
    });
    texts.filter(|(name, _)| !name.starts_with("zz-barrier")).collect()
}

async fn change_and_compare(seed: usize) {
    let mut state = seed;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut fixture = Fixture::new(&[("a.yaml", "0000"), ("d/c.yaml", "0000")]).await;
    let mut done = Vec::new();
    for round in 0..40 {
        for step in 0..=random(3) {
            done.push(change(fixture.dir.path(), &mut random, &format!("{round:02}{step:02}")));
        }
        // What was changed before it is noted then; what may be replaced still is told later.
        fixture.barrier().await;
        let expected = fresh_texts(fixture.dir.path()).await;
        while fixture.texts != expected {
            let differs = format!("seed {seed}, round {round}: {:?} is not {expected:?}", fixture.texts);
            let waited = tokio::time::timeout(PATIENCE / 2, fixture.batch()).await;
            assert!(waited.is_ok(), "{differs} after {:?}", done.split_off(done.len().saturating_sub(8)));
        }
    }
}

#[tokio::test]
async fn any_sequence_of_changes_ends_as_a_fresh_start() {
    let mut seeds = tokio::task::JoinSet::new();
    (1..=8).for_each(|seed| drop(seeds.spawn(change_and_compare(seed))));
    seeds.join_all().await;
}

#[tokio::test]
async fn links_may_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("tree/b.yaml"), "b");
    write(&dir.path().join("outside/o.yaml"), "o");
    let mut fixture = Fixture::at(dir, &["tree"], |source| source).await;
    symlink("../outside/o.yaml", fixture.path("tree/link.yaml")).unwrap();
    fixture.until(&[("tree/b.yaml", "b"), ("tree/link.yaml", "o")]).await;
    symlink("../outside", fixture.path("tree/dir")).unwrap();
    fs::remove_file(fixture.path("tree/link.yaml")).unwrap();
    fixture.until(&[("tree/b.yaml", "b"), ("tree/dir/o.yaml", "o")]).await;
    // The first path of a file stands for all; the next takes over.
    symlink("b.yaml", fixture.path("tree/a.yaml")).unwrap();
    fixture.until(&[("tree/a.yaml", "b"), ("tree/dir/o.yaml", "o")]).await;
    fs::remove_file(fixture.path("tree/a.yaml")).unwrap();
    fixture.until(&[("tree/b.yaml", "b"), ("tree/dir/o.yaml", "o")]).await;
}

#[tokio::test]
async fn dropped_updates_end_the_thread() {
    let Fixture { updates, dir, .. } = Fixture::new(&[("a.yaml", "1")]).await;
    let to_worker = updates.worker.clone();
    drop(updates);
    let end = Instant::now() + PATIENCE;
    // The send fails once the thread dropped its end.
    while to_worker.send(watch::Input::Watch(Ok(notify::Event::default()))).is_ok() {
        assert!(Instant::now() < end, "the thread still listens");
        tokio::task::yield_now().await;
    }
    drop(dir);
}

#[test]
fn documents_are_counted_by_their_separators() {
    let documents = |text| Extent::of(text).documents;
    assert_eq!(documents(""), 0);
    assert_eq!(documents("a: 1\nb: 2\n"), 1);
    assert_eq!(documents("---\n# only words\n---\na: 1\n---\n\n--- {b: 2}\n"), 2);
}
