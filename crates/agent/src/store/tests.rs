use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

const KIND: &str = "type.googleapis.com/test.Kind";

type Content = BTreeMap<(String, String), (Held, Option<Bytes>)>;

fn version(text: &str) -> Held {
    Held::Version(text.into())
}

fn put(store: &mut Store, name: &str, text: &str) {
    store.put(KIND, &name.into(), &version(text), &Bytes::from(format!("body {text}")));
}

/// Everything that a store answers.
fn content(store: &Store) -> Content {
    let mut content = Content::new();
    for kind in store.kinds() {
        for name in store.names(&kind) {
            let held = store.held(&kind, &name).unwrap();
            let body = (held != Held::Absent).then(|| store.body(&kind, &name).unwrap());
            content.insert((kind.clone(), name.to_string()), (held, body));
        }
    }
    content
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("acknowledged.log")
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    put(&mut store, "a", "1");
    put(&mut store, "b", "1");
    put(&mut store, "a", "2");
    store.put(KIND, &"gone".into(), &Held::Absent, &Bytes::new());
    store.remove(KIND, "b");
    store.set_complete(KIND);
    let before = content(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(content(&store), before);
    assert_eq!(store.body(KIND, "a").unwrap(), "body 2");
    assert_eq!(store.held(KIND, "gone"), Some(Held::Absent));
    assert!(store.held(KIND, "b").is_none() && store.complete(KIND));
}

#[test]
fn only_the_owner_can_read_it_and_only_one_process_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    let _store = Store::open(&dir).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&log_file(&dir))), (0o700, 0o600));
    assert!(matches!(Store::open(&dir), Err(StoreError::InUse(_))));
}

#[test]
fn a_log_cut_at_any_byte_holds_a_state_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut states = vec![content(&store)];
    for step in 0..12 {
        match step % 4 {
            3 => store.remove(KIND, "n1"),
            other => put(&mut store, &format!("n{other}"), &format!("v{step}")),
        }
        states.push(content(&store));
    }
    drop(store);
    let whole = std::fs::read(log_file(dir.path())).unwrap();
    let mut last = 0;
    for cut in 0..=whole.len() {
        std::fs::write(log_file(dir.path()), &whole[..cut]).unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let found = content(&store);
        let state = states.iter().skip(last).position(|state| *state == found);
        last += state.unwrap_or_else(|| panic!("cut at {cut}: {found:?} never was, or was overtaken"));
        // It goes on from there.
        put(&mut store, "after", "1");
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().body(KIND, "after").unwrap(), "body 1");
    }
    assert_eq!(last, states.len() - 1, "the whole log is the last state");
}

#[test]
fn a_changed_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    put(&mut store, "a", "1");
    put(&mut store, "b", "1");
    drop(store);
    let whole = std::fs::read(log_file(dir.path())).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        std::fs::write(log_file(dir.path()), changed).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.len() < 2, "byte {at}");
        assert!(
            content(&store).values().all(|(held, body)| {
                *held == version("1") && body.as_deref() == Some(b"body 1".as_slice())
            })
        );
    }
}

#[test]
fn one_edit_among_many_writes_one_record_and_the_log_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let body = Bytes::from(vec![7; 1000]);
    for n in 0..2_000 {
        store.put(KIND, &format!("n{n}").into(), &version("1"), &body);
    }
    let before = store.bytes();
    store.put(KIND, &"n7".into(), &version("2"), &body);
    assert!(store.bytes() - before < 1_200, "one record");
    for n in 0..20_000 {
        store.put(KIND, &format!("n{}", n % 2_000).into(), &version(&format!("x{n}")), &body);
        assert!(store.bytes() < 3 * before, "superseded records are dropped");
    }
    let whole = content(&store);
    drop(store);
    assert_eq!(content(&Store::open(dir.path()).unwrap()), whole);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Absent(u8),
    Remove(u8),
    Reopen,
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, any::<u8>()).prop_map(|(name, version)| Step::Put(name, version)),
        1 => (0..6_u8).prop_map(Step::Absent),
        2 => (0..6_u8).prop_map(Step::Remove),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn a_store_is_a_map(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let mut model = Content::new();
        let key = |name: u8| (KIND.to_owned(), format!("n{name}"));
        for step in steps {
            match step {
                Step::Put(name, text) => {
                    let (text, name) = (text.to_string(), key(name));
                    put(&mut store, &name.1, &text);
                    model.insert(name, (version(&text), Some(Bytes::from(format!("body {text}")))));
                }
                Step::Absent(name) => {
                    store.put(KIND, &key(name).1.into(), &Held::Absent, &Bytes::new());
                    model.insert(key(name), (Held::Absent, None));
                }
                Step::Remove(name) => {
                    store.remove(KIND, &key(name).1);
                    model.remove(&key(name));
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                }
                Step::Compact => store.compact().unwrap(),
            }
            prop_assert_eq!(&content(&store), &model);
            let live: u64 = store.kinds.values().flat_map(HashMap::values).map(|entry| entry.place.len()).sum();
            prop_assert_eq!(store.live, live);
        }
    }
}
