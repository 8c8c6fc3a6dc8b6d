//! The first line before Envoy: what it would refuse is said here, on the user's own object.
//!
//! - [`http_route`] checks one route before it is encoded (part of [`crate::encode::route`]).
//! - [`re2`] checks a regular expression with RE2's grammar and words.
//! - [`message`] checks an encoded message against the rules in Envoy's protobuf files.

mod http;
mod message;
mod re2;
mod rules;

pub use self::http::{external_auth, http_route};
pub use self::message::message;
pub use self::re2::re2;
