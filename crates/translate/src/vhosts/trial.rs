//! Which members of a refused set are bad, by asking about parts of it.
//!
//! ```text
//! refused(all) -> ask about none of them (do the replacements pass?) -> ask about halves -> bad ones are left
//! ```
//!
//! A bad member among `n` is found in about `2 log2(n)` answers: a half that passes proves the other one bad, so
//! that is not asked about as a whole.

use std::collections::BTreeSet;

/// A search. Members that are neither asked about nor withheld are proven good.
#[derive(Clone, Debug)]
pub(super) struct Trial<S> {
    /// Members that the version in question holds and that are not proven.
    asked: Vec<S>,
    /// Groups to ask about, the next one last; `true` when one of its members must be bad.
    waiting: Vec<(Vec<S>, bool)>,
    bad: BTreeSet<S>,
    /// A good answer proves that the next waiting group holds a bad member.
    halved: bool,
    /// The first question: do all the replacements together pass?
    probing: bool,
    /// They do not: bad members leave nothing behind.
    bare: bool,
}

impl<S: Clone + Ord> Trial<S> {
    /// Starts after a version with all of these was refused. Without suspects it can only be the replacements of what
    /// is known to be bad.
    pub(super) fn of(suspects: Vec<S>) -> Self {
        let bare = suspects.is_empty();
        let waiting = if bare { Vec::new() } else { vec![(suspects, true)] };
        Self { asked: Vec::new(), waiting, bad: BTreeSet::new(), halved: false, probing: !bare, bare }
    }

    /// Members that the next version must not hold.
    pub(super) fn withheld(&self) -> BTreeSet<S> {
        self.waiting.iter().flat_map(|(group, _)| group).chain(&self.bad).cloned().collect()
    }

    pub(super) fn bad(&self) -> &BTreeSet<S> {
        &self.bad
    }

    /// Whether withheld members may be replaced by something that was never accepted.
    pub(super) fn replaces(&self) -> bool {
        !self.bare
    }

    pub(super) fn is_over(&self) -> bool {
        !self.probing && self.asked.is_empty() && self.waiting.is_empty()
    }

    /// The version without the withheld members was accepted, or refused.
    pub(super) fn answer(&mut self, accepted: bool) {
        if !accepted && self.asks_about_joined_first() {
            // What joined meanwhile may be why: the first question is put again, without it.
            let joined = std::mem::take(&mut self.asked);
            self.waiting.push((joined, false));
            return;
        }
        if self.probing {
            self.probing = false;
            self.bare = !accepted;
        } else if !accepted {
            let asked = std::mem::take(&mut self.asked);
            self.waiting.push((asked, true));
        } else if self.halved
            && let Some(other) = self.waiting.last_mut()
        {
            other.1 = true;
        }
        self.ask();
    }

    /// A member that came, or changed, since the question was put: the version in question holds it.
    pub(super) fn join(&mut self, member: S) {
        self.leave(&member);
        self.asked.push(member);
    }

    /// A member that is no more. What was concluded of its group holds no longer.
    pub(super) fn leave(&mut self, member: &S) {
        self.bad.remove(member);
        let asked = self.asked.len();
        self.asked.retain(|other| other != member);
        self.halved &= self.asked.len() == asked;
        for (group, bad) in &mut self.waiting {
            let before = group.len();
            group.retain(|other| other != member);
            if group.len() != before {
                *bad = false;
                self.halved = false;
            }
        }
        self.waiting.retain(|(group, _)| !group.is_empty());
    }

    /// Whether the first question holds members that joined since: they may be why it is refused, rather than the
    /// replacements, which would be given up for good.
    pub(super) fn asks_about_joined_first(&self) -> bool {
        self.probing && !self.asked.is_empty()
    }

    /// From now on withheld members leave nothing behind; the question stays.
    pub(super) fn strip(&mut self) {
        self.bare = true;
    }

    /// Members that were proven bad elsewhere meanwhile leave; returns them. The version in question lacks them from now
    /// on, so its answer says nothing of them.
    pub(super) fn leave_known(&mut self, known_bad: impl Fn(&S) -> bool) -> Vec<S> {
        let members = self.asked.iter().chain(self.waiting.iter().flat_map(|(group, _)| group));
        let known: Vec<S> = members.filter(|member| known_bad(member)).cloned().collect();
        for member in &known {
            self.leave(member);
        }
        if self.asked.is_empty() && !self.probing {
            self.ask();
        }
        known
    }

    /// Puts the next question.
    fn ask(&mut self) {
        self.halved = false;
        self.asked.clear();
        while let Some((mut group, bad)) = self.waiting.pop() {
            match (group.len(), bad) {
                (0, _) => {}
                (1, true) => self.bad.extend(group),
                (members, true) => {
                    let other = group.split_off(members / 2);
                    self.waiting.push((other, false));
                    self.halved = true;
                    self.asked = group;
                    return;
                }
                (_, false) => {
                    self.asked = group;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
