//! A proxy that refuses every version with a bad member.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Trial;

/// Answers until the search is over; returns what was found to be bad and how many answers it took. A member's stand-in,
/// and what may follow it, is `1_000 + member`.
fn search(count: usize, bad: &BTreeSet<usize>) -> (BTreeSet<usize>, usize) {
    let mut trial = Trial::of((0..count).collect());
    let (mut answers, mut found) = (0, BTreeSet::new());
    while !trial.is_over() {
        let withheld = trial.withheld();
        let asked = trial.members().filter(|member| !withheld.contains(member));
        let stand_ins = withheld.iter().map(|member| member + 1_000).filter(|_| trial.tries_stand_ins());
        let accepted = asked.copied().chain(stand_ins).all(|member| !bad.contains(&member));
        trial.answer(accepted);
        answers += 1;
        assert!(answers <= 4 * count + 4, "it ends");
        while let Some(member) = trial.next() {
            assert!(found.insert(member), "found once");
            if member < 1_000 {
                trial.doubt(member + 1_000);
            }
        }
    }
    (found, answers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_bad_ones_stay_out(
        count in 1..80usize,
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        poisoned in prop::collection::vec(any::<bool>(), 6),
    ) {
        let mut bad: BTreeSet<_> = seeds.iter().map(|seed| seed.index(count)).collect();
        let followers: Vec<_> =
            bad.iter().zip(poisoned).filter(|(_, poisoned)| *poisoned).map(|(member, _)| member + 1_000).collect();
        bad.extend(followers);
        prop_assert_eq!(search(count, &bad).0, bad);
    }

    #[test]
    fn changes_meanwhile_do_not_blame_the_good(
        count in 2..40usize,
        bad in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..20),
    ) {
        let bad = bad.index(count);
        let mut present: BTreeSet<usize> = (0..count).collect();
        let mut trial = Trial::of(present.iter().copied().collect());
        let mut changes = changes.into_iter();
        let mut found = BTreeSet::new();
        for _ in 0..1_000 {
            if trial.is_over() {
                break;
            }
            let refused = present.contains(&bad) && !trial.withheld().contains(&bad);
            let refused = refused && !found.contains(&bad);
            trial.answer(!refused);
            while let Some(member) = trial.next() {
                found.insert(member);
            }
            if let Some((member, joins)) = changes.next() {
                let member = member.index(count);
                // What comes back is another content: only the bad one's name stays bad here.
                if joins {
                    present.insert(member);
                    found.remove(&member);
                    trial.leave(|other| *other == member);
                    trial.join(member);
                } else {
                    present.remove(&member);
                    found.remove(&member);
                    trial.leave(|other| *other == member);
                }
                trial.next();
            }
        }
        prop_assert!(trial.is_over());
        let expected: BTreeSet<_> = present.into_iter().filter(|member| *member == bad).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn one_bad_among_a_thousand_takes_logarithmically_many_answers() {
    for bad in [0, 1, 499, 500, 998, 999] {
        let (found, answers) = search(1_000, &BTreeSet::from([bad]));
        assert_eq!(found, BTreeSet::from([bad]));
        assert!(answers <= 22, "{answers} answers for member {bad}");
    }
}

#[test]
fn a_single_suspect_is_bad_once_its_stand_in_was_asked_about() {
    let mut trial = Trial::of(vec![0]);
    assert_eq!(trial.next(), None);
    trial.answer(true);
    assert_eq!(trial.next(), Some(0));
    assert!(trial.is_over());
}
