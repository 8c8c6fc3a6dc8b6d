//! Who answers a request, worked out from the specification's text and from nothing else.
//!
//! ```text
//! worlds() --> World --+--> documents() --> whatever is judged
//! requests() --> Request \--> answer(): port --> listener --> routes --> the best match --> what its rule does
//! ```
//!
//! Naive on purpose: every step looks at everything and does what a sentence of Gateway API v1.7.0 says, which is named beside
//! it. It shares no code with the translation.

mod answer;
mod generate;
mod listeners;
mod request;
mod world;

pub use answer::{Answer, Deed, Verdict, answer};
pub use generate::{requests, worlds};
pub use listeners::{Merged, merged};
pub use request::{Request, ServerName, describe};
pub use world::{
    Action, Gateway, Grant, Kind, Listener, ListenerSet, Match, Name, Named, Namespaces, Parent, ParentKind,
    PathType, Protocol, Route, Rule, World,
};
