//! All Kubernetes input and output.
//!
//! ```text
//! API server --list, watch--> source  ---SourceEvent--> graph --StatusChange--> status --put /status--> API server
//!                               '--------digests of live statuses---------------^  ^
//! Lease <--> leader --Leadership--> status, events, infrastructure, xDS server ----'
//! Secret <--> ca --Material--> xDS server (certificate), infrastructure (bundle)
//! TokenReview <-- tokens <-- xDS server (who is this proxy?)
//! ```
//!
//! Objects are read into the types of `gatehouse-api`, trimmed as they come in; nothing keeps a second copy. An API server
//! that is away changes nothing. Whatever goes wrong stands on [`health::Health`] with words that say what to do.
//!
//! ```no_run
//! # async fn doc() -> Result<(), gatehouse_kube::Error> {
//! use gatehouse_kube::health::Health;
//! use gatehouse_kube::leader::{LeaseConfig, Leader};
//! use gatehouse_kube::source::{Source, SourceConfig, SourceEvent};
//! use gatehouse_kube::status::{StatusWriter, WriterConfig};
//! use gatehouse_kube::{Api, Connection};
//!
//! let api = Api::connect(&Connection::default()).await?;
//! let health = Health::default();
//! let leader = Leader::start(api.clone(), LeaseConfig::new("gatehouse", "gatehouse", "pod-1"), health.clone());
//! let (writer, observer) =
//!     StatusWriter::start(api.clone(), &WriterConfig::default(), leader.watch(), health.clone());
//! let (source, mut events) = Source::start(api, SourceConfig::default(), Some(observer), health);
//! while let Some(event) = events.recv().await {
//!     match event {
//!         SourceEvent::Changes(changes) => { /* world.apply */ }
//!         SourceEvent::Synced => { /* serve */ }
//!         SourceEvent::CaughtUp(question) => { /* what is served is current */ }
//!     }
//!     // after each settle: source.want_secrets(world.take_secret_wants()), writer.write(status)
//! }
//! leader.release().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod backoff;
pub mod ca;
mod error;
pub mod events;
pub mod health;
mod kinds;
pub mod leader;
pub mod source;
pub mod status;
pub mod tokens;

pub use api::{Api, Connection};
pub use error::{Cause, Error, Operation};
