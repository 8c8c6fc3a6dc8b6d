//! The file: a magic line, then records, each `length (4, little endian), checksum (8), message`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use super::StoreError;

const MAGIC: &[u8] = b"gatehouse last-acknowledged 1\n";
const HEADER: usize = 12;
const FILE: &str = "acknowledged.log";
const NEXT: &str = "acknowledged.next";
const LOCK: &str = "lock";

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Op {
    /// A resource is held.
    Put = 0,
    /// It is held that there is none of that name.
    Absent = 1,
    /// Nothing is held any more.
    Remove = 2,
    /// The type was answered in whole.
    Complete = 3,
}

/// One change.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(enumeration = "Op", tag = "1")]
    op: i32,
    #[prost(string, tag = "2")]
    pub(super) kind: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) version: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) body: Bytes,
}

impl Record {
    pub(super) fn put(kind: &str, name: &str, version: &str, body: Bytes) -> Self {
        Self { version: version.to_owned(), body, ..Self::of(Op::Put, kind, name) }
    }

    pub(super) fn absent(kind: &str, name: &str) -> Self {
        Self::of(Op::Absent, kind, name)
    }

    pub(super) fn remove(kind: &str, name: &str) -> Self {
        Self::of(Op::Remove, kind, name)
    }

    pub(super) fn complete(kind: &str) -> Self {
        Self::of(Op::Complete, kind, "")
    }

    fn of(op: Op, kind: &str, name: &str) -> Self {
        Self { op: op.into(), kind: kind.to_owned(), name: name.to_owned(), ..Self::default() }
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: u64,
    len: u32,
}

impl Place {
    pub(super) fn at(self) -> u64 {
        self.at
    }

    /// Of the whole frame.
    pub(super) fn len(self) -> u64 {
        u64::from(self.len)
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    file: File,
    end: u64,
    /// Held open: one process per directory.
    _lock: Option<File>,
}

impl Log {
    /// Opens or makes the log of a directory, cuts off what follows the last good record, and reads it.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<(Record, Place)>), StoreError> {
        let failed = |source| StoreError::Open { dir: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let lock = create(&dir.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let file = create(&dir.join(FILE)).map_err(failed)?;
        let mut log = Self { dir: dir.to_owned(), file, end: 0, _lock: Some(lock) };
        let records = log.load().map_err(failed)?;
        Ok((log, records))
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    fn load(&mut self) -> io::Result<Vec<(Record, Place)>> {
        let size = self.file.metadata()?.len();
        let mut magic = [0; MAGIC.len()];
        let whole = size >= MAGIC.len() as u64;
        if !whole || self.file.read_exact_at(&mut magic, 0).is_err() || magic != MAGIC {
            self.clear()?;
            return Ok(Vec::new());
        }
        self.end = MAGIC.len() as u64;
        let mut records = Vec::new();
        while let Some((mut record, place)) = self.next(size) {
            // The index needs no bodies.
            record.body = Bytes::new();
            records.push((record, place));
            self.end += place.len();
        }
        if self.end < size {
            tracing::warn!(
                bytes = size - self.end,
                "the store ends in an incomplete record, which is cut off"
            );
            self.file.set_len(self.end)?;
        }
        Ok(records)
    }

    fn next(&self, size: u64) -> Option<(Record, Place)> {
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, self.end).ok()?;
        let length = u32::from_le_bytes(header[..4].try_into().ok()?);
        let len = length.checked_add(u32::try_from(HEADER).ok()?)?;
        let place = Place { at: self.end, len };
        if self.end + place.len() > size {
            return None;
        }
        Some((self.read(place).ok()?, place))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.end = 0;
        self.file.set_len(0)?;
        self.file.write_all_at(MAGIC, 0)?;
        self.end = MAGIC.len() as u64;
        Ok(())
    }

    pub(super) fn append(&mut self, record: &Record) -> io::Result<Place> {
        let message = record.encode_to_vec();
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "the resource is too large");
        let length = u32::try_from(message.len()).map_err(too_large)?;
        let mut frame = Vec::with_capacity(HEADER + message.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&checksum(&message));
        frame.extend_from_slice(&message);
        self.append_frame(&frame)
    }

    fn append_frame(&mut self, frame: &[u8]) -> io::Result<Place> {
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "the resource is too large");
        let place = Place { at: self.end, len: u32::try_from(frame.len()).map_err(too_large)? };
        self.file.write_all_at(frame, self.end)?;
        self.end += place.len();
        Ok(place)
    }

    pub(super) fn read(&self, place: Place) -> io::Result<Record> {
        let frame = self.frame(place)?;
        let (header, message) = frame.split_at(HEADER);
        if header[4..] != checksum(message) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        // The body stays a slice of what was read.
        Record::decode(Bytes::from(frame).slice(HEADER..)).map_err(io::Error::other)
    }

    fn frame(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; place.len as usize];
        self.file.read_exact_at(&mut frame, place.at)?;
        if frame.len() < HEADER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too short"));
        }
        Ok(frame)
    }

    /// An empty log that may replace this one.
    pub(super) fn successor(&self) -> io::Result<Self> {
        let file = create(&self.dir.join(NEXT))?;
        let mut next = Self { dir: self.dir.clone(), file, end: 0, _lock: None };
        next.clear()?;
        Ok(next)
    }

    /// Copies a record of another log.
    pub(super) fn copy(&mut self, from: &Self, place: Place) -> io::Result<Place> {
        let frame = from.frame(place)?;
        self.append_frame(&frame)
    }

    /// Puts a successor in the place of this log, in one step.
    pub(super) fn replace(&mut self, next: Self) -> io::Result<()> {
        std::fs::rename(self.dir.join(NEXT), self.dir.join(FILE))?;
        self.file = next.file;
        self.end = next.end;
        Ok(())
    }
}

/// Opens a file that only its owner may read, as secrets are in it.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn checksum(message: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(message).as_bytes()[..8]);
    sum
}
