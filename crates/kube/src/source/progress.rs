//! Where watchers stand, for those who wait for all of them.
//!
//! Whether what was handed on is current is a question with a number. A list that began after the question answers it; a
//! watch answers it when it has passed the version that the API server was at then. Quiet kinds hear of versions by
//! bookmarks only, about one a minute: so the watch is opened again for a few seconds, since a bookmark comes before a
//! watch ends. A stream that nobody noticed to be dead is mended by that too.

use tokio::sync::watch;

/// The newest question; they are numbers that grow.
pub(super) type Questions = watch::Receiver<u64>;

/// Seconds that a watch lives while a question is open; its bookmark comes two seconds before the end.
pub(super) const SHORT: u64 = 3;
/// So many of them that answer nothing, and everything is listed instead.
pub(super) const SHORT_WATCHES: u32 = 2;

/// Where a watcher stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The first list is complete, or it never will be for want of rights to something optional.
    pub(super) listed: bool,
    /// The newest question that is answered: what was handed on holds everything that was true when it was asked.
    pub(super) current: u64,
}

/// What answers a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub(super) question: u64,
    /// What must be passed.
    version: u64,
}

impl Aim {
    /// `version` is what the API server was at after the question. One that is no number is never passed: a list answers.
    pub(super) fn new(question: u64, version: &str) -> Self {
        Self { question, version: version.parse().unwrap_or(u64::MAX) }
    }

    /// Whether a watch that is at `version` has answered.
    pub(super) fn reached(&self, version: &str) -> bool {
        version.parse::<u64>().is_ok_and(|version| version >= self.version && self.version < u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Aim;

    #[test]
    fn version_is_compared_as_a_number_and_anything_else_proves_nothing() {
        let aim = Aim::new(1, "100");
        assert!(!aim.reached("99") && aim.reached("100") && aim.reached("1000"));
        assert!(!aim.reached("") && !aim.reached("x"));
        assert!(!Aim::new(1, "x").reached("18446744073709551615"));
    }
}
