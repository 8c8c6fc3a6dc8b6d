//! Users' real mistakes: each `negative/<case>.yaml` yields exactly the diagnostics of `negative/<case>.txt`. Set
//! `UPDATE=1` to write the latter anew, and read what changed.

use std::{fmt::Write, fs, path::Path};

use gatehouse_api::{admit, source};

#[test]
fn mistakes_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/negative");
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() > 10, "{cases:?}");
    let mut differences = String::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let got = diagnose(&name, &fs::read_to_string(&case).unwrap());
        let golden = case.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if got != expected {
            write!(differences, "--- {name}\nexpected:\n{expected}got:\n{got}").unwrap();
        }
    }
    assert_eq!(differences, "");
}

fn diagnose(name: &str, text: &str) -> String {
    let mut lines = String::new();
    for document in source::parse(text) {
        let (verdict, diagnostics) = match admit(&document) {
            Ok(admitted) => ("admitted", admitted.warnings),
            Err(diagnostics) => ("refused", diagnostics),
        };
        lines.push_str(verdict);
        lines.push('\n');
        for diagnostic in diagnostics {
            writeln!(lines, "{name}:{diagnostic}").expect("writing to a string cannot fail");
        }
    }
    lines
}
