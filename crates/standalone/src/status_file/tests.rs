use std::{fs, os::unix::fs::MetadataExt};

use serde_json::{Value, json};

use super::*;

#[test]
fn unchanged_document_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    let mut file = StatusFile::new(&path);
    assert!(file.write(&json!({"a": 1})).unwrap());
    let inode = fs::metadata(&path).unwrap().ino();
    assert!(!file.write(&json!({"a": 1})).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(file.write(&json!({"a": 2})).unwrap());
    assert_eq!(read::<Value>(&path).unwrap(), json!({"a": 2}));
}

#[test]
fn restart_with_the_same_document_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    assert!(StatusFile::new(&path).write(&json!([1])).unwrap());
    assert!(!StatusFile::new(&path).write(&json!([1])).unwrap());
}

#[test]
fn deleted_file_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    let mut file = StatusFile::new(&path);
    file.write(&json!(1)).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(file.write(&json!(1)).unwrap());
    assert!(path.exists());
}

#[test]
fn readers_never_see_a_part_and_nothing_is_left_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("status.json");
    let long: Vec<u32> = (0..50_000).collect();
    StatusFile::new(&path).write(&long).unwrap();
    let reader_path = path.clone();
    let reader = std::thread::spawn(move || {
        for _ in 0..50 {
            let seen: Vec<u32> = read(&reader_path).unwrap();
            assert!(seen.len() == 50_000 || seen.len() == 10, "a part: {}", seen.len());
        }
    });
    let mut file = StatusFile::new(&path);
    let mut short = false;
    while !reader.is_finished() {
        short = !short;
        file.write(&if short { &long[..10] } else { &long[..] }).unwrap();
    }
    reader.join().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn errors_name_operation_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none/status.json");
    let error = StatusFile::new(&missing).write(&1).unwrap_err().to_string();
    assert!(error.starts_with("write status file ") && error.contains("none/status.json"), "{error}");
    assert!(matches!(read::<Value>(&missing), Err(StatusFileError::Read { .. })));
    let broken = dir.path().join("broken.json");
    fs::write(&broken, "{").unwrap();
    assert!(matches!(read::<Value>(&broken), Err(StatusFileError::Decode { .. })));
}
