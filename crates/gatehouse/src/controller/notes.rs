//! What of a status is worth an Event.

use gatehouse_kube::events::{Note, Severity};
use gatehouse_translate::StatusChange;
use serde_json::Value;

/// The condition by which a proxy's refusal is told.
const REFUSAL: &str = "gatehouse.dev/Programmed";

/// An Event for each refusal that a status tells of.
pub(super) fn note(change: &StatusChange) -> Vec<Note> {
    // Nearly all statuses are free of refusals: they are not parsed.
    if !change.status.as_deref().is_some_and(|status| status.contains(REFUSAL)) {
        return Vec::new();
    }
    let status = change.json().unwrap_or_default();
    let parents = status["parents"].as_array().into_iter().flatten();
    let conditions = parents.flat_map(|parent| parent["conditions"].as_array().into_iter().flatten());
    let refusals =
        conditions.filter(|condition| condition["type"] == REFUSAL && condition["status"] == "False");
    let mut notes: Vec<_> = refusals.map(|condition| refusal(change, condition)).collect();
    notes.sort();
    notes.dedup();
    notes
}

fn refusal(change: &StatusChange, condition: &Value) -> Note {
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Note {
        object: change.object.clone(),
        severity: Severity::Warning,
        reason: text("reason"),
        action: "Program".to_owned(),
        text: text("message"),
    }
}
