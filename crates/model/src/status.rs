//! Conditions as values. Times are added by whoever writes them.

use std::sync::Arc;

use serde::Serialize;

/// `metav1.Condition` without its transition time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Accepted`, `Programmed`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For people.
    pub message: Arc<str>,
    /// The generation that it speaks of.
    pub observed_generation: i64,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Condition {
    /// Makes a condition.
    pub fn new(
        kind: &'static str,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<Arc<str>>,
        observed_generation: i64,
    ) -> Self {
        Self { kind, status: status.into(), reason, message: message.into(), observed_generation }
    }
}
