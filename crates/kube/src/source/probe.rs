//! Which kinds the API server serves now: asked cheaply, again and again.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;

use crate::api::Api;
use crate::error::Error;
use crate::kinds::{Kind, Need};

/// The version to read of each kind that is served, by group and plural.
pub(super) type Served = BTreeMap<(&'static str, &'static str), &'static str>;

/// Asks for every version of every kind that comes by a CRD. An error means that nothing is known, not that nothing is
/// served.
pub(super) async fn probe(api: &Api, kinds: &'static [Kind]) -> Result<Served, Error> {
    let mut versions = BTreeSet::new();
    for kind in kinds.iter().filter(|kind| kind.need != Need::Builtin) {
        versions.extend(kind.versions.iter().map(|version| (kind.group, *version)));
    }
    let mut by_version = BTreeMap::new();
    for (group, version) in versions {
        by_version.insert((group, version), resources(api, group, version).await?);
    }
    let serves = |kind: &Kind, version: &str| {
        by_version.get(&(kind.group, version)).is_some_and(|resources| resources.contains(kind.plural))
    };
    let found = kinds.iter().filter_map(|kind| {
        let version =
            kind.versions.iter().find(|version| kind.need == Need::Builtin || serves(kind, version));
        Some(((kind.group, kind.plural), *version?))
    });
    Ok(found.collect())
}

/// The plurals of a version; empty when it is not served.
async fn resources(api: &Api, group: &str, version: &str) -> Result<BTreeSet<String>, Error> {
    match api.discover::<APIResourceList>(&format!("/apis/{group}/{version}")).await? {
        Some(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
        None => Ok(BTreeSet::new()),
    }
}
