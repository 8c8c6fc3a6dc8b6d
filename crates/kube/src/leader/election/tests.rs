use proptest::prelude::*;

use super::*;

const DURATION: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn election(identity: &str) -> Election {
    Election::new(identity.into(), DEADLINE)
}

fn held(holder: &str, renewed: u64) -> Record {
    Record { holder: holder.into(), duration: DURATION, renewed: renewed.to_string() }
}

#[test]
fn lease_that_nobody_holds_is_taken() {
    assert_eq!(election("a").observe(Record::default(), at(0)), Step::Write);
}

#[test]
fn lease_of_another_is_taken_only_after_it_stood_still_for_its_duration() {
    let mut a = election("a");
    assert_eq!(a.observe(held("b", 1), at(100)), Step::Wait);
    assert_eq!(a.observe(held("b", 1), at(114)), Step::Wait);
    assert_eq!(a.observe(held("b", 2), at(115)), Step::Wait, "it was renewed");
    assert_eq!(a.observe(held("b", 2), at(130)), Step::Wait);
    assert_eq!(a.observe(held("b", 2), at(131)), Step::Write);
}

#[test]
fn leadership_ends_at_the_deadline_after_the_last_renewal_began() {
    let mut a = election("a");
    a.renewed(held("a", 1), at(100));
    assert_eq!(a.until(at(109)), Some(at(110)));
    assert_eq!(a.until(at(110)), None);
}

#[test]
fn another_holder_ends_leadership_at_once() {
    let mut a = election("a");
    a.renewed(held("a", 1), at(100));
    a.observe(held("b", 2), at(101));
    assert_eq!(a.until(at(101)), None);
    assert_eq!(a.holder(), Some("b"));
}

#[test]
fn own_lease_is_taken_again_at_once_after_a_restart() {
    assert_eq!(election("a").observe(held("a", 1), at(0)), Step::Write);
}

#[test]
fn released_lease_is_taken_at_once() {
    let mut a = election("a");
    assert_eq!(a.observe(held("b", 1), at(0)), Step::Wait);
    assert_eq!(a.observe(Record { holder: String::new(), ..held("b", 2) }, at(1)), Step::Write);
}

/// The API server's copy of the lease, with a version.
#[derive(Default)]
struct Stored {
    record: Record,
    version: u64,
}

proptest! {
    /// Two candidates whose requests take any time and fail at any point: at no moment do both lead.
    #[test]
    fn two_never_lead_at_once(steps in prop::collection::vec((0..2_usize, 0..4_u64, 0..9_u64, any::<bool>()), 1..300)) {
        let mut stored = Stored::default();
        let mut candidates = [election("a"), election("b")];
        let mut now = 0;
        for (who, pause, delay, reaches) in steps {
            now += pause;
            let name = ["a", "b"][who];
            let candidate = &mut candidates[who];
            let began = at(now);
            let version = stored.version;
            let step = candidate.observe(stored.record.clone(), began);
            // The write arrives later; the version that was read is its precondition.
            now += delay;
            if step == Step::Write && reaches && stored.version == version {
                stored = Stored { record: held(name, now), version: version + 1 };
                candidate.renewed(stored.record.clone(), began);
            }
            let leaders = candidates.iter().filter(|c| c.until(at(now)).is_some()).count();
            prop_assert!(leaders <= 1, "both lead at {now}");
        }
    }
}
