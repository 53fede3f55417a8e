//! How one name behaves, for the search whether what clients saw of it fits some order.

use std::collections::BTreeMap;

use swarmkit_testing::{Model, Operation};

use crate::history::{Call, Outcome, Record, Tag};

/// One name: nothing has it, or an object that some write has made what it is.
pub(crate) struct Object;

/// An object, by a number for its id.
pub(crate) type ObjectNumber = u32;

/// What one operation says about the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing had the name, and now an object has.
    Create { object: ObjectNumber, tag: Tag },
    /// The object was what the base made it, and is now what the tag makes it.
    Update { object: ObjectNumber, base: Tag, tag: Tag },
    /// The object was there, and is gone.
    Remove { object: ObjectNumber },
    /// The object is there and is this.
    Is { object: ObjectNumber, tag: Tag },
    /// Nothing has the name.
    IsMissing,
    /// Something has the name.
    IsTaken,
    /// This object is not there.
    IsGone { object: ObjectNumber },
    /// The object is there, and is not what the base made it.
    IsPast { object: ObjectNumber, base: Tag },
}

impl Model for Object {
    type State = Option<(ObjectNumber, Tag)>;
    type Call = Step;

    fn start(&self) -> Self::State {
        None
    }

    fn step(&self, state: &Self::State, step: &Step) -> Option<Self::State> {
        let is_there = |object: &ObjectNumber| state.is_some_and(|(there, _)| there == *object);
        match step {
            Step::Create { object, tag } => state.is_none().then_some(Some((*object, *tag))),
            Step::Update { object, base, tag } => (*state == Some((*object, *base))).then_some(Some((*object, *tag))),
            Step::Remove { object } => is_there(object).then_some(None),
            Step::Is { object, tag } => (*state == Some((*object, *tag))).then_some(*state),
            Step::IsMissing => state.is_none().then_some(None),
            Step::IsTaken => state.is_some().then_some(*state),
            Step::IsGone { object } => (!is_there(object)).then_some(*state),
            Step::IsPast { object, base } => (is_there(object) && *state != Some((*object, *base))).then_some(*state),
        }
    }
}

/// The history of one name in the words of the model. Which object a creation of unknown fate has made is learned from
/// whoever saw its tag: `ids` holds what others saw. Operations that say nothing are left out; the numbers are places
/// among the records.
pub(crate) fn steps(records: &[Record], ids: &BTreeMap<Tag, String>) -> (Vec<usize>, Vec<Operation<Step>>) {
    let mut numbers: BTreeMap<String, ObjectNumber> = BTreeMap::new();
    let mut number = |id: &str| {
        let next = ObjectNumber::try_from(numbers.len()).unwrap_or(ObjectNumber::MAX);
        *numbers.entry(id.to_owned()).or_insert(next)
    };
    let mut seen = ids.clone();
    for record in records {
        if let Outcome::Written(object) | Outcome::Found(object) = &record.outcome {
            seen.insert(object.tag, object.id.clone());
        }
    }
    let mut places = Vec::new();
    let mut operations = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let told = match (&record.call, &record.outcome) {
            (_, Outcome::Failed(_)) | (Call::Find | Call::Get { .. }, Outcome::Unknown(_)) => continue,
            (Call::Create { tag }, Outcome::Unknown(_)) => {
                let object = seen.get(tag).cloned().unwrap_or_else(|| format!("made by write {tag}"));
                Step::Create { object: number(&object), tag: *tag }
            }
            (Call::Create { .. }, Outcome::Written(made)) => Step::Create { object: number(&made.id), tag: made.tag },
            (Call::Update { base, tag }, Outcome::Unknown(_) | Outcome::Written(_)) => {
                Step::Update { object: number(&base.id), base: base.tag, tag: *tag }
            }
            (Call::Update { base, .. }, Outcome::Stale) => Step::IsPast { object: number(&base.id), base: base.tag },
            (Call::Update { base, .. }, Outcome::Missing) => Step::IsGone { object: number(&base.id) },
            (Call::Remove { id }, Outcome::Removed | Outcome::Unknown(_)) => Step::Remove { object: number(id) },
            (Call::Remove { id } | Call::Get { id }, Outcome::Missing) => Step::IsGone { object: number(id) },
            (_, Outcome::Found(found)) => Step::Is { object: number(&found.id), tag: found.tag },
            (Call::Find, Outcome::Missing) => Step::IsMissing,
            (_, Outcome::Taken) => Step::IsTaken,
            // No answer of the wire is read as one of these.
            (_, Outcome::Written(_) | Outcome::Removed | Outcome::Missing | Outcome::Stale) => continue,
        };
        let returned = (!matches!(record.outcome, Outcome::Unknown(_))).then_some(record.returned);
        places.push(place);
        operations.push(Operation { call: told, invoked: record.invoked, returned });
    }
    (places, operations)
}
