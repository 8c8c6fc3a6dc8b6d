//! A proxy that refuses every version with a bad member.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Trial;

/// Answers until the search is over; returns what is withheld and how many answers it took.
fn search(count: usize, bad: &BTreeSet<usize>, poisoned: bool) -> (BTreeSet<usize>, usize) {
    let mut trial = Trial::of((0..count).collect());
    let mut answers = 0;
    while !trial.is_over() {
        let withheld = trial.withheld();
        let holds_bad = bad.iter().any(|member| !withheld.contains(member));
        let replaced_badly =
            poisoned && trial.replaces() && bad.iter().any(|member| withheld.contains(member));
        trial.answer(!holds_bad && !replaced_badly);
        answers += 1;
        assert!(answers <= 4 * count + 4, "it ends");
    }
    assert_eq!(trial.withheld(), *trial.bad());
    (trial.withheld(), answers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_bad_ones_stay_out(
        count in 1..80usize,
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        poisoned in any::<bool>(),
    ) {
        let bad: BTreeSet<_> = seeds.iter().map(|seed| seed.index(count)).collect();
        prop_assert_eq!(search(count, &bad, poisoned).0, bad);
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
        for _ in 0..1_000 {
            if trial.is_over() {
                break;
            }
            let refused = present.contains(&bad) && !trial.withheld().contains(&bad);
            trial.answer(!refused);
            if let Some((member, joins)) = changes.next() {
                let member = member.index(count);
                // What comes back is another content: only the bad one's name stays bad here.
                if joins {
                    present.insert(member);
                    trial.join(member);
                } else {
                    present.remove(&member);
                    trial.leave(&member);
                }
            }
        }
        prop_assert!(trial.is_over());
        let expected: BTreeSet<_> = present.into_iter().filter(|member| *member == bad).collect();
        prop_assert_eq!(trial.withheld(), expected);
    }
}

#[test]
fn one_bad_among_a_thousand_takes_logarithmically_many_answers() {
    for bad in [0, 1, 499, 500, 998, 999] {
        let (found, answers) = search(1_000, &BTreeSet::from([bad]), false);
        assert_eq!(found, BTreeSet::from([bad]));
        assert!(answers <= 21, "{answers} answers for member {bad}");
    }
}

#[test]
fn a_single_suspect_is_bad_once_its_replacement_was_asked_about() {
    assert_eq!(search(1, &BTreeSet::from([0]), false), (BTreeSet::from([0]), 1));
}
