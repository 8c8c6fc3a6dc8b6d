//! The search for the bad fragments of a host that a proxy refused.
//!
//! Each version of the host asks a question, which the next answer to that version answers. A fragment that is found to be
//! bad is replaced; what replaces it, if no proxy ever accepted that, is asked about after all others.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_engine::SmallMap;
use rustc_hash::FxHashSet;

use super::Order;
use super::forms::{Form, Forms};
use super::host::{Host, Refused};
use super::meanwhile::Failing;
use super::trial::Trial;
use crate::fragments::{Fragment, FragmentId};
use crate::output::FleetChange;

/// What stands, or would stand, at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Suspect {
    order: Order,
    form: FragmentId,
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    trial: Trial<Suspect>,
    /// What stood in for others in a version that was accepted since.
    accepted: BTreeSet<FragmentId>,
    /// What the last answer was about, by its sum, and whether it was accepted: other proxies may repeat it.
    answered: (u128, bool),
}

impl Search {
    /// A place changed; now it holds this.
    pub(super) fn changed(&mut self, order: &Order, now: Option<&Arc<Fragment>>) {
        self.trial.leave(|suspect| suspect.order == *order);
        if let Some(now) = now {
            self.trial.join(Suspect { order: order.clone(), form: now.id.clone() });
        }
    }

    /// What the last answer said, if it was about this.
    fn known(&self, sum: u128) -> Option<bool> {
        let (answered, accepted) = self.answered;
        (answered == sum).then_some(accepted)
    }

    fn may_stand_in(&self, form: &Form) -> bool {
        form.proven || self.trial.tries_stand_ins() || self.accepted.contains(&form.fragment.id)
    }

    /// What replaces a bad fragment is doubted, unless it was accepted.
    fn doubt(&mut self, order: Order, form: Option<Form>) {
        if let Some(form) = form.filter(|f| !f.proven && !self.accepted.contains(&f.fragment.id)) {
            self.trial.doubt(Suspect { order, form: form.fragment.id.clone() });
        }
    }
}

/// What is known of fragments, and with which words it is told.
pub(super) struct Verdicts<'a> {
    pub(super) refused: &'a mut Refused,
    /// Fragments that were found to be bad.
    pub(super) found: &'a mut Vec<(FragmentId, Arc<str>)>,
    pub(super) words: Arc<str>,
}

impl Host {
    /// A proxy accepted what it holds. Returns whether the host must be put together anew.
    pub(super) fn accepted(&mut self) -> bool {
        self.meanwhile = None;
        if self.search.is_none() {
            self.unproven = SmallMap::default();
            return false;
        }
        self.answer(true)
    }

    /// A proxy refused what it holds. Returns whether the host must be put together anew.
    pub(super) fn refused<'f>(&mut self, holds: impl Fn(&Order) -> Option<&'f Arc<Fragment>>) -> bool {
        if self.search.is_some() {
            return self.answer(false);
        }
        // What was accepted is above suspicion, wherever it stands.
        let proven: FxHashSet<&FragmentId> = self.unproven.values().flatten().map(|f| &f.id).collect();
        let suspect = |order: &Order| {
            let held = self.serves(order, holds(order)?)?;
            let form = &held.id;
            // What answers the rest is the same everywhere, and good.
            (!held.is_rest() && !proven.contains(form))
                .then(|| Suspect { order: order.clone(), form: form.clone() })
        };
        let suspects: Vec<_> = self.unproven.keys().filter_map(suspect).collect();
        if suspects.is_empty() {
            return false;
        }
        let (trial, answered) = (Trial::of(suspects), (self.sum, false));
        self.search = Some(Box::new(Search { trial, accepted: BTreeSet::new(), answered }));
        true
    }

    /// Takes an answer. Returns whether it is news of the question.
    fn answer(&mut self, accepted: bool) -> bool {
        let Some(mut search) = self.search.take() else { return false };
        if accepted {
            search.accepted.extend(self.stand_ins().map(|instead| instead.id.clone()));
        }
        let fresh = search.known(self.sum).is_none();
        if fresh {
            search.answered = (self.sum, accepted);
            search.trial.answer(accepted);
        }
        self.search = Some(search);
        fresh
    }

    /// Changes made the question one that is answered: nobody would answer it again. Returns whether that is so.
    pub(super) fn answers_itself(&mut self) -> bool {
        let sum = self.sum;
        let Some(search) = &mut self.search else { return false };
        let known = search.known(sum);
        if let Some(accepted) = known {
            search.trial.answer(accepted);
        }
        known.is_some()
    }

    /// Works the last answer in and makes the host what the search asks about next.
    pub(super) fn follow_search(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        fragments: &SmallMap<Order, Arc<Fragment>>,
        failing: Failing<'_>,
        verdicts: &mut Verdicts<'_>,
    ) {
        let Some(mut search) = self.search.take() else { return };
        let unproven = std::mem::take(&mut self.unproven);
        loop {
            let mut places = search.judge(fragments, &unproven, failing, verdicts);
            let mut forms = Forms::new(&unproven, verdicts.refused, failing);
            places.extend(search.trial.members().map(|suspect| suspect.order.clone()));
            let withheld: BTreeSet<Order> = search.trial.withheld().into_iter().map(|s| s.order).collect();
            for order in places {
                let Some(fragment) = fragments.get(&order) else { continue };
                let form = if withheld.contains(&order) {
                    forms
                        .stand_in(&order, fragment)
                        .filter(|form| fragment.is_guard() || search.may_stand_in(form))
                } else {
                    forms.current(&order, fragment)
                };
                self.put(out, name, &order, (fragment, form.map(|form| form.fragment)));
            }
            if search.trial.is_over() {
                return;
            }
            let Some(accepted) = search.known(self.sum) else { break };
            search.trial.answer(accepted);
        }
        self.unproven = unproven;
        self.search = Some(search);
    }
}

impl Search {
    /// Puts the next question. Returns the places of what is found to be bad before that, here or elsewhere.
    fn judge(
        &mut self,
        fragments: &SmallMap<Order, Arc<Fragment>>,
        unproven: &SmallMap<Order, Option<Arc<Fragment>>>,
        failing: Failing<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> BTreeSet<Order> {
        let known = |suspect: &&Suspect| verdicts.refused.contains_key(&suspect.form);
        let mut bad: Vec<Suspect> = self.trial.members().filter(known).cloned().collect();
        self.trial.leave(|suspect| verdicts.refused.contains_key(&suspect.form));
        let mut places = BTreeSet::new();
        loop {
            for Suspect { order, form } in bad.drain(..) {
                if !verdicts.refused.contains_key(&form) {
                    verdicts.refused.insert(form.clone(), verdicts.words.clone());
                    verdicts.found.push((form, verdicts.words.clone()));
                }
                let mut forms = Forms::new(unproven, verdicts.refused, failing);
                let next = fragments.get(&order).and_then(|fragment| forms.current(&order, fragment));
                self.doubt(order.clone(), next);
                places.insert(order);
            }
            match self.trial.next() {
                Some(suspect) => bad.push(suspect),
                None => return places,
            }
        }
    }
}
