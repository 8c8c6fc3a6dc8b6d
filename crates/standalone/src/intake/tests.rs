use std::path::PathBuf;

use super::*;
use crate::digest::Digest;
use crate::files::BatchKind;

fn batch(events: &[(&str, Option<&str>)]) -> FileBatch {
    let events = events.iter().map(|(path, text)| FileEvent {
        path: PathBuf::from(path).into(),
        change: match text {
            Some(text) => FileChange::Content { text: (*text).into(), hash: Digest::of(text.as_bytes()) },
            None => FileChange::Gone,
        },
    });
    FileBatch { kind: BatchKind::Changed, events: events.collect() }
}

fn namespace(name: &str, label: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {{a: {label}}}\n---\n")
}

fn service(port: u16) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{port: {port}}}]}}\n")
}

fn names(changes: &[ObjectChange]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            ObjectChange::Upsert(_, object) => format!("+{}", object.meta().name),
            ObjectChange::Remove(key) => format!("-{}", key.name),
        })
        .collect()
}

#[test]
fn only_the_object_that_differs_changes() {
    let mut intake = Intake::default();
    let both = namespace("a", "x") + &namespace("b", "x");
    assert_eq!(names(&intake.apply(&batch(&[("f.yaml", Some(&both))]))), ["+a", "+b"]);
    let edited = namespace("a", "x") + &namespace("b", "w");
    assert_eq!(names(&intake.apply(&batch(&[("f.yaml", Some(&edited))]))), ["+b"]);
    assert_eq!(names(&intake.apply(&batch(&[("f.yaml", Some(&namespace("a", "x")))]))), ["-b"]);
}

#[test]
fn broken_file_keeps_its_last_good_content_and_spares_the_others() {
    let mut intake = Intake::default();
    intake.apply(&batch(&[("f.yaml", Some(&namespace("a", "x"))), ("g.yaml", Some(&namespace("b", "x")))]));
    let changes = intake.apply(&batch(&[
        ("f.yaml", Some("apiVersion: v1\nkind: Namespace\nmetata: {name: a}\n")),
        ("g.yaml", Some(&namespace("b", "w"))),
    ]));
    assert_eq!(names(&changes), ["+b"]);
    let problems = intake.problems();
    assert!(problems.iter().all(|p| p.path.as_ref() == Path::new("f.yaml")), "{problems:?}");
    assert!(!problems.is_empty());
    assert_eq!(intake.stale().count(), 1);
    assert_eq!(intake.troubled.len(), 1, "the good file costs nothing when problems are listed");
    intake.apply(&batch(&[("f.yaml", Some(&namespace("a", "z")))]));
    assert!(intake.problems().is_empty());
}

#[test]
fn object_may_move_between_files_without_a_gap() {
    let mut intake = Intake::default();
    assert_eq!(names(&intake.apply(&batch(&[("a.yaml", Some(&namespace("team", "x")))]))), ["+team"]);
    assert_eq!(
        names(&intake.apply(&batch(&[("a.yaml", None), ("b.yaml", Some(&namespace("team", "x")))]))),
        [""; 0]
    );
}

#[test]
fn first_file_by_path_owns_an_object_that_two_files_hold() {
    let mut intake = Intake::default();
    intake.apply(&batch(&[("b.yaml", Some(&namespace("team", "late")))]));
    let changes = intake.apply(&batch(&[("a.yaml", Some(&namespace("team", "early")))]));
    assert_eq!(names(&changes), ["+team"]);
    assert!(intake.problems()[0].to_string().starts_with("b.yaml:1:1: error"));
    assert_eq!(names(&intake.apply(&batch(&[("a.yaml", None)]))), ["+team"]);
    assert!(intake.problems().is_empty());
}

#[test]
fn generation_counts_spec_changes_only() {
    let mut intake = Intake::default();
    let generation = |changes: Vec<ObjectChange>| match changes.first() {
        Some(ObjectChange::Upsert(_, object)) => object.meta().generation,
        _ => 0,
    };
    assert_eq!(generation(intake.apply(&batch(&[("f", Some(&service(80)))]))), 1);
    let labelled = service(80).replace("{name: s}", "{name: s, labels: {a: b}}");
    assert_eq!(generation(intake.apply(&batch(&[("f", Some(&labelled))]))), 1);
    assert_eq!(generation(intake.apply(&batch(&[("f", Some(&service(81)))]))), 2);
}

#[test]
fn shorter_text_that_says_as_much_counts_at_once() {
    let long = service(80) + &"# a comment that goes away\n".repeat(20);
    assert_eq!(judge(Extent::of(&long), &service(80)), Verdict::Plausible);
}

#[test]
fn text_cut_short_or_robbed_of_documents_is_suspicious() {
    let many: String = (0..5).map(|n| namespace(&format!("ns-{n}"), "x")).collect();
    assert_eq!(
        judge(Extent::of(&many), &namespace("ns-0", "x")),
        Verdict::Suspicious,
        "one document of five is left"
    );
    assert_eq!(judge(Extent::of(&many), ""), Verdict::Suspicious);
    let long = service(80) + &"# padding\n".repeat(40);
    assert_eq!(
        judge(Extent::of(&long), &service(80)[..30]),
        Verdict::Suspicious,
        "cut in the middle of a document"
    );
}
