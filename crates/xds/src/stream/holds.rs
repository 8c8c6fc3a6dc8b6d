//! What the client holds, seen through the watches of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::{ResourceType, Target};

use super::{Holding, Stream};
use crate::table::Table;

/// The watches of one stream; what the client holds takes no memory here.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Needs that the client does not hold, by watch; a flat set as in the table.
    unmet: BTreeSet<(u64, Target)>,
    /// Watches to be looked at when the input is handled, and what was told about their needs; nothing if these are new.
    touched: BTreeMap<u64, Option<bool>>,
}

impl Holds {
    /// The watch has other needs now.
    pub(super) fn renew(&mut self, watch: u64) {
        self.touched.insert(watch, None);
    }

    fn touch(&mut self, watch: u64) {
        if !self.touched.contains_key(&watch) {
            self.touched.insert(watch, Some(self.held(watch)));
        }
    }

    /// Whether the client holds everything that a watch needs.
    fn held(&self, watch: u64) -> bool {
        let first = (watch, (ResourceType::ALL[0], Arc::default()));
        self.unmet.range(first..).next().is_none_or(|(other, _)| *other != watch)
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
        let need = (watch, target.clone());
        if met {
            self.holds.unmet.remove(&need);
        } else {
            self.holds.unmet.insert(need);
        }
    }

    /// What the client holds of this name changed.
    pub(super) fn held_changed(&mut self, kind: ResourceType, name: &Arc<str>, table: &Table) {
        let target = (kind, name.clone());
        for watch in table.watches.of(&target) {
            self.check_need(watch, &target, table);
        }
    }

    /// Looks at all needs of all watches.
    pub(super) fn reset_holds(&mut self, table: &Table) {
        self.holds.unmet.clear();
        for watch in table.watches.ids() {
            self.holds.renew(watch);
            for target in table.watches.needs(watch) {
                self.check_need(watch, target, table);
            }
        }
    }

    /// Tells what changed: an answer for each new generation.
    pub(super) fn report_holds(&mut self, table: &Table) {
        for (watch, told) in std::mem::take(&mut self.holds.touched) {
            let Some(generation) = table.watches.generation(watch) else {
                // Its needs were met with its removal, each by an entry of the log or by a look at everything.
                continue;
            };
            let held = self.holds.held(watch);
            if told != Some(held) {
                self.out.holdings.push(Holding { watch, generation, held });
            }
        }
    }
}
