//! Statuses as the specification words them, as pure functions of the views.

mod class;
mod gateway;
mod listener;
mod policy;
mod route;

pub(crate) use class::{backend, class};
pub(crate) use gateway::{gateway, listener_set};
pub(crate) use listener::Sources;
pub(crate) use policy::policy;
pub(crate) use route::route;

use gatehouse_model::status::{Condition, ConditionStatus};
use serde_json::{Value, json};

use crate::gateways::Problem;

/// A condition that is true, or false with a problem's reason.
fn verdict(
    kind: &'static str,
    problem: Option<&Problem>,
    good: (&'static str, impl Into<std::sync::Arc<str>>),
    generation: i64,
) -> Condition {
    match problem {
        None => Condition::new(kind, true, good.0, good.1, generation),
        Some(problem) => Condition::new(kind, false, problem.reason, problem.message.clone(), generation),
    }
}

/// Whether the fields of EnvoyProxies have the effect that was asked for.
fn parameters_followed(names: &str, invalid: Option<&str>, unheeded: &[&str], generation: i64) -> Condition {
    let kind = "gatehouse.dev/ParametersFollowed";
    match (invalid, unheeded) {
        (Some(why), _) => {
            let message = format!("{names}: {why}; until that is solved the proxies stay as they are");
            Condition::new(kind, false, "Invalid", message, generation)
        }
        (None, []) => {
            Condition::new(kind, true, "Followed", format!("{names}: all fields have an effect"), generation)
        }
        (None, fields) => {
            let message = format!("{names}: these fields have no effect: {}", fields.join("; "));
            Condition::new(kind, false, "UnsupportedFields", message, generation)
        }
    }
}

fn to_json(conditions: &[Condition]) -> Value {
    conditions
        .iter()
        .map(|c| {
            json!({
                "type": c.kind,
                "status": match c.status {
                    ConditionStatus::True => "True",
                    ConditionStatus::False => "False",
                    ConditionStatus::Unknown => "Unknown",
                },
                "reason": c.reason,
                "message": shorten(&c.message),
                "observedGeneration": c.observed_generation,
            })
        })
        .collect()
}

/// `metav1.Condition.message` holds at most 32,768 bytes.
fn shorten(message: &str) -> &str {
    const LIMIT: usize = 32_768;
    if message.len() <= LIMIT {
        return message;
    }
    let end = (0..=LIMIT).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    &message[..end]
}
