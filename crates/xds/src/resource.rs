//! What travels: resources as opaque, shared bytes.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use bytes::Bytes;
use gatehouse_model::{Body, Interim, ResourceType};

/// One resource, immutable and shared by all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The xDS name.
    pub name: Arc<str>,
    /// A hash of `body`.
    pub version: Arc<str>,
    /// The encoded message, without the `Any` around it.
    pub body: Bytes,
    /// Given when the change takes something away that clients may still have: a withdrawal never waits for a gate. It is
    /// sent to a client that has some version of the resource, if every cluster that it names is in use there: warm, or
    /// changed in place and still serving as before, or named already by what the gate let go.
    pub interim: Option<Arc<Interim>>,
}

impl Resource {
    /// A resource that waits as a whole.
    pub fn new(name: impl Into<Arc<str>>, version: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { name: name.into(), version: version.into(), body: body.into(), interim: None }
    }

    /// The resource's own bytes with their version.
    pub fn main(&self) -> Body {
        Body { version: self.version.clone(), bytes: self.body.clone() }
    }
}

/// A name, with the version of it that somebody holds if any. Streams that hold the table's version share the table's
/// label.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: Arc<str>,
    pub(crate) version: Option<Arc<str>>,
}

/// The route configuration that a virtual host belongs to: Envoy cuts its name at the last `/`.
pub fn table_of(virtual_host: &str) -> Option<&str> {
    virtual_host.rsplit_once('/').map(|(table, _)| table)
}

/// One value per resource type.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerType<T>([T; 6]);

impl<T> Index<ResourceType> for PerType<T> {
    type Output = T;
    fn index(&self, kind: ResourceType) -> &T {
        &self.0[kind.rank()]
    }
}

impl<T> IndexMut<ResourceType> for PerType<T> {
    fn index_mut(&mut self, kind: ResourceType) -> &mut T {
        &mut self.0[kind.rank()]
    }
}
