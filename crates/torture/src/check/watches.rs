//! Watches tell everything, once, in the order of versions, on every member alike.

use std::collections::BTreeMap;

use crate::watcher::{Action, Event, Span, Told};

/// How many missing versions are named.
const SHOWN: usize = 5;

/// The gaps in stretches that should have none, and objects whose versions do not grow.
pub(crate) fn watches(told: &Told) -> Vec<String> {
    let mut faults: Vec<_> = told.spans.iter().filter_map(|span| gap(span, &told.events)).collect();
    faults.extend(lives(told));
    faults
}

/// The versions that others told and this stretch did not, although it covers them.
fn gap(span: &Span, events: &BTreeMap<u64, Vec<Event>>) -> Option<String> {
    let (first, last) = (span.versions.first()?, span.versions.last()?);
    let from = span.after.map_or(*first, |after| after + 1);
    if from > *last {
        return None;
    }
    let all = events.range(from..=*last).map(|(version, _)| *version);
    let mut told = span.versions.iter().copied().peekable();
    let mut missing = Vec::new();
    for version in all {
        while told.next_if(|next| *next < version).is_some() {}
        if told.next_if_eq(&version).is_none() {
            missing.push(version);
        }
    }
    let shown = &missing[..missing.len().min(SHOWN)];
    let (member, count) = (span.member, missing.len());
    (count > 0).then(|| format!("member {member}: a watch of versions {from} to {last} left out {count}: {shown:?}"))
}

/// Each object is created once, changed with growing versions, and not heard of after its removal.
fn lives(told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    // The version of each object; none once it is gone.
    let mut objects: BTreeMap<&str, Option<u64>> = told.before.iter().map(|(id, own)| (id.as_str(), *own)).collect();
    let changes = told.events.iter().flat_map(|(version, events)| events.iter().map(move |event| (version, event)));
    for (version, event) in changes {
        let (own, before) = (event.seen.version, objects.get(event.seen.id.as_str()));
        let fits = match (event.action, before) {
            (Action::Create, before) => before.is_none(),
            (Action::Update, Some(Some(before))) => own > *before,
            (Action::Remove, Some(Some(before))) => own == *before,
            (_, Some(None)) => false,
            // It was created before the first watch.
            (_, None) => true,
        };
        if !fits || own >= *version {
            faults.push(format!("at version {version}, {event:?} cannot follow on {before:?}"));
        }
        objects.insert(&event.seen.id, (event.action != Action::Remove).then_some(own));
    }
    faults
}

/// The stretches of versions that some watch covers, joined; ends included.
pub(crate) fn covered(told: &Told) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = told
        .spans
        .iter()
        .filter_map(|span| {
            Some((span.after.map_or(*span.versions.first()?, |after| after + 1), *span.versions.last()?))
        })
        .filter(|(from, to)| from <= to)
        .collect();
    spans.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some((_, last)) if from <= *last + 1 => *last = to.max(*last),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Kind, Name, Seen, Tag};

    fn event(action: Action, id: &str, tag: Tag, version: u64) -> Event {
        let name = Name { kind: Kind::Config, round: 1, number: 1 };
        Event { action, kind: Kind::Config, name, seen: Seen { id: id.to_owned(), tag, version } }
    }

    /// After which version a watch begins, and what it was told.
    type Messages = (Option<u64>, Vec<(u64, Event)>);

    /// Member by member, what each was told: after which version, then the messages.
    fn told(watches: &[Messages]) -> Told {
        let mut told = Told::default();
        for (member, (after, messages)) in watches.iter().enumerate() {
            told.spans.push(Span { member, after: *after, versions: Vec::new() });
            for (version, event) in messages {
                told.hear(member, *version, vec![event.clone()]);
            }
        }
        told
    }

    fn life() -> Vec<(u64, Event)> {
        vec![
            (11, event(Action::Create, "a", 1, 10)),
            (15, event(Action::Update, "a", 2, 14)),
            (16, event(Action::Update, "a", 3, 15)),
            (20, event(Action::Remove, "a", 3, 15)),
        ]
    }

    fn faults(told: &Told) -> Vec<String> {
        told.faults.iter().cloned().chain(watches(told)).collect()
    }

    #[test]
    fn watches_that_tell_the_same_from_different_beginnings_are_good() {
        let told =
            told(&[(None, life()), (Some(11), life()[1..].to_vec()), (None, life()[2..].to_vec()), (None, vec![])]);
        assert_eq!(faults(&told), Vec::<String>::new());
        assert_eq!(covered(&told), [(11, 20)]);
    }

    #[test]
    fn a_change_that_one_watch_leaves_out_is_told() {
        let mut gappy = life();
        gappy.remove(1);
        let told = told(&[(None, life()), (None, gappy)]);
        assert_eq!(faults(&told), ["member 1: a watch of versions 11 to 20 left out 1: [15]"]);
    }

    #[test]
    fn a_change_that_is_left_out_right_after_resuming_is_told() {
        let told = told(&[(None, life()), (Some(11), life()[2..].to_vec())]);
        assert_eq!(faults(&told), ["member 1: a watch of versions 12 to 20 left out 1: [15]"]);
    }

    #[test]
    fn a_watch_that_goes_back_or_tells_twice_is_told() {
        let mut twice = life();
        twice.insert(2, twice[1].clone());
        assert_eq!(faults(&told(&[(None, twice)])), ["member 0: a watch told version 15 after 15"]);
    }

    #[test]
    fn members_that_disagree_on_a_version_are_told() {
        let mut other = life();
        other[1].1 = event(Action::Update, "a", 9, 14);
        let faults = faults(&told(&[(None, life()), (None, other)]));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("member 1: version 15 is"), "{faults:?}");
    }

    #[test]
    fn a_write_that_is_visible_twice_is_told() {
        let mut twice = life();
        twice.insert(3, (18, event(Action::Update, "a", 2, 17)));
        twice[4].1.seen.version = 17;
        let told = told(&[(None, twice)]);
        assert_eq!(faults(&told), ["write 2 of r1-1 is visible twice: at 15 and 18"]);
    }

    #[test]
    fn versions_of_an_object_that_do_not_grow_are_told() {
        let told =
            told(&[(None, vec![(11, event(Action::Create, "a", 1, 10)), (15, event(Action::Update, "a", 2, 10))])]);
        assert_eq!(faults(&told).len(), 1);
    }

    #[test]
    fn what_was_forgotten_is_still_known_to_be_gone() {
        let mut told = told(&[(None, life()), (None, life())]);
        told.forget(16);
        assert_eq!((told.events.len(), covered(&told)), (1, vec![(17, 20)]));
        assert_eq!(faults(&told), Vec::<String>::new());
        told.forget(20);
        told.hear(0, 25, vec![event(Action::Update, "a", 4, 24)]);
        assert_eq!(faults(&told).len(), 1, "the object was removed");
    }

    #[test]
    fn an_object_that_comes_back_after_its_removal_is_told() {
        let mut undead = life();
        undead.push((25, event(Action::Update, "a", 4, 24)));
        assert_eq!(faults(&told(&[(None, undead)])).len(), 1);
    }
}
