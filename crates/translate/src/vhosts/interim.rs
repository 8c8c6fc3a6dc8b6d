//! The bytes of what a host may be meanwhile.

use std::sync::Arc;

use gatehouse_engine::SmallMap;
use gatehouse_model::{Body, Interim};
use rustc_hash::FxHashSet;

use super::host::{Host, weight};
use super::meanwhile::{Judge, Outcome};
use super::{HostKey, Order};
use crate::fragments::Fragment;

impl Host {
    /// What may go before the host does. Its version is that of a host which holds just this, so that a proxy which has
    /// exactly these fragments already is sent nothing.
    pub(super) fn interim(
        &mut self,
        key: &HostKey,
        fragments: Option<&SmallMap<Order, Arc<Fragment>>>,
        version: impl Fn(u128) -> Arc<str>,
        judge: Judge<'_>,
    ) -> Option<Interim> {
        let mut meanwhile = self.meanwhile.take()?;
        let serves = |order: &Order| self.serves(order, fragments?.get(order)?);
        let all = fragments.into_iter().flat_map(SmallMap::iter);
        let all = all.filter_map(|(order, fragment)| Some((order, self.serves(order, fragment)?)));
        let interim = match meanwhile.settle(serves, all.clone(), judge) {
            Outcome::Wait => None,
            Outcome::Go => Some(Interim::Whole),
            Outcome::Part(waiting) => {
                let mut sum = self.sum;
                for (order, stand_in) in waiting {
                    let out = serves(order).map_or(0, |fragment| weight(order, fragment));
                    let into = stand_in.as_ref().map_or(0, |fragment| weight(order, fragment));
                    sum = sum.wrapping_sub(out).wrapping_add(into);
                }
                let now = |(order, held)| waiting.get(order).map_or(Some(held), Option::as_ref);
                let now: Vec<&Arc<Fragment>> = all.filter_map(now).collect();
                let clusters: FxHashSet<&Arc<str>> = now.iter().flat_map(|f| &f.clusters).collect();
                let bytes = now.iter().map(|fragment| &fragment.bytes[..]);
                let bytes = gatehouse_envoy::encode::virtual_host(&key.table, &key.host, bytes);
                let clusters = clusters.into_iter().cloned().collect();
                Some(Interim::Instead { body: Body { version: version(sum), bytes }, clusters })
            }
        };
        self.meanwhile = meanwhile.matters().then_some(meanwhile);
        interim
    }
}
