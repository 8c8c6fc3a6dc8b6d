//! What the client holds, seen through the watches of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::{ResourceType, Target};

use super::{Holding, Stream};
use crate::table::Table;

/// The watches of one stream.
#[derive(Debug, Default)]
pub(super) struct Holds {
    watches: BTreeMap<u64, Hold>,
    /// Watches to be looked at when the input is handled.
    touched: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Hold {
    /// Needs that the client does not hold.
    unmet: BTreeSet<Target>,
    /// Generation and answer that were told last.
    told: Option<(u64, bool)>,
}

impl Holds {
    pub(super) fn touch(&mut self, watch: u64) {
        self.touched.insert(watch);
    }
}

impl Stream {
    /// Looks at one need of one watch.
    pub(super) fn check_need(&mut self, watch: u64, target: &Target, table: &Table) {
        self.holds.touch(watch);
        let met = match table.watches.version(watch, target) {
            Some(version) => self.held(target.0, &target.1) == Some(version),
            None => true,
        };
        let unmet = &mut self.holds.watches.entry(watch).or_default().unmet;
        if met {
            unmet.remove(target);
        } else {
            unmet.insert(target.clone());
        }
    }

    /// What the client holds of this name changed.
    pub(super) fn held_changed(&mut self, kind: ResourceType, name: &Arc<str>, table: &Table) {
        for watch in table.watches.of(kind, name) {
            self.check_need(watch, &(kind, name.clone()), table);
        }
    }

    /// Looks at all needs of all watches.
    pub(super) fn reset_holds(&mut self, table: &Table) {
        for hold in self.holds.watches.values_mut() {
            hold.unmet.clear();
        }
        for (watch, needs) in table.watches.all() {
            self.holds.touch(watch);
            for target in needs.keys() {
                self.check_need(watch, target, table);
            }
        }
    }

    /// Tells what changed: an answer for each new generation, except that "no" is the default.
    pub(super) fn report_holds(&mut self, table: &Table) {
        for watch in std::mem::take(&mut self.holds.touched) {
            let Some(generation) = table.watches.generation(watch) else {
                self.holds.watches.remove(&watch);
                continue;
            };
            let hold = self.holds.watches.entry(watch).or_default();
            let all = hold.unmet.is_empty();
            if hold.told != Some((generation, all)) {
                hold.told = Some((generation, all));
                self.out.holdings.push(Holding { watch, generation, held: all });
            }
        }
    }
}
