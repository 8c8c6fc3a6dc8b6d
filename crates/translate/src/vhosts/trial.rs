//! Which members of a refused set are bad, by asking about parts of it.
//!
//! ```text
//! refused(all) -> ask about none of them (do their stand-ins pass?) -> ask about halves -> bad ones are found
//! ```
//!
//! A bad member among `n` is found in about `2 log2(n)` answers: a half that passes proves the other one bad, so
//! that is not asked about as a whole. What may follow a bad member is doubted too, once all others are proven.

use std::collections::BTreeSet;

/// A search. Members that are neither asked about nor withheld are proven good, or were found to be bad.
#[derive(Clone, Debug)]
pub(super) struct Trial<S> {
    /// Members that the version in question holds and that are not proven.
    asked: Vec<S>,
    /// Groups to ask about, the next one last; `true` when one of its members must be bad.
    waiting: Vec<(Vec<S>, bool)>,
    /// What is asked about after all others.
    doubted: Vec<S>,
    /// A good answer proves that the next waiting group holds a bad member.
    halved: bool,
    /// The first question: does the version pass with stand-ins for all of them?
    opening: bool,
}

impl<S: Clone + Ord> Trial<S> {
    /// Starts after a version with all of these was refused, which holds nothing else that is not proven.
    pub(super) fn of(suspects: Vec<S>) -> Self {
        let waiting = vec![(suspects, true)];
        Self { asked: Vec::new(), waiting, doubted: Vec::new(), halved: false, opening: true }
    }

    /// Members that are not proven.
    pub(super) fn members(&self) -> impl Iterator<Item = &S> {
        self.asked.iter().chain(self.waiting.iter().flat_map(|(group, _)| group)).chain(&self.doubted)
    }

    /// Members that the next version must not hold.
    pub(super) fn withheld(&self) -> BTreeSet<S> {
        self.waiting.iter().flat_map(|(group, _)| group).chain(&self.doubted).cloned().collect()
    }

    /// Whether stand-ins that were never accepted are part of the question.
    pub(super) fn tries_stand_ins(&self) -> bool {
        self.opening
    }

    pub(super) fn is_over(&self) -> bool {
        !self.opening && self.members().next().is_none()
    }

    /// The version without the withheld members was accepted, or refused.
    pub(super) fn answer(&mut self, accepted: bool) {
        let asked = std::mem::take(&mut self.asked);
        if self.opening && !accepted && !asked.is_empty() {
            // What joined meanwhile may be why, rather than the stand-ins: the question is put again, without it.
            self.waiting.push((asked, false));
        } else if self.opening {
            self.opening = false;
        } else if !accepted {
            self.waiting.push((asked, true));
        } else if self.halved
            && let Some(other) = self.waiting.last_mut()
        {
            other.1 = true;
        }
        self.halved = false;
    }

    /// Puts the next question, if there is none. Returns members that are found to be bad before that, one by one.
    pub(super) fn next(&mut self) -> Option<S> {
        while !self.opening && self.asked.is_empty() {
            let Some((mut group, bad)) = self.waiting.pop() else {
                self.asked = std::mem::take(&mut self.doubted);
                break;
            };
            if !bad {
                self.asked = group;
            } else if group.len() > 1 {
                let other = group.split_off(group.len() / 2);
                self.waiting.push((other, false));
                self.halved = true;
                self.asked = group;
            } else if let Some(member) = group.pop() {
                return Some(member);
            }
        }
        None
    }

    /// A member that came, or changed, since the question was put: the version in question holds it.
    pub(super) fn join(&mut self, member: S) {
        self.asked.push(member);
    }

    /// A member to ask about after all others.
    pub(super) fn doubt(&mut self, member: S) {
        self.doubted.push(member);
    }

    /// Members that are no more: the version in question lacks them from now on, so its answer says nothing of them,
    /// and what was concluded of their groups holds no longer.
    pub(super) fn leave(&mut self, gone: impl Fn(&S) -> bool) {
        let asked = self.asked.len();
        self.asked.retain(|member| !gone(member));
        self.halved &= self.asked.len() == asked;
        for (group, bad) in &mut self.waiting {
            let before = group.len();
            group.retain(|member| !gone(member));
            if group.len() != before {
                *bad = false;
                self.halved = false;
            }
        }
        self.waiting.retain(|(group, _)| !group.is_empty());
        self.doubted.retain(|member| !gone(member));
    }
}

#[cfg(test)]
mod tests;
