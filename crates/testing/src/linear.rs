//! Whether what clients saw of one object could have happened in some order, one operation after the other.
//!
//! The search is the one of Wing and Gong, with the memory of Lowe: try every operation that may come next, go back where
//! the first answer that must come next does not fit, and never look twice at the same set of operations in the same
//! state. It is exponential in how many operations overlap, so a history is checked object by object.

use std::collections::BTreeSet;

/// How one object behaves when nothing overlaps.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Ord;
    /// One operation, together with what its client was told.
    type Call;

    /// Before the first operation.
    fn start(&self) -> Self::State;

    /// The state after the operation; none if it could not have been answered like that in this state. An operation whose
    /// fate its client never learned has no answer to fit: it gives the state after it has happened, or none if it could
    /// not happen here.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C> {
    /// What was asked and answered.
    pub call: C,
    /// When it was asked, on a clock that all clients share.
    pub invoked: u64,
    /// When it was answered. None if its fate is unknown: it may have happened at any time since, or may yet, or never.
    pub returned: Option<u64>,
}

/// What the search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Impossible(Dead),
    /// The search was given up: too much overlaps.
    Undecided,
}

/// Where the best attempt at an order came to its end. Numbers are places in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The longest order that was found.
    pub order: Vec<usize>,
    /// The operation that had to be next, and could not.
    pub stuck: usize,
}

/// How many pairs of a set and a state are looked at before the search is given up: some hundred megabytes.
pub const CONFIGURATIONS_MAX: usize = 1_000_000;

/// Looks for an order in which a history fits its model.
pub fn linearizable<M: Model>(model: &M, history: &[Operation<M::Call>]) -> Verdict {
    Search::of(model, history).run()
}

/// A place in the list of what is still to be ordered: an operation begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Invoked(usize),
    Returned(usize),
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Call>],
    events: Vec<Event>,
    /// Where the end of each operation is among the events.
    returns: Vec<Option<usize>>,
    /// The list of events that are left: before and after each, with one place before the first.
    before: Vec<usize>,
    after: Vec<usize>,
    seen: BTreeSet<(Vec<u64>, M::State)>,
}

/// An operation that was put into the order: the place of its beginning, and the state before it.
struct Placed<S> {
    at: usize,
    operation: usize,
    state: S,
}

impl<'a, M: Model> Search<'a, M> {
    fn of(model: &'a M, history: &'a [Operation<M::Call>]) -> Self {
        let mut timed: Vec<(u64, bool, Event)> = Vec::new();
        for (index, operation) in history.iter().enumerate() {
            // At one time beginnings come first: what only touches counts as overlapping.
            timed.push((operation.invoked, false, Event::Invoked(index)));
            if let Some(returned) = operation.returned {
                timed.push((returned, true, Event::Returned(index)));
            }
        }
        timed.sort_by_key(|(time, returned, _)| (*time, *returned));
        // Place 0 stands before the first event.
        let events: Vec<Event> =
            std::iter::once(Event::Invoked(usize::MAX)).chain(timed.into_iter().map(|(.., event)| event)).collect();
        let mut returns = vec![None; history.len()];
        for (place, event) in events.iter().enumerate().skip(1) {
            if let Event::Returned(index) = event {
                returns[*index] = Some(place);
            }
        }
        let places = events.len();
        let before = (0..places).map(|place| place.saturating_sub(1)).collect();
        let after = (1..=places).collect();
        Self { model, history, events, returns, before, after, seen: BTreeSet::new() }
    }

    fn run(mut self) -> Verdict {
        let end = self.events.len();
        let mut state = self.model.start();
        let mut order: Vec<Placed<M::State>> = Vec::new();
        let mut placed = vec![0_u64; self.history.len().div_ceil(64)];
        let mut best: Option<Dead> = None;
        let mut place = self.after[0];
        // Past the end, only operations of unknown fate are left, and they need not have happened.
        while place != end {
            match self.events[place] {
                Event::Invoked(operation) => {
                    let next = self.model.step(&state, &self.history[operation].call);
                    let fits = next.filter(|next| {
                        let mut with = placed.clone();
                        with[operation / 64] |= 1 << (operation % 64);
                        self.seen.insert((with, next.clone()))
                    });
                    if self.seen.len() > CONFIGURATIONS_MAX {
                        return Verdict::Undecided;
                    }
                    place = match fits {
                        Some(next) => {
                            order.push(Placed { at: place, operation, state: std::mem::replace(&mut state, next) });
                            placed[operation / 64] |= 1 << (operation % 64);
                            self.lift(place, operation);
                            self.after[0]
                        }
                        None => self.after[place],
                    };
                }
                Event::Returned(stuck) => {
                    if best.as_ref().is_none_or(|best| best.order.len() < order.len()) {
                        best = Some(Dead { order: order.iter().map(|placed| placed.operation).collect(), stuck });
                    }
                    let Some(last) = order.pop() else {
                        return Verdict::Impossible(best.unwrap_or(Dead { order: Vec::new(), stuck }));
                    };
                    state = last.state;
                    placed[last.operation / 64] &= !(1 << (last.operation % 64));
                    self.put_back(last.at, last.operation);
                    place = self.after[last.at];
                }
            }
        }
        Verdict::Linearizable
    }

    /// Takes an operation out of the list.
    fn lift(&mut self, invoked: usize, operation: usize) {
        self.unlink(invoked);
        if let Some(returned) = self.returns[operation] {
            self.unlink(returned);
        }
    }

