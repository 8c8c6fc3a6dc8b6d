//! Gateway API and related types, and admission as the Kubernetes API server does it.
//!
//! ```text
//! YAML text --source::parse--> documents with positions --admit--> objects with defaults | diagnostics
//!                                                          |
//!                                  schema table (cargo xtask schema) and CEL rules
//! ```

mod admit;
mod diagnostic;
mod emit;
pub mod merge;
mod names;
mod object;
mod schema;
pub mod source;
pub mod types;

pub use admit::{Admitted, admit};
pub use diagnostic::{Diagnostic, Severity};
pub use emit::to_yaml;
pub use object::{DecodeError, Object, ObjectRef, Unread};
pub use schema::gateway_api_version;
