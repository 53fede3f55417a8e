//! What clients saw of each name fits some order of their operations.

use std::collections::BTreeMap;

use swarmkit_testing::{Verdict, linearizable};

use crate::{
    history::{Name, Record, Tag},
    object::{Object, steps},
};

/// What came of the search.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// Names whose history fits an order.
    pub(crate) fit: u64,
    /// Names of which too much overlaps to tell.
    pub(crate) undecided: u64,
    /// What fits no order, in words.
    pub(crate) faults: Vec<String>,
}

/// How many operations around the place of a fault are told.
const SHOWN: usize = 12;

/// Judges the histories of names. `ids` says which object a write has made, where a watch has told it.
pub(crate) fn names(histories: &BTreeMap<Name, Vec<Record>>, ids: &BTreeMap<Tag, String>) -> Judged {
    let mut judged = Judged::default();
    for (name, records) in histories {
        let (places, operations) = steps(records, ids);
        match linearizable(&Object, &operations) {
            Verdict::Linearizable => judged.fit += 1,
            Verdict::Undecided => judged.undecided += 1,
            Verdict::Impossible(dead) => {
                let stuck = &records[places[dead.stuck]];
                let shown = |index: &usize| format!("    {:?}", records[places[*index]]);
                let order: Vec<_> = dead.order.iter().rev().take(SHOWN).rev().map(shown).collect();
                judged.faults.push(format!(
                    "the history of {:?} {name} fits no order; after\n{}\nthis cannot be:\n    {stuck:?}",
                    name.kind,
                    order.join("\n")
                ));
            }
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Kind, Outcome, Seen};

    fn seen(id: &str, tag: Tag) -> Seen {
        Seen { id: id.to_owned(), tag, version: 10 * tag }
    }

    fn record(invoked: u64, returned: u64, call: Call, outcome: Outcome) -> Record {
        Record { client: 0, member: 0, name: name(), call, invoked, returned, outcome }
    }

    fn name() -> Name {
        Name { kind: Kind::Config, round: 1, number: 2 }
    }

    fn created(at: u64, id: &str, tag: Tag) -> Record {
        record(at, at + 1, Call::Create { tag }, Outcome::Written(seen(id, tag)))
    }

    fn updated(at: u64, base: Seen, tag: Tag) -> Record {
        let now = seen(&base.id, tag);
        record(at, at + 1, Call::Update { base, tag }, Outcome::Written(now))
    }

    fn unknown(at: u64, call: Call) -> Record {
        record(at, at + 1, call, Outcome::Unknown("no answer".to_owned()))
    }

    fn found(at: u64, outcome: Outcome) -> Record {
        record(at, at + 1, Call::Find, outcome)
    }

    fn is_fit(records: Vec<Record>) -> bool {
        let judged = names(&BTreeMap::from([(name(), records)]), &BTreeMap::new());
        assert_eq!(judged.undecided, 0);
        judged.faults.is_empty()
    }

    #[test]
    fn a_life_from_creation_to_removal_and_the_next_one_fit() {
        let mut records = vec![created(1, "a", 1), updated(3, seen("a", 1), 2)];
        records.push(record(5, 6, Call::Remove { id: "a".to_owned() }, Outcome::Removed));
        records.push(found(7, Outcome::Missing));
        records.push(created(9, "b", 3));
        records.push(record(11, 12, Call::Get { id: "a".to_owned() }, Outcome::Missing));
        records.push(found(13, Outcome::Found(seen("b", 3))));
        assert!(is_fit(records));
    }

    #[test]
    fn an_acknowledged_update_that_is_gone_is_told() {
        let lost = vec![created(1, "a", 1), updated(3, seen("a", 1), 2), found(5, Outcome::Found(seen("a", 1)))];
        assert!(!is_fit(lost));
    }

    #[test]
    fn two_updates_of_one_version_are_told() {
        assert!(!is_fit(vec![created(1, "a", 1), updated(3, seen("a", 1), 2), updated(5, seen("a", 1), 3)]));
    }

    #[test]
    fn a_read_of_a_deposed_leader_is_told() {
        let stale = vec![
            created(1, "a", 1),
            updated(3, seen("a", 1), 2),
            found(5, Outcome::Found(seen("a", 2))),
            record(7, 8, Call::Get { id: "a".to_owned() }, Outcome::Found(seen("a", 1))),
        ];
        assert!(!is_fit(stale));
    }

    #[test]
    fn a_refusal_for_what_never_came_to_be_is_told() {
        let refused = |call, outcome| vec![created(1, "a", 1), record(3, 4, call, outcome)];
        let base = seen("a", 1);
        assert!(!is_fit(refused(Call::Update { base, tag: 2 }, Outcome::Stale)), "nobody has changed it");
        assert!(!is_fit(refused(Call::Remove { id: "a".to_owned() }, Outcome::Missing)), "nobody has removed it");
        assert!(!is_fit(vec![record(1, 2, Call::Create { tag: 1 }, Outcome::Taken)]), "nobody has taken it");
    }

    #[test]
    fn what_nobody_was_told_may_have_happened_or_not() {
        let attempt = unknown(3, Call::Update { base: seen("a", 1), tag: 2 });
        assert!(is_fit(vec![created(1, "a", 1), attempt.clone(), found(9, Outcome::Found(seen("a", 1)))]));
        assert!(is_fit(vec![created(1, "a", 1), attempt.clone(), found(9, Outcome::Found(seen("a", 2)))]));
        let back = found(11, Outcome::Found(seen("a", 1)));
        assert!(!is_fit(vec![created(1, "a", 1), attempt, found(9, Outcome::Found(seen("a", 2))), back]));
    }

    #[test]
    fn an_object_that_an_unknown_creation_has_made_is_known_by_whoever_saw_it() {
        let attempt = unknown(1, Call::Create { tag: 1 });
        let removed = record(5, 6, Call::Remove { id: "a".to_owned() }, Outcome::Removed);
        assert!(is_fit(vec![attempt.clone(), found(3, Outcome::Found(seen("a", 1))), removed.clone()]));
        assert!(!is_fit(vec![attempt.clone(), removed.clone()]), "nobody knows that this is the one");
        let judged = names(&BTreeMap::from([(name(), vec![attempt, removed])]), &BTreeMap::from([(1, "a".to_owned())]));
        assert_eq!(judged.fit, 1);
    }
}
