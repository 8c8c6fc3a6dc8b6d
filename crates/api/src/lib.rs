//! Gateway API and policy types, and the embedded schema table.

mod object;
pub mod types;

pub use object::{DecodeError, Object, ObjectRef};