    /// Undoes the newest [`Self::lift`] that is not undone yet.
    fn put_back(&mut self, invoked: usize, operation: usize) {
        if let Some(returned) = self.returns[operation] {
            self.link(returned);
        }
        self.link(invoked);
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.before[place], self.after[place]);
        self.after[before] = after;
        if after < self.events.len() {
            self.before[after] = before;
        }
    }

    fn link(&mut self, place: usize) {
        let (before, after) = (self.before[place], self.after[place]);
        self.after[before] = place;
        if after < self.events.len() {
            self.before[after] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is read, written, and replaced if it is the expected one.
    struct Register;

    #[derive(Clone, Debug)]
    enum Call {
        Read(u32),
        Write(u32),
        Replace { expected: u32, by: u32, done: bool },
    }

    impl Model for Register {
        type State = u32;
        type Call = Call;

        fn start(&self) -> u32 {
            0
        }

        fn step(&self, state: &u32, call: &Call) -> Option<u32> {
            match *call {
                Call::Read(value) => (*state == value).then_some(*state),
                Call::Write(value) => Some(value),
                Call::Replace { expected, by, done: true } => (*state == expected).then_some(by),
                Call::Replace { expected, done: false, .. } => (*state != expected).then_some(*state),
            }
        }
    }

    fn known(invoked: u64, returned: u64, call: Call) -> Operation<Call> {
        Operation { call, invoked, returned: Some(returned) }
    }

    fn unknown(invoked: u64, call: Call) -> Operation<Call> {
        Operation { call, invoked, returned: None }
    }

    fn is_linearizable(history: &[Operation<Call>]) -> bool {
        match linearizable(&Register, history) {
            Verdict::Linearizable => true,
            Verdict::Impossible(_) => false,
            Verdict::Undecided => panic!("a small history is decided"),
        }
    }

    #[test]
    fn nothing_and_one_after_the_other_are_linearizable() {
        assert!(is_linearizable(&[]));
        assert!(is_linearizable(&[known(1, 2, Call::Write(5)), known(3, 4, Call::Read(5))]));
    }

    #[test]
    fn a_read_that_overlaps_a_write_sees_either_value() {
        let write = known(1, 10, Call::Write(5));
        assert!(is_linearizable(&[write.clone(), known(2, 3, Call::Read(0)), known(4, 5, Call::Read(5))]));
        assert!(is_linearizable(&[write.clone(), known(2, 3, Call::Read(5)), known(4, 5, Call::Read(5))]));
        assert!(!is_linearizable(&[write, known(2, 3, Call::Read(5)), known(4, 5, Call::Read(0))]), "never back");
    }

    #[test]
    fn a_write_that_was_acknowledged_and_is_not_read_any_more_is_refused() {
        assert!(!is_linearizable(&[known(1, 2, Call::Write(5)), known(3, 4, Call::Read(0))]));
    }

    #[test]
    fn a_value_that_comes_back_after_it_was_overwritten_is_refused() {
        let history = [
            known(1, 2, Call::Write(5)),
            known(3, 4, Call::Write(6)),
            known(5, 6, Call::Read(6)),
            known(7, 8, Call::Read(5)),
        ];
        let Verdict::Impossible(dead) = linearizable(&Register, &history) else { panic!("it is impossible") };
        assert_eq!(dead, Dead { order: vec![0, 1, 2], stuck: 3 });
    }

    #[test]
    fn a_write_of_unknown_fate_may_have_happened_late_or_never_but_not_before_it_was_asked_for() {
        let write = unknown(3, Call::Write(5));
        assert!(is_linearizable(&[write.clone(), known(4, 5, Call::Read(0)), known(90, 91, Call::Read(5))]));
        assert!(is_linearizable(&[write.clone(), known(4, 5, Call::Read(0)), known(90, 91, Call::Read(0))]));
        assert!(!is_linearizable(&[known(1, 2, Call::Read(5)), write]));
    }

    #[test]
    fn a_write_of_unknown_fate_happens_once_only() {
        let history = [
            unknown(1, Call::Write(5)),
            known(2, 3, Call::Read(5)),
            known(4, 5, Call::Write(6)),
            known(6, 7, Call::Read(5)),
        ];
        assert!(!is_linearizable(&history));
    }

    #[test]
    fn of_two_that_replace_the_same_value_one_is_refused() {
        let replace = |by, done| Call::Replace { expected: 0, by, done };
        assert!(is_linearizable(&[known(1, 9, replace(5, true)), known(2, 8, replace(6, false))]));
        assert!(!is_linearizable(&[known(1, 9, replace(5, true)), known(2, 8, replace(6, true))]));
        assert!(
            !is_linearizable(&[known(1, 9, replace(5, false)), known(2, 8, replace(6, false))]),
            "nobody came first"
        );
    }

    #[test]
    fn much_that_overlaps_is_still_decided() {
        let mut history: Vec<_> = (1..=6).map(|value| known(1, 100, Call::Write(value))).collect();
        history.extend((1..=6).map(|value| unknown(1, Call::Write(100 + value))));
        history.extend((1..=6).rev().map(|value| known(200 - value, 200 - value, Call::Read(105))));
        assert!(is_linearizable(&history));
        history.push(known(300, 301, Call::Read(7)));
        history.push(known(302, 303, Call::Read(105)));
        assert!(!is_linearizable(&history), "no unknown write can bring 105 back a second time, nor 7 after it");
    }
}
