//! Gateway API and policy types, and the embedded schema table.

mod diagnostic;
mod object;
pub mod source;
pub mod types;

pub use diagnostic::{Diagnostic, Severity};
pub use object::{DecodeError, Object, ObjectRef};
