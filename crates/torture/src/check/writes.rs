//! An acknowledged write is there, once, as it was acknowledged; a failed one is not; another may be, once.

use std::collections::BTreeMap;

use super::covered;
use crate::{
    history::{Call, Name, Outcome, Record, Seen},
    watcher::{Action, Event, Told},
};

/// Holds what clients were told against what watches have told.
pub(crate) fn writes(histories: &BTreeMap<Name, Vec<Record>>, told: &Told) -> Vec<String> {
    let covered = covered(told);
    let is_covered = |version: u64| covered.iter().any(|(from, to)| (*from..=*to).contains(&version));
    let removals = removals(told);
    let mut faults = Vec::new();
    for record in histories.values().flatten() {
        let there = record.call.tag().and_then(|tag| Some((tag, told.written.get(&tag)?)));
        let fault = match &record.outcome {
            Outcome::Written(seen) => match there {
                Some((_, version)) => differs(seen, *version, told),
                // An object's own version is the one before the change that wrote it.
                None if is_covered(seen.version + 1) => Some("was acknowledged, and no watch has told it".to_owned()),
                None => None,
            },
            Outcome::Removed => match &record.call {
                Call::Remove { id } if !removals.contains_key(id.as_str()) && is_whole(&covered) => {
                    Some("was acknowledged, and no watch has told it".to_owned())
                }
                _ => None,
            },
            Outcome::Failed(_) | Outcome::Taken | Outcome::Stale | Outcome::Missing => {
                there.map(|(_, version)| format!("was refused, and is there as version {version}"))
            }
            Outcome::Found(_) | Outcome::Unknown(_) => None,
        };
        faults.extend(fault.map(|fault| format!("this {fault}: {record:?}")));
    }
    faults.extend(removals.iter().filter(|(_, times)| **times > 1).map(|(id, _)| format!("{id} was removed twice")));
    faults
}

/// Whether what is there is what was acknowledged.
fn differs(acknowledged: &Seen, version: u64, told: &Told) -> Option<String> {
    let events: &[Event] = told.events.get(&version).map_or(&[], Vec::as_slice);
    let there = events.iter().find(|event| event.seen.tag == acknowledged.tag && event.action != Action::Remove);
    match there {
        Some(event) if event.seen == *acknowledged => None,
        other => Some(format!("was acknowledged, and at version {version} there is {other:?}")),
    }
}

/// How often each object was removed.
fn removals(told: &Told) -> BTreeMap<&str, u32> {
    let mut removals = BTreeMap::new();
    for event in told.events.values().flatten().filter(|event| event.action == Action::Remove) {
        *removals.entry(event.seen.id.as_str()).or_default() += 1;
    }
    removals
}

/// A removal is acknowledged without a version, so only watches without a hole can say that it is not there.
fn is_whole(covered: &[(u64, u64)]) -> bool {
    covered.len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Kind, Tag},
        watcher::Span,
    };

    fn seen(tag: Tag, version: u64) -> Seen {
        Seen { id: "a".to_owned(), tag, version }
    }

    fn name() -> Name {
        Name { kind: Kind::Config, round: 1, number: 2 }
    }

    /// A watch that told a creation at 11, an update at 15, and a removal at 20.
    fn told() -> Told {
        let mut told = Told::default();
        told.spans.push(Span { member: 0, after: None, versions: Vec::new() });
        let event = |action, seen| vec![Event { action, kind: Kind::Config, name: name(), seen }];
        told.hear(0, 11, event(Action::Create, seen(1, 10)));
        told.hear(0, 15, event(Action::Update, seen(2, 14)));
        told.hear(0, 20, event(Action::Remove, seen(2, 14)));
        told
    }

    fn faults(call: Call, outcome: Outcome) -> usize {
        let record = Record { client: 0, member: 0, name: name(), call, invoked: 1, returned: 2, outcome };
        writes(&BTreeMap::from([(name(), vec![record])]), &told()).len()
    }

    #[test]
    fn what_was_acknowledged_and_is_there_is_good() {
        assert_eq!(faults(Call::Create { tag: 1 }, Outcome::Written(seen(1, 10))), 0);
        assert_eq!(faults(Call::Update { base: seen(1, 10), tag: 2 }, Outcome::Written(seen(2, 14))), 0);
        assert_eq!(faults(Call::Remove { id: "a".to_owned() }, Outcome::Removed), 0);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_told() {
        assert_eq!(faults(Call::Create { tag: 7 }, Outcome::Written(seen(7, 16))), 1);
        assert_eq!(faults(Call::Remove { id: "b".to_owned() }, Outcome::Removed), 1);
    }

    #[test]
    fn what_was_acknowledged_as_another_version_is_told() {
        assert_eq!(faults(Call::Create { tag: 1 }, Outcome::Written(seen(1, 9))), 1);
    }

    #[test]
    fn what_lies_beyond_the_watches_is_not_judged() {
        assert_eq!(faults(Call::Create { tag: 7 }, Outcome::Written(seen(7, 99))), 0);
    }

    #[test]
    fn what_failed_or_was_refused_and_is_there_is_told() {
        assert_eq!(faults(Call::Create { tag: 1 }, Outcome::Failed("node lost leader status".to_owned())), 1);
        assert_eq!(faults(Call::Create { tag: 1 }, Outcome::Taken), 1);
        assert_eq!(faults(Call::Create { tag: 7 }, Outcome::Failed("node lost leader status".to_owned())), 0);
    }

    #[test]
    fn what_nobody_was_told_may_be_there_or_not() {
        assert_eq!(faults(Call::Create { tag: 1 }, Outcome::Unknown("no answer".to_owned())), 0);
        assert_eq!(faults(Call::Create { tag: 7 }, Outcome::Unknown("no answer".to_owned())), 0);
    }
}
