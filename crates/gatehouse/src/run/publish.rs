//! The status document to its file, off the graph thread and not more often than it is worth.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatehouse_standalone::status_file::StatusFile;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::document::Document;
use crate::status::STATUS_FILE;

/// A burst of changes is written once.
const PAUSE: Duration = Duration::from_millis(20);
/// Writing takes at most this share of the time: large documents are written less often.
const IDLE_SHARE: u32 = 20;

/// The document, shared between the graph thread and the writer.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedDocument {
    document: Arc<Mutex<Document>>,
    changed: Arc<Notify>,
    filled: Arc<AtomicBool>,
}

impl SharedDocument {
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Document>, PoisonError<MutexGuard<'_, Document>>> {
        self.document.lock()
    }

    /// The document as JSON; `None` before the files were read.
    pub(crate) fn json(&self) -> Option<String> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let page = self.lock().unwrap_or_else(PoisonError::into_inner).page();
        serde_json::to_string(&page).ok()
    }

    /// Says that there is something to write.
    pub(crate) fn touch(&self) {
        self.filled.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// Writes the document whenever it changed.
pub(crate) struct Publisher {
    document: SharedDocument,
    task: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn start(state: &Path) -> Self {
        let document = SharedDocument::default();
        let file = StatusFile::new(state.join(STATUS_FILE));
        let task = tokio::spawn(write_all(document.clone(), file));
        Self { document, task }
    }

    pub(crate) fn document(&self) -> SharedDocument {
        self.document.clone()
    }

    pub(crate) fn finish(self) {
        self.task.abort();
    }
}

async fn write_all(shared: SharedDocument, mut file: StatusFile) {
    loop {
        shared.changed.notified().await;
        tokio::time::sleep(PAUSE).await;
        let started = Instant::now();
        let snapshot = shared.lock().unwrap_or_else(PoisonError::into_inner).page();
        if let Err(error) = file.write(&snapshot) {
            tracing::error!("{error}");
        }
        tokio::time::sleep(started.elapsed() * IDLE_SHARE).await;
    }
}
