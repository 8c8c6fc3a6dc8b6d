//! The controller's own certificate authority, for the xDS server alone.
//!
//! ```text
//! Secret (authorities) --leader: rotate--> Secret
//!        '--every replica--> Material: bundle to trust, and a server certificate issued in memory
//! ```
//!
//! A new authority is published in the bundle long before anything is signed with it, and an old one stays in it until
//! everything that it signed has expired: a proxy that follows the bundle never meets a certificate that it does not trust.

mod authority;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{Api, ResourceType, Target};
use crate::backoff::Backoff;
use crate::error::{Cause, Error};
use crate::health::Health;
use crate::leader::Leadership;
use authority::Leaf;
use rotation::{Authorities, Times};

const SECRETS: ResourceType = ResourceType { group: "", version: "v1", plural: "secrets" };
const SUBJECT: &str = "certificate authority";

/// How the authority is kept.
#[derive(Clone, Debug)]
pub struct CaConfig {
    /// Where the Secret is.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// Names that the xDS server is reached by; the first is its subject.
    pub dns_names: Vec<String>,
    /// Days that an authority is valid; it is replaced after two thirds of them.
    pub authority_days: u16,
    /// Days that a server certificate is valid; it is renewed after a third of them.
    pub certificate_days: u16,
    /// How long a new authority is published before it signs. Mounted ConfigMaps take minutes to follow.
    pub publish: Duration,
    /// How often the Secret is looked at.
    pub every: Duration,
}

impl CaConfig {
    /// With authorities of a year and certificates of three days.
    pub fn new(namespace: &str, secret: &str, dns_names: Vec<String>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            dns_names,
            authority_days: 365,
            certificate_days: 3,
            publish: Duration::from_hours(1),
            every: Duration::from_secs(30),
        }
    }
}

/// What the xDS server and the proxies need.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// Authorities to trust, as PEM.
    pub bundle: Arc<str>,
    /// The server's certificate, as PEM.
    pub certificate: Arc<str>,
    /// Its private key, as PEM.
    pub key: Arc<str>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Keeps the authority, and a server certificate that is always valid. Dropped, it ends.
#[derive(Debug)]
pub struct Ca {
    material: watch::Receiver<Option<Material>>,
    task: JoinHandle<()>,
}

impl Ca {
    /// Starts on the current runtime. The leader makes and rotates the authority; others read it.
    pub fn start(
        api: Api,
        config: CaConfig,
        leadership: watch::Receiver<Leadership>,
        health: Health,
    ) -> Self {
        let (published, material) = watch::channel(None);
        let keeper = Keeper { api, config, leadership, health, published, leaf: None };
        Self { material, task: tokio::spawn(keeper.run()) }
    }

    /// Follows the material; `None` until there is an authority. Changes are to be taken over without a restart.
    pub fn watch(&self) -> watch::Receiver<Option<Material>> {
        self.material.clone()
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    api: Api,
    config: CaConfig,
    leadership: watch::Receiver<Leadership>,
    health: Health,
    published: watch::Sender<Option<Material>>,
    leaf: Option<Leaf>,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let wait = match self.round().await {
                Ok(true) => {
                    self.health.clear(SUBJECT);
                    backoff.reset();
                    self.config.every
                }
                // There is none yet, and it is the leader's to make one.
                Ok(false) => Duration::from_secs(1).min(self.config.every),
                // Somebody else was faster: look again.
                Err(Error { cause: Cause::Conflict(_), .. }) => backoff.next(),
                Err(error) => {
                    self.health.failed(SUBJECT, &error);
                    backoff.next()
                }
            };
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Reads, rotates if we lead and it is time, publishes; says whether there is an authority.
    async fn round(&mut self) -> Result<bool, Error> {
        let target = Target::one(SECRETS, &self.config.namespace, &self.config.secret);
        let live: Option<Secret> = match self.api.get(&target).await {
            Ok(secret) => Some(secret),
            Err(Error { cause: Cause::NotFound, .. }) => None,
            Err(error) => return Err(error),
        };
        let failed = |error: String| Error::new(target.operation("use"), Cause::Other(error));
        let times = Times {
            now: jiff::Timestamp::now(),
            authority_days: self.config.authority_days,
            certificate_days: self.config.certificate_days,
            publish: self.config.publish,
        };
        let stored = live.as_ref().map(|secret| texts(secret, &self.config.secret)).unwrap_or_default();
        let mut authorities = Authorities::read(&stored).map_err(&failed)?;
        if self.leadership.borrow().is_leader() {
            let rotated = authorities.rotate(&times).map_err(&failed)?;
            if rotated {
                self.store(live, &authorities).await?;
            }
        }
        let Some(signer) = authorities.signer() else { return Ok(false) };
        let stale = self.leaf.as_ref().is_none_or(|leaf| leaf.is_stale(signer, times.now));
        if stale {
            let days = self.config.certificate_days;
            self.leaf = Some(signer.issue(&self.config.dns_names, times.now, days).map_err(&failed)?);
        }
        self.publish(&authorities);
        Ok(true)
    }

    async fn store(&self, live: Option<Secret>, authorities: &Authorities) -> Result<(), Error> {
        let namespace = &self.config.namespace;
        let exists = live.is_some();
        let mut secret = live.unwrap_or_else(|| Secret {
            metadata: ObjectMeta {
                name: Some(self.config.secret.clone()),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        });
        let texts = authorities.write().into_iter();
        secret.data = Some(texts.map(|(key, text)| (key, ByteString(text.into_bytes()))).collect());
        if exists {
            let target = Target::one(SECRETS, namespace, &self.config.secret);
            self.api.update::<Secret>(&target, &secret).await?;
        } else {
            self.api.create::<Secret>(&Target::all(SECRETS, namespace), &secret).await?;
        }
        Ok(())
    }

    fn publish(&self, authorities: &Authorities) {
        let Some(leaf) = &self.leaf else { return };
        let material = Material {
            bundle: authorities.bundle().into(),
            certificate: leaf.certificate.clone(),
            key: leaf.key.clone(),
        };
        self.published.send_if_modified(|old| {
            let changed = old.as_ref() != Some(&material);
            if changed {
                tracing::info!("the xDS server's certificate or the bundle of authorities is new");
                *old = Some(material);
            }
            changed
        });
    }
}

/// The Secret's data as text; what is no text is ours to say so when it is read.
fn texts(secret: &Secret, name: &str) -> std::collections::BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.filter_map(|(key, value)| {
        let text = String::from_utf8(value.0.clone());
        if text.is_err() {
            tracing::warn!(secret = name, key, "a value of the authority's Secret is no text");
        }
        Some((key.clone(), text.ok()?))
    })
    .collect()
}
